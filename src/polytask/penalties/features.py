"""Penalties with parameters of their own for every feature."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask._checks import nearest, sentence
from polytask._linalg import Array
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties.base import Penalty, PerFeature, Smooth
from polytask.penalties.decomposition import RidgedRows
from polytask.penalties.parts import Parts
from polytask.penalties.shifts import Shifted, shift
from polytask.penalties.sums import Sum, add

_NONE: np.ndarray = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """The features that the rows of W belong to. Shapes: unit (n_features, n_columns)."""

    n_features: int
    names: tuple[str, ...] | None
    unit: np.ndarray

    def positions(self, feature: object, parameter: str, owner: str) -> list[int]:
        """Return the rows of a feature: a position, an encoded name, or a column of a table."""
        names = self.names or ()
        whole = isinstance(feature, numbers.Integral) and not isinstance(feature, bool)
        if whole and 0 <= int(feature) < self.n_features:  # type: ignore[call-overload]
            return [int(feature)]  # type: ignore[call-overload]
        found = [j for j, name in enumerate(names) if name == feature]
        found = found or [j for j, name in enumerate(names) if name.split("=")[0] == feature]
        if found:
            return found
        allowed = f"features: positions 0 to {self.n_features - 1}"
        allowed += ", or names of columns" if names else "; X has no names"
        got = sentence(parameter, owner, allowed, repr(feature))
        raise ParameterError(got + nearest(feature, names))


def bind_features(penalty: Penalty, space: FeatureSpace) -> Penalty:
    """Return a copy of a penalty, composed or not, that knows the features."""
    match penalty:
        case Sum():
            return add(bind_features(member, space) for member in penalty.members)
        case Shifted():
            return shift(bind_features(penalty.penalty, space), penalty.by)
        case Parts():
            return Parts([_of_part(member, space) for member in penalty.members])
        case PerFeature():
            return penalty.bind_features(space)
    return penalty


def _of_part(member: Penalty, space: FeatureSpace) -> Penalty:
    """Return a member of parts that knows the features; it has to penalise each of them."""
    bound = bind_features(member, space)
    if unpenalised_rows(bound).size:
        raise IncompatibleError(
            f"{member!r} leaves features alone, and their part takes them whole; the penalties "
            "of parts have to penalise every feature. Use small weights instead of 0."
        )
    return bound


def rows_of(part: Any, index: Array) -> Any:  # noqa: ANN401 - what solvers take a prox of
    """Return a penalty of rows for some rows of W alone."""
    match part:
        case RidgedRows():
            return RidgedRows(rows_of(part.penalty, index), part.ridge)
        case PerFeature():
            return part.of_rows(index)
    return part


def unpenalised_rows(penalty: object) -> np.ndarray:
    """Return the rows of W for which zero is not special to a penalty or a part of one."""
    # Smooth terms may act on them.
    match penalty:
        case Sum():
            return _common(penalty)
        case Shifted():
            return unpenalised_rows(penalty.penalty)
        case RidgedRows():
            return unpenalised_rows(penalty.penalty)
        case PerFeature():
            return penalty.unpenalised
    return _NONE


def _common(penalty: Sum) -> np.ndarray:
    """Return the rows that no member with a kink at zero acts on."""
    kinked = [member for member in penalty.members if not isinstance(member, Smooth)]
    found = [set(unpenalised_rows(member).tolist()) for member in kinked]
    return np.array(sorted(set.intersection(*found)), dtype=np.intp) if found else _NONE


def binds_signs(penalty: object) -> bool:
    """Say whether a penalty does not allow every W."""
    match penalty:
        case Sum():
            return any(binds_signs(member) for member in penalty.members)
        case Shifted():
            return binds_signs(penalty.penalty)
        case PerFeature():
            return penalty.binds_signs
    return False
