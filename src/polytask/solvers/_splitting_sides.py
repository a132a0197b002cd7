"""What Splitting needs of the data: a gradient where it is smooth, dual variables where not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array

# Lanczos may fall short of the largest curvature by as much.
_SHORTFALL = 1.02


@dataclass(frozen=True, eq=False)
class Slope:
    """The gradient of the smooth part of the data in W and in the intercepts that steps move."""

    W: Array
    b: Array


class Side(ABC):
    """The data term as a smooth part plus functions of rows, each with a prox."""

    # Steps move W and `b`, the intercepts; of length 0 where the smooth part minimises them
    # itself. A dual variable u per row stands for the derivative of its loss.

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Length of u."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """The largest curvature of the smooth part; a typical one if there is no bound."""

    @abstractmethod
    def start(self, intercept: Array | None, u: Array | None) -> tuple[Array, Array]:
        """Return b and u to start from."""

    @abstractmethod
    def slope(self, W: Array, b: Array) -> Slope:
        """Return the gradient of the smooth part."""

    @abstractmethod
    def best_intercepts(self, b: Array, step: float) -> Array:
        """Return the prox of the penalty on the intercepts."""

    @abstractmethod
    def forward(self, W: Array, b: Array) -> Array:
        """Return the predictions of all rows, of shape (n_rows,)."""

    @abstractmethod
    def adjoint(self, u: Array) -> Slope:
        """Return the transpose of :meth:`forward` at the weighted u."""

    @abstractmethod
    def dual_step(self, u: Array, eta: Array, step: float) -> Array:
        """Move u along the predictions, with the prox of the conjugates of the losses."""

    @abstractmethod
    def row_metric(self, step: float) -> Array:
        """Return how much each entry of u counts in the length of a step, shape (n_rows,)."""

    @abstractmethod
    def balanced_step(self, W: Array, b: Array, u: Array) -> float | None:
        """Return the step that suits the sizes of the variables; None if the curvature decides."""

    @abstractmethod
    def evaluate(self, W: Array, b: Array, u: Array) -> Evaluation:
        """Evaluate at W, with a gradient that belongs to a feasible dual point near u."""


class SmoothSide(Side):
    """A smooth datafit, which minimises the intercepts itself."""

    n_rows = 0

    def __init__(self, datafit: Datafit) -> None:
        self.datafit = datafit
        self.intercept: Array | None = None
        self._last: tuple[Array, Evaluation] | None = None
        self._none = np.zeros(0)
        self._no_pull = Slope(np.zeros(datafit.shape), self._none)

    @property
    def curvature(self) -> float:
        """The bound of the datafit."""
        return self.datafit.known_lipschitz(np.ones(self.datafit.shape[0])) * _SHORTFALL

    def start(self, intercept: Array | None, u: Array | None) -> tuple[Array, Array]:
        """Return nothing; the intercepts are a guess for the datafit."""
        self.intercept = intercept
        return self._none, self._none

    def slope(self, W: Array, b: Array) -> Slope:
        """Return the gradient."""
        return Slope(self.gradient(W), b)

    def gradient(self, W: Array) -> Array:
        """Return the gradient in W."""
        return self.evaluate(W, self._none, self._none).gradient

    def evaluate(self, W: Array, b: Array, u: Array) -> Evaluation:
        """Evaluate at W, once if it is asked for twice."""
        if self._last is None or self._last[0] is not W:
            at = self.datafit.evaluate(W, self.intercept)
            if np.isfinite(at.value):
                self.intercept = at.intercept
            self._last = W, at
        return self._last[1]

    def best_intercepts(self, b: Array, step: float) -> Array:
        """Return nothing."""
        return b

    def forward(self, W: Array, b: Array) -> Array:
        """Return nothing."""
        return self._none

    def adjoint(self, u: Array) -> Slope:
        """Return zeros."""
        return self._no_pull

    def dual_step(self, u: Array, eta: Array, step: float) -> Array:
        """Return nothing."""
        return u

    def row_metric(self, step: float) -> Array:
        """Return nothing."""
        return self._none

    def balanced_step(self, W: Array, b: Array, u: Array) -> float | None:
        """Return None: the curvature alone decides the step."""
        return None
