"""A comparison on statistics in place of rows: their folds are held out, as rows would be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from polytask._checks import is_whole, listed, sentence
from polytask._estimator.training import (
    Collected,
    TaskColumns,
    listed_columns,
    refuse_beside_statistics,
)
from polytask.comparison.options import DATA, OWNER, USUAL, Options
from polytask.data import CollectedFolds, TaskData
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.messages import LazyMessage
from polytask.metrics import METRICS

# What sums of squares and products tell of predictions that are linear.
OF_MOMENTS = ("d2", "r2", "r2_within", "mse", "rmse", "deviance")
# One fold is held out, of the others one chooses the models and one their strengths.
LEAST_FOLDS = 4
# So many are held out, unless said otherwise.
FOLDS = CollectedFolds().n_splits
# Of fewer tasks the folds are too few sums to tell how uncertain their mean is.
LEAST_TASKS = 10
# Options that ask for rows.
_OF_ROWS = ("groups", "time", "unseen", "learning_curve")


def read_statistics(found: Collected, y: object, options: Options) -> tuple[TaskData, Options]:
    """Return rows that have the statistics, and the options with their folds."""
    refuse_beside_statistics(OWNER, y, *(getattr(options, name) for name in DATA))
    check_options(options)
    data = found.to_task_data()
    if data.n_tasks < 2:
        fields = {"owner": OWNER, "n": str(data.n_tasks)}
        raise DataError(LazyMessage("estimator.refusal.one_task", fields))
    tags = 0 if data.fold is None else int(data.fold.max()) + 1
    folds = CollectedFolds(_count(options.cv, data), options.random_state, tags)
    return data, replace(options, cv=folds, loss="squared")


def check_options(options: Options) -> None:
    """Refuse options that only rows can answer."""
    for name in _OF_ROWS:
        value = getattr(options, name)
        if value is not None and value is not False:
            flag = f"--{name.replace('_', '-')}"
            fields = {"owner": OWNER, "option": name, "flag": flag}
            raise IncompatibleError(LazyMessage("comparison.refusal.asks_for_rows", fields))
    if options.loss not in ("auto", "squared"):
        allowed = LazyMessage("allowed.squared_of_statistics")
        raise IncompatibleError(sentence("loss", OWNER, allowed, repr(options.loss)))
    if options.metric is not None and options.metric not in OF_MOMENTS:
        known = LazyMessage("allowed.of_statistics", {"allowed": listed(OF_MOMENTS)})
        raise ParameterError(sentence("metric", OWNER, known, repr(options.metric)))


def _count(cv: Any, data: TaskData) -> int:  # noqa: ANN401 - what a user gives
    """Return how many times folds are held out."""
    tags = 0 if data.fold is None else len(np.unique(data.fold))
    if tags < LEAST_FOLDS:
        fields = {"owner": OWNER, "least": LEAST_FOLDS, "n": tags}
        raise DataError(LazyMessage("comparison.refusal.few_folds", fields))
    if cv is None:
        return min(FOLDS, tags)
    if not is_whole(cv):
        allowed = LazyMessage("allowed.number_of_folds")
        raise ParameterError(sentence("cv", OWNER, allowed, repr(cv)))
    if not 2 <= cv <= tags:
        allowed = LazyMessage("allowed.folds_of_statistics", {"n": tags})
        raise ParameterError(sentence("cv", OWNER, allowed, repr(cv)))
    return int(cv)


def is_told(metric: str) -> bool:
    """Say whether statistics tell a metric."""
    return metric in OF_MOMENTS and metric in METRICS


def said_of_statistics(n_tasks: int) -> tuple[LazyMessage, ...]:
    """Say what a comparison on statistics cannot show."""
    few = LazyMessage("doubt.few_tasks", {"n": n_tasks, "least": LEAST_TASKS})
    return (LazyMessage("doubt.no_rows"), *([few] if n_tasks < LEAST_TASKS else []))


def named_columns(column: TaskColumns) -> list[str | int]:
    """Return the columns that hold task labels as values of JSON."""
    return [one if isinstance(one, str) else int(one) for one in listed_columns(column)]


def arguments(options: Options) -> tuple[list[str], Options]:
    """Return the first arguments of the call, and options as they were given."""
    if not isinstance(options.cv, CollectedFolds):
        columns = named_columns(options.task_column)
        said = columns[0] if len(columns) == 1 else columns
        return ["X", "y", f"task_column={said!r}" if columns else "task=task"], options
    return ["statistics"], replace(options, cv=options.cv.n_splits, loss=USUAL.loss)
