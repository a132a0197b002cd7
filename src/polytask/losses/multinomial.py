"""The multinomial logistic loss."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from polytask._linalg import Array, clip, counting, elementary, identity, namespace
from polytask._registry import State, saveable
from polytask.losses.base import (
    Loss,
    as_eta,
    domain_tolerance,
    entropy_terms,
    infinite_outside,
)

# With no more classes than this, columns are added one by one.
_FEW = 16


def _one_hot(y: Array, eta: Array) -> Array:
    """Return whether each class is the target, of the shape of eta."""
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
    curvature_bound = 0.5

    def value(self, y: Array, eta: Array) -> Array:
        """Return the loss of codes y (...) and predictors eta (..., K)."""
        xp = namespace(eta)
        centred = _centred(eta)
        own = xp.where(_one_hot(y, eta), centred, xp.zeros_like(eta))
        return xp.log(_total(xp.exp(centred))[..., 0]) - _total(own)[..., 0]

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return the class probabilities less the one-hot target, (..., K)."""
        return _softmax(eta) - as_eta(_one_hot(y, eta), eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return diag(p) - p p' for the class probabilities p, (..., K, K)."""
        p = _softmax(eta)
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

    def to_state(self) -> State:
        """Return an empty dictionary: there are no parameters."""
        return {}
