"""The ball of the trace norm as a constraint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from polytask._checks import positive
from polytask._linalg import (
    Array,
    clip,
    counting,
    namespace,
    rounding,
    singular_values,
    spectral_norm,
    thin_svd,
    total,
)
from polytask._registry import saveable
from polytask.penalties.base import Conjugate, Penalty
from polytask.penalties.terms import Unbound, checked_by


@final
@saveable("penalty.trace_ball")
@dataclass(frozen=True, eq=False, repr=False)
class TraceBall(Unbound, Conjugate):
    """0 where the singular values of W add up to at most the radius, inf elsewhere."""

    # A part of `sparse_low_rank`. It has no strength: multiples of it are the same constraint.

    label = "TraceBall"

    radius: float = field(metadata=checked_by(positive))

    @property
    def strength(self) -> float:
        """1: a constraint holds at any strength."""
        return 1.0

    def with_strength(self, alpha: float) -> Penalty:
        """Return the constraint itself."""
        return self

    def scaled(self, factor: float) -> Penalty:
        """Return the constraint itself."""
        return self

    def resolved(self, gradient: Array) -> Penalty:
        """Return the constraint itself."""
        return self

    def value(self, W: Array) -> float:
        """Return 0 inside the ball, up to rounding, and inf outside."""
        if 0 in W.shape:
            return 0.0
        inside = total(singular_values(W)) <= self.radius * (1 + rounding(W))
        return 0.0 if inside else float("inf")

    def prox(self, W: Array, step: float) -> Array:
        """Return the nearest matrix in the ball, whatever the step is."""
        # The singular values go to the nearest point of a simplex [1]_.
        if 0 in W.shape:
            return W
        left, values, right = thin_svd(W)
        if total(values) <= self.radius:
            return 1.0 * W
        xp = namespace(W)
        counts = 1 + counting(values.shape[0], W)
        level = xp.max((xp.cumulative_sum(values) - self.radius) / counts)
        return (left * clip(values - level, 0.0, None)[None, :]) @ right

    def conjugate(self, Z: Array) -> float:
        """Return the radius times the largest singular value."""
        return 0.0 if 0 in Z.shape else self.radius * spectral_norm(Z)

    def feasible_scale(self, Z: Array) -> float:
        """Return inf: there is no limit."""
        return float("inf")
