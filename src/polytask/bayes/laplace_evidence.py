"""The Laplace approximation of the log marginal likelihood, with its exact gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.bayes.laplace_blocks import Spread
from polytask.bayes.laplace_mode import Beliefs, Mode, third_derivative

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
