"""Rows with correlated noise and missing labels; see :mod:`polytask.bayes.correlated_reduce`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from polytask.bayes.blocks import Array, Chosen
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_reduce import JointReduced, JointTotals, Slopes

# Products of patterns are formed so many numbers at a time.
_PIECE = 4_000_000


class GappedRows(JointReduced):
    """Rows of which some lack labels."""

    def __init__(self, rows: JointRows, L: Array, varying: Chosen, noise: Array) -> None:
        self.rows, self.L, self.varying = rows, L, varying
        self.A, logs = _precisions(rows, noise)
        self.Z = rows.X[:, varying]
        self.ZL = self.Z @ L
        self.T, self.r = len(noise), L.shape[1]
        n = self.T * self.r
        K = np.eye(n) + self._products(self.ZL, self.ZL)
        self.root = scipy.linalg.cholesky(K, lower=True, overwrite_a=True, check_finite=False)
        logs += 2.0 * float(np.log(np.diagonal(self.root)).sum())
        self.log_determinant = logs
        # Inverse noise covariances times targets, and times ones, row by row.
        self.scaled_y = self._scaled(rows.Y[:, :, None], slice(None))[:, :, 0]
        self.scaled_ones = self.A.sum(axis=2)[rows.pattern]
        joined = np.empty((n, rows.X.shape[1] + 1))
        joined[:, -1] = (self.ZL.T @ self.scaled_y).T.ravel()
        for t in range(self.T):
            own = (self.ZL * self.scaled_ones[:, t, None]).T @ rows.X
            joined[t * self.r : (t + 1) * self.r, :-1] = own
        self.seen = self._half(joined)

    def totals(self) -> JointTotals:
        """Return the sums."""
        X, rows = self.rows.X, self.scaled_ones.sum(axis=1)
        N, y = self.seen[:, :-1], self.seen[:, -1]
        gram = (X.T * rows) @ X - N.T @ N
        cross = X.T @ self.scaled_y.sum(axis=1) - N.T @ y
        return JointTotals(gram, cross, self.log_determinant)

    def deviations(self, beta: Array) -> Array:
        """Return the posterior mean deviations."""
        return np.asarray(self._coordinates(beta).reshape(self.T, self.r) @ self.L.T)

    def _coordinates(self, beta: Array) -> Array:
        """Return the deviations in units of the prior, shape (T r,)."""
        return self._back(self.seen[:, -1] - self.seen[:, :-1] @ beta)

    def slopes(self, beta: Array, root: Array) -> Slopes:
        """Return the slopes."""
        W = np.repeat(beta[:, None], self.T, axis=1)
        W[self.varying] += self.deviations(beta).T
        # Residuals from the posterior means over the noise are V^-1 r.
        left = self.rows.Y - self.rows.X @ W
        dual = self._scaled(left[:, :, None], slice(None))[:, :, 0]
        misfit = float(np.sum(left * dual) + np.sum(self._coordinates(beta) ** 2))
        a = self.Z.T @ dual
        P = self._precision()
        F, spread = self._uncertain(root)
        noise = 0.5 * (self._expected() - dual.T @ dual - spread)
        return Slopes(misfit, 0.5 * (P - a @ a.T - F @ F.T), noise, np.diagonal(P).copy())

    def information(self) -> Array:
        """Return the information."""
        q = self.Z.shape[1]
        P = self._products(self.Z, self.Z) - self._half_precision.T @ self._half_precision
        P = P.reshape(self.T, q, self.T, q).transpose(0, 2, 1, 3)
        own = np.diagonal(P, axis1=2, axis2=3).reshape(-1, q)
        return np.asarray(own.T @ own + np.einsum("tsij,tsji->ij", P, P))

    def responses(self) -> Array:
        """Return the responses."""
        moved = self._back(self.seen[:, :-1]).reshape(self.T, self.r, -1)
        return np.asarray(self.L @ moved)

    def own_covariances(self) -> Array:
        """Return the covariances."""
        return np.stack([self.L @ self._blocks[t, :, t] @ self.L.T for t in range(self.T)])

    def covariances_at(self, Z: Array) -> Array:
        """Return the covariances."""
        found = np.empty((len(Z), self.T, self.T))
        for i, z in enumerate(Z @ self.L):
            found[i] = (self._blocks @ z).transpose(0, 2, 1) @ z
        return found

    def _half(self, values: Array) -> Array:
        """Return R^-1 times values, for K = R R'."""
        found = scipy.linalg.solve_triangular(self.root, values, lower=True, check_finite=False)
        return np.asarray(found)

    def _back(self, values: Array) -> Array:
        """Return R'^-1 times values."""
        return np.asarray(
            scipy.linalg.solve_triangular(
                self.root, values, lower=True, trans="T", check_finite=False
            )
        )

    @cached_property
    def _blocks(self) -> Array:
        """Inverse of K, shape (T, r, T, r)."""
        lower, _ = lapack.dpotri(self.root, lower=1)
        inverse = np.tril(lower) + np.tril(lower, -1).T
        return np.asarray(inverse.reshape(self.T, self.r, self.T, self.r))

    @cached_property
    def _half_precision(self) -> Array:
        """R^-1 times (I (x) L') times Z'V_0^-1 Z, V_0 the noise alone; shape (T r, T q)."""
        return self._half(self._products(self.Z, self.ZL).T)

    def _precision(self) -> Array:
        """Return the sum over the tasks of Z'V^-1 Z."""
        rows = np.einsum("ptt->p", self.A)[self.rows.pattern]
        q = self.Z.shape[1]
        flat = self._half_precision.reshape(-1, q)
        return np.asarray((self.Z.T * rows) @ self.Z - flat.T @ flat)

    def _uncertain(self, root: Array) -> tuple[Array, Array]:
        """Return Z'V^-1 X root, tasks and columns joined, and its part of the noise's slope."""
        c, q = root.shape[1], self.Z.shape[1]
        F, spread = np.zeros((q, self.T * c)), np.zeros((self.T, self.T))
        if not c:
            return F, spread
        moved = self._back(self.seen[:, :-1] @ root).reshape(self.T, self.r, c)
        step = max(1, _PIECE // (self.T * max(self.T, c)))
        for start in range(0, len(self.Z), step):
            part = slice(start, start + step)
            left = (self.rows.X[part] @ root)[:, None] - np.tensordot(self.ZL[part], moved, (1, 1))
            own = self._scaled(left, part)
            F += self.Z[part].T @ own.reshape(len(own), -1)
            spread += np.einsum("mtc,msc->ts", own, own, optimize=True)
        return F, spread

    def _expected(self) -> Array:
        """Return what the squares of V^-1 r come to on average, summed over the rows."""
        inverse = self._blocks.transpose(1, 3, 0, 2).reshape(self.r**2, self.T**2)
        total = np.zeros((self.T, self.T))
        for which, grams in self._grams(self.ZL, self.ZL):
            spread = (grams @ inverse).reshape(-1, self.T, self.T)
            A, count = self.A[which], self.rows.count[which]
            total += np.tensordot(count, A, 1) - np.sum(A @ spread @ A, axis=0)
        return total

    def _products(self, U: Array, V: Array) -> Array:
        """Return the sum over the patterns of A_p (x) U_p'V_p."""
        a, b, T = U.shape[1], V.shape[1], self.T
        total = np.zeros((T * T, a * b))
        for which, grams in self._grams(U, V):
            total += self.A[which].reshape(-1, T * T).T @ grams
        return np.asarray(total.reshape(T, T, a, b).transpose(0, 2, 1, 3).reshape(T * a, T * b))

    def _grams(self, U: Array, V: Array) -> Iterator[tuple[slice, Array]]:
        """Yield U_p'V_p of some patterns at a time, each as a row."""
        size = U.shape[1] * V.shape[1]
        step = max(1, _PIECE // max(size, self.T**2))
        starts = self.rows.starts
        for first in range(0, len(self.A), step):
            which = slice(first, min(first + step, len(self.A)))
            found = np.empty((which.stop - first, size))
            for k in range(first, which.stop):
                rows = slice(starts[k], starts[k + 1])
                found[k - first] = (U[rows].T @ V[rows]).ravel()
            yield which, found

    def _scaled(self, values: Array, part: slice) -> Array:
        """Return A_p times the values (m, T, c) of some rows."""
        step = max(1, _PIECE // (self.T * max(self.T, values.shape[2])))
        pattern = self.rows.pattern[part]
        found = np.empty_like(values)
        for start in range(0, len(values), step):
            piece = slice(start, start + step)
            found[piece] = self.A[pattern[piece]] @ values[piece]
        return found


def _precisions(rows: JointRows, noise: Array) -> tuple[Array, float]:
    """Return the inverse noise covariances of the patterns, and their log determinants' sum."""
    seen = rows.labelled
    both = seen[:, :, None] & seen[:, None, :]
    # Tasks without a label have variance 1, and are put to 0 afterwards.
    held = np.where(both, noise, np.eye(len(noise)))
    logs = 2.0 * np.log(np.diagonal(np.linalg.cholesky(held), axis1=1, axis2=2)).sum(axis=1)
    A = np.where(both, np.linalg.inv(held), 0.0)
    return 0.5 * (A + A.transpose(0, 2, 1)), float(rows.count @ logs)
