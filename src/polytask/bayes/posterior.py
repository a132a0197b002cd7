"""The coefficients of tasks given their rows and a prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Block, Chosen, Index, RowSpace, opened_rows, solve_lower
from polytask.bayes.correlated_rows import JointReduced, JointRows, reduced
from polytask.bayes.label_losses import LabelLoss, LabelLosses
from polytask.bayes.laplace_mode import Beliefs, Mode, Point, posterior_mode
from polytask.bayes.laplace_rows import (
    GramPosterior,
    Labelled,
    RowBlock,
    Spread,
    row_blocks,
)
from polytask.bayes.prior import Prior, factor_of
from polytask.losses import Squared

# Of a row that nothing but itself speaks for, this share of its noise counts as left.
_NO_ROOM = 1e-9
# What the rows of an approximation lose.
_OF_NORMAL_ROWS = LabelLoss(Squared(), dispersion=1.0)
# Share of the largest moment that is added to those of columns that depend on each other.
_RIDGE = 1e-12


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


@saveable("bayes.class_posterior")
@dataclass(frozen=True, eq=False)
class LaplacePosterior:
    """What is known about the coefficients of every task after its rows were seen."""

    # Shapes: coef (n_tasks, p), rows (k, p), response (k,), offsets (n_tasks + 1,).
    # The likelihood of a task is kept as its quadratic approximation at the mode, which is the
    # likelihood of min(n_t, p) rows with normal noise of variance 1.

    prior: Prior
    coef: Array
    rows: Array
    response: Array
    offsets: Index

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.coef)

    def variance(self, Z: Array, task: int) -> Array:
        """Return the posterior variance of the linear predictors of rows of a task."""
        # Shapes: Z (n, p), result (n,).
        V, C, S = self.prior.varying, self.prior.covariance, self.prior.mean_covariance
        shared = Z[:, V] @ C
        own = np.einsum("ij,ij->i", shared, Z[:, V])
        moved = Z
        A = self._rows_of(task)
        if len(A):
            X = A[:, V]
            inner = np.eye(len(X)) + X @ C @ X.T
            root = scipy.linalg.cholesky(inner, lower=True)
            half = scipy.linalg.solve_triangular(root, X @ shared.T, lower=True)
            own = own - np.einsum("ij,ij->j", half, half)
            # How a change of mu moves the posterior mean of the task.
            moved = Z - scipy.linalg.solve_triangular(root, half, lower=True, trans="T").T @ A
        if S is not None:
            own = own + np.einsum("ij,ij->i", moved @ S, moved)
        return np.asarray(np.maximum(own, 0.0))

    def covariance(self, task: int) -> Array:
        """Return the posterior covariance of the coefficients of a task, shape (p, p)."""
        V, C, S = self.prior.varying, self.prior.covariance, self.prior.mean_covariance
        p = self.rows.shape[1]
        A = self._rows_of(task)
        X = A[:, V]
        inner = np.eye(len(X)) + X @ C @ X.T
        gain = np.linalg.solve(inner, X @ C)
        M = np.zeros((p, p))
        M[np.ix_(V, V)] = C - (X @ C).T @ gain
        moved = np.eye(p)
        moved[:, V] -= A.T @ gain
        return M if S is None else np.asarray(M + moved.T @ S @ moved)

    def updated(self, labelled: Labelled, tasks: Index) -> LaplacePosterior:
        """Return the posterior after further rows, the prior held."""
        # Shapes: tasks (labelled.n_tasks,).
        if self.prior.space is not None:
            prior, labelled = in_space(self.prior, labelled)
            more = len(prior.mean) - len(self.prior.mean)
            coef, rows = opened_rows(self.coef, more), opened_rows(self.rows, more)
            return replace(self, prior=prior, coef=coef, rows=rows)._updated(labelled, tasks)
        return self._updated(labelled, tasks)

    def _updated(self, labelled: Labelled, tasks: Index) -> LaplacePosterior:
        total = max(self.n_tasks, int(tasks.max(initial=-1)) + 1)
        coef = np.tile(self.prior.mean, (total, 1))
        coef[: self.n_tasks] = self.coef
        joined = self._joined(labelled, tasks) if len(self.rows) else labelled
        fresh, _ = posterior_within(self.prior, joined)
        coef[tasks] = fresh.coef
        parts = [(self.rows, self.response, self._pieces(total))]
        parts.append((fresh.rows, fresh.response, fresh._pieces(labelled.n_tasks)))
        source = dict(enumerate([(0, t) for t in range(total)])) | {
            int(t): (1, k) for k, t in enumerate(tasks)
        }
        chosen = [parts[which][2][k] for which, k in (source[t] for t in range(total))]
        owners = [parts[source[t][0]] for t in range(total)]
        rows = [part[0][piece] for part, piece in zip(owners, chosen, strict=True)]
        response = [part[1][piece] for part, piece in zip(owners, chosen, strict=True)]
        offsets = np.cumsum([0, *[len(r) for r in rows]]).astype(np.intp)
        return LaplacePosterior(
            self.prior, coef, np.concatenate(rows), np.concatenate(response), offsets
        )

    def _rows_of(self, task: int) -> Array:
        if task < 0:
            return self.rows[:0]
        return self.rows[self.offsets[task] : self.offsets[task + 1]]

    def _pieces(self, total: int) -> list[slice]:
        known = [
            slice(int(a), int(b)) for a, b in zip(self.offsets, self.offsets[1:], strict=False)
        ]
        return known + [slice(0, 0)] * (total - len(known))

    def _joined(self, labelled: Labelled, tasks: Index) -> Labelled:
        """Put the normal rows of known tasks in front of their new rows."""
        old = self._pieces(max(self.n_tasks, int(tasks.max(initial=-1)) + 1))
        Z, y, weight, loss, counts = [], [], [], [], []
        for k, t in enumerate(tasks.tolist()):
            new = np.arange(labelled.offsets[k], labelled.offsets[k + 1])
            held = self.rows[old[t]]
            Z += [held, labelled.take(new)]
            y += [self.response[old[t]], labelled.y[new]]
            weight += [np.ones(len(held)), labelled.weight[new]]
            fresh = np.zeros(len(new), np.intp) if labelled.loss is None else labelled.loss[new]
            loss += [np.full(len(held), len(labelled.losses.kinds)), fresh]
            counts.append(len(held) + len(new))
        offsets = np.cumsum([0, *counts]).astype(np.intp)
        p = self.rows.shape[1]
        return Labelled(
            Z=np.concatenate([np.zeros((0, p)), *Z]),
            y=np.concatenate([np.zeros(0), *y]),
            weight=np.concatenate([np.zeros(0), *weight]),
            offsets=offsets,
            loss=np.concatenate([np.zeros(0, np.intp), *loss]),
            losses=LabelLosses((*labelled.losses.kinds, _OF_NORMAL_ROWS)),
        )


def posterior_under(prior: Prior, labelled: Labelled) -> tuple[LaplacePosterior, float]:
    """Return the posterior of tasks under a given prior, and the log marginal likelihood."""
    return posterior_within(*in_space(prior, labelled))


def in_space(prior: Prior, labelled: Labelled) -> tuple[Prior, Labelled]:
    """Return a prior that holds some rows, and the rows in its columns."""
    if prior.space is None:
        return prior, labelled
    Z = labelled.every()
    prior = prior.opened(Z)
    return prior, replace(labelled, Z=prior.coordinates(Z), shift=None)


def spanned(problems: Sequence[Labelled]) -> tuple[RowSpace, list[Labelled]]:
    """Return the space of the rows of problems of one design, and the problems in it."""
    Z = problems[0].every()
    space = RowSpace.of(Z[:, 1:])
    inside = space.coordinates(Z)
    return space, [replace(problem, Z=inside, shift=None) for problem in problems]


def posterior_within(prior: Prior, labelled: Labelled) -> tuple[LaplacePosterior, float]:
    """Return :func:`posterior_under` for rows in the columns of the prior."""
    spread = Spread.from_covariance(prior.covariance, prior.varying)
    beliefs = Beliefs(spread, None, prior.mean, labelled.losses)
    start = Point(prior.mean.copy(), np.zeros((labelled.n_tasks, len(prior.varying))))
    mode = posterior_mode(row_blocks(labelled), beliefs, [start])
    value = -mode.objective - 0.5 * mode.log_determinant
    return laplace_posterior(mode, beliefs, prior, labelled), value


def laplace_posterior(
    mode: Mode, beliefs: Beliefs, prior: Prior, labelled: Labelled
) -> LaplacePosterior:
    """Return the normal model of a posterior mode."""
    p = labelled.width
    counts = np.zeros(labelled.n_tasks, dtype=np.intp)
    parts: list[tuple[Index, Array, Array]] = []
    for posterior, eta in zip(mode.blocks, mode.etas, strict=True):
        A, r = _normal_rows(posterior.rows, eta, beliefs.losses)
        parts.append((posterior.tasks, A, r))
        counts[posterior.tasks] = (
            p if _is_long(posterior.rows) else labelled.counts[posterior.tasks]
        )
    for own in mode.posteriors:
        if isinstance(own, GramPosterior):
            parts.append((own.tasks, *_rows_of_gram(own.gram, own.right)))
            counts[own.tasks] = p
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    rows, response = np.zeros((offsets[-1], p)), np.zeros(offsets[-1])
    for tasks, A, r in parts:
        real = np.arange(A.shape[1]) < counts[tasks][:, None]
        places = (offsets[tasks][:, None] + np.arange(A.shape[1]))[real]
        rows[places], response[places] = A[real], r[real]
    coef = mode.point.coefficients(beliefs.spread)
    return LaplacePosterior(prior, coef, rows, response, offsets)


def _is_long(rows: RowBlock) -> bool:
    return int(rows.y.shape[1]) >= rows.width


def _normal_rows(rows: RowBlock, eta: Array, losses: LabelLosses) -> tuple[Array, Array]:
    """Return rows and targets of the quadratic approximation, shapes (B, k, p) and (B, k)."""
    curvature = losses.curvatures(rows, eta)
    right = curvature * eta + losses.residuals(rows, eta)
    if not _is_long(rows):
        # A row without any curvature left says nothing.
        root = np.sqrt(np.maximum(curvature, np.finfo(float).tiny))
        return rows.dense() * root[:, :, None], np.where(curvature > 0, right / root, 0.0)
    return _rows_of_gram(rows.gram(curvature), rows.project(right))


def _rows_of_gram(gram: Array, right: Array) -> tuple[Array, Array]:
    """Return p rows and targets with these moments and products. Shapes: right (B, p)."""
    width = gram.shape[1]
    largest = np.max(np.diagonal(gram, axis1=1, axis2=2), axis=1, initial=0.0)
    ridge = np.maximum(_RIDGE * width * largest, np.finfo(float).tiny ** 0.5)
    lower = np.linalg.cholesky(gram + ridge[:, None, None] * np.eye(width))
    target = solve_lower(lower, right[:, :, None])[:, :, 0]
    return np.asarray(lower.transpose(0, 2, 1)), np.asarray(target)
