"""What sharing does for every single task, said with the caution that few rows ask for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._held_labels import TaskTable
from polytask.analysis._intervals import normal_error, normal_quantile, t_quantile
from polytask.analysis._moderation import moderate
from polytask.analysis._parts import Interval
from polytask.analysis._shrinkage import shrink

Floats = NDArray[np.float64]

# The part of a task's variance that decides how far it is shrunk. With all of it, a collection of
# which half gains is taken for noise around the mean, and intervals hold the truth 7 times in 10.
_DECIDING = 0.36


class TaskGains(NamedTuple):
    """Gains of all tasks. Shapes: raw (T,), gain, low, high (T,), error (T,), spread (T,)."""

    raw: Floats
    gain: Floats
    low: Floats
    high: Floats
    error: Floats
    spread: Floats
    common: float


def task_gains(
    table: TaskTable, overall: Interval, rows: NDArray[Any] | None = None, level: float = 0.95
) -> TaskGains:
    """Shrink the gains of single tasks to their common mean, with honest intervals."""
    # Shapes: rows (T,).
    # A task's own gain rests on few held-out rows, and among many tasks some look good by luck.
    # So:
    #
    # 1. *Error of each task*: that of the mean over its held-out rows, its variance pulled to what
    # all tasks have in common (`moderate`), as far as they do.
    # 2. *Shrinkage* to the common mean, with the spread of the population integrated out
    # (`shrink`), by a smaller error: too large a one would explain all differences between tasks
    # as noise and claim the common mean for every task.
    # 3. *Interval.* Normal around the shrunken gain, by the whole error, widened by the ratio
    # of the t quantile to the normal one for its degrees of freedom. The error of the overall
    # gain, common to all tasks, enters as far as a task is shrunk: a task that is fully shrunk
    # has no shorter an interval than the overall gain has, one that is not shrunk has the
    # interval of its own.
    #
    # The interval is honest on average over tasks, which is what "52 tasks gain" needs; not for a
    # task picked because it is unlike all others.
    raw, n_tasks = table.raw, len(table.raw)
    size = np.ones(n_tasks) if rows is None else np.maximum(rows, 1).astype(np.float64)
    common = normal_error(overall, level)
    low, high, error = (np.full(n_tasks, np.nan) for _ in range(3))
    out = TaskGains(raw, raw.copy(), low, high, error, np.zeros(n_tasks), common)
    told = ~np.isnan(table.variance)
    freedom = np.where(told, table.freedom, 0.0)
    variance, freedom = moderate(np.where(told, table.variance, 0.0), freedom, size)
    known = ~np.isnan(raw) & ~np.isnan(variance)
    if not known.any():
        return out
    normal = normal_quantile(level)
    out.error[known] = np.sqrt(variance[known])
    population = shrink(
        raw[known],
        np.sqrt(_DECIDING) * out.error[known],
        out.error[known] * t_quantile(freedom[known], level) / normal,
        size[known],
        0.0 if np.isnan(common) else common,
    )
    half = normal * np.sqrt(population.variance)
    out.gain[known], out.spread[known] = population.mean, population.spread
    out.low[known], out.high[known] = population.mean - half, population.mean + half
    return out
