"""From intervals to the verdict, and to the group and action of each task."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask.comparison.records import Interval, TaskGain
from polytask.comparison.statistics import (
    Estimate,
    GroupMeans,
    discoveries,
    moderate,
    normal_error,
    normal_quantile,
    shrink,
    t_quantile,
)

# The share of the constant's loss that the rounding of a target leaves, far below any margin
# that matters in practice.
_LEFT = 1e-4


def all_perfect(losses: ArrayLike, constant: ArrayLike, weight: ArrayLike | None = None) -> bool:
    """Say whether no model has a held-out loss, up to rounding; losses (n_models, n_rows)."""
    # False where the constant of the training rows has none either, or a loss is not known.
    each, least = np.atleast_2d(np.asarray(losses, float)), np.asarray(constant, float)
    size = np.ones(len(least)) if weight is None else np.asarray(weight, float)
    # Scaled, so that no sum overflows.
    largest = np.max(np.abs(least), initial=0.0)
    if not each.size or not 0 < largest < np.inf:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        left = np.sum(size * (each / largest), axis=1)
        return bool(np.all(left <= _LEFT * np.sum(size * (least / largest))))


VERDICTS = ("share", "pool", "separate", "no practical difference", "inconclusive")
"""What a comparison can come to."""

# A difference in D2 of 0.01, or of a tenth of what is explained, matters to hardly anybody; one
# below 0.001 to nobody.
MOST_MARGIN, LEAST_MARGIN = 0.01, 0.001
# More rows than this many times those at hand are no advice.
MOST = 10
# A task with more than this share of the objective's gradient rules the fit,
DOMINANT = 0.5
# unless there are so few tasks that it is less than this many times an equal share.
_OVER_EQUAL = 1.5


class Advice(NamedTuple):
    """What is said of one task."""

    group: str
    action: str


def margin_of(score: float, share: bool) -> float:
    """Return the margin of practical equivalence."""
    if not share:
        return 0.01 * abs(score) if score == score else 0.0
    tenth = 0.1 * score if score == score else 0.0
    return max(LEAST_MARGIN, min(MOST_MARGIN, tenth))


def verdict(gain: Estimate, pooling: Estimate, margin: float, plain: str) -> str:
    """Apply the rule that was fixed beforehand."""
    return ruled(gain.interval(), gain.interval(0.90), pooling.interval(), margin, plain)


def ruled(wide: Interval, narrow: Interval, pooled: Interval, margin: float, plain: str) -> str:
    """Apply the rule to the intervals of the gain, of 95% and 90%, and to that of pooling."""
    alone = math.isnan(pooled.mean)
    only = {"pooled": 1, "separate": -1}[plain] if alone else 0
    if -margin < narrow.low and narrow.high < margin:
        beyond = only or int(pooled.low > margin) - int(pooled.high < -margin)
        return _BY_SIDE.get(beyond, "no practical difference")
    if wide.above:
        return "share"
    side = only or int(pooled.above) - int(pooled.below)
    if wide.high < margin and side:
        return _BY_SIDE[side]
    return "pool" if pooled.low > margin else "inconclusive"


_BY_SIDE = {1: "pool", -1: "separate"}


def narrowed(interval: Interval, times: float) -> Interval:
    """Return the interval that `times` as many rows would give, if the mean stays as it is."""
    mean, low, high = interval
    share = 1 / math.sqrt(times)
    return Interval(mean, mean - share * (mean - low), mean + share * (high - mean))


def rows_to_decide(gain: Estimate, pooling: Estimate, margin: float) -> float | None:
    """Return how many times the present data would decide, if the differences stay as they are."""
    # Standard errors fall like the root of the number of rows (or tasks); the smallest multiple
    # with which one of the rules of :func:`verdict` holds counts.
    wide, narrow, pooled = (
        estimate.interval(level).high - estimate.mean
        for estimate, level in ((gain, 0.95), (gain, 0.90), (pooling, 0.95))
    )
    # How far intervals reach to either side now, and how far they may, by the rules of `verdict`.
    loses = [(wide, margin - gain.mean)]
    better = [] if math.isnan(pooling.mean) else [(pooled, abs(pooling.mean))]
    rules = (
        [(narrow, margin - abs(gain.mean))],
        [(wide, gain.mean)],
        loses + better,
        [(pooled, pooling.mean - margin)],
    )
    # Nothing further away than this is asked for, and what has no error does not decide.
    furthest = math.sqrt(1 + MOST)
    times = [
        max((reach / room) ** 2 for reach, room in needs)
        for needs in rules
        if all(room > 0 and reach <= furthest * room for reach, room in needs)
    ]
    return min(times, default=None)


def more_rows(
    gain: float,
    low: float,
    high: float,
    error: float,
    spread: float,
    common: float,
    rows: int,
    margin: float = 0.01,
    level: float = 0.95,
) -> int | None:
    """Return how many more labelled rows would make a task's interval exclude 0."""
    # It is asked what the interval would be with `k` times the rows in every task, if the shrunken
    # gain is right: sampling variances fall like ``1 / k``, differences between the tasks stay. So
    # with ``a = error^2``, ``c = common^2`` and ``B = (a / k) / (a / k + spread^2)`` the variance
    # is ``(1 - B) a / k + B c / k``, and ``k`` solves that it is ``m = (gain / z)^2``: ::
    #
    # m spread^2 k^2 + a (m - spread^2) k - a c = 0
    #
    # The present interval knows its errors worse than that (small degrees of freedom, unknown
    # spread); it is not shrunk by less than ``1 / sqrt(k)``. The larger ``k`` counts.
    told = low > 0 or high < 0
    known = not np.isnan([gain, low, high, error, spread]).any()
    if told or not known or abs(gain) <= margin:
        return None
    # In units of the largest, so that no square overflows.
    size = max(abs(gain), error, spread)
    target = (gain / size / normal_quantile(level)) ** 2
    a, c, between = (error / size) ** 2, (np.nan_to_num(common) / size) ** 2, (spread / size) ** 2
    if not target > 0:
        return None
    if target * between > 0:
        b = a * (target - between)
        factor = (np.sqrt(b**2 + 4 * target * between * a * c) - b) / (2 * target * between)
    else:
        factor = c / target
    factor = max(float(factor), ((high - low) / 2 / gain) ** 2)
    needed = max(int(np.ceil(rows * (factor - 1))), 1)
    return needed if needed <= MOST * rows else None


def group_and_action(side: int, own: int, more: int | None, better: str) -> Advice:
    """Say what the side of 0 on which a gain is means for a task, and what to do."""
    if side > 0:
        return Advice("gain", "share" if own > 0 else "any")
    if side < 0:
        return Advice("lose", better if own < 0 else "any")
    return Advice("unclear", "any" if more is None else "collect")


def dominant_task(shares: Sequence[float]) -> int | None:
    """Return which task rules the objective, if one does."""
    values = np.asarray(shares, dtype=np.float64)
    if len(values) < 2:
        return None
    largest = int(np.nanargmax(values)) if not np.isnan(values).all() else 0
    rules = values[largest] > max(DOMINANT, _OVER_EQUAL / len(values))
    return largest if rules else None


Floats = NDArray[np.float64]

# The part of a task's variance that decides how far it is shrunk. With all of it, a collection of
# which half gains is taken for noise around the mean, and intervals hold the truth 7 times in 10.
_DECIDING = 0.36


class TaskGains(NamedTuple):
    """Gains of all tasks, shrunk to a centre. Shapes: all but `common` (T,)."""

    raw: Floats
    gain: Floats
    low: Floats
    high: Floats
    error: Floats
    spread: Floats
    common: float
    centre: Floats


def task_gains(
    table: GroupMeans, overall: Interval, rows: NDArray[Any] | None = None, level: float = 0.95
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
    # The interval is honest on average over tasks, not for a task picked because it is unlike all
    # others: which tasks are named is decided by `discoveries`.
    raw, n_tasks = table.mean, len(table.mean)
    size = np.ones(n_tasks) if rows is None else np.maximum(rows, 1).astype(np.float64)
    common = normal_error(overall, level)
    low, high, error = (np.full(n_tasks, np.nan) for _ in range(3))
    centre = np.full(n_tasks, np.nan)
    out = TaskGains(raw, raw.copy(), low, high, error, np.zeros(n_tasks), common, centre)
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
    out.centre[known] = population.centre
    out.low[known], out.high[known] = population.mean - half, population.mean + half
    return out


Array = NDArray[np.float64]


def task_rows(
    tasks: Sequence[Hashable],
    rows: NDArray[np.intp],
    gains: GroupMeans,
    pooling: Array,
    overall: Interval,
    margin: float,
    undecided: bool,
) -> tuple[TaskGain, ...]:
    """Return what sharing does for each task, largest gain first."""
    # Shapes: rows (n_tasks,), pooling (n_tasks,).
    found = task_gains(gains, overall, rows=rows)
    order = np.argsort(-np.nan_to_num(found.gain, nan=-np.inf), kind="stable")
    reach = (found.high - found.low) / (2 * normal_quantile(0.95))
    # Of the shrunken gain, and of what the rows of the task alone say.
    side, own = discoveries(found.gain, reach), discoveries(found.raw, found.error)
    known = [int(t) for t in order if not np.isnan(found.raw[t])]
    listed = []
    for t in known:
        row = _row(found, t, tasks[t], int(rows[t]), margin)
        more = row.more_rows if undecided else None
        better = "pool" if pooling[t] > 0 else "separate"
        advice = group_and_action(int(side[t]), int(own[t]), more, better)
        if abs(row.gain) <= margin:
            small = -margin < row.low and row.high < margin
            advice = Advice("same" if small else "unclear", "any")
        listed.append(replace(row, group=advice.group, action=advice.action))
    return tuple(listed)


def _row(found: TaskGains, t: int, task: Hashable, rows: int, margin: float) -> TaskGain:
    gain, low, high = (float(values[t]) for values in (found.gain, found.low, found.high))
    error, spread = float(found.error[t]), float(found.spread[t])
    more = more_rows(gain, low, high, error, spread, found.common, rows, margin)
    return TaskGain(
        task=task,
        rows=rows,
        gain=gain,
        low=low,
        high=high,
        raw=float(found.raw[t]),
        group="unclear",
        action="any",
        more_rows=more,
        centre=None if np.isnan(found.centre[t]) else float(found.centre[t]),
    )
