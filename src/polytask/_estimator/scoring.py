"""Scores of natural outputs: truth beside prediction, task by task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.outputs import RowsFunction
from polytask._estimator.query import Query
from polytask.data import Form, TaskData
from polytask.metrics.scores import Score, TaskScores, scores_by_task

Weights = NDArray[np.float64] | None


def rows_by_task(data: TaskData, query: Query) -> list[tuple[int, Any, NDArray[Any], Weights]]:
    """Return (task of the model, rows of X, labels, weights) for every task with rows.

    Parameters
    ----------
    data : TaskData
        Raw, with labels.
    query : Query
        The same rows, encoded.
    """
    truth, weight = np.asarray(data.y), data.sample_weight
    if data.form is Form.TARGETS:
        masks = list(enumerate(data.labelled().T))
        return [
            (t, query.data.X[m], truth[m, t], None if weight is None else weight[m])
            for t, m in masks
        ]
    parts = []
    for k, code in enumerate(np.asarray(query.codes)):
        rows = data.task_slice(k)
        if rows.stop > rows.start:
            own = None if weight is None else weight[rows]
            parts.append((int(code), query.data.X[rows], truth[rows], own))
    return parts


def natural_scores(
    data: TaskData, query: Query, predict: RowsFunction, score: Score
) -> TaskScores:
    """Score the natural outputs of every task."""
    rows = rows_by_task(data, query)
    if data.form is Form.TARGETS:
        found = [predict(X, np.full(len(y), t)) if len(y) else y for t, X, y, _ in rows]
    else:
        ends = np.cumsum([len(y) for _, _, y, _ in rows])
        found = np.split(predict(query.data.X, query.row_tasks()), ends[:-1])
    parts = [(y, own, w) for (_, _, y, w), own in zip(rows, found, strict=True)]
    return scores_by_task(parts, score)
