"""Information criteria: what the fit of all rows says about its own error.

A fit is worth its deviance, and what it is charged for is its degrees of freedom: how much the
predictions follow the noise of the targets.

References
----------
Zou, H., Hastie, T. and Tibshirani, R. (2007). On the degrees of freedom of the lasso. Annals of
Statistics 35, 2173-2192.
Reid, S., Tibshirani, R. and Friedman, J. (2016). A study of error variance estimation in lasso
regression. Statistica Sinica 26, 35-67.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# A task of few rows has its variance pulled to that of all tasks as by so many rows.
_PULL = 1.0
# What the fit as it is counts where a support decides.
_TIE = 1e-6
# A share of the rows below which none is to spare: degrees of freedom are known to rounding.
_FULL = 1e-9


@dataclass(frozen=True, eq=False)
class Fit:
    """What a criterion is told of a fit."""

    # Shapes: deviance (n_tasks,), degrees (n_tasks,), counts (n_tasks,), nonzero (n_features,
    # n_columns).

    deviance: Array
    degrees: Array
    counts: Array
    nonzero: NDArray[np.bool_]
    refitted: Fit | None = None


@dataclass(frozen=True, eq=False)
class Noise:
    """The variance (dispersion) of the noise of every task, the same for all candidates."""

    # Shapes: groups (n_tasks,), variance (n_tasks,), silent (n_tasks,).

    groups: Index
    variance: Array
    silent: NDArray[np.bool_] | None = None

    def tells(self, counts: Array) -> NDArray[np.bool_]:
        """Return the tasks that have labels and are not silent."""
        return (counts > 0) if self.silent is None else (counts > 0) & ~self.silent

    @classmethod
    def of(cls, groups: Index, fits: Sequence[Fit]) -> Noise:
        """Estimate the noise where generalised cross-validation is smallest."""
        # It is the deviance over the rows less the degrees of freedom there. Along a path the
        # criteria need one variance: that of each candidate itself would reward a fit of noise.
        spare = np.stack([fit.degrees < fit.counts * (1.0 - _FULL) for fit in fits])
        silent = np.logical_not(spare.any(axis=0))
        unit = cls(groups, np.ones(len(groups)), silent)
        best = min(fits, key=lambda fit: gcv(fit, unit))
        left = np.maximum(best.counts - best.degrees, 0.0)
        free = groups >= 0
        total = float(left[free].sum())
        level = float(best.deviance[free].sum()) / total if total > 0 else 1.0
        variance = np.ones(len(groups))
        for group in np.unique(groups[free]):
            own = groups == group
            squares, rows = best.deviance[own].sum(), left[own].sum()
            variance[own] = (squares + _PULL * level) / (rows + _PULL)
        # A fit without residuals leaves no noise to compare anything with.
        return cls(groups, np.maximum(variance, np.finfo(float).tiny), silent)


Criterion = Callable[[Fit, Noise], float]


def log_likelihood(fit: Fit, noise: Noise) -> float:
    """Return the log-likelihood, up to a number of the data where the loss says the noise."""
    free = noise.groups >= 0
    scale = np.where(free, fit.counts * np.log(2.0 * np.pi * noise.variance), 0.0)
    return -0.5 * float(np.sum(fit.deviance / noise.variance + scale))


def aic(fit: Fit, noise: Noise) -> float:
    """Return -2 log L + 2 df."""
    return -2.0 * log_likelihood(fit, noise) + 2.0 * float(fit.degrees.sum())


def aicc(fit: Fit, noise: Noise) -> float:
    """Return AIC as it is for few rows, each candidate with the noise that fits it best."""
    # A group of n rows with one unknown variance counts
    # ``n log(2 pi D / n) + n (n + df) / (n - df - 2)``, rows whose loss says the noise
    # ``D + 2 df n / (n - df - 1)``; without a row to spare it is infinite.
    total = 0.0
    telling = noise.tells(fit.counts)
    if not telling.any():
        return float("inf")
    for group in np.unique(noise.groups[telling]):
        own = (noise.groups == group) & telling
        n, df = float(fit.counts[own].sum()), float(fit.degrees[own].sum())
        deviance = max(float(fit.deviance[own].sum()), np.finfo(float).tiny)
        spare = n - df - (2.0 if group >= 0 else 1.0)
        if n > 0 and spare <= 0:
            return float("inf")
        if n > 0 and group >= 0:
            mean = np.log(deviance) - np.log(n)  # the quotient underflows
            total += n * (np.log(2.0 * np.pi) + mean) + n * (n + df) / spare
        elif n > 0:
            total += deviance + 2.0 * df * n / spare
    return float(total)


def bic(fit: Fit, noise: Noise) -> float:
    """Return -2 log L + sum over tasks of df log n, n being the rows of the task."""
    rows = np.log(np.maximum(fit.counts, 1.0))
    return -2.0 * log_likelihood(fit, noise) + float(fit.degrees @ rows)


def ebic(fit: Fit, noise: Noise) -> float:
    """Return the BIC of the support + 2 log of the number of supports of that size."""
    # A support is judged by its best fit without a penalty: what shrinks also lets in coefficients
    # that make up for the shrinkage of others. Supports are counted in the way that says them in
    # fewer words: any coefficients, or rows and then coefficients within them; whole rows need the
    # first word only. Of a penalty that makes no zeros it is BIC. A millionth of the BIC of the
    # fit as it is decides between strengths with one support.
    d, columns = fit.nonzero.shape
    kept = int(fit.nonzero.sum())
    rows = int(fit.nonzero.any(axis=1).sum())
    by_rows = _log_choices(d, rows) + _log_choices(rows * columns, kept)
    words = 2.0 * min(_log_choices(d * columns, kept), by_rows)
    as_it_is = bic(fit, noise)
    if fit.refitted is None:
        return as_it_is + words
    support = bic(fit.refitted, noise)
    return support + _TIE * (as_it_is - support) + words


def gcv(fit: Fit, noise: Noise) -> float:
    """Return generalised cross-validation: an estimate of twice the loss of a new label."""
    # It is ``sum_t D_t / (1 - df_t / n_t)^2`` over the number of labels. It needs no noise.
    seen = noise.tells(fit.counts)
    left = 1.0 - fit.degrees[seen] / fit.counts[seen]
    if not seen.any() or not np.all(left > _FULL):
        return float("inf")
    return float(np.sum(fit.deviance[seen] / left**2) / fit.counts[seen].sum())


def _log_choices(n: int, k: int) -> float:
    """Return the logarithm of the number of ways to choose k of n."""
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


CRITERIA: dict[str, Criterion] = {"aic": aic, "aicc": aicc, "bic": bic, "ebic": ebic, "gcv": gcv}
