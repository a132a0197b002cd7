"""What a solver needs to know of the data: value, gradient, curvature, conjugate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LinearMap = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The data term at one W, with the intercepts at their optimum.

    Attributes
    ----------
    value : float
        ``f(W) = min over b`` of the weighted losses plus the penalty on b.
    gradient : ndarray of shape (n_features, n_columns)
        Gradient of ``f`` at W.
    intercept : ndarray of shape (n_columns,)
        The minimising b.
    conjugate : callable
        ``c -> f*(c * gradient)``, the Fenchel conjugate along the gradient, for c in [0, 1].
        With it any penalty whose conjugate is known gives a duality gap.
    hessian : callable
        ``V -> H V``, the product with the Hessian of ``f`` at W.
    preconditioner : callable
        ``shift -> (V -> approximately (H + shift I)^-1 V)``, positive definite for shift > 0.
    """

    value: float
    gradient: Array
    intercept: Array
    conjugate: Callable[[float], float]
    hessian: LinearMap
    preconditioner: Callable[[float], LinearMap]


class Datafit(ABC):
    """The data term of the objective as a function of W alone.

    The intercepts are minimised out exactly at every evaluation, so a solver
    never sees them and a dual point is feasible in b by construction.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Shape (n_features, n_columns) of W."""

    @property
    @abstractmethod
    def is_quadratic(self) -> bool:
        """Whether the Hessian is the same everywhere."""

    @abstractmethod
    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; `start` is a guess of the intercepts."""

    @abstractmethod
    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature, shape (n_features,)."""

    @abstractmethod
    def lipschitz(self, scale: Array) -> float:
        """Largest curvature of ``U -> f(U / scale[:, None])`` (an estimate from below)."""


def quadratic_conjugate(value: float, slope: float) -> Callable[[float], float]:
    """Conjugate along the gradient of a convex quadratic whose minimum value is 0.

    For ``q(W) = 1/2 ||B W - z||^2`` with gradient g, ``q*(c g) <= c (<g, W> - 2 q) + c^2 q``,
    with equality on the range of B; it needs no more than the value and `slope` = <g, W>.

    Parameters
    ----------
    value : float
        ``q(W)``.
    slope : float
        ``<g, W>``.

    Returns
    -------
    callable
        ``c -> q*(c g)``.
    """

    def conjugate(c: float) -> float:
        return c * (slope - 2.0 * value) + c * c * value

    return conjugate


def diagonal_preconditioner(diagonal: Array) -> Callable[[float], LinearMap]:
    """Precondition by a diagonal bound of the Hessian.

    Parameters
    ----------
    diagonal : ndarray of shape (n_features, n_columns)
        Non-negative.

    Returns
    -------
    callable
        ``shift -> (V -> V / (diagonal + shift))``; entries that would be divided by 0 are kept.
    """

    def prepare(shift: float) -> LinearMap:
        total = diagonal + shift
        total = np.where(total > 0, total, 1.0)
        return lambda V: V / total

    return prepare
