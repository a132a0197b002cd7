"""Designs with more features than rows, in the coordinates of the space that the rows span.

With independent coefficients of one variance, of tasks and of their mean, nothing changes when
the features are rotated. In an orthonormal basis whose first vectors span the rows, all other
coordinates of every row are zero: their coefficients stay as the prior has them. So the rows
need as many coordinates as there are rows, and one more holds how far a further row reaches out
of their space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from polytask._registry import saveable

Array = NDArray[np.float64]

# What is left of a row outside the space counts as rounding below this share of its length.
_ROUNDING = 1e-6
# Directions of new rows that are shorter than this share of the longest row add nothing.
_SHORT = 1e-10


@saveable("bayes.row_space")
@dataclass(frozen=True, eq=False)
class RowSpace:
    """An orthonormal basis of the space that rows span. Shapes: basis (d, r)."""

    basis: Array

    @classmethod
    def of(cls, X: Array) -> RowSpace:
        """Return the space of rows. Shapes: X (n, d)."""
        basis = scipy.linalg.qr(X.T, mode="economic", check_finite=False)[0]
        return cls(np.asarray(basis, dtype=np.float64))

    @property
    def n_features(self) -> int:
        """Number of features, d."""
        return len(self.basis)

    @property
    def width(self) -> int:
        """Number of coordinates of a row with a one in front, r + 2."""
        return int(self.basis.shape[1]) + 2

    def coordinates(self, Z: Array) -> Array:
        """Return rows in the coordinates of the space. Shapes: Z (n, 1 + d), result (n, r + 2)."""
        X = Z[:, 1:]
        inside = X @ self.basis
        square = np.einsum("ij,ij->i", X, X)
        left = square - np.einsum("ij,ij->i", inside, inside)
        outside = np.where(left > _ROUNDING**2 * square, left, 0.0)
        return np.column_stack([Z[:, :1], inside, np.sqrt(outside)])

    def lifted(self, W: Array) -> Array:
        """Return coefficients of the features, shape (k, 1 + d), of those of coordinates."""
        return np.column_stack([W[:, :1], W[:, 1:-1] @ self.basis.T])

    def lowered(self, W: Array) -> Array:
        """Return the coordinates of coefficients (k, 1 + d) that lie in the space."""
        return np.column_stack([W[:, :1], W[:, 1:] @ self.basis, np.zeros(len(W))])

    def extended(self, X: Array) -> RowSpace:
        """Return a space that holds further rows too; the first vectors stay. Shapes: X (m, d)."""
        left = X - (X @ self.basis) @ self.basis.T
        longest = float(np.sqrt(np.max(np.einsum("ij,ij->i", X, X), initial=0.0)))
        if np.linalg.norm(left) <= _SHORT * longest:
            return self
        vectors, lengths, _ = np.linalg.svd(left.T, full_matrices=False)
        new = vectors[:, lengths > _SHORT * longest]
        # Short directions are the rounding of long ones: they are made orthogonal once more.
        new = new - self.basis @ (self.basis.T @ new)
        return RowSpace(np.column_stack([self.basis, np.linalg.qr(new).Q]))


def opened_square(M: Array, more: int) -> Array:
    """Return a covariance with `more` coordinates before the last, which is like them."""
    # Shapes: M (k, k).
    k = len(M)
    out = np.zeros((k + more, k + more))
    out[: k - 1, : k - 1] = M[:-1, :-1]
    tail = np.arange(k - 1, k + more)
    out[tail, tail] = M[-1, -1]
    return out


def opened_rows(rows: Array, more: int) -> Array:
    """Return rows, or coefficients, with `more` zeros before the last column."""
    return np.insert(rows, [rows.shape[-1] - 1] * more, 0.0, axis=-1)
