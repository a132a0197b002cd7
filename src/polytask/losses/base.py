"""What a loss is: a function of one target and one linear predictor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self, final

from polytask._linalg import Array, namespace
from polytask._registry import State
from polytask.messages import LazyMessage, Text


class Loss(ABC):
    """A convex loss per sample, a function of the target y and the predictor eta.

    A scalar loss works on each element of arrays of any one shape; a loss with several
    outputs per sample takes them on the last axis of eta. Results have the dtype of eta.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which users ask for the loss."""

    @property
    @abstractmethod
    def is_classifier(self) -> bool:
        """Whether the targets are classes."""

    @property
    @abstractmethod
    def curvature_bound(self) -> float:
        """The largest eigenvalue that a Hessian in eta can have; inf if there is no bound."""

    @abstractmethod
    def value(self, y: Array, eta: Array) -> Array:
        """Return the loss of each sample."""

    @abstractmethod
    def gradient(self, y: Array, eta: Array) -> Array:
        """Return the derivative in eta, of the shape of eta."""

    @abstractmethod
    def curvature(self, y: Array, eta: Array) -> Array:
        """Return the second derivative in eta.

        Parameters
        ----------
        y : array of shape (...)
            Targets.
        eta : array of shape (...) or (..., K)
            Linear predictors.

        Returns
        -------
        array of shape (...) or (..., K, K)
            The derivative of a scalar loss, the Hessian of a loss with K outputs.
        """

    @abstractmethod
    def conjugate(self, y: Array, u: Array) -> Array:
        """Return the Fenchel conjugate, sup over eta of u eta - value(y, eta).

        Parameters
        ----------
        y : array of shape (...)
            Targets.
        u : array of shape (...) or (..., K)
            Dual points, of the shape that eta has.

        Returns
        -------
        array of shape (...)
            The conjugate; finite on the boundary of the domain, inf outside it.
        """

    def n_outputs(self, n_classes: int) -> int:
        """Return the number of columns that a task with `n_classes` classes owns."""
        return 1

    @property
    def plain_model(self) -> str:
        """The linear model of scikit-learn with the same predictions, for ``to_sklearn``.

        One of LinearRegression, PoissonRegressor, GammaRegressor, LogisticRegression and
        LinearSVC; empty if there is none.
        """
        return ""

    @property
    def boosting(self) -> Mapping[str, Any]:
        """The parameters that give histogram gradient boosting of numbers the loss.

        Empty for its usual one, squared errors.
        """
        return {}

    @property
    def has_linear_parts(self) -> bool:
        """Whether there are predictors with a slope but no curvature at all.

        Newton's quadratic does not see such rows; steps of gradients do.
        """
        return False

    @property
    def takes_root(self) -> bool:
        """Whether a task counts by the root of twice the mean loss of its rows."""
        return False

    @property
    def follows_units(self) -> bool:
        """Whether the loss of numbers stays a loss of them when they are shifted and scaled.

        Not so for counts and for positive amounts: they are fitted in their own units.
        """
        return True

    @property
    def judges_predictions(self) -> bool:
        """Whether predicted numbers are scored by this loss; if not, by their squared errors.

        So it is where a loss aims at something else than a mean, or at a mean on another scale.
        """
        return False

    def at_scale(self, unit: float) -> Loss:
        """Return the loss for targets that are `unit` times as large, up to a factor."""
        return self

    @property
    def allowed(self) -> Text:
        """What a number must be to be a target, as part of a sentence."""
        return LazyMessage("allowed.number")

    def allows(self, y: Array) -> Array:
        """Return elementwise whether numbers may be targets; a missing one (NaN) may not."""
        return y == y

    @property
    @final
    def of_two_classes(self) -> bool:
        """Whether the targets are two classes, with one column for the second of them."""
        return self.is_classifier and self.n_outputs(3) == 1

    def inverse_link(self, eta: Array) -> Array:
        """Return what eta predicts: eta itself, a mean, P(y = 1), or the class probabilities."""
        return eta

    def to_state(self) -> State:
        """Return the parameters of the loss, the fields of its dataclass, as a dictionary."""
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]

    @classmethod
    @final
    def from_state(cls, state: State) -> Self:
        """Rebuild the loss from :meth:`to_state`."""
        return cls(**state)


def as_eta(y: Array, eta: Array) -> Array:
    """Return targets in the dtype of the predictor, so that float32 stays float32."""
    return namespace(eta).astype(y, eta.dtype, copy=False)


def domain_tolerance(u: Array) -> float:
    """Return by how much rounding may push a dual point out of a bounded domain."""
    return max(1e-12, 100.0 * float(namespace(u).finfo(u.dtype).eps))


def entropy_terms(p: Array) -> Array:
    """Return p log p elementwise, 0 at p = 0."""
    xp = namespace(p)
    return p * xp.log(xp.where(p > 0, p, xp.ones_like(p)))


def infinite_outside(inside: Array, values: Array) -> Array:
    """Return `values` where `inside` holds, inf elsewhere."""
    xp = namespace(values)
    return xp.where(inside, values, xp.full_like(values, float("inf")))
