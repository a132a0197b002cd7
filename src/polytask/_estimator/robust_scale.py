"""Centre and spread of targets some of which are wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Of normal data, the standard deviation over the median, and over the mean, distance.
_OF_MEDIAN = 1.4826022185056018
_OF_MEAN = 1.2533141373155001


def robust_moments(y: Array, weight: Array) -> tuple[float, float]:
    """Return the median, and the squared spread that a few targets cannot change."""
    # Shapes: y, weight (n,).
    seen = weight > 0
    y, weight = y[seen], weight[seen]
    if not len(y):
        return 0.0, 0.0
    centre = _median(y, weight)
    away = np.abs(y - centre)
    spread = _OF_MEDIAN * _median(away, weight)
    if spread <= 10 * np.finfo(float).eps * abs(centre):
        spread = _OF_MEAN * float(np.average(away, weights=weight))
    return centre, spread**2


def _median(values: Array, weight: Array) -> float:
    """Return the weighted median, the mean of the middle two where the weights tie."""
    order = np.argsort(values, kind="stable")
    values, reached = values[order], np.cumsum(weight[order])
    half = 0.5 * reached[-1]
    low = int(np.searchsorted(reached, half * (1 - 1e-12)))
    high = int(np.searchsorted(reached, half * (1 + 1e-12), side="right"))
    return float(0.5 * (values[low] + values[min(high, len(values) - 1)]))
