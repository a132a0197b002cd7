"""Quantiles of new targets under the posterior of their linear predictor."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.special
from numpy.typing import NDArray

from polytask.linear.bayes_laplace_tasks import TaskUnits
from polytask.losses import Gamma, Loss, Squared

Array = NDArray[np.float64]

# Points at which the posterior is summed; the log of a quantile is this near that of the mode.
_NODES, _FARTHEST, _HALVINGS = 24, 40.0, 60
# From here on counts have Poisson's law.
_NO_DISPERSION = 1.0 + 1e-6


class PosteriorTasks(Protocol):
    """Tasks of which the linear predictors are normal."""

    @property
    def units(self) -> TaskUnits | None:
        """Their units."""

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task."""

    def modes(self, X: Any, task: int) -> Array:  # noqa: ANN401
        """Return the linear predictors at the mode, shape (n, columns)."""

    def variances(self, X: Any, task: int) -> Array:  # noqa: ANN401
        """Return their posterior variances."""


def quantiles(tasks: PosteriorTasks, X: Any, task: int, p: float) -> Array:  # noqa: ANN401
    """Return the quantile of a new target for every row of a task, NaN for classes."""
    # Shapes: X (n, n_features), result (n,).
    loss = tasks.loss_of(task)
    if loss.is_classifier:
        return np.full(X.shape[0], np.nan)
    assert tasks.units is not None
    phi, scale = (float(own[max(task, 0)]) for own in (tasks.units.dispersion, tasks.units.scale))
    eta, variance = tasks.modes(X, task)[:, 0], tasks.variances(X, task)[:, 0]
    if isinstance(loss, Squared):
        return np.asarray(eta + scipy.special.ndtri(p) * np.sqrt(variance + phi * scale**2))
    return _of_means(loss, eta, np.sqrt(variance), phi, p)


def _of_means(loss: Loss, eta: Array, deviation: Array, phi: float, p: float) -> Array:
    """Return quantiles of counts or amounts, the log of whose mean is normal, by bisection."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    means, share = np.exp(eta[:, None] + deviation[:, None] * nodes), weights / weights.sum()
    low, high = np.full(len(eta), -_FARTHEST), np.full(len(eta), _FARTHEST)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = _distribution(loss, np.exp(eta + middle)[:, None], means, phi) @ share < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found = np.asarray(np.exp(eta + high))
    if isinstance(loss, Gamma):
        return found
    # The distribution of counts is continued between whole numbers, where it rises.
    return np.where(high < 1e-6 - _FARTHEST, 0.0, np.ceil(found * (1.0 - 1e-12)))


def _distribution(loss: Loss, q: Array, means: Array, phi: float) -> Array:
    """Return the probability of values up to q. Shapes: q (n, 1), means and result (n, k)."""
    if isinstance(loss, Gamma):
        return np.asarray(scipy.special.gammainc(1.0 / phi, q / (means * phi)))
    if phi < _NO_DISPERSION:
        return np.asarray(scipy.special.gammaincc(q + 1.0, means))
    # The negative binomial distribution, of a variance that is phi times the mean.
    return np.asarray(scipy.special.betainc(means / (phi - 1.0), q + 1.0, 1.0 / phi))
