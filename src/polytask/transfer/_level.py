"""How far the level of a new domain may be from those of the tasks that were learned from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Factors of the variance of a level that are weighed against each other.
_FACTORS = 10.0 ** np.arange(-1.0, 3.1, 0.5)


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
    weight = np.array([log_evidence(factor) for factor in _FACTORS.tolist()])
    # The density of the log of the factor: 1 over the factor has a gamma distribution.
    weight -= 0.5 * np.log(_FACTORS) + 0.5 / _FACTORS
    share = np.exp(weight - weight.max())
    return float(np.exp(share @ np.log(_FACTORS) / share.sum()))
