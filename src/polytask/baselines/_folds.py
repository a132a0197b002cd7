"""Folds of a search, or held-out rows of a network, inside a baseline.

A splitter of many tasks, on the rows of one fit.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from polytask.data import Splitter, TaskData, as_splits

# Parameters that take a splitter: of a search, and of the early stopping of a network.
_TAKING = ("cv", "validation")


def for_all_rows(estimator: Any, data: TaskData) -> Any:  # noqa: ANN401 - an estimator
    """Return the estimator of all rows, its search divided by the splitter that it is given."""
    return _divided(estimator, data.to_long()) if _given(estimator) else estimator


def for_every_task(estimator: Any, data: TaskData) -> list[Any]:  # noqa: ANN401
    """Return the estimator of each task, as :func:`for_all_rows` does for all rows."""
    if not _given(estimator):
        return [estimator] * data.n_tasks
    long = data.to_long()
    bounds = [long.task_slice(t) for t in range(long.n_tasks)]
    return [_divided(estimator, long.rows(np.arange(b.start, b.stop))) for b in bounds]


def without_folds(fitted: Any, given: Any) -> Any:  # noqa: ANN401 - estimators
    """Drop the row numbers that a search was divided by: they mean nothing once it is over."""
    step = _searching(fitted)
    for name in _given(given):
        if hasattr(step, name):
            step.set_params(**{name: _usual(step, name)})
    return fitted


def _given(estimator: Any) -> list[str]:  # noqa: ANN401 - an estimator
    """Return the parameters that hold a splitter of polytask."""
    step = _searching(estimator)
    return [name for name in _TAKING if isinstance(getattr(step, name, None), Splitter)]


def _divided(estimator: Any, rows: TaskData) -> Any:  # noqa: ANN401 - an estimator
    copy = clone(estimator)
    step = _searching(copy)
    for name in _given(estimator):
        splitter = getattr(step, name).reduced(rows) if rows.n_rows else None
        pairs = _usual(step, name) if splitter is None else as_splits(splitter, rows)
        step.set_params(**{name: pairs})
    return copy


def _usual(step: Any, name: str) -> Any:  # noqa: ANN401 - an estimator
    return inspect.signature(type(step)).parameters[name].default


def _searching(estimator: Any) -> Any:  # noqa: ANN401 - an estimator
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
