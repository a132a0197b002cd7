"""Rows of one design whose labels have correlated noise, and their coefficients integrated out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg import lapack

from polytask._checks import sentence
from polytask._registry import saveable
from polytask.bayes.blocks import Array, Chosen, Index, RowSource, Totals
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Mask = NDArray[np.bool_]

# Rows are read and reduced so many numbers at a time.
_PIECE = 500_000
# Products of patterns are formed so many numbers at a time.
_PRODUCTS = 4_000_000


@saveable("bayes.joint_rows")
@dataclass(frozen=True, eq=False)
class JointRows:
    """Rows of all tasks, times the roots of their weights, sorted by pattern."""

    # Shapes: X (m, p), Y (m, T), starts (P + 1,), labelled (P, T), count (P,).
    # A pattern is a set of tasks; its rows have the labels of these and of no other task. What m
    # rows of one pattern say about coefficients and noise is in the triangle of their QR factors,
    # so no pattern keeps more rows than it has columns and labels.

    X: Array
    Y: Array
    starts: Index
    labelled: Mask
    count: Array

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return int(self.Y.shape[1])

    @property
    def pattern(self) -> Index:
        """The pattern of every row kept, shape (m,)."""
        return np.repeat(np.arange(len(self.count)), np.diff(self.starts))

    @property
    def active(self) -> Index:
        """The tasks with labels."""
        return np.flatnonzero(self.labelled.any(axis=0))

    @property
    def together(self) -> Array:
        """Sums of the weights of the rows with the labels of two tasks, shape (T, T)."""
        seen = self.labelled.astype(float)
        return np.asarray(seen.T @ (self.count[:, None] * seen))

    def weighted(self, factor: float) -> JointRows:
        """Return the same with all weights times a factor."""
        root = np.sqrt(factor)
        return replace(self, X=root * self.X, Y=root * self.Y, count=factor * self.count)

    def of(self, tasks: Index) -> JointRows:
        """Return the same rows with the labels of some tasks; these include all with labels."""
        return replace(self, Y=self.Y[:, tasks], labelled=self.labelled[:, tasks])

    def parts(self) -> Iterator[tuple[slice, Mask]]:
        """Yield the rows of every pattern and its tasks."""
        for k, tasks in enumerate(self.labelled):
            yield slice(int(self.starts[k]), int(self.starts[k + 1])), tasks


def collect_joint(rows: RowSource, p: int, Y: Array, weight: Array) -> JointRows:
    """Collect rows of one design. Shapes: Y, weight (n, T)."""
    own = weight.max(axis=1, initial=0.0)
    labelled = weight > 0
    differs = np.flatnonzero((labelled & (weight != own[:, None])).any(axis=1))
    if len(differs):
        at = int(differs[0])
        pair = {"before": f"{weight[at][labelled[at]].min():g}", "after": f"{own[at]:g}"}
        where, got = LazyMessage("place.row", {"row": str(at)}), LazyMessage("list.and", pair)
        allowed = LazyMessage("allowed.weight_of_row")
        raise DataError(sentence("weight", "collect_joint", allowed, got, where))
    used = np.flatnonzero(own > 0)
    patterns, which = np.unique(labelled[used], axis=0, return_inverse=True)
    found = [
        _reduced(rows, p, Y, np.sqrt(own), (used[which.ravel() == k], tasks))
        for k, tasks in enumerate(patterns)
    ]
    count: Array = np.bincount(which.ravel(), own[used], len(patterns)).astype(float)
    return _stacked(found, patterns, count, p, Y.shape[1])


def joined(first: JointRows, second: JointRows) -> JointRows:
    """Return the rows of both."""
    p = first.X.shape[1]
    kept: dict[bytes, list[Array]] = {}
    count: dict[bytes, float] = {}
    for own in (first, second):
        for (part, tasks), weight in zip(own.parts(), own.count.tolist(), strict=True):
            key = tasks.tobytes()
            kept.setdefault(key, []).append(np.column_stack([own.X[part], own.Y[part]]))
            count[key] = count.get(key, 0.0) + weight
    patterns = [np.frombuffer(key, dtype=bool) for key in kept]
    found = [
        _triangle(np.concatenate(parts), p, tasks)
        for parts, tasks in zip(kept.values(), patterns, strict=True)
    ]
    labelled = np.array(patterns, dtype=bool).reshape(-1, first.n_tasks)
    return _stacked(found, labelled, np.array([*count.values()], dtype=float), p, first.n_tasks)


def _reduced(rows: RowSource, p: int, Y: Array, root: Array, pattern: tuple[Index, Mask]) -> Array:
    """Return the rows of a pattern, or their triangle where that is smaller."""
    numbers, tasks = pattern
    step = max(1, _PIECE // (p + Y.shape[1]))
    kept = np.zeros((0, p + Y.shape[1]))
    for start in range(0, len(numbers), step):
        part = numbers[start : start + step]
        targets = np.where(tasks, Y[part], 0.0)
        piece = np.column_stack([rows(part), targets]) * root[part, None]
        kept = _triangle(np.concatenate([kept, piece]), p, tasks)
    return kept


def _triangle(rows: Array, p: int, tasks: Mask) -> Array:
    """Return rows of the same moments, no more than columns that are not zero."""
    columns = np.concatenate([np.arange(p), p + np.flatnonzero(tasks)])
    if len(rows) <= len(columns):
        return rows
    reduced = np.zeros((len(columns), rows.shape[1]))
    reduced[:, columns] = np.linalg.qr(rows[:, columns], mode="r")
    return reduced


def _stacked(found: list[Array], labelled: Mask, count: Array, p: int, n_tasks: int) -> JointRows:
    rows = np.concatenate([np.zeros((0, p + n_tasks)), *found])
    starts = np.cumsum([0, *[len(part) for part in found]]).astype(np.intp)
    return JointRows(rows[:, :p], rows[:, p:], starts, labelled, count)


@dataclass(frozen=True, eq=False)
class Slopes:
    """Derivatives of minus the log-likelihood."""

    # Shapes: covariance (q, q), noise (T, T), weights (q,).

    misfit: float
    covariance: Array
    noise: Array
    weights: Array


class WholeRows:
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

    def totals(self) -> Totals:
        """Return what is needed of V for the mean."""
        own = self.ones**2
        gram = (own / self.s).sum() * self.gram + (self.N.T * (own @ self.D)) @ self.N
        cross = self.X_left.T @ (self.Y_left @ (self.ones / self.s))
        cross += self.N.T @ ((self.D.T * self.seen) @ self.ones)
        log_determinant = self.n_rows * np.log(self.s).sum()
        log_determinant += np.log1p(self.values / self.s[:, None]).sum()
        return Totals(gram, cross, float(log_determinant))

    def deviations(self, beta: Array) -> Array:
        """Return the posterior mean deviations of the tasks from a mean, shape (T, q)."""
        scaled = self.singular[:, None] * self.D.T * self._inside(beta)
        return np.asarray((self.turned @ scaled @ self.Q.T).T)

    def slopes(self, beta: Array, root: Array) -> Slopes:
        """Return the slopes; root root' is the covariance of the mean that is integrated out."""
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
        """Return the expected information about pairs of mirrored entries of the covariance."""
        # Sum over pairs of tasks of ``P_ii P_jj + P_ij P_ji``, P the block of Z'V^-1 Z, (q, q).
        N, inner = self.N[:, self.varying], self.gram[self.varying][:, self.varying]
        total = np.zeros_like(inner)
        for s, D in zip(self.s, self.D, strict=True):
            P = inner / s + (N.T * D) @ N
            own = np.diagonal(P)
            total += np.multiply.outer(own, own) + P**2
        return total

    def responses(self) -> Array:
        """Return how far the deviations move down when the mean moves up, shape (T, q, p)."""
        weights = (self.Q * self.ones) @ self.D * self.singular
        return np.asarray((self.turned * weights[:, None, :]) @ self.N)

    def own_covariances(self) -> Array:
        """Return the posterior covariances of every task's deviation, shape (T, q, q)."""
        weights = self.Q**2 @ (self.s[:, None] * self.D)
        return np.asarray((self.turned * weights[:, None, :]) @ self.turned.T)

    def covariances_at(self, Z: Array) -> Array:
        """Return the posterior covariances of ``Z u`` between tasks, shape (n, T, T)."""
        own = (Z @ self.turned) ** 2 @ (self.s[:, None] * self.D).T
        return np.asarray((self.Q * own[:, None, :]) @ self.Q.T)


class GappedRows:
    """Rows of which some lack labels; its methods return what those of whole rows do."""

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

    def totals(self) -> Totals:
        """Return the sums."""
        X, rows = self.rows.X, self.scaled_ones.sum(axis=1)
        N, y = self.seen[:, :-1], self.seen[:, -1]
        gram = (X.T * rows) @ X - N.T @ N
        cross = X.T @ self.scaled_y.sum(axis=1) - N.T @ y
        return Totals(gram, cross, self.log_determinant)

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
        step = max(1, _PRODUCTS // (self.T * max(self.T, c)))
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
        step = max(1, _PRODUCTS // max(size, self.T**2))
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
        step = max(1, _PRODUCTS // (self.T * max(self.T, values.shape[2])))
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


JointReduced = WholeRows | GappedRows


def reduced(rows: JointRows, L: Array, varying: Chosen, noise: Array) -> JointReduced:
    """Integrate out the coefficients. Shapes: L (q, r), varying (q,), noise (T, T)."""
    if len(rows.count) == 1:
        return WholeRows(rows, L, varying, noise)
    return GappedRows(rows, L, varying, noise)
