"""The data term of the square-root loss: roots of the mean squares of the tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array, Datafit, Evaluation, LinearMap
from polytask.datafits.intercepts import (
    AnchoredIntercepts,
    Groups,
    Intercepts,
    NoIntercepts,
    PulledIntercepts,
    TiedIntercepts,
)
from polytask.datafits.samples import Samples
from polytask.datafits.squares import Residuals, Squares
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage

_STEPS = 200
_QUICK_STEPS = 30
# The error of a step of Newton's method after one of this size, in units of noise, is rounding.
_SETTLED = 1e-8
_ROUNDING = 4 * float(np.finfo(float).eps)

# From arguments to values and slopes, each function increasing in its own argument.
Known = NDArray[np.bool_]
Increasing = Callable[[Array], tuple[Array, Array]]


def best_intercepts(mean: Array, variance: Array, weight: Array, intercepts: Intercepts) -> Array:
    """Return the b that minimises ``sum weight sqrt(variance + (mean - b)^2) + penalty``."""
    # Shapes: mean, variance (n_columns,), weight (n_columns,), result (n_columns,).
    match intercepts:
        case NoIntercepts():
            return np.zeros_like(mean)
        case TiedIntercepts() | PulledIntercepts() if intercepts.centres:
            return np.where(weight > 0, mean, 0.0)
    quick = _by_newton(mean, variance, weight, intercepts)
    return _safely(mean, variance, weight, intercepts) if quick is None else quick


def _by_newton(
    mean: Array, variance: Array, weight: Array, intercepts: Intercepts
) -> Array | None:
    """Return the best b by Newton's method, None where that does not settle."""
    # A step that does not lower the value is replaced by that of a squared loss, which does.
    push = intercepts.gradient(np.zeros_like(mean))

    def squared(b: Array) -> Array:
        factor = weight / _size(mean - b, variance)
        return intercepts.solve(factor, factor * mean - push)

    def value(b: Array) -> float:
        return float(weight @ _size(mean - b, variance)) + intercepts.penalty(b)

    b = squared(intercepts.project(mean))
    lowest = value(b)
    for _ in range(_QUICK_STEPS):
        force, curvature = _force(b, mean, variance, weight)
        step = intercepts.solve(curvature, -(force + intercepts.gradient(b)))
        if np.all(np.abs(step) <= _SETTLED * _size(mean - b, variance)):
            return b + step
        found = value(b + step)
        b = b + step if found < lowest else squared(b)
        lowest = found if found < lowest else value(b)
    return None


def _safely(mean: Array, variance: Array, weight: Array, intercepts: Intercepts) -> Array:
    """Return the best b between bounds, for tasks that are far apart beside their noise."""
    match intercepts:
        case TiedIntercepts(groups=groups):
            return _tied(mean, variance, weight, groups)
        case AnchoredIntercepts(anchor=anchor, strength=strength):
            return _pulled(mean, variance, weight, anchor, strength)[0]
        case PulledIntercepts(groups=groups, strength=strength):
            return _at_group_means(mean, variance, weight, groups, strength)
    fields = {"got": repr(intercepts)}
    raise IncompatibleError(LazyMessage("datafit.refusal.root_intercepts", fields))


def _root(function: Increasing, low: Array, high: Array) -> Array:
    """Return where increasing functions vanish, each between its bounds, by Newton's method."""
    low, high = np.minimum(low, high), np.maximum(low, high)
    # What bounds the root is known to no more digits than this.
    width = np.maximum(np.abs(low), np.abs(high))
    at = 0.5 * (low + high)
    for _ in range(_STEPS):
        value, slope = function(at)
        low, high = np.where(value <= 0, at, low), np.where(value >= 0, at, high)
        newton = at - np.divide(value, slope, out=np.full_like(at, np.inf), where=slope > 0)
        inside = (newton >= low) & (newton <= high)
        step = np.where(inside, newton, 0.5 * (low + high)) - at
        at = at + step
        if np.all(np.abs(step) <= _ROUNDING * width):
            break
    return at


def _size(away: Array, variance: Array) -> Array:
    # Squares of small numbers vanish, and what is zero divides.
    return np.maximum(np.hypot(np.sqrt(variance), away), np.finfo(float).tiny)


def _force(b: Array, mean: Array, variance: Array, weight: Array) -> tuple[Array, Array]:
    """Return the first and the second derivative of the roots."""
    away = b - mean
    size = _size(away, variance)
    return weight * away / size, weight * (variance / size / size) / size


def _range(values: Array, known: Known, groups: Groups, size: int) -> tuple[Array, Array]:
    """Return the smallest and the largest known value of every group, 0 where none is known."""
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, groups[known], values[known])
    np.maximum.at(high, groups[known], values[known])
    return np.where(low <= high, low, 0.0), np.where(low <= high, high, 0.0)


def _tied(mean: Array, variance: Array, weight: Array, groups: Groups) -> Array:
    size = int(groups.max(initial=-1)) + 1

    def excess(level: Array) -> tuple[Array, Array]:
        force, curvature = _force(level[groups], mean, variance, weight)
        return _sums(groups, force, size), _sums(groups, curvature, size)

    return np.asarray(_root(excess, *_range(mean, weight > 0, groups, size))[groups])


def _sums(groups: Groups, values: Array, size: int) -> Array:
    return np.bincount(groups, values, size).astype(float)


def _pulled(
    mean: Array, variance: Array, weight: Array, centre: Array, strength: float
) -> tuple[Array, Array]:
    """Return intercepts pulled to given values, and how much they follow these."""

    def excess(b: Array) -> tuple[Array, Array]:
        force, curvature = _force(b, mean, variance, weight)
        return force + strength * (b - centre), curvature + strength

    b = _root(excess, np.where(weight > 0, mean, centre), centre)
    return b, strength / (strength + _force(b, mean, variance, weight)[1])


def _at_group_means(
    mean: Array, variance: Array, weight: Array, groups: Groups, strength: float
) -> Array:
    """Return intercepts pulled to the mean of their group."""
    size = int(groups.max(initial=-1)) + 1

    def excess(centre: Array) -> tuple[Array, Array]:
        b, follows = _pulled(mean, variance, weight, centre[groups], strength)
        return _sums(groups, centre[groups] - b, size), _sums(groups, 1.0 - follows, size)

    centre = _root(excess, *_range(mean, weight > 0, groups, size))
    return _pulled(mean, variance, weight, centre[groups], strength)[0]


# Noise levels that intercepts of several tasks depend on are raised so often.
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class SquareRootDatafit(Datafit):
    """``sum_t weight_t sqrt(mean residual^2)`` over tasks, with other losses beside it.

    The root of a mean square is ``min over sigma > 0 of mean square / (2 sigma) + sigma / 2``, so
    that at its answer it is the squared loss with weights ``weight_t / sigma_t``, sigma_t the
    noise level of the task. Its Hessian is that of the squared loss less one direction per task,
    that of the residuals. Where a task is fitted exactly the root has a kink, which is rounded off
    within what rounding leaves unknown of the residuals; the conjugate is that of the root itself.

    Parameters
    ----------
    squares : Squares
        The squared residuals.
    rest : Samples or None
        The other losses, of other columns, the same shape and intercepts; no intercept is shared
        between the two.
    intercepts : Intercepts
        What b may be.

    References
    ----------
    A. Owen, "A robust hybrid of lasso and ridge regression", Contemporary Mathematics 443 (2007),
    for the concomitant scale.
    """

    squares: Squares
    rest: Samples | None
    intercepts: Intercepts
    is_quadratic = False
    is_bounded = False

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.squares.shape

    @property
    def precision(self) -> float:
        """Unit of rounding of the coarsest features."""
        own = self.squares.precision
        return own if self.rest is None else max(own, self.rest.precision)

    @property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        return self.value_at(np.zeros(self.shape), np.zeros(self.shape[1]))

    @cached_property
    def owned(self) -> NDArray[np.bool_]:
        """Whether each column has a root of mean squares in the objective."""
        return np.asarray(self.squares.total > 0)

    @cached_property
    def _push(self) -> Array:
        """Gradient of the penalty on the intercepts at zero: not zero where they are anchored."""
        return self.intercepts.gradient(np.zeros(self.shape[1]))

    def weighted(self, sigma: Array) -> Datafit:
        """Return the squared loss with weights over noise levels, and what is beside it.

        Parameters
        ----------
        sigma : ndarray of shape (n_columns,)
            Positive.
        """
        return self.squares.weighted(self.squares.total / sigma, self.intercepts)

    @cached_property
    def squared(self) -> Datafit:
        """The squared loss in place of its root."""
        return self.weighted(np.ones(self.shape[1]))

    def noise(self, W: Array, b: Array) -> Array:
        """Return the root of the mean squared residual of every column, 1 for others.

        Parameters
        ----------
        W : ndarray of shape (n_features, n_columns)
            Coefficients.
        b : ndarray of shape (n_columns,)
            Intercepts.
        """
        at = self.squares.at(W)
        found = np.sqrt(at.variance + (at.mean - b) ** 2)
        return np.where(self.owned, found, 1.0)

    def sigma_at(self, W: Array) -> Array:
        """Return the noise levels at W and the best intercepts, > 0 by the rounding of the kink.

        Parameters
        ----------
        W : ndarray of shape (n_features, n_columns)
            Coefficients.
        """
        at = self.squares.at(W)
        return self._sigma(at, self._levels(at))

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Whether each column has a root in the objective and targets that are all alike."""
        return np.asarray(self.owned & self.squares.constant)

    def _sigma(self, at: Residuals, b: Array) -> Array:
        found = np.sqrt(at.variance + (at.mean - b) ** 2 + self.squares.blur)
        return np.where(self.owned, found, 1.0)

    def _levels(self, at: Residuals) -> Array:
        given = at.mean, at.variance + self.squares.blur, self.squares.total
        return best_intercepts(*given, self.intercepts)

    def _roots(self, at: Residuals, b: Array) -> float:
        """Return the weighted sum of roots."""
        return float(self.squares.total @ np.where(self._met(at, b), 0.0, self._sigma(at, b)))

    def _met(self, at: Residuals, b: Array) -> NDArray[np.bool_]:
        """Return where targets that are all alike are met: what is left is rounding, not noise."""
        left = at.variance + (at.mean - b) ** 2
        return np.asarray(self.squares.constant & (left <= self.squares.blur))

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; `start` is a guess of the intercepts of the other losses."""
        at = self.squares.at(W)
        b = self._levels(at)
        return self._joined(W, at, b, b, self._sigma(at, b), start)

    def evaluate_dual(self, W: Array, sigma: Array) -> Evaluation:
        """Evaluate at `W` with the gradient that noise levels near those at W give.

        Parameters
        ----------
        W : ndarray of shape (n_features, n_columns)
            Coefficients.
        sigma : ndarray of shape (n_columns,)
            Positive.

        Returns
        -------
        Evaluation
            The value at W; the gradient and the conjugate belong to a dual point that is
            feasible: it is shortened where a task is noisier than `sigma` says.
        """
        at = self.squares.at(W)
        for _ in range(_ROUNDS):
            factor = self.squares.total / sigma
            b = self.intercepts.solve(factor, factor * at.mean - self._push)
            sigma = np.maximum(sigma, self._sigma(at, b))
            if self.intercepts.own_curvature in (0.0, np.inf) and self.intercepts.centres:
                break
        return self._joined(W, at, self._levels(at), b, sigma, None)

    def _joined(
        self,
        W: Array,
        at: Residuals,
        best: Array,
        b: Array,
        sigma: Array,
        start: Array | None,
    ) -> Evaluation:
        """Join value, gradient and conjugate of both kinds of losses."""
        # The value is that of the intercepts `best`; `b` and `sigma` make the gradient.
        rest = None if self.rest is None else self.rest.evaluate(W, start)
        total = self.squares.total
        longest = float(np.max(self._sigma(at, b) / sigma, initial=1.0, where=total > 0))
        factor = np.where(self._met(at, b), 0.0, total / (sigma * longest))
        value, joined = self._roots(at, best), best
        gradient = at.back(-factor, factor * b)
        dual = float(factor @ (b * self._y_mean - at.product))
        sums = factor * (b - at.mean)
        if rest is not None:
            joined = np.where(self.owned, best, rest.intercept)
            value += rest.value - self.intercepts.penalty(rest.intercept)
            gradient = gradient + rest.gradient

        def conjugate(c: float) -> float:
            own = c * dual + self.intercepts.conjugate(c * sums)
            return own if rest is None else own + rest.conjugate(c)

        return Evaluation(
            value=value + self.intercepts.penalty(joined),
            gradient=gradient,
            intercept=joined,
            conjugate=conjugate,
            hessian=self._hessian(at, b, sigma, rest),
            preconditioner=self._preconditioner(W, sigma),
        )

    @cached_property
    def _y_mean(self) -> Array:
        return self.squares.at(np.zeros(self.shape)).mean

    def _hessian(
        self, at: Residuals, b: Array, sigma: Array, rest: Evaluation | None
    ) -> LinearMap:
        """Return the product with the Hessian, the intercepts minimised out."""
        factor = self.squares.total / sigma
        left = at.mean - b
        curvature = factor * (at.variance + self.squares.blur) / sigma**2

        def product(V: Array) -> Array:
            change = at.change(V)
            along = (change.covariance + left * change.mean) / sigma**2
            pushed = factor * (change.mean - left * along)
            level = -self.intercepts.solve(curvature, pushed)
            along = along + left * level / sigma**2
            found = at.back(-factor * along, factor * (level + along * b), change, factor)
            return found if rest is None else found + rest.hessian(V)

        return product

    def _preconditioner(self, W: Array, sigma: Array) -> Callable[[float], LinearMap]:
        """Precondition as the squared loss of these noise levels, whose curvature is larger."""

        @cache
        def inner() -> Evaluation:
            return self.weighted(sigma).evaluate(W)

        return lambda shift: inner().preconditioner(shift)

    def value_at(self, W: Array, b: Array) -> float:
        """Value at `W` with the intercepts `b`."""
        own = self._roots(self.squares.at(W), b)
        if self.rest is None:
            return own + self.intercepts.penalty(b)
        return own + self.rest.value_at(W, b)

    @cached_property
    def _typical(self) -> Datafit:
        """The squared loss with the noise levels at W = 0."""
        return self.weighted(self.sigma_at(np.zeros(self.shape)))

    def feature_scale(self) -> Array:
        """Square root of the largest typical curvature of each feature."""
        return self._typical.feature_scale()

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients at the noise levels of W = 0."""
        return self._typical.lipschitz(scale)
