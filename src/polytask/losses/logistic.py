"""The logistic loss of two classes."""

from __future__ import annotations

from dataclasses import dataclass

from polytask._linalg import Array, clip, elementary, namespace
from polytask._registry import State, saveable
from polytask.losses.base import (
    Loss,
    as_eta,
    domain_tolerance,
    entropy_terms,
    infinite_outside,
)


def _sigmoid(eta: Array) -> Array:
    """Return 1 / (1 + exp(-eta)) with full relative accuracy on both sides."""
    xp = elementary(eta)
    decay = xp.exp(-xp.abs(eta))
    return xp.where(eta >= 0, xp.ones_like(eta), decay) / (1 + decay)


@saveable("loss.logistic")
@dataclass(frozen=True)
class Logistic(Loss):
    """log(1 + exp(eta)) - y eta, for targets 0 and 1.

    With p = u + y in [0, 1] its conjugate at u is p log p + (1 - p) log(1 - p).
    """

    name = "logistic"
    is_classifier = True
    curvature_bound = 0.25

    def value(self, y: Array, eta: Array) -> Array:
        """Return log(1 + exp(eta)) - y eta elementwise."""
        xp = namespace(eta)
        # The linear terms first: where y = 1 and eta is large they cancel exactly.
        linear = xp.where(eta > 0, eta, xp.zeros_like(eta)) - as_eta(y, eta) * eta
        return linear + xp.log1p(xp.exp(-xp.abs(eta)))

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return P(1) - y elementwise."""
        return _sigmoid(eta) - as_eta(y, eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return P(1) P(0) elementwise."""
        return _sigmoid(eta) * _sigmoid(-eta)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return the negative entropy of u + y elementwise, inf outside [0, 1]."""
        p, tolerance = u + as_eta(y, u), domain_tolerance(u)
        inside = (p >= -tolerance) & (p <= 1 + tolerance)
        p = clip(p, 0.0, 1.0)
        return infinite_outside(inside, entropy_terms(p) + entropy_terms(1 - p))

    def n_outputs(self, n_classes: int) -> int:
        """Return 1: the column of the positive class."""
        return 1

    def inverse_link(self, eta: Array) -> Array:
        """Return the probability of the positive class."""
        return _sigmoid(eta)

    def to_state(self) -> State:
        """Return an empty dictionary: there are no parameters."""
        return {}
