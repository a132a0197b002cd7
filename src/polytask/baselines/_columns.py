"""Columns of a design that are cheaper than their number: of many tasks, or mostly one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask.datafits import Features

Array = NDArray[np.float64]
Places = NDArray[np.intp]

# Columns of which no row has two, from so many on worth a diagonal block of their own.
_MANY = 50


@dataclass(frozen=True, eq=False)
class Disjoint:
    """Columns of which every row has one at most. Shapes: codes (n,), values (n,)."""

    codes: Places
    values: Array
    width: int

    def __getitem__(self, rows: NDArray[Any]) -> Disjoint:
        """Return some of the rows."""
        return Disjoint(self.codes[rows], self.values[rows], self.width)

    def times(self, w: Array) -> Array:
        """Return the product with coefficients, shape (n,)."""
        return self.values * w[self.codes]

    def adjoint(self, r: Array) -> Array:
        """Return the product of the transpose with one number per row, shape (width,)."""
        return np.asarray(np.bincount(self.codes, self.values * r, self.width), dtype=float)

    def matrix(self) -> sp.csr_array:
        """Return the columns as a sparse matrix."""
        n = len(self.codes)
        parts = (self.values, self.codes, np.arange(n + 1))
        return sp.csr_array(parts, shape=(n, self.width))


@dataclass(frozen=True, eq=False)
class SplitDesign:
    """Dense columns, and behind them columns of which no row has two. Shapes: head (n, d)."""

    head: Array
    tail: Disjoint | None = None

    def __getitem__(self, rows: NDArray[Any]) -> SplitDesign:
        """Return some of the rows."""
        return SplitDesign(self.head[rows], None if self.tail is None else self.tail[rows])

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.head.shape[1]) + (0 if self.tail is None else self.tail.width)

    def __matmul__(self, w: Array) -> Array:
        """Return the product with coefficients, shape (n,)."""
        d = self.head.shape[1]
        product = self.head @ w[:d]
        return np.asarray(product if self.tail is None else product + self.tail.times(w[d:]))

    def adjoint(self, r: Array) -> Array:
        """Return the product of the transpose with one number per row, shape (width,)."""
        head = np.asarray(self.head.T @ r)
        return head if self.tail is None else np.concatenate([head, self.tail.adjoint(r)])


def split_columns(X: Any, most: int) -> SplitDesign | None:  # noqa: ANN401 - dense or sparse
    """Split a design if that pays. Shapes: X (n, d)."""
    # The last columns alone say no to most designs.
    if X.shape[1] < _MANY or split_tail(X[:, -_MANY:])[1].width < _MANY:
        return None
    head, tail = split_tail(X)
    if head.shape[1] > most:
        return None
    return SplitDesign(head.toarray() if is_sparse(head) else head, tail)


def split_tail(X: Any) -> tuple[Any, Disjoint]:  # noqa: ANN401 - dense or sparse
    """Return the columns before, and the most columns at the end of which no row has two."""
    # Shapes: X (n, d), head (n, d - width).
    last, entries, second = (_ends_stored if is_sparse(X) else _ends)(X)
    start = int(second.max(initial=-1)) + 1
    held = last >= start
    codes, values = np.where(held, last - start, 0), np.where(held, entries, 0.0)
    return X[:, :start], Disjoint(codes, values, X.shape[1] - start)


def _ends(X: Array) -> tuple[Places, Array, Places]:
    """Return the last column that is not 0 in each row, its entry, and the one before; or -1."""
    rows = np.arange(len(X))
    if not X.shape[1]:
        return np.full(len(X), -1), np.zeros(len(X)), np.full(len(X), -1)
    flags = X != 0
    last = _last(flags)
    entries = np.asarray(X[rows, last], dtype=float)
    flags[rows, last] = False
    return last, entries, _last(flags)


def _last(flags: NDArray[np.bool_]) -> Places:
    width = flags.shape[1]
    found = width - 1 - flags[:, ::-1].argmax(axis=1)
    return np.where(flags[np.arange(len(flags)), found], found, -1)


def _ends_stored(X: Any) -> tuple[Places, Array, Places]:  # noqa: ANN401 - a sparse matrix
    stored = sp.csr_array(X, copy=True)
    stored.eliminate_zeros()
    stored.sort_indices()
    counts = np.diff(stored.indptr)
    ends = stored.indptr[1:]
    last, second = np.full(len(counts), -1), np.full(len(counts), -1)
    entries = np.zeros(len(counts))
    some, two = counts > 0, counts > 1
    last[some], entries[some] = stored.indices[ends[some] - 1], stored.data[ends[some] - 1]
    second[two] = stored.indices[ends[two] - 2]
    return last, entries, second


# Above it products with a dense matrix are about as fast.
_DENSEST = 0.1
# Rows that tell the number of a column; odd, so that their median is one of its entries.
_LOOKED_AT = 501


def without_repeats(X: Array) -> Features | None:
    """Store a matrix as the number that each column mostly repeats, and the sparse rest."""
    # Shapes: X (n, d).
    some = X[:: max(len(X) // _LOOKED_AT, 1)][:_LOOKED_AT]
    repeated = np.median(some[: len(some) - (len(some) + 1) % 2], axis=0).astype(X.dtype)
    # Most matrices are told apart by a few rows.
    if np.mean(some != repeated) > 2 * _DENSEST:
        return None
    differs = repeated != X
    counts = np.count_nonzero(differs, axis=1)
    if counts.sum() > _DENSEST * X.size:
        return None
    row, column = np.nonzero(differs)
    starts = np.concatenate([[0], np.cumsum(counts)])
    parts = ((X[row, column] - repeated[column]).astype(float), column, starts)
    return Features(sp.csr_array(parts, shape=X.shape), -repeated.astype(float))
