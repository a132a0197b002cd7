"""Moments of several sets of rows from those of each, and moments in other units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from polytask.datafits.base import Array
from polytask.datafits.moments import TaskStatistics

# A second moment below this share of the squared mean is rounding ...
_ROUNDING = 1e-26
# ... and so is a difference of means below this share of them.
_ROUNDED = 4 * float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Counted:
    """Moments, and how much weight they stand for.

    Attributes
    ----------
    statistics : TaskStatistics
        The moments.
    counts : ndarray of shape (n_columns,)
        Sum of the weights of each column.
    """

    statistics: TaskStatistics
    counts: Array


def joined(one: Counted, other: Counted) -> Counted:
    """Return the moments of two sets of rows together.

    Nothing is subtracted, so no digits are lost however different the sets are.

    Parameters
    ----------
    one, other : Counted
        Of the same columns.

    Returns
    -------
    Counted

    References
    ----------
    T. Chan, G. Golub and R. LeVeque, "Algorithms for computing the sample variance: analysis
    and recommendations", The American Statistician 37 (1983), equations 1.5a and 1.5b.
    """
    a, b = one.statistics, other.statistics
    counts = one.counts + other.counts
    total = np.maximum(counts, np.finfo(float).tiny)
    p, q = one.counts / total, other.counts / total
    x_away, y_away = b.x_mean - a.x_mean, b.y_mean - a.y_mean
    # Columns that have one matrix have one weight too.
    alike = len(a.second) == len(b.second) == 1
    each = slice(0, 1) if alike else slice(None)
    shift = x_away[:, each].T * np.sqrt(p * q)[each, None]
    second = p[each, None, None] * a.second + q[each, None, None] * b.second
    second += shift[:, :, None] * shift[:, None, :]
    whole = TaskStatistics(
        second=second,
        cross=p * a.cross + q * b.cross + p * q * x_away * y_away,
        spread=p * a.spread + q * b.spread + p * q * y_away**2,
        x_mean=p * a.x_mean + q * b.x_mean,
        y_mean=p * a.y_mean + q * b.y_mean,
        scale=np.ones_like(counts),
    )
    return Counted(whole, counts)


def all_but_one(parts: Sequence[Counted]) -> tuple[Counted, list[Counted]]:
    """Return the moments of all sets of rows, and those of all but each.

    Parameters
    ----------
    parts : sequence of Counted
        Two or more.

    Returns
    -------
    tuple of (Counted, list of Counted)
        At a cost of three additions per set.
    """
    ahead = list(accumulate(parts, joined))
    behind = list(accumulate(reversed(parts), joined))[::-1]
    between = [joined(a, b) for a, b in zip(ahead[:-2], behind[2:], strict=True)]
    return ahead[-1], [behind[1], *between, ahead[-2]]


def without_rounding(s: TaskStatistics) -> TaskStatistics:
    """Return moments in which features that are constant in a task do not vary there."""
    # Once their means are taken off, nothing tells what rounding left of them from a feature.
    own = np.diagonal(s.second, axis1=1, axis2=2)
    dead = (own <= _ROUNDING * s.x_mean.T[: len(own)] ** 2) & (own > 0)
    if not dead.any():
        return s
    kept = np.where(dead, 0.0, 1.0)
    second = s.second * kept[:, :, None] * kept[:, None, :]
    return replace(s, second=second, cross=s.cross * kept.T)


@dataclass(frozen=True, eq=False)
class Units:
    """Where features and targets have their zero, and what is one.

    Attributes
    ----------
    x_zero, x_one : ndarray of shape (n_features,)
        Subtracted from the features; then they are divided.
    y_zero, y_one : ndarray of shape (n_columns,)
        The same for the targets.
    """

    x_zero: Array
    x_one: Array
    y_zero: Array
    y_one: Array

    @property
    def plain(self) -> bool:
        """Whether these are the units of the data."""
        moved = self.x_zero.any() or self.y_zero.any()
        return not moved and bool(np.all(self.x_one == 1.0) and np.all(self.y_one == 1.0))


def in_units(s: TaskStatistics, units: Units, scale: Array) -> TaskStatistics:
    """Return the moments of ``(x - x_zero) / x_one`` and ``(y - y_zero) / y_one``.

    Parameters
    ----------
    s : TaskStatistics
        In the units of the data.
    units : Units
        The units wanted.
    scale : ndarray of shape (n_columns,)
        Task weights of the objective; a task without weight keeps 0.

    Returns
    -------
    TaskStatistics
    """
    if units.plain:
        return replace(s, scale=scale)
    s = without_rounding(s) if units.x_zero.any() else s
    plain_x = bool(np.all(units.x_one == 1.0))
    inverse = 1.0 / units.x_one
    second = s.second if plain_x else s.second * np.multiply.outer(inverse, inverse)
    zero = units.x_zero[:, None]
    away = s.x_mean - zero
    away = np.where(np.abs(away) <= _ROUNDED * np.abs(zero), 0.0, away)
    return replace(
        s,
        second=second,
        cross=s.cross * inverse[:, None] / units.y_one,
        spread=s.spread / units.y_one**2,
        x_mean=away * inverse[:, None],
        y_mean=(s.y_mean - units.y_zero) / units.y_one,
        scale=scale,
    )
