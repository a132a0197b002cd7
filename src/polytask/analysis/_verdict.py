"""From intervals to words: the verdict, the group of each task and what to do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from polytask.analysis._intervals import normal_quantile
from polytask.analysis._parts import Interval

# Below this a gain is practically none, as a share of the scale of the metric: a gain of that
# size in D2 disappears when D2 is rounded to two decimals.
PRACTICAL = 0.005
# More rows than this many times those at hand are no advice.
MOST = 10
# A task with more than this share of the objective's gradient rules the fit,
DOMINANT = 0.5
# unless there are so few tasks that it is less than this many times an equal share.
_OVER_EQUAL = 1.5

_NAMES = {"separate": "separate", "pooled": "pool"}


class Advice(NamedTuple):
    """What is said of one task.

    Attributes
    ----------
    group : {"gain", "lose", "unclear"}
        Whether the interval is above 0, below 0, or holds it.
    action : {"share", "separate", "pool", "collect", "any"}
        What to do.
    """

    group: str
    action: str


def verdict(gain: Interval, pooling_gain: Interval, plain_kind: str) -> str:
    """Apply the rule that was fixed beforehand.

    Parameters
    ----------
    gain : Interval
        The chosen sharing model against the chosen plain one.
    pooling_gain : Interval
        The chosen pooled model against the chosen separate one.
    plain_kind : {"separate", "pooled"}
        What the rule without sharing chose most often.

    Returns
    -------
    {"share", "separate", "pool", "unclear"}
        "share" if the gain is above 0; the plain kind if it is below 0. If it cannot be told
        from 0, the simpler model is enough, provided that it can be told which one:
        "pool" if pooling is better than separate models, "separate" if it is worse, else
        "unclear". Ends that are NaN tell nothing.
    """
    if gain.above:
        return "share"
    if gain.below:
        return _NAMES[plain_kind]
    if pooling_gain.above:
        return "pool"
    return "separate" if pooling_gain.below else "unclear"


def more_rows(
    gain: float,
    low: float,
    high: float,
    error: float,
    spread: float,
    common: float,
    rows: int,
    scale: float = 1.0,
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
    scale : float, default=1.0
        What counts as 1 in the metric: 1 for D2, R2 and accuracy, the loss of the training mean
        for a loss.
    level : float, default=0.95
        Level of the interval.

    Returns
    -------
    int or None
        None if the interval excludes 0 as it is, if the gain is practically none (below 0.005 of
        `scale`), if it would take more than ten times the present rows, or if an input is NaN.
    """
    told = low > 0 or high < 0
    known = not np.isnan([gain, low, high, error, spread]).any()
    if told or not known or abs(gain) < PRACTICAL * scale:
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


def group_and_action(
    low: float, high: float, more: int | None, separate: float, pooled: float
) -> Advice:
    """Say what an interval means for a task, and what to do.

    Parameters
    ----------
    low, high : float
        Interval of its gain.
    more : int or None
        Answer of `more_rows`.
    separate, pooled : float
        Scores of the two plain models on this task, more is better; NaN where there is none.

    Returns
    -------
    Advice
        A task that gains shares; one that loses takes the better plain model (a model of its own
        if they are level or unknown). Where it cannot be told: "collect" if a reasonable number of
        rows would tell, else "any".
    """
    if low > 0:
        return Advice("gain", "share")
    if high < 0:
        better_pooled = pooled > separate or (np.isnan(separate) and not np.isnan(pooled))
        return Advice("lose", "pool" if better_pooled else "separate")
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
