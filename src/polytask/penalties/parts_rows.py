"""How penalties share W between them, to rounding, where no closed form is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from polytask._anderson import Anderson
from polytask._linalg import host, inner
from polytask.exceptions import PolytaskError
from polytask.messages import LazyMessage, with_and
from polytask.penalties.base import Conjugate, Penalty
from polytask.penalties.decomposition import Split, decompose

# The cost exceeds the least one by at most this share; beyond so many times it is refused.
_WANTED = 1e-10
_REFUSED = 100.0
# In coarser numbers the share is that of so many units of rounding.
_UNITS = 10.0
# Without conjugates: the last move, relative to W.
_STILL = 1e-13
_MOST_STEPS = 20_000
_CHECK_EVERY = 5
_MEMORY = 20
# The step, in units of (size of W) / (size of the slopes).
_STEP = 0.6
# After so many steps, go on with this share of it.
_STAGE = 300
_SHARES = (0.1, 0.1, 0.1, 1000.0)


class _Move(NamedTuple):
    """A point z, its parts, the slope common to them, and where z goes."""

    z: np.ndarray
    parts: np.ndarray
    common: np.ndarray
    move: np.ndarray

    @property
    def plain(self) -> list[np.ndarray]:
        """Where z goes."""
        return [self.z + self.move]

    @property
    def length(self) -> float:
        """How far z moves."""
        return float(np.linalg.norm(self.move))


class _Division:
    """The iteration for one W: splitting between the penalties and the sum of the parts."""

    # Smooth terms of the parts enter by their gradients.

    def __init__(self, members: Sequence[Penalty], W: np.ndarray, wanted: float) -> None:
        self.members, self.W, self.wanted = members, W, wanted
        self.splits: list[Split] = [decompose(member) for member in members]
        given = [member.null_point for member in members]
        self.points = np.stack([np.zeros_like(W) if p is None else host(p) for p in given])
        left = W - self.points.sum(axis=0)
        # One part takes everything beyond the points that cost least.
        alone = [self._given(k, left) for k in range(len(members))]
        costs = [self.cost(parts) for parts in alone]
        self.whole = min(costs)
        self.rest = costs.index(self.whole)
        self.first = alone[self.rest]
        curvature = max((s.smooth.curvature() for s in self.splits if s.smooth), default=0.0)
        longest = 1.0 / curvature if curvature > 0 else np.inf
        size = inner(left, left)
        self.step = min(_STEP * size / self.whole if 0 < self.whole < np.inf else 1.0, longest)
        self.begin = self.points + left / len(members)

    def _given(self, k: int, left: np.ndarray) -> list[np.ndarray]:
        """Return the parts of which the k-th takes all that is left."""
        parts = list(self.points)
        parts[k] = parts[k] + left
        return parts

    def prox(self, z: np.ndarray) -> np.ndarray:
        """Return the prox of every part."""
        pairs = zip(self.splits, z, strict=True)
        return np.stack(
            [s.proximable.prox(part, self.step) if s.proximable else part for s, part in pairs]
        )

    def slopes(self, parts: np.ndarray) -> np.ndarray:
        """Return the gradients of the smooth terms."""
        pairs = zip(self.splits, parts, strict=True)
        return np.stack(
            [s.smooth.gradient(part) if s.smooth else np.zeros_like(part) for s, part in pairs]
        )

    def move(self, where: list[np.ndarray]) -> _Move:
        """Return the step from a point."""
        z = where[0]
        parts = self.prox(z)
        slopes = self.slopes(parts)
        ahead = 2 * parts - z - self.step * slopes
        summing = ahead + (self.W - ahead.sum(axis=0)) / len(z)
        common = ((z - parts) / self.step + slopes).mean(axis=0)
        return _Move(z, parts, common, summing - parts)

    def completed(self, parts: np.ndarray) -> list[np.ndarray]:
        """Return parts that sum to W: one takes the rest."""
        found = list(parts)
        found[self.rest] = self.W - (parts.sum(axis=0) - parts[self.rest])
        return found

    def cost(self, parts: Sequence[np.ndarray]) -> float:
        """Return the sum of the penalties of the parts."""
        return sum(member.value(part) for member, part in zip(self.members, parts, strict=True))

    def bound(self, slope: np.ndarray) -> float | None:
        """Return what no division can cost less than, None where nothing is known."""
        duals = [
            s.proximable
            for s in self.splits
            if s.smooth is None and isinstance(s.proximable, Conjugate)
        ]
        if len(duals) < len(self.splits):
            return None
        scale = min(1.0, *(dual.feasible_scale(slope) for dual in duals))
        return scale * inner(slope, self.W) - sum(d.conjugate(scale * slope) for d in duals)


def divide(members: Sequence[Penalty], W: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Return the cheapest parts of W, one for each penalty, and what they cost."""
    # Shapes: W (n_features, n_columns).
    wanted = max(_WANTED, _UNITS * float(np.finfo(W.dtype).eps))
    W = W.astype(np.float64, copy=False)
    if len(members) == 1:
        return [W], members[0].value(W)
    task = _Division(members, W, wanted)
    if task.whole == 0:
        return task.first, 0.0
    return _iterate(task)


def _iterate(task: _Division) -> tuple[list[np.ndarray], float]:
    """Step until the cost is known to rounding, or nothing moves any more."""
    mixed, now = Anderson(_MEMORY), task.move([task.begin])
    best, cost, below = task.first, task.whole, -np.inf
    for step in range(_MOST_STEPS):
        z, parts, common, _ = now
        if step % _CHECK_EVERY == 0:
            found = task.completed(parts)
            value, bound = task.cost(found), task.bound(common)
            best, cost = (found, value) if value < cost else (best, cost)
            below = below if bound is None else max(below, bound)
            still = bound is None and now.length <= _STILL * float(np.linalg.norm(task.W))
            if still or cost - below <= task.wanted * cost:
                return best, cost
        if step % _STAGE == _STAGE - 1:
            # Entries of very different sizes need steps of different sizes.
            share = _SHARES[step // _STAGE % len(_SHARES)]
            task.step *= share
            mixed.clear()
            now = task.move([parts + share * (z - parts)])
        else:
            now, _ = mixed.next(now, task.move, now.length)
    if cost - below <= _REFUSED * task.wanted * cost:
        return best, cost
    members = with_and([repr(member) for member in task.members])
    fields = {"members": members, "wanted": f"{_REFUSED * task.wanted:.0e}", "steps": _MOST_STEPS}
    raise PolytaskError(LazyMessage("penalty.refusal.value_of_parts", fields))
