"""The square-root loss: a noise level per task that nobody has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from polytask._linalg import Array, namespace
from polytask._registry import State, saveable
from polytask.losses.base import Loss, as_eta


@final
@saveable("loss.square_root")
@dataclass(frozen=True)
class SquareRoot(Loss):
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
    is_classifier = False
    curvature_bound = 1.0
    takes_root = True

    def value(self, y: Array, eta: Array) -> Array:
        """Return 1/2 (y - eta)^2 elementwise."""
        return 0.5 * (eta - as_eta(y, eta)) ** 2

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return eta - y elementwise."""
        return eta - as_eta(y, eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return ones of the shape of eta."""
        return namespace(eta).ones_like(eta)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return u y + u^2 / 2 elementwise."""
        return u * (as_eta(y, u) + 0.5 * u)

    def n_outputs(self, n_classes: int) -> int:
        """Return 1."""
        return 1

    def inverse_link(self, eta: Array) -> Array:
        """Return eta: it is the mean."""
        return eta

    def to_state(self) -> State:
        """Return an empty dictionary: there are no parameters."""
        return {}
