"""Penalties without one of their terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polytask.penalties import Penalty
from polytask.selection.candidates import default_penalties


def ablations(penalty: Any) -> dict[str, list[Penalty]]:  # noqa: ANN401 - as searches take it
    """Return what a search tries instead, without each term of its penalties."""
    given = default_penalties() if penalty is None else penalty
    listed = list(given) if isinstance(given, list | tuple) else [given]
    rests = [one.without_terms() for one in listed]
    terms = list(dict.fromkeys(name for rest in rests for name in rest))
    return {
        term: _distinct([rest.get(term, one) for one, rest in zip(listed, rests, strict=True)])
        for term in terms
    }


def _distinct(penalties: Sequence[Penalty]) -> list[Penalty]:
    found: dict[str, Penalty] = {}
    for penalty in penalties:
        alike = penalty if penalty.strength is None else penalty.with_strength(1.0)
        found.setdefault(repr(alike), penalty)
    return list(found.values())
