"""The local quadratic of a data term: a weighted squared loss with working targets.

To second order around a point every scalar loss is ``h/2 (z - eta)^2`` with h its
curvature and z = eta - slope / h, so the machinery of the squared loss, every intercept
mode included, solves each step of Newton's method.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from polytask.datafits.base import Array
from polytask.datafits.blocks import ScalarBlock
from polytask.datafits.designs import Shared
from polytask.datafits.moments import TaskStatistics, collect_shared, collect_stacked
from polytask.datafits.samples import Samples
from polytask.datafits.statistics import SquaredStatistics
from polytask.losses import Huber, Squared

# Curvatures below this share of the largest possible one are raised to it: a saturated row
# would ask for an infinite working target. The gradient of the quadratic stays exact.
_FLOOR = 1e-6


def local_quadratic(datafit: Samples, W: Array, b: Array) -> SquaredStatistics:
    """Return the quadratic with the value (up to a constant), gradient and curvature at (W, b)."""
    # Shapes: W (n_features, n_columns), b (n_columns,).
    parts = [(block.columns, _block(block, W, b)) for block in _scalar(datafit)]
    if len(parts) == 1 and np.array_equal(parts[0][0], np.arange(datafit.n_columns)):
        return SquaredStatistics(parts[0][1], datafit.intercepts)
    return SquaredStatistics(_scattered(parts, datafit.shape), datafit.intercepts)


def has_local_quadratic(datafit: Samples) -> bool:
    """Say whether every block has one prediction per row and task, and curvature."""
    return all(
        isinstance(block, ScalarBlock) and not block.loss.has_linear_parts
        for block in datafit.blocks
    )


def majorant(datafit: Samples, W: Array, b: Array) -> Samples | None:
    """Return a weighted squared loss that majorises a data term and touches it at (W, b)."""
    # Shapes: W (n_features, n_columns), b (n_columns,).
    blocks = _scalar(datafit)
    known = all(isinstance(block.loss, Huber | Squared) for block in blocks)
    if not known or len(blocks) < len(datafit.blocks):
        return None
    return replace(datafit, blocks=tuple(_squared(block, W, b) for block in blocks))


def _squared(block: ScalarBlock, W: Array, b: Array) -> ScalarBlock:
    if not isinstance(block.loss, Huber):
        return block
    away = np.abs(block.design.forward(W) + block.design.spread(b) - block.y)
    weight = block.weight * np.minimum(1.0, block.loss.delta / np.maximum(away, block.loss.delta))
    return replace(block, loss=Squared(), weight=weight)


def _scalar(datafit: Samples) -> list[ScalarBlock]:
    return [block for block in datafit.blocks if isinstance(block, ScalarBlock)]


def _block(block: ScalarBlock, W: Array, b: Array) -> TaskStatistics:
    eta = block.design.forward(W) + block.design.spread(b)
    h = np.maximum(block.column_curvature(eta), _FLOOR * block.bound())
    slope = block.slope(eta)
    target = eta - np.divide(slope, h, out=np.zeros_like(slope), where=h > 0)
    scale = block.design.collect(h)
    if isinstance(block.design, Shared):
        return collect_shared(block.design, target, h, scale)
    return collect_stacked(block.design, target, h, scale)


def _scattered(
    parts: list[tuple[np.ndarray, TaskStatistics]], shape: tuple[int, int]
) -> TaskStatistics:
    d, n_columns = shape
    whole = TaskStatistics(
        second=np.zeros((n_columns, d, d)),
        cross=np.zeros((d, n_columns)),
        spread=np.zeros(n_columns),
        x_mean=np.zeros((d, n_columns)),
        y_mean=np.zeros(n_columns),
        scale=np.zeros(n_columns),
    )
    for columns, part in parts:
        whole.second[columns] = part.second
        whole.cross[:, columns] = part.cross
        whole.x_mean[:, columns] = part.x_mean
        whole.spread[columns] = part.spread
        whole.y_mean[columns] = part.y_mean
        whole.scale[columns] = part.scale
    return whole
