"""What may be made of new rows: tried on rows that were left out, and chosen by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import MultiTaskEstimator
from polytask.data import TaskData
from polytask.exceptions import DataError
from polytask.losses import Multinomial, PiecewiseLinear
from polytask.messages import LazyMessage
from polytask.metrics.scores import best_constant
from polytask.transfer._pulled import Grid, Line, Pulled, QuadraticPull, TaskRows, learn
from polytask.transfer._refit import natural_losses, refitted
from polytask.transfer._report import Adaptation, CandidateLosses, report_of
from polytask.transfer._rows import NewRows, NewTask

Array = NDArray[np.float64]
Learner = Callable[[NewTask, TaskRows], Pulled]


class Predictor(Protocol):
    """What predicts the rows of a task."""

    def eta(self, X: Any) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the predictors of some rows, of shape (n_rows, n_columns)."""
        ...


class Predicts(Protocol):
    """A task that was learned, whatever from."""

    @property
    def line(self) -> Predictor:
        """How it predicts."""
        ...


# Rows are left out one by one up to so many, else in a few folds.
_SINGLY = 10
_FOLDS = 5
# Refits of the whole model are dear.
_REFITS = 5
_ALONE = Grid((1.0, 0.01, 0.1, 10.0, 100.0, 1000.0))
# Classes that few rows separate always ask for less, and would then be far too certain.
_ALONE_CLASSES = Grid((1.0, 10.0, 100.0, 1000.0))
# Half a row of each class, so that one class alone has finite odds.
_PRIOR_ROWS = 0.5
# The level of a task of its own is all but free.
_FREE = 1e-4


def held_out(given: NewRows, learner: Callable[[NewTask, TaskRows], Predicts]) -> Array:
    """Return the loss of each row under the model of the other folds; NaN for a single row."""
    losses = []
    for task in given.tasks:
        n = len(task.rows.y)
        own = np.full(n, np.nan)
        every = np.arange(n)
        for fold in task.rows.folds(n if n <= _SINGLY else _FOLDS) if n > 1 else []:
            line = learner(task, task.rows.part(np.setdiff1d(every, fold))).line
            part = task.rows.part(fold)
            own[fold] = part.losses(line.eta(part.X))
        losses.append(own)
    return np.concatenate(losses)


def pooled_losses(model: MultiTaskEstimator, given: NewRows, source: TaskData) -> Array:
    """Return the loss of each row under a model of old rows and the other folds."""
    losses = np.full(given.n_rows, np.nan)
    if given.raw is None:
        return losses
    for fold in given.folds(_REFITS):
        rest = np.setdiff1d(np.arange(given.raw.n_rows), fold)
        pooled = refitted(model, [source, given.raw.rows(rest)])
        losses[fold] = natural_losses(pooled, given.raw.rows(fold), given.losses)
    return losses


def alone(rows: TaskRows, like: Line, scale: Array) -> Pulled:
    """Learn a task from its rows alone, by ridge on features divided by `scale`."""
    # Shapes: scale (n_features,).
    start = _constant(rows, like.coef.shape)
    if rows.of_one_class:
        # One class says nothing about the features, and a level that is free has no end.
        return Pulled(start, rows.losses(start.eta(rows.X)), 0.0)
    mean = np.asarray(rows.X.mean(axis=0), dtype=float).ravel()
    grid = _ALONE_CLASSES if rows.loss.is_classifier else _ALONE
    one = _one_row(rows, start)
    return learn(rows, start, QuadraticPull(mean, one * scale**2, one * _FREE), grid)


def _one_row(rows: TaskRows, start: Line) -> float:
    """Return the strength of a pull that counts as much as about one row."""
    if not isinstance(rows.loss, PiecewiseLinear):
        return 1.0
    # The curvature of an asymmetric Laplace density, whose scale is the mean loss.
    scale = float(np.average(rows.losses(start.eta(rows.X)), weights=rows.weight))
    return -rows.loss.lower * rows.loss.upper / scale if scale > 0 else 1.0


def _constant(rows: TaskRows, shape: tuple[int, ...]) -> Line:
    """Return the best constant: of numbers that of their loss, or the odds of the classes."""
    if not rows.loss.is_classifier:
        level = best_constant(rows.loss, rows.y, rows.weight)
        if not np.isfinite(level):
            # Counts of nothing but zeros: half of one, so that its logarithm is finite.
            level = float(np.log(_PRIOR_ROWS / rows.weight.sum()))
        return Line(np.zeros(shape), np.array([level]))
    several = isinstance(rows.loss, Multinomial)
    counts = np.bincount(rows.y.astype(np.intp), rows.weight, minlength=max(shape[0], 2))
    odds = np.log(counts + _PRIOR_ROWS)
    return Line(np.zeros(shape), odds - odds.mean() if several else odds[1:] - odds[:1])


def refuse_known_tasks(model: MultiTaskEstimator, given: NewRows) -> None:
    """Refuse tasks of a new domain that have the labels of known ones."""
    known = [entry.label for entry in given.tasks if entry.position >= 0]
    if known:
        fields = {"kind": type(model).__name__, "task": repr(known[0])}
        raise DataError(LazyMessage("transfer.refusal.known_label", fields))


def choose(
    model: MultiTaskEstimator,
    given: NewRows,
    losses: Mapping[str, NDArray[np.float64]],
    source: TaskData | None,
    untried: Mapping[str, str] | None = None,
) -> tuple[Adaptation, Any]:
    """Choose what predicts rows left out best."""
    tried = dict(losses)
    if source is not None:
        tried["pooled"] = pooled_losses(model, given, source)
    trial = CandidateLosses(tried, given.weight, dict(untried or {}))
    chosen = trial.judged().choice()
    report = replace(report_of(given, trial, "new"), chosen=chosen)
    if chosen != "pooled" or source is None or given.raw is None:
        return report, None
    pooled = refitted(model, [source, given.raw])
    pooled.adaptation_ = report
    return report, pooled
