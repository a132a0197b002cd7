"""The data term of W = L S as a function of one factor, the other held."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, LinearMap, diagonal_preconditioner
from polytask.datafits.lanczos import largest_eigenvalue
from polytask.solvers._wrapped_data import WrappedDatafit


@dataclass(frozen=True, eq=False)
class _FactorDatafit(WrappedDatafit):
    """What both factors share: a data term of W, where W is linear in the factor."""

    datafit: Datafit
    held: Array

    @abstractmethod
    def product(self, factor: Array) -> Array:
        """Return W."""

    @abstractmethod
    def pulled_back(self, G: Array) -> Array:
        """Return the gradient with respect to the factor from that with respect to W."""

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at a factor."""
        at = self.datafit.evaluate(self.product(W), start)

        def preconditioner(shift: float) -> LinearMap:
            return diagonal_preconditioner(self._diagonal(at.hessian))(shift)

        return replace(
            at,
            gradient=self.pulled_back(at.gradient),
            hessian=lambda V: self.pulled_back(at.hessian(self.product(V))),
            preconditioner=preconditioner,
        )

    def value_at(self, W: Array, b: Array) -> float:
        """Value at a factor and the intercepts `b`."""
        return self.datafit.value_at(self.product(W), b)

    @abstractmethod
    def _diagonal(self, hessian: LinearMap) -> Array:
        """Return the diagonal curvature of the factor, or a bound of it."""

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients of the factor."""

        def apply(V: Array) -> Array:
            moved = self.product(V / scale[:, None])
            if self.is_quadratic:
                moved = self.datafit.origin.hessian(moved)
            return np.asarray(self.pulled_back(moved) / scale[:, None])

        bend = 1.0 if self.is_quadratic else self._bound
        return bend * largest_eigenvalue(apply, self.shape)

    @property
    def _bound(self) -> float:
        return self.datafit.known_lipschitz(np.ones(self.datafit.shape[0]))


class CodesDatafit(_FactorDatafit):
    """The data term of the codes S of shape (n_latent, n_columns); L is held."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of S."""
        return self.held.shape[1], self.datafit.shape[1]

    def product(self, factor: Array) -> Array:
        """Return L S."""
        return np.asarray(self.held @ factor)

    def pulled_back(self, G: Array) -> Array:
        """Return L' G."""
        return np.asarray(self.held.T @ G)

    def _diagonal(self, hessian: LinearMap) -> Array:
        ones = np.ones((1, self.shape[1]))
        rows = [column @ hessian(column[:, None] * ones) for column in self.held.T]
        return np.asarray(np.maximum(np.array(rows), 0.0))

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each latent task."""
        return np.asarray(np.sqrt(self._diagonal(self.datafit.origin.hessian).max(axis=1)))


class SharedDatafit(_FactorDatafit):
    """The data term of the latent tasks L of shape (n_features, n_latent); S is held."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of L."""
        return self.datafit.shape[0], self.held.shape[0]

    def product(self, factor: Array) -> Array:
        """Return L S."""
        return np.asarray(factor @ self.held)

    def pulled_back(self, G: Array) -> Array:
        """Return G S'."""
        return np.asarray(G @ self.held.T)

    def _diagonal(self, hessian: LinearMap) -> Array:
        return np.outer(self.datafit.feature_scale() ** 2, (self.held**2).sum(axis=1))

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature."""
        widest = float((self.held**2).sum(axis=1).max(initial=0.0))
        return np.asarray(self.datafit.feature_scale() * np.sqrt(widest))
