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

    @classmethod
    def of(cls, positive: Mask, score: NDArray[np.floating], weight: Array | None) -> _Ties:
        mass = np.ones(len(score)) if weight is None else weight
        order = np.argsort(score, kind="stable")
        ascending, hit, mass = score[order], positive[order], mass[order]
        starts = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
        total = np.add.reduceat(mass, starts)
        own = np.add.reduceat(mass * hit, starts)
        return cls(own, total - own)


def roc_auc(positive: Mask, score: NDArray[np.floating], weight: Array | None = None) -> float:
    """Area under the ROC curve: how often a positive row has a higher score than a negative one.

    Parameters
    ----------
    positive : array of bool of shape (n,)
        The truth.
    score : array of shape (n,)
        Greater for rows that are held for positive; a tie counts one half.
    weight : array of shape (n,) or None, default=None
        Row weights >= 0.

    Returns
    -------
    float
        NaN if all rows are of one sort, or a score is NaN.

    References
    ----------
    J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 143 (1982), 29-36.
    """
    seen = _counted(positive, score, weight)
    if seen is None:
        return float("nan")
    ties = _Ties.of(*seen)
    below = np.cumsum(ties.negative) - 0.5 * ties.negative
    return float(ties.positive @ below / (ties.positive.sum() * ties.negative.sum()))


def average_precision(
    positive: Mask, score: NDArray[np.floating], weight: Array | None = None
) -> float:
    """Precision at each threshold, averaged by the positive rows that it adds.

    Parameters
    ----------
    positive : array of bool of shape (n,)
        The truth.
    score : array of shape (n,)
        Greater for rows that are held for positive.
    weight : array of shape (n,) or None, default=None
        Row weights >= 0.

    Returns
    -------
    float
        NaN if all rows are of one sort, or a score is NaN.
    """
    seen = _counted(positive, score, weight)
    if seen is None:
        return float("nan")
    ties = _Ties.of(*seen)
    found = ties.positive[::-1]
    precision = np.cumsum(found) / np.cumsum(found + ties.negative[::-1])
    return float(found @ precision / found.sum())


def calibration_error(
    confidence: NDArray[np.floating], hit: Mask, weight: Array | None = None
) -> float:
    """Measure the expected calibration error: how far shares are from predicted probabilities.

    Parameters
    ----------
    confidence : array of shape (n,)
        The predicted probability of an event in every row.
    hit : array of bool of shape (n,)
        Whether it took place.
    weight : array of shape (n,) or None, default=None
        Row weights >= 0; their sum stands for the number of rows.

    Returns
    -------
    float
        The mean over bins, by their weight, of the distance between the share of the event
        and its mean probability; NaN with under 20 rows or a NaN among the probabilities.

    Notes
    -----
    The rows are put in order of confidence and cut into min(10, n // 10) bins of equal weight
    [1]_. Rows with the same confidence stay together, so their order does not matter.

    References
    ----------
    .. [1] K. Nguyen and B. O'Connor, "Posterior calibration and exploratory analysis for
       natural language processing models", EMNLP 2015, 1587-1598.
    """
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


def _counted(
    positive: Mask, score: NDArray[np.floating], weight: Array | None
) -> tuple[Mask, NDArray[np.floating], Array | None] | None:
    """Return the rows of weight above zero; None if they are of one sort or cannot be ordered."""
    if weight is not None:
        seen = weight > 0
        positive, score, weight = positive[seen], score[seen], weight[seen]
    one_sort = not positive.any() or bool(positive.all())
    return None if one_sort or np.isnan(score).any() else (positive, score, weight)
