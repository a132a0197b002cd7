"""How alike the noise of the tasks is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.special

from polytask.bayes.blocks import Block
from polytask.bayes.fit import Learned
from polytask.bayes.marginal import Marginal

# The pull is never weaker or stronger than so many rows.
_WEAKEST, _STRONGEST = 2.0, 1e4
_FEWEST_ROWS = 3.0


def pull_to_common(blocks: Sequence[Block], learned: Learned, n_tasks: int) -> float:
    """Return the number of rows by which the noise of a task is pulled to the common one."""
    # The logs of the tasks' residual variances vary by chance with variance trigamma(n_t / 2);
    # what they vary beyond that is matched by an inverse gamma distribution of the variances.
    marginal = Marginal(blocks, learned.model, n_tasks)
    L = marginal.factor(learned.params)
    logs, expected = [], []
    for block in marginal.blocks:
        misfit = block.reduce(L, marginal.varying).misfits(learned.mean)
        rows = np.broadcast_to(block.count[:, None], misfit.shape)
        used = (rows >= _FEWEST_ROWS) & (misfit > 0)
        half = rows[used] / 2.0
        logs.append(np.log(misfit[used] / rows[used]) - scipy.special.digamma(half) + np.log(half))
        expected.append(scipy.special.polygamma(1, half))
    values = np.concatenate([np.zeros(0), *logs])
    if len(values) < 2:
        return _STRONGEST
    beyond = float(np.var(values, ddof=1) - np.mean(np.concatenate(expected)))
    return _inverse_trigamma(beyond)


def _inverse_trigamma(variance: float) -> float:
    """Return nu with trigamma(nu / 2) equal to the variance, within bounds."""

    def excess(nu: float) -> float:
        return float(scipy.special.polygamma(1, nu / 2.0)) - variance

    if excess(_STRONGEST) >= 0:
        return _STRONGEST
    if excess(_WEAKEST) <= 0:
        return _WEAKEST
    return float(scipy.optimize.brentq(excess, _WEAKEST, _STRONGEST))
