"""Parameters inside immutable parameters: a changed copy is put in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator

from polytask._checks import listed, nearest, sentence
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage
from polytask.penalties import Penalty

_BETWEEN = "__"


def is_immutable(held: object) -> bool:
    """Say whether a parameter is a penalty, penalties by name, or an immutable description."""
    if isinstance(held, Mapping):
        return all(isinstance(value, Penalty) for value in held.values())
    # Estimators change in place, also those whose parameters are fields of a dataclass.
    described = dataclasses.is_dataclass(held) and not isinstance(held, type | BaseEstimator)
    return isinstance(held, Penalty) or described


def changed(held: Any, name: str, value: Any, owner: str) -> Any:  # noqa: ANN401 - any parameter
    """Return a copy of an immutable parameter with another value in it."""
    if isinstance(held, Penalty):
        return held.replace(name, value)
    if not is_immutable(held):
        allowed = LazyMessage("allowed.with_parameter", {"name": name})
        raise ParameterError(sentence(owner, "set_params", allowed, repr(held)))
    parts = dict(held) if isinstance(held, Mapping) else _fields(held)
    # A layer may have the separator in its name.
    heads = [part for part in parts if name == part or name.startswith(part + _BETWEEN)]
    if not heads:
        hint = nearest(name.partition(_BETWEEN)[0], parts)
        raise ParameterError(sentence(name, owner, listed(parts), repr(name)) + hint)
    head = max(heads, key=len)
    rest = name.removeprefix(head).removeprefix(_BETWEEN)
    parts[head] = changed(parts[head], rest, value, f"{owner}{_BETWEEN}{head}") if rest else value
    return parts if isinstance(held, Mapping) else dataclasses.replace(held, **parts)


def _fields(held: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    return {field.name: getattr(held, field.name) for field in dataclasses.fields(held)}


def strengths(held: Any, name: str) -> dict[str, float]:  # noqa: ANN401 - any parameter
    """Return the strengths in an immutable parameter, by names as in ``set_params``."""
    if isinstance(held, Penalty):
        found = {f"{name}{_BETWEEN}{key}": value for key, value in held.get_params().items()}
        named = {key: v for key, v in found.items() if key.rpartition(_BETWEEN)[2] == "alpha"}
        return {key: float(v) for key, v in named.items() if isinstance(v, int | float) and v > 0}
    if not is_immutable(held):
        return {}
    parts = held if isinstance(held, Mapping) else _fields(held)
    return {
        key: value
        for part, inner in parts.items()
        for key, value in strengths(inner, f"{name}{_BETWEEN}{part}").items()
    }
