"""Products of many tasks' rows with their own coefficients, without a loop over small tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask.datafits.base import Array

Index = NDArray[np.intp]
Matrix = Any  # ndarray or CSR

# Numbers that are copied at a time: they stay in the processor's cache.
_CHUNK = 2**17
# From so many rows per task on, one call of BLAS per task costs little beside the product.
_MANY_ROWS = 100


class Products(ABC):
    """Rows sorted by task, as a linear map from one vector per task to one number per row."""

    @abstractmethod
    def forward(self, V: Array) -> Array:
        """Return every row times the vector of its task; V of shape (n_tasks, n_features)."""

    @abstractmethod
    def adjoint(self, U: Array) -> Array:
        """Return every task's sum of rows times U, shape (n_tasks, n_features)."""

    @abstractmethod
    def squares(self, U: Array) -> Array:
        """Return :meth:`adjoint` with squared features."""


@dataclass(frozen=True, eq=False)
class CubeProducts(Products):
    """Tasks of equal size. Shapes: cube (n_tasks, n_rows_of_each, n_features)."""

    cube: NDArray[Any]

    def forward(self, V: Array) -> Array:
        """Return every row times the vector of its task."""
        V = V.astype(self.cube.dtype, copy=False)
        return np.asarray(np.matmul(self.cube, V[:, :, None]).ravel(), dtype=float)

    def adjoint(self, U: Array) -> Array:
        """Return every task's sum of rows times U."""
        U = self._by_task(U)
        return np.asarray(np.matmul(U, self.cube)[:, 0], dtype=float)

    def squares(self, U: Array) -> Array:
        """Return the same with squared features."""
        U = self._by_task(U)
        out = np.empty((len(self.cube), self.cube.shape[2]))
        step = max(_CHUNK // max(self.cube[0].size, 1), 1)
        for first in range(0, len(out), step):
            part = slice(first, first + step)
            out[part] = np.matmul(U[part], self.cube[part] ** 2)[:, 0]
        return out

    def _by_task(self, U: Array) -> Array:
        return U.astype(self.cube.dtype, copy=False).reshape(len(self.cube), 1, -1)


@dataclass(frozen=True, eq=False)
class SegmentProducts(Products):
    """Large tasks: one product each."""

    # Shapes: matrix (n_rows, n_features), offsets (n_tasks + 1,).

    matrix: Matrix
    offsets: Index

    @cached_property
    def _segments(self) -> list[tuple[int, slice, Matrix]]:
        """The tasks that have rows: position, where the rows are, and the rows."""
        bounds = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        parts = [(k, slice(int(a), int(b))) for k, (a, b) in enumerate(bounds) if b > a]
        return [(k, part, self.matrix[part]) for k, part in parts]

    def forward(self, V: Array) -> Array:
        """Return every row times the vector of its task."""
        V = V.astype(self.matrix.dtype, copy=False)
        eta = np.empty(int(self.offsets[-1]))
        for k, part, rows in self._segments:
            eta[part] = rows @ V[k]
        return eta

    def adjoint(self, U: Array) -> Array:
        """Return every task's sum of rows times U."""
        U = U.astype(self.matrix.dtype, copy=False)
        G = np.zeros((len(self.offsets) - 1, self.matrix.shape[1]))
        for k, part, rows in self._segments:
            G[k] = rows.T @ U[part]
        return G

    def squares(self, U: Array) -> Array:
        """Return the same with squared features."""
        U = U.astype(self.matrix.dtype, copy=False)
        G = np.zeros((len(self.offsets) - 1, self.matrix.shape[1]))
        for k, part, rows in self._segments:
            G[k] = _squared(rows).T @ U[part]
        return G


@dataclass(frozen=True, eq=False)
class GatheredProducts(Products):
    """Small tasks of unequal size: their vectors are repeated for some rows at a time."""

    # Shapes: matrix (n_rows, n_features), offsets (n_tasks + 1,).

    matrix: NDArray[Any]
    offsets: Index

    @cached_property
    def _chunks(self) -> list[tuple[slice, slice]]:
        """Tasks, and their rows, that are taken at a time."""
        rows = max(_CHUNK // max(self.matrix.shape[1], 1), 1)
        ends = np.arange(0, int(self.offsets[-1]) + rows, rows)
        first = np.unique(np.searchsorted(self.offsets[:-1], ends, side="left"))
        tasks = [slice(int(a), int(b)) for a, b in pairwise(first)]
        return [(t, slice(int(self.offsets[t.start]), int(self.offsets[t.stop]))) for t in tasks]

    @cached_property
    def _counts(self) -> Index:
        return np.diff(self.offsets)

    def forward(self, V: Array) -> Array:
        """Return every row times the vector of its task."""
        V = V.astype(self.matrix.dtype, copy=False)
        eta = np.zeros(int(self.offsets[-1]))
        for tasks, rows in self._chunks:
            own = np.repeat(V[tasks], self._counts[tasks], axis=0)
            eta[rows] = np.einsum("ij,ij->i", self.matrix[rows], own)
        return eta

    def adjoint(self, U: Array) -> Array:
        """Return every task's sum of rows times U."""
        return self._sums(U, square=False)

    def squares(self, U: Array) -> Array:
        """Return the same with squared features."""
        return self._sums(U, square=True)

    def _sums(self, U: Array, square: bool) -> Array:
        U = U.astype(self.matrix.dtype, copy=False)
        out = np.zeros((len(self._counts), self.matrix.shape[1]))
        for tasks, rows in self._chunks:
            products = self.matrix[rows] * U[rows, None]
            if square:
                products *= self.matrix[rows]
            filled = np.flatnonzero(self._counts[tasks] > 0)
            starts = self.offsets[tasks][filled] - rows.start
            if len(filled):
                out[tasks.start + filled] = np.add.reduceat(products, starts, axis=0)
        return out


@dataclass(frozen=True, eq=False)
class EntryProducts(Products):
    """Small sparse tasks: entry by entry."""

    # Shapes: matrix (n_rows, n_features), offsets (n_tasks + 1,).

    matrix: Matrix
    offsets: Index

    @cached_property
    def _row(self) -> Index:
        return np.repeat(np.arange(self.matrix.shape[0]), np.diff(self.matrix.indptr))

    @cached_property
    def _cell(self) -> Index:
        """Where each entry's task and feature are in a matrix of shape (n_tasks, d)."""
        tasks = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        return np.asarray(tasks[self._row] * self.matrix.shape[1] + self.matrix.indices)

    def forward(self, V: Array) -> Array:
        """Return every row times the vector of its task."""
        products = self.matrix.data * V.ravel()[self._cell]
        return self._count(self._row, products, self.matrix.shape[0])

    def adjoint(self, U: Array) -> Array:
        """Return every task's sum of rows times U."""
        return self._sums(self.matrix.data, U)

    def squares(self, U: Array) -> Array:
        """Return the same with squared features."""
        return self._sums(self.matrix.data**2, U)

    def _sums(self, data: Array, U: Array) -> Array:
        shape = (len(self.offsets) - 1, self.matrix.shape[1])
        return self._count(self._cell, data * U[self._row], shape[0] * shape[1]).reshape(shape)

    @staticmethod
    def _count(index: Index, weights: Array, size: int) -> Array:
        counted: Array = np.bincount(index, weights, minlength=size).astype(float, copy=False)
        return counted


def _squared(rows: Matrix) -> Matrix:
    # The type of a matrix is not narrowed to one without its methods.
    return rows.multiply(rows) if bool(sp.issparse(rows)) else rows**2


def products(matrix: Matrix, offsets: Index) -> Products:
    """Return the fastest products for tasks of these sizes."""
    # Shapes: matrix (n_rows, n_features), offsets (n_tasks + 1,).
    counts = np.diff(offsets)
    small = int(offsets[-1]) < _MANY_ROWS * len(counts)
    if sp.issparse(matrix):
        return EntryProducts(matrix, offsets) if small else SegmentProducts(matrix, offsets)
    if counts.size and counts[0] > 0 and np.all(counts == counts[0]):
        return CubeProducts(matrix.reshape(len(counts), int(counts[0]), matrix.shape[1]))
    kind = GatheredProducts if small else SegmentProducts
    return kind(matrix, offsets)
