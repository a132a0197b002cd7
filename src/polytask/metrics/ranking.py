"""What the order and the size of predicted probabilities are worth; ties and weights count.

scikit-learn's functions give the same numbers in about a millisecond a call, most of it spent
on checks: too slow for thousands of tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
# (truth, score, weight) -> how well the score puts the true rows above the others
Ranking = Callable[[Mask, NDArray[np.floating], Array | None], float]

MAX_BINS = 10
ROWS_PER_BIN = 10
MIN_ROWS = 20


class _Ties(NamedTuple):
    """Rows with the same score as one, in ascending order: the weight of each sort of row."""

    positive: Array
    negative: Array


def roc_auc(positive: Mask, score: NDArray[np.floating], weight: Array | None = None) -> float:
    """Area under the ROC curve: the share of pairs that the score orders rightly."""
    # Shapes: positive (n,), score (n,), weight (n,).
    ties = _ties(positive, score, weight)
    if ties is None:
        return float("nan")
    below = np.cumsum(ties.negative) - 0.5 * ties.negative
    return float(ties.positive @ below / (ties.positive.sum() * ties.negative.sum()))


def average_precision(
    positive: Mask, score: NDArray[np.floating], weight: Array | None = None
) -> float:
    """Precision at each threshold, averaged by the positive rows that it adds."""
    # Shapes: positive (n,), score (n,), weight (n,).
    ties = _ties(positive, score, weight)
    if ties is None:
        return float("nan")
    found = ties.positive[::-1]
    precision = np.cumsum(found) / np.cumsum(found + ties.negative[::-1])
    return float(found @ precision / found.sum())


def calibration_error(
    confidence: NDArray[np.floating], hit: Mask, weight: Array | None = None
) -> float:
    """Measure the expected calibration error: how far shares are from predicted probabilities."""
    # Shapes: confidence (n,), hit (n,), weight (n,).
    mass = np.ones(len(confidence)) if weight is None else weight
    confidence, hit, mass = confidence[mass > 0], hit[mass > 0], mass[mass > 0]
    total = float(mass.sum())
    if total < MIN_ROWS or np.isnan(confidence).any():
        return float("nan")
    bins = min(MAX_BINS, int(total // ROWS_PER_BIN))
    levels, level = np.unique(confidence, return_inverse=True)
    held = np.bincount(level, mass, len(levels))
    middle = np.cumsum(held) - 0.5 * held
    own = np.minimum((bins * (middle / total)).astype(np.intp), bins - 1)[level]
    excess = np.bincount(own, mass * (hit - confidence), bins)
    return float(np.abs(excess).sum() / total)


def _ties(positive: Mask, score: NDArray[np.floating], weight: Array | None) -> _Ties | None:
    """Return rows of weight above zero by score; None if of one sort or without an order."""
    mass = np.ones(len(score)) if weight is None else weight
    seen = mass > 0
    positive, score, mass = positive[seen], score[seen], mass[seen]
    if not positive.any() or positive.all() or np.isnan(score).any():
        return None
    order = np.argsort(score, kind="stable")
    ascending, hit, mass = score[order], positive[order], mass[order]
    starts = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
    total = np.add.reduceat(mass, starts)
    own = np.add.reduceat(mass * hit, starts)
    return _Ties(own, total - own)
