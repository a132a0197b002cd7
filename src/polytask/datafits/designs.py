"""Feature matrices as linear maps from W to predictions, dense or sparse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask.datafits.base import Array, rows_in_use

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


# Columns of a design with at least so many are left out of a product if at most one in so many
# is needed.
_MANY = 1000
_FEW = 8
# So many numbers of a design are squared at a time: they stay in the processor's cache.


def _is_sparse(matrix: Matrix) -> bool:
    # A plain bool, for the type of a matrix is not narrowed to one without its methods.
    return bool(sp.issparse(matrix))


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of a feature matrix with an optional offset.

    Parameters
    ----------
    matrix : ndarray or CSR of shape (n_rows, n_features)
        float32 or float64.
    offset : ndarray of shape (n_features,) or None
        Subtracted from every row.
    """

    matrix: Matrix
    offset: Array | None = None

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.matrix.shape[1])

    def times(self, V: Array) -> Array:
        """Return (matrix - offset) @ V in float64; rows of V that are zero cost little."""
        matrix, offset = self.matrix, self.offset
        used = rows_in_use(V) if V.ndim == 2 and len(V) >= _MANY else None
        if used is not None and _FEW * len(used) < len(V):
            sparse = _is_sparse(matrix)
            matrix, V = self.turned[used].T if sparse else matrix[:, used], V[used]
            offset = None if offset is None else offset[used]
        product = np.asarray(matrix @ V.astype(matrix.dtype, copy=False), dtype=float)
        return product if offset is None else product - offset @ V

    def adjoint(self, U: Array) -> Array:
        """Return (matrix - offset).T @ U in float64."""
        U = U.astype(self.matrix.dtype, copy=False)
        # BLAS is fastest with the few columns of U as rows of the left factor.
        turned = self.turned if _is_sparse(self.matrix) else self.matrix.T
        wide = U.ndim == 2 and not _is_sparse(self.matrix)
        product = np.asarray((U.T @ self.matrix).T if wide else turned @ U, dtype=float)
        if self.offset is None:
            return product
        return np.asarray(product - np.multiply.outer(self.offset, U.sum(axis=0)))

    def squares_adjoint(self, U: Array) -> Array:
        """Return (matrix - offset)**2, transposed, @ U for non-negative U."""
        U = U.astype(self.matrix.dtype, copy=False)
        product = np.asarray(self._squares_times(U), dtype=float)
        if self.offset is None:
            return product
        turned = self.turned if _is_sparse(self.matrix) else self.matrix.T
        cross = np.asarray(turned @ U, dtype=float)
        total = np.multiply.outer(self.offset, U.sum(axis=0))
        shifted = (product.T - 2 * cross.T * self.offset + total.T * self.offset).T
        return np.asarray(np.maximum(shifted, 0.0))

    def _squares_times(self, U: Array) -> Array:
        if _is_sparse(self.matrix):
            turned = self.turned
            pieces = turned.data**2, turned.indices, turned.indptr
            return np.asarray(sp.csr_array(pieces, shape=turned.shape, copy=False) @ U)
        n, d = self.matrix.shape
        total = np.zeros((d, *U.shape[1:]))
        step = max(_CHUNK // max(d, 1), 1)
        for start in range(0, n, step):
            part = self.matrix[start : start + step]
            total += (part * part).T @ U[start : start + step]
        return total

    @cached_property
    def turned(self) -> Matrix:
        """The transpose of a sparse matrix, by features."""
        return sp.csr_array(self.matrix.T.tocsr())

    def rows(self, part: slice | Index) -> Features:
        """Return some of the rows; a slice shares the memory of the whole."""
        if isinstance(part, slice) and _is_sparse(self.matrix):
            return Features(_sparse_rows(self.matrix, part), self.offset)
        if isinstance(part, slice) or _is_sparse(self.matrix) or part.dtype == bool:
            return Features(self.matrix[part], self.offset)
        # Nearly twice as fast as matrix[part].
        return Features(self.matrix.take(part, axis=0), self.offset)

    def gather(
        self, columns: Index, out: Array, copy: Callable[[Array, Index, Array], None]
    ) -> None:
        """Write columns of matrix - offset to the rows of `out`.

        Parameters
        ----------
        columns : ndarray of int
            Which.
        out : ndarray of shape (len(columns), n_rows)
            Written to.
        copy : callable
            Does it for a dense matrix: ``copy(matrix, columns, out)``.
        """
        if _is_sparse(self.matrix):
            out[...] = self.matrix[:, columns].toarray().T
        else:
            copy(self.matrix, columns, out)
        if self.offset is not None:
            out -= self.offset[columns, None]

    def gram(self, weight: Array) -> Array:
        """Return (matrix - offset).T @ diag(weight) @ (matrix - offset) of a dense matrix."""
        product = np.asarray(self.matrix.T @ (self.matrix * weight[:, None]), dtype=float)
        if self.offset is None:
            return product
        cross = np.multiply.outer(self.offset, np.asarray(self.matrix.T @ weight, dtype=float))
        square = np.multiply.outer(self.offset, self.offset)
        return np.asarray(product - cross - cross.T + float(weight.sum()) * square)

    def second_moment(self, weight: Array, mean: Array) -> Array:
        """Return the sum of weight * (row - mean)(row - mean)' in float64.

        `mean` is that of the rows with the offset taken off.
        """
        centre = mean if self.offset is None else mean + self.offset
        if not _is_sparse(self.matrix):
            root = np.sqrt(weight)[:, None]
            centred = (np.asarray(self.matrix, dtype=float) - centre) * root
            return np.asarray(centred.T @ centred)
        wide = self.matrix.astype(float)
        raw = np.asarray((wide.T @ wide.multiply(weight[:, None]).tocsr()).toarray())
        first = np.asarray(wide.T @ weight)
        total = float(weight.sum())
        cross = np.multiply.outer(centre, first)
        return np.asarray(raw - cross - cross.T + total * np.multiply.outer(centre, centre))


def _sparse_rows(matrix: Matrix, part: slice) -> Matrix:
    start, stop, _ = part.indices(matrix.shape[0])
    inner = slice(int(matrix.indptr[start]), int(matrix.indptr[stop]))
    pieces = (
        matrix.data[inner],
        matrix.indices[inner],
        matrix.indptr[start : stop + 1] - inner.start,
    )
    return sp.csr_array(pieces, shape=(stop - start, matrix.shape[1]), copy=False)


@dataclass(frozen=True, eq=False)
class Stacked:
    """Rows sorted by task; each row is predicted by the one column of its task.

    Parameters
    ----------
    features : Features
        All rows.
    offsets : ndarray of int of shape (n_tasks + 1,)
        Where each task's rows begin.
    columns : ndarray of int of shape (n_tasks,)
        The column of W that each task owns.
    """

    features: Features
    offsets: Index
    columns: Index

    @cached_property
    def _products(self) -> Products:
        return products(self.features.matrix, self.offsets)

    @cached_property
    def _counts(self) -> Index:
        return np.diff(self.offsets)

    @cached_property
    def _segments(self) -> list[tuple[int, slice, Features]]:
        """The tasks that have rows: position, where the rows are, and the rows."""
        bounds = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        parts = [(k, slice(int(a), int(b))) for k, (a, b) in enumerate(bounds) if b > a]
        return [(k, part, self.features.rows(part)) for k, part in parts]

    def sum_rows(self, values: Array) -> Array:
        """Sum `values` over the rows of each task; a task without rows gets 0."""
        filled = self._counts > 0
        out = np.zeros((len(self.columns), *values.shape[1:]))
        if filled.any():
            out[filled] = np.add.reduceat(values, self.offsets[:-1][filled], axis=0)
        return out

    def forward(self, W: Array) -> Array:
        """Return the predictions, shape (n_rows,)."""
        V = W.T[self.columns]
        eta = self._products.forward(V)
        offset = self.features.offset
        return eta if offset is None else eta - np.repeat(V @ offset, self._counts)

    def adjoint(self, U: Array) -> Array:
        """Return the transpose of :meth:`forward` at `U`, shape (n_features, n_tasks)."""
        G = self._products.adjoint(U).T
        offset = self.features.offset
        return G if offset is None else G - np.multiply.outer(offset, self.sum_rows(U))

    def squares_adjoint(self, U: Array) -> Array:
        """Return :meth:`adjoint` with squared features."""
        plain = self._products.squares(U).T
        if self.features.offset is None:
            return plain
        offset = self.features.offset[:, None]
        cross = self._products.adjoint(U).T
        return np.maximum(plain - 2 * offset * cross + offset**2 * self.sum_rows(U), 0.0)

    def grams(self, U: Array) -> Array:
        """Return each task's sum of U x x', shape (n_tasks, n_features, n_features)."""
        d = self.features.n_features
        G = np.zeros((len(self.columns), d, d))
        for k, part, rows in self._segments:
            G[k] = rows.gram(U[part])
        return G

    def spread(self, b: Array) -> Array:
        """Give every row the entry of its task, from shape (n_columns,)."""
        return np.repeat(b[self.columns], self._counts)

    def collect(self, U: Array) -> Array:
        """Sum over the rows of each task, shape (n_tasks,)."""
        return self.sum_rows(U)


@dataclass(frozen=True, eq=False)
class StackedClasses:
    """Rows sorted by task; each row is predicted by all columns of its task.

    Parameters
    ----------
    features : Features
        All rows.
    offsets : ndarray of int of shape (n_tasks + 1,)
        Where each task's rows begin.
    table : ndarray of int of shape (n_tasks, n_classes)
        The columns of W that each task owns: as many for every task.
    """

    features: Features
    offsets: Index
    table: Index

    @property
    def columns(self) -> Index:
        """The columns of W, task by task."""
        return self.table.ravel()

    @cached_property
    def _parts(self) -> list[Stacked]:
        """One design per class."""
        return [Stacked(self.features, self.offsets, own) for own in self.table.T]

    def _interleave(self, parts: list[Array]) -> Array:
        """Put per-class results (..., n_tasks) into the order of the columns."""
        stacked = np.stack(parts, axis=-1)
        # Not -1: there may be no features.
        return stacked.reshape(*stacked.shape[:-2], self.table.size)

    def forward(self, W: Array) -> Array:
        """Return the predictions, shape (n_rows, n_classes)."""
        return np.column_stack([part.forward(W) for part in self._parts])

    def adjoint(self, U: Array) -> Array:
        """Return the transpose of :meth:`forward` at `U`."""
        return self._interleave(
            [part.adjoint(u) for part, u in zip(self._parts, U.T, strict=True)]
        )

    def squares_adjoint(self, U: Array) -> Array:
        """Return :meth:`adjoint` with squared features."""
        pairs = zip(self._parts, U.T, strict=True)
        return self._interleave([part.squares_adjoint(u) for part, u in pairs])

    def grams(self, U: Array) -> Array:
        """Return each column's sum of U x x', shape (n_columns, n_features, n_features)."""
        grams = np.stack([part.grams(u) for part, u in zip(self._parts, U.T, strict=True)], axis=1)
        return grams.reshape(-1, *grams.shape[2:])

    def spread(self, b: Array) -> Array:
        """Give every row the entries of its task, shape (n_rows, n_classes)."""
        return np.repeat(b[self.table], np.diff(self.offsets), axis=0)

    def collect(self, U: Array) -> Array:
        """Sum over the rows of each task, shape (n_columns,)."""
        return self.sum_tasks(U).ravel()

    def sum_tasks(self, values: Array) -> Array:
        """Sum values of shape (n_rows, ...) over the rows of each task, (n_tasks, ...)."""
        return self._parts[0].sum_rows(values)

    def class_grams(self, H: Array) -> tuple[Array, Array]:
        """Return each task's sum of H (x) x x' over its rows, and of H (x) x."""
        # Shapes: H (n_rows, K, K), symmetric; results (n_tasks, K, d, K, d), (n_tasks, K, d, K).
        (n_tasks, K), d, rows = self.table.shape, self.features.n_features, self._parts[0]
        second, first = np.zeros((n_tasks, K, d, K, d)), np.zeros((n_tasks, K, d, K))
        for k in range(K):
            for other in range(k + 1):
                h = np.ascontiguousarray(H[:, k, other])
                second[:, k, :, other] = second[:, other, :, k] = rows.grams(h)
                first[:, k, :, other] = first[:, other, :, k] = rows.adjoint(h).T
        return second, first


def _by_column(apply: Callable[[Array], Array], U: Array) -> Array:
    """Apply a linear map to the columns of U, once if they are equal."""
    if U.ndim == 1 or U.shape[1] < 2 or not np.all(U[:, :1] == U):
        return apply(U)
    one = apply(np.ascontiguousarray(U[:, 0]))
    return np.repeat(one[:, None], U.shape[1], axis=1)


@dataclass(frozen=True, eq=False)
class Shared:
    """One matrix whose every row is predicted by all of `columns`.

    Parameters
    ----------
    features : Features
        The rows.
    columns : ndarray of int
        The columns of W that predict them.
    """

    features: Features
    columns: Index

    def forward(self, W: Array) -> Array:
        """Return the predictions, shape (n_rows, n_columns)."""
        # A copy of the columns in their order would cost as much as a product with few rows.
        whole = W.shape[1] == len(self.columns) and self._in_order
        return self.features.times(W if whole else W[:, self.columns])

    def adjoint(self, U: Array) -> Array:
        """Return the transpose of :meth:`forward` at `U`."""
        return self.features.adjoint(U)

    def squares_adjoint(self, U: Array) -> Array:
        """Return :meth:`adjoint` with squared features."""
        return _by_column(self.features.squares_adjoint, U)

    @cached_property
    def _in_order(self) -> bool:
        return bool(np.array_equal(self.columns, np.arange(len(self.columns))))

    def weights_adjoint(self, U: Array) -> Array:
        """Return :meth:`adjoint` at weights, which often are the same for all tasks."""
        return _by_column(self.features.adjoint, U)

    def grams(self, U: Array) -> Array:
        """Return each column's sum of U x x', shape (n_columns, n_features, n_features)."""
        return np.stack([self.features.gram(u) for u in U.T])

    def spread(self, b: Array) -> Array:
        """Give every row the entries of all columns (broadcast)."""
        return b[self.columns][None, :]

    def collect(self, U: Array) -> Array:
        """Sum over the rows."""
        return np.asarray(U.sum(axis=0))
