"""The table of tasks: gain, interval, group and action of each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._held_labels import TaskTable
from polytask.analysis._intervals import normal_quantile
from polytask.analysis._parts import Interval, TaskGain
from polytask.analysis._task_gains import TaskGains, task_gains
from polytask.analysis._verdict import Advice, group_and_action, more_rows

Array = NDArray[np.float64]


def task_rows(
    tasks: Sequence[Hashable],
    rows: NDArray[np.intp],
    gains: TaskTable,
    pooling: Array,
    overall: Interval,
    margin: float,
    undecided: bool,
) -> tuple[TaskGain, ...]:
    """Return what sharing does for each task, largest gain first."""
    # Shapes: rows (n_tasks,), pooling (n_tasks,).
    found = task_gains(gains, overall, rows=rows)
    order = np.argsort(-np.nan_to_num(found.gain, nan=-np.inf), kind="stable")
    return tuple(
        _row(found, int(t), tasks[t], int(rows[t]), float(pooling[t]), margin, undecided)
        for t in order
        if not np.isnan(found.raw[t])
    )


def _row(
    found: TaskGains,
    t: int,
    task: Hashable,
    rows: int,
    pooling: float,
    margin: float,
    undecided: bool,
) -> TaskGain:
    gain, low, high = (float(values[t]) for values in (found.gain, found.low, found.high))
    raw, error = float(found.raw[t]), float(found.error[t])
    reach = normal_quantile(0.95) * error
    more = more_rows(gain, low, high, error, float(found.spread[t]), found.common, rows, margin)
    own = int(raw > reach) - int(raw < -reach)
    better = "pool" if pooling > 0 else "separate"
    advice = group_and_action(low, high, own, more if undecided else None, better)
    if abs(gain) <= margin:
        advice = Advice("unclear", "any")
    return TaskGain(
        task=task,
        rows=rows,
        gain=gain,
        low=low,
        high=high,
        raw=raw,
        group=advice.group,
        action=advice.action,
        more_rows=more,
    )
