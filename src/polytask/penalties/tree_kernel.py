"""The compiled proximal operator of norms of nested groups within a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.penalties.row_kernels import part_of_compiled, row_prox, shorten, soften

# Numbers before the groups in the parameters, and of each group.
HEAD = 4
OF_GROUP = 3


@part_of_compiled
def _shorten_groups(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401
    """Shorten the groups one by one, in an order of columns that makes each a stretch."""
    n_groups = int(parameters[3])
    columns = parameters[HEAD + OF_GROUP * n_groups :]
    ordered = np.empty(row.size)
    for t in range(row.size):
        ordered[t] = row[int(columns[t])]
    for g in range(n_groups):
        at = HEAD + OF_GROUP * g
        begin, end = int(parameters[at]), int(parameters[at + 1])
        shorten(ordered[begin:end], step * parameters[0] * parameters[at + 2])
    for t in range(row.size):
        row[int(columns[t])] = ordered[t]


@row_prox
def climb_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401
    """Threshold the entries, shorten the groups from the leaves to the root, then the row."""
    # The prox of ``a sum_g weight_g ||w_g||_2 + b ||w||_1 + c ||w||_2``. The parameters are
    # (a, b, c, number of groups), for each group its begin, its end and its weight, and the
    # columns in the order in which groups are stretches.
    soften(row, step * parameters[1])
    _shorten_groups(row, step, parameters)
    shorten(row, step * parameters[2])
