"""Rows with correlated noise, the coefficients that vary integrated out.

With every task's label the rows turn into independent problems: let the noise covariance be
Q diag(s) Q'; the targets Y Q have independent noise of variances s, and their coefficients are
independent with mean ``mu * (Q'1)_k`` and the same covariance L L'. One singular value
decomposition of ZL then answers for all of them. With gaps the coefficients of all tasks depend
on each other: with A_p the inverse of the noise covariance of the labels of pattern p, 0
elsewhere, and G_p its rows' Z'Z, the precision of the coefficients in units of L is

    K = I + sum_p A_p (x) L'G_p L.

V is the covariance of all labels, r their residual from the mean coefficients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from polytask.bayes.blocks import Array, Chosen
from polytask.bayes.correlated import JointRows


@dataclass(frozen=True, eq=False)
class JointTotals:
    """What is needed of V for the mean. Shapes: gram (p, p), cross (p,)."""

    gram: Array
    cross: Array
    log_determinant: float


@dataclass(frozen=True, eq=False)
class Slopes:
    """Derivatives of minus the log-likelihood."""

    # Shapes: covariance (q, q), noise (T, T), weights (q,).

    misfit: float
    covariance: Array
    noise: Array
    weights: Array


class JointReduced(ABC):
    """Rows with the coefficients that vary integrated out."""

    @abstractmethod
    def totals(self) -> JointTotals:
        """Return what is needed of V for the mean."""

    @abstractmethod
    def deviations(self, beta: Array) -> Array:
        """Return the posterior mean deviations of the tasks from a mean, shape (T, q)."""

    @abstractmethod
    def slopes(self, beta: Array, root: Array) -> Slopes:
        """Return the slopes; root root' is the covariance of the mean that is integrated out."""

    @abstractmethod
    def information(self) -> Array:
        """Return the expected information about pairs of mirrored entries of the covariance."""
        # Sum over pairs of tasks of ``P_ii P_jj + P_ij P_ji``, P the block of Z'V^-1 Z, (q, q).

    @abstractmethod
    def responses(self) -> Array:
        """Return how far the deviations move down when the mean moves up, shape (T, q, p)."""

    @abstractmethod
    def own_covariances(self) -> Array:
        """Return the posterior covariances of every task's deviation, shape (T, q, q)."""

    @abstractmethod
    def covariances_at(self, Z: Array) -> Array:
        """Return the posterior covariances of ``Z u`` between tasks, shape (n, T, T)."""


class WholeRows(JointReduced):
    """Rows with the labels of all tasks."""

    # With XL = U diag(sqrt(values)) V' what rows and targets have outside of U is kept apart from
    # what they have inside, so that no digits are lost where the noise is small.

    def __init__(self, rows: JointRows, L: Array, varying: Chosen, noise: Array) -> None:
        self.varying, self.n_rows = varying, float(rows.count[0])
        self.s, self.Q = np.linalg.eigh(noise)
        if self.s[0] <= 0:
            raise np.linalg.LinAlgError("noise without a direction")
        # Rows of zeros change nothing; with them there are as many rows as directions.
        more = ((0, max(L.shape[1] - len(rows.X), 0)), (0, 0))
        X, Y = np.pad(rows.X, more), np.pad(rows.Y @ self.Q, more)
        self.U, singular, V = np.linalg.svd(X[:, varying] @ L, full_matrices=False)
        self.singular, self.values, self.turned = singular, singular**2, L @ V.T
        self.N, self.seen = self.U.T @ X, self.U.T @ Y
        self.X_left, self.Y_left = X - self.U @ self.N, Y - self.U @ self.seen
        self.Z = X[:, varying]
        self.gram = self.X_left.T @ self.X_left
        # Ones, turned like the tasks: what multiple of the mean each of them has.
        self.ones = self.Q.sum(axis=0)
        self.D = 1.0 / (self.s[:, None] + self.values)

    def totals(self) -> JointTotals:
        """Return the sums."""
        own = self.ones**2
        gram = (own / self.s).sum() * self.gram + (self.N.T * (own @ self.D)) @ self.N
        cross = self.X_left.T @ (self.Y_left @ (self.ones / self.s))
        cross += self.N.T @ ((self.D.T * self.seen) @ self.ones)
        log_determinant = self.n_rows * np.log(self.s).sum()
        log_determinant += np.log1p(self.values / self.s[:, None]).sum()
        return JointTotals(gram, cross, float(log_determinant))

    def deviations(self, beta: Array) -> Array:
        """Return the posterior mean deviations."""
        scaled = self.singular[:, None] * self.D.T * self._inside(beta)
        return np.asarray((self.turned @ scaled @ self.Q.T).T)

    def slopes(self, beta: Array, root: Array) -> Slopes:
        """Return the slopes."""
        inside, outside = (
            self._inside(beta),
            self.Y_left - np.multiply.outer(self.X_left @ beta, self.ones),
        )
        misfit = float(np.sum(outside**2 / self.s) + np.sum(self.D.T * inside**2))
        dual = (outside / self.s + self.U @ (self.D.T * inside)) @ self.Q.T
        a, N = self.Z.T @ dual, self.N[:, self.varying]
        inner = self.gram[self.varying][:, self.varying]
        P = (1.0 / self.s).sum() * inner + (N.T * self.D.sum(axis=0)) @ N
        slope = 0.5 * (P - a @ a.T - self._squares(root))
        return Slopes(misfit, slope, self._noise_slope(dual, root), np.diagonal(P).copy())

    def _inside(self, beta: Array) -> Array:
        """Return what residuals have inside of U, shape (r, T)."""
        return np.asarray(self.seen - np.multiply.outer(self.N @ beta, self.ones))

    def _squares(self, root: Array) -> Array:
        """Return the sum over the tasks of F F' with F = Z'V^-1 X root."""
        own = self.ones**2
        N, Nr = self.N[:, self.varying], self.N @ root
        R = self.gram[self.varying] @ root
        weights = (self.D.T * own) @ self.D
        mixed = (R @ Nr.T * ((own / self.s) @ self.D)) @ N
        squares = (own / self.s**2).sum() * (R @ R.T) + N.T @ (weights * (Nr @ Nr.T)) @ N
        return np.asarray(squares + mixed + mixed.T)

    def _noise_slope(self, dual: Array, root: Array) -> Array:
        """Return the derivative with respect to the covariance of the noise."""
        size = np.sum((self.N @ root) ** 2, axis=1)
        left = float(np.sum(root * (self.gram @ root)))
        spread = left / np.multiply.outer(self.s, self.s) + (self.D * size) @ self.D.T
        spread *= np.multiply.outer(self.ones, self.ones)
        expected = (self.n_rows - len(self.values)) / self.s + self.D.sum(axis=1)
        turned = np.diag(expected) - spread
        return np.asarray(0.5 * (self.Q @ turned @ self.Q.T - dual.T @ dual))

    def information(self) -> Array:
        """Return the information; that of independent problems adds."""
        N, inner = self.N[:, self.varying], self.gram[self.varying][:, self.varying]
        total = np.zeros_like(inner)
        for s, D in zip(self.s, self.D, strict=True):
            P = inner / s + (N.T * D) @ N
            own = np.diagonal(P)
            total += np.multiply.outer(own, own) + P**2
        return total

    def responses(self) -> Array:
        """Return the responses."""
        weights = (self.Q * self.ones) @ self.D * self.singular
        return np.asarray((self.turned * weights[:, None, :]) @ self.N)

    def own_covariances(self) -> Array:
        """Return the covariances."""
        weights = self.Q**2 @ (self.s[:, None] * self.D)
        return np.asarray((self.turned * weights[:, None, :]) @ self.turned.T)

    def covariances_at(self, Z: Array) -> Array:
        """Return the covariances."""
        own = (Z @ self.turned) ** 2 @ (self.s[:, None] * self.D).T
        return np.asarray((self.Q * own[:, None, :]) @ self.Q.T)
