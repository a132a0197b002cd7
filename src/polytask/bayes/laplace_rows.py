"""The labelled rows of many tasks, and what their posterior needs of a block."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask.bayes.blocks import Chosen, Reduced, ReducedMoments, ReducedRows, solve_lower
from polytask.bayes.label_losses import LabelLosses

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
    # loss (m,), the position of the loss of every label among `losses`; None: all have the first.
    # offset (m,), what is added to the predictors; None: nothing.

    Z: Any
    y: Array
    weight: Array
    offsets: Index
    rows: Index | None = None
    shift: Array | None = None
    loss: Index | None = None
    losses: LabelLosses = LabelLosses()  # noqa: RUF009 - immutable
    offset: Array | None = None

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


class PaddedRows:
    """Tasks of like size, their rows padded, gathered when needed or once for all."""

    # Shapes: tasks (B,), y, weight, loss, offset (B, n).

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
        self.loss = None if source.loss is None else source.loss[self._labels]
        self.offset = None if source.offset is None else source.offset[self._labels]
        self._source, self.width = source, source.width
        step = max(1, _BLOCK_ENTRIES // (len(tasks) * source.width))
        self._pieces = [slice(start, start + step) for start in range(0, n, step)]
        self._kept = source.take(self._labels) if keep else None

    def _piece(self, piece: slice) -> Array:
        if self._kept is not None:
            return self._kept[:, piece]
        return self._source.take(self._labels[:, piece])

    def eta(self, w: Array) -> Array:
        """Return the linear predictors of coefficients (B, p), shape (B, n)."""
        parts = [self._piece(piece) @ w[:, :, None] for piece in self._pieces]
        return np.concatenate(parts, axis=1)[:, :, 0]

    def project(self, values: Array) -> Array:
        """Return Z' values of every task, shape (B, p)."""
        total = np.zeros((len(self.tasks), self.width))
        for piece in self._pieces:
            total += (values[:, None, piece] @ self._piece(piece))[:, 0]
        return total

    def gram(self, weight: Array) -> Array:
        """Return Z' diag(weight) Z of every task, shape (B, p, p)."""
        p = self.width
        total = np.zeros((len(self.tasks), p, p))
        for piece in self._pieces:
            Z = self._piece(piece)
            total += (Z * weight[:, piece, None]).transpose(0, 2, 1) @ Z
        return total

    def forms(self, M: Array) -> Array:
        """Return z' M z of every row for matrices M (B, p, p), shape (B, n)."""
        out = np.empty(self.y.shape)
        for piece in self._pieces:
            Z = self._piece(piece)
            out[:, piece] = np.einsum("bnp,bnp->bn", Z @ M, Z)
        return out

    def times(self, M: Array) -> Array:
        """Return Z M of every task for matrices of a few columns (B, p, k), shape (B, n, k)."""
        return np.concatenate([self._piece(piece) @ M for piece in self._pieces], axis=1)

    def squares(self, H: Array) -> Array:
        """Return the squared length of H z for every row and matrices H (B, k, p), (B, n)."""
        return self.forms(H.transpose(0, 2, 1) @ H)

    def dense(self) -> Array:
        """Return the rows, shape (B, n, p); for blocks of few rows."""
        return self._piece(slice(None))


class SparseRows:
    """One task of a sparse design, which stays sparse; as :class:`PaddedRows` with B = 1."""

    def __init__(self, source: Labelled, task: int) -> None:
        part = slice(int(source.offsets[task]), int(source.offsets[task + 1]))
        self.tasks = np.array([task], dtype=np.intp)
        self.y, self.weight = source.y[None, part], source.weight[None, part]
        self.loss = None if source.loss is None else source.loss[None, part]
        self.offset = None if source.offset is None else source.offset[None, part]
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


RowBlock = PaddedRows | SparseRows


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
    sizes = counts[order]
    keep = int(counts.sum()) * p <= _KEPT_ENTRIES
    thin = is_sparse(source.Z) and is_thin(source.Z)
    blocks: list[RowBlock] = []
    start = 0
    while start < len(order):
        if thin and sizes[start] >= p:
            # Padded with others it would be dense.
            end = start + 1
        else:
            longest = int(_PADDING * sizes[start]) + _FEW
            end = int(np.searchsorted(sizes, longest, side="right"))
            entries = np.minimum(sizes[start:end], p) * p * np.arange(1, end - start + 1)
            end = start + max(1, int(np.searchsorted(entries, _BLOCK_ENTRIES, side="right")))
        tasks = np.sort(order[start:end])
        alone = len(tasks) == 1 and is_sparse(source.Z) and source.width > _FEW
        blocks.append(
            SparseRows(source, int(tasks[0])) if alone else PaddedRows(source, tasks, keep)
        )
        start = end
    return blocks


@dataclass(frozen=True, eq=False)
class Spread:
    """The normal deviations of tasks: covariance C = L L' in the varying columns."""

    # Shapes: covariance (q, q), factor (q, r), varying (q,).

    covariance: Array
    factor: Array
    varying: Index

    @classmethod
    def of(cls, factor: Array, varying: Index) -> Spread:
        """Return the spread with a factor of any width; columns of zeros are left out."""
        covariance = _square_of(factor)
        factor = factor[:, np.any(factor != 0.0, axis=0)]
        if factor.shape[1] > factor.shape[0]:
            return cls.from_covariance(np.asarray(covariance), varying)
        return cls(np.asarray(covariance), factor, varying)

    @classmethod
    def from_covariance(cls, covariance: Array, varying: Index) -> Spread:
        """Return the spread of a covariance, which may be singular."""
        diagonal = np.diagonal(covariance)
        if np.count_nonzero(covariance) == np.count_nonzero(diagonal):
            return cls(covariance, np.diag(np.sqrt(diagonal)), varying)
        values, vectors = np.linalg.eigh(covariance)
        return cls(covariance, vectors * np.sqrt(np.maximum(values, 0.0)), varying)

    @property
    def rank(self) -> int:
        """Number of columns of the factor."""
        return int(self.factor.shape[1])

    @property
    def is_narrow(self) -> bool:
        """Whether products with L and L' are less work than with C."""
        return 2 * self.rank < len(self.varying)

    def times(self, vectors: Array) -> Array:
        """Return C v for every row v of an array (..., q)."""
        if self._diagonal is not None:
            return np.asarray(vectors * self._diagonal**2)
        if self.is_narrow:
            return np.asarray((vectors @ self.factor) @ self.factor.T)
        return np.asarray(vectors @ self.covariance)

    def reduce(self, matrices: Array) -> Array:
        """Return L' M for matrices M (B, q, k), shape (B, r, k)."""
        if self._diagonal is None:
            return np.asarray(self.factor.T @ matrices)
        return np.asarray(self._diagonal[:, None] * matrices)

    def reduce_right(self, matrices: Array) -> Array:
        """Return M L for matrices M (B, k, q), shape (B, k, r)."""
        if self._diagonal is None:
            return np.asarray(matrices @ self.factor)
        return np.asarray(matrices * self._diagonal)

    def __post_init__(self) -> None:
        """Remember whether L is diagonal, which saves most of the work of wide tasks."""
        square = self.factor.shape[0] == self.factor.shape[1]
        diagonal = np.diagonal(self.factor).copy()
        same = square and np.count_nonzero(self.factor) == np.count_nonzero(diagonal)
        object.__setattr__(self, "_diagonal", diagonal if same else None)

    _diagonal: Array | None = None


class TaskPosterior(ABC):
    """Tasks at given curvatures, where their likelihood is taken as normal.

    T = Z'R Z of every task is what their rows say about mu, R the inverse of the covariance of
    working responses, ``(D^-1 + X C X')^-1``: in the form that is smaller, of p x p or n x n.
    """

    # A leaf sets what its rows say once mu is known.
    tasks: Index
    _known: Reduced

    def __init__(self, width: int, spread: Spread) -> None:
        self._spread = spread
        every = len(spread.varying) == width
        self._V: Chosen = slice(None) if every else spread.varying

    @property
    def log_determinant(self) -> float:
        """What the tasks add to the log determinant of the posterior precision."""
        return float(self._known.log_determinant.sum())

    def _in_weights(self, T: Array) -> ReducedMoments:
        """Return what moments (B, p, p) say."""
        spread = self._spread
        logs, none = np.zeros(len(T)), np.zeros((len(T), 0))
        if spread.rank:
            reduced = spread.reduce(T[:, self._V])
            inner = spread.reduce_right(reduced[:, :, self._V]) + np.eye(spread.rank)
            root = np.asarray(np.linalg.cholesky(inner), dtype=np.float64)
            logs = 2.0 * np.log(_diagonals(root)).sum(axis=1)
            half = solve_lower(root, reduced)
            T = T - half.transpose(0, 2, 1) @ half
        return ReducedMoments(T, none[:, None], none, logs)

    def information(self) -> Array:
        """Return the sum of T over the tasks, shape (p, p)."""
        return self._known.precision(slice(None))

    def reduced(self, beta: Array, mean: Array | float = 0.0) -> Array:
        """Return Z'((I - R X C X') b - R Z mean), given beta = Z'b, both of shape (B, p)."""
        w = np.zeros_like(beta)
        w[:, self._V] = self._spread.times(beta[:, self._V])
        return np.asarray(beta - self._known.product(w + mean))

    def response(self, beta: Array, mean: Array) -> Array:
        """Return the varying columns of :meth:`reduced`, shape (B, q)."""
        return self.reduced(beta, mean)[:, self._V]

    def restricted(self, inverse_root: Array | None) -> Array:
        """Return the sum of X'(R - R Z S^-1 Z'R) X, shape (q, q)."""
        # `inverse_root` is a matrix K with K'K = S^-1; None leaves the second term out.
        total = self._known.precision(self._V)
        if inverse_root is not None:
            F = self._known.couplings(inverse_root.T, self._V)
            flat = np.swapaxes(F, 1, 2).reshape(-1, len(total))
            total = total - flat.T @ flat
        return total

    def restricted_diagonal(self, inverse_root: Array | None) -> Array:
        """Return the diagonal of :meth:`restricted`, shape (q,)."""
        total = self._known.precision_diagonal(self._V)
        if inverse_root is not None:
            F = self._known.couplings(inverse_root.T, self._V)
            total = total - np.einsum("bij,bij->i", F, F)
        return total

    def pair_information(self) -> Array:
        """Return the expected information about pairs of mirrored entries of C, shape (q, q)."""
        return self._known.information(self._V)

    def _covariances(self, T: Array) -> Array:
        """Return the posterior covariances of the tasks where mu is known, shape (B, p, p)."""
        V, C = self._spread.varying, self._spread
        M = np.zeros(T.shape)
        shared = C.times(T[:, V][:, :, V])
        M[np.ix_(np.arange(len(T)), V, V)] = C.covariance - C.times(shared.transpose(0, 2, 1))
        return M

    def _moves(self, T: Array, inverse_root: Array) -> Array:
        """Return K (I - Z'R X C): how a change of mu moves the coefficients, shape (B, p, p)."""
        V = self._spread.varying
        half = np.broadcast_to(inverse_root, T.shape).copy()
        half[:, :, V] -= inverse_root @ self._spread.times(T[:, :, V])
        return half


class GramPosterior(TaskPosterior):
    """Tasks of which the gradient and the curvature are known, and the rows are elsewhere."""

    # Shapes: tasks (B,), gram (B, p, p), right (B, p): gram times coefficients less the gradient.

    def __init__(self, tasks: Index, gram: Array, right: Array, spread: Spread) -> None:
        super().__init__(gram.shape[1], spread)
        self.tasks, self.gram, self.right = tasks, gram, right
        self._known: ReducedMoments = self._in_weights(gram)

    def covariances(self, inverse_root: Array | None) -> Array:
        """Return the posterior covariances of the coefficients of the tasks, (B, p, p)."""
        T = self._known.gram
        found = self._covariances(T)
        if inverse_root is not None:
            half = self._moves(T, inverse_root)
            found += half.transpose(0, 2, 1) @ half
        return found


class BlockPosterior(TaskPosterior):
    """The tasks of a block, with their rows."""

    def __init__(self, rows: RowBlock, curvature: Array, spread: Spread) -> None:
        super().__init__(rows.width, spread)
        self.rows, self.tasks = rows, rows.tasks
        few = rows.y.shape[1] < rows.width
        self._known = self._in_rows(curvature) if few else self._in_weights(rows.gram(curvature))

    def _in_rows(self, curvature: Array) -> ReducedRows:
        root, Z = np.sqrt(curvature), self.rows.dense()
        XL = self._spread.reduce_right(Z[:, :, self._V])
        self._kernel, n = XL @ XL.transpose(0, 2, 1), root.shape[1]
        inner = np.eye(n) + root[:, :, None] * self._kernel * root[:, None, :]
        triangle = np.asarray(np.linalg.cholesky(inner), dtype=np.float64)
        logs = 2.0 * np.log(_diagonals(triangle)).sum(axis=1)
        self._half = solve_lower(triangle, np.eye(n) * root[:, None, :])
        return ReducedRows(self._half @ Z, self._half[:, :, :0], logs)

    def variances(self, inverse_root: Array | None) -> Array:
        """Return the posterior variance of the linear predictor of every row, shape (B, n)."""
        # With the uncertainty S^-1 of mu, unless `inverse_root` is None.
        if isinstance(self._known, ReducedRows):
            return self._variances_in_rows(self._known.rows, inverse_root)
        if self._spread.is_narrow:
            return self._narrow_variances(self._known.gram, inverse_root)
        return self._variances_in_weights(self._known.gram, inverse_root)

    def _variances_in_weights(self, T: Array, inverse_root: Array | None) -> Array:
        own = self.rows.forms(self._covariances(T))
        if inverse_root is None:
            return own
        return own + self.rows.squares(self._moves(T, inverse_root))

    def _narrow_variances(self, T: Array, inverse_root: Array | None) -> Array:
        """Return the variances by products with the few columns of L."""
        L = np.zeros((self.rows.width, self._spread.rank))
        L[self._spread.varying] = self._spread.factor
        TL = T @ L
        middle = np.eye(L.shape[1]) - L.T @ TL
        along = self.rows.times(np.broadcast_to(L, TL.shape))
        if inverse_root is None:
            return _inner(along @ middle, along)
        known = inverse_root @ TL
        middle = middle + known.transpose(0, 2, 1) @ known
        across = self.rows.times(inverse_root.T @ known)
        half = np.broadcast_to(inverse_root, T.shape)
        return self.rows.squares(half) + _inner(along @ middle - 2.0 * across, along)

    def _variances_in_rows(self, part: Array, inverse_root: Array | None) -> Array:
        seen = self._half @ self._kernel
        own = _diagonals(self._kernel) - np.einsum("bij,bij->bj", seen, seen)
        if inverse_root is None:
            return np.asarray(own)
        moved = (self.rows.dense() - seen.transpose(0, 2, 1) @ part) @ inverse_root.T
        return np.asarray(own + _inner(moved, moved))


def _square_of(factor: Array) -> Array:
    """Return L L', at once if L is diagonal."""
    own = np.diagonal(factor)
    square = factor.shape[0] == factor.shape[1]
    if square and np.count_nonzero(factor) == np.count_nonzero(own):
        return np.diag(own**2)
    return np.asarray(factor @ factor.T)


def _inner(left: Array, right: Array) -> Array:
    return np.asarray(np.einsum("bni,bni->bn", left, right))


def _diagonals(matrices: Array) -> Array:
    return np.asarray(np.diagonal(matrices, axis1=1, axis2=2))
