"""Anderson extrapolation of iterates that converge linearly: one implementation for all solvers.

An iteration that has become nearly linear moves by steps that shrink each in its own direction.
The combination of the last iterates, with weights of sum 1, whose steps cancel best is then much
nearer to the limit than any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from polytask.datafits.base import Array

Point = Sequence[Array]

# Added to the inner products of the steps, relative to their trace.
_RIDGE = 1e-12


def cancelling(products: Array) -> Array | None:
    """Return the weights, of sum 1, whose combination of steps is shortest."""
    # Shapes: products (n_steps, n_steps), result (n_steps,).
    size, count = float(np.trace(products)), len(products)
    if not 0 < size < np.inf:
        return None
    try:
        weights = np.linalg.solve(products + _RIDGE * size * np.eye(count), np.ones(count))
    except np.linalg.LinAlgError:
        return None
    total = float(weights.sum())
    return np.asarray(weights / total) if np.isfinite(total) and total != 0 else None


def combined(points: Sequence[Point]) -> list[Array] | None:
    """Combine iterates so that their steps cancel."""
    steps = np.stack([(b[0] - a[0]).ravel() for a, b in pairwise(points)])
    weights = cancelling(steps @ steps.T)
    if weights is None:
        return None
    return [_weighted(weights, parts) for parts in zip(*points[1:], strict=True)]


def _weighted(weights: Array, arrays: Point) -> Array:
    total = weights[0] * arrays[0]
    for weight, array in zip(weights[1:], arrays[1:], strict=True):
        total += weight * array
    return np.asarray(total)


@dataclass
class Extrapolation:
    """Collects iterates and combines them after every few."""

    depth: int = 5
    points: list[Point] = field(default_factory=list)

    def add(self, point: Point) -> list[Array] | None:
        """Remember an iterate; return an extrapolated one after every `depth` steps."""
        self.points.append(point)
        if len(self.points) <= self.depth:
            return None
        found = combined(self.points)
        self.points.clear()
        return found
