"""Intervals of a paired difference: over repeated splits, and over the rows of one split."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from polytask.analysis._parts import Interval

Floats = NDArray[np.float64]

NAN = float("nan")


def corrected_interval(
    differences: NDArray[Any], test_share: float, level: float = 0.95
) -> Interval:
    """Return the corrected resampled interval of a paired difference.

    Splits of the same rows share most of their training rows, so their differences are
    correlated and the variance of their mean does not fall like ``1 / J``. Nadeau and Bengio
    set it to ``(1 / J + n_test / n_train) S^2``, where ``S^2`` is the variance between splits.
    The interval is one of the expected difference of the two *procedures* trained on
    ``n_train`` rows, not of two particular fitted models.

    Parameters
    ----------
    differences : ndarray of shape (J,)
        One per split; NaN marks a split that failed and is left out.
    test_share : float
        ``n_test / n_train``.
    level : float, default=0.95
        Coverage.

    Returns
    -------
    Interval
        The ends are NaN with one split (see `row_interval`), all is NaN without any. Equal
        differences give an interval of length 0.

    References
    ----------
    C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 52, 2003,
    Section 3, the corrected resampled t-test.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    if values.size < 2:
        return Interval(float(values[0]) if values.size else NAN, NAN, NAN)
    if np.ptp(values) == 0:  # the mean of equal numbers may be off by a rounding error
        same = float(values[0])
        return Interval(same, same, same)
    variance = (1 / values.size + test_share) * values.var(ddof=1)
    return _around(float(values.mean()), float(variance), values.size - 1, level)


def row_interval(
    losses_difference: NDArray[Any],
    weights: NDArray[Any] | None,
    clusters: NDArray[Any],
    scale: float = 1.0,
    test_share: float = 1 / 3,
    level: float = 0.95,
) -> Interval:
    """Return the interval of a mean paired difference of losses from the rows of one split.

    Two standard errors are computed and the larger one is used, with its own degrees of freedom:

    * from the rows within their tasks: tests on other rows of the same tasks, given the models;
    * from the means of the tasks (cluster-robust): whatever went right or wrong in training a
      task is common to all its test rows, so a thousand rows of one task are not a thousand
      independent pieces of evidence. This also counts true differences between tasks, thus it
      is too wide rather than too narrow where the tasks are all there are.

    Neither sees that another training part would have given other models. Nadeau and Bengio's
    correction at one split accounts for that part: the variance times ``1 + test_share``.

    With two or three tasks that disagree there are so few degrees of freedom that one split can
    hardly tell anything: repeat the split then.

    Parameters
    ----------
    losses_difference : ndarray of shape (m,)
        Loss of the plain model minus loss of the sharing one for every test row, NaN where a
        row is to be left out.
    weights : ndarray of shape (m,) or None
        Weights of the rows in the mean; None: all 1.
    clusters : ndarray of int of shape (m,)
        Number of the task of every row.
    scale : float, default=1.0
        What one unit of mean loss is worth in units of the metric, such as 1 / (mean loss of the
        training mean) for D2. Taken as known.
    test_share : float, default=1/3
        ``n_test / n_train``; the default is that of a quarter held out.
    level : float, default=0.95
        Coverage.

    Returns
    -------
    Interval
        The ends are NaN where no task has two rows and there are not two tasks either.

    References
    ----------
    C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 52, 2003.

    K.-Y. Liang and S. L. Zeger, Longitudinal data analysis using generalized linear models,
    Biometrika 73, 1986 (the variance from clusters).
    """
    d = np.asarray(losses_difference, dtype=np.float64)
    w = np.ones(d.size) if weights is None else np.asarray(weights, dtype=np.float64)
    keep = ~np.isnan(d) & (w > 0)
    if not keep.any():
        return Interval(NAN, NAN, NAN)
    d, w = d[keep] * scale, w[keep] / w[keep].sum()
    task = np.unique(np.asarray(clusters)[keep], return_inverse=True)[1]
    mean = float(w @ d)
    candidates = [
        (variance, freedom)
        for variance, freedom in (_within(d, w, task), _between(d, w, task, mean))
        if freedom > 0
    ]
    if not candidates:
        return Interval(mean, NAN, NAN)
    variance, freedom = max(candidates)
    return _around(mean, (1 + test_share) * variance, freedom, level)


def normal_error(interval: Interval, level: float = 0.95) -> float:
    """Return the standard error with which a normal interval would be as wide as this one.

    Parameters
    ----------
    interval : Interval
        Any interval around a mean; its degrees of freedom need not be known.
    level : float, default=0.95
        Its level.

    Returns
    -------
    float
        NaN if the ends are NaN.
    """
    return (interval.high - interval.low) / (2 * normal_quantile(level))


def normal_quantile(level: float) -> float:
    """Return the two-sided quantile of the normal distribution."""
    return float(ndtri((1 + level) / 2))


def t_quantile(freedom: Floats | float, level: float) -> Floats:
    """Return two-sided quantiles of Student's t for degrees of freedom."""
    return np.asarray(stdtrit(freedom, (1 + level) / 2), dtype=np.float64)


def _within(d: Floats, w: Floats, task: NDArray[np.intp]) -> tuple[float, float]:
    """Variance of the mean from rows within tasks, and its degrees of freedom."""
    count = np.bincount(task)
    weight = np.bincount(task, w)
    centre = np.bincount(task, w * d) / weight
    squares = np.bincount(task, (w * (d - centre[task])) ** 2)
    many = count > 1
    # A task of one row says nothing about its rows: it gets the variance of the others' rows.
    share = (weight[many] ** 2 / count[many]).sum() / (weight**2 / count).sum() if any(many) else 1
    variance = (squares[many] * count[many] / (count[many] - 1)).sum() / share
    return float(variance), float((count[many] - 1).sum())


def _between(d: Floats, w: Floats, task: NDArray[np.intp], mean: float) -> tuple[float, float]:
    """Variance of the mean from the means of tasks, and its degrees of freedom."""
    weight = np.bincount(task, w)
    effective = 1 / (weight**2).sum()  # as many equal tasks would spread the weight as much
    if effective <= 1 + 1e-9:
        return 0.0, 0.0
    residuals = np.bincount(task, w * d) - weight * mean
    variance = (residuals**2).sum() * effective / (effective - 1)
    return float(variance), float(effective - 1)


def _around(mean: float, variance: float, freedom: float, level: float) -> Interval:
    half = float(t_quantile(freedom, level)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)
