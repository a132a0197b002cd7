"""The posterior of many logistic tasks as a normal model, and how further rows change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.bayes.blocks import RowSpace, opened_rows, solve_lower
from polytask.bayes.laplace_mode import Beliefs, Mode, Point, curvatures, posterior_mode, residuals
from polytask.bayes.laplace_rows import Labelled, RowBlock, Spread, row_blocks
from polytask.bayes.prior import Prior

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Share of the largest moment that is added to those of columns that depend on each other.
_RIDGE = 1e-12


@saveable("bayes.class_posterior")
@dataclass(frozen=True, eq=False)
class ClassPosterior:
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

    def updated(self, labelled: Labelled, tasks: Index) -> ClassPosterior:
        """Return the posterior after further rows, the prior held."""
        # Shapes: tasks (labelled.n_tasks,).
        if self.prior.space is not None:
            prior, labelled = in_space(self.prior, labelled)
            more = len(prior.mean) - len(self.prior.mean)
            coef, rows = opened_rows(self.coef, more), opened_rows(self.rows, more)
            return replace(self, prior=prior, coef=coef, rows=rows)._updated(labelled, tasks)
        return self._updated(labelled, tasks)

    def _updated(self, labelled: Labelled, tasks: Index) -> ClassPosterior:
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
        return ClassPosterior(
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
        Z, y, weight, normal, counts = [], [], [], [], []
        for k, t in enumerate(tasks.tolist()):
            new = np.arange(labelled.offsets[k], labelled.offsets[k + 1])
            held = self.rows[old[t]]
            Z += [held, labelled.take(new)]
            y += [self.response[old[t]], labelled.y[new]]
            weight += [np.ones(len(held)), labelled.weight[new]]
            normal += [np.ones(len(held), dtype=bool), np.zeros(len(new), dtype=bool)]
            counts.append(len(held) + len(new))
        offsets = np.cumsum([0, *counts]).astype(np.intp)
        p = self.rows.shape[1]
        return Labelled(
            Z=np.concatenate([np.zeros((0, p)), *Z]),
            y=np.concatenate([np.zeros(0), *y]),
            weight=np.concatenate([np.zeros(0), *weight]),
            offsets=offsets,
            normal=np.concatenate([np.zeros(0, dtype=bool), *normal]),
        )


def posterior_under(prior: Prior, labelled: Labelled) -> tuple[ClassPosterior, float]:
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


def posterior_within(prior: Prior, labelled: Labelled) -> tuple[ClassPosterior, float]:
    """Return :func:`posterior_under` for rows in the columns of the prior."""
    spread = Spread.from_covariance(prior.covariance, prior.varying)
    beliefs = Beliefs(spread, None, prior.mean)
    start = Point(prior.mean.copy(), np.zeros((labelled.n_tasks, len(prior.varying))))
    mode = posterior_mode(row_blocks(labelled), beliefs, [start])
    value = -mode.objective - 0.5 * mode.log_determinant
    return class_posterior(mode, beliefs, prior, labelled), value


def class_posterior(
    mode: Mode, beliefs: Beliefs, prior: Prior, labelled: Labelled
) -> ClassPosterior:
    """Return the normal model of a posterior mode."""
    p = labelled.width
    counts = np.zeros(labelled.n_tasks, dtype=np.intp)
    for posterior in mode.posteriors:
        tasks = posterior.rows.tasks
        counts[tasks] = p if _is_long(posterior.rows) else labelled.counts[tasks]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    rows, response = np.zeros((offsets[-1], p)), np.zeros(offsets[-1])
    for posterior, eta in zip(mode.posteriors, mode.etas, strict=True):
        A, r = _normal_rows(posterior.rows, eta)
        own = counts[posterior.rows.tasks]
        real = np.arange(A.shape[1]) < own[:, None]
        places = (offsets[posterior.rows.tasks][:, None] + np.arange(A.shape[1]))[real]
        rows[places], response[places] = A[real], r[real]
    coef = mode.point.coefficients(beliefs.spread)
    return ClassPosterior(prior, coef, rows, response, offsets)


def _is_long(rows: RowBlock) -> bool:
    return int(rows.y.shape[1]) >= rows.width


def _normal_rows(rows: RowBlock, eta: Array) -> tuple[Array, Array]:
    """Return rows and targets of the quadratic approximation, shapes (B, k, p) and (B, k)."""
    curvature = curvatures(rows, eta)
    right = curvature * eta + residuals(rows, eta)
    if not _is_long(rows):
        # A row without any curvature left says nothing.
        root = np.sqrt(np.maximum(curvature, np.finfo(float).tiny))
        return rows.dense() * root[:, :, None], np.where(curvature > 0, right / root, 0.0)
    gram = rows.gram(curvature)
    largest = np.max(np.diagonal(gram, axis1=1, axis2=2), axis=1, initial=0.0)
    ridge = np.maximum(_RIDGE * rows.width * largest, np.finfo(float).tiny ** 0.5)
    lower = np.linalg.cholesky(gram + ridge[:, None, None] * np.eye(rows.width))
    target = solve_lower(lower, rows.project(right)[:, :, None])[:, :, 0]
    return np.asarray(lower.transpose(0, 2, 1)), np.asarray(target)
