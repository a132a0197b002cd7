"""Anderson extrapolation: combinations of iterates whose moves cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

Array = NDArray[np.float64]

# Added to the inner products of the moves, relative to their trace.
_RIDGE = 1e-12


class _Step(Protocol):
    """Where a fixed-point map leads from a point, in any number of arrays, and how far."""

    @property
    def plain(self) -> list[Array]: ...

    @property
    def move(self) -> Array: ...

    @property
    def length(self) -> float: ...


Step = TypeVar("Step", bound=_Step)


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

    def next(
        self, now: Step, step_from: Callable[[list[Array]], Step], most: float
    ) -> tuple[Step, bool]:
        """Return a step from the combination if it is no longer than `most`, and whether it is."""
        # Else from where the plain step leads.
        self.add(now.plain, now.move)
        jump = self.combined()
        if jump is not None:
            new = step_from(jump)
            if new.length <= most:
                return new, True
            if not new.length <= now.length:
                self.clear()
        return step_from(now.plain), False

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
