"""Compiled sweeps over the rows of W, for tasks that have a curvature each.

A row is minimised exactly: with the curvatures h_t of its entries and v_t = h_t w_t minus the
gradient, the optimum of ``sum_t (h_t/2 w_t^2 - v_t w_t) + entry sum |w_t| + group ||w||`` is
``w_t = z_t rho / (h_t rho + group)`` with z = v moved towards zero by `entry`, where rho = ||w||
solves ``sum_t (z_t / (h_t rho + group))^2 = 1``.

Numba is imported with this module, so it is imported only where a solver runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Sums may be reordered; that a number can be infinite or NaN is kept.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
_NEWTON_STEPS = 60
_NEAR = 4e-16
# Steps for a row whose entries are coupled, and the share of the first one, squared, to end at.
_INNER_STEPS = 20
_INNER_SHARE = 1e-4


def compiled(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - a function of numba
    """Compile on first use for the types at hand, kept on disk where a folder allows it."""
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return njit(**_OPTIONS)(function)


@compiled
def row_norm(z: Array, h: Array, group: float, start: float) -> float:
    """Return the root rho of sum (z / (h rho + group))^2 = 1 for group > 0; 0 if there is none."""
    # ``1 / sqrt(sum) - 1`` is concave in rho, so that Newton's method cannot step beyond the
    # root from its left, and reaches the left in one step.
    square = 0.0
    for t in range(z.size):
        square += z[t] * z[t]
    if square <= group * group:
        return 0.0
    rho = start
    for _ in range(_NEWTON_STEPS):
        value, slope = 0.0, 0.0
        for t in range(z.size):
            inverse = 1.0 / (h[t] * rho + group)
            part = z[t] * inverse
            value += part * part
            slope += part * part * h[t] * inverse
        if not slope > 0.0:
            return float(rho)
        step = (np.sqrt(value) - 1.0) * value / slope
        new = max(rho + step, 0.0)
        if abs(new - rho) <= _NEAR * new:
            return float(new)
        rho = new
    return float(rho)


@compiled
def best_row(
    v: Array,
    h: Array,
    entry: float,
    group: float,
    lower: Array,
    upper: Array,
    old: float,
    out: Array,
) -> float:
    """Write the best row to `out` and return its norm."""
    # `v` is overwritten; a ridge is part of `h` already. `lower` and `upper` are the bounds of the
    # entries, of shape (n_tasks,), (1,) or, without any, (0,); unless they are 0 there is no
    # `group`. An entry never leaves 0 against its slope, so that one whose bound is in the way
    # stays there, whatever the others do.
    for t in range(v.size):
        v[t] = max(v[t] - entry, 0.0) + min(v[t] + entry, 0.0)
        if h[t] <= 0.0:
            v[t] = 0.0
        if lower.size > 0:
            k = t if lower.size > 1 else 0
            if (v[t] < 0.0 and lower[k] == 0.0) or (v[t] > 0.0 and upper[k] == 0.0):
                v[t] = 0.0
    rho = 1.0
    if group > 0.0:
        rho = row_norm(v, h, group, old)
    square = 0.0
    for t in range(v.size):
        bottom = h[t] * rho + group
        out[t] = v[t] * rho / bottom if bottom > 0.0 else 0.0
        if lower.size > 0:
            k = t if lower.size > 1 else 0
            out[t] = min(max(out[t], lower[k]), upper[k])
        square += out[t] * out[t]
    return float(np.sqrt(square))


@compiled
def coupled_row(
    v: Array,
    w: Array,
    h: Array,
    entry: float,
    group: float,
    lower: Array,
    upper: Array,
    coupling: Array,
    spectral_bound: Array,
    old: float,
    out: Array,
    work: Array,
) -> float:
    """Write the best row to `out` and return its norm; `w` is the present one."""
    # As `best_row`, with ``w' coupling w / 2`` besides. `spectral_bound` is a diagonal no smaller
    # than the coupling: proximal steps in the metric h + spectral_bound, a few of them, which cost
    # nothing that grows with the rows of the data. `work` is (4, n_tasks).
    if coupling.size == 0:
        return float(best_row(v, h, entry, group, lower, upper, old, out))
    pushed, row_curvature, new, before = work[0], work[1], work[2], work[3]
    for t in range(v.size):
        row_curvature[t], out[t] = h[t] + spectral_bound[t], w[t]
    norm, first = old, 0.0
    for _ in range(_INNER_STEPS):
        for t in range(v.size):
            total = 0.0
            for s in range(v.size):
                total += coupling[t, s] * out[s]
            pushed[t] = v[t] - total + spectral_bound[t] * out[t]
            before[t] = out[t]
        norm = best_row(pushed, row_curvature, entry, group, lower, upper, norm, new)
        moved = 0.0
        for t in range(v.size):
            moved += (row_curvature[t] * (new[t] - before[t])) ** 2
            out[t] = new[t]
        first = max(first, moved)
        if moved <= _INNER_SHARE * first:
            break
    return norm


@compiled
def sweep_rows(
    active: Index,
    features: Index,
    X: NDArray[Any],
    offsets: Index,
    h: Array,
    mean: Array,
    curvature: Array,
    strengths: Array,
    lower: Array,
    upper: Array,
    coupling: Array,
    spectral_bound: Array,
    W: Array,
    norms: Array,
    b: Array,
    u: Array,
    plain: bool,
) -> float:
    """Minimise over each of the active rows once; return the largest violation seen."""
    n_tasks = offsets.size - 1
    v, new, none = np.empty(n_tasks), np.empty(n_tasks), np.zeros(0)
    work = np.empty((4, n_tasks))
    worst = 0.0
    for place in range(active.size):
        p, j = active[place], features[place]
        k, m = (j if strengths.shape[0] > 1 else 0), (j if lower.shape[0] > 1 else 0)
        entry, group, ridge = strengths[k, 0], strengths[k, 1], strengths[k, 2]
        low, high = (lower[m], upper[m]) if lower.shape[0] > 0 else (none, none)
        w, row_curvature = W[p], curvature[p]
        for t in range(n_tasks):
            x, slopes = X[p, offsets[t] : offsets[t + 1]], u[offsets[t] : offsets[t + 1]]
            dot = 0.0
            for i in range(x.size):
                dot += x[i] * slopes[i]
            v[t] = dot + (row_curvature[t] - ridge) * w[t]
        norm = coupled_row(
            v,
            w,
            row_curvature,
            entry,
            group,
            low,
            high,
            coupling,
            spectral_bound,
            norms[p],
            new,
            work,
        )
        if norm == 0.0 and norms[p] == 0.0:
            continue
        moved = 0.0
        for t in range(n_tasks):
            change = new[t] - w[t]
            if change == 0.0:
                continue
            moved += ((row_curvature[t] + spectral_bound[t]) * change) ** 2
            w[t] = new[t]
            x, slopes = X[p, offsets[t] : offsets[t + 1]], u[offsets[t] : offsets[t + 1]]
            if plain:
                for i in range(x.size):
                    slopes[i] -= change * x[i]
                continue
            centre, curvatures = mean[p, t], h[offsets[t] : offsets[t + 1]]
            b[t] -= change * centre
            for i in range(x.size):
                slopes[i] -= change * curvatures[i] * (x[i] - centre)
        norms[p] = norm
        worst = max(worst, moved)
    return float(np.sqrt(worst))


@compiled
def gather(X: NDArray[Any], columns: Index, out: Array) -> None:
    """Write columns of X (n_rows, d) to the rows of `out`, by blocks that fit in the cache."""
    n = X.shape[0]
    for start in range(0, n, 32):
        rows = X[start : start + 32]
        for p in range(columns.size):
            place, j = out[p, start : start + 32], columns[p]
            for i in range(rows.shape[0]):
                place[i] = rows[i, j]


@compiled
def centre(X: Array, offsets: Index, weight: Array) -> None:
    """Take the weighted mean of every task off each row of X (n_features, n_rows)."""
    for p in range(X.shape[0]):
        for t in range(offsets.size - 1):
            x, share = X[p, offsets[t] : offsets[t + 1]], weight[offsets[t] : offsets[t + 1]]
            total, mass = 0.0, 0.0
            for i in range(x.size):
                total += share[i] * x[i]
                mass += share[i]
            if mass > 0.0:
                total /= mass
                for i in range(x.size):
                    x[i] -= total


@compiled
def moments(
    X: NDArray[Any],
    offsets: Index,
    h: Array,
    total: Array,
    pull: float,
    mean: Array,
    curvature: Array,
) -> None:
    """Fill `mean` and `curvature`, see `sweep_rows`; `total` is the sum of h over each task."""
    # An intercept that a curvature pulls takes total / (total + pull) of the mean away.
    for p in range(X.shape[0]):
        for t in range(offsets.size - 1):
            x, curvatures = X[p, offsets[t] : offsets[t + 1]], h[offsets[t] : offsets[t + 1]]
            first, plain = 0.0, 0.0
            for i in range(x.size):
                first += curvatures[i] * x[i]
                plain += curvatures[i] * x[i] * x[i]
            mean[p, t], curvature[p, t] = 0.0, 0.0
            if not total[t] > 0.0:
                continue
            average, share = first / total[t], 1.0
            if pull > 0.0:
                share = total[t] / (total[t] + pull)
            mean[p, t] = share * average
            # About the mean first: the difference of large squares would be rounding.
            about = 0.0
            for i in range(x.size):
                about += curvatures[i] * (x[i] - average) ** 2
            whole = about + (1.0 - share) * total[t] * average**2
            curvature[p, t] = whole if whole > 1e-13 * plain else 0.0
