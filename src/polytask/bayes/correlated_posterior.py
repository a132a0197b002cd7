"""Coefficients of tasks whose noise is correlated, given their rows and a prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Chosen
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_marginal import JointReduced, reduced
from polytask.bayes.prior import Prior, factor_of

# Of a row that nothing but itself speaks for, this share of its noise counts as left.
_NO_ROOM = 1e-9


@saveable("bayes.joint_tasks")
@dataclass(frozen=True, eq=False)
class JointTasks:
    """Tasks whose noise is correlated. Shapes: noise (T, T)."""

    rows: JointRows
    noise: Array

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.noise)


@dataclass(frozen=True, eq=False)
class JointPosterior:
    """The coefficients of T tasks. Shapes: means (T, p), own (T, q, q), responses (T, q, p)."""

    prior: Prior
    means: Array
    own: Array
    responses: Array

    def covariance(self, task: int) -> Array:
        """Return the covariance of the coefficients of one task, shape (p, p)."""
        varying, p = self.prior.varying, len(self.prior.mean)
        found = np.zeros((p, p))
        found[np.ix_(varying, varying)] = self.own[task]
        if self.prior.mean_covariance is not None:
            passed = np.eye(p)
            passed[varying] -= self.responses[task]
            found += passed @ self.prior.mean_covariance @ passed.T
        return np.asarray(0.5 * (found + found.T))


def joint_posterior(joint: JointTasks, prior: Prior) -> JointPosterior:
    """Return the coefficients of tasks given their rows and a prior."""
    T, p, q = joint.n_tasks, len(prior.mean), len(prior.varying)
    means = np.repeat(prior.mean[None], T, axis=0)
    own = np.repeat(prior.covariance[None], T, axis=0)
    responses = np.zeros((T, q, p))
    active = joint.rows.active
    if len(active):
        work = _work(joint, prior)
        means[np.ix_(active, prior.varying)] += work.deviations(prior.mean)
        own[active], responses[active] = work.own_covariances(), work.responses()
    return JointPosterior(prior, means, own, responses)


def log_densities_joint(
    joint: JointTasks, prior: Prior, rows: tuple[Array, Array, Array]
) -> Array:
    """Return the log density of every label given all other rows, its own row left out."""
    # Shapes: result (n, T).
    # With H the posterior covariance of a row's ``W'x``, Sigma that of its noise and r its
    # residuals from the posterior means, its labels given all other rows have the residuals
    # ``Sigma (Sigma - v H)^-1 r`` and the covariance ``Sigma (Sigma - v H)^-1 Sigma / v``. The
    # prior and Sigma count as known.
    X, Y, v = rows
    means = joint_posterior(joint, prior).means
    misfit, active = Y - X @ means.T, joint.rows.active
    H = np.zeros((len(X), joint.n_tasks, joint.n_tasks))
    H[:, active[:, None], active] = _work(joint, prior).covariances_at(X[:, prior.varying])
    found = np.full(Y.shape, np.nan)
    for i, own in enumerate(~np.isnan(Y)):
        if own.any():
            S, used = joint.noise[np.ix_(own, own)], v[i] * H[i][np.ix_(own, own)]
            found[i, own] = _left_out(S, used, misfit[i, own], v[i])
    return found


def _left_out(S: Array, used: Array, r: Array, v: float) -> Array:
    """Return the log densities of one row's labels."""
    root = np.linalg.cholesky(S)
    inner = np.linalg.solve(root, np.linalg.solve(root, used).T)
    share, U = np.linalg.eigh(0.5 * (inner + inner.T))
    left = np.maximum(1.0 - share, _NO_ROOM)
    back = root @ U
    residual = back @ ((U.T @ np.linalg.solve(root, r)) / left)
    variance = np.sum(back**2 / left, axis=1) / v
    return np.asarray(-0.5 * (np.log(2.0 * np.pi * variance) + residual**2 / variance))


def _work(joint: JointTasks, prior: Prior) -> JointReduced:
    active = joint.rows.active
    everything = np.array_equal(prior.varying, np.arange(len(prior.mean)))
    varying: Chosen = slice(None) if everything else prior.varying
    noise = joint.noise[np.ix_(active, active)]
    return reduced(joint.rows.of(active), factor_of(prior.covariance), varying, noise)
