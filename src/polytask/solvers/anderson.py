"""Anderson extrapolation: combinations of iterates whose moves cancel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.datafits.base import Array

# Added to the inner products of the moves, relative to their trace.
_RIDGE = 1e-12


class Anderson:
    """The last points that a fixed-point map gave, each with how far it had moved.

    D. Anderson, "Iterative procedures for nonlinear integral equations", Journal of the ACM 12
    (1965), section 4; of type II, for which moves are combined.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.gram = np.zeros((depth, depth))
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0

    @property
    def stored(self) -> int:
        """Number of points remembered."""
        return min(self.count, self.depth)

    def add(self, point: Sequence[Array], move: Array) -> None:
        """Remember a point, in any number of arrays, in place of the oldest."""
        if not self.count:
            self.shapes = [part.shape for part in point]
            self.points = np.empty((self.depth, sum(part.size for part in point)))
            self.moves = np.empty((self.depth, move.size))
        k = self.count % self.depth
        np.concatenate([part.ravel() for part in point], out=self.points[k])
        self.moves[k] = move.ravel()
        self.count += 1
        n = self.stored
        self.gram[k, :n] = self.gram[:n, k] = self.moves[:n] @ self.moves[k]

    def combined(self) -> list[Array] | None:
        """Return the affine combination of the points whose combined move is shortest."""
        if self.stored < 2:
            return None
        weights = self._weights(self.gram[: self.stored, : self.stored])
        if weights is None:
            return None
        flat = weights @ self.points[: self.stored]
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = zip(np.split(flat, ends), self.shapes, strict=True)
        return [part.reshape(shape) for part, shape in parts]

    def _weights(self, products: Array) -> Array | None:
        """Return the weights, of sum 1, of the shortest combination of moves."""
        # Shapes: products (n_points, n_points), result (n_points,).
        size, count = float(np.trace(products)), len(products)
        if not 0 < size < np.inf:
            return None
        try:
            weights = np.linalg.solve(products + _RIDGE * size * np.eye(count), np.ones(count))
        except np.linalg.LinAlgError:
            return None
        total = float(weights.sum())
        return np.asarray(weights / total) if np.isfinite(total) and total != 0 else None
