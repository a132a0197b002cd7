"""Whether tasks are related at all, and how much of what features explain is common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask.task_relations.map import groups_of, merges_of
from polytask.task_relations.records import UNKNOWN, Shares
from polytask.task_relations.slopes import TaskSlopes

Array = NDArray[np.float64]

# Ratios of signal to noise that are tried for all tasks together.
_RATIOS = np.logspace(-4, 3, 43)
# Numbers held at a time, and multiplications that the test of features may cost.
_HELD, _COST = 4e6, 2e10
ASPECTS = ("direction", "structure", "features")


@dataclass(frozen=True, eq=False)
class Estimates:
    """Coefficients of the tasks, drawn to zero as far as noise asks."""

    # Shapes: along (T, m), kept (T, m), noise (T, m), scale (T,).

    along: Array
    kept: Array
    noise: Array
    scale: Array


def estimates_of(slopes: TaskSlopes) -> Estimates:
    """Estimate the coefficients of all tasks."""
    freedom = np.maximum(slopes.rows - 1, 1).astype(float)
    squares, strength = slopes.score**2, slopes.strength
    total = squares.sum(axis=1) + slopes.rest
    scale = np.sqrt(total / freedom)
    ratio, noise = _likeliest(squares, strength, slopes.rest, freedom)
    gain = ratio * strength
    shrunk = ratio * np.sqrt(strength) / (1.0 + gain)
    return Estimates(
        along=shrunk * slopes.score / scale[:, None],
        kept=gain / (1.0 + gain),
        noise=shrunk**2 * (noise / scale**2)[:, None],
        scale=scale,
    )


def _likeliest(
    squares: Array, strength: Array, rest: Array, freedom: Array
) -> tuple[float, Array]:
    """Return the ratio of signal to noise per axis, and the noise variance of every task."""
    usual = float(strength.sum() / np.maximum(freedom, 1).sum())
    total = squares.sum(axis=1) + rest
    best, found = -np.inf, (1.0, total / freedom)
    for ratio in _RATIOS / usual:
        # A target without noise would have infinite likelihood.
        noise = np.maximum(
            ((squares / (1.0 + ratio * strength)).sum(axis=1) + rest) / freedom,
            1e-10 * total / freedom,
        )
        fit = -float(freedom @ np.log(noise) + np.log1p(ratio * strength).sum())
        if fit > best:
            best, found = fit, (float(ratio), noise)
    ratio, noise = found
    known = freedom - (strength > 0).sum(axis=1)
    # Where enough rows are left over, they tell the noise without any model.
    free = np.where(known >= 5, rest / np.maximum(known, 1), noise)
    return ratio, np.asarray(free)


def sign_flip_test(slopes: TaskSlopes, n_flips: int, seed: int) -> tuple[float, dict[str, float]]:
    """Test whether the tasks have nothing to do with each other."""
    along = estimates_of(slopes).along
    rng = np.random.default_rng(seed)
    found = [_statistics(slopes, along[None])]
    found += [_statistics(slopes, flipped) for flipped in _flips(along, n_flips, slopes, rng)]
    p_values = _tail_shares(np.concatenate(found))
    parts = {name: float(p) for name, p in zip(ASPECTS, p_values[0], strict=True)}
    return _as_small(p_values), parts


def _as_small(p_values: Array) -> float:
    """Return the share of rows whose smallest p-value is as small as that of the first."""
    # The smallest ones have few values; where they are equal the next smallest decide.
    ranked = np.sort(p_values, axis=1)
    first = ranked[0]
    less, equal = np.zeros(len(ranked), dtype=bool), np.ones(len(ranked), dtype=bool)
    for column, value in zip(ranked.T, first, strict=True):
        less |= equal & (column < value)
        equal &= column == value
    return float((less | equal).mean())


def _flips(
    along: Array, n_flips: int, slopes: TaskSlopes, rng: np.random.Generator
) -> Iterator[Array]:
    """Yield coefficients with random signs, of shape (some, T, m)."""
    width = max(along.size, _shown(slopes) * len(along))
    step = int(max(1, min(n_flips, _HELD // width)))
    for start in range(0, n_flips, step):
        shape = (min(step, n_flips - start), *along.shape)
        yield along * rng.choice(np.array([-1.0, 1.0]), size=shape)


def in_common(slopes: TaskSlopes, along: Array) -> Array:
    """Turn coefficients along the axes of each task, (..., T, m), to axes common to all."""
    moved = np.moveaxis(along, -2, 0)
    flat = moved.reshape(len(moved), -1, moved.shape[-1])
    turned = np.matmul(flat, slopes.axes.transpose(0, 2, 1)).reshape(moved.shape)
    return np.asarray(np.moveaxis(turned, 0, -2))


def _statistics(slopes: TaskSlopes, along: Array) -> Array:
    """Return the three statistics of every choice of signs, shape (some, 3)."""
    B = in_common(slopes, along)
    direction = (B.sum(axis=1) ** 2).sum(axis=1)
    narrow = B if B.shape[1] < B.shape[2] else B.transpose(0, 2, 1)
    structure = (np.matmul(narrow, narrow.transpose(0, 2, 1)) ** 2).sum(axis=(1, 2))
    return np.stack([direction, structure, _profiles_alike(slopes, along, B)], axis=1)


def _profiles_alike(slopes: TaskSlopes, along: Array, B: Array) -> Array:
    """Return how alike tasks are in which features have large coefficients."""
    # Squares of coefficients about their means over all flips, each task's brought to its own
    # size, so that tasks with few large coefficients of their own do not look alike by chance
    # more often than flips do.
    squares = _on_features(slopes, B) ** 2
    usual = _on_features(slopes, slopes.axes.transpose(0, 2, 1)) ** 2
    away = squares - np.matmul((along[0] ** 2)[:, None, :], usual)[:, 0]
    size = np.sqrt((away**2).sum(axis=2, keepdims=True))
    weight = (along[0] ** 2).sum(axis=1)[:, None]
    profile = np.divide(weight * away, size, out=np.zeros_like(away), where=size > 0)
    return np.asarray((profile.sum(axis=1) ** 2).sum(axis=1))


def _on_features(slopes: TaskSlopes, B: Array) -> Array:
    loading = slopes.loading
    if loading is None:
        return B
    shown = _shown(slopes)
    if shown < len(loading):
        largest = np.argsort(-(loading**2).sum(axis=1), kind="stable")[:shown]
        loading = loading[np.sort(largest)]
    return np.asarray(B @ loading.T)


def _shown(slopes: TaskSlopes) -> int:
    """Return for how many features large coefficients are compared; more would take long."""
    if slopes.loading is None:
        return len(slopes.spread)
    d, m = (int(size) for size in slopes.loading.shape)
    most: float = _COST / (1000.0 * m * len(slopes.tasks))
    return min(d, max(m, int(most)))


def _tail_shares(values: Array) -> Array:
    """Return for each value the share of its column that is as large, ties included."""
    n = len(values)
    out = np.empty(values.shape)
    for column in range(values.shape[1]):
        # Equal but for rounding: flips of all signs at once change nothing.
        size = float(np.abs(values[:, column]).max()) or 1.0
        rounded = np.round(values[:, column] / size, 10)
        below = np.searchsorted(np.sort(rounded), rounded, side="left")
        out[:, column] = (n - below) / n
    return out


# Splits of the noise, and choices of signs, over which moments are averaged; fewer of many
# tasks, whose moments vary less.
_SPLITS, _FLIPS, _FEWER, _MANY = 6, 16, 3, 150
# A total below this part of its parts is nothing but noise.
_LEAST = 1e-3


@dataclass(frozen=True)
class CoefficientMoments:
    """Moments of coefficients, as variances of predictions, free of noise."""

    total: float
    common: float
    grouped: float
    square: float


@dataclass(frozen=True, eq=False)
class _Metric:
    """Products of predictions: of coefficients, of what shrinkage leaves, and of noise."""

    slopes: TaskSlopes
    estimates: Estimates
    left: Array
    own_left: float
    noise: float

    def pairs(self, B: Array, A: Array | None = None) -> Array:
        """Return the products of tasks in B, shape (T, T)."""
        return np.asarray(B @ self.slopes.spread @ (B if A is None else A).T)


def shared_of(slopes: TaskSlopes, seed: int, *, common_units: bool) -> tuple[Shares, float]:
    """Split the variance of the tasks' coefficients, and count effective tasks."""
    rng = np.random.default_rng(seed)
    estimates = estimates_of(slopes)
    if common_units:
        scale = estimates.scale / estimates.scale.mean()
        estimates = replace(
            estimates,
            along=estimates.along * scale[:, None],
            noise=estimates.noise * scale[:, None] ** 2,
        )
    metric = _metric_of(slopes, estimates)
    n = len(slopes.tasks)
    splits, flips = (_SPLITS, _FLIPS) if n <= _MANY else (_FEWER, _FEWER)
    seen = _mean([_moments(metric, estimates.along, rng) for _ in range(splits)])
    signs = rng.choice(np.array([-1.0, 1.0]), size=(flips, *estimates.along.shape))
    flipped = _mean([_moments(metric, estimates.along * sign, rng) for sign in signs])
    mixed = [_moments(metric, _mixed(slopes, estimates.along, rng), rng) for _ in range(flips)]
    return _shares(seen, flipped, mixed, n)


def _mixed(slopes: TaskSlopes, along: Array, rng: np.random.Generator) -> Array:
    """Draw coefficients with the mean and covariance of those seen, but without groups."""
    B = in_common(slopes, along)
    mean = B.mean(axis=0)
    weights = rng.standard_normal((len(B), len(B))) / np.sqrt(len(B))
    drawn = mean + weights @ (B - mean)
    return np.asarray(np.matmul(slopes.axes.transpose(0, 2, 1), drawn[:, :, None])[:, :, 0])


def _metric_of(slopes: TaskSlopes, estimates: Estimates) -> _Metric:
    """Measure what shrinkage leaves of products of coefficients of the kind seen."""
    axes = slopes.axes
    left = np.matmul(axes * estimates.kept[:, None, :], axes.transpose(0, 2, 1))
    B = in_common(slopes, estimates.along)
    seen = B.T @ B
    # tr(left_s spread left_t seen), all pairs at once.
    turned = np.matmul(seen @ left, slopes.spread).reshape(len(left), -1)
    whole = float((slopes.spread * seen).sum())
    products = turned @ left.reshape(len(left), -1).T / max(whole, np.finfo(float).tiny)
    size = (axes * np.matmul(slopes.spread, axes)).sum(axis=1)
    noise = float((size * estimates.noise).sum()) / len(left)
    return _Metric(slopes, estimates, products, float(np.trace(products)) / len(left), noise)


def _mean(found: list[CoefficientMoments]) -> CoefficientMoments:
    names = ("total", "common", "grouped", "square")
    return CoefficientMoments(
        *(float(np.mean([getattr(one, name) for one in found])) for name in names)
    )


def _moments(metric: _Metric, along: Array, rng: np.random.Generator) -> CoefficientMoments:
    """Return the moments of one split of the noise into two independent halves."""
    slopes = metric.slopes
    added = np.sqrt(metric.estimates.noise) * rng.standard_normal(along.shape)
    whole, first, second = (in_common(slopes, a) for a in (along, along + added, along - added))
    products, halves = metric.pairs(whole), (metric.pairs(first), metric.pairs(second))
    total = (float(np.trace(products)) / len(along) - metric.noise) / metric.own_left
    alike = _same_group(halves[0])
    return CoefficientMoments(
        total=total,
        common=_ratio(products, metric.left, ~np.eye(len(along), dtype=bool)),
        grouped=_ratio(halves[1], metric.left, alike) * float(alike.any(axis=1).mean()),
        square=_ratio(halves[0] * halves[1], metric.left**2, ~np.eye(len(along), dtype=bool)),
    )


def _ratio(values: Array, left: Array, pairs: NDArray[np.bool_]) -> float:
    below = float(left[pairs].sum())
    return float(values[pairs].sum()) / below if below > 0 else 0.0


def _same_group(products: Array) -> NDArray[np.bool_]:
    """Return which pairs of tasks are in one group by their correlations."""
    similarity = correlations(products)
    labels = groups_of(similarity, merges_of(similarity))
    if not labels.any():
        return ~np.eye(len(labels), dtype=bool)
    alike = labels[:, None] == labels[None, :]
    np.fill_diagonal(alike, val=False)
    return np.asarray(alike)


def correlations(products: Array) -> Array:
    """Turn products into correlations, 0 where a task has no size."""
    size = np.sqrt(np.maximum(np.diag(products), 0.0))
    below = np.outer(size, size)
    found = np.divide(products, below, out=np.zeros_like(products), where=below > 0)
    found = np.clip((found + found.T) / 2, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)


def _shares(
    seen: CoefficientMoments,
    flipped: CoefficientMoments,
    mixed: list[CoefficientMoments],
    n_tasks: int,
) -> tuple[Shares, float]:
    size = abs(seen.total) + abs(seen.common)
    if not seen.total > _LEAST * size or size <= 0:
        return UNKNOWN, float("nan")
    common = float(np.clip(seen.common / seen.total, 0.0, 1.0))
    rest = 1.0 - common
    # Some tasks are alike by chance too, the more the fewer the features. Each way of drawing
    # chance misses groups: flips where the effects lie along one axis, mixtures where a plane
    # is in common.
    grouped = seen.grouped / seen.total
    luck = float(np.clip(flipped.grouped / seen.total, 0.0, 1.0)) * rest
    beyond_flips = _corrected(grouped - common, luck, rest)
    chance = [max(one.grouped / seen.total - common, 0.0) for one in mixed]
    # Groups that no mixture reaches are not of chance: a correction would take what is theirs.
    luck = float(np.mean(chance)) if grouped - common <= max(chance) else 0.0
    clustered = max(beyond_flips, _corrected(grouped - common, luck, rest))
    usual = flipped.square / seen.total**2
    alike = 0.0
    if usual < 1.0:
        alike = float(np.clip((seen.square / seen.total**2 - usual) / (1.0 - usual), 0.0, 1.0))
    alike = max(alike, common)
    effective = n_tasks / (1.0 + (n_tasks - 1) * alike)
    return Shares(common, clustered, rest - clustered), effective


def _corrected(share: float, luck: float, most: float) -> float:
    """Return a share without what chance gives of it, so that it reaches most where all is."""
    if luck >= most:
        return 0.0
    return float(np.clip(most * (share - luck) / (most - luck), 0.0, most))
