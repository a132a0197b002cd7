"""Errors of the rows that a search held out, by candidates that the other folds chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.conformal import spread_of
from polytask._estimator.held_out_errors import ErrorRows
from polytask.data import Form, TaskData
from polytask.linear.prediction import LinearTasks
from polytask.linear.problem import tasks_of
from polytask.selection.explained import FoldFits
from polytask.selection.rules import Rule, ScoredChoice

Array = NDArray[np.float64]


def nested_errors(fits: FoldFits, found: Sequence[ScoredChoice], rule: Rule) -> list[ErrorRows]:
    """Return the errors of every fold, of the candidate that the scores of the others choose."""
    folds = range(len(fits.folds))
    parts = []
    for k in folds:
        others = [j for j in folds if j != k] or [k]
        apart = [replace(c, scores=c.scores[others], detail=n) for n, c in enumerate(found)]
        chosen = found[int(rule(apart).detail)]
        parts.append(errors_of_fold(fits, k, chosen))
    return parts


def errors_of_fold(fits: FoldFits, k: int, choice: ScoredChoice) -> ErrorRows:
    """Return the errors of the rows that a fold holds out."""
    fold = fits.folds[k]
    problem, W, b = fits.of(k, choice)
    test, outcomes = fold.held_out()
    linear = tasks_of(problem, outcomes, *problem.original_units(W, b))
    parts = []
    for t, rows, y in _labels(test, outcomes):
        errors = _errors(linear, test.X[rows], t, y, outcomes)
        n, known = len(y), bool(problem.counts[t] > 0)
        weight = np.ones(n) if test.sample_weight is None else test.sample_weight[rows]
        whose = np.full(n, t), np.full(n, k), weight, np.full(n, known)
        parts.append(ErrorRows(errors, *whose))
    return ErrorRows.joined(parts).of_fold()


def _labels(data: TaskData, outcomes: Outcomes) -> list[tuple[int, Any, Array]]:
    """Return the tasks with labels, their rows and these labels as numbers."""
    y = outcomes.y
    if data.form is Form.TARGETS:
        masks = [~np.isnan(y[:, t]) for t in range(data.n_tasks)]
        return [(t, own, y[own, t]) for t, own in enumerate(masks) if own.any()]
    slices = [data.task_slice(t) for t in range(data.n_tasks)]
    return [(t, own, y[own]) for t, own in enumerate(slices) if own.stop > own.start]


def _errors(linear: LinearTasks, X: Any, task: int, y: Array, outcomes: Outcomes) -> Array:  # noqa: ANN401
    classes = outcomes.classes[task]
    if classes is None:
        predicted = np.asarray(linear.labels_of(X, task), dtype=float)
        return np.asarray(np.abs(y - predicted) / spread_of(linear.loss_of(task), predicted))
    position = {label: k for k, label in enumerate(np.asarray(linear.classes_of(task)).tolist())}
    table = linear.probabilities(X, task)
    columns = np.array([position[label] for label in classes.tolist()], dtype=np.intp)
    return np.asarray(1.0 - table[np.arange(len(y)), columns[y.astype(np.intp)]])
