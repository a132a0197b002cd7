"""The table of tasks: gain, interval, group and action of each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._gains import TaskTable
from polytask.analysis._parts import Interval, TaskGain
from polytask.analysis._task_gains import TaskGains, task_gains
from polytask.analysis._verdict import group_and_action, more_rows

Array = NDArray[np.float64]


def task_rows(
    tasks: Sequence[Hashable],
    rows: NDArray[np.intp],
    gains: TaskTable,
    pooling: Array,
    test_share: float,
    overall: Interval,
    scale: float,
) -> tuple[TaskGain, ...]:
    """Return what sharing does for each task, largest gain first.

    Parameters
    ----------
    tasks : sequence of length n_tasks
        Labels.
    rows : ndarray of int of shape (n_tasks,)
        Labelled rows of each.
    gains : TaskTable
        Gains of sharing by split and task.
    pooling : ndarray of shape (n_splits, n_tasks)
        Gains of the pooled model over the separate one.
    test_share : float
        Test rows per training row.
    overall : Interval
        The gain over all tasks.
    scale : float
        What counts as much in the metric, see :func:`more_rows`.

    Returns
    -------
    tuple of TaskGain
        Tasks that were never held out are left out.
    """
    found = task_gains(gains.values, gains.variance, test_share, overall, rows=rows)
    better_pooled = _mean(pooling)
    order = np.argsort(-np.nan_to_num(found.gain, nan=-np.inf), kind="stable")
    return tuple(
        _row(found, int(t), tasks[t], int(rows[t]), float(better_pooled[t]), scale)
        for t in order
        if not np.isnan(found.raw[t])
    )


def _row(
    found: TaskGains, t: int, task: Hashable, rows: int, pooling: float, scale: float
) -> TaskGain:
    gain, low, high = (float(values[t]) for values in (found.gain, found.low, found.high))
    error = float(found.error[t])
    more = more_rows(gain, low, high, error, float(found.spread[t]), found.common, rows, scale)
    advice = group_and_action(low, high, more, separate=0.0, pooled=pooling)
    return TaskGain(
        task=task,
        rows=rows,
        gain=gain,
        low=low,
        high=high,
        raw=float(found.raw[t]),
        group=advice.group,
        action=advice.action,
        more_rows=more,
    )


def _mean(values: Array) -> Array:
    """Return means over splits, 0 where there is none."""
    seen = ~np.isnan(values)
    total = np.where(seen, values, 0.0).sum(axis=0)
    return np.asarray(total / np.maximum(seen.sum(axis=0), 1))
