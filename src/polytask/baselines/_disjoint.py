"""Columns of which no row has two, such as the 0/1 columns of tasks, without their zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._linalg import is_sparse

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
class Split:
    """A design in two parts. Shapes: head (n, d)."""

    head: Array
    tail: Disjoint

    def __getitem__(self, rows: NDArray[Any]) -> Split:
        """Return some of the rows."""
        return Split(self.head[rows], self.tail[rows])

    def times(self, w: Array) -> Array:
        """Return the product with coefficients, shape (n,)."""
        d = self.head.shape[1]
        return np.asarray(self.head @ w[:d] + self.tail.times(w[d:]))


def split_columns(X: Any, most: int) -> Split | None:  # noqa: ANN401 - dense or sparse
    """Split a design if that pays. Shapes: X (n, d)."""
    # The last columns alone say no to most designs.
    if X.shape[1] < _MANY or split_tail(X[:, -_MANY:])[1].width < _MANY:
        return None
    head, tail = split_tail(X)
    if head.shape[1] > most:
        return None
    return Split(head.toarray() if is_sparse(head) else head, tail)


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
