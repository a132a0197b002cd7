"""How far the level of a new domain may be from those of the tasks that were learned from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Factors of the variance of a level that are weighed against each other.
FACTORS: Array = 10.0 ** np.arange(-1.0, 3.1, 0.5)


def factor_shares(log_evidence: Array) -> Array:
    """Return the posterior probabilities of the factors under a Cauchy prior of the level.

    Parameters
    ----------
    log_evidence : ndarray of shape (..., n_factors)
        Log marginal likelihood under each, and more models to weigh against each other.

    Returns
    -------
    ndarray, shaped as `log_evidence`
        Of sum 1.
    """
    # The density of the log of the factor: 1 over the factor has a gamma distribution.
    weight = log_evidence - 0.5 * np.log(FACTORS) - 0.5 / FACTORS
    share = np.exp(weight - weight.max())
    return np.asarray(share / share.sum())


def level_factor(log_evidence: Callable[[float], float]) -> float:
    """Return what the variance of the level is to be multiplied by for the rows of a new domain.

    The level of another domain may be one that no task had: instead of a normal it gets a
    Cauchy prior of the same scale, which leaves levels near those known where they are and lets
    go of one far off [1]_. That is a mixture of normal ones over the factor of the variance, and
    what the new rows make of the mixture is the factor that is used.

    Parameters
    ----------
    log_evidence : callable
        Log marginal likelihood of the new rows as a function of the factor.

    Returns
    -------
    float
        The posterior mean of the factor on the scale of logs.

    References
    ----------
    .. [1] Lange, K., Little, R. and Taylor, J. (1989). Robust statistical modeling using the t
       distribution. JASA 84, 881-896, section 2 (the mixture, with one degree of freedom).
    """
    share = factor_shares(np.array([log_evidence(factor) for factor in FACTORS.tolist()]))
    return float(np.exp(share @ np.log(FACTORS)))
