"""Huber's loss: squared near the target, absolute far from it."""

from __future__ import annotations

from dataclasses import dataclass

from polytask._checks import positive
from polytask._linalg import Array, clip, namespace
from polytask._registry import State, saveable
from polytask.losses.base import Loss, as_eta, domain_tolerance, infinite_outside


@saveable("loss.huber")
@dataclass(frozen=True)
class Huber(Loss):
    """r^2 / 2 where |r| <= delta, else delta |r| - delta^2 / 2, with r = eta - y.

    A target that is far off pulls no more than one that is delta off, so that a few wrong
    targets do not decide the fit. Its conjugate at u is u y + u^2 / 2 for |u| <= delta.

    Parameters
    ----------
    delta : float, default=1.35
        Where it turns from squared to absolute, in units of the target as it is fitted: with
        ``scale_targets`` those of its spread, 1.48 times the median distance from the median,
        else those of y itself. With noise of unit deviation, 1.35 keeps 95% of the
        efficiency of the squared loss.

    Raises
    ------
    ParameterError
        If delta is not positive and finite.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical
    Statistics 35 (1964), section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.losses import Huber
    >>> Huber(1.0).value(np.zeros(2), np.array([0.5, 10.0])).tolist()
    [0.125, 9.5]
    """

    delta: float = 1.35

    name = "huber"
    is_classifier = False
    curvature_bound = 1.0
    has_linear_parts = True

    def __post_init__(self) -> None:
        positive(self.delta, "delta", "Huber")

    def value(self, y: Array, eta: Array) -> Array:
        """Return the loss elementwise."""
        xp = namespace(eta)
        away = xp.abs(eta - as_eta(y, eta))
        near = clip(away, None, self.delta)
        return near * (away - 0.5 * near)

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return eta - y, at most delta in size."""
        return clip(eta - as_eta(y, eta), -self.delta, self.delta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return 1 where |eta - y| <= delta, else 0."""
        xp = namespace(eta)
        return xp.astype(xp.abs(eta - as_eta(y, eta)) <= self.delta, eta.dtype)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return u y + u^2 / 2 elementwise, inf where |u| > delta."""
        xp = namespace(u)
        inside = xp.abs(u) <= self.delta * (1.0 + domain_tolerance(u))
        held = clip(u, -self.delta, self.delta)
        return infinite_outside(inside, held * (as_eta(y, u) + 0.5 * held))

    def n_outputs(self, n_classes: int) -> int:
        """Return 1."""
        return 1

    def inverse_link(self, eta: Array) -> Array:
        """Return eta: it is the centre of the targets."""
        return eta

    def at_scale(self, unit: float) -> Huber:
        """Return the loss that turns `unit` times as far off."""
        return Huber(self.delta * unit)

    def to_state(self) -> State:
        """Return delta."""
        return {"delta": self.delta}
