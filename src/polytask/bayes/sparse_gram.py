"""Compiled products of sparse rows; importing this module imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from polytask.penalties.row_kernels import compiled

Array = NDArray[np.float64]
_INDEX = types.int64[::1]
_VECTOR = types.float64[::1]


def sparse_gram(Z: Any, weight: Array) -> Array:  # noqa: ANN401 - a sparse matrix
    """Return Z' diag(weight) Z, dense. Shapes: Z (n, p), weight (n,), result (p, p)."""
    # A general product of sparse matrices looks for the places of the result first, which takes as
    # long as the sums where most of them are filled.
    total = np.zeros((Z.shape[1], Z.shape[1]))
    starts, columns = (np.ascontiguousarray(a, dtype=np.int64) for a in (Z.indptr, Z.indices))
    _add_rows(starts, columns, Z.data, np.ascontiguousarray(weight), total)
    return np.asarray(total + np.triu(total, 1).T)


@compiled(types.void(_INDEX, _INDEX, _VECTOR, _VECTOR, types.float64[:, ::1]))
def _add_rows(
    starts: Any,  # noqa: ANN401 - arrays of numba
    columns: Any,  # noqa: ANN401
    values: Any,  # noqa: ANN401
    weight: Any,  # noqa: ANN401
    total: Any,  # noqa: ANN401
) -> None:
    """Add the outer products of the rows on and above the diagonal."""
    for i in range(weight.size):
        first, last = starts[i], starts[i + 1]
        for k in range(first, last):
            scaled = weight[i] * values[k]
            row = columns[k]
            for m in range(k, last):
                total[row, columns[m]] += scaled * values[m]


def sparse_forms(Z: Any, M: Array) -> Array:  # noqa: ANN401 - a sparse matrix
    """Return z' M z of every row, M symmetric. Shapes: Z (n, p), M (p, p), result (n,)."""
    # A product with a dense matrix works out all p numbers of a row, of which few are wanted.
    found = np.empty(Z.shape[0])
    starts, columns = (np.ascontiguousarray(a, dtype=np.int64) for a in (Z.indptr, Z.indices))
    _forms(starts, columns, np.ascontiguousarray(Z.data), np.ascontiguousarray(M), found)
    return found


@compiled(types.void(_INDEX, _INDEX, _VECTOR, types.float64[:, ::1], _VECTOR))
def _forms(
    starts: Any,  # noqa: ANN401 - arrays of numba
    columns: Any,  # noqa: ANN401
    values: Any,  # noqa: ANN401
    matrix: Any,  # noqa: ANN401
    found: Any,  # noqa: ANN401
) -> None:
    """Sum up the products of all pairs of a row, those of two different ones twice."""
    for i in range(found.size):
        total = 0.0
        for k in range(starts[i], starts[i + 1]):
            row = columns[k]
            own = 0.5 * values[k] * matrix[row, row]
            for m in range(starts[i], k):
                own += values[m] * matrix[row, columns[m]]
            total += 2.0 * values[k] * own
        found[i] = total
