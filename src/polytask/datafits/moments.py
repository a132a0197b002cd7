"""Sufficient statistics of the squared loss: moments of every task, in one pass.

Sums are formed in float64 about the means, whatever the precision of the features, a
bounded number of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from polytask.datafits.base import Array
from polytask.datafits.designs import Features, Index, Shared, Stacked
from polytask.datafits.gaps import AllRows, pays
from polytask.datafits.sums import Sums, weighted_sums

# Numbers that are copied at a time: they stay in the processor's cache.
_CHUNK = 2**18


@dataclass(frozen=True, eq=False)
class TaskStatistics:
    """Weighted moments of every task, about the task's own means.

    Attributes
    ----------
    second : ndarray of shape (n_columns or 1, n_features, n_features)
        Weighted mean of ``(x - x_mean)(x - x_mean)'``; one matrix if all tasks share it.
    cross : ndarray of shape (n_features, n_columns)
        Weighted mean of ``(x - x_mean)(y - y_mean)``.
    spread : ndarray of shape (n_columns,)
        Weighted mean of ``(y - y_mean)^2``.
    x_mean : ndarray of shape (n_features, n_columns)
        Weighted feature means.
    y_mean : ndarray of shape (n_columns,)
        Weighted target means.
    scale : ndarray of shape (n_columns,)
        Weight of each task in the objective, 0 for a task without weight.
    """

    second: Array
    cross: Array
    spread: Array
    x_mean: Array
    y_mean: Array
    scale: Array


@np.errstate(over="ignore", invalid="ignore")
def collect_stacked(design: Stacked, y: Array, weight: Array, scale: Array) -> TaskStatistics:
    """Collect the moments of tasks that have their own rows.

    Parameters
    ----------
    design : Stacked
        Rows sorted by task; task k owns column k.
    y, weight : ndarray of shape (n_rows,)
        Targets and row weights.
    scale : ndarray of shape (n_columns,)
        Task weights of the objective.

    Returns
    -------
    TaskStatistics
    """
    d, tasks = design.features.n_features, len(design.columns)
    totals = design.collect(weight)
    found = TaskStatistics(
        second=np.zeros((tasks, d, d)),
        cross=np.zeros((d, tasks)),
        spread=np.zeros(tasks),
        x_mean=np.zeros((d, tasks)),
        y_mean=np.zeros(tasks),
        scale=np.where(totals > 0, scale, 0.0),
    )
    counts = np.diff(design.offsets)
    dense = not sp.issparse(design.features.matrix)
    small = dense & (counts * d <= _CHUNK) & (counts > 0)
    for some in _batches(np.flatnonzero(small), counts, d):
        _fill_batch(found, design, some, y, weight)
    for k in np.flatnonzero(~small & (totals > 0)):
        part = slice(int(design.offsets[k]), int(design.offsets[k + 1]))
        share = weight[part] / totals[k]
        own = weighted_sums(design.features.rows(part), y[part, None], share)
        _put(found, int(k), own, 0)
    return found


def _batches(tasks: Index, counts: Index, d: int) -> Iterator[Index]:
    """Yield tasks of similar size, few enough to be copied at once."""
    order = tasks[np.argsort(counts[tasks], kind="stable")[::-1]]
    first = 0
    while first < len(order):
        largest = int(counts[order[first]])
        most = max(_CHUNK // max(largest * d, 1), 1)
        some = order[first : first + most]
        some = some[counts[some] * 2 > largest]
        first += len(some)
        yield np.sort(some)


def _fill_batch(
    found: TaskStatistics, design: Stacked, tasks: Index, y: Array, weight: Array
) -> None:
    """Collect the moments of some tasks, padded with rows of weight 0 to one size."""
    starts, counts = design.offsets[tasks], np.diff(design.offsets)[tasks]
    size = int(counts.max())
    place = np.minimum(np.arange(size), counts[:, None] - 1) + starts[:, None]
    real = np.arange(size) < counts[:, None]
    own = np.where(real, weight[place], 0.0)
    total = own.sum(axis=1, keepdims=True)
    share = np.divide(own, total, out=np.zeros_like(own), where=total > 0)
    rows = design.features.rows(place.ravel())
    X = np.asarray(rows.matrix, dtype=float).reshape(*place.shape, -1)
    if rows.offset is not None:
        X = X - rows.offset
    x_mean = np.matmul(share[:, None, :], X)
    X -= x_mean
    # What rounding left of the means, where they are far from zero.
    x_mean += np.matmul(share[:, None, :], X)
    y_mean = np.einsum("kn,kn->k", share, y[place])
    residual = y[place] - y_mean[:, None]
    weighted = share * residual
    cross = np.matmul((weighted - share * weighted.sum(axis=1, keepdims=True))[:, None, :], X)
    found.spread[tasks] = np.einsum("kn,kn->k", weighted, residual)
    found.cross[:, tasks], found.x_mean[:, tasks] = cross[:, 0].T, x_mean[:, 0].T
    found.y_mean[tasks] = y_mean
    X *= np.sqrt(share)[:, :, None]
    found.second[tasks] = np.matmul(np.swapaxes(X, 1, 2), X)


@np.errstate(over="ignore", invalid="ignore")
def collect_shared(
    design: Shared, Y: Array, weight: Array, scale: Array, rows: Index | None = None
) -> TaskStatistics:
    """Collect the moments of tasks that share one design.

    Parameters
    ----------
    design : Shared
        The rows.
    Y, weight : ndarray of shape (n_rows, n_columns)
        Targets and weights, weight 0 where a label is missing. Weights of rows that are the
        same for all columns may be broadcast, which saves a look at all of them.
    scale : ndarray of shape (n_columns,)
        Task weights of the objective.
    rows : ndarray of int or None, default=None
        Which rows count; None for all.

    Returns
    -------
    TaskStatistics
        Tasks with one pattern of observation cost one matrix together.
    """
    weight = weight if rows is None else weights_of(weight, rows)
    scale = np.where(column_sums(weight) > 0, scale, 0.0)
    patterns = _patterns(weight)
    if len(patterns) == 1:
        return _one_design(design.features, Y, weight[:, 0], scale, rows)
    d, tasks = design.features.n_features, Y.shape[1]
    found = TaskStatistics(
        second=np.zeros((tasks, d, d)),
        cross=np.zeros((d, tasks)),
        spread=np.zeros(tasks),
        x_mean=np.zeros((d, tasks)),
        y_mean=np.zeros(tasks),
        scale=scale,
    )
    near = AllRows.of(design.features, Y, weight, rows) if pays(weight, patterns) else None
    for columns in patterns:
        seen = weight[:, columns[0]] > 0
        if not seen.any():
            continue
        part = None
        if near is not None and 2 * np.count_nonzero(seen) > len(seen):
            part = near.less(np.flatnonzero(~seen), columns)
        if part is None:
            own, chosen = weight[seen, columns[0]], np.flatnonzero(seen)
            chosen = chosen if rows is None else rows[chosen]
            part = weighted_sums(design.features, Y[:, columns], own / own.sum(), chosen)
        for i, k in enumerate(columns):
            _put(found, int(k), part, i)
    return found


def spread_out(weight: Array, columns: int) -> Array:
    """Return weights of rows as those of labels, without a number more in memory.

    Parameters
    ----------
    weight : ndarray of shape (n_rows,)
        Weights of the rows.
    columns : int
        Number of columns.

    Returns
    -------
    ndarray of shape (n_rows, columns)
        Read-only.
    """
    return np.broadcast_to(weight[:, None], (len(weight), columns))


def weights_of(weight: Array, rows: Index) -> Array:
    """Return the weights of some rows, spread out again if they were.

    Parameters
    ----------
    weight : ndarray of shape (n_rows, n_columns)
        Weights of labels.
    rows : ndarray of int
        Which rows.

    Returns
    -------
    ndarray of shape (len(rows), n_columns)
    """
    return weight[rows] if weight.strides[1] else spread_out(weight[rows, 0], weight.shape[1])


def column_sums(weight: Array) -> Array:
    """Sum weights of labels over the rows, once if they are those of rows.

    Parameters
    ----------
    weight : ndarray of shape (n_rows, n_columns)
        Weights.

    Returns
    -------
    ndarray of shape (n_columns,)
    """
    if weight.strides[1]:
        return np.asarray(weight.sum(axis=0), dtype=float)
    return np.full(weight.shape[1], float(weight[:, 0].sum()))


def _patterns(weight: Array) -> list[Index]:
    """Return the columns that have the same weights."""
    if not weight.strides[1] or np.all(weight == weight[:, :1]):
        return [np.arange(weight.shape[1])]
    groups: dict[bytes, list[int]] = {}
    for k, column in enumerate(np.ascontiguousarray(weight.T)):
        groups.setdefault(column.tobytes(), []).append(k)
    return [np.array(columns) for columns in groups.values()]


def _put(found: TaskStatistics, k: int, part: Sums, i: int) -> None:
    """Copy the moments of column i of a part to column k."""
    found.second[k] = part.second
    found.cross[:, k], found.x_mean[:, k] = part.cross[:, i], part.x_mean
    found.spread[k], found.y_mean[k] = part.spread[i], part.y_mean[i]


def _one_design(
    features: Features,
    Y: Array,
    weight: Array,
    scale: Array | None = None,
    rows: Index | None = None,
) -> TaskStatistics:
    """Return the moments of columns with the same rows and weights."""
    share = weight / max(float(weight.sum()), np.finfo(float).tiny)
    found = weighted_sums(features, Y, share, rows)
    return TaskStatistics(
        second=found.second[None],
        cross=found.cross,
        spread=found.spread,
        x_mean=np.repeat(found.x_mean[:, None], Y.shape[1], axis=1),
        y_mean=found.y_mean,
        scale=np.ones(Y.shape[1]) if scale is None else scale,
    )
