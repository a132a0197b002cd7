"""What solvers ask of a penalty: one smooth part and one part with a prox."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from polytask._linalg import Array, inner, like
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage, with_and
from polytask.penalties.base import (
    Composed,
    Conjugate,
    Nonconvex,
    Penalty,
    Proximable,
    RowSeparable,
    Shifted,
    Smooth,
    about,
    capabilities_of,
    once,
)
from polytask.penalties.sums import Sum, add, merge, parts_of, same_point


@dataclass(frozen=True)
class Split:
    """The parts of a penalty, whose sum it is up to a constant.

    Parameters
    ----------
    smooth : Smooth or None
        The part that solvers take a gradient of.
    proximable : Proximable or None
        The part that solvers take a prox of.
    others : tuple of Proximable and Composed, default=()
        Parts that do not combine with it, each with a prox of its own; `separate` alone
        gives any.
    """

    smooth: Smooth | None
    proximable: Proximable | None
    others: tuple[Proximable | Composed, ...] = ()


class SplitPenalty(ABC):
    """A function that solvers take for a penalty and that knows its parts."""

    @abstractmethod
    def split(self) -> Split:
        """Return the smooth and the proximable part."""


@dataclass(frozen=True)
class Ridge:
    """weight / 2 * ||W - centre||_F^2. Shapes: centre (n_features, n_columns)."""

    weight: float
    centre: Array | None

    def value(self, W: Array) -> float:
        """Return the value at W."""
        difference = W if self.centre is None else W - like(self.centre, W)
        return 0.5 * self.weight * inner(difference, difference)

    def pull(self, like_rows: Array, index: Array | slice) -> Array | float:
        """Return weight * centre for some rows; 0 without a centre."""
        return 0.0 if self.centre is None else self.weight * like(self.centre[index], like_rows)


@final
@dataclass(frozen=True)
class Ridged(RowSeparable, Conjugate):
    """A penalty p plus a ridge: its prox and its conjugate take one prox of p."""

    # The sum p + b/2 ||W - c||^2 has the prox of p at (V + s b c) / (1 + s b) with the step
    # s / (1 + s b), and the conjugate, always finite, <Z, w> - p(w) - b/2 ||w - c||^2 at
    # w = prox of p at c + Z / b with the step 1 / b.

    penalty: Any
    ridge: Ridge

    @cached_property
    def capabilities(self) -> frozenset[type]:
        """A prox, with or without that of rows and a conjugate, as p has."""
        return capabilities_of(self.penalty) & {Proximable, RowSeparable, Conjugate}

    @property
    def unpenalised(self) -> np.ndarray:
        """The rows that p leaves alone."""
        return np.asarray(self.penalty.unpenalised)

    def of_rows(self, index: Array) -> Any:  # noqa: ANN401
        """Return the sum for some rows of W alone."""
        return Ridged(self.penalty.of_rows(index), self.ridge)

    def value(self, W: Array) -> float:
        """Return the value of the sum at W."""
        return float(self.penalty.value(W)) + self.ridge.value(W)

    def prox(self, W: Array, step: float) -> Array:
        """Return the prox of the penalty at a point nearer to the centre."""
        step = float(step)
        shrink = 1 + step * self.ridge.weight
        point = (W + step * self.ridge.pull(W, slice(None))) / shrink
        return self.penalty.prox(point, step / shrink)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of the rows of the penalty at points nearer to the centre."""
        by_row = getattr(step, "ndim", 0) > 0
        steps: Array = like(step, rows) if by_row else float(step)
        shrink: Array = 1 + steps * self.ridge.weight
        column = shrink[:, None] if by_row else shrink
        pull = (steps[:, None] if by_row else steps) * self.ridge.pull(rows, index)
        return self.penalty.prox_rows((rows + pull) / column, index, steps / shrink)

    def conjugate(self, Z: Array) -> float:
        """Return the conjugate at Z, finite everywhere."""
        weight = self.ridge.weight
        W = self.penalty.prox((Z + self.ridge.pull(Z, slice(None))) / weight, 1 / weight)
        return inner(Z, W) - self.value(W)

    def feasible_scale(self, Z: Array) -> float:
        """Return inf: there is no limit."""
        return float("inf")


def ridged(penalty: Proximable, ridge: Ridge) -> Proximable:
    """Return the sum of a penalty and a ridge, with the capabilities of the penalty."""
    return Ridged(penalty, ridge) if ridge.weight else penalty


def ridge_of(penalty: Penalty) -> Ridge | None:
    """Return an L2 penalty, shifted or not, as a ridge; None for others."""
    plain = penalty.penalty if isinstance(penalty, Shifted) else penalty
    is_ridge = plain.shares == (0.0, 0.0, 1.0) and plain.strength is not None
    return Ridge(plain.strength or 0.0, penalty.null_point) if is_ridge else None


def _one_prox(members: Sequence[Penalty]) -> Proximable:
    """Return the sum of non-smooth members as one with a prox, or refuse."""
    active = [m for m in members if m.strength != 0 or m.forbids] or list(members[:1])
    whole = merge(active)
    if not isinstance(whole, Proximable):
        terms = with_and([repr(member) for member in active])
        raise IncompatibleError(LazyMessage("penalty.refusal.no_joint_prox", {"terms": terms}))
    return whole


def _joined(prox: Sequence[Penalty], ridges: list[Penalty], smooth: list[Penalty]) -> Split:
    """Return the split of sorted members."""
    proximable: Proximable | None = _one_prox(prox) if prox else None
    if ridges:
        # Those about the first centre are one; others have gradients.
        same = [r for r in ridges if same_point(r.null_point, ridges[0].null_point)]
        smooth = smooth + [r for r in ridges if not any(r is other for other in same)]
        whole = ridges[0].with_strength(sum(r.strength or 0.0 for r in same))
        ridge = ridge_of(whole)
        if proximable is None and isinstance(whole, Proximable):
            proximable = whole
        elif proximable is not None and ridge is not None:
            proximable = ridged(proximable, ridge)
    together: Any = add(smooth) if smooth else None
    return Split(smooth=together, proximable=proximable)


def decompose(penalty: Penalty) -> Split:
    """Take a penalty apart into a smooth part and a part with a prox.

    L2 terms go with the part that has a prox, which makes its conjugate finite
    everywhere; other smooth terms go to the smooth part. Non-smooth terms are merged
    where that is exact (L1 and L21, in any proportion).

    Parameters
    ----------
    penalty : Penalty
        A penalty without unresolved fractions.

    Returns
    -------
    Split
        The parts, None where there is nothing.

    Raises
    ------
    IncompatibleError
        If two non-smooth terms do not combine exactly, or a term has neither gradient
        nor prox, or one is not convex.
    ParameterError
        If a fraction is not resolved.
    """
    if isinstance(penalty, SplitPenalty):
        return penalty.split()
    return once(penalty, decompose, _decomposed)


def _decomposed(penalty: Penalty) -> Split:
    if not isinstance(penalty, Sum | Nonconvex) and isinstance(penalty, Proximable):
        return Split(smooth=None, proximable=penalty)
    prox, ridges, smooth = _sorted(penalty)
    for term in prox:
        if isinstance(term, Composed):
            raise IncompatibleError(about(term, "penalty.refusal.composed"))
    return _joined(prox, ridges, smooth)


def _sorted(penalty: Penalty) -> tuple[list[Penalty], list[Penalty], list[Penalty]]:
    """Return the terms of a penalty: not smooth, ridges, and otherwise smooth."""
    members = penalty.members if isinstance(penalty, Sum) else (penalty,)
    terms = [part for member in members for part in parts_of(member)]
    found: tuple[list[Penalty], list[Penalty], list[Penalty]] = [], [], []
    for term in terms:
        # The solvers of convex problems would claim more than they find.
        if isinstance(term, Nonconvex):
            raise IncompatibleError(about(term, "penalty.refusal.nonconvex"))
        if not isinstance(term, Smooth | Proximable | Composed):
            raise IncompatibleError(about(term, "penalty.refusal.no_prox"))
        kind = 1 if ridge_of(term) is not None else 2 if isinstance(term, Smooth) else 0
        found[kind].append(term)
    return found


def separate(penalty: Penalty) -> Split:
    """Take a penalty apart into a smooth part and convex parts with a prox each."""
    # Like :func:`decompose`, but terms that do not combine exactly stay apart. Parts that are
    # separable over rows come first, so that `proximable` is the one that makes rows zero;
    # L2 terms go with it.
    if isinstance(penalty, SplitPenalty):
        return penalty.split()
    return once(penalty, separate, _separated)


def _separated(penalty: Penalty) -> Split:
    if not isinstance(penalty, Sum | Nonconvex) and isinstance(penalty, Proximable):
        return Split(smooth=None, proximable=penalty)
    terms, ridges, smooth = _sorted(penalty)
    composed = [term for term in terms if isinstance(term, Composed)]
    plain = [term for term in terms if not isinstance(term, Composed)]
    active = [term for term in plain if term.strength != 0 or term.forbids]
    whole = _merged_groups(active or plain[:1])
    whole.sort(key=lambda term: not isinstance(term, RowSeparable))
    joined = _joined(whole[:1], ridges, smooth)
    return Split(joined.smooth, joined.proximable, (*whole[1:], *composed))


def _merged_groups(terms: Sequence[Penalty]) -> list[Any]:
    """Return the terms, those whose sum has an exact prox as one."""
    groups: list[Any] = []
    for term in terms:
        for i, group in enumerate(groups):
            together = merge((group, term))
            if together is not None:
                groups[i] = together
                break
        else:
            groups.append(term)
    return groups
