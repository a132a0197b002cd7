"""Residuals of the squared loss by column: from moments, or on rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array, Datafit, times_each
from polytask.datafits.blocks import Block, BlockStack, Predictions, ScalarBlock
from polytask.datafits.intercepts import Intercepts, NoIntercepts
from polytask.datafits.moments import TaskMoments
from polytask.datafits.samples import Samples
from polytask.datafits.statistics import SquaredStatistics
from polytask.losses import Squared

_EPS = float(np.finfo(float).eps)
# Units of rounding that a mean of squares which is a difference of others may be off by ...
_LOST = 16.0
# ... and residuals of rows, relative to the targets.
_ROUNDED = 10.0
# Rows that are fitted exactly still differ from their targets by this share of their spread.
_LEAST = 1e-10


@dataclass(frozen=True, eq=False)
class Change:
    """How predictions without intercepts change along a direction of W."""

    # Shapes: mean, covariance (n_columns,).

    mean: Array
    covariance: Array
    parts: list[Array]


class Residuals(ABC):
    """Targets minus predictions without intercepts, at one W."""

    # Shapes: mean, variance (n_columns,), product (n_columns,).

    mean: Array
    variance: Array
    product: Array

    @abstractmethod
    def change(self, V: Array) -> Change:
        """Return how predictions change along V."""

    @abstractmethod
    def back(
        self, own: Array, level: Array, change: Change | None = None, factor: Array | None = None
    ) -> Array:
        """Return the features times a function of the rows, averaged over them."""
        # Shapes: own, level (n_columns,), factor (n_columns,), result (n_features, n_columns).


class Squares(ABC):
    """What tells the squared residuals of every column at any W. Shapes: total (n_columns,)."""

    total: Array

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Shape of W."""

    @property
    @abstractmethod
    def precision(self) -> float:
        """Unit of rounding in gradients."""

    @property
    @abstractmethod
    def blur(self) -> Array:
        """Mean square by which rounding may be off where a column is fitted exactly, > 0."""

    @property
    @abstractmethod
    def constant(self) -> NDArray[np.bool_]:
        """Whether the targets of a column are all alike, up to rounding."""

    @abstractmethod
    def at(self, W: Array) -> Residuals:
        """Return the residuals at W."""

    @abstractmethod
    def weighted(self, weight: Array, intercepts: Intercepts) -> Datafit:
        """Return ``sum_t weight_t / 2 * mean residual^2`` as a data term.

        Other losses beside these are part of it.
        """


def _positive(blur: Array) -> Array:
    """Return numbers > 0, as those of other columns where targets are all zero."""
    return np.where(blur > 0, blur, float(blur.max(initial=0.0)) or 1.0)


@dataclass(frozen=True, eq=False)
class MomentSquares(Squares):
    """Squared residuals from sufficient statistics.

    Parameters
    ----------
    statistics : TaskMoments
        The moments.
    """

    statistics: TaskMoments

    @property
    def total(self) -> Array:  # type: ignore[override]
        """Weights of the columns."""
        return self.statistics.scale

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        d, columns = self.statistics.cross.shape
        return d, columns

    @property
    def precision(self) -> float:
        """Unit of rounding: moments are kept in float64."""
        return _EPS

    @cached_property
    def blur(self) -> Array:
        """A mean of squares is a difference of moments here: half of the digits are lost."""
        s = self.statistics
        return _positive(_LOST * _EPS * s.spread + (_LOST * _EPS * s.y_mean) ** 2)

    @cached_property
    def constant(self) -> NDArray[np.bool_]:
        """Whether the targets of a column are all alike."""
        s = self.statistics
        return np.asarray(s.spread <= (_LOST * _EPS * s.y_mean) ** 2)

    def at(self, W: Array) -> Residuals:
        """Return the residuals at W."""
        s = self.statistics
        lack = s.cross - times_each(s.second, W)
        mean = s.y_mean - np.einsum("ij,ij->j", s.x_mean, W)
        explained = np.einsum("ij,ij->j", s.cross, W)
        left = s.spread - explained - np.einsum("ij,ij->j", lack, W)
        product = s.spread - explained + mean * s.y_mean
        return _MomentResiduals(s, lack, mean, np.maximum(left, 0.0), product)

    def weighted(self, weight: Array, intercepts: Intercepts) -> Datafit:
        """Return the squared loss with other weights."""
        return SquaredStatistics(replace(self.statistics, scale=weight), intercepts)


@dataclass(frozen=True, eq=False)
class _MomentResiduals(Residuals):
    """Residuals whose covariances with the features are `lack`."""

    statistics: TaskMoments
    lack: Array
    mean: Array
    variance: Array
    product: Array

    def change(self, V: Array) -> Change:
        """Return how predictions change along V."""
        s = self.statistics
        moved = np.asarray(times_each(s.second, V))
        mean, along = np.einsum("ij,ij->j", s.x_mean, V), np.einsum("ij,ij->j", self.lack, V)
        return Change(mean, along, [moved])

    def back(
        self, own: Array, level: Array, change: Change | None = None, factor: Array | None = None
    ) -> Array:
        """Return the features times a function of the rows."""
        found = own * self.lack
        centre = own * self.mean + level
        if change is not None and factor is not None:
            found = found + factor * change.parts[0]
            centre = centre + factor * change.mean
        return np.asarray(found + self.statistics.x_mean * centre)


@dataclass(frozen=True, eq=False)
class RowSquares(Squares):
    """Squared residuals of rows.

    Parameters
    ----------
    blocks : tuple of ScalarBlock
        The rows.
    beside : tuple of Block
        Blocks of other losses, of other columns.
    n_features, n_columns : int
        Shape of W.
    """

    blocks: tuple[ScalarBlock, ...]
    beside: tuple[Block, ...]
    n_features: int
    n_columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.n_features, self.n_columns

    @cached_property
    def stack(self) -> BlockStack:
        """The blocks."""
        return BlockStack(self.blocks, self.n_features, self.n_columns)

    @cached_property
    def total(self) -> Array:  # type: ignore[override]
        """Weights of the columns."""
        return self.stack.collect([block.weight for block in self.blocks])

    @cached_property
    def shares(self) -> Predictions:
        """The share of every label in its column; they sum to 1."""
        inverse = np.divide(1.0, self.total, out=np.zeros_like(self.total), where=self.total > 0)
        return [block.weight * block.design.spread(inverse) for block in self.blocks]

    @cached_property
    def precision(self) -> float:
        """Unit of rounding of the coarsest features."""
        return Samples(self.blocks, NoIntercepts(), *self.shape).precision

    @cached_property
    def _targets(self) -> Residuals:
        return self.at(np.zeros(self.shape))

    @cached_property
    def blur(self) -> Array:
        """Rounding of residuals, and a little of the spread of the targets."""
        y = self._targets
        rounding = (_ROUNDED * self.precision) ** 2 * (y.variance + y.mean**2)
        return _positive(rounding + _LEAST**2 * y.variance)

    @cached_property
    def constant(self) -> NDArray[np.bool_]:
        """Whether the targets of a column are all alike."""
        y = self._targets
        return np.asarray(y.variance <= (_LOST * _EPS * y.mean) ** 2)

    def at(self, W: Array) -> Residuals:
        """Return the residuals at W."""
        eta = self.stack.forward(W)
        left = [block.y - e for block, e in zip(self.blocks, eta, strict=True)]
        mean = self.mean_of(left)
        away = self.stack.shift(left, -mean)
        variance = self.mean_of([a * a for a in away])
        product = self.mean_of([r * b.y for r, b in zip(left, self.blocks, strict=True)])
        return _RowResiduals(self, left, away, mean, variance, product)

    def mean_of(self, values: Predictions) -> Array:
        """Return the weighted mean of numbers of the rows, by column."""
        pairs = zip(self.shares, values, strict=True)
        return self.stack.collect([share * v for share, v in pairs])

    def weighted(self, weight: Array, intercepts: Intercepts) -> Datafit:
        """Return the squared loss with other weights, and the other losses beside it."""
        blocks = [
            replace(block, loss=Squared(), weight=share * block.design.spread(weight))
            for block, share in zip(self.blocks, self.shares, strict=True)
        ]
        return Samples((*blocks, *self.beside), intercepts, *self.shape)


@dataclass(frozen=True, eq=False)
class _RowResiduals(Residuals):
    """Residuals of every row, and the same about their means."""

    squares: RowSquares
    left: Predictions
    away: Predictions
    mean: Array
    variance: Array
    product: Array

    def change(self, V: Array) -> Change:
        """Return how predictions change along V."""
        squares = self.squares
        moved = squares.stack.forward(V)
        mean = squares.mean_of(moved)
        about = squares.stack.shift(moved, -mean)
        along = squares.mean_of([a * m for a, m in zip(self.away, about, strict=True)])
        return Change(mean, along, moved)

    def back(
        self, own: Array, level: Array, change: Change | None = None, factor: Array | None = None
    ) -> Array:
        """Return the features times a function of the rows."""
        squares = self.squares
        values = []
        for k, (block, left) in enumerate(zip(squares.blocks, self.left, strict=True)):
            spread = block.design.spread
            value = spread(own) * left + spread(level)
            if change is not None and factor is not None:
                value = value + spread(factor) * change.parts[k]
            values.append(squares.shares[k] * value)
        return squares.stack.adjoint(values)
