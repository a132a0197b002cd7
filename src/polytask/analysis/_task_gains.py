"""What sharing does for every single task, said with the caution that few rows ask for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._intervals import normal_error, normal_quantile, t_quantile
from polytask.analysis._moderation import moderate
from polytask.analysis._parts import Interval
from polytask.analysis._shrinkage import shrink

Floats = NDArray[np.float64]


class TaskGains(NamedTuple):
    """Gains of all tasks.

    Attributes
    ----------
    raw : ndarray of shape (T,)
        Mean over the splits in which the task was held out; NaN if it never was, and then all
        the rest is NaN too.
    gain, low, high : ndarray of shape (T,)
        Shrunken gain and its interval; the ends are NaN where nothing tells the error.
    error : ndarray of shape (T,)
        Corrected standard error of `raw`, after moderation: the larger one.
    spread : ndarray of shape (T,)
        Standard deviation of the true gains between tasks of such a size.
    common : float
        Standard error of the overall gain.
    """

    raw: Floats
    gain: Floats
    low: Floats
    high: Floats
    error: Floats
    spread: Floats
    common: float


def task_gains(
    values: NDArray[Any],
    row_variance: NDArray[Any] | None,
    test_share: NDArray[Any] | float,
    overall: Interval,
    rows: NDArray[Any] | None = None,
    level: float = 0.95,
) -> TaskGains:
    """Shrink the gains of single tasks to their common mean, with honest intervals.

    A task's own gain rests on few test rows, and among many tasks some look good by luck. So:

    1. *Error of each task.* ``v_t``, the variance in one split, is the larger one of the variance
       between splits and the mean of `row_variance`. Five splits tell a variance badly, hence
       both are first pulled to what all tasks have in common (`moderate`), as far as they do.
       From it follow two errors. ``v_t / J_t`` would hold if splits were independent, Nadeau and
       Bengio's ``(1 / J_t + test_share) v_t`` if they shared all that they can: the truth is
       between.
    2. *Shrinkage* to the common mean, with the spread of the population integrated out
       (`shrink`), by the smaller error: too large a one would explain all differences between
       tasks as noise and claim the common mean for every task.
    3. *Interval.* Normal around the shrunken gain, by the larger error, which is widened by the
       ratio of the t quantile to the normal one for its degrees of freedom. The error of the
       overall gain, common to all tasks, enters as far as a task is shrunk: a task that is fully
       shrunk has no shorter an interval than the overall gain has, one that is not shrunk has the
       corrected interval of its own.

    The interval is honest on average over tasks, which is what "52 tasks gain" needs; not for a
    task picked because it is unlike all others. Splits of the past against the future, or of
    whole tasks, overlap in other ways than Nadeau and Bengio assume: there it is an approximation.

    Parameters
    ----------
    values : ndarray of shape (J, T)
        Gain of every task in every split, NaN where it was not held out.
    row_variance : ndarray of shape (J, T) or None
        Variance of that mean of paired differences from its rows, their variance / n_test; NaN
        where one row does not tell. None for metrics that do not add up over rows.
    test_share : ndarray of shape (T,) or float
        ``n_test / n_train`` of each task.
    overall : Interval
        The gain over all tasks, of the same `level`.
    rows : ndarray of shape (T,), default=None
        Labelled rows of each task; None: all alike.
    level : float, default=0.95
        Coverage.

    Returns
    -------
    TaskGains
        In the order of the tasks.

    References
    ----------
    C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 52, 2003.

    B. Efron and C. Morris, Data analysis using Stein's estimator and its generalizations, JASA
    70, 1975.

    G. K. Smyth, Linear models and empirical Bayes methods for assessing differential expression
    in microarray experiments, Statistical Applications in Genetics and Molecular Biology 3, 2004.

    C. N. Morris, Parametric empirical Bayes inference: theory and applications, JASA 78, 1983
    (what coverage on average means).
    """
    values = np.asarray(values, dtype=np.float64)
    n_tasks = values.shape[1]
    share = np.broadcast_to(np.asarray(test_share, dtype=np.float64), n_tasks)
    size = np.ones(n_tasks) if rows is None else np.maximum(rows, 1).astype(np.float64)
    count = (~np.isnan(values)).sum(axis=0)
    raw, common = _mean(values), normal_error(overall, level)
    variance, freedom = _variances(values, row_variance, share, size, rows is not None)
    low, high, error = (np.full(n_tasks, np.nan) for _ in range(3))
    out = TaskGains(raw, raw.copy(), low, high, error, np.zeros(n_tasks), common)
    known = (count > 0) & ~np.isnan(variance)
    if not known.any():
        return out
    variance, count, normal = variance[known], count[known], normal_quantile(level)
    out.error[known] = np.sqrt((1 / count + share[known]) * variance)
    population = shrink(
        raw[known],
        np.sqrt(variance / count),
        out.error[known] * t_quantile(freedom[known], level) / normal,
        size[known],
        0.0 if np.isnan(common) else common,
    )
    half = normal * np.sqrt(population.variance)
    out.gain[known], out.spread[known] = population.mean, population.spread
    out.low[known], out.high[known] = population.mean - half, population.mean + half
    return out


def _mean(values: Floats) -> Floats:
    """Return means over splits that ignore NaN, NaN where there is nothing else."""
    count = (~np.isnan(values)).sum(axis=0)
    total = np.nansum(values, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _variances(
    values: Floats, row_variance: NDArray[Any] | None, share: Floats, size: Floats, sized: bool
) -> tuple[Floats, Floats]:
    """Return the variance of a task's gain in one split, and its degrees of freedom."""
    freedom = np.maximum((~np.isnan(values)).sum(axis=0) - 1.0, 0.0)
    squares = np.nansum((values - _mean(values)) ** 2, axis=0)
    by_splits = moderate(squares / np.maximum(freedom, 1.0), freedom, size)
    if row_variance is None:
        return by_splits
    told = np.asarray(row_variance, dtype=np.float64)
    by_rows = moderate(np.nan_to_num(_mean(told)), _row_freedom(told, share, size, sized), size)
    rows_say_more = np.isnan(by_splits[0]) | (by_rows[0] > by_splits[0])
    return (
        np.where(rows_say_more, by_rows[0], by_splits[0]),
        np.where(rows_say_more, by_rows[1], by_splits[1]),
    )


def _row_freedom(told: Floats, share: Floats, size: Floats, sized: bool) -> Floats:
    """Return the degrees of freedom of the variances from rows, averaged over splits."""
    splits = (~np.isnan(told)).sum(axis=0)
    if not sized:  # at least two rows in each test part, or it would not have told
        return np.asarray(splits, dtype=np.float64)
    test = size * share / (1 + share)
    # The same row is held out in several splits, but it is only one row.
    most = np.maximum(size - 1, 1.0)
    seen = np.minimum(splits * np.maximum(test - 1, 1.0), most)
    return np.asarray(np.where(splits > 0, seen, 0.0))
