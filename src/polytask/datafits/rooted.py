"""The data term of the square-root loss: roots of the mean squares of the tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array, Datafit, Evaluation, LinearMap
from polytask.datafits.intercepts import Intercepts
from polytask.datafits.rooted_levels import best_levels
from polytask.datafits.samples import Samples
from polytask.datafits.squares import Residuals, Squares

# Noise levels that intercepts of several tasks depend on are raised so often.
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Rooted(Datafit):
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
        return best_levels(*given, self.intercepts)

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
            if self.intercepts.held in (0.0, np.inf) and self.intercepts.centres:
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
        bend = factor * (at.variance + self.squares.blur) / sigma**2

        def product(V: Array) -> Array:
            change = at.change(V)
            along = (change.covariance + left * change.mean) / sigma**2
            pushed = factor * (change.mean - left * along)
            level = -self.intercepts.solve(bend, pushed)
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
