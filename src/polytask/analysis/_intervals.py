"""Means of paired differences with the error that their independent parts tell."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from polytask.analysis._parts import Interval

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

NAN = float("nan")


class Estimate(NamedTuple):
    """A mean with its standard error."""

    mean: float
    error: float
    freedom: float

    def interval(self, level: float = 0.95) -> Interval:
        """Return the interval by Student's t; its ends are NaN without an error."""
        half = float(t_quantile(self.freedom, level)) * self.error if self.freedom > 0 else NAN
        return Interval(self.mean, self.mean - half, self.mean + half)


NOTHING = Estimate(NAN, NAN, 0.0)


class GroupMeans(NamedTuple):
    """Weighted means of several groups, each array of shape (n_groups,)."""

    mean: Floats
    variance: Floats
    freedom: Floats


def group_means(
    values: Floats, weights: Floats, clusters: Codes, groups: Codes, n_groups: int
) -> GroupMeans:
    """Return the weighted mean of every group and its variance, robust to clusters of rows."""
    # Shapes: values, weights (m,), clusters, groups (m,).
    # With ``r_c`` the weighted sum of the residuals in cluster c, and as many equal clusters as
    # would spread the weights alike, ``C``: ``variance = C / (C - 1) sum_c r_c^2``.
    shares = weights / np.bincount(groups, weights, n_groups)[groups]
    width = int(clusters.max(initial=0)) + 1
    distinct, pairs = np.unique(groups * width + clusters, return_inverse=True)
    owners = distinct // width
    mean = np.bincount(groups, shares * values, n_groups)
    totals = np.bincount(pairs, shares * (values - mean[groups]))
    sizes = np.bincount(pairs, shares)
    # As many equal clusters would spread the weight of a group as much.
    squares = np.bincount(owners, sizes**2, n_groups)
    equal = 1 / np.where(squares > 0, squares, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.bincount(owners, totals**2, n_groups) * equal / (equal - 1)
    told = equal > 1 + 1e-9
    seen = np.bincount(groups, minlength=n_groups) > 0
    return GroupMeans(
        np.where(seen, mean, NAN),
        np.where(told, variance, NAN),
        np.where(told, equal - 1, 0.0),
    )


def clustered_mean(values: Floats, weights: Floats, clusters: Codes) -> Estimate:
    """Return the weighted mean of all values, see :func:`group_means`."""
    if not len(values):
        return NOTHING
    found = group_means(values, weights, clusters, np.zeros(len(values), dtype=np.intp), 1)
    return Estimate(float(found.mean[0]), math.sqrt(found.variance[0]), float(found.freedom[0]))


def mean_of_tasks(values: Floats, weights: Floats, clusters: Codes, tasks: Codes) -> Estimate:
    """Return the mean over tasks of their weighted means; a cluster may span several tasks."""
    # Shapes: values, weights (m,), clusters, tasks (m,).
    if not len(values):
        return NOTHING
    seen, own = np.unique(tasks, return_inverse=True)
    n = len(seen)
    found = group_means(values, weights, clusters, own, n)
    mean = float(found.mean.mean())
    # One cluster has no residual around its own mean: that around the mean of all stands in.
    told = found.freedom > 0
    centres = np.where(told, found.mean, mean)
    lost = np.where(told, (found.freedom + 1) / np.where(told, found.freedom, 1.0), 1.0)
    shares = weights / np.bincount(own, weights, n)[own] / n
    residuals = shares * (values - centres[own]) * np.sqrt(lost)[own]
    _, codes = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(codes, shares)
    freedom = 1 / float((sizes**2).sum()) - 1
    if freedom <= 1e-9:
        return Estimate(mean, NAN, 0.0)
    return Estimate(mean, math.sqrt((np.bincount(codes, residuals) ** 2).sum()), freedom)


def mutual_covariance(
    changes: Floats, at: Codes, others: Codes, folds: Codes, tasks: Codes, shares: Floats
) -> float:
    """Return how much the covariances between folds add to the variance of a mean over rows."""
    # Shapes: changes (r,), at, others (r,), folds, tasks (k,), shares (k,).
    # Row i of one fold helps to fit the model that row j of another fold is held out from, and the
    # reverse. To second order both losses change by the same ``u_ij``, so the variance of the mean
    # has the terms ``E[u_ij^2]`` beside those of independent rows. A fold's mean change without
    # the rows of another fold holds the sum of these ``u_ij``, and so does the reverse; all else
    # that they hold is independent. Their product estimates the covariance. Within a task it is
    # large; between tasks it is left out, as noise in an estimate that one task hardly changes for
    # another.
    n_folds, n_tasks = int(folds.max()) + 1, int(tasks.max()) + 1
    shape = (n_tasks, n_folds, n_folds)
    cells = (tasks[at] * n_folds + folds[at]) * n_folds + others
    told = np.bincount(cells, shares[at], math.prod(shape))
    sums = np.bincount(cells, shares[at] * changes, math.prod(shape))
    means = np.divide(sums, told, out=np.zeros_like(sums), where=told > 0).reshape(shape)
    whole = np.bincount(tasks * n_folds + folds, shares, n_tasks * n_folds)
    sums = means * whole.reshape(n_tasks, n_folds, 1)
    return float((sums * sums.transpose(0, 2, 1)).sum())


def corrected_mean(differences: NDArray[Any], test_share: float) -> Estimate:
    """Return the mean of differences of repeated splits, with the corrected resampled error."""
    # Shapes: differences (J,).
    # For metrics that are no means over rows, such as the area under the ROC curve. Splits of the
    # same rows share most of their training rows, so their differences are correlated and the
    # variance of their mean does not fall like ``1 / J``. Nadeau and Bengio set it to
    # ``(1 / J + n_test / n_train) S^2``, where ``S^2`` is the variance between splits.
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    if values.size < 2:
        return Estimate(float(values[0]), NAN, 0.0) if values.size else NOTHING
    if np.ptp(values) == 0:  # the mean of equal numbers may be off by a rounding error
        return Estimate(float(values[0]), 0.0, values.size - 1.0)
    variance = (1 / values.size + test_share) * values.var(ddof=1)
    return Estimate(float(values.mean()), math.sqrt(variance), values.size - 1.0)


def normal_error(interval: Interval, level: float = 0.95) -> float:
    """Return the standard error with which a normal interval would be as wide as this one."""
    return (interval.high - interval.low) / (2 * normal_quantile(level))


def normal_quantile(level: float) -> float:
    """Return the two-sided quantile of the normal distribution."""
    return float(ndtri((1 + level) / 2))


def t_quantile(freedom: Floats | float, level: float) -> Floats:
    """Return two-sided quantiles of Student's t for degrees of freedom."""
    return np.asarray(stdtrit(freedom, (1 + level) / 2), dtype=np.float64)
