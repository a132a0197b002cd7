"""Rows of a loss with a kink, such as that of a quantile, under a ridge penalty."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import ConvergenceWarning

Array = NDArray[np.float64]

_TOL = 1e-9
# A value below this share of that at 0 is near enough to 0.
_FAINT = 1e-5
_STEPS = 100
# A gap that is worth a warning.
_CLOSE = 1e-4
# Steps in a row that bring nothing.
_PATIENCE = 10
# The share of the way to the walls of the box that a step goes at most.
_SHORT_OF_WALLS = 0.995


@dataclass(frozen=True, eq=False)
class Kinked:
    """Rows whose loss is linear on either side of 0."""

    # Shapes: Z (n_rows, r), offset (n_rows,), lower, upper (n_rows,).
    # The loss of row i is ``max(lower_i r_i, upper_i r_i)`` with ``r = offset + Z u``.

    Z: Array
    offset: Array
    lower: Array
    upper: Array
    strength: float

    def solve(self) -> Array:
        """Return the coordinates with the least value, shape (r,)."""
        # The dual asks for a slope of each row between ``lower`` and ``upper``: a quadratic
        # program with a box, solved by a primal-dual interior point method that predicts and
        # corrects, until value and bound agree to nine digits, or many steps in a row improve
        # neither, as rounding has it near the answer. A gap above 1e-4 of the value at 0 is warned
        # of.
        origin = np.zeros(self.Z.shape[1])
        best = _Best(origin, self.value(origin))
        scale, at = best.value, _Inside.begin(self)
        for _ in range(_STEPS):
            if best.gap <= _TOL * max(best.value, _FAINT * scale) or best.idle > _PATIENCE:
                break
            at = at.improved(self)
            slope = at.slope(self)
            u = self.coordinates(slope)
            best = best.seen(u, self.value(u), self.bound(slope))
        if best.gap > _CLOSE * scale:
            warnings.warn(
                f"adapt: the rows of a loss with a kink were fitted to within "
                f"{best.gap / scale:.1g} of the loss of what they are pulled to; weights or "
                "targets of very different sizes need rescaling.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return best.u

    def coordinates(self, slope: Array) -> Array:
        """Return the coordinates that go with slopes."""
        return np.asarray(-(self.Z.T @ slope) / self.strength)

    def value(self, u: Array) -> float:
        """Return losses and penalty at some coordinates."""
        r = self.offset + self.Z @ u
        losses = np.maximum(self.lower * r, self.upper * r)
        return float(losses.sum()) + 0.5 * self.strength * float(u @ u)

    def bound(self, slope: Array) -> float:
        """Return what slopes inside the box say the value is at least."""
        u = self.coordinates(slope)
        return float(slope @ self.offset) - 0.5 * self.strength * float(u @ u)

    def excess(self, slope: Array) -> Array:
        """Return the gradient of minus the bound."""
        return np.asarray(-(self.offset + self.Z @ self.coordinates(slope)))


@dataclass(frozen=True, eq=False)
class _Best:
    """The least value found and where, the best bound, and steps since either got better."""

    u: Array
    value: float
    bound: float = -np.inf
    idle: int = 0

    @property
    def gap(self) -> float:
        """What the value is above the bound at most."""
        return self.value - self.bound

    def seen(self, u: Array, value: float, bound: float) -> _Best:
        """Return the best of this and another point; numbers that overflowed are none."""
        lower, higher = value < self.value, bound > self.bound
        return _Best(
            u if lower else self.u,
            value if lower else self.value,
            bound if higher else self.bound,
            0 if lower or higher else self.idle + 1,
        )


@dataclass(frozen=True, eq=False)
class _Inside:
    """Slopes strictly inside their box: the distances to its two walls, and their forces."""

    up: Array
    down: Array
    below: Array
    above: Array

    @classmethod
    def begin(cls, rows: Kinked) -> _Inside:
        """Begin at ``u = 0``, where slopes of 0 are inside and forces are known that balance."""
        excess = -rows.offset
        spare = np.abs(excess).mean() + np.finfo(float).tiny
        below, above = np.maximum(excess, 0.0) + spare, np.maximum(-excess, 0.0) + spare
        return cls(-rows.lower, rows.upper.copy(), below, above)

    def slope(self, rows: Kinked) -> Array:
        """Return the slopes."""
        return np.where(self.up < self.down, rows.lower + self.up, rows.upper - self.down)

    def improved(self, rows: Kinked) -> _Inside:
        """Return the point after one step: predicted, then corrected."""
        up, down = self.up, self.down
        solve = _factored(rows, self.below / up + self.above / down)
        pull = rows.excess(self.slope(rows))
        mean = self._mean(up, down, self.below, self.above)

        def moved(near: Array, far: Array) -> tuple[Array, Array, Array]:
            # `near` and `far`: what products of distances and forces are to be.
            d = solve(near / up - far / down - pull)
            below = (near - self.below * d) / up - self.below
            return d, below, (far + self.above * d) / down - self.above

        d, below, above = moved(np.zeros_like(up), np.zeros_like(down))
        after = self._mean(*self._after(d, below, above, 1.0))
        aim = (after / mean) ** 3 * mean
        step = moved(aim - d * below, aim + d * above)
        return _Inside(*self._after(*step, _SHORT_OF_WALLS))

    def _after(
        self, d: Array, below: Array, above: Array, share: float
    ) -> tuple[Array, Array, Array, Array]:
        """Return distances and forces after a step that takes none of them below 0."""
        moves = ((self.up, d), (self.down, -d), (self.below, below), (self.above, above))
        shares = [
            float((-value[move < 0] / move[move < 0]).min(initial=np.inf)) for value, move in moves
        ]
        length = min(1.0, share * min(shares))
        up, down, low, high = (value + length * move for value, move in moves)
        return up, down, low, high

    @staticmethod
    def _mean(up: Array, down: Array, below: Array, above: Array) -> float:
        return float(below @ up + above @ down) / (2 * len(up))


def _factored(rows: Kinked, d: Array) -> Callable[[Array], Array]:
    """Return what solves ``(Z Z' / strength + diag(d)) x = right``."""
    # Near the answer `d` is next to nothing for some rows and without end for others: by an
    # orthogonal basis, for products of the columns would lose half of the digits.
    root = np.sqrt(d)
    ridge = np.sqrt(rows.strength) * np.eye(rows.Z.shape[1])
    q = np.linalg.qr(np.vstack([rows.Z / root[:, None], ridge]))[0][: len(root)]

    def solve(right: Array) -> Array:
        scaled = right / root
        return np.asarray((scaled - q @ (q.T @ scaled)) / root)

    return solve
