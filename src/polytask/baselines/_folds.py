"""Folds of a search inside a baseline: a splitter of many tasks, on the rows of one fit."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from polytask.data import Splitter, TaskData, as_splits


def for_all_rows(estimator: Any, data: TaskData) -> Any:  # noqa: ANN401 - an estimator
    """Return the estimator of all rows, its search divided by the splitter that it is given.

    Parameters
    ----------
    estimator : estimator
        A search or a pipeline that ends with one; its `cv` may be a splitter of polytask,
        which counts the rows of the input.
    data : TaskData
        The rows that it will be fitted on.

    Returns
    -------
    estimator
        A copy with pairs of row numbers as `cv`: as many as the rows allow, and the
        default of the search if they cannot be divided so, as those of one group cannot.
        The estimator itself if it has no such splitter.
    """
    return _divided(estimator, data.to_long()) if _is_given(estimator) else estimator


def for_every_task(estimator: Any, data: TaskData) -> list[Any]:  # noqa: ANN401
    """Return the estimator of each task, as :func:`for_all_rows` does for all rows."""
    if not _is_given(estimator):
        return [estimator] * data.n_tasks
    long = data.to_long()
    bounds = [long.task_slice(t) for t in range(long.n_tasks)]
    return [_divided(estimator, long.rows(np.arange(b.start, b.stop))) for b in bounds]


def without_folds(fitted: Any, given: Any) -> Any:  # noqa: ANN401 - estimators
    """Drop the row numbers that a search was divided by: they mean nothing once it is over."""
    step = _searching(fitted)
    if _is_given(given) and hasattr(step, "cv"):
        step.set_params(cv=_usual(step))
    return fitted


def _is_given(estimator: Any) -> bool:  # noqa: ANN401 - an estimator
    return isinstance(getattr(_searching(estimator), "cv", None), Splitter)


def _divided(estimator: Any, rows: TaskData) -> Any:  # noqa: ANN401 - an estimator
    copy = clone(estimator)
    step = _searching(copy)
    splitter = step.cv.reduced(rows) if rows.n_rows else None
    step.set_params(cv=_usual(step) if splitter is None else as_splits(splitter, rows))
    return copy


def _usual(step: Any) -> Any:  # noqa: ANN401 - an estimator
    return inspect.signature(type(step)).parameters["cv"].default


def _searching(estimator: Any) -> Any:  # noqa: ANN401 - an estimator
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
