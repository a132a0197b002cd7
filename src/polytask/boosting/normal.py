"""Trees that grow on the marginal likelihood of numbers with normal noise."""

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
from polytask.boosting.growth import EVALUATIONS, EVERY, Likelihood
from polytask.boosting.trees import BinnedRows, GrowingTrees

# The tolerance of a search between trees; that of the last one, and its evaluations at most.
_ROUGH = 1e-3
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


class NormalBoosting:
    """Trees as they grow on rows, and the prior of what they leave of the targets."""

    # The gradient of half the negative log marginal likelihood, times the noise variance, is
    # that of the residuals with the posterior means of the tasks taken off, times the weights.

    def __init__(
        self,
        rows: TaskRows,
        growing: GrowingTrees,
        learned: Learned,
        *,
        learns: bool,
        tests: TaskRows | None = None,
    ) -> None:
        self.rows, self.growing, self.learned, self._learns = rows, growing, learned, learns
        self.tests, self.n_iter = tests, 0
        self._estimate()

    def values(self, *, held: bool = False) -> Array:
        """Return the sum of trees in the rows."""
        return self.growing.values(held=held)[None]

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
        if self._learns and self.n_iter % EVERY == 0:
            known, n_tasks = self.learned, self.rows.n_tasks
            self.learned = learn(
                [self.block],
                known.model,
                n_tasks,
                tol=_ROUGH,
                max_iter=EVALUATIONS,
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


class NormalLikelihood(Likelihood[Learned, NormalBoosting]):
    """The likelihood of numbers, of which each task has coefficients of its own."""

    def __init__(self, rows: TaskRows, binned: BinnedRows, structure: Structure | None) -> None:
        self._rows, self._binned, self._structure = rows, binned, structure
        self.n_rows = len(rows.y)

    def learned(self, rows: Index, values: Array) -> tuple[Learned, tuple[Candidate, ...]]:
        """Learn the prior of what trees leave of rows."""
        own, structure = self._rows.of(rows), self._structure
        block, (tol, max_iter), n_tasks = own.block(own.y - values[0]), LIMITS, own.n_tasks
        model = Model(structure or NoVariation(), tuple(range(own.Z.shape[1])))
        if structure is None:
            return choose_normal([block], model, n_tasks, tol=tol, max_iter=max_iter)
        return learn([block], model, n_tasks, tol=tol, max_iter=max_iter), ()

    def boosting(
        self, train: Index, held: Index | None, learned: Learned, learns: bool
    ) -> NormalBoosting:
        """Return no trees yet for rows."""
        growing = self._binned.growing(train, held)
        tests = None if held is None else self._rows.of(held)
        return NormalBoosting(self._rows.of(train), growing, learned, learns=learns, tests=tests)

    def loss(self, parts: Sequence[NormalBoosting]) -> float:
        """Return the mean negative log density of held-out rows."""
        tests = [part.tests for part in parts if part.tests is not None]
        pairs = zip(parts, tests, strict=True)
        found = [part.held_out(own) for part, own in pairs]
        errors, spread = (np.concatenate(values) for values in zip(*found, strict=True))
        return log_density(errors, spread, np.concatenate([own.weight for own in tests]))


def log_density(errors: Array, spread: Array, weight: Array) -> float:
    """Return the mean negative log density of errors of variances relative to the noise."""
    # The scale of the noise is that of the held-out rows, up to a constant: of rows that trees
    # grew on less is left.
    scale = np.average(errors**2 / spread, weights=weight)
    return 0.5 * float(
        np.log(np.maximum(scale, np.finfo(float).tiny))
        + np.average(np.log(spread), weights=weight)
    )
