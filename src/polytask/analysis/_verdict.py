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
    """What is said of one task.

    Attributes
    ----------
    group : {"gain", "lose", "unclear"}
        Whether the interval is above 0, below 0, or holds it.
    action : {"share", "separate", "pool", "collect", "any"}
        What to do; "any": what is said of all tasks.
    """

    group: str
    action: str


def margin_of(score: float, share: bool) -> float:
    """Return the margin of practical equivalence.

    Parameters
    ----------
    score : float
        The verdict's metric of the best plain model.
    share : bool
        Whether it is a share, such as D2 or accuracy, rather than a loss.

    Returns
    -------
    float
        Of a share: 0.01 or a tenth of it, whatever is less, but 0.001 at least; of a loss: a
        hundredth of it.
    """
    if not share:
        return 0.01 * abs(score) if score == score else 0.0
    tenth = 0.1 * score if score == score else 0.0
    return max(LEAST_MARGIN, min(MOST_MARGIN, tenth))


def verdict(gain: Estimate, pooling: Estimate, margin: float, plain: str) -> str:
    """Apply the rule that was fixed beforehand.

    Parameters
    ----------
    gain : Estimate
        The chosen sharing model against the chosen plain one.
    pooling : Estimate
        The chosen pooled model against the chosen separate one; NaN if models of one of these
        kinds only were compared.
    margin : float
        A difference that is smaller does not matter.
    plain : {"separate", "pooled"}
        The kind of plain models that were compared, where it is one only.

    Returns
    -------
    str
        One of VERDICTS, by the first of these that holds:

        1. The 90% interval of the gain lies within the margin: "pool" or "separate" if the 95%
           interval of pooling lies beyond the margin on that side, else "no practical
           difference". (Two one-sided tests of equivalence, each at 5%.)
        2. The 95% interval of the gain lies above 0: "share".
        3. It lies below the margin, and the 95% interval of pooling excludes 0: "pool" or
           "separate", by its sign.
        4. The 95% interval of pooling lies above the margin: "pool".
        5. "inconclusive".

        Where only pooled, or only separate, models were compared, that kind is taken for the
        better of the two in 1 and 3.

    References
    ----------
    D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power approach,
    Journal of Pharmacokinetics and Biopharmaceutics 15, 1987.
    """
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
    """Return how many times the present data would decide, if the differences stay as they are.

    Standard errors fall like the root of the number of rows (or tasks); the smallest multiple
    with which one of the rules of :func:`verdict` holds counts.

    Parameters
    ----------
    gain, pooling, margin : Estimate, Estimate, float
        As for the verdict.

    Returns
    -------
    float or None
        Above 1 if nothing is decided yet; None if ten times the present data would not do.
    """
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
    """Return how many more labelled rows would make a task's interval exclude 0.

    It is asked what the interval would be with `k` times the rows in every task, if the shrunken
    gain is right: sampling variances fall like ``1 / k``, differences between the tasks stay. So
    with ``a = error^2``, ``c = common^2`` and ``B = (a / k) / (a / k + spread^2)`` the variance
    is ``(1 - B) a / k + B c / k``, and ``k`` solves that it is ``m = (gain / z)^2``: ::

        m spread^2 k^2 + a (m - spread^2) k - a c = 0

    The present interval knows its errors worse than that (small degrees of freedom, unknown
    spread); it is not shrunk by less than ``1 / sqrt(k)``. The larger ``k`` counts.

    Parameters
    ----------
    gain, low, high : float
        Shrunken gain of the task and its interval.
    error, spread, common : float
        Standard error of its gain before shrinkage, standard deviation of the true gains between
        tasks, standard error of the overall gain; see `TaskGains`.
    rows : int
        Labelled rows of the task.
    margin : float, default=0.01
        A gain below it does not matter.
    level : float, default=0.95
        Level of the interval.

    Returns
    -------
    int or None
        None if the interval excludes 0 as it is, if the gain is within the margin, if it would
        take more than ten times the present rows, or if an input is NaN.
    """
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
    """Say what an interval means for a task, and what to do.

    Parameters
    ----------
    low, high : float
        Interval of its shrunken gain.
    own : {-1, 0, 1}
        On which side of 0 the interval of its gain before shrinkage is; 0 if it holds 0. What
        is known from the other tasks only is no reason to treat this one otherwise.
    more : int or None
        Answer of `more_rows`.
    better : {"separate", "pool"}
        The plain models that serve this task better, of those that can predict it.

    Returns
    -------
    Advice
        A task that gains shares; one that loses takes the better plain models, both if its own
        rows say so too. Where it cannot be told: "collect" if a reasonable number of rows would
        tell. Else "any".
    """
    if low > 0:
        return Advice("gain", "share" if own > 0 else "any")
    if high < 0:
        return Advice("lose", better if own < 0 else "any")
    return Advice("unclear", "any" if more is None else "collect")


def dominant_task(shares: Sequence[float]) -> int | None:
    """Return which task rules the objective, if one does.

    Parameters
    ----------
    shares : sequence of float of length T
        Share of each task in the gradient of the objective.

    Returns
    -------
    int or None
        The task with more than half. Among two tasks one nearly always has: it must also have
        more than 1.5 times an equal share. None for a single task.
    """
    values = np.asarray(shares, dtype=np.float64)
    if len(values) < 2:
        return None
    largest = int(np.nanargmax(values)) if not np.isnan(values).all() else 0
    rules = values[largest] > max(DOMINANT, _OVER_EQUAL / len(values))
    return largest if rules else None
