"""Trees that grow on the marginal likelihood of rows of tasks, as many as held-out rows favour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from polytask.bayes.blocks import Array, Index, Moments
from polytask.bayes.choose import Candidate
from polytask.bayes.normal import Learned, Marginal, choose_normal, learn
from polytask.bayes.posterior import posterior_means
from polytask.bayes.prior import Model, NoVariation, Prior, Structure, factor_of
from polytask.boosting.trees import BinnedRows, GrowingTrees, Trees

# The prior is learned anew after so many trees, in so many evaluations at most.
_EVERY, _EVALUATIONS, _ROUGH = 5, 20, 1e-3
# The last search: its tolerance, and its evaluations at most.
LIMITS = (1e-4, 500)


@dataclass(frozen=True, eq=False)
class TaskRows:
    """Rows of tasks, in the columns whose coefficients vary between them."""

    # Shapes: Z (n, p), a column of ones in front; y, weight, tasks (n,).

    Z: Array
    y: Array
    weight: Array
    tasks: Index
    n_tasks: int

    def of(self, part: Index) -> TaskRows:
        """Return some of the rows."""
        own = (self.Z[part], self.y[part], self.weight[part], self.tasks[part])
        return TaskRows(*own, self.n_tasks)

    def times(self, W: Array) -> Array:
        """Return the products of the rows with the coefficients of their tasks, shape (n,)."""
        return np.asarray(np.einsum("ij,ij->i", self.Z, W[self.tasks]))

    def forms(self, C: Array) -> Array:
        """Return the quadratic forms of the rows with matrices (n_tasks, p, p), shape (n,)."""
        return np.asarray(np.einsum("ij,ijk,ik->i", self.Z, C[self.tasks], self.Z))

    def block(self, left: Array) -> Moments:
        """Return what the rows say where `left` is what is left of the targets, shape (n,)."""
        count, gram = self._products
        columns = np.column_stack([self.Z * left[:, None], left**2])
        cross = self._sums @ columns
        tasks = np.arange(self.n_tasks, dtype=np.intp)[:, None]
        return Moments(tasks, count, gram, cross[:, :-1, None], cross[:, -1:])

    @cached_property
    def _sums(self) -> sp.csr_array:
        rows = np.arange(len(self.tasks))
        shape = (self.n_tasks, len(rows))
        return sp.csr_array((self.weight, (self.tasks, rows)), shape=shape)

    @cached_property
    def _products(self) -> tuple[Array, Array]:
        products = [self._sums @ (self.Z * column[:, None]) for column in self.Z.T]
        return self._sums @ np.ones(len(self.tasks)), np.stack(products, axis=1)


class Boosting:
    """Trees as they grow on rows, and the prior of what they leave of the targets."""

    # The gradient of half the negative log marginal likelihood, times the noise variance, is
    # that of the residuals with the posterior means of the tasks taken off, times the weights.

    def __init__(
        self, rows: TaskRows, growing: GrowingTrees, learned: Learned, *, learns: bool
    ) -> None:
        self.rows, self.growing, self.learned, self._learns = rows, growing, learned, learns
        self.n_iter = 0
        self._estimate()

    def grow(self) -> None:
        """Add a tree."""
        weight = self.rows.weight
        self.growing.grow(-weight * self.residual, weight)
        self.n_iter += 1
        self._estimate()

    def _estimate(self) -> None:
        """Learn the prior, or its mean alone, and the coefficients of every task."""
        left = self.rows.y - self.growing.values()
        self.block = self.rows.block(left)
        if self._learns and self.n_iter % _EVERY == 0:
            known, n_tasks = self.learned, self.rows.n_tasks
            self.learned = learn(
                [self.block],
                known.model,
                n_tasks,
                tol=_ROUGH,
                max_iter=_EVALUATIONS,
                start=known,
            )
        self.prior = prior_of(self.block, self.learned, self.rows.n_tasks)
        self.W = posterior_means([self.block], self.prior, self.rows.n_tasks)
        self.residual = left - self.rows.times(self.W)

    def held_out(self, held: TaskRows) -> tuple[Array, Array]:
        """Return errors of held-out rows, and their variances relative to the noise."""
        errors = held.y - self.growing.values(held=True) - held.times(self.W)
        Psi = self.learned.relative
        known = self.block.reduce(factor_of(Psi), slice(None)).precisions(slice(None))
        return errors, 1.0 + np.maximum(held.forms(Psi - Psi @ known @ Psi), 0.0)


def prior_of(block: Moments, learned: Learned, n_tasks: int) -> Prior:
    """Return the learned prior with the mean that these rows have under it."""
    mean = Marginal([block], learned.model, n_tasks).evaluate(learned.params).detail
    return Prior(
        mean=mean.beta,
        covariance=learned.covariance,
        varying=np.array(learned.model.varying, dtype=np.intp),
        noise=learned.noise,
        mean_covariance=mean.beta_covariance * learned.noise,
    )


@dataclass(frozen=True, eq=False)
class Grown:
    """What was learned. Shapes: losses (trees that were tried + 1,)."""

    trees: Trees
    n_iter: int
    prior: Prior
    block: Moments
    learned: Learned
    candidates: tuple[Candidate, ...]
    losses: Array


def grow(
    rows: TaskRows,
    binned: BinnedRows,
    structure: Structure | None,
    folds: Sequence[tuple[Index, Index]],
    limits: tuple[int, int],
) -> Grown:
    """Grow trees; `limits` are their number at most, and how many may bring nothing."""
    every = np.arange(len(rows.y))
    if not binned.can_split:
        limits, folds = (0, 0), ()
    learned, candidates = _chosen(rows, rows.y, structure)
    n_iter, losses = limits[0], np.zeros(0)
    if folds:
        found = _held_out(rows, binned, learned, folds, limits)
        n_iter, losses, known = found.n_iter, found.losses, found.known
        # Trees leave less of the rows that they grew on: the prior is that of rows they did not.
        learned, candidates = _chosen(rows.of(known), found.left[known], structure)
    last = Boosting(rows, binned.growing(every), learned, learns=not folds)
    while last.n_iter < n_iter:
        last.grow()
    if not folds:
        learned, candidates = _chosen(rows, rows.y - last.growing.values(), structure)
    prior = prior_of(last.block, learned, rows.n_tasks)
    return Grown(
        last.growing.trees(n_iter), n_iter, prior, last.block, learned, candidates, losses
    )


def _chosen(
    rows: TaskRows, left: Array, structure: Structure | None
) -> tuple[Learned, tuple[Candidate, ...]]:
    """Learn the prior of what is left of the targets, its structure too if none is given."""
    block, p = rows.block(left), rows.Z.shape[1]
    model = Model(structure or NoVariation(), tuple(range(p)))
    tol, max_iter = LIMITS
    if structure is None:
        return choose_normal([block], model, rows.n_tasks, tol=tol, max_iter=max_iter)
    return learn([block], model, rows.n_tasks, tol=tol, max_iter=max_iter), ()


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """What is left of rows by trees that did not see them. Shapes: left (n,), known (k,)."""

    n_iter: int
    losses: Array
    left: Array
    known: Index


def _held_out(
    rows: TaskRows,
    binned: BinnedRows,
    learned: Learned,
    folds: Sequence[tuple[Index, Index]],
    limits: tuple[int, int],
) -> _HeldOut:
    """Grow trees on every fold side by side until the held-out loss falls no more."""
    parts = [
        Boosting(rows.of(train), binned.growing(train, held), learned, learns=True)
        for train, held in folds
    ]
    tests = [rows.of(held) for _, held in folds]
    known = np.concatenate([held for _, held in folds])
    losses: list[float] = []
    best, values = 0, np.zeros(0)
    while True:
        losses.append(_loss(parts, tests))
        if losses[-1] < losses[best] or not len(values):
            best = len(losses) - 1
            values = np.concatenate([part.growing.values(held=True) for part in parts])
        n_iter = len(losses) - 1
        if n_iter >= limits[0] or n_iter - best >= limits[1]:
            break
        for part in parts:
            part.grow()
    # A row that was held out several times has the mean of what was predicted.
    times = np.bincount(known, minlength=len(rows.y))
    mean = np.bincount(known, values, minlength=len(rows.y)) / np.maximum(times, 1)
    return _HeldOut(best, np.array(losses), rows.y - mean, np.flatnonzero(times))


def _loss(parts: Sequence[Boosting], tests: Sequence[TaskRows]) -> float:
    """Return the mean negative log density of held-out rows given the other rows of their task."""
    # The scale of the noise is that of the held-out rows, up to a constant: of rows that trees
    # grew on less is left.
    found = [part.held_out(held) for part, held in zip(parts, tests, strict=True)]
    errors, spread = (np.concatenate(values) for values in zip(*found, strict=True))
    weight = np.concatenate([held.weight for held in tests])
    scale = np.average(errors**2 / spread, weights=weight)
    return 0.5 * float(
        np.log(np.maximum(scale, np.finfo(float).tiny))
        + np.average(np.log(spread), weights=weight)
    )
