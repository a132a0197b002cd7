"""The squared hinge loss of two classes: the loss of a smooth support vector machine."""

from __future__ import annotations

from dataclasses import dataclass

from polytask._linalg import Array, clip, namespace
from polytask._registry import State, saveable
from polytask.losses.base import Loss, as_eta, domain_tolerance, infinite_outside


def _margin(y: Array, eta: Array) -> tuple[Array, Array]:
    """Return the side of each target, -1 or 1, and how far its margin is below 1."""
    side = 2 * as_eta(y, eta) - 1
    return side, clip(1 - side * eta, 0.0, None)


@saveable("loss.squared_hinge")
@dataclass(frozen=True)
class SquaredHinge(Loss):
    """max(0, 1 - s eta)^2, for targets 0 and 1, with s = 2 y - 1.

    Rows beyond the margin count for nothing. Its conjugate at u is, for s u <= 0,
    s u + u^2 / 4. On average it is smallest at eta = 2 P(1) - 1, which is how a predictor
    becomes a probability (Zhang 2004); the logistic loss has better probabilities.

    References
    ----------
    T. Zhang, "Statistical behavior and consistency of classification methods based on convex
    risk minimization", Annals of Statistics 32 (2004), section 3.
    """

    name = "squared_hinge"
    is_classifier = True
    curvature_bound = 2.0

    def value(self, y: Array, eta: Array) -> Array:
        """Return the squared lack of margin elementwise."""
        return _margin(y, eta)[1] ** 2

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return -2 s times the lack of margin elementwise."""
        side, lack = _margin(y, eta)
        return -2 * side * lack

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return 2 inside the margin, else 0."""
        xp = namespace(eta)
        return 2 * xp.astype(_margin(y, eta)[1] > 0, eta.dtype)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return s u + u^2 / 4 elementwise, inf where s u > 0."""
        turned = (2 * as_eta(y, u) - 1) * u
        inside = turned <= domain_tolerance(u)
        held = clip(turned, None, 0.0)
        return infinite_outside(inside, held * (1 + 0.25 * held))

    def n_outputs(self, n_classes: int) -> int:
        """Return 1: the column of the positive class."""
        return 1

    def inverse_link(self, eta: Array) -> Array:
        """Return the probability of the positive class, (1 + eta) / 2 within [0, 1]."""
        return clip(0.5 * (1 + eta), 0.0, 1.0)

    def to_state(self) -> State:
        """Return an empty dictionary: there are no parameters."""
        return {}
