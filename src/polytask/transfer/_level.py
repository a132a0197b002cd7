"""How far the level of a new domain may be from those of the tasks that were learned from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Factors of the variance of a level that are weighed against each other.
FACTORS: Array = 10.0 ** np.arange(-1.0, 3.1, 0.5)


def factor_shares(log_evidence: Array) -> Array:
    """Return the posterior probabilities of the factors under a Cauchy prior of the level."""
    # Shapes: log_evidence (..., n_factors).
    # The density of the log of the factor: 1 over the factor has a gamma distribution.
    weight = log_evidence - 0.5 * np.log(FACTORS) - 0.5 / FACTORS
    share = np.exp(weight - weight.max())
    return np.asarray(share / share.sum())


def level_factor(log_evidence: Callable[[float], float]) -> float:
    """Return the factor on the variance of the level for the rows of a new domain."""
    # The level of another domain may be one that no task had: instead of a normal it gets a
    # Cauchy prior of the same scale, which leaves levels near those known where they are and lets
    # go of one far off [1]_. That is a mixture of normal ones over the factor of the variance, and
    # what the new rows make of the mixture is the factor that is used.
    share = factor_shares(np.array([log_evidence(factor) for factor in FACTORS.tolist()]))
    return float(np.exp(share @ np.log(FACTORS)))
