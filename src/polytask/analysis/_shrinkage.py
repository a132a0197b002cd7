"""Hierarchical shrinkage: many noisy estimates, one normal population, its spread unknown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Points at which the posterior of the spread is evaluated: log(tau / typical error).
_GRID = np.linspace(-8.0, 16.0, 241)
# How fast gains may fall with the rows of a task: not at all, ..., faster than 1 / n.
_EXPONENTS = (0.0, 0.5, 1.0, 1.5)


class Conditional(NamedTuple):
    """What is known of the true values for each of k spreads of the population."""

    # Shapes: means, variances (k, T), log_density (k,).

    means: Floats
    variances: Floats
    log_density: Floats


class Population(NamedTuple):
    """Shrunken values. Shapes: mean, variance (T,), spread (T,)."""

    mean: Floats
    variance: Floats
    spread: Floats


class _Mixed(NamedTuple):
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
    return Conditional(pull * centre + (1 - pull) * raw, variances, log_density)


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
        return Population(raw.copy(), np.maximum(widened, common) ** 2, np.zeros(1))
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
    return Population(mean, weight @ variances + weight @ (means - mean) ** 2, weight @ spreads)


def _shrink_at(
    exponent: float, raw: Floats, error: Floats, widened: Floats, size: Floats, common: float
) -> _Mixed:
    """Shrink with mean and spread proportional to ``size ** -exponent``."""
    unit = size**-exponent
    # Geometric mean 1, so that likelihoods of different exponents can be compared.
    unit = unit / np.exp(np.log(unit).mean())
    common_unit = float(size @ unit / size.sum())
    inner = _integrate(raw / unit, error / unit, widened / unit, common / common_unit)
    mean, variance, spread = inner.population
    return _Mixed(Population(mean * unit, variance * unit**2, spread * unit), inner.log_evidence)


def _integrate(raw: Floats, error: Floats, widened: Floats, common: float) -> _Mixed:
    """Average over the posterior of the spread."""
    scale = float(max(np.ptp(raw), error.max()))
    if scale == 0:  # equal numbers without error
        return _Mixed(Population(raw, np.full(len(raw), common**2), np.zeros(len(raw))), 0.0)
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
    return _Mixed(Population(mean, variance, np.full(len(raw), median)), evidence)
