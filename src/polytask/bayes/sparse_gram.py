"""The compiled Gram matrix of sparse rows; importing this module imports numba."""

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
