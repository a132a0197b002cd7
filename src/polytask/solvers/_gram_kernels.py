"""Compiled sweeps over the rows of W on second moments, one matrix per task.

Numba is imported with this module, so it is imported only where a solver runs.
"""

from __future__ import annotations

import numpy as np

from polytask.solvers._separate_kernels import Array, Index, compiled, coupled_row


@compiled
def sweep_gram(
    active: Index,
    second: Array,
    mean: Array,
    scale: Array,
    mean_weight: Array,
    curvature: Array,
    strengths: Array,
    lower: Array,
    upper: Array,
    coupling: Array,
    spectral_bound: Array,
    W: Array,
    norms: Array,
    misfit: Array,
    u: Array,
) -> float:
    """Minimise over each of the active rows once; return the largest violation seen."""
    n_tasks, d = u.shape
    v, new, none = np.empty(n_tasks), np.empty(n_tasks), np.zeros(0)
    work = np.empty((4, n_tasks))
    worst = 0.0
    for j in active:
        k, m = (j if strengths.shape[0] > 1 else 0), (j if lower.shape[0] > 1 else 0)
        entry, group, ridge = strengths[k, 0], strengths[k, 1], strengths[k, 2]
        low, high = (lower[m], upper[m]) if lower.shape[0] > 0 else (none, none)
        w, row_curvature = W[j], curvature[j]
        for t in range(n_tasks):
            v[t] = u[t, j] + (row_curvature[t] - ridge) * w[t]
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
            norms[j],
            new,
            work,
        )
        if norm == 0.0 and norms[j] == 0.0:
            continue
        moved = 0.0
        for t in range(n_tasks):
            change = new[t] - w[t]
            if change == 0.0:
                continue
            moved += ((row_curvature[t] + spectral_bound[t]) * change) ** 2
            w[t] = new[t]
            misfit[t] -= change * mean[t, j]
            row, slopes, pull = second[t, j], u[t], change * scale[t]
            for k in range(d):
                slopes[k] -= pull * row[k]
            if mean_weight[t] > 0.0:
                about, pull = mean[t], change * mean_weight[t] * mean[t, j]
                for k in range(d):
                    slopes[k] -= pull * about[k]
        norms[j] = norm
        worst = max(worst, moved)
    return float(np.sqrt(worst))


@compiled
def move_levels(
    groups: Index,
    direct: Array,
    spread: Array,
    gather: Array,
    anchor: Array,
    share: Array,
    strength: float,
    mean: Array,
    scale: Array,
    misfit: Array,
    b: Array,
    u: Array,
) -> None:
    """Move the intercepts to their best."""
    n_tasks, d = u.shape
    size = groups.max() + 1
    sums, right, weighted = np.zeros(size), np.empty(n_tasks), np.zeros(size)
    if strength > 0.0:
        for t in range(n_tasks):
            sums[groups[t]] += b[t]
    for t in range(n_tasks):
        right[t] = scale[t] * (misfit[t] - b[t])
        if strength > 0.0:
            right[t] -= strength * (b[t] - anchor[t] - share[t] * sums[groups[t]])
        weighted[groups[t]] += gather[t] * right[t]
    for t in range(n_tasks):
        step = direct[t] * right[t] + spread[t] * weighted[groups[t]]
        b[t] += step
        pull = scale[t] * step
        if pull != 0.0:
            for k in range(d):
                u[t, k] -= pull * mean[t, k]


@compiled
def sweep_gram_often(
    times: int,
    aim: float,
    active: Index,
    second: Array,
    mean: Array,
    scale: Array,
    mean_weight: Array,
    curvature: Array,
    strengths: Array,
    lower: Array,
    upper: Array,
    coupling: Array,
    spectral_bound: Array,
    W: Array,
    norms: Array,
    misfit: Array,
    u: Array,
    b: Array,
    follow: Array,
    levels: tuple[Index, Array, Array, Array, Array, Array, float],
) -> tuple[float, int]:
    """Sweep and move the intercepts in turn; return the last violation and the sweeps made."""
    violation, before = 0.0, np.empty(misfit.size)
    for k in range(times):
        before[:] = misfit
        violation = sweep_gram(
            active, second, mean, scale, mean_weight, curvature, strengths, lower, upper, coupling,
            spectral_bound, W, norms, misfit, u,
        )  # fmt: skip
        for t in range(before.size):
            b[t] += follow[t] * (misfit[t] - before[t])
        groups, direct, spread, gather, anchor, share, strength = levels
        move_levels(
            groups, direct, spread, gather, anchor, share, strength, mean, scale, misfit, b, u
        )
        if violation <= aim:
            return violation, k + 1
    return violation, times
