"""The rows of many tasks, a few tasks of like size at a time.

A block holds tasks whose rows are padded to one length, so that all of them are worked on by one
call of the linear algebra; a large task of a sparse design is a block of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._linalg import is_sparse

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# A block gathers up to this many numbers (16 MiB); more rows of one task come in pieces.
_BLOCK_ENTRIES = 2**21
# Designs up to this many numbers are gathered once and kept (48 MiB).
_KEPT_ENTRIES = 6 * 2**20
# Tasks are padded to at most this multiple of their rows, and a few more.
_PADDING, _FEW = 1.25, 4
# Rows of so many columns, of which at most this share is not zero, are worked on as sparse ones.
_WIDE, _THIN = 100, 0.1


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled rows sorted by task."""

    # Shapes: Z (n_rows, p), y (m,), weight (m,), offsets (n_tasks + 1,), rows (m,), shift (p,),
    # normal (m,).

    Z: Any
    y: Array
    weight: Array
    offsets: Index
    rows: Index | None = None
    shift: Array | None = None
    normal: NDArray[np.bool_] | None = None

    @property
    def n_tasks(self) -> int:
        """Number of tasks, also those without labels."""
        return len(self.offsets) - 1

    @property
    def width(self) -> int:
        """Number of columns, p."""
        return int(self.Z.shape[1])

    @property
    def counts(self) -> Index:
        """Number of labels of every task."""
        return np.asarray(np.diff(self.offsets), dtype=np.intp)

    def take(self, labels: Index) -> Array:
        """Return the dense rows of some labels, ``labels.shape + (p,)``."""
        flat = labels.ravel() if self.rows is None else self.rows[labels.ravel()]
        chosen = self.Z[flat]
        dense = chosen.toarray() if is_sparse(chosen) else np.asarray(chosen)
        dense = dense.astype(np.float64, copy=False)
        if self.shift is not None:
            dense = dense - self.shift
        return dense.reshape(*labels.shape, self.width)

    def every(self) -> Array:
        """Return all rows of the design, dense, shape (n_rows, p)."""
        dense = self.Z.toarray() if is_sparse(self.Z) else np.asarray(self.Z)
        dense = dense.astype(np.float64, copy=False)
        return dense if self.shift is None else dense - self.shift


class RowBlock(ABC):
    """Some tasks and their rows; arrays have the shape (tasks, padded rows)."""

    # Shapes: tasks (B,), y, weight (B, n), normal (B, n).

    tasks: Index
    y: Array
    weight: Array
    normal: NDArray[np.bool_] | None
    width: int

    @abstractmethod
    def eta(self, w: Array) -> Array:
        """Return the linear predictors of coefficients (B, p), shape (B, n)."""

    @abstractmethod
    def project(self, values: Array) -> Array:
        """Return Z' values of every task, shape (B, p)."""

    @abstractmethod
    def gram(self, weight: Array) -> Array:
        """Return Z' diag(weight) Z of every task, shape (B, p, p)."""

    @abstractmethod
    def forms(self, M: Array) -> Array:
        """Return z' M z of every row for matrices M (B, p, p), shape (B, n)."""

    @abstractmethod
    def times(self, M: Array) -> Array:
        """Return Z M of every task for matrices of a few columns (B, p, k), shape (B, n, k)."""

    @abstractmethod
    def squares(self, H: Array) -> Array:
        """Return the squared length of H z for every row and matrices H (B, k, p), (B, n)."""

    @abstractmethod
    def dense(self) -> Array:
        """Return the rows, shape (B, n, p); for blocks of few rows."""


class PaddedRows(RowBlock):
    """Tasks of like size, gathered when needed or once for all."""

    def __init__(self, source: Labelled, tasks: Index, keep: bool) -> None:
        counts = source.counts[tasks]
        n = max(int(counts.max(initial=0)), 1)
        self._labels = np.minimum(
            source.offsets[tasks][:, None] + np.arange(n), max(len(source.y) - 1, 0)
        )
        real = np.arange(n) < counts[:, None]
        self.tasks = tasks
        self.y = source.y[self._labels]
        self.weight = source.weight[self._labels] * real
        self.normal = None if source.normal is None else source.normal[self._labels]
        self._source, self.width = source, source.width
        step = max(1, _BLOCK_ENTRIES // (len(tasks) * source.width))
        self._pieces = [slice(start, start + step) for start in range(0, n, step)]
        self._kept = source.take(self._labels) if keep else None

    def _piece(self, piece: slice) -> Array:
        if self._kept is not None:
            return self._kept[:, piece]
        return self._source.take(self._labels[:, piece])

    def eta(self, w: Array) -> Array:
        """Return the linear predictors."""
        parts = [self._piece(piece) @ w[:, :, None] for piece in self._pieces]
        return np.concatenate(parts, axis=1)[:, :, 0]

    def project(self, values: Array) -> Array:
        """Return Z' values."""
        total = np.zeros((len(self.tasks), self.width))
        for piece in self._pieces:
            total += (values[:, None, piece] @ self._piece(piece))[:, 0]
        return total

    def gram(self, weight: Array) -> Array:
        """Return Z' diag(weight) Z."""
        p = self.width
        total = np.zeros((len(self.tasks), p, p))
        for piece in self._pieces:
            Z = self._piece(piece)
            total += (Z * weight[:, piece, None]).transpose(0, 2, 1) @ Z
        return total

    def forms(self, M: Array) -> Array:
        """Return z' M z."""
        out = np.empty(self.y.shape)
        for piece in self._pieces:
            Z = self._piece(piece)
            out[:, piece] = np.einsum("bnp,bnp->bn", Z @ M, Z)
        return out

    def times(self, M: Array) -> Array:
        """Return Z M."""
        return np.concatenate([self._piece(piece) @ M for piece in self._pieces], axis=1)

    def squares(self, H: Array) -> Array:
        """Return the squared length of H z."""
        return self.forms(H.transpose(0, 2, 1) @ H)

    def dense(self) -> Array:
        """Return the rows."""
        return self._piece(slice(None))


class SparseRows(RowBlock):
    """One task of a sparse design, which stays sparse."""

    def __init__(self, source: Labelled, task: int) -> None:
        part = slice(int(source.offsets[task]), int(source.offsets[task + 1]))
        self.tasks = np.array([task], dtype=np.intp)
        self.y, self.weight = source.y[None, part], source.weight[None, part]
        self.normal = None if source.normal is None else source.normal[None, part]
        rows = part if source.rows is None else source.rows[part]
        self._Z = sp.csr_array(source.Z[rows]).astype(np.float64)
        self._Z.sum_duplicates()
        self.width = source.width
        zeros = np.zeros(source.width)
        self._shift = zeros if source.shift is None else source.shift

    @cached_property
    def _transposed(self) -> Any:  # noqa: ANN401 - a sparse matrix
        return self._Z.T.tocsr()

    def eta(self, w: Array) -> Array:
        """Return the linear predictors."""
        return np.asarray(self._Z @ w[0] - self._shift @ w[0])[None]

    def project(self, values: Array) -> Array:
        """Return Z' values."""
        return np.asarray(self._transposed @ values[0] - values.sum() * self._shift)[None]

    def gram(self, weight: Array) -> Array:
        """Return Z' diag(weight) Z."""
        from polytask.bayes.sparse_gram import sparse_gram

        product = sparse_gram(self._Z, weight[0])
        cross = np.outer(self._shift, self._transposed @ weight[0])
        middle = weight.sum() * np.outer(self._shift, self._shift)
        return np.asarray(product - cross - cross.T + middle)[None]

    def forms(self, M: Array) -> Array:
        """Return z' M z."""
        half = M[0] @ self._shift
        step = max(1, _BLOCK_ENTRIES // self._Z.shape[1])
        parts = []
        for start in range(0, self._Z.shape[0], step):
            piece = self._Z[start : start + step]
            own = np.asarray(piece.multiply(piece @ M[0]).sum(axis=1)).ravel()
            parts.append(own - 2.0 * (piece @ half))
        return np.asarray(np.concatenate([*parts, np.zeros(0)])[None] + self._shift @ half)

    def times(self, M: Array) -> Array:
        """Return Z M."""
        return np.asarray(self._Z @ M[0] - self._shift @ M[0])[None]

    def squares(self, H: Array) -> Array:
        """Return the squared length of H z."""
        turned = np.ascontiguousarray(H[0].T)
        moved = self._shift @ turned
        step = max(1, _BLOCK_ENTRIES // len(H[0]))
        parts = []
        for start in range(0, self._Z.shape[0], step):
            long = self._Z[start : start + step] @ turned - moved
            parts.append(np.einsum("ij,ij->i", long, long))
        return np.concatenate([*parts, np.zeros(0)])[None]

    def dense(self) -> Array:
        """Return the rows."""
        return np.asarray(self._Z.toarray() - self._shift)[None]


def is_thin(X: Any) -> bool:  # noqa: ANN401 - dense or sparse
    """Tell whether rows are so many zeros that sums over the others alone are less work."""
    # Shapes: X (n_rows, p).
    n, p = X.shape
    if p < _WIDE:
        return False
    filled = X.nnz if is_sparse(X) else np.count_nonzero(X)
    return bool(filled <= _THIN * n * p)


def row_blocks(source: Labelled) -> list[RowBlock]:
    """Group the tasks that have labels into blocks of like size."""
    counts, p = source.counts, source.width
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    keep = int(counts.sum()) * p <= _KEPT_ENTRIES
    thin = is_sparse(source.Z) and is_thin(source.Z)
    blocks: list[RowBlock] = []
    start = 0
    while start < len(order):
        end = _end_of_block(counts[order], start, p)
        if thin and counts[order[start]] >= p:
            # Padded with others it would be dense.
            end = start + 1
        tasks = np.sort(order[start:end])
        alone = len(tasks) == 1 and is_sparse(source.Z) and source.width > _FEW
        blocks.append(
            SparseRows(source, int(tasks[0])) if alone else PaddedRows(source, tasks, keep)
        )
        start = end
    return blocks


def _end_of_block(sizes: Index, start: int, p: int) -> int:
    """Return where a block must end that begins at `start`; `sizes` ascend."""
    longest = int(_PADDING * sizes[start]) + _FEW
    end = int(np.searchsorted(sizes, longest, side="right"))
    widths = np.minimum(sizes[start:end], p) * p * np.arange(1, end - start + 1)
    return start + max(1, int(np.searchsorted(widths, _BLOCK_ENTRIES, side="right")))
