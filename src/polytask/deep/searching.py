"""What is worth searching about a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polytask._estimator.nested import strengths
from polytask._estimator.ranges import Between
from polytask.deep.network import MLP
from polytask.deep.sharing import CGC, PLE, Hard, MMoE

Space = dict[str, Between | Sequence[Any]]

_RATES = (3e-4, 1e-2)
# Times the learning rate: what every weight loses in a step.
_DECAYS = (1e-3, 3.0)
_DROPPED = (0.0, 0.5)
_WIDTHS = (64, 128, 256)
_EXPERTS = 4
_MOST_EXPERTS = 8
# Strengths that are given are searched over this factor on both sides.
_FACTOR = 100.0


def space_of(model: Any) -> Space:  # noqa: ANN401 - a deep estimator, which is above
    """Return ranges and values for the parameters of a deep estimator, by name."""
    space: Space = {}
    if model.optimizer is None:
        space |= {"learning_rate": Between(*_RATES), "weight_decay": Between(*_DECAYS)}
    space |= _of_trunk(model.trunk)
    space |= _of_sharing(model)
    given = strengths(model.penalties, "penalties") | strengths(model.sharing, "sharing")
    return space | {name: Between(a / _FACTOR, a * _FACTOR) for name, a in given.items()}


def _of_trunk(trunk: Any) -> Space:  # noqa: ANN401 - MLP, nn.Module or None
    if trunk is None:
        nets = [MLP((w, w), dropout=p) for w in _WIDTHS for p in (0.0, 0.1, 0.3)]
        return {"trunk": nets}
    if not isinstance(trunk, MLP) or not len(trunk.widths):
        return {}
    widths = [tuple(max(round(w * f), 1) for w in trunk.widths) for f in (0.5, 1, 2)]
    return {"trunk__widths": widths, "trunk__dropout": Between(*_DROPPED, log=False)}


def _of_sharing(model: Any) -> Space:  # noqa: ANN401 - a deep estimator
    """Return ways of sharing where none is given, else how many experts there may be."""
    if model.sharing is None:
        return {"sharing": [Hard(), MMoE(_EXPERTS)]} if _takes_experts(model.trunk) else {}
    counts = {MMoE: ("n_experts",), CGC: ("n_shared",), PLE: ("n_shared",)}
    names = counts.get(type(model.sharing), ())
    most = Between(1, _MOST_EXPERTS, log=False, integer=True)
    return {f"sharing__{name}": most for name in names}


def _takes_experts(trunk: Any) -> bool:  # noqa: ANN401 - MLP, nn.Module or None
    """Say whether gates can read the input of a trunk, and copies of it can be drawn."""
    if trunk is None:
        return True
    plain = isinstance(trunk, MLP) and trunk.embedding is None and trunk.norm != "task_batch"
    return plain and len(trunk.widths) > 0
