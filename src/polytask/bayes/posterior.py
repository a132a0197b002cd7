"""The coefficients of every task given its rows and a prior."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.bayes.blocks import Array, Block, Chosen
from polytask.bayes.prior import Prior

# Directions with less than this share of the largest variance do not vary.
_NO_VARIANCE = 1e-14


def factor_of(covariance: Array) -> Array:
    """Return a factor of a covariance, without the directions that do not vary."""
    own = np.diagonal(covariance)
    if np.count_nonzero(covariance) == np.count_nonzero(own):
        kept = own > _NO_VARIANCE * float(own.max(initial=0.0))
        factor = np.diag(np.sqrt(np.maximum(own, 0.0)))[:, kept]
        return factor if kept.any() else np.zeros((len(own), 1))
    values, vectors = np.linalg.eigh(covariance)
    largest = float(values.max(initial=0.0))
    kept = values > _NO_VARIANCE * largest if largest > 0 else np.zeros(len(values), dtype=bool)
    if not kept.any():
        return np.zeros((len(values), 1))
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def noise_of(prior: Prior, n_tasks: int) -> Array:
    """Return the noise variance of every task; tasks beyond those of the prior have the mean."""
    # Shapes: result (n_tasks,).
    known = np.atleast_1d(np.asarray(prior.noise, dtype=float))
    if len(known) == 1:
        return np.full(n_tasks, known[0])
    more = max(n_tasks - len(known), 0)
    return np.concatenate([known, np.full(more, known.mean())])[:n_tasks]


def posterior_means(blocks: Sequence[Block], prior: Prior, n_tasks: int) -> Array:
    """Return the posterior mean coefficients of every task. Shapes: result (n_tasks, p)."""
    means = np.repeat(prior.mean[None], n_tasks, axis=0)
    noise, varying = noise_of(prior, n_tasks), _chosen(prior)
    L = factor_of(prior.covariance)
    Psi = L @ L.T
    for block in blocks:
        owned = noise[block.tasks]
        alike = bool(np.all(owned == owned.flat[0]))
        part = block if alike else block.apart()
        own = float(owned.flat[0])
        if alike:
            reduced = part.reduce(L / np.sqrt(own), varying)
        else:
            reduced, own = part.reduce(L, varying, 1.0 / noise), 1.0
        scores = np.swapaxes(reduced.scores(prior.mean, varying), 1, 2)
        means[part.tasks[:, :, None], prior.varying] += scores @ (Psi / own)
    return means


def posterior_covariance(line: Block | None, prior: Prior, noise: float) -> Array:
    """Return the covariance of the coefficients of one task. Shapes: result (p, p)."""
    if line is None:
        return prior.spread
    varying = _chosen(prior)
    L = factor_of(prior.covariance)
    reduced = line.reduce(L / np.sqrt(noise), varying)
    Psi = L @ L.T / noise
    p = len(prior.mean)
    left = Psi - Psi @ reduced.precisions(varying)[0] @ Psi
    covariance = np.zeros((p, p))
    covariance[np.ix_(prior.varying, prior.varying)] = noise * left
    if prior.mean_covariance is not None:
        passed = np.eye(p)
        passed[prior.varying] -= Psi @ reduced.couplings(np.eye(p), varying)[0]
        covariance += passed @ prior.mean_covariance @ passed.T
    return 0.5 * (covariance + covariance.T)


def line_of(blocks: Sequence[Block], task: int) -> Block | None:
    """Return the rows of one task as a block of one line, None if it has none."""
    for block in blocks:
        hit = np.flatnonzero((block.tasks == task).any(axis=1))
        if len(hit):
            single = block.lines(slice(int(hit[0]), int(hit[0]) + 1)).apart()
            at = int(np.flatnonzero(single.tasks[:, 0] == task)[0])
            return single.lines(slice(at, at + 1))
    return None


def _chosen(prior: Prior) -> Chosen:
    everything = np.array_equal(prior.varying, np.arange(len(prior.mean)))
    return slice(None) if everything else prior.varying
