"""Sufficient statistics of the squared loss: moments of every task, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import dgemm, dsyrk

from polytask.datafits.base import Array
from polytask.datafits.designs import Features, Index, Shared, Stacked

# Numbers that are worked on at a time, and the fewest rows that are.
_CHUNK = 2**17
_FEWEST_ROWS = 256
# A centred square below this share of the plain one has lost half its digits.
_LOST = 1e-8
# Below this one a second pass, about the means, is worth its time.
_NEAR = 1e-4
# Features whose mean is beyond so many standard deviations are shifted before they are squared.
_FAR = 5.0
# Rows that tell about how far features are from zero.
_LOOKED_AT = 64


@dataclass(frozen=True, eq=False)
class CentredSums:
    """Moments of features and targets about their means."""

    # Shapes: second (n_features, n_features), cross (n_features, n_columns), spread (n_columns,),
    # x_mean (n_features,), y_mean (n_columns,).

    second: Array
    cross: Array
    spread: Array
    x_mean: Array
    y_mean: Array


_Centre = tuple[Array | None, Array | None]
_NO_CENTRE: _Centre = (None, None)


def weighted_sums(
    features: Features, Y: Array, share: Array, rows: Index | None = None
) -> CentredSums:
    """Return the moments of some rows."""
    # Shapes: Y (n_rows, n_columns), share (n_chosen,), rows (n_chosen,).
    if sp.issparse(features.matrix):
        chosen = features if rows is None else features.rows(rows)
        found = _sparse_sums(chosen, Y if rows is None else Y[rows], share)
        if found is not None:
            return found
    few, centre = slice(0, _LOOKED_AT) if rows is None else rows[:_LOOKED_AT], _NO_CENTRE
    if len(Y[few]):
        # What to subtract from features and from targets, as the first rows tell.
        centre = _near(_dense(features, few)), _near(Y[few])
    found, lost = _dense_sums(features, Y, share, rows, centre)
    if lost:
        # About their means nothing is lost to features that were far from them.
        found, _ = _dense_sums(features, Y, share, rows, (found.x_mean, found.y_mean))
    return found


def _near(values: Array) -> Array | None:
    """Return a point near the values, None if zero will do; constants are met exactly."""
    away = values - values[0]
    mean = away.mean(axis=0)
    far = np.abs(values[0] + mean) > _FAR * away.std(axis=0)
    return values[0] + mean if far.any() else None


class _Totals:
    """Sums of products of rows that have been weighted and shifted."""

    def __init__(self, d: int, columns: int) -> None:
        # The products are added in place by BLAS, which fills one triangle of the first.
        self.upper = np.zeros((d, d), order="F")
        self.rest = np.zeros((d, d))
        self.cross = np.zeros((d, columns), order="F")
        self.spread = np.zeros(columns)
        self.x_sum = np.zeros(d)
        self.y_sum = np.zeros(columns)

    def add(self, X: Array, Y: Array, root: Array) -> None:
        """Add rows, each multiplied by its `root` already."""
        if X.flags.c_contiguous:
            self.upper = dsyrk(1.0, X.T, beta=1.0, c=self.upper, overwrite_c=1)
        else:
            self.rest += X.T @ X
        if X.flags.c_contiguous and Y.flags.c_contiguous and Y.size:
            settings = {"beta": 1.0, "trans_b": 1, "overwrite_c": 1}
            self.cross = dgemm(1.0, X.T, Y.T, c=self.cross, **settings)
        else:
            self.cross += (Y.T @ X).T
        self.x_sum += root @ X
        self.y_sum += root @ Y
        self.spread += np.einsum("ij,ij->j", Y, Y)

    def second(self) -> Array:
        """Return the sum of products of features."""
        lower = np.triu(self.upper, 1).T
        return np.ascontiguousarray(self.upper + lower + self.rest)


def _dense_sums(
    features: Features, Y: Array, share: Array, rows: Index | None, centre: _Centre
) -> tuple[CentredSums, bool]:
    """Return the moments from one pass, and whether digits were lost far from the centre."""
    x_centre, y_centre = centre
    d, columns = features.n_features, Y.shape[1]
    alike = bool(len(share)) and bool(np.all(share == share[0]))
    totals = _Totals(d, columns)
    for part in _parts(len(share), d):
        index = part if rows is None else rows[part]
        X = _shifted(_dense(features, index), x_centre, features.matrix)
        away = Y[index] if y_centre is None else Y[index] - y_centre
        root = np.ones(len(X)) if alike else np.sqrt(share[part])
        if not alike:
            X, away = X * root[:, None], away * root[:, None]
        totals.add(X, away, root)
    factor = float(share[0]) if alike else 1.0
    x_sum, y_sum = factor * totals.x_sum, factor * totals.y_sum
    second, spread = factor * totals.second(), factor * totals.spread
    lost = bool(np.any(np.diagonal(second) - x_sum**2 < _NEAR * np.diagonal(second)))
    lost = lost or bool(np.any(spread - y_sum**2 < _NEAR * spread))
    second -= np.multiply.outer(x_sum, x_sum)
    found = CentredSums(
        second=second,
        cross=np.ascontiguousarray(factor * totals.cross - np.multiply.outer(x_sum, y_sum)),
        spread=np.maximum(spread - y_sum**2, 0.0),
        x_mean=x_sum if x_centre is None else x_centre + x_sum,
        y_mean=y_sum if y_centre is None else y_centre + y_sum,
    )
    return found, lost


def _shifted(X: Array, centre: Array | None, matrix: object) -> Array:
    """Subtract the centre, in place if X is not a part of the matrix."""
    if centre is None:
        return X
    if isinstance(matrix, np.ndarray) and np.may_share_memory(X, matrix):
        return X - centre
    X -= centre
    return X


def _sparse_sums(features: Features, Y: Array, share: Array) -> CentredSums | None:
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
    spread = np.einsum("ij,ij->j", residual, away)
    return CentredSums(second, wide.adjoint(residual), spread, x_mean, y_mean)


def _parts(n: int, d: int) -> Iterator[slice]:
    """Yield rows, a bounded number at a time."""
    step = max(_CHUNK // max(d, 1), _FEWEST_ROWS)
    yield from (slice(first, min(first + step, n)) for first in range(0, n, step))


def _dense(features: Features, part: slice | Index) -> Array:
    """Return some rows in float64: a view where they are so already."""
    rows = features.rows(part)
    sparse = bool(sp.issparse(rows.matrix))
    plain = np.asarray(rows.matrix.toarray() if sparse else rows.matrix, dtype=float)
    return plain if rows.offset is None else plain - rows.offset


# Numbers that are copied at a time: they stay in the processor's cache.
_TASK_CHUNK = 2**18


@dataclass(frozen=True, eq=False)
class TaskMoments:
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
def collect_stacked(design: Stacked, y: Array, weight: Array, scale: Array) -> TaskMoments:
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
    TaskMoments
    """
    d, tasks = design.features.n_features, len(design.columns)
    totals = design.collect(weight)
    found = TaskMoments(
        second=np.zeros((tasks, d, d)),
        cross=np.zeros((d, tasks)),
        spread=np.zeros(tasks),
        x_mean=np.zeros((d, tasks)),
        y_mean=np.zeros(tasks),
        scale=np.where(totals > 0, scale, 0.0),
    )
    counts = np.diff(design.offsets)
    dense = not sp.issparse(design.features.matrix)
    small = dense & (counts * d <= _TASK_CHUNK) & (counts > 0)
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
        most = max(_TASK_CHUNK // max(largest * d, 1), 1)
        some = order[first : first + most]
        some = some[counts[some] * 2 > largest]
        first += len(some)
        yield np.sort(some)


def _fill_batch(
    found: TaskMoments, design: Stacked, tasks: Index, y: Array, weight: Array
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
) -> TaskMoments:
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
    TaskMoments
        Tasks with one pattern of observation cost one matrix together.
    """
    weight = weight if rows is None else weights_of(weight, rows)
    scale = np.where(column_sums(weight) > 0, scale, 0.0)
    patterns = _patterns(weight)
    if len(patterns) == 1:
        return _one_design(design.features, Y, weight[:, 0], scale, rows)
    d, tasks = design.features.n_features, Y.shape[1]
    found = TaskMoments(
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


def _put(found: TaskMoments, k: int, part: CentredSums, i: int) -> None:
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
) -> TaskMoments:
    """Return the moments of columns with the same rows and weights."""
    share = weight / max(float(weight.sum()), np.finfo(float).tiny)
    found = weighted_sums(features, Y, share, rows)
    return TaskMoments(
        second=found.second[None],
        cross=found.cross,
        spread=found.spread,
        x_mean=np.repeat(found.x_mean[:, None], Y.shape[1], axis=1),
        y_mean=found.y_mean,
        scale=np.ones(Y.shape[1]) if scale is None else scale,
    )


# What is left must be this share at least of what it is a difference of.
_KEPT = 1e-2
# All rows are gone by where that costs no more than this share.
_CHEAPER = 0.7


def pays(weight: Array, patterns: list[Index]) -> bool:
    """Say whether to go by all rows is cheaper than to collect each pattern of labels."""
    # Shapes: weight (n_rows, n_columns).
    n = len(weight)
    base = weight.max(axis=1)
    # A row has one weight, whatever its labels.
    if not np.all((weight == 0) | (weight == base[:, None])):
        return False
    seen = np.array([np.count_nonzero(weight[:, columns[0]]) for columns in patterns])
    return bool(n + np.minimum(seen, n - seen).sum() < _CHEAPER * seen.sum())


@dataclass(frozen=True, eq=False)
class AllRows:
    """Moments of all rows, from which those of tasks with a few missing labels follow."""

    # Shapes: share (n_chosen,), rows (n_chosen,), y_zero (n_columns,).

    features: Features
    share: Array
    rows: Index
    y_zero: Array
    sums: CentredSums

    @classmethod
    def of(cls, features: Features, Y: Array, weight: Array, rows: Index | None) -> AllRows:
        """Collect the moments of all rows."""
        # Shapes: Y (n_rows, n_columns), weight (n_chosen, n_columns), rows (n_chosen,).
        base = weight.max(axis=1)
        share, chosen = base / base.sum(), np.arange(len(Y)) if rows is None else rows
        total = np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
        y_zero = np.einsum("ij,ij->j", weight, Y[chosen]) / total
        away = np.zeros(Y.shape)
        away[chosen] = np.where(weight > 0, Y[chosen] - y_zero, 0.0)
        return cls(features, share, chosen, y_zero, weighted_sums(features, away, share, rows))

    def less(self, missing: Index, columns: Index) -> CentredSums | None:
        """Return the moments of some columns, None where the difference lost digits."""
        missing = missing[self.share[missing] > 0]
        gone = float(self.share[missing].sum())
        s, left = self.sums, 1.0 - gone
        second, shift = s.second, np.zeros(len(s.x_mean))
        if len(missing):
            own, gaps = self.share[missing] / gone, self.rows[missing]
            none = np.zeros((int(self.rows.max()) + 1, 0))
            lost = weighted_sums(self.features, none, own, gaps)
            away = lost.x_mean - s.x_mean
            second = second - gone * (lost.second + np.multiply.outer(away, away))
            shift = -gone * away / left
        own = np.diagonal(second)
        centred = second / left - np.multiply.outer(shift, shift)
        kept = np.minimum(own, np.diagonal(centred) * left)
        if not np.all(kept >= _KEPT * np.diagonal(s.second)):
            return None
        level = s.y_mean[columns] / left
        square = (s.spread[columns] + s.y_mean[columns] ** 2) / left
        return CentredSums(
            second=centred,
            cross=s.cross[:, columns] / left - np.multiply.outer(shift, level),
            spread=np.maximum(square - level**2, 0.0),
            x_mean=s.x_mean + shift,
            y_mean=self.y_zero[columns] + level,
        )
