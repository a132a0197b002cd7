"""A block of data: a design, a loss, targets and row weights.

A block owns the whole columns of some tasks. Its predictions have one number per row and
task (regression, two classes) or one per row and class (several classes).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polytask.datafits.base import Array
from polytask.datafits.designs import Index, Shared, Stacked, StackedClasses
from polytask.datafits.levels import log_sums
from polytask.losses import LogLink, Loss

Design = Stacked | StackedClasses | Shared


class Block(ABC):
    """Part of the data term that shares one loss."""

    design: Design
    loss: Loss
    y: Array
    weight: Array

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the predictions."""

    @abstractmethod
    def slope(self, eta: Array) -> Array:
        """Return the weighted derivative of the loss, shaped as `eta`."""

    @abstractmethod
    def bend(self, eta: Array) -> Callable[[Array], Array]:
        """Return the product with the weighted second derivative, on arrays like `eta`."""

    @abstractmethod
    def intercept_curvature(self, eta: Array) -> list[tuple[Index, Array]]:
        """Return (columns, curvature block) pairs of the intercepts."""

    @abstractmethod
    def column_curvature(self, eta: Array) -> Array:
        """Return the weighted second derivative of each prediction in itself, like `eta`."""

    @abstractmethod
    def bound(self) -> Array:
        """Return an upper bound of the second derivative, broadcastable to `eta`.

        Where there is none: the mean second derivative of a column at its best constant.
        """

    def level_sums(self, eta: Array) -> tuple[Array, Array, float] | None:
        """Return what the best constants to add to `eta` are made of, None if unknown.

        Returns
        -------
        linear, exponential : ndarray of shape (columns of the block,)
            See :func:`polytask.datafits.levels.log_sums`.
        side : float
            The sign of their difference.
        """
        return None

    @property
    def columns(self) -> Index:
        """The columns of W that the block owns."""
        return self.design.columns

    @property
    def is_bounded(self) -> bool:
        """Whether the second derivative has a bound."""
        return bool(np.isfinite(self.loss.curvature_bound))

    def _kept(self, eta: Array) -> Array:
        """Return predictions at which rows without weight are finite, whatever they predict."""
        return eta if self.is_bounded else np.where(self.weight > 0, eta, 0.0)

    def value(self, eta: Array) -> float:
        """Return the weighted sum of losses."""
        return float(np.sum(self.weight * self.loss.value(self.y, self._kept(eta))))

    def conjugate(self, eta: Array, c: float) -> float:
        """Return the conjugate of :meth:`value` at c times its derivative."""
        dual = c * self.loss.gradient(self.y, self._kept(eta))
        # A row without weight adds nothing, whatever its conjugate.
        terms = np.where(self.weight > 0, self.loss.conjugate(self.y, dual), 0.0)
        return float(np.sum(self.weight * terms))


@dataclass(frozen=True, eq=False)
class ScalarBlock(Block):
    """One prediction per row and task.

    Parameters
    ----------
    design : Stacked or Shared
        The features and the columns.
    loss : Loss
        A loss of one prediction.
    y, weight : ndarray
        Shaped as the predictions; a missing label has weight 0 and any valid y.
    """

    design: Stacked | Shared
    loss: Loss
    y: Array
    weight: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the predictions."""
        return self.weight.shape

    def slope(self, eta: Array) -> Array:
        """Return the weighted derivative of the loss."""
        return np.asarray(self.weight * self.loss.gradient(self.y, self._kept(eta)))

    def bend(self, eta: Array) -> Callable[[Array], Array]:
        """Return the product with the weighted second derivative."""
        curvature = self.column_curvature(eta)
        return lambda change: curvature * change

    def intercept_curvature(self, eta: Array) -> list[tuple[Index, Array]]:
        """Return one diagonal entry per column, as one vector."""
        return [(self.columns, self.design.collect(self.column_curvature(eta)))]

    def column_curvature(self, eta: Array) -> Array:
        """Return the weighted second derivative."""
        return np.asarray(self.weight * self.loss.curvature(self.y, self._kept(eta)))

    def bound(self) -> Array:
        """Return the weight times the bound of the loss, or its mean at the best constant."""
        return self.weight * (self.loss.curvature_bound if self.is_bounded else self._typical)

    @cached_property
    def _typical(self) -> Array:
        """The mean second derivative of each column at its best constant, for every row."""
        level = np.zeros(int(self.columns.max(initial=-1)) + 1)
        sums = self.level_sums(np.zeros(self.shape))
        if sums is not None:
            linear, exponential, side = sums
            level[self.columns] = np.nan_to_num(side * (linear - exponential))
        constant = np.broadcast_to(self.design.spread(level), self.shape)
        total = self.design.collect(self.weight)
        bends = self.design.collect(self.column_curvature(constant))
        level[self.columns] = np.divide(bends, total, out=np.zeros_like(bends), where=total > 0)
        return self.design.spread(level)

    def level_sums(self, eta: Array) -> tuple[Array, Array, float] | None:
        """Return what the best constants to add to `eta` are made of, None if unknown."""
        if not isinstance(self.loss, LogLink):
            return None
        return *log_sums(self.design, self.loss, self.y, self.weight, eta), self.loss.side


@dataclass(frozen=True, eq=False)
class ClassesBlock(Block):
    """One prediction per row and class, for one task or for several with as many classes.

    Parameters
    ----------
    design : Shared or StackedClasses
        The rows of one task, or of several, and their columns, one per class.
    loss : Loss
        A loss of several predictions.
    y : ndarray of shape (n_rows,)
        Class codes.
    weight : ndarray of shape (n_rows,)
        Row weights.
    """

    design: Shared | StackedClasses
    loss: Loss
    y: Array
    weight: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the predictions."""
        if isinstance(self.design, Shared):
            return len(self.weight), len(self.columns)
        return len(self.weight), self.design.table.shape[1]

    def slope(self, eta: Array) -> Array:
        """Return the weighted derivative of the loss."""
        return np.asarray(self.weight[:, None] * self.loss.gradient(self.y, eta))

    def bend(self, eta: Array) -> Callable[[Array], Array]:
        """Return the product with the weighted second derivative."""
        curvature = self.weight[:, None, None] * self.loss.curvature(self.y, eta)
        return lambda change: np.einsum(
            "nkl,nl->nk", curvature, np.broadcast_to(change, eta.shape)
        )

    def intercept_curvature(self, eta: Array) -> list[tuple[Index, Array]]:
        """Return one block per task."""
        curvature = self.loss.curvature(self.y, eta)
        if isinstance(self.design, Shared):
            return [(self.columns, np.tensordot(self.weight, curvature, axes=1))]
        summed = self.design.sum_tasks(self.weight[:, None, None] * curvature)
        return list(zip(self.design.table, summed, strict=True))

    def column_curvature(self, eta: Array) -> Array:
        """Return the weighted diagonal of the second derivative."""
        diagonal = np.einsum("nkk->nk", self.loss.curvature(self.y, eta))
        return np.asarray(self.weight[:, None] * diagonal)

    def bound(self) -> Array:
        """Return the weight times the bound of the loss."""
        return self.weight[:, None] * self.loss.curvature_bound
