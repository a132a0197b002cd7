"""Losses that are linear on either side of the target, with a kink at it."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

from polytask._linalg import Array, clip, namespace
from polytask.losses.base import Loss, as_eta, domain_tolerance, infinite_outside


class PiecewiseLinear(Loss):
    """max(lower (eta - y), upper (eta - y)), with slopes lower < 0 < upper.

    Its conjugate at u is u y for u in [lower, upper]. It has no derivative at eta = y, where
    the gradient is given as 0, one of the subgradients.
    """

    is_classifier = False
    curvature_bound = float("inf")
    has_linear_parts = True

    @property
    @abstractmethod
    def lower(self) -> float:
        """The slope below the target, < 0."""

    @property
    @abstractmethod
    def upper(self) -> float:
        """The slope above the target, > 0."""

    @final
    def value(self, y: Array, eta: Array) -> Array:
        """Return the loss elementwise."""
        xp = namespace(eta)
        above = eta - as_eta(y, eta)
        return xp.where(above > 0, self.upper * above, self.lower * above)

    @final
    def gradient(self, y: Array, eta: Array) -> Array:
        """Return the slope on the side of eta, 0 at the target."""
        xp = namespace(eta)
        side = xp.sign(eta - as_eta(y, eta))
        return xp.where(side > 0, self.upper * side, -self.lower * side)

    @final
    def curvature(self, y: Array, eta: Array) -> Array:
        """Return zeros of the shape of eta."""
        return namespace(eta).zeros_like(eta)

    @final
    def conjugate(self, y: Array, u: Array) -> Array:
        """Return u y elementwise, inf where u is not between the slopes."""
        slack = domain_tolerance(u)
        inside = (u >= self.lower * (1 + slack)) & (u <= self.upper * (1 + slack))
        return infinite_outside(inside, clip(u, self.lower, self.upper) * as_eta(y, u))

    @final
    def n_outputs(self, n_classes: int) -> int:
        """Return 1."""
        return 1

    @final
    def inverse_link(self, eta: Array) -> Array:
        """Return eta."""
        return eta
