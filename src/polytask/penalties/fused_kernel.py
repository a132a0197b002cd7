"""The compiled proximal operator of absolute differences between neighbours in a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.penalties.row_kernels import part_of_compiled, row_prox, shorten, soften


@part_of_compiled
def _is_levelled(y: Any, amount: float) -> bool:  # noqa: ANN401 - arrays of numba
    """Level a chain out to its mean if the amount is enough for that."""
    # An amount far above that would only cost digits in what follows.
    mean = 0.0
    for k in range(y.size):
        mean += y[k] / y.size
    excess, most = 0.0, 0.0
    for k in range(y.size - 1):
        excess += y[k] - mean
        most = max(most, abs(excess))
    if amount < most:
        return False
    for k in range(y.size):
        y[k] = mean
    return True


@part_of_compiled
def _smooth_chain(y: Any, amount: float, room: Any) -> None:  # noqa: ANN401 - arrays of numba
    """Replace y by argmin 1/2 ||x - y||^2 + amount * sum |x_{k+1} - x_k|, in linear time."""
    # Let f_k(x) be the least cost of the first k entries given x_k = x. Its derivative is
    # increasing and piecewise linear, and f_{k+1} takes it cut off at -amount and amount, plus
    # x - y. Each cut removes knots at one end and adds one, so every knot is handled twice. The
    # knots between the cuts, and by how much slope and constant change there, are kept in
    # `room`. Going back, x_k is x_{k+1} moved between the two places of the cuts.
    #
    # Johnson, N. (2013). A dynamic programming algorithm for the fused lasso and L0-segmentation.
    # Journal of Computational and Graphical Statistics 22, 246-260.
    n = y.size
    knot, slope, constant, low, high = room[0], room[1], room[2], room[3], room[4]
    first, last = n, n - 1
    for k in range(n - 1):
        # From the left: the line of the derivative before the first knot, until it passes
        # -amount; beyond the first entry it starts at -amount already.
        a, c = 1.0, -y[k] - (amount if k > 0 else 0.0)
        while first <= last and a * knot[first] + c <= -amount:
            a += slope[first]
            c += constant[first]
            first += 1
        low[k] = (-amount - c) / a
        # From the right likewise, down to amount.
        b, d = 1.0, -y[k] + (amount if k > 0 else 0.0)
        while first <= last and b * knot[last] + d >= amount:
            b -= slope[last]
            d -= constant[last]
            last -= 1
        high[k] = (amount - d) / b
        # The derivative is now -amount, then the lines between the knots, then amount.
        first -= 1
        knot[first], slope[first], constant[first] = low[k], a, c + amount
        last += 1
        knot[last], slope[last], constant[last] = high[k], -b, amount - d
    a, c = 1.0, -y[n - 1] - (amount if n > 1 else 0.0)
    while first <= last and a * knot[first] + c <= 0.0:
        a += slope[first]
        c += constant[first]
        first += 1
    y[n - 1] = -c / a
    for k in range(n - 2, -1, -1):
        y[k] = min(max(y[k + 1], low[k]), high[k])


@row_prox
def fuse_row(row: Any, step: float, parameters: Any) -> None:  # noqa: ANN401
    """Bring neighbours together, threshold the entries, then shorten the row."""
    # The prox of ``a sum |differences| + b ||w||_1 + c ||w||_2``. The parameters are (a, b, c),
    # then the columns, sequence by sequence, then for each of them 1 where a sequence ends.
    size = row.size
    amount = step * parameters[0]
    if amount > 0.0:
        chain, room = np.empty(size), np.empty((5, 2 * size))
        begin = 0
        for t in range(size):
            chain[t] = row[int(parameters[3 + t])]
            if parameters[3 + size + t] > 0.0:
                stretch = chain[begin : t + 1]
                if not _is_levelled(stretch, amount):
                    _smooth_chain(stretch, amount, room)
                begin = t + 1
        for t in range(size):
            row[int(parameters[3 + t])] = chain[t]
    soften(row, step * parameters[1])
    shorten(row, step * parameters[2])
