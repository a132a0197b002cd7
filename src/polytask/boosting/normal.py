"""Trees that grow on the marginal likelihood of numbers with normal noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from polytask.bayes.blocks import Array, Index, Moments
from polytask.bayes.choose import Candidate
from polytask.bayes.normal import Learned, Marginal, choose_normal, learn
from polytask.bayes.posterior import posterior_means
from polytask.bayes.prior import Model, NoVariation, Prior, factor_of
from polytask.boosting.growth import EVALUATIONS, EVERY
from polytask.boosting.numbers import LIMITS, ROUGH, NumberBoosting, NumberLikelihood


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


class NormalBoosting(NumberBoosting[TaskRows, Learned]):
    """Trees as they grow on rows, and the prior of the coefficients of every task."""

    def estimate(self) -> None:
        """Learn the prior, or its mean alone, and the coefficients of every task."""
        left = self.rows.y - self.growing.values()
        self.block = self.rows.block(left)
        if self.learns and self.n_iter % EVERY == 0:
            known, n_tasks = self.learned, self.rows.n_tasks
            self.learned = learn(
                [self.block],
                known.model,
                n_tasks,
                tol=ROUGH,
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


class NormalLikelihood(NumberLikelihood[TaskRows, Learned, NormalBoosting]):
    """The likelihood of numbers, of which each task has coefficients of its own."""

    part = NormalBoosting

    def learned(self, rows: Index, values: Array) -> tuple[Learned, tuple[Candidate, ...]]:
        """Learn the prior of what trees leave of rows."""
        own, structure = self.rows.of(rows), self.structure
        block, (tol, max_iter), n_tasks = own.block(own.y - values[0]), LIMITS, own.n_tasks
        model = Model(structure or NoVariation(), tuple(range(own.Z.shape[1])))
        if structure is None:
            return choose_normal([block], model, n_tasks, tol=tol, max_iter=max_iter)
        return learn([block], model, n_tasks, tol=tol, max_iter=max_iter), ()
