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

_Sums = tuple[Array, Array, Array, Array, Array]

# Numbers that are copied at a time: they stay in the processor's cache.
_CHUNK = 2**18
# A centred square below this share of the plain one has lost half its digits.
_LOST = 1e-8


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
        own = _one_design(design.features.rows(part), y[part, None], weight[part])
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
def collect_shared(design: Shared, Y: Array, weight: Array, scale: Array) -> TaskStatistics:
    """Collect the moments of tasks that share one design.

    Parameters
    ----------
    design : Shared
        The rows.
    Y, weight : ndarray of shape (n_rows, n_columns)
        Targets and weights, weight 0 where a label is missing.
    scale : ndarray of shape (n_columns,)
        Task weights of the objective.

    Returns
    -------
    TaskStatistics
        Tasks with one pattern of observation cost one matrix together.
    """
    scale = np.where(weight.sum(axis=0) > 0, scale, 0.0)
    patterns = _patterns(weight)
    if len(patterns) == 1:
        return _one_design(design.features, Y, weight[:, 0], scale)
    d, tasks = design.features.n_features, Y.shape[1]
    found = TaskStatistics(
        second=np.zeros((tasks, d, d)),
        cross=np.zeros((d, tasks)),
        spread=np.zeros(tasks),
        x_mean=np.zeros((d, tasks)),
        y_mean=np.zeros(tasks),
        scale=scale,
    )
    for columns in patterns:
        seen = np.flatnonzero(weight[:, columns[0]] > 0)
        if len(seen):
            own = weight[seen, columns[0]]
            part = _one_design(design.features.rows(seen), Y[np.ix_(seen, columns)], own)
            for i, k in enumerate(columns):
                _put(found, int(k), part, i)
    return found


def _patterns(weight: Array) -> list[Index]:
    """Return the columns that have the same weights."""
    if np.all(weight == weight[:, :1]):
        return [np.arange(weight.shape[1])]
    groups: dict[bytes, list[int]] = {}
    for k, column in enumerate(np.ascontiguousarray(weight.T)):
        groups.setdefault(column.tobytes(), []).append(k)
    return [np.array(columns) for columns in groups.values()]


def _put(found: TaskStatistics, k: int, part: TaskStatistics, i: int) -> None:
    """Copy the moments of column i of a part, which has one matrix, to column k."""
    found.second[k] = part.second[0]
    found.cross[:, k], found.x_mean[:, k] = part.cross[:, i], part.x_mean[:, i]
    found.spread[k], found.y_mean[k] = part.spread[i], part.y_mean[i]


def _one_design(
    features: Features, Y: Array, weight: Array, scale: Array | None = None
) -> TaskStatistics:
    """Return the moments of columns with the same rows and weights."""
    share = weight / max(float(weight.sum()), np.finfo(float).tiny)
    if sp.issparse(features.matrix):
        found = _sparse_sums(features, Y, share)
        if found is None:
            found = _dense_sums(features, Y, share)
    else:
        found = _dense_sums(features, Y, share)
    second, cross, spread, x_mean, y_mean = found
    return TaskStatistics(
        second=second[None],
        cross=cross,
        spread=spread,
        x_mean=np.repeat(x_mean[:, None], Y.shape[1], axis=1),
        y_mean=y_mean,
        scale=np.ones(Y.shape[1]) if scale is None else scale,
    )


def _dense_sums(features: Features, Y: Array, share: Array) -> _Sums:
    """Return second and cross moments, spread and means, in one pass over the rows.

    Sums are taken about the means of the first rows, which is near enough to lose nothing.
    """
    d, columns = features.n_features, Y.shape[1]
    second, cross, spread = np.zeros((d, d)), np.zeros((d, columns)), np.zeros(columns)
    x_first, y_first = np.zeros(d), np.zeros(columns)
    x_sum, y_sum = np.zeros(d), np.zeros(columns)
    for part in _parts(features):
        X, own = _dense(features, part), share[part]
        if not part.start:
            x_first, y_first = X.mean(axis=0), Y[part].mean(axis=0)
        X -= x_first
        away = Y[part] - y_first
        x_sum += own @ X
        y_sum += own @ away
        root = np.sqrt(own)[:, None]
        X *= root
        away *= root
        second += X.T @ X
        cross += (away.T @ X).T
        spread += np.einsum("ij,ij->j", away, away)
    second -= np.multiply.outer(x_sum, x_sum)
    cross -= np.multiply.outer(x_sum, y_sum)
    spread = np.maximum(spread - y_sum**2, 0.0)
    return second, cross, spread, x_first + x_sum, y_first + y_sum


def _sparse_sums(features: Features, Y: Array, share: Array) -> _Sums | None:
    """Return the same from sparse products; None where cancellation would cost digits."""
    wide = Features(features.matrix.astype(float, copy=False), features.offset)
    x_mean, y_mean = wide.adjoint(share), share @ Y
    second = wide.second_moment(share, x_mean)
    about = x_mean if features.offset is None else x_mean + features.offset
    if not np.all(np.diagonal(second) >= _LOST * about**2):
        return None
    away = Y - y_mean
    residual = share[:, None] * away
    residual -= share[:, None] * residual.sum(axis=0)
    return second, wide.adjoint(residual), np.einsum("ij,ij->j", residual, away), x_mean, y_mean


def _parts(features: Features) -> Iterator[slice]:
    """Yield rows, a bounded number at a time."""
    n, d = features.matrix.shape
    step = max(_CHUNK // max(d, 1), 1)
    yield from (slice(first, min(first + step, n)) for first in range(0, n, step))


def _dense(features: Features, part: slice) -> Array:
    """Return some rows as a new array of float64."""
    rows = features.rows(part)
    sparse = bool(sp.issparse(rows.matrix))
    copy = np.array(rows.matrix.toarray() if sparse else rows.matrix, dtype=float)
    if rows.offset is not None:
        copy -= rows.offset
    return copy
