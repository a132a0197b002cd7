"""Anderson extrapolation: combinations of iterates whose moves cancel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import lapack

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
            ends = np.cumsum([0, *(part.size for part in point)])
            sides = zip(ends[:-1], ends[1:], [part.shape for part in point], strict=True)
            self.parts = [(slice(start, end), shape) for start, end, shape in sides]
            self.points = np.empty((self.depth, ends[-1]))
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
        return [flat[where].reshape(shape) for where, shape in self.parts]

    def _weights(self, products: Array) -> Array | None:
        """Return the weights, of sum 1, of the shortest combination of moves."""
        # Shapes: products (n_points, n_points), result (n_points,).
        size, count = float(products.trace()), len(products)
        if not 0 < size < np.inf:
            return None
        raised = products.copy()
        raised.ravel()[:: count + 1] += _RIDGE * size
        *_, weights, failed = lapack.dgesv(raised, np.ones(count))
        if failed:
            return None
        total = float(weights.sum())
        return np.asarray(weights / total) if np.isfinite(total) and total != 0 else None
