"""The compiled sweep with residuals of a sparse design; importing this module imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from polytask.penalties.row_kernels import LIMITS, compiled, part_of_compiled
from polytask.solvers._kernels_parts import (
    BESIDE,
    MATRIX,
    PROX,
    VECTOR,
    coupled_move,
    move,
    pulled,
)


@part_of_compiled
def _gather(row: Any, stored: Any, residual: Any) -> None:  # noqa: ANN401
    """Add the residuals of the rows of a feature, times its entries."""
    rows, values = stored
    for k in range(rows.size):
        i, x = rows[k], values[k]
        for t in range(row.size):
            row[t] += x * residual[i, t]


@part_of_compiled
def _scatter(row: Any, stored: Any, residual: Any) -> None:  # noqa: ANN401
    """Take a change of its coefficients off the residuals of the rows of a feature."""
    rows, values = stored
    for k in range(rows.size):
        i, x = rows[k], values[k]
        for t in range(row.size):
            residual[i, t] -= x * row[t]


@compiled(
    types.float64(
        types.int32[::1],
        types.int32[::1],
        VECTOR,
        *[VECTOR] * 2,
        *[MATRIX] * 5,
        *[VECTOR] * 3,
        *BESIDE,
        LIMITS,
        VECTOR,
        PROX,
    )
)
def sweep_sparse(
    starts: Any,  # noqa: ANN401 - arrays of numba
    rows: Any,  # noqa: ANN401
    values: Any,  # noqa: ANN401
    first: Any,  # noqa: ANN401
    centre: Any,  # noqa: ANN401
    residual: Any,  # noqa: ANN401
    shift: Any,  # noqa: ANN401
    level: Any,  # noqa: ANN401
    mean_residual: Any,  # noqa: ANN401
    W: Any,  # noqa: ANN401
    curvature: Any,  # noqa: ANN401
    scale: Any,  # noqa: ANN401
    mean: Any,  # noqa: ANN401
    pull: Any,  # noqa: ANN401
    ridge: float,
    coupling: Any,  # noqa: ANN401
    spectral_bound: float,
    limits: Any,  # noqa: ANN401
    parameters: Any,  # noqa: ANN401
    prox: Any,  # noqa: ANN401
) -> float:
    """Minimise over each row in turn, with the residuals of a sparse design."""
    # Shapes: first, centre (s,), mean_residual (1, n_columns).
    s, columns = W.shape
    row = np.empty(columns)
    alike = limits[0].size == 0 and limits[1].size == 0
    total = 0.0
    for j in range(s):
        if not curvature[j] > 0.0:
            continue
        stored = rows[starts[j] : starts[j + 1]], values[starts[j] : starts[j + 1]]
        for t in range(columns):
            row[t] = first[j] * shift[0, t] - centre[j] * (level[0, t] + shift[0, t])
        _gather(row, stored, residual)
        row *= scale
        if pull.shape[0] > 0:
            row += mean[j] * mean_residual[0]
        if coupling.size > 0:
            square = coupled_move(
                row,
                W,
                j,
                curvature[j],
                ridge,
                coupling,
                spectral_bound,
                limits,
                (parameters, prox),
            )
        else:
            square = move(row, W, j, curvature[j], ridge, alike, limits, (parameters, prox))
        if square == 0.0:
            continue
        total += (curvature[j] + spectral_bound) * square
        shift[0] += centre[j] * row
        level[0] -= first[j] * row
        _scatter(row, stored, residual)
        if pull.shape[0] > 0:
            mean_residual[0] -= pulled(pull, row, mean[j])
    return total
