"""What the posterior of the tasks of one block needs, by Cholesky in min(n_t, p).

Notation: w_t = mu + u_t with u_t ~ N(0, C) in the varying columns X of Z; D the curvature of the
loss in the rows; ``R = (D^-1 + X C X')^-1``; ``T = Z' R Z``, what a task tells about mu.
Every quantity is a product with R or T, so a variance of zero in C, or a curvature of zero in a
row, is an ordinary case.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.bayes.laplace_rows import RowBlock
from polytask.bayes.triangular import solve_lower

Array = NDArray[np.float64]
Index = NDArray[np.intp]


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


class BlockPosterior(ABC):
    """Products with R and T of the tasks of a block, at given curvatures."""

    rows: RowBlock
    log_determinant: float

    @abstractmethod
    def information(self) -> Array:
        """Return the sum of T over the tasks, shape (p, p)."""

    @abstractmethod
    def reduced(self, beta: Array) -> Array:
        """Return Z'(I - R X C X') b of every task, given beta = Z'b of shape (B, p)."""

    @abstractmethod
    def response(self, beta: Array, mean: Array) -> Array:
        """Return X'((I - R X C X') b - R Z mean), shape (B, q), given beta = Z'b."""

    @abstractmethod
    def restricted(self, inverse_root: Array | None) -> Array:
        """Return the sum of X'(R - R Z S^-1 Z'R) X, shape (q, q)."""
        # `inverse_root` is a matrix K with K'K = S^-1; None leaves the second term out.

    @abstractmethod
    def restricted_diagonal(self, inverse_root: Array | None) -> Array:
        """Return the diagonal of :meth:`restricted`, shape (q,)."""

    @abstractmethod
    def squared_diagonal(self) -> Array:
        """Return the sum over the tasks of the squares of the diagonal of X'R X, shape (q,)."""

    @abstractmethod
    def variances(self, inverse_root: Array | None) -> Array:
        """Return the posterior variance of the linear predictor of every row, shape (B, n)."""
        # With the uncertainty S^-1 of mu, unless `inverse_root` is None.


def block_posterior(rows: RowBlock, curvature: Array, spread: Spread) -> BlockPosterior:
    """Return the posterior of a block in the smaller of the two forms."""
    few = rows.y.shape[1] < rows.width
    return (KernelPosterior if few else WeightPosterior)(rows, curvature, spread)


class WeightPosterior(BlockPosterior):
    """At least as many rows as columns: matrices of p x p."""

    def __init__(self, rows: RowBlock, curvature: Array, spread: Spread) -> None:
        self.rows, self._spread = rows, spread
        V = spread.varying
        T = rows.gram(curvature)
        if spread.rank:
            reduced = spread.reduce(T[:, V])
            inner = spread.reduce_right(reduced[:, :, V]) + np.eye(spread.rank)
            root = np.asarray(np.linalg.cholesky(inner), dtype=np.float64)
            self.log_determinant = 2.0 * float(np.log(_diagonals(root)).sum())
            half = solve_lower(root, reduced)
            T = T - half.transpose(0, 2, 1) @ half
        else:
            self.log_determinant = 0.0
        self._T = T

    def information(self) -> Array:
        """Return the sum of T."""
        return np.asarray(self._T.sum(axis=0))

    def reduced(self, beta: Array) -> Array:
        """Return Z'(I - R X C X') b."""
        V, C = self._spread.varying, self._spread
        return np.asarray(beta - (self._T[:, :, V] @ C.times(beta[:, V])[:, :, None])[:, :, 0])

    def response(self, beta: Array, mean: Array) -> Array:
        """Return X'((I - R X C X') b - R Z mean)."""
        V = self._spread.varying
        return self.reduced(beta)[:, V] - np.asarray(self._T[:, V] @ mean)

    def restricted(self, inverse_root: Array | None) -> Array:
        """Return the sum of X'(R - R Z S^-1 Z'R) X."""
        V = self._spread.varying
        total = self._T[:, V][:, :, V].sum(axis=0)
        if inverse_root is not None:
            for part in inverse_root @ self._T[:, :, V]:
                total = total - part.T @ part
        return np.asarray(total)

    def restricted_diagonal(self, inverse_root: Array | None) -> Array:
        """Return the diagonal of the sum of X'(R - R Z S^-1 Z'R) X."""
        V = self._spread.varying
        total = _diagonals(self._T).sum(axis=0)[V]
        if inverse_root is not None:
            for part in inverse_root @ self._T[:, :, V]:
                total = total - np.einsum("ij,ij->j", part, part)
        return np.asarray(total)

    def squared_diagonal(self) -> Array:
        """Return the sum of the squares of the diagonal of X'R X."""
        return np.asarray(np.sum(_diagonals(self._T) ** 2, axis=0)[self._spread.varying])

    def variances(self, inverse_root: Array | None) -> Array:
        """Return the posterior variances of the linear predictors."""
        if self._spread.is_narrow:
            return self._narrow_variances(inverse_root)
        own = self.rows.forms(self._own_covariances())
        if inverse_root is None:
            return own
        # I - Z'R X C: how a change of mu moves the coefficients.
        V, C = self._spread.varying, self._spread
        half = np.broadcast_to(inverse_root, self._T.shape).copy()
        half[:, :, V] -= inverse_root @ C.times(self._T[:, :, V])
        return own + self.rows.squares(half)

    def _own_covariances(self) -> Array:
        """Return the posterior covariances of the deviations, shape (B, p, p)."""
        V, C = self._spread.varying, self._spread
        B = len(self._T)
        M = np.zeros(self._T.shape)
        shared = C.times(self._T[:, V][:, :, V])
        M[np.ix_(np.arange(B), V, V)] = C.covariance - C.times(shared.transpose(0, 2, 1))
        return M

    def _narrow_variances(self, inverse_root: Array | None) -> Array:
        """Return the variances by products with the few columns of L."""
        L = np.zeros((self.rows.width, self._spread.rank))
        L[self._spread.varying] = self._spread.factor
        TL = self._T @ L
        middle = np.eye(L.shape[1]) - L.T @ TL
        along = self.rows.times(np.broadcast_to(L, TL.shape))
        if inverse_root is None:
            return _inner(along @ middle, along)
        known = inverse_root @ TL
        middle = middle + known.transpose(0, 2, 1) @ known
        across = self.rows.times(inverse_root.T @ known)
        half = np.broadcast_to(inverse_root, self._T.shape)
        return self.rows.squares(half) + _inner(along @ middle - 2.0 * across, along)


class KernelPosterior(BlockPosterior):
    """Fewer rows than columns: matrices of n_t x n_t."""

    def __init__(self, rows: RowBlock, curvature: Array, spread: Spread) -> None:
        self.rows, self._spread = rows, spread
        root = np.sqrt(curvature)
        XL = spread.reduce_right(rows.dense()[:, :, spread.varying])
        self._kernel = XL @ XL.transpose(0, 2, 1)
        n = root.shape[1]
        inner = np.eye(n) + root[:, :, None] * self._kernel * root[:, None, :]
        triangle = np.asarray(np.linalg.cholesky(inner), dtype=np.float64)
        self.log_determinant = 2.0 * float(np.log(_diagonals(triangle)).sum())
        half = solve_lower(triangle, np.eye(n) * root[:, None, :])
        self._R = half.transpose(0, 2, 1) @ half
        self._half = half

    def information(self) -> Array:
        """Return the sum of T."""
        part = (self._half @ self.rows.dense()).reshape(-1, self.rows.width)
        return np.asarray(part.T @ part)

    def reduced(self, beta: Array) -> Array:
        """Return Z'(I - R X C X') b."""
        return np.asarray(beta - self.rows.project(self._weighted(self._shared(beta))))

    def response(self, beta: Array, mean: Array) -> Array:
        """Return X'((I - R X C X') b - R Z mean)."""
        moved = self._shared(beta) + self.rows.dense() @ mean
        V = self._spread.varying
        return np.asarray(beta[:, V] - self.rows.project(self._weighted(moved))[:, V])

    def restricted(self, inverse_root: Array | None) -> Array:
        """Return the sum of X'(R - R Z S^-1 Z'R) X."""
        Z = self.rows.dense()
        part = self._half @ Z
        X = part[:, :, self._spread.varying]
        flat = X.reshape(-1, X.shape[2])
        total = flat.T @ flat
        if inverse_root is not None:
            known = part @ inverse_root.T
            cross = (known.transpose(0, 2, 1) @ X).reshape(-1, X.shape[2])
            total = total - cross.T @ cross
        return np.asarray(total)

    def restricted_diagonal(self, inverse_root: Array | None) -> Array:
        """Return the diagonal of the sum of X'(R - R Z S^-1 Z'R) X."""
        part = self._half @ self.rows.dense()
        X = part[:, :, self._spread.varying]
        total = np.einsum("bij,bij->j", X, X)
        if inverse_root is not None:
            cross = (part @ inverse_root.T).transpose(0, 2, 1) @ X
            total = total - np.einsum("bij,bij->j", cross, cross)
        return np.asarray(total)

    def squared_diagonal(self) -> Array:
        """Return the sum of the squares of the diagonal of X'R X."""
        X = (self._half @ self.rows.dense())[:, :, self._spread.varying]
        return np.asarray(np.sum(np.einsum("bij,bij->bj", X, X) ** 2, axis=0))

    def variances(self, inverse_root: Array | None) -> Array:
        """Return the posterior variances of the linear predictors."""
        K = self._kernel
        left = np.einsum("bij,bji->bi", K @ self._R, K)
        own = np.diagonal(K, axis1=1, axis2=2) - left
        if inverse_root is None:
            return np.asarray(own)
        Z = self.rows.dense()
        moved = (Z - K @ (self._R @ Z)) @ inverse_root.T
        return np.asarray(own + np.einsum("bij,bij->bi", moved, moved))

    def _shared(self, beta: Array) -> Array:
        """Return X C X' b, shape (B, n)."""
        V = self._spread.varying
        wide = np.zeros_like(beta)
        wide[:, V] = self._spread.times(beta[:, V])
        return self.rows.eta(wide)

    def _weighted(self, values: Array) -> Array:
        return np.asarray((self._R @ values[:, :, None])[:, :, 0])


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
