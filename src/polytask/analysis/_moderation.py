"""Variances of many tasks, each from little data, pulled to what they have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

Floats = NDArray[np.float64]

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
    trend = size ** -_exponent(logs, np.log(size[seen]))
    prior, prior_freedom = _prior(logs - np.log(trend[seen]), own_freedom)
    weight = np.where(seen, freedom, 0.0)
    total = prior_freedom + weight
    mixed = prior_freedom * prior * trend + weight * np.where(seen, variance, 0.0)
    return mixed / total, total


def _exponent(logs: Floats, log_size: Floats) -> float:
    centred = log_size - log_size.mean()
    squares = centred @ centred
    slope = -(centred @ logs) / squares if squares > 0 else _SLOWEST
    return float(np.clip(slope, _SLOWEST, _FASTEST))


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
