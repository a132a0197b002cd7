"""The best constant to add to predictors, known in closed form where the link is a logarithm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array
from polytask.datafits.designs import Shared, Stacked
from polytask.losses import LogLink

# What stands for the sum of all counts where each is zero, per unit of weight: their best
# level is minus infinity.
_ALMOST_NONE = 1e-3


def log_sums(
    design: Stacked | Shared, loss: LogLink, y: Array, weight: Array, eta: Array
) -> tuple[Array, Array]:
    """Return the logarithms of the two sums whose ratio is the best constant."""
    # Shapes: linear, exponential (columns of the design,).
    exponent = np.where(weight > 0, loss.side * eta + loss.log_factor(y), -np.inf)
    top = _largest(design, exponent)
    top = np.where(np.isfinite(top), top, 0.0)
    whole = np.zeros(int(design.columns.max(initial=-1)) + 1)
    whole[design.columns] = top
    sums = design.collect(weight * np.exp(exponent - design.spread(whole)))
    total = design.collect(weight)
    multiple = np.maximum(design.collect(weight * loss.multiple(y)), _ALMOST_NONE * total)
    return _log(multiple), top + _log(sums)


def _largest(design: Stacked | Shared, values: Array) -> Array:
    """Return the largest value of each column, -inf without rows."""
    if isinstance(design, Shared):
        return np.asarray(values.max(axis=0, initial=-np.inf))
    filled = np.diff(design.offsets) > 0
    out = np.full(len(filled), -np.inf)
    if filled.any():
        out[filled] = np.maximum.reduceat(values, design.offsets[:-1][filled])
    return out


def _log(sums: Array) -> Array:
    """Return logarithms, NaN of sums over nothing."""
    return np.log(sums, out=np.full_like(sums, np.nan), where=sums > 0)


def joined_sums(sums: Array, groups: NDArray[np.intp]) -> Array:
    """Return logarithms of sums over the columns of each group, one for every column."""
    # Shapes: sums (n_columns,), groups (n_columns,).
    total = np.full(int(groups.max(initial=-1)) + 1, -np.inf)
    seen = ~np.isnan(sums)
    np.logaddexp.at(total, groups[seen], sums[seen])
    total = np.where(np.isneginf(total), np.nan, total)
    return np.asarray(total[groups])
