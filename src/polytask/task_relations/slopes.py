"""What every task says about its coefficients, and the axes that uncorrelate their noise."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask.data import Form, TaskData

Array = NDArray[np.float64]
Counts = NDArray[np.intp] | None

# Axes that are kept of wide data, and numbers in all matrices of axes together (160 MB).
_MOST_AXES, _MOST_NUMBERS = 100, 2e7
# Variances below this part of the usual one are rounding.
_NOTHING = 1e-8


@dataclass(frozen=True, eq=False)
class TaskSlopes:
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
    def informative(self) -> NDArray[np.bool_]:
        """Which tasks say anything: rows that differ, in a feature and in the target."""
        total: Array = (self.score**2).sum(axis=1) + self.rest
        return np.asarray((self.strength > 0).any(axis=1) & (total > 0))

    def of(self, kept: NDArray[np.bool_]) -> TaskSlopes:
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
class SlopeRows:
    """The labelled rows of one task; `key` is the same where the rows are."""

    # Weights add up to n, the number of rows; few may stand for many that were collected.

    X: Any
    y: Array
    weight: Array
    n: int
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
        same = len(self.y) == 0 or np.ptp(self.y) == 0.0
        y = np.zeros_like(self.y) if same else self.y - mean
        return X * root, y * root[:, 0]


def blocks(data: TaskData, y: Array, counts: Counts = None) -> Iterator[SlopeRows]:
    """Yield the labelled rows of every task. Shapes: y (n,), counts (T,)."""
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
        own, n = weight[rows], len(values) if counts is None else int(counts[t])
        own = own * (n / max(float(own.sum()), 1e-300)) if len(own) else own
        yield SlopeRows(data.X[rows], values, own, n, present, key)


def slopes_of(
    data: TaskData, y: Array, features: tuple[str, ...], seed: int, counts: Counts = None
) -> TaskSlopes:
    """Summarise every task; `counts` rows of each were collected. Shapes: y (n,), counts (T,)."""
    rng = np.random.default_rng(seed)
    most = int(max(min(_MOST_AXES, np.sqrt(_MOST_NUMBERS / data.n_tasks)), 2))
    scale = _spread_within(data, y, counts)
    loading = None
    if data.n_features > most:
        loading = common_axes(data, y, scale, most, rng)
    fits = _fits(data, y, scale, loading, counts)
    axes, strength, score = noise_axes(fits, rng)
    freedom = max(float(np.maximum(fits.rows - 1, 0).sum()), 1.0)
    return TaskSlopes(
        data.tasks, features, fits.rows, axes, strength, score, fits.rest,
        fits.moments / freedom, loading, _level_share(data, y, counts),
    )  # fmt: skip


def _fits(data: TaskData, y: Array, scale: Array, loading: Array | None, counts: Counts) -> Fits:
    """Fit every task by least squares, in one pass over its rows."""
    m = data.n_features if loading is None else loading.shape[1]
    fits = empty_fits(data.task_rows() if counts is None else counts, m)
    last: tuple[object, Array, Array, Array] | None = None
    for t, block in enumerate(blocks(data, y, counts)):
        X, target = block.centred()
        X = X / scale if loading is None else (X / scale) @ loading
        if last is None or last[0] != block.key:
            moments = X.T @ X
            last = (block.key, moments, *np.linalg.eigh(moments))
        _, moments, values, vectors = last
        fits.moments[...] += moments
        # Directions without rows are left out.
        values = np.where(values > _NOTHING * max(block.n, 1), values, 0.0)
        fits.put(t, X, target, values, vectors, shaped=counts is None)
    return fits


def _spread_within(data: TaskData, y: Array, counts: Counts) -> Array:
    """Return the standard deviation of every feature within tasks; 1 where there is none."""
    d = data.n_features
    away, freedom, last = np.zeros(d), 0, None
    size = np.zeros(d)
    for block in blocks(data, y, counts):
        if last is None or last[0] != block.key:
            last = (block.key, *_squares(block))
        _, squares, level = last
        away += squares
        size = np.maximum(size, level)
        freedom += max(block.n - 1, 0)
    spread = np.sqrt(away / max(freedom, 1))
    # Rounding leaves a trace of variance on a constant feature.
    constant = spread <= 1e-7 * size
    return np.where(constant, np.inf, spread)


def _squares(block: SlopeRows) -> tuple[Array, Array]:
    """Return squared deviations from the mean, summed, and the size of the mean."""
    weight, n = block.weight, block.n
    if len(block.y) == 0:
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


def _level_share(data: TaskData, y: Array, counts: Counts) -> float:
    """Return the share of variance between the means of tasks, noise of the means removed."""
    if data.form is Form.TARGETS:
        return float("nan")
    sizes, task = data.task_rows().astype(float), data.row_tasks()
    # Of rows as they are: weights say how many collected rows one stands for.
    weight = np.ones(len(y))
    if counts is not None and data.sample_weight is not None:
        own = np.bincount(task, data.sample_weight, minlength=data.n_tasks)
        sizes = counts.astype(float)
        weight = data.sample_weight * (sizes / np.maximum(own, 1e-300))[task]
    n, groups = float(sizes.sum()), int((sizes > 0).sum())
    if groups < 2 or n <= groups:
        return float("nan")
    means = np.bincount(task, weight * y, minlength=data.n_tasks) / np.maximum(sizes, 1)
    within = float(weight @ (y - means[task]) ** 2) / (n - groups)
    grand = float(sizes @ means) / n
    typical = (n - float((sizes**2).sum()) / n) / (groups - 1)
    between = (float(sizes @ (means - grand) ** 2) / (groups - 1) - within) / typical
    whole = max(between, 0.0) + within
    return max(between, 0.0) / whole if whole > 0 else float("nan")


# Of the shape of the noise: how many residuals per axis an even shape counts for, how far a
# direction may be from even, and how much of a row's leverage is taken out of its residual.
_EVEN, _FAR, _LEAST = 10.0, 5.0, 0.05
# Sums of squares and variances below this part of the usual are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Fits:
    """Least squares of every task, T tasks and m columns; filled task by task."""

    # Shapes: rows (T,), vectors (T, m, m), values (T, m), score (T, m), rest (T,), moments (m, m),
    # shape (m, m).

    rows: NDArray[np.intp]
    vectors: Array
    values: Array
    score: Array
    rest: Array
    moments: Array
    shape: Array

    def put(
        self, t: int, X: Array, target: Array, values: Array, vectors: Array, *, shaped: bool
    ) -> None:
        """Enter a task: centred rows and target, and the axes of the rows."""
        # `shaped`: the rows are those of the task, and tell the shape of their noise.
        self.values[t], self.vectors[t] = values, vectors
        held = values > 0
        inverse = np.divide(1.0, np.sqrt(values), out=np.zeros_like(values), where=held)
        unit = X @ (vectors * inverse)
        self.score[t] = score = unit.T @ target
        residual = target - unit @ score
        rest, total = float(residual @ residual), float(target @ target)
        freedom = int(self.rows[t]) - 1 - int(held.sum())
        if rest <= _ROUNDING * total or freedom < 1:
            self.rest[t] = rest if rest > _ROUNDING * total else 0.0
            return
        self.rest[t] = rest
        if not shaped:
            return
        left = np.maximum(1.0 - (unit**2).sum(axis=1) - 1.0 / len(target), _LEAST)
        seen = (unit * (residual**2 / left)[:, None]).T @ unit
        # Directions without rows say nothing about the shape: even there.
        seen[np.diag_indices_from(seen)] += np.where(held, 0.0, rest / freedom)
        self.shape[...] += freedom * (vectors @ seen @ vectors.T) * (freedom / rest)

    def noise_shape(self) -> Array:
        """Return the covariance of the noise of scores, up to its size, shape (m, m)."""
        m = len(self.shape)
        held = (self.values > 0).sum(axis=1)
        freedom = float(np.maximum(self.rows - 1 - held, 0)[self.rest > 0].sum())
        mean = (self.shape + _EVEN * m * np.eye(m)) / (freedom + _EVEN * m)
        sizes, directions = np.linalg.eigh((mean + mean.T) / 2)
        usual = float(np.median(sizes)) or 1.0
        sizes = np.clip(sizes / usual, 1.0 / _FAR, _FAR)
        return np.asarray(directions * sizes @ directions.T)


def empty_fits(rows: NDArray[np.intp], m: int) -> Fits:
    """Return fits of tasks of some numbers of rows, to be filled."""
    n_tasks = len(rows)
    return Fits(
        rows=rows,
        vectors=np.zeros((n_tasks, m, m)),
        values=np.zeros((n_tasks, m)),
        score=np.zeros((n_tasks, m)),
        rest=np.zeros(n_tasks),
        moments=np.zeros((m, m)),
        shape=np.zeros((m, m)),
    )


def noise_axes(fits: Fits, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Find axes along which the coefficients of a task have uncorrelated noise."""
    # Shapes: axes (T, m, m), strength (T, m), score (T, m).
    held = fits.values > 0
    inverse = np.divide(1.0, np.sqrt(fits.values), out=np.zeros_like(fits.values), where=held)
    shape, axes = fits.noise_shape(), np.empty_like(fits.vectors)
    strength, score = np.zeros_like(fits.values), np.zeros_like(fits.values)
    for t, vectors in enumerate(fits.vectors):
        noise = inverse[t][:, None] * (vectors.T @ shape @ vectors) * inverse[t]
        sizes, turn = np.linalg.eigh((noise + noise.T) / 2)
        sizes = np.where(sizes > _ROUNDING * max(float(sizes[-1]), 0.0), sizes, 0.0)
        turn = mixed_axes(sizes, turn, rng)
        np.divide(1.0, sizes, out=strength[t], where=sizes > 0)
        score[t] = np.sqrt(strength[t]) * (turn.T @ (inverse[t] * fits.score[t]))
        axes[t] = vectors @ turn
    return axes, strength, score


# Sizes closer than this, relative to the larger, count as equal.
_EQUAL = 1e-6
# More axes than are kept, and rounds, of the search for the leading ones.
_SPARE, _ROUNDS = 10, 3


def mixed_axes(size: Array, axes: Array, rng: np.random.Generator) -> Array:
    """Choose at random among axes of equal size. Shapes: size (m,), axes (m, m), result (m, m)."""
    ends = [0, *(np.flatnonzero(np.diff(size) > _EQUAL * size[1:]) + 1).tolist(), len(size)]
    if len(ends) == len(size) + 1:
        return axes
    mixed = axes.copy()
    for first, last in pairwise(ends):
        if last - first > 1:
            turn, upper = np.linalg.qr(rng.standard_normal((last - first, last - first)))
            mixed[:, first:last] = axes[:, first:last] @ (turn * np.sign(np.diag(upper)))
    return mixed


def common_axes(
    data: TaskData, y: Array, scale: Array, n_axes: int, rng: np.random.Generator
) -> Array:
    """Find the leading principal axes of wide features within tasks."""
    # Shapes: y (n,), scale (d,), result (d, n_axes).
    guess = rng.standard_normal((data.n_features, n_axes + _SPARE))
    for _ in range(_ROUNDS):
        guess = np.linalg.qr(_applied(data, scale, guess))[0]
    inner = guess.T @ _applied(data, scale, guess)
    _, turn = np.linalg.eigh((inner + inner.T) / 2)
    return np.asarray(guess @ turn[:, ::-1][:, :n_axes])


def _applied(data: TaskData, scale: Array, vectors: Array) -> Array:
    """Return the second moments of the features within tasks, times vectors."""
    weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
    scaled = vectors / scale[:, None]
    out = np.zeros_like(vectors)
    if data.form is Form.TARGETS:
        parts: list[Any] = [slice(0, data.n_rows)]
    else:
        parts = [data.task_slice(t) for t in range(data.n_tasks)]
    for part in parts:
        out += _part(data.X[part], weight[part], scaled)
    return out / scale[:, None]


def _part(X: Any, weight: Array, scaled: Array) -> Array:  # noqa: ANN401 - ndarray or CSR
    if not len(weight) or not weight.any():
        return np.zeros_like(scaled)
    X = X if is_sparse(X) else np.asarray(X, dtype=np.float64)
    seen = np.asarray(X @ scaled)
    seen = weight[:, None] * (seen - weight @ seen / weight.sum())
    return np.asarray(X.T @ seen)
