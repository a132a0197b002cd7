"""The squared loss."""

from __future__ import annotations

from dataclasses import dataclass

from polytask._linalg import Array, namespace
from polytask._registry import State, saveable
from polytask.losses.base import Loss, as_eta


@saveable("loss.squared")
@dataclass(frozen=True)
class Squared(Loss):
    """1/2 (y - eta)^2, for targets that are numbers.

    Its conjugate at u is u y + u^2 / 2.
    """

    name = "squared"
    is_classifier = False
    curvature_bound = 1.0

    def value(self, y: Array, eta: Array) -> Array:
        """Return 1/2 (y - eta)^2 elementwise."""
        return 0.5 * (eta - as_eta(y, eta)) ** 2

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return eta - y elementwise."""
        return eta - as_eta(y, eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return ones of the shape of eta."""
        return namespace(eta).ones_like(eta)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return u y + u^2 / 2 elementwise."""
        return u * (as_eta(y, u) + 0.5 * u)

    def n_outputs(self, n_classes: int) -> int:
        """Return 1."""
        return 1

    def inverse_link(self, eta: Array) -> Array:
        """Return eta: it is the mean."""
        return eta

    def to_state(self) -> State:
        """Return an empty dictionary: there are no parameters."""
        return {}
