"""What is given for every feature, in their order or by name: weights and bounds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from polytask._checks import got_shape, number, sentence
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage, Text
from polytask.penalties.base import FeatureSpace

# In the order of the features, or by feature.
Weights = np.ndarray | tuple[tuple[Hashable, float], ...]
# A number for all features, one for each, by feature, or (bound) in the units of W.
Bound = float | np.ndarray | tuple[tuple[Hashable, float], ...]

SIGNS = {"lower": -1.0, "upper": 1.0}
_WEIGHT = LazyMessage("allowed.feature_weights")
_BOUND = {side: LazyMessage(f"allowed.bound.{side}") for side in SIGNS}


def _refused_weights(value: object) -> ParameterError:
    return ParameterError(sentence("feature_weights", "weighted", _WEIGHT, repr(value)))


def _checked_weight(value: object) -> float:
    if value == float("inf"):
        return float("inf")
    weight = number(value, "feature_weights", "weighted", _WEIGHT)
    if weight < 0:
        raise _refused_weights(value)
    return weight


def _is_pairs(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(v, tuple) for v in value)


def checked_weights(weights: Any) -> Weights:  # noqa: ANN401 - what users give
    """Return weights as a read-only array or as pairs, or raise."""
    if isinstance(weights, Mapping) or _is_pairs(weights):
        return tuple((key, _checked_weight(value)) for key, value in dict(weights).items())
    try:
        found = np.array(weights, dtype=float)
    except (TypeError, ValueError):
        raise _refused_weights(weights) from None
    if found.ndim != 1 or not found.size or not bool(np.all(found >= 0)):
        raise _refused_weights(weights)
    found.flags.writeable = False
    return found


def excludes(weights: Weights) -> bool:
    """Say whether a feature is excluded."""
    values = weights if isinstance(weights, np.ndarray) else [w for _, w in weights]
    return bool(np.isinf(np.asarray(values, dtype=float)).any())


def without_exclusions(weights: Weights) -> Weights:
    """Return the weights with 0 in place of inf."""
    if isinstance(weights, np.ndarray):
        return checked_weights(np.where(np.isinf(weights), 0.0, weights))
    return tuple((feature, 0.0 if w == float("inf") else w) for feature, w in weights)


def same_weights(one: Weights | None, other: Weights | None) -> bool:
    """Say whether two penalties have the same weights, or none."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one is other or np.array_equal(one, other)
    return type(one) is type(other) and one == other


def product_of_weights(one: Weights | None, other: Weights) -> Weights:
    """Return the product of weights; what either excludes is excluded."""
    if one is None:
        return other
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        excluded = np.isinf(one) | np.isinf(other)
        pair = (np.where(excluded, 1.0, w) for w in (one, other))
        return checked_weights(np.where(excluded, np.inf, np.prod(list(pair), axis=0)))
    got = LazyMessage("list.and", {"before": repr(one), "after": repr(other)})
    allowed = LazyMessage("allowed.weights_once")
    raise ParameterError(sentence("feature_weights", "weighted", allowed, got))


def ordered_weights(weights: Weights, space: FeatureSpace) -> Weights:
    """Return weights in the order of the features."""
    if isinstance(weights, np.ndarray):
        check_count(weights, space.n_features)
        return weights
    found = np.ones(space.n_features)
    for feature, weight in weights:
        found[space.positions(feature, "feature_weights", "weighted")] = weight
    return checked_weights(found)


def check_count(weights: np.ndarray, n_rows: int) -> None:
    """Refuse weights that are not as many as the features."""
    if n_rows not in (0, len(weights)):
        raise ParameterError(miscounted("feature_weights", "weighted", n_rows, len(weights)))


def miscounted(parameter: Text, owner: str, n_features: int, got: int) -> LazyMessage:
    """Return that there are not as many values as features."""
    allowed = LazyMessage("allowed.one_per_feature", {"n": n_features})
    return sentence(parameter, owner, allowed, got)


def checked_bound(value: Any, side: str) -> Bound:  # noqa: ANN401
    """Return a bound as a float, a read-only array or pairs, or raise."""
    if isinstance(value, Mapping) or _is_pairs(value):
        return tuple((key, _checked_limit(entry, side)) for key, entry in dict(value).items())
    if getattr(value, "ndim", 0) == 0 and not isinstance(value, list | tuple):
        return _checked_limit(value, side)
    found = np.array([_checked_limit(entry, side) for entry in np.ravel(value)])
    found = found.reshape(np.shape(value))
    found.flags.writeable = False
    return found


def given_bound(value: object, side: str) -> Bound:
    """Return a user's bound as `checked_bound` does; tables are what binding makes of it."""
    found = checked_bound(value, side)
    if isinstance(found, np.ndarray) and found.ndim != 1:
        raise ParameterError(sentence(side, "bounded", _BOUND[side], got_shape(found.shape)))
    return found


def _checked_limit(value: Any, side: str) -> float:  # noqa: ANN401
    found = math.nan
    if not isinstance(value, bool | str) and value is not None:
        with suppress(TypeError, ValueError):
            found = float(value)
    if not found * SIGNS[side] >= 0:
        raise ParameterError(sentence(side, "bounded", _BOUND[side], repr(value)))
    return found + 0.0


def is_finite_beyond_zero(bound: Bound) -> bool:
    """Say whether a bound is anything but 0 or absent."""
    values = [v for _, v in bound] if isinstance(bound, tuple) else bound
    found = np.abs(np.asarray(values, dtype=float))
    return bool(((found != 0) & (found < float("inf"))).any())


def table_of_bounds(bound: Bound) -> np.ndarray:
    """Return a bound as an array of shape (n_features or 1, n_columns or 1)."""
    if isinstance(bound, tuple):
        raise ParameterError(LazyMessage("penalty.refusal.names_features", {"penalty": "bounded"}))
    found = np.asarray(bound, dtype=float)
    return found if found.ndim == 2 else found.reshape(-1, 1)


def bound_in_units(bound: Bound, side: str, space: FeatureSpace) -> Bound:
    """Return a bound as an array, multiplied into the units of W."""
    if isinstance(bound, tuple):
        found = np.full(space.n_features, SIGNS[side] * np.inf)
        for feature, value in bound:
            found[space.positions(feature, side, "bounded")] = value
    elif isinstance(bound, np.ndarray) and bound.ndim == 2:
        return bound
    else:
        found = np.asarray(bound, dtype=float)
        if found.ndim == 1 and len(found) != space.n_features:
            raise ParameterError(miscounted(side, "bounded", space.n_features, len(found)))
    if np.all((found == 0) | np.isinf(found)):
        return checked_bound(found.reshape(-1, 1), side)
    return checked_bound(np.multiply(found.reshape(-1, 1), space.unit), side)


def as_given(values: Weights | Bound) -> Any:  # noqa: ANN401
    """Return weights or bounds as users give them."""
    return dict(values) if isinstance(values, tuple) else values


def shown(values: Weights | Bound) -> str:
    """Return the repr of weights or bounds, of an array its shape only."""
    if isinstance(values, np.ndarray):
        return f"<array of shape {values.shape}>"
    return repr(as_given(values))


def saved_bound(bound: Bound) -> Any:  # noqa: ANN401 - what can be saved
    """Return a bound as plain values."""
    return [list(pair) for pair in bound] if isinstance(bound, tuple) else bound


def loaded_bound(saved: Any, side: str) -> Bound:  # noqa: ANN401
    """Return the bound of :func:`saved_bound`."""
    return checked_bound({k: v for k, v in saved} if isinstance(saved, list) else saved, side)
