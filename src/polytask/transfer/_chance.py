"""Whether losses of the same rows differ beyond chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]

# One side of a 95% interval, and of a 99.9% interval.
SURE, SUREST = 0.975, 0.9995


def beats(one: Array, other: Array, weight: Array, sure: float = SURE) -> bool:
    """Say whether losses are lower than others of the same rows beyond chance."""
    # Shapes: one, other (n_rows,), weight (n_rows,).
    mean, error = difference(one, other, weight)
    return beyond_chance(-mean, error, len(weight), sure)


def beyond_chance(mean: float, error: float, n_rows: int, sure: float = SURE) -> bool:
    """Say whether a mean of losses is above 0 by more than its standard error allows."""
    return n_rows > 1 and mean > float(stdtrit(n_rows - 1, sure)) * error


def difference(one: Array, other: Array, weight: Array) -> tuple[float, float]:
    """Return the weighted mean of a difference of losses, and its standard error."""
    share = weight / weight.sum()
    gap = one - other
    mean = float(gap @ share)
    spread = float(((gap - mean) ** 2 * share**2).sum())
    return mean, float(np.sqrt(spread * len(gap) / max(len(gap) - 1, 1)))
