"""The intercepts that minimise weighted roots of mean squares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array
from polytask.datafits.intercepts import (
    AnchoredIntercepts,
    Groups,
    Intercepts,
    NoIntercepts,
    PulledIntercepts,
    TiedIntercepts,
)
from polytask.exceptions import IncompatibleError

_STEPS = 200
_QUICK_STEPS = 30
# The error of a step of Newton's method after one of this size, in units of noise, is rounding.
_SETTLED = 1e-8
_ROUNDING = 4 * float(np.finfo(float).eps)

# From arguments to values and slopes, each function increasing in its own argument.
Known = NDArray[np.bool_]
Increasing = Callable[[Array], tuple[Array, Array]]


def best_levels(mean: Array, variance: Array, weight: Array, intercepts: Intercepts) -> Array:
    """Return the b that minimises ``sum weight sqrt(variance + (mean - b)^2) + penalty``."""
    # Shapes: mean, variance (n_columns,), weight (n_columns,), result (n_columns,).
    match intercepts:
        case NoIntercepts():
            return np.zeros_like(mean)
        case TiedIntercepts() | PulledIntercepts() if intercepts.centres:
            return np.where(weight > 0, mean, 0.0)
    quick = _by_newton(mean, variance, weight, intercepts)
    return _safely(mean, variance, weight, intercepts) if quick is None else quick


def _by_newton(
    mean: Array, variance: Array, weight: Array, intercepts: Intercepts
) -> Array | None:
    """Return the best b by Newton's method, None where that does not settle."""
    # A step that does not lower the value is replaced by that of a squared loss, which does.
    push = intercepts.gradient(np.zeros_like(mean))

    def squared(b: Array) -> Array:
        factor = weight / np.sqrt(variance + (mean - b) ** 2)
        return intercepts.solve(factor, factor * mean - push)

    def value(b: Array) -> float:
        return float(weight @ np.sqrt(variance + (mean - b) ** 2)) + intercepts.penalty(b)

    b = squared(intercepts.project(mean))
    lowest = value(b)
    for _ in range(_QUICK_STEPS):
        force, bend = _force(b, mean, variance, weight)
        step = intercepts.solve(bend, -(force + intercepts.gradient(b)))
        if np.all(np.abs(step) <= _SETTLED * np.sqrt(variance + (mean - b) ** 2)):
            return b + step
        found = value(b + step)
        b = b + step if found < lowest else squared(b)
        lowest = found if found < lowest else value(b)
    return None


def _safely(mean: Array, variance: Array, weight: Array, intercepts: Intercepts) -> Array:
    """Return the best b between bounds, for tasks that are far apart beside their noise."""
    match intercepts:
        case TiedIntercepts(groups=groups):
            return _tied(mean, variance, weight, groups)
        case AnchoredIntercepts(anchor=anchor, strength=strength):
            return _pulled(mean, variance, weight, anchor, strength)[0]
        case PulledIntercepts(groups=groups, strength=strength):
            return _at_group_means(mean, variance, weight, groups, strength)
    raise IncompatibleError(f"The root of mean squares does not know {intercepts!r}.")


def _root(function: Increasing, low: Array, high: Array) -> Array:
    """Return where increasing functions vanish, each between its bounds, by Newton's method."""
    low, high = np.minimum(low, high), np.maximum(low, high)
    # What bounds the root is known to no more digits than this.
    width = np.maximum(np.abs(low), np.abs(high))
    at = 0.5 * (low + high)
    for _ in range(_STEPS):
        value, slope = function(at)
        low, high = np.where(value <= 0, at, low), np.where(value >= 0, at, high)
        newton = at - np.divide(value, slope, out=np.full_like(at, np.inf), where=slope > 0)
        inside = (newton >= low) & (newton <= high)
        step = np.where(inside, newton, 0.5 * (low + high)) - at
        at = at + step
        if np.all(np.abs(step) <= _ROUNDING * width):
            break
    return at


def _force(b: Array, mean: Array, variance: Array, weight: Array) -> tuple[Array, Array]:
    """Return the first and the second derivative of the roots."""
    away = b - mean
    size = np.sqrt(variance + away * away)
    return weight * away / size, weight * variance / size**3


def _range(values: Array, known: Known, groups: Groups, size: int) -> tuple[Array, Array]:
    """Return the smallest and the largest known value of every group, 0 where none is known."""
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, groups[known], values[known])
    np.maximum.at(high, groups[known], values[known])
    return np.where(low <= high, low, 0.0), np.where(low <= high, high, 0.0)


def _tied(mean: Array, variance: Array, weight: Array, groups: Groups) -> Array:
    size = int(groups.max(initial=-1)) + 1

    def excess(level: Array) -> tuple[Array, Array]:
        force, bend = _force(level[groups], mean, variance, weight)
        return _sums(groups, force, size), _sums(groups, bend, size)

    return np.asarray(_root(excess, *_range(mean, weight > 0, groups, size))[groups])


def _sums(groups: Groups, values: Array, size: int) -> Array:
    return np.bincount(groups, values, size).astype(float)


def _pulled(
    mean: Array, variance: Array, weight: Array, centre: Array, strength: float
) -> tuple[Array, Array]:
    """Return intercepts pulled to given values, and how much they follow these."""

    def excess(b: Array) -> tuple[Array, Array]:
        force, bend = _force(b, mean, variance, weight)
        return force + strength * (b - centre), bend + strength

    b = _root(excess, np.where(weight > 0, mean, centre), centre)
    return b, strength / (strength + _force(b, mean, variance, weight)[1])


def _at_group_means(
    mean: Array, variance: Array, weight: Array, groups: Groups, strength: float
) -> Array:
    """Return intercepts pulled to the mean of their group."""
    size = int(groups.max(initial=-1)) + 1

    def excess(centre: Array) -> tuple[Array, Array]:
        b, follows = _pulled(mean, variance, weight, centre[groups], strength)
        return _sums(groups, centre[groups] - b, size), _sums(groups, 1.0 - follows, size)

    centre = _root(excess, *_range(mean, weight > 0, groups, size))
    return _pulled(mean, variance, weight, centre[groups], strength)[0]
