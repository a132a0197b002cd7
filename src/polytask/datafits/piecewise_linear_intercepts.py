"""The intercepts that minimise losses with kinks: weighted quantiles, pulled or not.

The loss of a column as a function of its intercept b is linear between the residuals of its
rows: a row with the residual r has the slope `lower` where b < r and `upper` where b > r.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array
from polytask.datafits.designs import Index
from polytask.datafits.intercepts import (
    AnchoredIntercepts,
    Intercepts,
    NoIntercepts,
    PulledIntercepts,
    TiedIntercepts,
)
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage

_STEPS = 200
Mask = NDArray[np.bool_]
# A slope below this share of all weights is zero.
_FLAT = 1e-12


@dataclass(frozen=True, eq=False)
class PiecewiseLinearLabels:
    """Every label of losses with a kink."""

    # Shapes: column (n_labels,), y, weight (n_labels,), lower, upper (n_labels,).

    column: Index
    y: Array
    weight: Array
    lower: Array
    upper: Array
    n_columns: int

    def total(self, values: Array, owner: Index | None = None) -> Array:
        """Sum over the rows of each column, or of each owner."""
        key = self.column if owner is None else owner
        size = self.n_columns if owner is None else int(owner.max(initial=-1)) + 1
        return np.asarray(np.bincount(key, values, minlength=size), dtype=float)

    @cached_property
    def seen(self) -> Mask:
        """Whether each column has a row with a weight."""
        return self.total(self.weight) > 0


@dataclass(frozen=True, eq=False)
class _Sorted:
    """The residuals of every group in ascending order, and the slopes around them."""

    residual: Array
    group: Index
    before: Array
    after: Array
    ends: Index

    @classmethod
    def of(
        cls, rows: PiecewiseLinearLabels, residual: Array, group: Index, n_groups: int
    ) -> _Sorted:
        """Sort the residuals of rows with weights by group."""
        kept = np.flatnonzero(rows.weight > 0)
        order = kept[np.lexsort((residual[kept], group[kept]))]
        rising = rows.weight[order] * (rows.upper - rows.lower)[order]
        start = np.bincount(group[order], rows.weight[order] * rows.lower[order], n_groups)
        ends = np.cumsum(np.bincount(group[order], minlength=n_groups))
        summed = np.cumsum(rising)
        first = np.concatenate([[0.0], summed])[np.concatenate([[0], ends[:-1]])]
        after = summed - first[group[order]] + start[group[order]]
        return cls(residual[order], group[order], after - rising, after, ends.astype(np.intp))

    def first(self, reached: Mask) -> tuple[Index, Mask]:
        """Return the first row of each group for which `reached` holds, and whether one does."""
        n_groups = len(self.ends)
        place: Index = np.flatnonzero(reached)
        found: Index = np.full(n_groups, -1, dtype=np.intp)
        # The last write stays: in descending order it is that of the first row.
        found[self.group[place[::-1]]] = place[::-1]
        return found, found >= 0


def best_intercepts(rows: PiecewiseLinearLabels, plain: Array, intercepts: Intercepts) -> Array:
    """Return the best intercepts for predictions without, shape (n_columns,)."""
    # Shapes: plain (n_labels,).
    residual = rows.y - plain
    if isinstance(intercepts, TiedIntercepts):
        n_groups = int(intercepts.groups.max(initial=-1)) + 1
        group = intercepts.groups[rows.column]
        return _quantiles(_Sorted.of(rows, residual, group, n_groups))[intercepts.groups]
    if isinstance(intercepts, AnchoredIntercepts):
        by_column = _Sorted.of(rows, residual, rows.column, rows.n_columns)
        return _pulled(by_column, intercepts.anchor, intercepts.strength)[0]
    if isinstance(intercepts, PulledIntercepts):
        by_column = _Sorted.of(rows, residual, rows.column, rows.n_columns)
        return _to_means(by_column, intercepts, rows.seen)
    if isinstance(intercepts, NoIntercepts):
        return np.zeros(rows.n_columns)
    fields = {"kind": type(intercepts).__name__}
    raise IncompatibleError(LazyMessage("datafit.refusal.quantile_levels", fields))


def _quantiles(order: _Sorted) -> Array:
    """Return where the slope of each group changes its sign; the middle of where it is 0."""
    size = _FLAT * np.bincount(order.group, order.after - order.before, len(order.ends))
    slack = size[order.group]
    low, there = order.first(order.after >= -slack)
    high, _ = order.first(order.after > slack)
    high = np.where(high < 0, low, high)
    middle = np.zeros(len(order.ends))
    middle[there] = 0.5 * (order.residual[low[there]] + order.residual[high[there]])
    return middle


def _pulled(order: _Sorted, centre: Array, strength: float) -> tuple[Array, Array]:
    """Return the best b of each column pulled to a centre, and its derivative in the centre."""
    pull = strength * (order.residual - centre[order.group])
    place, there = order.first(order.after + pull >= 0)
    n = len(centre)
    final = np.zeros(n)
    last = order.ends - 1
    filled = np.diff(np.concatenate([[0], order.ends])) > 0
    final[filled] = order.after[last[filled]]
    slope = np.where(there, order.before[place] if len(order.before) else 0.0, final)
    here = np.where(there, order.residual[place] if len(order.residual) else 0.0, np.inf)
    line = centre - slope / strength
    # Left of the kink the slope is still below zero, unless it is met on the line before it.
    return np.minimum(line, here), np.where(line < here, 1.0, 0.0)


def _to_means(order: _Sorted, intercepts: PulledIntercepts, seen: Mask) -> Array:
    """Return intercepts pulled to the mean of their group, which is sought by Newton's method."""
    groups, strength = intercepts.groups, intercepts.strength
    size = int(groups.max(initial=-1)) + 1
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, groups[order.group], order.residual)
    np.maximum.at(high, groups[order.group], order.residual)
    known = low <= high
    low, high = np.where(known, low, 0.0), np.where(known, high, 0.0)
    mean = 0.5 * (low + high)
    for _ in range(_STEPS):
        b, slope = _pulled(order, mean[groups], strength)
        # A column without rows is where its group is.
        b, slope = np.where(seen, b, mean[groups]), np.where(seen, slope, 1.0)
        excess = np.bincount(groups, mean[groups] - b, size)
        low, high = np.where(excess <= 0, mean, low), np.where(excess >= 0, mean, high)
        if np.all(high - low <= 4 * np.finfo(float).eps * (np.abs(low) + np.abs(high))):
            break
        curvature = np.bincount(groups, 1.0 - slope, size)
        newton = mean - np.divide(
            excess, curvature, out=np.full(size, np.inf), where=curvature > 0
        )
        inside = (newton > low) & (newton < high)
        settled = excess == 0
        mean = np.where(settled, mean, np.where(inside, newton, 0.5 * (low + high)))
    return np.where(seen, _pulled(order, mean[groups], strength)[0], mean[groups])


def balanced(rows: PiecewiseLinearLabels, u: Array, owner: Index | None) -> Array:
    """Return derivatives near u whose weighted sums vanish in every group, within their bounds."""
    # Shapes: u (n_labels,), owner (n_labels,).
    if owner is None:
        return u
    size = int(owner.max(initial=-1)) + 1
    # There every derivative of the group is at its upper, or its lower, bound.
    low, high = np.zeros(size), np.zeros(size)
    np.minimum.at(low, owner, u - rows.upper)
    np.maximum.at(high, owner, u - rows.lower)
    shift = np.zeros(size)
    bounds = np.maximum(np.abs(rows.lower), np.abs(rows.upper))
    weights = np.bincount(owner, rows.weight * bounds, size)
    for _ in range(_STEPS):
        point = u - shift[owner]
        held = np.clip(point, rows.lower, rows.upper)
        sums = np.bincount(owner, rows.weight * held, size)
        if np.all(np.abs(sums) <= 4 * np.finfo(float).eps * weights):
            break
        low, high = np.where(sums >= 0, shift, low), np.where(sums <= 0, shift, high)
        curvature = np.bincount(owner, rows.weight * (held == point), size)
        newton = shift + np.divide(sums, curvature, out=np.full(size, np.inf), where=curvature > 0)
        inside = (newton > low) & (newton < high)
        shift = np.where(inside, newton, 0.5 * (low + high))
    return np.clip(u - shift[owner], rows.lower, rows.upper)


def zero_sum_groups(rows: PiecewiseLinearLabels, intercepts: Intercepts) -> Index | None:
    """Return the groups of labels whose derivatives sum to zero at every optimum, or None."""
    if isinstance(intercepts, TiedIntercepts | PulledIntercepts):
        return np.asarray(intercepts.groups[rows.column])
    return None


def subgradient(
    rows: PiecewiseLinearLabels, plain: Array, b: Array, intercepts: Intercepts
) -> Array:
    """Return derivatives at the best intercepts that make these stationary."""
    # Shapes: plain (n_labels,), b (n_columns,).
    # Rows that lie on a kink share what is left, all alike.
    away = plain + b[rows.column] - rows.y
    size = np.abs(plain) + np.abs(b[rows.column]) + np.abs(rows.y)
    tie = np.abs(away) <= 64 * np.finfo(float).eps * size
    u = np.where(away > 0, rows.upper, rows.lower)
    if isinstance(intercepts, NoIntercepts):
        return np.where(tie, 0.0, u)
    tied = isinstance(intercepts, TiedIntercepts)
    owner = intercepts.groups[rows.column] if tied else rows.column  # type: ignore[attr-defined]
    goal = -rows.total(np.zeros(len(u)), owner)
    if not tied:
        goal = -intercepts.gradient(b)[: len(goal)]
    held = rows.total(np.where(tie, 0.0, rows.weight * u), owner)
    base = rows.total(np.where(tie, rows.weight * rows.lower, 0.0), owner)
    room = rows.total(np.where(tie, rows.weight * (rows.upper - rows.lower), 0.0), owner)
    lack = goal - held - base
    share = np.clip(np.divide(lack, room, out=np.zeros_like(lack), where=room > 0), 0.0, 1.0)
    return np.where(tie, rows.lower + share[owner] * (rows.upper - rows.lower), u)
