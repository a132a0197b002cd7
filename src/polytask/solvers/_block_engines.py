"""Sweeps over a working set: in the Gram domain, or with residuals, dense or sparse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from polytask.datafits.base import Array
from polytask.penalties import RowKernel
from polytask.solvers._block_data import DenseData, Index, SampleData, SharedData, SparseData

# Rows updated one after the other before what they change is passed on by one product.
_BLOCK = 48


@dataclass(frozen=True, eq=False)
class Beside:
    """Quadratic terms beside the data and the penalty of rows."""

    # Shapes: coupling (n_columns, n_columns).

    ridge: float
    coupling: Array

    @cached_property
    def reach(self) -> float:
        """Largest eigenvalue of the coupling."""
        return float(np.linalg.eigvalsh(self.coupling)[-1]) if self.coupling.size else 0.0

    def gradient(self, W: Array) -> Array | float:
        """Return W A, 0.0 without a coupling."""
        return np.asarray(W @ self.coupling) if self.coupling.size else 0.0


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of W in a working set, and the prox of one."""

    # Shapes: curvature, mean (n_rows,), scale (n_columns,), pull (n_columns, n_columns).

    curvature: Array
    mean: Array
    scale: Array
    pull: Array
    beside: Beside
    kernel: RowKernel

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the compiled sweeps take last."""
        common = self.curvature, self.scale, self.mean, self.pull
        beside, kernel = self.beside, self.kernel
        further = beside.ridge, beside.coupling, beside.reach
        return *common, *further, kernel.limits.arrays, kernel.parameters, kernel.prox


class Engine(ABC):
    """Coefficients of a working set, and arrays that are affine functions of them."""

    # Shapes: W (n_rows, n_columns).

    rows: Rows
    W: Array
    parts: list[Array]

    @abstractmethod
    def sweep(self, times: int = 1) -> float:
        """Minimise over each row in turn, so many times."""

    @abstractmethod
    def slope(self) -> Array:
        """Return minus the gradient of the data term, of the shape of W."""

    @abstractmethod
    def change(self, before: list[Array]) -> float:
        """Return by how much the data term has grown since W and the parts were `before`."""

    def smooth_slope(self) -> Array:
        """Return minus the gradient of the data term and of the coupling, of the shape of W."""
        return np.asarray(self.slope() - self.rows.beside.gradient(self.W))

    def smooth_change(self, before: list[Array]) -> float:
        """Return by how much the data term and the coupling have grown."""
        pushed = self.rows.beside.gradient(before[0] + self.W)
        coupled = 0.5 * float(np.sum(pushed * (self.W - before[0])))
        return self.change(before) + coupled

    def state(self) -> list[Array]:
        """Return copies of W and of the parts."""
        return [part.copy() for part in (self.W, *self.parts)]

    def set_state(self, state: list[Array]) -> None:
        """Put W and the parts back."""
        for part, value in zip((self.W, *self.parts), state, strict=True):
            part[...] = value


class GramEngine(Engine):
    """Keeps the gradient of the working set up to date by the inner products of its features."""

    # Shapes: gram (n_rows, n_rows), W, slope (n_rows, n_columns).

    def __init__(self, gram: Array, rows: Rows, W: Array, slope: Array) -> None:
        self.gram, self.rows = gram, rows
        self.W, self.parts = W, [slope]

    def sweep(self, times: int = 1) -> float:
        """Minimise over each row in turn, so many times."""
        from polytask.solvers._kernels import sweep_gram

        found = sweep_gram(self.gram, self.parts[0], self.W, *self.rows.arguments, _BLOCK, times)
        return float(found)

    def slope(self) -> Array:
        """Return minus the gradient."""
        return self.parts[0]

    def change(self, before: list[Array]) -> float:
        """Return by how much the data term has grown."""
        # Its slope is affine, so the mean of both ends is exact.
        mean_slope = 0.5 * (before[1] + self.parts[0])
        return float(np.vdot(mean_slope, before[0] - self.W))


class DenseEngine(Engine):
    """Keeps the residuals up to date; the cost of a row does not grow with the working set."""

    # Shapes: columns (n_rows, n), W (n_rows, n_columns).

    def __init__(
        self, data: DenseData, columns: Array, rows: Rows, index: Index, W: Array
    ) -> None:
        self.columns, self.rows = columns, rows
        self.W = W
        self.parts = [data.targets - columns.T @ W, data.lean(W, index)]

    @cached_property
    def _grams(self) -> Array:
        """Inner products of the features of each block."""
        starts = range(0, len(self.W), _BLOCK)
        grams = np.zeros((len(starts), _BLOCK, _BLOCK))
        for gram, start in zip(grams, starts, strict=True):
            part = self.columns[start : start + _BLOCK]
            gram[: len(part), : len(part)] = part @ part.T
        return grams

    def sweep(self, times: int = 1) -> float:
        """Minimise over each row in turn, so many times."""
        from polytask.solvers._kernels_dense import sweep_dense

        changed = self.columns, self._grams, *self.parts, self.W
        return _repeated(lambda: float(sweep_dense(*changed, *self.rows.arguments)), times)

    def change(self, before: list[Array]) -> float:
        """Return by how much the data term has grown."""
        old, now = before[1:], self.parts
        squares = (now[0] - old[0]) * (now[0] + old[0])
        pulled = 0.0
        if now[1].size:
            misfit = self.rows.mean @ (before[0] - self.W)
            pulled = float(misfit @ (now[1] + old[1])[0])
        return 0.5 * (float(squares.sum(axis=0) @ self.rows.scale) + pulled)

    def slope(self) -> Array:
        """Return minus the gradient."""
        residual, lean = self.parts
        slope = self.rows.scale * (self.columns @ residual)
        if lean.size:
            slope += np.multiply.outer(self.rows.mean, lean[0])
        return np.asarray(slope)


class SparseEngine(Engine):
    """Keeps the residuals of a sparse design up to date. Shapes: W (n_rows, n_columns)."""

    def __init__(
        self,
        data: SparseData,
        columns: Any,  # noqa: ANN401
        rows: Rows,
        index: Index,
        W: Array,
    ) -> None:
        self.stored, self.first, self.centre = columns
        self.rows = rows
        self.W = W
        residual = np.ascontiguousarray(data.targets - self.stored.T @ W)
        shift, level = self.centre @ W, data.root @ residual
        self.parts = [residual, shift[None, :], level[None, :], data.lean(W, index)]
        starts = self.stored.indptr.astype(np.int32, copy=False)
        positions = self.stored.indices.astype(np.int32, copy=False)
        self.entries = starts, positions, self.stored.data

    def sweep(self, times: int = 1) -> float:
        """Minimise over each row in turn, so many times."""
        from polytask.solvers._kernels_sparse import sweep_sparse

        changed = *self.entries, self.first, self.centre, *self.parts, self.W
        return _repeated(lambda: float(sweep_sparse(*changed, *self.rows.arguments)), times)

    def change(self, before: list[Array]) -> float:
        """Return by how much the data term has grown."""
        (old, old_shift, old_level, old_lean), (now, shift, level, lean) = before[1:], self.parts
        squares = ((now - old) * (now + old)).sum(axis=0)
        # |A + r s'|^2 with |r| = 1, column by column.
        squares += 2 * (level * shift - old_level * old_shift)[0]
        squares += ((shift - old_shift) * (shift + old_shift))[0]
        pulled = 0.0
        if lean.size:
            misfit = self.rows.mean @ (before[0] - self.W)
            pulled = float(misfit @ (lean + old_lean)[0])
        return 0.5 * (float(squares @ self.rows.scale) + pulled)

    def slope(self) -> Array:
        """Return minus the gradient."""
        residual, shift, level, lean = self.parts
        slope = self.stored @ residual + np.multiply.outer(self.first, shift[0])
        slope -= np.multiply.outer(self.centre, level[0] + shift[0])
        slope *= self.rows.scale
        if lean.size:
            slope += np.multiply.outer(self.rows.mean, lean[0])
        return np.asarray(slope)


def _repeated(sweep: Callable[[], float], times: int) -> float:
    """Sweep so many times, or until nothing moves; return what the last sweep did."""
    moved = 0.0
    for _ in range(times):
        moved = sweep()
        if moved == 0.0:
            break
    return moved


def residual_engine(
    data: SharedData,
    columns: Any,  # noqa: ANN401 - what `data.columns` returns
    rows: Rows,
    index: Index,
    W: Array,
) -> Engine:
    """Return the engine that keeps residuals. Shapes: W (n_rows, n_columns)."""
    if isinstance(data, DenseData):
        return DenseEngine(data, columns, rows, index, W)
    if isinstance(data, SparseData):
        return SparseEngine(data, columns, rows, index, W)
    raise TypeError(f"{type(data).__name__} has no residuals.")


def selected(data: SharedData, columns: Any, positions: Index) -> Any:  # noqa: ANN401
    """Return some of the features that `data.columns` returned."""
    if isinstance(data, SampleData) and isinstance(columns, tuple):
        return tuple(part[positions] for part in columns)
    return columns[positions]
