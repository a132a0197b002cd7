"""Rows with natural targets: what an estimator of one problem can be fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask.data import Form, TaskData

Labels = NDArray[Any]
Weights = NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one task, or of all tasks below each other."""

    # Shapes: X (n, d), y (n,), weight (n,), tasks (n,).

    X: Any
    y: Labels
    weight: Weights
    tasks: NDArray[np.intp]
    n_tasks: int

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)

    def task_shares(self) -> NDArray[np.float64]:
        """Return the part of the total weight that each task has, shape (n_tasks,)."""
        counts = np.bincount(self.tasks, self.weight, minlength=self.n_tasks)
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares


def rows_by_task(data: TaskData, outcomes: Outcomes) -> list[Rows]:
    """Return the labelled rows of every task, in the order of the tasks."""
    return [_rows_of(data, outcomes, t) for t in range(data.n_tasks)]


def stacked_rows(data: TaskData, outcomes: Outcomes) -> Rows:
    """Return the labelled rows of all tasks below each other, sorted by task."""
    y = [_natural(data, outcomes, t) for t in range(data.n_tasks)]
    long = data.to_long()
    return Rows(long.X, np.concatenate(y), long.sample_weight, long.row_tasks(), data.n_tasks)


def _rows_of(data: TaskData, outcomes: Outcomes, t: int) -> Rows:
    part: Any = data.task_slice(t) if data.form is not Form.TARGETS else data.labelled()[:, t]
    weight = None if data.sample_weight is None else data.sample_weight[part]
    y = _natural(data, outcomes, t)
    return Rows(data.X[part], y, weight, np.zeros(len(y), dtype=np.intp), 1)


def _natural(data: TaskData, outcomes: Outcomes, t: int) -> Labels:
    """Return the numbers or labels of a task, without gaps."""
    if data.form is Form.TARGETS:
        values = outcomes.y[data.labelled()[:, t], t]
    else:
        values = outcomes.y[data.task_slice(t)]
    classes = outcomes.classes[t]
    if classes is None:
        return np.asarray(values)
    # A table with columns of several types has its labels as objects.
    own = np.array(classes.tolist()) if classes.dtype == object else classes
    return np.asarray(own[values.astype(np.intp)])
