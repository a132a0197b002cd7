"""The gamma loss of positive amounts."""

from __future__ import annotations

from dataclasses import dataclass

from polytask._linalg import Array, clip, elementary, namespace
from polytask._registry import State, saveable
from polytask.losses.base import as_eta, domain_tolerance, entropy_terms, infinite_outside
from polytask.losses.log_link import LogLink


@saveable("loss.gamma")
@dataclass(frozen=True)
class Gamma(LogLink):
    """y exp(-eta) + eta - (1 + log y), for amounts y > 0 of mean exp(eta).

    It is half the deviance of a gamma distribution, 0 where exp(eta) = y, and a function of
    y / exp(eta) alone: an error counts relative to the mean, so that the unit of y only moves
    the intercepts. With q = 1 - u >= 0 its conjugate at u is q log q - q + 1 + u log y.
    Predictions are means, exp(eta): coefficients act as factors.

    Notes
    -----
    For costs, durations and sizes whose deviation grows in proportion to their mean. Averages
    of unequal numbers of amounts take these numbers as ``sample_weight``.

    References
    ----------
    P. McCullagh and J. A. Nelder, "Generalized Linear Models" (1989), sections 2.3 and 8.3.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.losses import Gamma
    >>> Gamma().value(np.array([1.0, 5.0]), np.array([0.0, np.log(5.0)])).tolist()
    [0.0, 0.0]
    """

    name = "gamma"
    is_classifier = False
    curvature_bound = float("inf")
    follows_units = False
    allowed = "a number > 0"
    side = -1.0
    has_dispersion = True

    def allows(self, y: Array) -> Array:
        """Return whether targets are > 0 elementwise."""
        return y > 0

    def value(self, y: Array, eta: Array) -> Array:
        """Return half the deviance elementwise."""
        xp = namespace(eta)
        away = xp.log(as_eta(y, eta)) - eta
        return xp.expm1(away) - away

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return 1 - y exp(-eta) elementwise."""
        xp = namespace(eta)
        return -xp.expm1(xp.log(as_eta(y, eta)) - eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return y exp(-eta) elementwise."""
        xp = namespace(eta)
        return xp.exp(xp.log(as_eta(y, eta)) - eta)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return the conjugate elementwise, inf where u > 1."""
        xp = namespace(u)
        rest = 1 - u
        inside = rest >= -domain_tolerance(u)
        rest = clip(rest, 0.0, None)
        return infinite_outside(inside, entropy_terms(rest) + u + u * xp.log(as_eta(y, u)))

    def n_outputs(self, n_classes: int) -> int:
        """Return 1."""
        return 1

    def inverse_link(self, eta: Array) -> Array:
        """Return the mean, exp(eta)."""
        return elementary(eta).exp(eta)

    def log_factor(self, y: Array) -> Array:
        """Return log y."""
        return namespace(y).log(y)

    def multiple(self, y: Array) -> Array:
        """Return 1."""
        return namespace(y).ones_like(y)

    def to_state(self) -> State:
        """Return an empty dictionary: there are no parameters."""
        return {}
