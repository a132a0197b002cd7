"""Parts of the compiled sweeps over rows; importing this module imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from polytask.penalties.row_kernels import ROW_PROX, limited_prox, part_of_compiled

MATRIX = types.float64[:, ::1]
VECTOR = types.float64[::1]
PROX = types.FunctionType(ROW_PROX)
# What a sweep takes beside data and penalty: pull, ridge, coupling and spectral_bound.
BESIDE = (MATRIX, types.float64, MATRIX, types.float64)
# Steps for a row whose entries are coupled, and the share of the first one, squared, to end at.
_INNER_STEPS = 20
_INNER_SHARE = 1e-4


@part_of_compiled
def move(
    row: Any,  # noqa: ANN401
    W: Any,  # noqa: ANN401
    j: int,
    curvature: float,
    ridge: float,
    alike: bool,
    limits: Any,  # noqa: ANN401
    kernel: Any,  # noqa: ANN401
) -> float:
    """Replace a slope by the minimiser over a row of W, then W by it; row becomes the change."""
    # Returns the squared length of the change.
    step = 1.0 / curvature
    shrink = 1.0 / (1.0 + step * ridge)
    for t in range(row.size):
        row[t] = (W[j, t] + step * row[t]) * shrink
    # To take limits apart costs more than many a prox.
    if alike:
        parameters, prox = kernel
        prox(row, step * shrink, parameters)
    else:
        limited_prox(row, j, step * shrink, limits, kernel)
    square = 0.0
    for t in range(row.size):
        new = row[t]
        row[t] = new - W[j, t]
        W[j, t] = new
        square += row[t] * row[t]
    return square


@part_of_compiled
def coupled_move(
    row: Any,  # noqa: ANN401
    W: Any,  # noqa: ANN401
    j: int,
    curvature: float,
    ridge: float,
    coupling: Any,  # noqa: ANN401
    spectral_bound: float,
    limits: Any,  # noqa: ANN401
    kernel: Any,  # noqa: ANN401
) -> float:
    """Do as `move` beside a coupling of largest eigenvalue `reach`, by a few proximal steps."""
    # They cost nothing that grows with the data.
    step = 1.0 / (curvature + spectral_bound)
    shrink = 1.0 / (1.0 + step * ridge)
    aim, now, first = row.copy(), W[j].copy(), 0.0
    for t in range(row.size):
        aim[t] += curvature * now[t]
    for _ in range(_INNER_STEPS):
        for t in range(row.size):
            pushed = aim[t] + spectral_bound * now[t]
            for s in range(row.size):
                pushed -= coupling[t, s] * now[s]
            row[t] = step * shrink * pushed
        limited_prox(row, j, step * shrink, limits, kernel)
        moved = 0.0
        for t in range(row.size):
            moved += (row[t] - now[t]) ** 2
            now[t] = row[t]
        first = max(first, moved)
        if moved <= _INNER_SHARE * first:
            break
    square = 0.0
    for t in range(row.size):
        row[t] = now[t] - W[j, t]
        W[j, t] = now[t]
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
def take_off_products(
    row: Any,  # noqa: ANN401
    gram: Any,  # noqa: ANN401
    j: int,
    changes: Any,  # noqa: ANN401
    index: Any,  # noqa: ANN401
    count: int,
) -> None:
    """Subtract the sum of ``gram[j, index[k]] * changes[k]`` from a row, four at a time."""
    whole = count - count % 4
    for k in range(0, whole, 4):
        a, b = gram[j, index[k]], gram[j, index[k + 1]]
        c, d = gram[j, index[k + 2]], gram[j, index[k + 3]]
        for t in range(row.size):
            row[t] -= (
                a * changes[k, t]
                + b * changes[k + 1, t]
                + c * changes[k + 2, t]
                + d * changes[k + 3, t]
            )
    for k in range(whole, count):
        a = gram[j, index[k]]
        for t in range(row.size):
            row[t] -= a * changes[k, t]


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
def any_entry(row: Any) -> bool:  # noqa: ANN401
    """Say whether an array has an entry that is not zero."""
    for value in row.flat:  # noqa: SIM110 - numba knows no generators
        if value != 0.0:
            return True
    return False
