"""Losses of classes: logistic, multinomial, squared hinge."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from polytask._linalg import Array, clip, counting, elementary, identity, namespace
from polytask._registry import saveable
from polytask.losses.base import (
    Loss,
    as_eta,
    domain_tolerance,
    entropy_terms,
    infinite_outside,
)


def _sigmoid(eta: Array) -> Array:
    """Return 1 / (1 + exp(-eta)) with full relative accuracy on both sides."""
    xp = elementary(eta)
    decay = xp.exp(-xp.abs(eta))
    return xp.where(eta >= 0, xp.ones_like(eta), decay) / (1 + decay)


@saveable("loss.logistic")
@dataclass(frozen=True)
class Logistic(Loss):
    """log(1 + exp(eta)) - y eta, for targets 0 and 1.

    With p = u + y in [0, 1] its conjugate at u is p log p + (1 - p) log(1 - p).
    """

    name = "logistic"
    is_classifier = True
    plain_model = "LogisticRegression"
    curvature_bound = 0.25

    def value(self, y: Array, eta: Array) -> Array:
        """Return log(1 + exp(eta)) - y eta elementwise."""
        xp = namespace(eta)
        # The linear terms first: where y = 1 and eta is large they cancel exactly.
        linear = xp.where(eta > 0, eta, xp.zeros_like(eta)) - as_eta(y, eta) * eta
        return linear + xp.log1p(xp.exp(-xp.abs(eta)))

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return P(1) - y elementwise."""
        return _sigmoid(eta) - as_eta(y, eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return P(1) P(0) elementwise."""
        xp = elementary(eta)
        decay = xp.exp(-xp.abs(eta))
        return decay / (1 + decay) ** 2

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return the negative entropy of u + y elementwise, inf outside [0, 1]."""
        p, tolerance = u + as_eta(y, u), domain_tolerance(u)
        inside = (p >= -tolerance) & (p <= 1 + tolerance)
        p = clip(p, 0.0, 1.0)
        return infinite_outside(inside, entropy_terms(p) + entropy_terms(1 - p))

    def inverse_link(self, eta: Array) -> Array:
        """Return the probability of the positive class."""
        return _sigmoid(eta)


# With no more classes than this, columns are added one by one.
_FEW = 16


def _one_hot(y: Array, eta: Array) -> Array:
    """Return whether each class is the target, of the shape of eta."""
    if isinstance(eta, np.ndarray):
        return np.asarray(y)[..., None] == np.arange(eta.shape[-1])
    return as_eta(y, eta)[..., None] == counting(eta.shape[-1], eta)


def _few_columns(values: Array) -> bool:
    # NumPy goes through a short last axis entry by entry: columns are ten times faster.
    return isinstance(values, np.ndarray) and 1 <= values.shape[-1] <= _FEW


def _columns(values: Array) -> list[Array]:
    return [values[..., k] for k in range(values.shape[-1])]


def _total(values: Array) -> Array:
    """Return the sums over the last axis, which is kept."""
    if _few_columns(values):
        return functools.reduce(np.add, _columns(values))[..., None]
    return elementary(values).sum(values, axis=-1, keepdims=True)


def _centred(eta: Array) -> Array:
    """Return eta less its largest entry, so that no exponential overflows."""
    if _few_columns(eta):
        return eta - functools.reduce(np.maximum, _columns(eta))[..., None]
    return eta - elementary(eta).max(eta, axis=-1, keepdims=True)


def _softmax(eta: Array) -> Array:
    """Return the class probabilities."""
    weights = elementary(eta).exp(_centred(eta))
    return weights / _total(weights)


@saveable("loss.multinomial")
@dataclass(frozen=True)
class Multinomial(Loss):
    """log sum_k exp(eta_k) - eta_y, for targets that are codes 0, ..., K - 1.

    With p = u + onehot(y) on the simplex its conjugate at u is sum_k p_k log p_k. The
    bound 1/2 on the curvature is that of Böhning [1]_.

    References
    ----------
    .. [1] Böhning, D. (1992). Multinomial logistic regression algorithm. Annals of the
       Institute of Statistical Mathematics 44, 197-200, Section 2.
    """

    name = "multinomial"
    is_classifier = True
    plain_model = "LogisticRegression"
    curvature_bound = 0.5

    def value(self, y: Array, eta: Array) -> Array:
        """Return the loss of codes y (...) and predictors eta (..., K)."""
        xp = namespace(eta)
        centred = _centred(eta)
        own = xp.where(_one_hot(y, eta), centred, xp.zeros_like(eta))
        return xp.log(_total(xp.exp(centred))[..., 0]) - _total(own)[..., 0]

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return the class probabilities less the one-hot target, (..., K)."""
        hot = _one_hot(y, eta)
        return _softmax(eta) - (hot if isinstance(hot, np.ndarray) else as_eta(hot, eta))

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return diag(p) - p p' for the class probabilities p, (..., K, K)."""
        p = _softmax(eta)
        # Here and below NumPy finds the same numbers sooner.
        if isinstance(p, np.ndarray):
            found = np.einsum("...k,...l->...kl", p, -p)
            np.einsum("...kk->...k", found)[...] = p * (1.0 - p)
            return found
        return p[..., None] * (identity(p.shape[-1], p) - p[..., None, :])

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return the negative entropy of u + onehot(y), inf off the simplex."""
        xp, tolerance = namespace(u), domain_tolerance(u)
        p = u + as_eta(_one_hot(y, u), u)
        inside = xp.all(p >= -tolerance, axis=-1)
        inside = inside & (xp.abs(xp.sum(p, axis=-1) - 1) <= tolerance * p.shape[-1])
        entropy = xp.sum(entropy_terms(clip(p, 0.0, 1.0)), axis=-1)
        return infinite_outside(inside, entropy)

    def n_outputs(self, n_classes: int) -> int:
        """Return the number of classes: one column for each."""
        return n_classes

    def inverse_link(self, eta: Array) -> Array:
        """Return the class probabilities, (..., K)."""
        return _softmax(eta)


def _margin(y: Array, eta: Array) -> tuple[Array, Array]:
    """Return the side of each target, -1 or 1, and how far its margin is below 1."""
    side = 2 * as_eta(y, eta) - 1
    return side, clip(1 - side * eta, 0.0, None)


@saveable("loss.squared_hinge")
@dataclass(frozen=True)
class SquaredHinge(Loss):
    """max(0, 1 - s eta)^2, for targets 0 and 1, with s = 2 y - 1.

    Rows beyond the margin count for nothing. Its conjugate at u is, for s u <= 0,
    s u + u^2 / 4. On average it is smallest at eta = 2 P(1) - 1, which is how a predictor
    becomes a probability (Zhang 2004); the logistic loss has better probabilities.

    References
    ----------
    T. Zhang, "Statistical behavior and consistency of classification methods based on convex
    risk minimization", Annals of Statistics 32 (2004), section 3.
    """

    name = "squared_hinge"
    is_classifier = True
    plain_model = "LinearSVC"
    curvature_bound = 2.0

    def value(self, y: Array, eta: Array) -> Array:
        """Return the squared lack of margin elementwise."""
        return _margin(y, eta)[1] ** 2

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return -2 s times the lack of margin elementwise."""
        side, lack = _margin(y, eta)
        return -2 * side * lack

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return 2 inside the margin, else 0."""
        xp = namespace(eta)
        return 2 * xp.astype(_margin(y, eta)[1] > 0, eta.dtype)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return s u + u^2 / 4 elementwise, inf where s u > 0."""
        turned = (2 * as_eta(y, u) - 1) * u
        inside = turned <= domain_tolerance(u)
        clamped = clip(turned, None, 0.0)
        return infinite_outside(inside, clamped * (1 + 0.25 * clamped))

    def inverse_link(self, eta: Array) -> Array:
        """Return the probability of the positive class, (1 + eta) / 2 within [0, 1]."""
        return clip(0.5 * (1 + eta), 0.0, 1.0)
