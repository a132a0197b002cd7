"""Rows in the coordinates in which a quadratic pull is a plain ridge penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._linalg import is_sparse

Array = NDArray[np.float64]

# Directions whose squared length is below this share of the longest are rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A pull of coefficients and of the level at the mean of the features."""

    # Shapes: mean (n_features,), strength (n_features,).

    mean: Array
    strength: Array
    level: float


@dataclass(frozen=True, eq=False)
class Basis:
    """Predictions and coefficients as functions of r coordinates."""

    # Shapes: Z (n_rows, r), back (n_features + 1, r), mean (n_features,).
    # With u the coordinates, predictions change by ``Z u`` and the pull is ``||u||^2 / 2``.

    Z: Array
    back: Array
    mean: Array

    def rows(self, index: NDArray[np.intp]) -> Array:
        """Return some of the rows of Z."""
        return self.Z[index]

    def changes(self, u: Array) -> tuple[Array, Array]:
        """Return the changes of coefficients and intercepts."""
        # Shapes: u (r, n_columns), coef (n_columns, n_features), intercept (n_columns,).
        moved = self.back @ u
        return moved[:-1].T, moved[-1] - self.mean @ moved[:-1]


def basis_of(X: Any, pull: Quadratic) -> Basis:  # noqa: ANN401 - ndarray or CSR
    """Return the basis of some rows. Shapes: X (n_rows, n_features)."""
    give = _inverse_roots(np.append(pull.strength, pull.level))
    n, width = X.shape[0], X.shape[1] + 1
    centred = _Centred(X, pull.mean, give)
    few = n <= width
    values, vectors = np.linalg.eigh(centred.outer() if few else centred.inner())
    kept = values > _ROUNDING * max(float(values[-1]), 0.0) if len(values) else values > 0
    values, vectors = values[kept], vectors[:, kept]
    if few:
        root = np.sqrt(values)
        return Basis(vectors * root, give[:, None] * centred.adjoint(vectors / root), pull.mean)
    return Basis(centred.forward(vectors), give[:, None] * vectors, pull.mean)


def _inverse_roots(strength: Array) -> Array:
    free = np.isfinite(strength)
    # What is not held at all is held by a trace, so that one row cannot throw it anywhere.
    least = np.where(free, strength, 0.0).max(initial=0.0) * 1e-9 or 1.0
    return np.where(free, 1.0 / np.sqrt(np.maximum(np.where(free, strength, 1.0), least)), 0.0)


@dataclass(frozen=True, eq=False)
class _Centred:
    """The matrix [(X - 1 mean') D, d 1] of a dense or sparse X, never formed if sparse."""

    X: Any
    mean: Array
    give: Array

    def _scaled(self) -> Any:  # noqa: ANN401 - ndarray or CSR
        return self.X.multiply(self.give[None, :-1]).tocsr()

    def _dense(self) -> Array:
        body = (np.asarray(self.X, dtype=np.float64) - self.mean) * self.give[:-1]
        return np.column_stack([body, np.full(self.X.shape[0], self.give[-1])])

    def outer(self) -> Array:
        """Return A A', of shape (n_rows, n_rows)."""
        if not is_sparse(self.X):
            dense = self._dense()
            return dense @ dense.T
        scaled, centre = self._scaled(), self.mean * self.give[:-1]
        cross = np.asarray(scaled @ centre)
        product = (scaled @ scaled.T).toarray() - cross[:, None] - cross[None, :]
        return np.asarray(product + centre @ centre + self.give[-1] ** 2)

    def inner(self) -> Array:
        """Return A' A, of shape (n_features + 1, n_features + 1)."""
        if not is_sparse(self.X):
            dense = self._dense()
            return dense.T @ dense
        n, scaled, centre = self.X.shape[0], self._scaled(), self.mean * self.give[:-1]
        sums = np.asarray(scaled.sum(axis=0)).ravel()
        body = (scaled.T @ scaled).toarray() - np.outer(sums, centre) - np.outer(centre, sums)
        body = body + n * np.outer(centre, centre)
        side = self.give[-1] * (sums - n * centre)
        return np.block(
            [[body, side[:, None]], [side[None, :], np.array([[n * self.give[-1] ** 2]])]]
        )

    def forward(self, V: Array) -> Array:
        """Return A V."""
        if not is_sparse(self.X):
            return np.asarray(self._dense() @ V)
        scaled, centre = self._scaled(), self.mean * self.give[:-1]
        return np.asarray(scaled @ V[:-1] - centre @ V[:-1] + self.give[-1] * V[-1])

    def adjoint(self, U: Array) -> Array:
        """Return A' U."""
        if not is_sparse(self.X):
            return np.asarray(self._dense().T @ U)
        sums = U.sum(axis=0)
        body = self._scaled().T @ U - np.outer(self.mean * self.give[:-1], sums)
        return np.vstack([body, self.give[-1] * sums[None, :]])
