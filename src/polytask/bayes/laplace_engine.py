"""The Laplace approximation of the evidence, and what a search needs at a point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.bayes.laplace_mode import Beliefs, Mode, Point, posterior_mode, third_derivative
from polytask.bayes.laplace_rows import Labelled, RowBlock, Spread

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The log marginal likelihood and what its derivatives are made of."""

    # Shapes: covariance_gradient (q, q), precision_gradient (p,), second_moment (q, q).

    value: float
    covariance_gradient: Array
    precision_gradient: Array | None
    second_moment: Array


def evidence(mode: Mode, beliefs: Beliefs, *, independent: bool = False) -> Evidence:
    """Return the marginal likelihood at a mode, and its gradient."""
    # The mode moves with the prior, and the curvature with the mode, so the gradient has a term
    # with the third derivative of the loss; it is exact for the approximation.
    pulls = [
        posterior.rows.project(
            -0.5 * third_derivative(posterior.rows, eta) * posterior.variances(mode.inverse_root)
        )
        for posterior, eta in zip(mode.posteriors, mode.etas, strict=True)
    ]
    shift = _mean_shift(mode, pulls)
    turned = np.zeros_like(mode.point.alpha)
    for posterior, pull in zip(mode.posteriors, pulls, strict=True):
        turned[posterior.rows.tasks] = posterior.response(pull, shift)
    derivative = _on_diagonal if independent else _everywhere
    gradient, second = derivative(mode, beliefs.spread, turned)
    value = -mode.objective - 0.5 * mode.log_determinant
    if beliefs.precision is None:
        return Evidence(value, gradient, None, second)
    value += 0.5 * float(np.log(beliefs.precision).sum())
    return Evidence(value, gradient, _precision_gradient(mode, beliefs.precision, shift), second)


def _everywhere(mode: Mode, spread: Spread, turned: Array) -> tuple[Array, Array]:
    """Return the derivative with respect to the covariance, and the second moment."""
    alpha, restricted = mode.point.alpha, np.zeros_like(spread.covariance)
    for posterior in mode.posteriors:
        restricted += posterior.restricted(mode.inverse_root)
    explicit = alpha.T @ alpha - restricted
    implicit = turned.T @ alpha
    second = spread.covariance + spread.times(spread.times(explicit).T) / _active(mode)
    return 0.5 * (explicit + implicit + implicit.T), second


def _on_diagonal(mode: Mode, spread: Spread, turned: Array) -> tuple[Array, Array]:
    """Return the diagonals of :func:`_everywhere` with zeros around them."""
    alpha, own = mode.point.alpha, np.diagonal(spread.covariance)
    explicit = np.sum(alpha**2, axis=0)
    for posterior in mode.posteriors:
        explicit = explicit - posterior.restricted_diagonal(mode.inverse_root)
    second = own + own**2 * explicit / _active(mode)
    return np.diag(0.5 * explicit + np.sum(turned * alpha, axis=0)), np.diag(second)


def _active(mode: Mode) -> int:
    """Return the number of tasks with labels, at least one."""
    return max(sum(len(posterior.rows.tasks) for posterior in mode.posteriors), 1)


def _mean_shift(mode: Mode, pulls: list[Array]) -> Array:
    """Return how far the pulls on the linear predictors move mu."""
    if mode.inverse_root is None:
        return np.zeros_like(mode.point.mean)
    total = np.zeros_like(mode.point.mean)
    for posterior, pull in zip(mode.posteriors, pulls, strict=True):
        total += posterior.reduced(pull).sum(axis=0)
    return np.asarray(mode.inverse_root.T @ (mode.inverse_root @ total))


def _precision_gradient(mode: Mode, precision: Array, shift: Array) -> Array:
    assert mode.inverse_root is not None
    variance = np.sum(mode.inverse_root**2, axis=0)
    mean = mode.point.mean
    return np.asarray(0.5 / precision - 0.5 * mean**2 - 0.5 * variance - shift * mean)


# Standard deviation of a mean that is left to the data: finite, so that separable rows have a
# finite answer, and far wider than any odds ratio per unit.
FLAT_DEVIATION = 100.0


@dataclass(frozen=True, eq=False)
class Found:
    """The evidence of a prior, and where its posterior has its mode."""

    # Shapes: slope (q, q), second (q, q).

    value: float
    slope: Array
    mean_slope: float
    second: Array
    mean_second: float
    converged: bool
    point: Point
    posterior: tuple[Beliefs, Mode] | None


class Engine(ABC):
    """Evaluates priors of the same labels. Shapes: copies (q,)."""

    copies: Array

    @abstractmethod
    def at(self, factor: Array, mean_variance: float | None) -> Found:
        """Evaluate a prior. Shapes: factor (q, r)."""


class WeightEngine(Engine):
    """The posterior in the weights, for any covariance. Shapes: copies (p,)."""

    def __init__(
        self,
        labelled: Labelled,
        blocks: list[RowBlock],
        varying: tuple[int, ...],
        copies: Array,
        independent: bool = False,
    ) -> None:
        self._labelled, self._blocks = labelled, blocks
        self._independent = independent
        self._varying = np.array(varying, dtype=np.intp)
        self._every, self.copies = copies, copies[self._varying]
        self.point: Point | None = None

    def at(self, factor: Array, mean_variance: float | None) -> Found:
        """Evaluate a prior."""
        beliefs = self._beliefs(factor, mean_variance)
        mode = self._mode(beliefs)
        found = evidence(mode, beliefs, independent=self._independent)
        moment = mode.point.mean**2
        if mode.inverse_root is not None:
            moment = moment + np.sum(mode.inverse_root**2, axis=0)
        several, mean_slope = self._every[1:], 0.0
        if found.precision_gradient is not None and mean_variance is not None:
            mean_slope = -float(found.precision_gradient[1:].sum()) / mean_variance**2
        return Found(
            value=found.value,
            slope=found.covariance_gradient,
            mean_slope=mean_slope,
            second=found.second_moment,
            mean_second=float(moment[1:] @ several) / max(float(several.sum()), 1.0),
            converged=mode.converged,
            point=mode.point,
            posterior=(beliefs, mode),
        )

    def posterior(self, factor: Array, mean_variance: float | None) -> tuple[Beliefs, Mode]:
        """Return a prior and its posterior."""
        beliefs = self._beliefs(factor, mean_variance)
        return beliefs, self._mode(beliefs)

    def _beliefs(self, factor: Array, mean_variance: float | None) -> Beliefs:
        precision = np.full(self._labelled.width, FLAT_DEVIATION**-2.0)
        if mean_variance is not None:
            precision[1:] = 1.0 / mean_variance
        zeros = np.zeros(self._labelled.width)
        return Beliefs(Spread.of(factor, self._varying), precision, zeros)

    def _mode(self, beliefs: Beliefs) -> Mode:
        """Return the posterior mode, starting at the last one if that is nearer than zero."""
        zero = Point(beliefs.mean.copy(), np.zeros((self._labelled.n_tasks, len(self._varying))))
        starts = [zero]
        if self.point is not None and self.point.alpha.shape == zero.alpha.shape:
            starts.append(self.point)
        mode = posterior_mode(self._blocks, beliefs, starts)
        self.point = mode.point
        return mode
