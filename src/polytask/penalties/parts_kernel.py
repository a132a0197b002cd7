"""The compiled proximal operators of a row that two norms share between them."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from polytask.penalties.row_kernels import part_of_compiled, row_prox


@part_of_compiled
def take_cut(row: Any, gain: float, threshold: float, entry: float) -> None:  # noqa: ANN401
    """Take from a row its multiple, thresholded and cut off at `entry`."""
    for t in range(row.size):
        size = min(max(gain * abs(row[t]) - threshold, 0.0), entry)
        row[t] -= size if row[t] > 0 else -size


@row_prox
def shared_length_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401
    """Take from a row the nearest one of length at most a with entries at most b."""
    # The prox of the least ``a ||u||_2 + b ||w - u||_1`` over u, with parameters (a, b), in
    # O(T log T).
    length, entry = step * parameters[0], step * parameters[1]
    square = 0.0
    for t in range(row.size):
        size = min(abs(row[t]), entry)
        square += size * size
    gain = 1.0
    if square > length * length:
        sizes = np.sort(np.abs(row))
        below = np.empty(row.size + 1)
        below[0] = 0.0
        for t in range(row.size):
            below[t + 1] = below[t] + sizes[t] * sizes[t]
        kept = row.size
        while kept > 0:
            own = sizes[kept - 1] * sizes[kept - 1]
            cut = (row.size - kept + 1) * own + below[kept - 1]
            if entry * entry * cut >= length * length * own:
                break
            kept -= 1
        free, taken = below[kept], row.size - kept
        left = max(length * length - taken * entry * entry, 0.0)
        gain = sqrt(left / free) if free > 0 else 1.0
    take_cut(row, gain, 0.0, entry)


@row_prox
def shared_maximum_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401
    """Take from a row the nearest one whose sizes add up to at most a, entries at most b."""
    # The prox of the least ``a max |u| + b ||w - u||_1`` over u, with parameters (a, b), in
    # O(T log T).
    wanted, entry = step * parameters[0], step * parameters[1]
    reached = 0.0
    for t in range(row.size):
        reached += min(abs(row[t]), entry)
    threshold = 0.0
    if reached > wanted:
        sizes = np.sort(np.abs(row))
        # The sum is linear in the threshold between the sizes and the sizes less the bound.
        first, second = row.size - 1, row.size - 1
        total, count, last = 0.0, 0, 0.0
        while second >= 0:
            lower = sizes[second] - entry
            enters = first >= 0 and sizes[first] >= lower
            end = sizes[first] if enters else lower
            if total - count * end > wanted:
                break
            last = end
            if enters:
                total, count, first = total + end, count + 1, first - 1
            else:
                total, count, second = total - end, count - 1, second - 1
        # Where the sum is level, any threshold between two ends will do.
        threshold = max((total - wanted) / count if count > 0 else last, 0.0)
    take_cut(row, 1.0, threshold, entry)
