"""Compiled proximal operators of concave functions of the norm of a row."""

from __future__ import annotations

from math import sqrt
from typing import Any

from polytask.penalties.row_kernels import part_of_compiled, row_prox, soften


@part_of_compiled
def _length(row: Any) -> float:  # noqa: ANN401 - arrays of numba
    square = 0.0
    for t in range(row.size):
        square += row[t] * row[t]
    return sqrt(square)


@part_of_compiled
def _resized(row: Any, old: float, new: float) -> None:  # noqa: ANN401
    factor = new / old if old > 0.0 else 0.0
    for t in range(row.size):
        row[t] *= factor


@part_of_compiled
def _between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@row_prox
def mcp_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401
    """Resize a row to the best norm for the minimax concave penalty."""
    # The parameters are (alpha, gamma, factor); see ``nonconvex.MCP``.
    alpha, gamma, amount = parameters[0], parameters[1], step * parameters[2]
    size, edge = _length(row), parameters[0] * parameters[1]
    best, lowest = 0.0, 0.5 * size * size
    curvature = 1.0 - amount / gamma
    for k in range(2):
        if k == 0:
            new = (
                _between((size - amount * alpha) / curvature, 0.0, edge)
                if curvature > 0.0
                else edge
            )
        else:
            new = max(size, edge)
        cut = min(new, edge)
        value = 0.5 * (size - new) ** 2 + amount * (alpha * cut - 0.5 * cut * cut / gamma)
        if value < lowest:
            best, lowest = new, value
    _resized(row, size, best)


@row_prox
def scad_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401
    """Resize a row to the best norm for the smoothly clipped absolute deviation."""
    # The parameters are (alpha, gamma, factor); see ``nonconvex.SCAD``.
    alpha, gamma, amount = parameters[0], parameters[1], step * parameters[2]
    size, edge = _length(row), parameters[0] * parameters[1]
    best, lowest = 0.0, 0.5 * size * size
    curvature = gamma - 1.0 - amount
    for k in range(3):
        if k == 0:
            new = _between(size - amount * alpha, 0.0, alpha)
        elif k == 1:
            new = ((gamma - 1.0) * size - amount * edge) / curvature if curvature > 0.0 else edge
            new = _between(new, alpha, edge)
        else:
            new = max(size, edge)
        cut = _between(new, alpha, edge)
        cost = alpha * min(new, alpha)
        cost += (cut - alpha) * (edge - 0.5 * (cut + alpha)) / (gamma - 1.0)
        value = 0.5 * (size - new) ** 2 + amount * cost
        if value < lowest:
            best, lowest = new, value
    _resized(row, size, best)


@row_prox
def capped_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401
    """Shrink a row, or leave it as it is where the cap makes that cheaper."""
    # The parameters are (alpha, theta, 1 for the norm of absolute values or 0); see
    # ``capped.CappedL21``.
    amount, kept = step * parameters[0], row.copy()
    if parameters[2] > 0.0:
        soften(row, amount)
        size = 0.0
        for t in range(row.size):
            size += abs(row[t])
    else:
        size = _length(row)
        _resized(row, size, max(size - amount, 0.0))
        size = max(size - amount, 0.0)
    distance = 0.0
    for t in range(row.size):
        distance += (row[t] - kept[t]) ** 2
    if 0.5 * distance + amount * size > amount * parameters[1]:
        row[:] = kept
