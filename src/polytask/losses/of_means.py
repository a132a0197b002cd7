"""Poisson and gamma losses: the predictor is the logarithm of the mean."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from polytask._linalg import Array, clip, elementary, namespace
from polytask._registry import saveable
from polytask.losses.base import Loss, as_eta, domain_tolerance, entropy_terms, infinite_outside
from polytask.messages import LazyMessage


class LogLink(Loss):
    """A loss exp(side eta + log_factor(y)) - side multiple(y) eta + a number of y alone.

    The exponential has no bound on its curvature, so that solvers look for their step lengths
    as they go. In return the best constant c to add to given predictors is known: with sums
    over rows, ``exp(side c) = sum multiple(y) / sum exp(side eta + log_factor(y))``.
    """

    is_classifier = False
    curvature_bound = float("inf")
    follows_units = False
    judges_predictions = True

    @final
    def inverse_link(self, eta: Array) -> Array:
        """Return the mean, exp(eta)."""
        return elementary(eta).exp(eta)

    @property
    @abstractmethod
    def side(self) -> float:
        """The sign of eta in the exponential, 1 or -1."""

    @property
    @abstractmethod
    def has_dispersion(self) -> bool:
        """Whether a free factor, estimated beside the mean, scales the noise."""

    @abstractmethod
    def log_factor(self, y: Array) -> Array:
        """Return the logarithm of what the exponential is multiplied by, elementwise."""

    @abstractmethod
    def multiple(self, y: Array) -> Array:
        """Return what the linear part is multiplied by, elementwise."""


def _positive(y: Array, eta: Array) -> tuple[Array, Array]:
    """Return the targets in the dtype of eta with 1 for 0, and which of them are positive."""
    xp, y = namespace(eta), as_eta(y, eta)
    seen = y > 0
    return xp.where(seen, y, xp.ones_like(y)), seen


@saveable("loss.poisson")
@dataclass(frozen=True)
class Poisson(LogLink):
    """exp(eta) - y eta - (y - y log y), for counts and rates y >= 0 of mean exp(eta).

    It is half the deviance: 0 where exp(eta) = y, and up to a number of y alone the negative
    logarithm of a Poisson probability. With p = u + y >= 0 its conjugate at u is
    p log p - p + y - y log y. Predictions are means, exp(eta): coefficients act as factors.

    Notes
    -----
    Counts over unequal exposures (time, area, people) are modelled as rates: give
    ``y / exposure`` as the target and ``exposure`` as ``sample_weight``. The sum of losses is
    then that of the counts with log(exposure) added to eta. Where counts vary by more than
    their mean the coefficients stay right, but the loss of a row understates its noise.

    Targets keep their units: ``scale_targets`` leaves them alone, and large counts outweigh
    both small ones and the penalty, as they should if they are counts.

    References
    ----------
    P. McCullagh and J. A. Nelder, "Generalized Linear Models" (1989), sections 2.3 and 6.2.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.losses import Poisson
    >>> Poisson().value(np.array([0.0, 3.0]), np.array([0.0, np.log(3.0)])).tolist()
    [1.0, 0.0]
    """

    name = "poisson"
    plain_model = "PoissonRegressor"
    boosting = MappingProxyType({"loss": "poisson"})
    allowed = LazyMessage("allowed.number_from_zero")
    side = 1.0
    has_dispersion = False

    def allows(self, y: Array) -> Array:
        """Return whether targets are >= 0 elementwise."""
        return y >= 0

    def value(self, y: Array, eta: Array) -> Array:
        """Return half the deviance elementwise."""
        xp = namespace(eta)
        y, seen = _positive(y, eta)
        # Written around its minimum: of a count of a million no digits are lost.
        away = eta - xp.log(y)
        return xp.where(seen, y * (xp.expm1(away) - away), xp.exp(eta))

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return exp(eta) - y elementwise."""
        return elementary(eta).exp(eta) - as_eta(y, eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return exp(eta) elementwise."""
        return elementary(eta).exp(eta)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return the conjugate elementwise, inf where u + y < 0."""
        xp = namespace(u)
        y, seen = _positive(y, u)
        one = xp.astype(seen, u.dtype)
        change = u / y
        inside = change + one >= -domain_tolerance(u)
        share = clip(change + one, 0.0, None)
        # The logarithm of a share near 1 from its distance to 1; the dropped branch gets a 1.
        inner = seen & (share > 0)
        near = share * xp.log1p(xp.where(inner, change, xp.zeros_like(u)))
        entropy = xp.where(seen, near, entropy_terms(share)) + one - share
        return infinite_outside(inside, y * entropy + u * xp.log(y))

    def log_factor(self, y: Array) -> Array:
        """Return 0."""
        return 0.0 * y

    def multiple(self, y: Array) -> Array:
        """Return y."""
        return y


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
    plain_model = "GammaRegressor"
    boosting = MappingProxyType({"loss": "gamma"})
    allowed = LazyMessage("allowed.number_above_zero")
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

    def log_factor(self, y: Array) -> Array:
        """Return log y."""
        return namespace(y).log(y)

    def multiple(self, y: Array) -> Array:
        """Return 1."""
        return namespace(y).ones_like(y)
