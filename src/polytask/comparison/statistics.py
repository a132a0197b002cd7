"""Means of paired differences with their errors, and estimates of many tasks shrunk together."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, ndtr, ndtri, polygamma, stdtrit

from polytask.comparison.records import Interval

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
    # that they hold is independent. Their product estimates the covariance, of rows within tasks;
    # with one number for all tasks, of all rows.
    n_folds, n_tasks = int(folds.max()) + 1, int(tasks.max()) + 1
    shape = (n_tasks, n_folds, n_folds)
    cells = (tasks[at] * n_folds + folds[at]) * n_folds + others
    told = np.bincount(cells, shares[at], math.prod(shape))
    sums = np.bincount(cells, shares[at] * changes, math.prod(shape))
    means = np.divide(sums, told, out=np.zeros_like(sums), where=told > 0).reshape(shape)
    whole = np.bincount(tasks * n_folds + folds, shares, n_tasks * n_folds)
    sums = means * whole.reshape(n_tasks, n_folds, 1)
    # Pairs of folds of which one was not left out of the models of the other stand for no others.
    by_fold = whole.reshape(n_tasks, n_folds).sum(axis=0)
    known = told.reshape(shape).any(axis=0)
    pairs = np.multiply.outer(by_fold, by_fold) * ~np.eye(n_folds, dtype=bool)
    seen = float(pairs[known & known.T].sum())
    scale = float(pairs.sum()) / seen if seen > 0 else 1.0
    return scale * float((sums * sums.transpose(0, 2, 1)).sum())


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


def discoveries(values: Floats, error: Floats, rate: float = 0.05) -> Codes:
    """Return which of many values are told from 0: 1 above it, -1 below it, else 0."""
    # Shapes: values, error (T,).
    # The step-up rule of Benjamini and Hochberg on two-sided p-values, once for the values above 0
    # and once for those below: so that among many gains, a few losses are not let in by the gains.
    with np.errstate(divide="ignore", invalid="ignore"):
        score = values / error
    known = ~np.isnan(score)
    found = np.zeros(len(values), dtype=np.intp)
    for side in (1, -1):
        p = np.where(known & (side * score > 0), 2 * ndtr(-np.abs(score)), 1.0)
        ordered = np.sort(p[known])
        passed = ordered <= rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        if passed.any():
            found[p <= ordered[np.flatnonzero(passed)[-1]]] = side
    return found


# The variance of a mean falls like 1 / n; that of a gain up to n times faster still, because the
# models that are compared differ less where there are more rows.
_SLOWEST, _FASTEST = 1.0, 2.0


def moderate(variance: Floats, freedom: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Pull sample variances to a common trend as far as the data say that there is one."""
    # Shapes: variance (T,), freedom (T,), size (T,), variance, freedom (T,).
    # True variances are taken as drawn from ``d0 s0^2 / chi^2_{d0}`` times ``size^-e``. The
    # exponent ``e`` is a least squares fit of the logarithms, held between 1 and 2; ``d0`` and
    # ``s0^2`` are fitted to mean and variance of the logarithms. ``d0`` is held below the degrees
    # of freedom of all tasks together, so a common variance is never taken as known.
    seen = freedom > 0
    if not seen.any():
        return np.full(len(variance), np.nan), np.zeros(len(variance))
    own, own_freedom = variance[seen], freedom[seen]
    if not own.any():
        return np.zeros(len(variance)), np.full(len(variance), own_freedom.sum())
    # Two equal models give a variance of 0, whose logarithm would rule the fit.
    logs = np.log(np.maximum(own, 1e-5 * np.median(own[own > 0])))
    centred = np.log(size[seen]) - np.log(size[seen]).mean()
    squares = centred @ centred
    slope = -(centred @ logs) / squares if squares > 0 else _SLOWEST
    trend = size ** -float(np.clip(slope, _SLOWEST, _FASTEST))
    prior, prior_freedom = _prior(logs - np.log(trend[seen]), own_freedom)
    weight = np.where(seen, freedom, 0.0)
    total = prior_freedom + weight
    mixed = prior_freedom * prior * trend + weight * np.where(seen, variance, 0.0)
    return mixed / total, total


def _prior(logs: Floats, freedom: Floats) -> tuple[float, float]:
    """Fit scale and degrees of freedom of the common value to logarithms of variances."""
    half = freedom / 2
    shifted = logs - digamma(half) + np.log(half)
    if len(logs) == 1:  # nothing to compare with: a weak prior at the value itself
        return float(np.exp(logs[0])), 1.0
    excess = float(shifted.var(ddof=1) - polygamma(1, half).mean())
    most = float(freedom.sum())
    fitted = min(2 * _inverse_trigamma(excess), most) if excess > 0 else most
    return float(np.exp(shifted.mean() + digamma(fitted / 2) - np.log(fitted / 2))), fitted


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(x) = value > 0 by Newton's method on 1 / trigamma, which is nearly linear."""
    x = 0.5 + 1 / value
    for _ in range(50):
        here = float(polygamma(1, x))
        step = here * (1 - here / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x


# Points at which the posterior of the spread is evaluated: log(tau / typical error).
_GRID = np.linspace(-8.0, 16.0, 241)
# How fast gains may fall with the rows of a task: not at all, ..., faster than 1 / n.
_EXPONENTS = (0.0, 0.5, 1.0, 1.5)


class Conditional(NamedTuple):
    """What is known of the true values for each of k spreads of the population."""

    # Shapes: means, variances (k, T), log_density, centres (k,).

    means: Floats
    variances: Floats
    log_density: Floats
    centres: Floats


class Population(NamedTuple):
    """Shrunken values, and what they are shrunk to. Shapes: all (T,)."""

    mean: Floats
    variance: Floats
    spread: Floats
    centre: Floats


class _MixedModel(NamedTuple):
    population: Population
    log_evidence: float


def posterior(
    raw: Floats, error: Floats, spread: Floats, widened: Floats, common: float = 0.0
) -> Conditional:
    """Return what is known of the true values if the spread of the population is given."""
    # Shapes: raw (T,), error (T,), spread (k,), widened (T,).
    # ``raw_t ~ N(g_t, s_t^2)``, ``g_t ~ N(mu, tau^2)``, flat prior on ``mu``. With
    # ``B_t = s_t^2 / (s_t^2 + tau^2)`` and ``V = 1 / sum_t 1 / (s_t^2 + tau^2)``: mean
    # ``B_t mu + (1 - B_t) raw_t``, variance ``(1 - B_t) s_t^2 + B_t^2 V``.
    #
    # An error ``c`` that all raw values have in common (the split was a lucky one) cannot be seen
    # in their differences. If ``raw_t = g_t + c + e_t``, the shrunken value has the variance
    # ``(1 - B_t) var(e_t) + var(c) = (1 - B_t) s_t^2 + B_t var(c)``. So what the caller knows of
    # the error of the mean beyond ``sum_t (weight_t s_t)^2`` is added times ``B_t``: fully shrunk,
    # a task has the error of the mean; not shrunk, its own.
    tau2 = spread[:, None] ** 2
    s2, wide2 = error**2, widened**2
    precision = 1 / (s2 + tau2)
    total = precision.sum(axis=1, keepdims=True)
    weight = precision / total
    centre = (weight * raw).sum(axis=1, keepdims=True)
    pull = s2 * precision
    mean_variance = (weight**2 * (wide2 + tau2)).sum(axis=1, keepdims=True)
    beyond = np.maximum(common**2 - (weight**2 * wide2).sum(axis=1, keepdims=True), 0)
    variances = (1 - pull) * wide2 + pull**2 * mean_variance + pull * beyond
    squares = (precision * (raw - centre) ** 2).sum(axis=1)
    log_density = 0.5 * (np.log(precision).sum(axis=1) - np.log(total[:, 0]) - squares)
    return Conditional(pull * centre + (1 - pull) * raw, variances, log_density, centre[:, 0])


def shrink(
    raw: Floats, error: Floats, widened: Floats, size: Floats, common: float = 0.0
) -> Population:
    """Shrink estimates to their common mean, with the spread integrated out."""
    # Shapes: raw, error, widened (T,), size (T,).
    # Gains are larger in small tasks, and so are the differences between them: mean and spread of
    # the population are proportional to ``size^-a``. ``a`` is not known: 0, 1/2, 1 and 3/2 are
    # averaged by their marginal likelihoods. (Tasks of one size: it makes no difference.) Without
    # it, a few large tasks with gains near 0 would speak for the small ones.
    #
    # The spread tau is not replaced by an estimate, which is often 0 with few tasks and then makes
    # intervals too short: its posterior is summed over a grid, deterministically. Its prior is
    # DuMouchel's: ``p(tau) = s0 / (s0 + tau)^2`` with ``s0^2`` the harmonic mean of ``error^2``.
    # It is proper (two tasks are enough), moves with the unit of measurement, and holds tau below
    # and above the typical error equally likely. One task is returned as it is.
    if len(raw) == 1:
        return Population(raw.copy(), np.maximum(widened, common) ** 2, np.zeros(1), raw.copy())
    alike = bool(np.ptp(size) == 0)
    runs = [
        _shrink_at(a, raw, error, widened, size, common)
        for a in _EXPONENTS[: 1 if alike else None]
    ]
    evidence = np.array([run.log_evidence for run in runs])
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    means = np.array([run.population.mean for run in runs])
    variances = np.array([run.population.variance for run in runs])
    spreads = np.array([run.population.spread for run in runs])
    mean = weight @ means
    centre = weight @ np.array([run.population.centre for run in runs])
    variance = weight @ variances + weight @ (means - mean) ** 2
    return Population(mean, variance, weight @ spreads, centre)


def _shrink_at(
    exponent: float, raw: Floats, error: Floats, widened: Floats, size: Floats, common: float
) -> _MixedModel:
    """Shrink with mean and spread proportional to ``size ** -exponent``."""
    unit = size**-exponent
    # Geometric mean 1, so that likelihoods of different exponents can be compared.
    unit = unit / np.exp(np.log(unit).mean())
    common_unit = float(size @ unit / size.sum())
    inner = _integrate(raw / unit, error / unit, widened / unit, common / common_unit)
    mean, variance, spread, centre = inner.population
    return _MixedModel(
        Population(mean * unit, variance * unit**2, spread * unit, centre * unit),
        inner.log_evidence,
    )


def _integrate(raw: Floats, error: Floats, widened: Floats, common: float) -> _MixedModel:
    """Average over the posterior of the spread."""
    scale = float(max(np.ptp(raw), error.max()))
    if scale == 0:  # equal numbers without error
        alike = Population(raw, np.full(len(raw), common**2), np.zeros(len(raw)), raw)
        return _MixedModel(alike, 0.0)
    # An error of 0 would divide by 0; a billionth of the scale is as good.
    error = np.maximum(error, 1e-9 * scale)
    typical = 1 / np.sqrt((1 / error**2).mean())
    tau = typical * np.exp(_GRID)
    given = posterior(raw, error, tau, widened, common)
    # The prior of log(tau / typical): a logistic density.
    density = given.log_density + _GRID - 2 * np.logaddexp(0, _GRID)
    evidence = float(np.logaddexp.reduce(density))
    weight = np.exp(density - evidence)
    mean = weight @ given.means
    variance = weight @ given.variances + weight @ (given.means - mean) ** 2
    median = tau[min(int(np.searchsorted(weight.cumsum(), 0.5)), len(tau) - 1)]
    centre = np.full(len(raw), float(weight @ given.centres))
    return _MixedModel(Population(mean, variance, np.full(len(raw), median), centre), evidence)
