"""Compiled loops of block coordinate descent; importing this module imports numba."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numba import types

from polytask.penalties.row_kernels import LIMITS, compiled, limited_prox
from polytask.solvers._kernels_parts import (
    BESIDE,
    MATRIX,
    PROX,
    VECTOR,
    any_entry,
    coupled_move,
    move,
    part_of,
    pulled,
    take_off,
    take_off_products,
)

# Below this share of changed rows in a block, their columns are subtracted one by one.
_FEW = 8
# Rows that are turned at a time.
_TILE = 64


@compiled(types.float64(*[MATRIX] * 4, *[VECTOR] * 3, *BESIDE, LIMITS, VECTOR, PROX))
def sweep_block(
    gram: Any,  # noqa: ANN401 - arrays of numba
    slope: Any,  # noqa: ANN401
    W: Any,  # noqa: ANN401
    moved: Any,  # noqa: ANN401
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
    """Minimise over each row of a block in turn."""
    # Shapes: gram (m, m), slope (m, n_columns), W (m, n_columns), moved (m, n_columns), curvature
    # (m,), scale (n_columns,), mean, pull (m,), coupling, spectral_bound (n_columns, n_columns).
    m, columns = W.shape
    row = np.empty(columns)
    # What rows before have changed, and by how much that lowers the pull.
    changed, changes, count = np.empty(m, dtype=np.int64), np.empty((m, columns)), 0
    drawn = np.zeros(pull.shape[0])
    alike = limits[0].size == 0 and limits[1].size == 0
    total = 0.0
    for j in range(m):
        moved[j] = 0.0
        if not curvature[j] > 0.0:
            continue
        for t in range(columns):
            row[t] = slope[j, t]
        take_off_products(row, gram, j, changes, changed, count)
        for t in range(drawn.size):
            row[t] -= mean[j] * drawn[t]
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
        moved[j] = row
        if pull.shape[0] > 0:
            drawn += pulled(pull, row, mean[j])
        changed[count] = j
        for t in range(columns):
            changes[count, t] = scale[t] * row[t]
        count += 1
    return total


@compiled(types.void(*[MATRIX] * 2, types.int64, MATRIX, VECTOR, VECTOR, MATRIX, MATRIX))
def _spread(
    gram: Any,  # noqa: ANN401 - arrays of numba
    slope: Any,  # noqa: ANN401
    start: int,
    moved: Any,  # noqa: ANN401
    scale: Any,  # noqa: ANN401
    mean: Any,  # noqa: ANN401
    pull: Any,  # noqa: ANN401
    product: Any,  # noqa: ANN401
) -> None:
    """Bring the slopes of all rows up to date with the change of a block."""
    m = moved.shape[0]
    if not any_entry(moved):
        return
    if pull.shape[0] > 0:
        total = np.dot(mean[start : start + m].copy().reshape(1, m), moved)[0]
        take_off(slope, mean, pulled(pull, total, 1.0))
    moved *= scale
    changed = 0
    for j in range(m):
        changed += any_entry(moved[j])
    if changed > _FEW:
        np.dot(gram[start : start + m].T, moved, product)
        slope -= product
        return
    for j in range(m):
        if any_entry(moved[j]):
            take_off(slope, gram[start + j], moved[j])


@compiled(
    types.float64(
        *[MATRIX] * 3,
        *[VECTOR] * 3,
        *BESIDE,
        LIMITS,
        VECTOR,
        PROX,
        types.int64,
        types.int64,
    )
)
def sweep_gram(
    gram: Any,  # noqa: ANN401 - arrays of numba
    slope: Any,  # noqa: ANN401
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
    block: int,
    sweeps: int,
) -> float:
    """Sweep over all rows, `sweeps` times, block by block; see :func:`sweep_block`."""
    s, columns = W.shape
    product = np.empty((s, columns))
    total = 0.0
    for _ in range(sweeps):
        total = 0.0
        for start in range(0, s, block):
            stop = min(start + block, s)
            own = gram[start:stop, start:stop].copy()
            moved = np.empty((stop - start, columns))
            total += sweep_block(
                own,
                slope[start:stop],
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
            _spread(gram, slope, start, moved, scale, mean, pull, product)
        if total == 0.0:
            break
    return total


@compiled(
    types.void(
        MATRIX,
        types.float64[:, :],
        VECTOR,
        *[types.float64] * 2,
        LIMITS,
        VECTOR,
        PROX,
        VECTOR,
    )
)
def prox_violation(
    W: Any,  # noqa: ANN401 - arrays of numba
    gradient: Any,  # noqa: ANN401
    curvature: Any,  # noqa: ANN401
    factor: float,
    ridge: float,
    limits: Any,  # noqa: ANN401
    parameters: Any,  # noqa: ANN401
    prox: Any,  # noqa: ANN401
    out: Any,  # noqa: ANN401
) -> None:
    """Say by how much rows would move if their gradients were `factor` times larger."""
    # Shapes: W, gradient (n_features, n_columns), curvature (n_features,), out (n_features,).
    d, columns = gradient.shape
    rows = np.empty((_TILE, columns))
    alike = limits[0].size == 0 and limits[1].size == 0
    for start in range(0, d, _TILE):
        size = min(_TILE, d - start)
        for t in range(columns):
            for j in range(size):
                rows[j, t] = gradient[start + j, t]
        for j in range(size):
            out[start + j] = 0.0
            if not curvature[start + j] > 0.0:
                continue
            step = 1.0 / curvature[start + j]
            shrink = 1.0 / (1.0 + step * ridge)
            row = rows[j]
            for t in range(columns):
                row[t] = (W[start + j, t] - factor * step * row[t]) * shrink
            if alike:
                prox(row, step * shrink, parameters)
            else:
                limited_prox(row, start + j, step * shrink, limits, (parameters, prox))
            square = 0.0
            for t in range(columns):
                away = row[t] - W[start + j, t]
                square += away * away
            if square > 0.0:
                out[start + j] = sqrt(square * curvature[start + j])
