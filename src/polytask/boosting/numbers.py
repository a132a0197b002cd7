"""What trees on numbers with normal noise share, whatever the prior of what they leave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from polytask.bayes.blocks import Array, Index
from polytask.bayes.prior import Structure
from polytask.boosting.growth import Learned, Likelihood
from polytask.boosting.trees import BinnedRows, GrowingTrees

# The tolerance of a search between trees; that of the last one, and its evaluations at most.
ROUGH = 1e-3
LIMITS = (1e-4, 500)


class Numbers(Protocol):
    """Rows with numbers for targets. Shapes: y, weight (n,)."""

    @property
    def y(self) -> Array:
        """The targets."""

    @property
    def weight(self) -> Array:
        """The weights."""

    def of(self, part: Index) -> Self:
        """Return some of the rows."""


Rows = TypeVar("Rows", bound=Numbers)


class NumberBoosting(ABC, Generic[Rows, Learned]):
    """Trees as they grow on rows, and the prior of what they leave of the targets."""

    # The gradient of half the negative log marginal likelihood, times the noise variance, is
    # that of the residuals with what is known of tasks or levels taken off, times the weights.
    # Shapes: residual (n,).

    residual: Array

    def __init__(
        self,
        rows: Rows,
        growing: GrowingTrees,
        learned: Learned,
        *,
        learns: bool,
        tests: Rows | None = None,
    ) -> None:
        self.rows, self.growing, self.learned, self.learns = rows, growing, learned, learns
        self.tests, self.n_iter = tests, 0
        self.estimate()

    def values(self, *, held: bool = False) -> Array:
        """Return the sum of trees in the rows."""
        return self.growing.values(held=held)[None]

    def grow(self) -> None:
        """Add a tree."""
        weight = self.rows.weight
        self.growing.grow(-weight * self.residual, weight)
        self.n_iter += 1
        self.estimate()

    @abstractmethod
    def estimate(self) -> None:
        """Learn the prior, or what is known under it alone, and set the residual."""

    @abstractmethod
    def held_out(self, held: Rows) -> tuple[Array, Array]:
        """Return errors of held-out rows, and their variances relative to the noise."""


Part = TypeVar("Part", bound=NumberBoosting[Any, Any])


class NumberLikelihood(Likelihood[Learned, Part], Generic[Rows, Learned, Part]):
    """The likelihood of numbers with normal noise."""

    part: type[Part]

    def __init__(self, rows: Rows, binned: BinnedRows, structure: Structure | None) -> None:
        self.rows, self.structure, self._binned = rows, structure, binned
        self.n_rows = len(rows.y)

    def boosting(self, train: Index, held: Index | None, learned: Learned, learns: bool) -> Part:
        """Return no trees yet for rows."""
        growing = self._binned.growing(train, held)
        tests = None if held is None else self.rows.of(held)
        return self.part(self.rows.of(train), growing, learned, learns=learns, tests=tests)

    def loss(self, parts: Sequence[Part]) -> float:
        """Return the mean negative log density of held-out rows."""
        tests = [part.tests for part in parts if part.tests is not None]
        found = [part.held_out(own) for part, own in zip(parts, tests, strict=True)]
        errors, spread = (np.concatenate(values) for values in zip(*found, strict=True))
        weight = np.concatenate([own.weight for own in tests])
        # The scale of the noise is that of the held-out rows, up to a constant: of rows that
        # trees grew on less is left.
        scale = np.average(errors**2 / spread, weights=weight)
        return 0.5 * float(
            np.log(np.maximum(scale, np.finfo(float).tiny))
            + np.average(np.log(spread), weights=weight)
        )
