"""Blocks of data: a design, a loss, targets and row weights, side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from polytask.datafits.base import Array, LinearMap
from polytask.datafits.designs import Index, Shared, Stacked, StackedClasses
from polytask.datafits.intercepts import (
    Intercepts,
    NoIntercepts,
    TiedIntercepts,
    joined_sums,
    log_sums,
)
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
    def hessian_product(self, eta: Array) -> Callable[[Array], Array]:
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
            See :func:`polytask.datafits.intercepts.log_sums`.
        side : float
            The sign of their difference.
        """
        return None

    @property
    def columns(self) -> Index:
        """The columns of W that the block owns."""
        return self.design.columns

    @cached_property
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

    def hessian_product(self, eta: Array) -> Callable[[Array], Array]:
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
        curvature = self.design.collect(self.column_curvature(constant))
        level[self.columns] = np.divide(
            curvature, total, out=np.zeros_like(curvature), where=total > 0
        )
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

    def curvature(self, eta: Array) -> Array:
        """Return the weighted second derivative of each row, shape (n_rows, K, K)."""
        curvature = self.loss.curvature(self.y, eta)
        return np.multiply(self.weight[:, None, None], curvature, out=curvature)

    def hessian_product(self, eta: Array) -> Callable[[Array], Array]:
        """Return the product with the weighted second derivative."""
        curvature = self.curvature(eta)
        return lambda change: np.einsum(
            "nkl,nl->nk", curvature, np.broadcast_to(change, eta.shape)
        )

    def intercept_curvature(self, eta: Array) -> list[tuple[Index, Array]]:
        """Return one block per task."""
        if isinstance(self.design, Shared):
            curvature = self.loss.curvature(self.y, eta)
            return [(self.columns, np.tensordot(self.weight, curvature, axes=1))]
        summed = self.design.sum_tasks(self.curvature(eta))
        return list(zip(self.design.table, summed, strict=True))

    def column_curvature(self, eta: Array) -> Array:
        """Return the weighted diagonal of the second derivative."""
        diagonal = np.einsum("nkk->nk", self.loss.curvature(self.y, eta))
        return np.asarray(self.weight[:, None] * diagonal)

    def bound(self) -> Array:
        """Return the weight times the bound of the loss."""
        return self.weight[:, None] * self.loss.curvature_bound


Predictions = list[Array]


@dataclass(frozen=True, eq=False)
class BlockStack:
    """The blocks of a datafit; predictions come as one array per block."""

    blocks: tuple[Block, ...]
    n_features: int
    n_columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.n_features, self.n_columns

    @cached_property
    def total_weight(self) -> float:
        """Sum of all row weights."""
        return float(sum(float(np.sum(block.weight)) for block in self.blocks))

    @cached_property
    def _in_order(self) -> bool:
        """Whether one block owns all columns, in their order."""
        if len(self.blocks) != 1:
            return False
        return np.array_equal(self.blocks[0].columns, np.arange(self.n_columns))

    @cached_property
    def dense(self) -> bool:
        """Whether every design is a dense matrix."""
        return not any(sp.issparse(block.design.features.matrix) for block in self.blocks)

    @cached_property
    def is_bounded(self) -> bool:
        """Whether the second derivatives of all losses have bounds."""
        return all(block.is_bounded for block in self.blocks)

    def forward(self, W: Array) -> Predictions:
        """Return the predictions without intercepts."""
        return [block.design.forward(W) for block in self.blocks]

    def shift(self, plain: Predictions, b: Array) -> Predictions:
        """Add the intercepts to predictions."""
        pairs = zip(self.blocks, plain, strict=True)
        return [e + block.design.spread(b) for block, e in pairs]

    def value(self, eta: Predictions) -> float:
        """Return the weighted sum of losses."""
        return float(sum(block.value(e) for block, e in zip(self.blocks, eta, strict=True)))

    def slopes(self, eta: Predictions) -> Predictions:
        """Return the weighted derivatives of the losses."""
        return [block.slope(e) for block, e in zip(self.blocks, eta, strict=True)]

    def adjoint(self, slopes: Predictions) -> Array:
        """Return the transpose of :meth:`forward`, shape of W."""
        if self._in_order:
            return self.blocks[0].design.adjoint(slopes[0])
        G = np.zeros(self.shape)
        for block, U in zip(self.blocks, slopes, strict=True):
            G[:, block.columns] = block.design.adjoint(U)
        return G

    def collect(self, slopes: Predictions) -> Array:
        """Sum over the rows of each column, shape (n_columns,)."""
        g = np.zeros(self.n_columns)
        for block, U in zip(self.blocks, slopes, strict=True):
            g[block.columns] = block.design.collect(U)
        return g

    def intercept_curvature(self, eta: Predictions) -> list[tuple[Index, Array]]:
        """Return (columns, curvature of the intercepts) of every block at `eta`."""
        pairs = zip(self.blocks, eta, strict=True)
        return [part for block, e in pairs for part in block.intercept_curvature(e)]

    def intercept_solver(self, eta: Predictions, intercepts: Intercepts) -> LinearMap:
        """Return the solution of Newton systems in the intercepts at `eta`."""
        return newton_solver(self.intercept_curvature(eta), intercepts, np.zeros(self.n_columns))

    def levels(self, plain: Predictions, groups: Index) -> Array:
        """Return the best intercepts for predictions without, NaN where nothing knows them."""
        # Shapes: groups (n_columns,).
        linear, exponential, sides = np.full((3, self.n_columns), np.nan)
        for block, eta in zip(self.blocks, plain, strict=True):
            found = block.level_sums(eta)
            if found is not None:
                linear[block.columns], exponential[block.columns], side = found
                sides[block.columns] = side
        difference = joined_sums(linear, groups) - joined_sums(exponential, groups)
        return sides * difference

    @cached_property
    def intercept_bound(self) -> Array:
        """Bound of the curvature of each intercept, or its size; shape (n_columns,)."""
        return self.collect(self.bounds)

    @cached_property
    def bounds(self) -> Predictions:
        """Upper bounds of the second derivatives, or their size; see :meth:`Block.bound`."""
        pairs = [(block.bound(), block.shape) for block in self.blocks]
        return [np.ascontiguousarray(np.broadcast_to(h, shape)) for h, shape in pairs]


Parts = list[tuple[Index, Array]]


def own_curvature(parts: Parts, n_columns: int) -> Array:
    """Return the diagonal of the curvature of the intercepts, shape (n_columns,)."""
    diagonal = np.zeros(n_columns)
    for columns, curvature in parts:
        diagonal[columns] = curvature if curvature.ndim == 1 else np.diagonal(curvature)
    return diagonal


def newton_solver(parts: Parts, intercepts: Intercepts, extra: Array) -> LinearMap:
    """Return the solution of Newton systems in the intercepts. Shapes: extra (n_columns,)."""
    if all(curvature.ndim == 1 for _, curvature in parts):
        diagonal = own_curvature(parts, extra.size) + extra
        return lambda right: intercepts.solve(diagonal, right)
    matrices: Parts = []
    added = bool(extra.any())
    for columns, h in parts:
        if h.ndim == 2:
            matrices.append((columns, h + np.diag(extra[columns]) if added else h))
        else:
            total = h + extra[columns]
            matrices += [(columns[k : k + 1], total[k : k + 1, None]) for k in range(len(columns))]
    return intercepts.block_solver(matrices)


_STEPS = 200
_HALVINGS = 30
_ARMIJO = 1e-4
_POLISH = 1e-15
_FLAT = 1e-10
_SHORT = 0.1
_REACH = 4.0
# Shortened steps in a row that may leave the value as it is: on the way to infinity all do.
_LEVEL = 2
# Steps by slopes alone, each to halve them at least.
_SETTLING = 10


@dataclass
class _InterceptPoint:
    """Intercepts with the predictions and the value that they give."""

    b: Array
    eta: Predictions
    value: float


@dataclass
class _Reach:
    """How far each intercept may move in one step."""

    # It grows while a step leaves the slope as it is, and shrinks where a step turns it
    # round without making it smaller.

    length: Array
    slope: Array

    def update(self, slope: Array) -> None:
        """Learn from the slope after a step."""
        kept = np.abs(slope) > 0.5 * np.abs(self.slope)
        along = slope * self.slope > 0
        self.length = np.where(kept & along, 4.0 * self.length, self.length)
        self.length = np.where(kept & ~along, 0.25 * self.length, self.length)
        self.slope = slope


@dataclass(frozen=True, eq=False)
class _InterceptStep:
    """A step, the fall of the value that its slope promises, and whether it is Newton's."""

    step: Array
    descent: float
    slope: Array
    pure: bool


@dataclass(frozen=True, eq=False)
class Profile:
    """Minimises over the intercepts by Newton's method."""

    # Far from the optimum, where all probabilities are 0 or 1, the curvature vanishes and a
    # Newton step leads nowhere. There the curvature is raised, up to its bound, until the
    # step is no longer than has proved right for that intercept.

    # The last step is taken where it promises to lower the value by the share `polish`, and slopes
    # are a share `flat` of it.

    stack: Any  # BlockStack, or what answers as one
    intercepts: Intercepts
    polish: float = _POLISH
    flat: float = _FLAT

    def minimise(self, plain: Predictions, start: Array, quadratic: bool) -> Array:
        """Return the best intercepts for predictions that have none yet."""
        # Shapes: start (n_columns,).
        b = self.intercepts.project(start)
        if isinstance(self.intercepts, NoIntercepts):
            return b
        if quadratic:
            eta = self.stack.shift(plain, b)
            step = self.stack.intercept_solver(eta, self.intercepts)(-self._gradient(eta, b))
        else:
            b, _, step = self.near(plain, start)
        return np.asarray(b + step)

    def near(self, plain: Any, start: Array) -> tuple[Array, Any, Array]:  # noqa: ANN401
        """Return intercepts near the best, the predictions there, and the step that is left."""
        # Shapes: start (n_columns,).
        b = self.intercepts.project(start)
        if isinstance(self.intercepts, NoIntercepts):
            return b, self.stack.shift(plain, b), np.zeros_like(b)
        point = self._begin(plain, b)
        reach, level = _Reach(np.full(b.size, _REACH), np.zeros(b.size)), 0
        for _ in range(_STEPS):
            way = self._way(point, reach)
            if self._is_last(way, point.value):
                # So near the optimum values no longer tell steps apart: one pure Newton
                # step squares the error, which leaves rounding only.
                return point.b, point.eta, way.step
            moved = self._halved(plain, point, way)
            level = level + 1 if moved is not None and moved.value >= point.value else 0
            if moved is None or (level and way.pure) or level > _LEVEL:
                point = self._settled(plain, point)
                break
            point = moved
        return point.b, point.eta, np.zeros_like(point.b)

    def _settled(self, plain: Predictions, point: _InterceptPoint) -> _InterceptPoint:
        """Go on by slopes where values are level for rounding: they tell far smaller steps."""
        best, steepest = point, np.inf
        for _ in range(_SETTLING):
            gradient = self._gradient(point.eta, point.b)
            slope = float(np.max(np.abs(self.intercepts.project(gradient)), initial=0.0))
            if not slope < 0.5 * steepest:
                break
            best, steepest = point, slope
            solve = self.stack.intercept_solver(point.eta, self.intercepts)
            point = self._at(plain, best.b - solve(gradient))
        return best

    def _begin(self, plain: Predictions, b: Array) -> _InterceptPoint:
        """Return the lower of the guess and the intercepts that would be best if free."""
        # Those are the answer if they are free, and never overflow.
        if self.stack.is_bounded:
            return self._at(plain, b)
        tied = isinstance(self.intercepts, TiedIntercepts)
        groups = self.intercepts.groups if tied else np.arange(b.size)  # type: ignore[attr-defined]
        level = self.stack.levels(plain, groups)
        best = self._at(plain, self.intercepts.project(np.where(np.isnan(level), b, level)))
        if tied:
            return best
        guess = self._at(plain, b)
        return guess if guess.value < best.value else best

    def _at(self, plain: Predictions, b: Array) -> _InterceptPoint:
        eta = self.stack.shift(plain, b)
        return _InterceptPoint(b, eta, self.stack.value(eta) + self.intercepts.penalty(b))

    def _gradient(self, eta: Predictions, b: Array) -> Array:
        slopes: Array = self.stack.collect(self.stack.slopes(eta))
        return slopes + self.intercepts.gradient(b)

    def _way(self, point: _InterceptPoint, reach: _Reach) -> _InterceptStep:
        gradient = self._gradient(point.eta, point.b)
        slope = self.intercepts.project(gradient)
        reach.update(slope)
        parts = self.stack.intercept_curvature(point.eta)
        own = self.intercepts.project(own_curvature(parts, slope.size))
        most = self.intercepts.project(self.stack.intercept_bound)
        needed = np.minimum(np.abs(slope) / reach.length, most)
        extra = np.maximum(needed - own, 0.0)
        step = newton_solver(parts, self.intercepts, extra)(-gradient)
        return _InterceptStep(step, -float(gradient @ step), slope, not extra.any())

    def _is_last(self, way: _InterceptStep, value: float) -> bool:
        size = max(self.stack.total_weight, abs(value))
        slope = float(np.max(np.abs(way.slope), initial=0.0))
        short = float(np.max(np.abs(way.step), initial=0.0)) < _SHORT
        return way.descent <= self.polish * size and slope <= self.flat * size and short

    def _halved(
        self, plain: Predictions, point: _InterceptPoint, way: _InterceptStep
    ) -> _InterceptPoint | None:
        """Shorten a step until the value falls."""
        if not np.isfinite(way.descent) or way.descent <= 0:
            return None
        length = 1.0
        for _ in range(_HALVINGS):
            trial = self._at(plain, point.b + length * way.step)
            rounding = 1e-15 * abs(point.value)
            if trial.value <= point.value - _ARMIJO * length * way.descent + rounding:
                return trial
            length /= 2
        return None
