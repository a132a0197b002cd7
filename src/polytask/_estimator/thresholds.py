"""Whether groups lie one above the other in a number, as classes do that thresholds make."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Neighbouring groups are apart from this AUC on; a first look at some rows may fall short of it.
APART, _APART_IN_SOME = 0.995, 0.97
# Rows of a group at least, and as a share of all; rows that such groups hold together.
_FEWEST, _FEWEST_IN_SOME, _SMALLEST, _MOST_ROWS = 10, 3, 0.01, 0.9
_LOOKED_AT = 2000


def some_rows(n: int) -> NDArray[np.intp]:
    """Return rows of a first look, from everywhere: files are sorted by task, class or time."""
    return np.linspace(0, n - 1, min(n, _LOOKED_AT)).astype(np.intp)


def may_be_apart(numbers: NDArray[np.float64], groups: NDArray[np.intp]) -> bool:
    """Say whether the groups may lie one above the other, as far as some rows tell."""
    return separation(numbers, groups, _FEWEST_IN_SOME) >= _APART_IN_SOME


def separation(
    numbers: NDArray[np.float64], groups: NDArray[np.intp], fewest: int = _FEWEST
) -> float:
    """Return the least AUC of two neighbouring groups, 0 where there are too few rows."""
    both = np.isfinite(numbers) & (groups >= 0)
    numbers, groups = numbers[both], groups[both]
    sizes = np.bincount(groups)
    large = np.flatnonzero(sizes >= max(fewest, _SMALLEST * len(groups)))
    if len(large) < 2 or sizes[large].sum() < _MOST_ROWS * len(groups):
        return 0.0
    parts = [np.sort(numbers[groups == k]) for k in large]
    parts.sort(key=lambda part: float(part[len(part) // 2]))
    return min(_auc(low, high) for low, high in pairwise(parts))


def _auc(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    """Return how often a number of the second is above one of the first, both sorted."""
    below = (np.searchsorted(low, high, side).sum() for side in ("left", "right"))
    return float(sum(below)) / (2 * len(low) * len(high))
