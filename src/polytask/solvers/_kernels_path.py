"""One strength of a path on one matrix of second moments, compiled whole.

Importing this module imports numba, so it is imported only where a path is followed.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numba import types

from polytask.penalties.row_kernels import LIMITS, compiled, part_of_compiled
from polytask.solvers._kernels import sweep_gram
from polytask.solvers._kernels_parts import MATRIX, PROX, VECTOR, any_entry

# Rows updated one after the other before what they change is passed on by one product.
_BLOCK = 48
# Sweeps over a working set before a look at its gap; more than these in all are not made here.
_SWEEPS = (1, 1, 1, 2, 3)
# Working sets that are tried, and to which share of the aim each is solved.
_SHARES = (0.3, 0.1, 0.03)
# A working set may have so many rows, or twice those that are not zero.
_MOST_ROWS = 500
_NEWTON_STEPS = 50


@part_of_compiled
def _excess(row: Any, entry: float) -> float:  # noqa: ANN401 - arrays of numba
    """Return the length of a row whose entries are moved towards zero."""
    square = 0.0
    for t in range(row.size):
        left = row[t] - min(max(row[t], -entry), entry)
        square += left * left
    return sqrt(square)


@part_of_compiled
def _dual_norm(row: Any, entry: float, group: float, size: float) -> float:  # noqa: ANN401
    """Return the least factor, at least 1, by which both strengths make a row zero."""
    # The excess is convex in the factor, so that Newton's method rises to it from below.
    factor = 1.0
    if size <= group:
        return factor
    for _ in range(_NEWTON_STEPS):
        square = along = 0.0
        amount = factor * entry
        for t in range(row.size):
            left = abs(row[t]) - amount
            if left > 0.0:
                square += left * left
                along += left
        length = sqrt(square)
        slope = group + (entry * along / length if length > 0.0 else 0.0)
        step = (length - factor * group) / slope
        if not step > 1e-15 * factor:
            break
        factor += step
    return factor


_SIX = types.UniTuple(types.float64, 6)  # type: ignore[no-untyped-call]
_THREE = types.UniTuple(types.float64, 3)  # type: ignore[no-untyped-call]


@compiled(_THREE(*[MATRIX] * 3, types.float64, VECTOR))
def _gap(
    W: Any,  # noqa: ANN401 - arrays of numba
    slope: Any,  # noqa: ANN401
    first: Any,  # noqa: ANN401
    value: float,
    strengths: Any,  # noqa: ANN401
) -> tuple[float, float, float]:
    """Return the duality gap of some rows, the data term and the penalty."""
    # `first` is minus the gradient at zero and `value` the data term there.
    entry, group, ridge = strengths[0], strengths[1], strengths[2]
    along = total = penalty = excess = 0.0
    factor = 1.0
    for j in range(W.shape[0]):
        size = _excess(slope[j], entry)
        if ridge > 0.0:
            excess += max(size - group, 0.0) ** 2
        else:
            factor = max(factor, _dual_norm(slope[j], entry, group, size))
        own = sizes = square = 0.0
        for t in range(W.shape[1]):
            own += slope[j, t] * W[j, t]
            total += first[j, t] * W[j, t]
            sizes += abs(W[j, t])
            square += W[j, t] * W[j, t]
        along += own
        penalty += entry * sizes + group * sqrt(square) + 0.5 * ridge * square
    value -= 0.5 * (total + along)
    c = 1.0 / factor
    conjugate = 0.5 * excess / ridge if ridge > 0.0 else 0.0
    return (1.0 - c) ** 2 * value - c * along + penalty + conjugate, value, penalty


@part_of_compiled
def _violation(
    W: Any,  # noqa: ANN401
    slope: Any,  # noqa: ANN401
    curvature: Any,  # noqa: ANN401
    strengths: Any,  # noqa: ANN401
    at_zero: bool,
) -> float:
    """Return how far a proximal step moves the rows, in the metric of the curvature."""
    entry, group, ridge = strengths[0], strengths[1], strengths[2]
    total, row = 0.0, np.empty(W.shape[1])
    for j in range(W.shape[0]):
        if not curvature[j] > 0.0:
            continue
        for t in range(row.size):
            row[t] = slope[j, t] + (0.0 if at_zero else curvature[j] * W[j, t])
        size = _excess(row, entry)
        factor = (1.0 - group / size) / (curvature[j] + ridge) if size > group else 0.0
        square = 0.0
        for t in range(row.size):
            left = factor * (row[t] - min(max(row[t], -entry), entry))
            away = left - (0.0 if at_zero else W[j, t])
            square += away * away
        total += square * curvature[j]
    return sqrt(total)


@part_of_compiled
def _slopes(
    slope: Any,  # noqa: ANN401
    first: Any,  # noqa: ANN401
    rows: Any,  # noqa: ANN401
    W: Any,  # noqa: ANN401
    scale: Any,  # noqa: ANN401
    pulls: Any,  # noqa: ANN401
) -> None:
    """Compute minus the gradient from the rows of the moments that W has."""
    # `pulls` are the means of all features, those of the rows, and the pull on their misfit.
    mean, own, pull = pulls
    product = np.dot(rows.T, W)
    drawn = np.zeros(scale.size)
    if pull.shape[0] > 0:
        drawn = np.dot(pull, np.dot(own.reshape(1, own.size), W)[0])
    for j in range(slope.shape[0]):
        for t in range(scale.size):
            slope[j, t] = first[j, t] - scale[t] * product[j, t] - mean[j] * drawn[t]


@part_of_compiled
def _admit(
    inside: Any,  # noqa: ANN401
    W: Any,  # noqa: ANN401
    slope: Any,  # noqa: ANN401
    curvature: Any,  # noqa: ANN401
    entry: float,
    group: float,
) -> tuple[int, int]:
    """Let rows in that are not zero or want to move; return how many there are of both kinds."""
    used = count = 0
    for j in range(W.shape[0]):
        nonzero = any_entry(W[j])
        used += nonzero
        if curvature[j] > 0.0 and not inside[j]:
            inside[j] = nonzero or _excess(slope[j], entry) > group
        count += inside[j]
    return used, count


@part_of_compiled
def _begun(W: Any, start: Any, curvature: Any) -> bool:  # noqa: ANN401
    """Go to a start, and say whether that is another place."""
    moved = False
    for j in range(W.shape[0]):
        for t in range(W.shape[1]):
            # Nothing can move a row without curvature.
            value = start[j, t] if curvature[j] > 0.0 else 0.0
            moved = moved or value != W[j, t]
            W[j, t] = value
    return moved


@part_of_compiled
def _indices(inside: Any, count: int) -> Any:  # noqa: ANN401
    """Return the places of the rows inside, or all."""
    index, k = np.empty(count, dtype=np.int64), 0
    for j in range(inside.size):
        if inside[j] or count == inside.size:
            index[k] = j
            k += 1
    return index


@part_of_compiled
def _taken(matrix: Any, index: Any) -> Any:  # noqa: ANN401
    """Return some rows of a matrix."""
    found = np.empty((index.size, matrix.shape[1]))
    for k in range(index.size):
        for t in range(matrix.shape[1]):
            found[k, t] = matrix[index[k], t]
    return found


@part_of_compiled
def _entries(vector: Any, index: Any) -> Any:  # noqa: ANN401
    """Return some entries of a vector."""
    found = np.empty(index.size)
    for k in range(index.size):
        found[k] = vector[index[k]]
    return found


@part_of_compiled
def _go_on(now: Any, old: Any, onward: float) -> None:  # noqa: ANN401
    """Replace an array by what follows from it and the one before, and that one by it."""
    for j in range(now.shape[0]):
        for t in range(now.shape[1]):
            last = now[j, t]
            now[j, t] += onward * (last - old[j, t])
            old[j, t] = last


@compiled(
    _SIX(
        *[MATRIX] * 7,
        *[VECTOR] * 3,
        MATRIX,
        LIMITS,
        PROX,
        VECTOR,
        *[types.float64] * 4,
        types.int64,
    )
)
def follow(
    second: Any,  # noqa: ANN401 - arrays of numba
    first: Any,  # noqa: ANN401
    start: Any,  # noqa: ANN401
    W: Any,  # noqa: ANN401
    slope: Any,  # noqa: ANN401
    old_W: Any,  # noqa: ANN401
    old_slope: Any,  # noqa: ANN401
    curvature: Any,  # noqa: ANN401
    scale: Any,  # noqa: ANN401
    mean: Any,  # noqa: ANN401
    pull: Any,  # noqa: ANN401
    limits: Any,  # noqa: ANN401
    prox: Any,  # noqa: ANN401
    strengths: Any,  # noqa: ANN401
    value: float,
    onward: float,
    ahead: float,
    aim: float,
    most: int,
) -> tuple[float, float, float, float, float, float]:
    """Minimise from a start over growing working sets, until the gap is below the aim.

    Returns the gap, the data term, the penalty, how far a proximal step moves the rows here and
    at zero, and the number of sweeps. W and slope (minus the gradient) become those of the answer,
    the old ones those of the start. `onward` says how far to go on in the direction of the last
    step before anything else.
    """
    # Shapes: second (d, d), first, start, W, slope, old_W, old_slope (d, T), curvature, mean (d,),
    # scale (T,), pull (T, T) or (0, 0).
    d = W.shape[0]
    entry, group = strengths[0], strengths[1]
    if _begun(W, start, curvature):
        _slopes(slope, first, second, W, scale, (mean, mean, pull))
        onward = 0.0
    _go_on(W, old_W, onward)
    _go_on(slope, old_slope, onward)
    inside, none, sweeps = np.zeros(d, dtype=np.bool_), np.zeros((0, 0)), 0
    gap, data, penalty = _gap(W, slope, first, value, strengths)
    for share in _SHARES:
        used, count = _admit(inside, W, slope, curvature, entry / ahead, group / ahead)
        ahead = 1.0
        if gap <= aim or count > max(_MOST_ROWS, 2 * used):
            break
        whole = 3 * count >= 2 * d
        # Where most rows take part, all do: their slopes are then up to date after the sweeps.
        index = _indices(inside, d if whole else count)
        own_curvature, own_mean = curvature, mean
        rows, gram, own_W, own_slope, own_first = second, second, W, slope, first
        if not whole:
            rows, own_W = _taken(second, index), _taken(W, index)
            own_slope, own_first = _taken(slope, index), _taken(first, index)
            gram = _taken(rows.T, index)
            own_curvature, own_mean = _entries(curvature, index), _entries(mean, index)
        near, solved = aim if whole else share * aim, False
        for times in _SWEEPS:
            if solved or sweeps >= most:
                break
            moved = sweep_gram(
                gram, own_slope, own_W, own_curvature, scale, own_mean, pull, 0.0, none, 0.0,
                limits, strengths, prox, _BLOCK, times,
            )  # fmt: skip
            sweeps += times
            gap, data, penalty = _gap(own_W, own_slope, own_first, value, strengths)
            solved = moved == 0.0 or gap <= near
        if not whole:
            for k in range(count):
                W[index[k]] = own_W[k]
            _slopes(slope, first, rows, own_W, scale, (mean, own_mean, pull))
            gap, data, penalty = _gap(W, slope, first, value, strengths)
        if not solved:
            break
    here = _violation(W, slope, curvature, strengths, False)
    there = _violation(W, first, curvature, strengths, True)
    return gap, data, penalty, here, there, float(sweeps)
