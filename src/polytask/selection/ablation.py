"""Penalties without one of their terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from polytask.penalties import (
    L1,
    L2,
    L21,
    ElasticNet,
    FusedTasks,
    Parts,
    Penalty,
    SparseGroup,
    Sum,
)
from polytask.selection.candidates import default_penalties

# What is left of a penalty without each of its terms. Strengths do not matter to a search.
Rest = Mapping[str, Penalty]


def _fused(penalty: Any) -> Rest:  # noqa: ANN401 - a FusedTasks
    if not penalty.l1:
        return {}
    return {"FusedTasks": L1(1.0), "L1": penalty.replace("l1", 0.0)}


_MIXED: Mapping[type, Callable[[Any], Rest]] = {
    SparseGroup: lambda penalty: {"L1": L21(1.0), "L21": L1(1.0)},
    ElasticNet: lambda penalty: {"L1": L2(1.0), "L2": L1(1.0)},
    FusedTasks: _fused,
}


def without_terms(penalty: Penalty) -> Rest:
    """Return what is left of a penalty without each of its terms."""
    if isinstance(penalty, Sum):
        return _without_each(penalty.members, _added)
    if isinstance(penalty, Parts):
        return _without_each(tuple(penalty.members), _parted)
    return _MIXED.get(type(penalty), lambda _: {})(penalty)


def _without_each(
    members: Sequence[Penalty], join: Callable[[Sequence[Penalty]], Penalty]
) -> Rest:
    names = [repr(member).partition("(")[0] for member in members]
    return {
        name if names.count(name) == 1 else f"{name} ({k + 1})": join(
            [*members[:k], *members[k + 1 :]]
        )
        for k, name in enumerate(names)
    }


def _added(members: Sequence[Penalty]) -> Penalty:
    return reduce(add, members)


def _parted(members: Sequence[Penalty]) -> Penalty:
    return members[0] if len(members) == 1 else Parts(list(members))


def ablations(penalty: Any) -> dict[str, list[Penalty]]:  # noqa: ANN401 - as searches take it
    """Return what a search tries instead, without each term of its penalties."""
    given = default_penalties() if penalty is None else penalty
    listed = list(given) if isinstance(given, list | tuple) else [given]
    rests = [without_terms(one) for one in listed]
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
