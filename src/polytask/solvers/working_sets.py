"""Growing working sets: the problem is solved on some rows, and all of them are looked at again.

M. Massias, A. Gramfort and J. Salmon, "Celer: a fast solver for the lasso with dual
extrapolation", ICML (2018), section 3.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array
from polytask.solvers.driver import Iterate, ProximalMethod, Round
from polytask.solvers.objective import Objective

Index = NDArray[np.intp]

# A working set is solved to this share of the tolerance, less by the factor if that was not
# enough, or, while it still has to grow, of the certificate.
_SHARE, _LESS = 0.3, 0.1
_GROWING_SHARE = 0.1


def farthest(scores: Array, room: int) -> tuple[Index, bool]:
    """Return the places with a score > 0, those of the largest if there are more than room."""
    wanted = np.flatnonzero(scores > 0)
    if len(wanted) <= room:
        return wanted, False
    return wanted[np.argpartition(scores[wanted], -room)[-room:]], True


class WorkingSets(ProximalMethod):
    """A method that solves ever larger parts of its problem. Units are rows or groups of them."""

    patience = 3
    progress = 0.9
    # A working set may always grow by so many units, and it may double.
    least_growth: int

    def __init__(self, objective: Objective, curvature: Array) -> None:
        super().__init__(objective, curvature)
        self.working: Index = np.zeros(0, dtype=np.intp)
        self.share = _SHARE

    @abstractmethod
    def scores(self, now: Iterate) -> Array:
        """Return how far each unit is from where it should be, in a new array."""

    @abstractmethod
    def in_use(self, now: Iterate) -> Index:
        """Return the units that are not zero."""

    @abstractmethod
    def solved(
        self, working: Index, now: Iterate, accuracy: float, left: int
    ) -> tuple[Iterate, int]:
        """Minimise over some units; return the next iterate and the iterations."""

    def is_too_large(self, wanted: Index, grown: Index) -> bool:
        """Say whether a working set is no longer worth its name."""
        # `wanted` has all units that ask to enter.
        return False

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Add the units that are farthest from where they should be, and solve for all."""
        used, scores = self.in_use(now), self.scores(now)
        # Marks are faster than sorted unions: there may be as many units as features.
        inside = np.zeros(len(scores), dtype=bool)
        inside[self.working] = inside[used] = True
        kept = np.flatnonzero(inside)
        scores[kept] = 0.0
        entering, capped = farthest(scores, max(self.least_growth, len(used)))
        grown = np.concatenate([kept, entering]).astype(np.intp)
        if self.is_too_large(np.concatenate([kept, np.flatnonzero(scores)]), grown):
            return Round(None, 0)
        grew = len(grown) > len(self.working)
        accuracy = self.share * tol
        if capped:
            accuracy = max(accuracy, _GROWING_SHARE * now.relative)
        found, steps = self.solved(grown, now, accuracy, left)
        if not grew:
            self.share *= _LESS
        self.working = grown
        return Round(found if grew or steps else None, steps, grew)
