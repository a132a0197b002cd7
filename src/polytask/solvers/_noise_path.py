"""The next noise levels of an alternation between coefficients and noise levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array
from polytask.solvers._extrapolation import cancelling

_DEPTH = 5
# An extrapolated step may raise what noise levels still move by so much.
_WORSE = 1.5
# How far beyond a plain step, in units of that, and by a factor of e at most.
_FARTHEST = 10.0


class NoisePath:
    """Extrapolates the logarithms of noise levels."""

    # Shapes: least (n_columns,), owned (n_columns,).
    # The map from noise levels to those that are left is nearly linear in logarithms close to its
    # fixed point. Where an extrapolation made them move more than before, the next is plain.

    def __init__(self, least: Array, owned: NDArray[np.bool_]) -> None:
        self.least, self.owned = 0.5 * np.log(least), owned
        self.points: list[Array] = []
        self.moves: list[Array] = []

    def forget(self) -> None:
        """Forget all steps."""
        self.points, self.moves = [], []

    def next(self, sigma: Array, seen: Array) -> Array:
        """Return the noise levels to try after `sigma`, which left `seen`."""
        # Shapes: sigma, seen (n_columns,).
        plain = np.log(seen)
        move = np.where(self.owned, plain - np.log(sigma), 0.0)
        if self.moves and np.linalg.norm(move) > _WORSE * np.linalg.norm(self.moves[-1]):
            self.forget()
            return seen
        self.points, self.moves = [*self.points, plain][-_DEPTH:], [*self.moves, move][-_DEPTH:]
        steps = np.stack(self.moves)
        weights = cancelling(steps @ steps.T) if len(steps) > 1 else None
        if weights is None:
            return seen
        most = np.minimum(_FARTHEST * np.abs(move), 1.0)
        there = plain + np.clip(weights @ np.stack(self.points) - plain, -most, most)
        there = np.maximum(there, self.least)
        return np.where(self.owned, np.exp(there), 1.0)
