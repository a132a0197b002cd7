"""What every task says about its coefficients: one small summary per task, then no more rows.

Rows are centred within their task and features divided by their spread within tasks, so that
neither levels nor units play a role. A task then is a matrix of second moments, its principal
axes, and where the target lies along them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask.analysis._related_axes import common_axes
from polytask.analysis._related_noise import Fits, empty_fits, noise_axes
from polytask.data import Form, TaskData

Array = NDArray[np.float64]

# Axes that are kept of wide data, and numbers in all matrices of axes together (160 MB).
_MOST_AXES, _MOST_NUMBERS = 100, 2e7
# Variances below this part of the usual one are rounding.
_NOTHING = 1e-8


@dataclass(frozen=True, eq=False)
class Slopes:
    """The tasks in terms of their coefficients, T tasks on m axes of the features."""

    # Shapes: rows (T,), axes (T, m, m), strength (T, m), score (T, m), rest (T,), spread (m, m),
    # loading (d, m).

    tasks: tuple[Hashable, ...]
    features: tuple[str, ...]
    rows: NDArray[np.intp]
    axes: Array
    strength: Array
    score: Array
    rest: Array
    spread: Array
    loading: Array | None
    level_share: float

    @property
    def telling(self) -> NDArray[np.bool_]:
        """Which tasks say anything: rows that differ, in a feature and in the target."""
        total: Array = (self.score**2).sum(axis=1) + self.rest
        return np.asarray((self.strength > 0).any(axis=1) & (total > 0))

    def of(self, kept: NDArray[np.bool_]) -> Slopes:
        """Return some of the tasks."""
        return replace(
            self,
            tasks=tuple(t for t, keep in zip(self.tasks, kept, strict=True) if keep),
            rows=self.rows[kept],
            axes=self.axes[kept],
            strength=self.strength[kept],
            score=self.score[kept],
            rest=self.rest[kept],
        )


@dataclass(frozen=True, eq=False)
class Block:
    """The labelled rows of one task; `key` is the same where the rows are."""

    X: Any
    y: Array
    weight: Array
    present: NDArray[np.bool_] | None
    key: object

    def centred(self) -> tuple[Array, Array]:
        """Return rows and targets about their means, times the root of the weights."""
        X = self.X.toarray() if is_sparse(self.X) else np.asarray(self.X)
        X, root = X.astype(np.float64), np.sqrt(self.weight)[:, None]
        total = max(float(self.weight.sum()), np.finfo(float).tiny)
        X = X - self.weight @ X / total
        if self.present is not None:
            X = np.where(self.present, X, 0.0)
        mean = float(self.weight @ self.y) / total
        y = np.where(self.y == self.y[:1], 0.0, self.y - mean) if _same(self.y) else self.y - mean
        return X * root, y * root[:, 0]


def _same(y: Array) -> bool:
    return bool(len(y) == 0 or np.ptp(y) == 0.0)


def blocks(data: TaskData, y: Array) -> Iterator[Block]:
    """Yield the labelled rows of every task. Shapes: y (n,)."""
    weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
    for t in range(data.n_tasks):
        present = None if data.present is None else data.present[t]
        if data.form is Form.TARGETS:
            rows: Any = np.flatnonzero(~np.isnan(y[:, t]))
            key: object = rows.tobytes()
            values = y[rows, t]
        else:
            rows, key = data.task_slice(t), t
            values = y[rows]
        own = weight[rows]
        yield Block(data.X[rows], values, own / max(own.mean(), 1e-300) if len(own) else own,
                    present, key)  # fmt: skip


def slopes_of(data: TaskData, y: Array, features: tuple[str, ...], seed: int) -> Slopes:
    """Summarise every task. Shapes: y (n,)."""
    rng = np.random.default_rng(seed)
    most = int(max(min(_MOST_AXES, np.sqrt(_MOST_NUMBERS / data.n_tasks)), 2))
    scale = _spread_within(data, y)
    loading = None
    if data.n_features > most:
        loading = common_axes(data, y, scale, most, rng)
    fits = _fits(data, y, scale, loading)
    axes, strength, score = noise_axes(fits, rng)
    freedom = max(float(np.maximum(fits.rows - 1, 0).sum()), 1.0)
    return Slopes(
        data.tasks, features, fits.rows, axes, strength, score, fits.rest,
        fits.moments / freedom, loading, _level_share(data, y),
    )  # fmt: skip


def _fits(data: TaskData, y: Array, scale: Array, loading: Array | None) -> Fits:
    """Fit every task by least squares, in one pass over its rows."""
    m = data.n_features if loading is None else loading.shape[1]
    fits = empty_fits(data.task_rows(), m)
    last: tuple[object, Array, Array, Array] | None = None
    for t, block in enumerate(blocks(data, y)):
        X, target = block.centred()
        X = X / scale if loading is None else (X / scale) @ loading
        if last is None or last[0] != block.key:
            moments = X.T @ X
            last = (block.key, moments, *np.linalg.eigh(moments))
        _, moments, values, vectors = last
        fits.moments[...] += moments
        # Directions without rows are left out.
        values = np.where(values > _NOTHING * max(len(target), 1), values, 0.0)
        fits.put(t, X, target, values, vectors)
    return fits


def _spread_within(data: TaskData, y: Array) -> Array:
    """Return the standard deviation of every feature within tasks; 1 where there is none."""
    d = data.n_features
    away, freedom, last = np.zeros(d), 0, None
    size = np.zeros(d)
    for block in blocks(data, y):
        if last is None or last[0] != block.key:
            last = (block.key, *_squares(block))
        _, squares, level = last
        away += squares
        size = np.maximum(size, level)
        freedom += max(len(block.y) - 1, 0)
    spread = np.sqrt(away / max(freedom, 1))
    # Rounding leaves a trace of variance on a constant feature.
    constant = spread <= 1e-7 * size
    return np.where(constant, np.inf, spread)


def _squares(block: Block) -> tuple[Array, Array]:
    """Return squared deviations from the mean, summed, and the size of the mean."""
    weight, n = block.weight, len(block.y)
    if n == 0:
        return np.zeros(block.X.shape[1]), np.zeros(block.X.shape[1])
    X = block.X
    mean = np.asarray(X.T @ weight, dtype=float) / n
    if is_sparse(X):
        second = np.asarray(X.multiply(X).T @ weight, dtype=float)
        squares = np.maximum(second - n * mean**2, 0.0)
    else:
        squares = weight @ (np.asarray(X, dtype=float) - mean) ** 2
    if block.present is not None:
        squares, mean = squares * block.present, mean * block.present
    return squares, np.abs(mean)


def _level_share(data: TaskData, y: Array) -> float:
    """Return the share of variance between the means of tasks, noise of the means removed."""
    if data.form is Form.TARGETS:
        return float("nan")
    sizes, task = data.task_rows().astype(float), data.row_tasks()
    n, groups = float(sizes.sum()), int((sizes > 0).sum())
    if groups < 2 or n <= groups:
        return float("nan")
    means = np.bincount(task, y, minlength=data.n_tasks) / np.maximum(sizes, 1)
    within = float(((y - means[task]) ** 2).sum()) / (n - groups)
    grand = float(sizes @ means) / n
    typical = (n - float((sizes**2).sum()) / n) / (groups - 1)
    between = (float(sizes @ (means - grand) ** 2) / (groups - 1) - within) / typical
    whole = max(between, 0.0) + within
    return max(between, 0.0) / whole if whole > 0 else float("nan")
