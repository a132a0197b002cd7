"""Losses of numbers: squared, Huber's, the square-root loss, and quantiles."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from polytask._checks import positive, sentence
from polytask._linalg import Array, clip, namespace
from polytask._registry import saveable
from polytask.exceptions import ParameterError
from polytask.losses.base import Loss, as_eta, domain_tolerance, infinite_outside
from polytask.messages import LazyMessage


class SquaredErrors(Loss):
    """1/2 (y - eta)^2, whose conjugate at u is u y + u^2 / 2."""

    is_classifier = False
    curvature_bound = 1.0
    plain_model = "LinearRegression"

    @final
    def value(self, y: Array, eta: Array) -> Array:
        """Return 1/2 (y - eta)^2 elementwise."""
        return 0.5 * (eta - as_eta(y, eta)) ** 2

    @final
    def gradient(self, y: Array, eta: Array) -> Array:
        """Return eta - y elementwise."""
        return eta - as_eta(y, eta)

    @final
    def curvature(self, y: Array, eta: Array) -> Array:
        """Return ones of the shape of eta."""
        return namespace(eta).ones_like(eta)

    @final
    def conjugate(self, y: Array, u: Array) -> Array:
        """Return u y + u^2 / 2 elementwise."""
        return u * (as_eta(y, u) + 0.5 * u)


@saveable("loss.squared")
@dataclass(frozen=True)
class Squared(SquaredErrors):
    """1/2 (y - eta)^2, for targets that are numbers.

    Its conjugate at u is u y + u^2 / 2.
    """

    name = "squared"


@saveable("loss.huber")
@dataclass(frozen=True)
class Huber(Loss):
    """``r^2 / 2`` where ``|r| <= delta``, else ``delta |r| - delta^2 / 2``; ``r = eta - y``.

    A target that is far off pulls no more than one that is delta off, so that a few wrong
    targets do not decide the fit. Its conjugate at u is u y + u^2 / 2 for ``|u| <= delta``.

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
    plain_model = "LinearRegression"
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
        """Return 1 where ``|eta - y| <= delta``, else 0."""
        xp = namespace(eta)
        return xp.astype(xp.abs(eta - as_eta(y, eta)) <= self.delta, eta.dtype)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return u y + u^2 / 2 elementwise, inf where ``|u| > delta``."""
        xp = namespace(u)
        inside = xp.abs(u) <= self.delta * (1.0 + domain_tolerance(u))
        clamped = clip(u, -self.delta, self.delta)
        return infinite_outside(inside, clamped * (as_eta(y, u) + 0.5 * clamped))

    def at_scale(self, unit: float) -> Huber:
        """Return the loss that turns `unit` times as far off."""
        return Huber(self.delta * unit)


@final
@saveable("loss.square_root")
@dataclass(frozen=True)
class SquareRoot(SquaredErrors):
    """The root of a task's mean square in place of its half: strengths need no noise level.

    A task counts in the objective as ``s_t sqrt(mean over its rows of (y - eta)^2)``, that is
    ``||y_t - X_t w_t - b_t||_2 / sqrt(n_t)``. The strength that suits the squared loss is in
    proportion to the noise of the targets, so that one strength is too weak for a noisy task and
    too strong for a quiet one. Here it depends on the features and on the number of rows alone:
    multiplying the targets by a number multiplies the coefficients by it at the same strength, and
    every task is its own judge of what is noise. At the answer it is the squared loss with task
    weights ``s_t / sigma_t``, where sigma_t is the root mean square that is left, an estimate of
    the noise, found in ``noise_`` of the model.

    Use it where tasks differ in noise, or where a strength has to be set without
    cross-validation: ``L1(1.1 * norm.ppf(1 - 0.05 / (2 * d)) / sqrt(n))`` for d features of
    standard deviation 1 and n rows in one task. Not with more coefficients than rows and a weak
    penalty: a task that can be fitted exactly leaves no noise to be measured by, and is then
    fitted exactly. Not for targets with a few wrong ones (``Huber``), nor where a cross-validated
    strength and equal noise do already.

    One row counts as half its square, of which a task takes the root of twice the mean: that is
    what :meth:`value` gives and what held-out rows are judged by, as those of the squared loss.

    References
    ----------
    A. Belloni, V. Chernozhukov and L. Wang, "Square-root lasso: pivotal recovery of sparse
    signals via conic programming", Biometrika 98 (2011), section 1.
    T. Sun and C.-H. Zhang, "Scaled sparse linear regression", Biometrika 99 (2012), section 2.
    H. Liu, L. Wang and T. Zhao, "Calibrated multivariate regression with application to neural
    semantic basis discovery", JMLR 16 (2015), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskRegressor
    >>> from polytask.losses import SquareRoot
    >>> from polytask.penalties import L21
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 5))
    >>> Y = X[:, :2] + rng.standard_normal((200, 2)) * [0.5, 3.0]
    >>> model = MultiTaskRegressor(L21(0.1), loss=SquareRoot()).fit(X, Y)
    >>> model.noise_.round(1).tolist()
    [0.5, 3.2]
    """

    name = "square_root"
    takes_root = True


class PiecewiseLinear(Loss):
    """max(lower (eta - y), upper (eta - y)), with slopes lower < 0 < upper.

    Its conjugate at u is u y for u in [lower, upper]. It has no derivative at eta = y, where
    the gradient is given as 0, one of the subgradients.
    """

    is_classifier = False
    curvature_bound = float("inf")
    has_linear_parts = True
    judges_predictions = True
    plain_model = "LinearRegression"

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
@saveable("loss.quantile")
@dataclass(frozen=True)
class Quantile(PiecewiseLinear):
    """q r where r >= 0, else (q - 1) r, with r = y - eta: predictions are quantiles.

    A prediction is what a share q of the targets falls below: with 0.5 the median, which no
    few targets move far; with 0.9 a value that one in ten exceeds, for stocks, delivery times
    and worst cases. Two models, of 0.05 and 0.95, bound nine in ten; they are fitted apart and
    may cross. Not for the mean of a skewed amount (``Gamma``), nor for classes. In the objective
    it counts per row like the other losses, so strengths of penalties are those of a loss
    that grows linearly: smaller than for the squared loss.

    Parameters
    ----------
    q : float, default=0.5
        The share of targets that falls below, strictly between 0 and 1.

    Raises
    ------
    ParameterError
        If q is not between 0 and 1.

    References
    ----------
    R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46 (1978), equation 3.1.
    R. Koenker and J. Machado, "Goodness of fit and related inference processes for quantile
    regression", JASA 94 (1999), for the share of this loss that a model explains.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.losses import Quantile
    >>> Quantile(0.9).value(np.array([1.0, -1.0]), np.zeros(2)).round(6).tolist()
    [0.9, 0.1]
    """

    q: float = 0.5

    name = "quantile"

    @property
    def boosting(self) -> Mapping[str, Any]:
        """The same loss."""
        return {"loss": "quantile", "quantile": self.q}

    def __post_init__(self) -> None:
        q: object = self.q
        if not isinstance(q, int | float) or not 0 < q < 1:
            allowed = LazyMessage("allowed.between_0_and_1")
            raise ParameterError(sentence("q", "Quantile", allowed, repr(self.q)))

    @property
    def lower(self) -> float:
        """Minus q."""
        return -float(self.q)

    @property
    def upper(self) -> float:
        """1 - q."""
        return 1.0 - float(self.q)
