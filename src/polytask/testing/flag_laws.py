"""The laws of what a penalty says of itself by flags, on which solvers and wrappers rely."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.penalties import Penalty
from polytask.testing._points import PenaltyCase
from polytask.testing._tools import require_at_least, require_close


def check_flags(case: PenaltyCase) -> None:
    """Check the flags of `Valued` that are set."""
    subject: Any = case.subject
    if subject.is_norm:
        _norm(case)
    if subject.ignores_signs:
        _sizes(case)
    if isinstance(subject, Penalty) and subject.by_entry:
        _entries(case)
    if isinstance(subject, Penalty) and subject.shares is not None and not subject.by_feature:
        _shares(case)


def _norm(case: PenaltyCase) -> None:
    subject: Any = case.subject
    for W in case.points:
        for c in (0.5, 3.0):
            law = "is_norm: value(c W) is c value(W) for c > 0"
            require_close(subject.value(c * W), c * subject.value(W), subject, law)


def _sizes(case: PenaltyCase) -> None:
    subject: Any = case.subject
    for W in case.points:
        value = subject.value(W)
        law = "ignores_signs: value(|W|) is value(W)"
        require_close(subject.value(np.abs(W)), value, subject, law)
        law = "ignores_signs: value grows with the size of each entry"
        for _ in range(5):
            larger = np.abs(W)
            j, t = (int(case.rng.integers(n)) for n in W.shape)
            larger[j, t] += 0.5
            require_at_least(subject.value(larger), value, subject, law)


def _entries(case: PenaltyCase) -> None:
    subject: Any = case.subject
    for W in case.points:
        alone = []
        for at in np.ndindex(W.shape):
            alone.append(np.zeros_like(W))
            alone[-1][at] = W[at]
        law = "by_entry: value(W) is the sum of the values of its entries alone"
        require_close(subject.value(W), sum(map(subject.value, alone)), subject, law)


def _shares(case: PenaltyCase) -> None:
    subject: Any = case.subject
    if subject.strength is None:
        return
    a, b, c = (subject.strength * share for share in subject.shares)
    law = "shares: value(W) is a ||w||_1 + b ||w||_2 + c/2 ||w||_2^2 of the rows, times strength"
    for W in case.points:
        lengths = np.linalg.norm(W, axis=1)
        wanted = a * np.abs(W).sum() + b * lengths.sum() + c / 2 * (lengths**2).sum()
        require_close(subject.value(W), wanted, subject, law)
