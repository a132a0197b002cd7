"""The compiled proximal operator of the largest absolute value of a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.penalties.row_kernels import row_prox, shorten, soften


@row_prox
def cut_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401 - arrays of numba
    """Threshold the entries, cut them off at one level, then shorten the row."""
    # The prox of ``a max |w| + b ||w||_1 + c ||w||_2`` with parameters (a, b, c), in
    # O(T log T).
    soften(row, step * parameters[1])
    sizes = np.sort(np.abs(row))
    level, total = 0.0, -step * parameters[0]
    for k in range(row.size):
        total += sizes[row.size - 1 - k]
        level = max(level, total / (k + 1))
    for t in range(row.size):
        row[t] = min(max(row[t], -level), level)
    shorten(row, step * parameters[2])
