"""Trees that grow on the marginal likelihood of rows that belong to several groupings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from polytask.bayes.blocks import Array, Index
from polytask.bayes.choose import Candidate
from polytask.bayes.crossed import CrossedSums, MixedEquations, effect_columns
from polytask.bayes.crossed_prior import (
    ByGrouping,
    CrossedLearned,
    choose_crossed,
    learn_crossed,
)
from polytask.bayes.prior import NoVariation
from polytask.boosting.growth import EVALUATIONS, EVERY
from polytask.boosting.numbers import LIMITS, ROUGH, NumberBoosting, NumberLikelihood

# Rows whose variances are worked out at a time.
_PIECE = 2048


@dataclass(frozen=True, eq=False)
class GroupedNumbers:
    """Rows of numbers that belong to a level of every grouping."""

    # Shapes: Z (n, p), a column of ones in front; y, weight (n,); codes (n, groupings).

    Z: Array
    y: Array
    weight: Array
    codes: Index
    levels: tuple[int, ...]

    def of(self, part: Index) -> GroupedNumbers:
        """Return some of the rows."""
        own = (self.Z[part], self.y[part], self.weight[part], self.codes[part])
        return GroupedNumbers(*own, self.levels)

    def sums(self, left: Array, q: int) -> CrossedSums:
        """Return what the rows say where `left` is left of the targets, if q columns vary."""
        known, effects = self._sums[q], self._effects[q]
        weighted = self.weight * left
        return replace(
            known,
            cross=effects.T @ weighted,
            mean_cross=self.Z.T @ weighted,
            square=float(weighted @ left),
        )

    def times(self, effects: Array, beta: Array, q: int) -> Array:
        """Return the products of the rows with effects and mean coefficients, shape (n,)."""
        return np.asarray(self._effects[q] @ effects + self.Z @ beta)

    def variances(self, equations: MixedEquations) -> Array:
        """Return the variances of what is known of rows, relative to the noise, shape (n,)."""
        varying = np.arange(equations.sums.q)
        pieces = [slice(k, k + _PIECE) for k in range(0, len(self.y), _PIECE)]
        found = [equations.variances(self.Z[own], varying, self.codes[own]) for own in pieces]
        return np.concatenate([np.zeros(0), *found])

    # Intercepts alone vary, or all columns.
    @cached_property
    def _effects(self) -> dict[int, sp.csr_array]:
        sizes = {1, self.Z.shape[1]}
        return {q: effect_columns(self.Z[:, :q], self.codes, self.levels) for q in sizes}

    @cached_property
    def _sums(self) -> dict[int, CrossedSums]:
        p = self.Z.shape[1]
        labels, varying = (self.y, self.weight), np.arange(p)
        every = CrossedSums.of(lambda k: self.Z[k], labels, self.codes, self.levels, varying)
        return {1: every.of_columns(np.zeros(1, dtype=np.intp)), p: every}


class GroupedBoosting(NumberBoosting[GroupedNumbers, CrossedLearned]):
    """Trees as they grow on rows, and the priors of all groupings of what they leave."""

    def hold(self, learned: CrossedLearned) -> None:
        """Take the priors that were learned last, and the effects under them."""
        self.learned, self.learns = learned, False
        self._renew()
        self.estimate()

    def _renew(self) -> None:
        """Make the equations of the prior at hand, which serve until it is learned anew."""
        found = self.learned
        self.q, ratios = found.sums.q, [own / found.noise for own in found.covariances]
        self.equations = MixedEquations(self.rows.sums(self.rows.y, self.q), ratios)

    def estimate(self) -> None:
        """Learn the priors, or the effects of all levels alone."""
        if not self.n_iter:
            self._renew()
        left = self.rows.y - self.growing.values()
        self.sums = self.rows.sums(left, self.q)
        if self.learns and self.n_iter % EVERY == 0:
            structure, start = self.learned.structure, self.learned.params
            self.learned = learn_crossed(
                self.sums, structure, tol=ROUGH, max_iter=EVALUATIONS, start=start
            )
            self._renew()
        solved = self.equations.solve(self.sums.cross[:, None], self.sums.mean_cross[:, None])
        self.effects, self.beta = solved[0][:, 0], solved[1][:, 0]
        self.residual = left - self.rows.times(self.effects, self.beta, self.q)

    def held_out(self, held: GroupedNumbers) -> tuple[Array, Array]:
        """Return errors of held-out rows, and their variances relative to the noise."""
        known = held.times(self.effects, self.beta, self.q)
        errors = held.y - self.growing.values(held=True) - known
        return errors, 1.0 + held.variances(self.equations)


class GroupedLikelihood(NumberLikelihood[GroupedNumbers, CrossedLearned, GroupedBoosting]):
    """The likelihood of numbers, of which the levels of every grouping have coefficients."""

    part = GroupedBoosting

    def learned(self, rows: Index, values: Array) -> tuple[CrossedLearned, tuple[Candidate, ...]]:
        """Learn the priors of what trees leave of rows."""
        own, structure, (tol, max_iter) = self.rows.of(rows), self.structure, LIMITS
        left, p = own.y - values[0], own.Z.shape[1]
        if structure is None:
            return choose_crossed(own.sums(left, p), tol=tol, max_iter=max_iter)
        sums = own.sums(left, 1 if isinstance(structure, NoVariation) else p)
        every = ByGrouping((structure,) * len(own.levels))
        return learn_crossed(sums, every, tol=tol, max_iter=max_iter), ()
