"""Extrapolation of iterates that converge linearly."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from polytask.datafits.base import Array

Point = tuple[Array, ...]

_RIDGE = 1e-12


@dataclass
class Extrapolation:
    """Combines the last iterates so that their differences cancel.

    Parameters
    ----------
    depth : int, default=5
        Differences that are combined.

    References
    ----------
    D. Scieur, A. d'Aspremont and F. Bach, "Regularized nonlinear acceleration", Mathematical
    Programming 179 (2020), algorithm 2.
    """

    depth: int = 5
    points: list[Point] = field(default_factory=list)

    def add(self, point: Point) -> Point | None:
        """Remember an iterate; return an extrapolated one after every `depth` differences.

        Parameters
        ----------
        point : tuple of ndarray
            The iterate first, then whatever is linear in it.

        Returns
        -------
        tuple of ndarray or None
        """
        self.points.append(point)
        if len(self.points) <= self.depth:
            return None
        found = self._combined()
        self.points.clear()
        return found

    def _combined(self) -> Point | None:
        firsts = [point[0].ravel() for point in self.points]
        moves = np.stack([b - a for a, b in pairwise(firsts)])
        gram = moves @ moves.T
        size = float(np.trace(gram))
        if not 0 < size < np.inf:
            return None
        weight = np.linalg.solve(gram + _RIDGE * size * np.eye(self.depth), np.ones(self.depth))
        total = float(weight.sum())
        if not abs(total) > 0:
            return None
        weight /= total
        parts = zip(*self.points[1:], strict=True)
        return tuple(np.asarray(np.tensordot(weight, np.stack(part), axes=1)) for part in parts)
