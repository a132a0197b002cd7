"""The compiled sweep with residuals of a dense design; importing this module imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from polytask.penalties.row_kernels import LIMITS, compiled
from polytask.solvers._kernels import sweep_block
from polytask.solvers._kernels_parts import BESIDE, MATRIX, PROX, VECTOR, part_of


@compiled(
    types.float64(
        MATRIX,
        types.float64[:, :, ::1],
        *[MATRIX] * 3,
        *[VECTOR] * 3,
        *BESIDE,
        LIMITS,
        VECTOR,
        PROX,
    )
)
def sweep_dense(
    features: Any,  # noqa: ANN401 - arrays of numba
    grams: Any,  # noqa: ANN401
    residual: Any,  # noqa: ANN401
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
    """Sweep over all rows, block by block, with the residuals of a dense design."""
    # Shapes: features (s, n), grams (n_blocks, m, m), residual (n, n_columns), mean_residual (1,
    # n_columns).
    s, columns = W.shape
    size = grams.shape[1]
    product = np.empty(residual.shape)
    total = 0.0
    for b in range(grams.shape[0]):
        start = b * size
        stop = min(start + size, s)
        m = stop - start
        part = features[start:stop]
        slope = np.dot(part, residual)
        for j in range(m):
            for t in range(columns):
                slope[j, t] *= scale[t]
                if pull.shape[0] > 0:
                    slope[j, t] += mean[start + j] * mean_residual[0, t]
        moved = np.empty((m, columns))
        gained = sweep_block(
            grams[b, :m, :m].copy(),
            slope,
            W[start:stop],
            moved,
            curvature[start:stop],
            scale,
            mean[start:stop],
            pull,
            ridge,
            coupling,
            spectral_bound,
            part_of(limits, start, stop),
            parameters,
            prox,
        )
        if gained == 0.0:
            continue
        total += gained
        np.dot(part.T, moved, product)
        residual -= product
        if pull.shape[0] > 0:
            mean_residual -= np.dot(np.dot(mean[start:stop].reshape(1, m), moved), pull)
    return total
