"""Means and variances of features, in as few passes over the rows as exactness allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Numbers of a design that are taken at a time, and the fewest rows.
_CHUNK = 2**17
_FEWEST_ROWS = 256
# A variance below this share of the mean square is summed again, about the mean.
_NEAR = 1e-4
# Rows that tell where a feature lies.
_LOOKED_AT = 64


def dense_moments(
    X: NDArray[Any], rows: Array, exists: NDArray[np.bool_] | None
) -> tuple[Array, Array]:
    """Return weighted means and variances of the columns, in one pass while that is exact."""
    # Shapes: X (n_rows, n_features), rows (n_rows,), exists (n_rows, n_features).
    mean, variance, lost = _moments_about(X, rows, exists, None)
    if lost.any():
        again = None if exists is None else exists[:, lost]
        mean[lost], variance[lost], _ = _moments_about(X[:, lost], rows, again, mean[lost])
    return mean, variance


def _near(cells: Array, seen: NDArray[np.bool_] | None) -> Array:
    """Return a point near some rows; a column that is constant is met exactly."""
    away = cells[:_LOOKED_AT] - cells[0]
    if seen is None:
        return np.asarray(cells[0] + away.mean(axis=0))
    seen = seen[:_LOOKED_AT]
    return np.asarray(cells[0] + (away * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1))


def _moments_about(
    X: NDArray[Any], rows: Array, exists: NDArray[np.bool_] | None, shift: Array | None
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return means, variances, and which variances lost digits to a shift far from the mean."""
    # Without a shift the first rows tell what is near.
    n, d = X.shape
    height = min(max(_CHUNK // max(d, 1), _FEWEST_ROWS), n)
    width = max(_CHUNK // height, 1)
    first, second, total = np.zeros(d), np.zeros(d), np.full(d, rows.sum())
    near = np.empty(d) if shift is None else shift
    if exists is not None:
        total = np.maximum(rows @ exists, np.finfo(float).tiny)
    for left in range(0, d, width):
        columns = slice(left, left + width)
        for top in range(0, n, height):
            part, own = slice(top, top + height), rows[top : top + height]
            seen = None if exists is None else exists[part, columns]
            cells = X[part, columns].astype(float, copy=False)
            if shift is None and top == 0:
                near[columns] = _near(cells, seen)
            away = cells - near[columns]
            away = away if seen is None else away * seen
            first[columns] += own @ away
            away *= away
            second[columns] += own @ away
    away_mean, square = first / total, second / total
    variance = np.maximum(square - away_mean**2, 0.0)
    return near + away_mean, variance, variance < _NEAR * square


def sparse_moments(X: Any, rows: Array) -> tuple[Array, Array]:  # noqa: ANN401 - CSR
    """Return the same of a sparse matrix. Shapes: X (n_rows, n_features), rows (n_rows,)."""
    total = rows.sum()
    mean = np.asarray(X.T @ rows, dtype=float) / total
    # Stored entries about the mean, plus the zeros about it.
    away = X.data - mean[X.indices]
    stored = _with_entries(X, away * away).T @ rows
    zeros = np.maximum(total - _with_entries(X, np.ones(len(away))).T @ rows, 0.0)
    return mean, (stored + zeros * mean**2) / total


def _with_entries(X: Any, entries: Array) -> Any:  # noqa: ANN401 - CSR
    """Return a matrix with other numbers in the same places."""
    return sp.csr_array((entries, X.indices, X.indptr), shape=X.shape, copy=False)
