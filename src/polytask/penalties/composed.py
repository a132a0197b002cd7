"""Penalties that are a norm of a linear map of W: no prox of W, but one of what it maps to."""

from __future__ import annotations

from abc import abstractmethod

from polytask._linalg import Array
from polytask.penalties.base import Valued


class Composed(Valued):
    """A penalty h(A W), where h is convex with a prox and A is a linear map.

    Splitting is the solver for it: it takes steps with A, its transpose and the conjugate of h.
    """

    @abstractmethod
    def forward(self, W: Array) -> Array:
        """Return A W for W of shape (n_features, n_columns)."""

    @abstractmethod
    def adjoint(self, U: Array) -> Array:
        """Return the transpose of A at U, of the shape of W."""

    @abstractmethod
    def norm_bound(self) -> float:
        """Return a bound on the largest eigenvalue of A'A, > 0."""

    @abstractmethod
    def dual_prox(self, U: Array, step: float) -> Array:
        """Return the minimiser over V of 1/2 ||V - U||^2 + step * (conjugate of h at V)."""

    @abstractmethod
    def dual_value(self, U: Array) -> float:
        """Return the conjugate of h at U, which is in its domain."""

    @abstractmethod
    def settled(self, W: Array, moved: Array) -> Array:
        """Return W with what is zero in the solution made exactly zero.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Nearly a solution.
        moved : array
            The prox of h near A W, which has exact zeros.

        Returns
        -------
        array of shape (n_features, n_columns)
            A point near W.
        """
