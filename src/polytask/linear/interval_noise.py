"""The noise of each task that prediction intervals have where one noise was learned for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.special
from numpy.typing import NDArray

from polytask._estimator.held_out_errors import between
from polytask.bayes.blocks import Block
from polytask.bayes.posterior import noise_of, posterior_means
from polytask.bayes.prior import Prior, factor_of

Array = NDArray[np.float64]

# Tasks with fewer rows beyond what their coefficients take up have the common noise.
_FEWEST = 1.0


def interval_noise(blocks: Sequence[Block], prior: Prior, n_tasks: int) -> Array:
    """Return the noise variance of every task for its intervals, shape (n_tasks,)."""
    # The squared residuals of a task around its posterior mean sum up to ``noise tr(S^-1)`` with
    # ``S = 1 + Z Psi Z' / noise``: the rows less what the coefficients take up. The logs of these
    # estimates vary by chance with variance trigamma(free / 2); they are pulled to the common one
    # by as much as that explains their differences.
    noise = noise_of(prior, n_tasks)
    if prior.noise is None or np.ndim(prior.noise) or not blocks or n_tasks < 2:
        return noise
    squares, free = _residuals(blocks, prior, n_tasks)
    used = (free >= _FEWEST) & (squares > 0)
    if np.count_nonzero(used) < 2:
        return noise
    half = 0.5 * free[used]
    logs = np.log(squares[used] / free[used]) - scipy.special.digamma(half) + np.log(half)
    chance = scipy.special.polygamma(1, half)
    spread, common = between(logs, chance)
    share = spread / (spread + chance)
    # The mean of a variance whose log is normal.
    found = np.full(n_tasks, np.exp(common + 0.5 * spread))
    found[used] = np.exp(common + share * (logs - common) + 0.5 * spread * (1.0 - share))
    return found


def _residuals(blocks: Sequence[Block], prior: Prior, n_tasks: int) -> tuple[Array, Array]:
    """Return the sum of squares of every task around its posterior mean, and what it is of."""
    W = posterior_means(blocks, prior, n_tasks)
    L = factor_of(prior.covariance) / np.sqrt(float(np.asarray(prior.noise)))
    root = np.zeros((len(prior.mean), L.shape[1]))
    root[prior.varying] = L
    squares, free = np.zeros(n_tasks), np.zeros(n_tasks)
    for block in blocks:
        gram, cross, square = block.moments()
        w = W[block.tasks]
        fitted = np.einsum("gkp,gpq,gkq->gk", w, gram, w, optimize=True)
        rest = square - 2.0 * np.einsum("gpk,gkp->gk", cross, w) + fitted
        rows = block.count - block.reduce(L, prior.varying).traces(root)
        np.add.at(squares, block.tasks, np.maximum(rest, 0.0))
        np.add.at(free, block.tasks, np.broadcast_to(rows[:, None], rest.shape))
    return squares, free
