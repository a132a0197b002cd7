"""Compiled loops of block coordinate descent; importing this module imports numba."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numba import types

from polytask.penalties.row_kernels import (
    LIMITS,
    ROW_PROX,
    compiled,
    limited_prox,
    part_of_compiled,
)

MATRIX = types.float64[:, ::1]
VECTOR = types.float64[::1]
PROX = types.FunctionType(ROW_PROX)
# Below this share of changed rows in a block, their columns are subtracted one by one.
_FEW = 8
# Rows that are turned at a time.
_TILE = 64


@part_of_compiled
def move(
    row: Any,  # noqa: ANN401
    W: Any,  # noqa: ANN401
    j: int,
    curvature: float,
    ridge: float,
    limits: Any,  # noqa: ANN401
    kernel: Any,  # noqa: ANN401
) -> float:
    """Replace a slope by the minimiser over a row of W, then W by it; row becomes the change.

    Returns the squared length of the change.
    """
    step = 1.0 / curvature
    shrink = 1.0 / (1.0 + step * ridge)
    for t in range(row.size):
        row[t] = (W[j, t] + step * row[t]) * shrink
    limited_prox(row, j, step * shrink, limits, kernel)
    square = 0.0
    for t in range(row.size):
        new = row[t]
        row[t] = new - W[j, t]
        W[j, t] = new
        square += row[t] * row[t]
    return square


@part_of_compiled
def take_off(slope: Any, factors: Any, change: Any) -> None:  # noqa: ANN401
    """Subtract the outer product of factors and a change."""
    for i in range(slope.shape[0]):
        factor = factors[i]
        for t in range(change.size):
            slope[i, t] -= factor * change[t]


@part_of_compiled
def pulled(pull: Any, change: Any, mean: float) -> Any:  # noqa: ANN401
    """Return mean * pull @ change."""
    out = np.empty(change.size)
    for t in range(change.size):
        value = 0.0
        for u in range(change.size):
            value += pull[t, u] * change[u]
        out[t] = mean * value
    return out


@part_of_compiled
def part_of(limits: Any, start: int, stop: int) -> Any:  # noqa: ANN401
    """Return the limits of a stretch of rows."""
    weight, lower, upper = limits
    if lower.shape[0] > 1:
        return weight[start:stop], lower[start:stop], upper[start:stop]
    return weight[start:stop], lower, upper


@part_of_compiled
def _any(row: Any) -> bool:  # noqa: ANN401
    """Say whether an array has an entry that is not zero."""
    return bool(np.any(row != 0.0))


@compiled(types.float64(*[MATRIX] * 4, *[VECTOR] * 3, MATRIX, types.float64, LIMITS, VECTOR, PROX))
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
    limits: Any,  # noqa: ANN401
    parameters: Any,  # noqa: ANN401
    prox: Any,  # noqa: ANN401
) -> float:
    """Minimise over each row of a block in turn.

    Parameters
    ----------
    gram : array of shape (m, m)
        Inner products of the features of the block.
    slope : array of shape (m, n_columns)
        Minus the gradient of the data term; kept up to date within the block.
    W : array of shape (m, n_columns)
        Coefficients, changed in place.
    moved : array of shape (m, n_columns)
        Becomes the change of W.
    curvature : array of shape (m,)
        Curvature of each row; rows of 0 stay as they are.
    scale : array of shape (n_columns,)
        Weight of each column in the data term.
    mean, pull : array of shape (m,), array of shape (n_columns, n_columns) or (0, 0)
        The Hessian also has the part ``mean mean' x pull``.
    ridge : float
        Strength of a ridge beside the penalty.
    limits : tuple of array
        In what the rows differ.
    parameters, prox
        The prox of a row.

    Returns
    -------
    float
        Sum of the curvature times the squared change.
    """
    m, columns = W.shape
    row = np.empty(columns)
    total = 0.0
    for j in range(m):
        moved[j] = 0.0
        if not curvature[j] > 0.0:
            continue
        row[:] = slope[j]
        square = move(row, W, j, curvature[j], ridge, limits, (parameters, prox))
        if square == 0.0:
            continue
        total += curvature[j] * square
        moved[j] = row
        if pull.shape[0] > 0:
            take_off(slope, mean, pulled(pull, row, mean[j]))
        for t in range(columns):
            row[t] *= scale[t]
        take_off(slope, gram[j], row)
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
    if not _any(moved):
        return
    if pull.shape[0] > 0:
        total = np.dot(mean[start : start + m].copy().reshape(1, m), moved)[0]
        take_off(slope, mean, pulled(pull, total, 1.0))
    moved *= scale
    changed = 0
    for j in range(m):
        changed += _any(moved[j])
    if changed > _FEW:
        np.dot(gram[start : start + m].T, moved, product)
        slope -= product
        return
    for j in range(m):
        if _any(moved[j]):
            take_off(slope, gram[start + j], moved[j])


@compiled(
    types.float64(
        *[MATRIX] * 3,
        *[VECTOR] * 3,
        MATRIX,
        types.float64,
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
    limits: Any,  # noqa: ANN401
    parameters: Any,  # noqa: ANN401
    prox: Any,  # noqa: ANN401
    block: int,
    sweeps: int,
) -> float:
    """Sweep over all rows, `sweeps` times, block by block; see :func:`sweep_block`.

    Returns
    -------
    float
        What the last sweep returned, summed over the blocks.
    """
    s, columns = W.shape
    product = np.empty((s, columns))
    total = 0.0
    for _ in range(sweeps):
        total = 0.0
        for start in range(0, s, block):
            stop = min(start + block, s)
            own = gram[start:stop, start:stop].copy()
            local = slope[start:stop].copy()
            moved = np.empty((stop - start, columns))
            total += sweep_block(
                own,
                local,
                W[start:stop],
                moved,
                curvature[start:stop],
                scale,
                mean[start:stop],
                pull,
                ridge,
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
        types.float64[:, :], VECTOR, types.float64, types.float64, LIMITS, VECTOR, PROX, VECTOR
    )
)
def entering(
    gradient: Any,  # noqa: ANN401 - arrays of numba
    curvature: Any,  # noqa: ANN401
    factor: float,
    ridge: float,
    limits: Any,  # noqa: ANN401
    parameters: Any,  # noqa: ANN401
    prox: Any,  # noqa: ANN401
    out: Any,  # noqa: ANN401
) -> None:
    """Say by how much rows at zero would move if their gradients were `factor` times larger.

    Parameters
    ----------
    gradient : array of shape (n_features, n_columns)
        Gradient of the data term, in any layout.
    curvature : array of shape (n_features,)
        Curvature of each row.
    factor : float
        At least 1.
    ridge, limits, parameters, prox
        As for :func:`sweep_block`.
    out : array of shape (n_features,)
        Becomes the length of the move times the square root of the curvature; 0 for rows that
        stay at zero.
    """
    d, columns = gradient.shape
    rows = np.empty((_TILE, columns))
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
                row[t] *= -factor * step * shrink
            limited_prox(row, start + j, step * shrink, limits, (parameters, prox))
            square = 0.0
            for t in range(columns):
                square += row[t] * row[t]
            if square > 0.0:
                out[start + j] = sqrt(square * curvature[start + j])
