"""Scores of one task and their mean over tasks; undefined ones are counted, not hidden."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask.exceptions import DataError
from polytask.losses import LogLink, Loss
from polytask.messages import LazyMessage

# Width of the interval of a best constant, relative to its ends.
_CLOSE = 1e-12

Labels = NDArray[Any]
Weight = NDArray[np.float64] | None
# (y, prediction, weight) -> score, NaN where it is undefined
Score = Callable[[Labels, Labels, Weight], float]


@dataclass(frozen=True)
class TaskScores:
    """One score per task.

    Attributes
    ----------
    values : tuple of float
        NaN where the score is undefined for the task.
    """

    values: tuple[float, ...]

    @property
    def undefined(self) -> int:
        """The number of tasks without a score."""
        return int(np.isnan(self.values).sum())

    @property
    def mean(self) -> float:
        """The mean over the tasks that have a score, NaN if none has."""
        defined = [value for value in self.values if not np.isnan(value)]
        return float(np.mean(defined)) if defined else float("nan")


def scores_by_task(tasks: Iterable[tuple[Labels, Labels, Weight]], score: Score) -> TaskScores:
    """Score every task.

    Parameters
    ----------
    tasks : iterable of (y, prediction, weight)
        The rows of each task; `weight` may be None.
    score : callable
        Such as :func:`r2` or :func:`accuracy`.

    Returns
    -------
    TaskScores
    """
    return TaskScores(tuple(float(score(y, p, w)) for y, p, w in tasks))


def r2(y: Labels, prediction: Labels, weight: Weight = None) -> float:
    """Coefficient of determination; NaN with under two rows or a constant y.

    Parameters
    ----------
    y : array of shape (n,)
        The targets.
    prediction : array of shape (n,)
        What was predicted.
    weight : array of shape (n,), default=None
        Row weights.
    """
    y, prediction = _numbers(y), np.asarray(prediction, dtype=float)
    if weight is not None:
        seen = np.asarray(weight) > 0
        y, prediction, weight = y[seen], prediction[seen], np.asarray(weight)[seen]
    # Not by the sum of squares: the mean of three 0.1s is not 0.1.
    if len(y) < 2 or np.all(y == y[0]):
        return float("nan")
    mean = np.average(y, weights=weight)
    total = np.average((y - mean) ** 2, weights=weight)
    if total <= 0:
        return float("nan")
    with np.errstate(over="ignore"):
        residual = np.average((y - prediction) ** 2, weights=weight)
    return float(1.0 - residual / total)


def _numbers(y: Labels) -> NDArray[np.float64]:
    try:
        return np.asarray(y, dtype=float)
    except (TypeError, ValueError):
        label = next(v for v in np.asarray(y).tolist() if not isinstance(v, numbers.Real))
        raise DataError(sentence("y", "r2", LazyMessage("allowed.numbers"), repr(label))) from None


def accuracy(y: Labels, prediction: Labels, weight: Weight = None) -> float:
    """Share of rows predicted right; NaN without rows.

    Parameters
    ----------
    y : array of shape (n,)
        The labels.
    prediction : array of shape (n,)
        What was predicted.
    weight : array of shape (n,), default=None
        Row weights.
    """
    if len(y) == 0:
        return float("nan")
    return float(np.average(np.asarray(y) == np.asarray(prediction), weights=weight))


def best_constant(loss: Loss, y: Labels, weight: Weight = None) -> float:
    """Return the predictor that minimises the mean of a loss with a finite best constant."""
    # Shapes: y (n,), weight (n,).
    y = np.asarray(y, dtype=float)
    if isinstance(loss, LogLink):
        mean = float(np.average(y, weights=weight))
        return float(np.log(mean)) if mean > 0 else -np.inf

    def slope(eta: float) -> float:
        return float(np.average(loss.gradient(y, np.full(y.shape, eta)), weights=weight))

    # The best constant of every single row lies among them.
    low, high = min(float(y.min()), -1.0), max(float(y.max()), 1.0)
    size = float(np.average(np.abs(y), weights=weight))
    while high - low > _CLOSE * max(abs(low), abs(high), size):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    found = 0.5 * (low + high)

    def cost(eta: float) -> float:
        return float(np.average(loss.value(y, np.full(y.shape, eta)), weights=weight))

    # Where the loss has kinks a target is best, and it is free of rounding.
    nearest = float(y[np.argmin(np.abs(y - found))])
    return nearest if cost(nearest) <= cost(found) else found


def d2(loss: Loss, y: Labels, eta: Labels, null_eta: Labels, weight: Weight = None) -> float:
    """Share of the deviance explained: 1 - loss(eta) / loss(null_eta).

    Parameters
    ----------
    loss : Loss
        The loss of the task.
    y : ndarray of shape (n,)
        Targets as the loss takes them.
    eta, null_eta : ndarray
        Predictors of the model and of the best constant.
    weight : ndarray of shape (n,) or None
        Row weights.

    Returns
    -------
    float
        NaN without rows, or where the constant explains everything.
    """
    if len(y) == 0:
        return float("nan")
    null = float(np.average(loss.value(y, null_eta), weights=weight))
    if null <= 0:
        return float("nan")
    return 1.0 - float(np.average(loss.value(y, eta), weights=weight)) / null
