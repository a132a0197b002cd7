"""From intervals to words: the verdict, the group of each task and what to do with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from polytask.analysis._intervals import Estimate, normal_quantile

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
    wide, narrow, pooled = gain.interval(), gain.interval(0.90), pooling.interval()
    alone = math.isnan(pooling.mean)
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
    target = (gain / normal_quantile(level)) ** 2
    a, c, between = error**2, np.nan_to_num(common) ** 2, spread**2
    if between > 0:
        b = a * (target - between)
        factor = (np.sqrt(b**2 + 4 * target * between * a * c) - b) / (2 * target * between)
    else:
        factor = c / target
    factor = max(float(factor), ((high - low) / 2 / gain) ** 2)
    needed = max(int(np.ceil(rows * (factor - 1))), 1)
    return needed if needed <= MOST * rows else None


def group_and_action(low: float, high: float, own: int, more: int | None, better: str) -> Advice:
    """Say what an interval means for a task, and what to do."""
    if low > 0:
        return Advice("gain", "share" if own > 0 else "any")
    if high < 0:
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
