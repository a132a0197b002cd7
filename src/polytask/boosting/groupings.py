"""Trees that grow on the marginal likelihood of rows that belong to several groupings."""

from __future__ import annotations

from collections.abc import Sequence
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
from polytask.bayes.prior import NoVariation, Structure
from polytask.boosting.growth import EVALUATIONS, EVERY, Likelihood
from polytask.boosting.normal import LIMITS, log_density
from polytask.boosting.trees import BinnedRows, GrowingTrees

# The tolerance of a search between trees, and rows whose variances are worked out at a time.
_ROUGH, _PIECE = 1e-3, 2048


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


class GroupedBoosting:
    """Trees as they grow on rows, and the priors of all groupings of what they leave."""

    # As with one grouping the gradient is that of the residuals with what is known of the levels
    # of all groupings taken off, times the weights.

    def __init__(
        self,
        rows: GroupedNumbers,
        growing: GrowingTrees,
        learned: CrossedLearned,
        *,
        learns: bool,
        tests: GroupedNumbers | None = None,
    ) -> None:
        self.rows, self.growing, self.learned, self._learns = rows, growing, learned, learns
        self.tests, self.n_iter = tests, 0
        self._renew()
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

    def hold(self, learned: CrossedLearned) -> None:
        """Take the priors that were learned last, and the effects under them."""
        self.learned, self._learns = learned, False
        self._renew()
        self._estimate()

    def _renew(self) -> None:
        """Make the equations of the prior at hand, which serve until it is learned anew."""
        found = self.learned
        self.q, ratios = found.sums.q, [own / found.noise for own in found.covariances]
        self.equations = MixedEquations(self.rows.sums(self.rows.y, self.q), ratios)

    def _estimate(self) -> None:
        """Learn the priors, or the effects of all levels alone."""
        left = self.rows.y - self.growing.values()
        self.sums = self.rows.sums(left, self.q)
        if self._learns and self.n_iter % EVERY == 0:
            structure, start = self.learned.structure, self.learned.params
            self.learned = learn_crossed(
                self.sums, structure, tol=_ROUGH, max_iter=EVALUATIONS, start=start
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


class GroupedLikelihood(Likelihood[CrossedLearned, GroupedBoosting]):
    """The likelihood of numbers, of which the levels of every grouping have coefficients."""

    def __init__(
        self, rows: GroupedNumbers, binned: BinnedRows, structure: Structure | None
    ) -> None:
        self._rows, self._binned, self._structure = rows, binned, structure
        self.n_rows = len(rows.y)

    def learned(self, rows: Index, values: Array) -> tuple[CrossedLearned, tuple[Candidate, ...]]:
        """Learn the priors of what trees leave of rows."""
        own, structure, (tol, max_iter) = self._rows.of(rows), self._structure, LIMITS
        left, p = own.y - values[0], own.Z.shape[1]
        if structure is None:
            return choose_crossed(own.sums(left, p), tol=tol, max_iter=max_iter)
        sums = own.sums(left, 1 if isinstance(structure, NoVariation) else p)
        every = ByGrouping((structure,) * len(own.levels))
        return learn_crossed(sums, every, tol=tol, max_iter=max_iter), ()

    def boosting(
        self, train: Index, held: Index | None, learned: CrossedLearned, learns: bool
    ) -> GroupedBoosting:
        """Return no trees yet for rows."""
        growing = self._binned.growing(train, held)
        tests = None if held is None else self._rows.of(held)
        return GroupedBoosting(self._rows.of(train), growing, learned, learns=learns, tests=tests)

    def loss(self, parts: Sequence[GroupedBoosting]) -> float:
        """Return the mean negative log density of held-out rows."""
        tests = [part.tests for part in parts if part.tests is not None]
        found = [part.held_out(own) for part, own in zip(parts, tests, strict=True)]
        errors, spread = (np.concatenate(values) for values in zip(*found, strict=True))
        return log_density(errors, spread, np.concatenate([own.weight for own in tests]))
