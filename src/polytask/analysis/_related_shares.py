"""How much of what the features explain is common to the tasks, to groups of them, or own.

Moments of products of two tasks have no noise in them, and what shrinkage took away is put
back, so that the shares do not fall with the number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._related_flips import Estimates, estimates_of, in_common
from polytask.analysis._related_groups import groups_of, merges_of
from polytask.analysis._related_slopes import Slopes

Array = NDArray[np.float64]

# Splits of the noise, and choices of signs, over which moments are averaged; fewer of many
# tasks, whose moments vary less.
_SPLITS, _FLIPS, _FEWER, _MANY = 6, 16, 3, 150
# A total below this part of its parts is nothing but noise.
_LEAST = 1e-3


@dataclass(frozen=True)
class Moments:
    """Moments of coefficients, as variances of predictions, free of noise."""

    total: float
    common: float
    grouped: float
    square: float


@dataclass(frozen=True, eq=False)
class Shared:
    """What tasks share."""

    common: float
    clustered: float
    own: float
    effective: float


@dataclass(frozen=True, eq=False)
class _Metric:
    """Products of predictions: of coefficients, of what shrinkage leaves, and of noise."""

    slopes: Slopes
    estimates: Estimates
    left: Array
    own_left: float
    noise: float

    def pairs(self, B: Array, A: Array | None = None) -> Array:
        """Return the products of tasks in B, shape (T, T)."""
        return np.asarray(B @ self.slopes.spread @ (B if A is None else A).T)


def shared_of(slopes: Slopes, seed: int, *, common_units: bool) -> Shared:
    """Split the variance of the tasks' coefficients."""
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
    chance = _mean([_moments(metric, estimates.along * sign, rng) for sign in signs])
    return _shares(seen, chance, n)


def _metric_of(slopes: Slopes, estimates: Estimates) -> _Metric:
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


def _mean(found: list[Moments]) -> Moments:
    names = ("total", "common", "grouped", "square")
    return Moments(*(float(np.mean([getattr(one, name) for one in found])) for name in names))


def _moments(metric: _Metric, along: Array, rng: np.random.Generator) -> Moments:
    """Return the moments of one split of the noise into two independent halves."""
    slopes = metric.slopes
    added = np.sqrt(metric.estimates.noise) * rng.standard_normal(along.shape)
    whole, first, second = (in_common(slopes, a) for a in (along, along + added, along - added))
    products, halves = metric.pairs(whole), (metric.pairs(first), metric.pairs(second))
    total = (float(np.trace(products)) / len(along) - metric.noise) / metric.own_left
    alike = _same_group(halves[0])
    return Moments(
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


def _shares(seen: Moments, chance: Moments, n_tasks: int) -> Shared:
    size = abs(seen.total) + abs(seen.common)
    if not seen.total > _LEAST * size or size <= 0:
        return Shared(float("nan"), float("nan"), float("nan"), float("nan"))
    common = float(np.clip(seen.common / seen.total, 0.0, 1.0))
    # Groups are alike by chance too, the more the fewer the features.
    luck = float(np.clip(chance.grouped / seen.total, 0.0, 1.0))
    rest = 1.0 - common
    beyond = seen.grouped / seen.total - common - luck * rest
    clustered = 0.0 if luck >= 1.0 else float(np.clip(beyond / (1.0 - luck), 0.0, rest))
    usual = chance.square / seen.total**2
    alike = 0.0
    if usual < 1.0:
        alike = float(np.clip((seen.square / seen.total**2 - usual) / (1.0 - usual), 0.0, 1.0))
    alike = max(alike, common)
    effective = n_tasks / (1.0 + (n_tasks - 1) * alike)
    return Shared(common, clustered, rest - clustered, effective)
