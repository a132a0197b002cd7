"""Ridge regression for several strengths on the same rows: dense, sparse, or in two parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, RidgeCV

from polytask._linalg import is_sparse
from polytask.baselines._disjoint import Disjoint, Split

Array = NDArray[np.float64]

# Of the largest singular value: directions below it are rounding errors.
_TINY = 1e-12
# Of conjugate gradients: scikit-learn's own is two digits where columns differ in length.
_SPARSE_ACCURACY = 1e-9


class RidgeRows(ABC):
    """Rows with targets and weights, on which every strength can be fitted."""

    @abstractmethod
    def fit(self, alpha: float) -> tuple[Array, float]:
        """Return coefficients and intercept."""

    @abstractmethod
    def predictions(self, new: Any, alphas: Array) -> Array:  # noqa: ANN401 - rows of this kind
        """Return predictions of new rows, shape (n_new, n_alphas)."""

    @abstractmethod
    def left_out(self, alphas: Array) -> Array:
        """Return the weighted squared errors of rows that are left out, one sum per strength."""


def ridge_rows(X: Any, y: Array, weight: Array, *, intercept: bool) -> RidgeRows:  # noqa: ANN401
    """Prepare rows. Shapes: y, weight (n,)."""
    y, weight = np.asarray(y, dtype=float), np.asarray(weight, dtype=float)
    if isinstance(X, Split):
        return TailedRidge.of(X, y, weight, intercept=intercept)
    if is_sparse(X):
        return SparseRidge(X, y, weight, intercept)
    return DenseRidge.of(X, y, weight, intercept=intercept)


@dataclass(frozen=True, eq=False)
class SparseRidge(RidgeRows):
    """Rows that are left to scikit-learn."""

    X: Any
    y: Array
    weight: Array
    intercept: bool

    def fit(self, alpha: float) -> tuple[Array, float]:
        """Return coefficients and intercept."""
        model = Ridge(alpha, fit_intercept=self.intercept, tol=_SPARSE_ACCURACY)
        model.fit(self.X, self.y, sample_weight=self.weight)
        return np.asarray(model.coef_), float(model.intercept_)

    def predictions(self, new: Any, alphas: Array) -> Array:  # noqa: ANN401
        """Return predictions of new rows, shape (n_new, n_alphas)."""
        fits = [self.fit(float(alpha)) for alpha in alphas]
        return np.column_stack([new @ coef + level for coef, level in fits])

    def left_out(self, alphas: Array) -> Array:
        """Return the weighted squared errors of rows that are left out, one sum per strength."""
        search = RidgeCV(alphas, fit_intercept=self.intercept, store_cv_results=True)
        search.fit(self.X, self.y, sample_weight=self.weight)
        return np.asarray(search.cv_results_.sum(axis=0))


@dataclass(frozen=True, eq=False)
class DenseRidge(RidgeRows):
    """Weighted rows in their singular directions."""

    # Shapes: centre (d,), root, y (n,), constant (n,).

    centre: Array
    level: float
    root: Array
    y: Array
    constant: Array
    U: Array
    s: Array
    Vt: Array

    @classmethod
    def of(cls, X: Array, y: Array, weight: Array, *, intercept: bool) -> DenseRidge:
        """Decompose rows of shape (n, d)."""
        centre, level, constant = np.zeros(X.shape[1]), 0.0, np.zeros(len(y))
        if intercept:
            centre = np.average(X, axis=0, weights=weight)
            level, constant = float(np.average(y, weights=weight)), weight / weight.sum()
        root = np.sqrt(weight)
        U, s, Vt = np.linalg.svd(root[:, None] * (X - centre), full_matrices=False)
        held = s > _TINY * s.max(initial=0.0)
        return cls(centre, level, root, y - level, constant, U[:, held], s[held], Vt[held])

    def fit(self, alpha: float) -> tuple[Array, float]:
        """Return coefficients and intercept."""
        coef = (self.s * self._scores / (self.s**2 + alpha)) @ self.Vt
        return coef, float(self.level - self.centre @ coef)

    def predictions(self, new: Array, alphas: Array) -> Array:
        """Return predictions of new rows, shape (n_new, n_alphas)."""
        shrunk = (self.s * self._scores)[:, None] / (self.s[:, None] ** 2 + alphas)
        return np.asarray(((new - self.centre) @ self.Vt.T) @ shrunk + self.level)

    def left_out(self, alphas: Array) -> Array:
        """Return the weighted squared errors of rows that are left out, one sum per strength."""
        kept = self.s[:, None] ** 2 / (self.s[:, None] ** 2 + alphas)
        residuals = (self.root * self.y)[:, None] - self.U @ (kept * self._scores[:, None])
        leverages = self.U**2 @ kept + self.constant[:, None]
        return np.asarray(np.sum(_without(residuals, leverages) ** 2, axis=0))

    @property
    def _scores(self) -> Array:
        return np.asarray((self.root * self.y) @ self.U)


@dataclass(frozen=True, eq=False)
class TailedRidge(RidgeRows):
    """Rows with many columns of which no row has two."""

    # Shapes: Z (n, k), y, weight (n,), penalised (k,).

    Z: Array
    tail: Disjoint
    y: Array
    weight: Array
    penalised: Array

    @classmethod
    def of(cls, X: Split, y: Array, weight: Array, *, intercept: bool) -> TailedRidge:
        """Put the intercept beside the dense columns."""
        head = np.asarray(X.head, dtype=float)
        Z = np.column_stack([head, np.ones(len(y))]) if intercept else head
        penalised = np.ones(Z.shape[1])
        penalised[head.shape[1] :] = 0.0
        return cls(Z, X.tail, y, weight, penalised)

    def fit(self, alpha: float) -> tuple[Array, float]:
        """Return the coefficients, those of the tail behind the others, and the intercept."""
        head, tail = self._reduced(alpha).solve()
        width = int(self.penalised.sum())
        return np.concatenate([head[:width], tail]), float(head[width:].sum())

    def predictions(self, new: Split, alphas: Array) -> Array:
        """Return predictions of new rows, shape (n_new, n_alphas)."""
        fits = [self.fit(float(alpha)) for alpha in alphas]
        return np.column_stack([new.times(coef) + level for coef, level in fits])

    def left_out(self, alphas: Array) -> Array:
        """Return the weighted squared errors of rows that are left out, one sum per strength."""
        return np.array([self._left_out(float(alpha)) for alpha in alphas])

    def _left_out(self, alpha: float) -> float:
        reduced = self._reduced(alpha)
        head, tail = reduced.solve()
        residuals = self.y - self.Z @ head - self.tail.times(tail)
        lost = np.sqrt(self.weight) * _without(residuals, self.weight * reduced.leverages())
        return float(lost @ lost)

    def _reduced(self, alpha: float) -> _Reduced:
        weighted = self.weight * self.y
        block = self.tail.adjoint(self.weight * self.tail.values) + alpha
        shares = self.tail.matrix().T @ (self.weight[:, None] * self.Z) / block[:, None]
        rest = self.Z - self.tail.values[:, None] * shares[self.tail.codes]
        # As a sum of squares: a difference of large matrices would lose what is small.
        matrix = (rest.T * self.weight) @ rest + alpha * shares.T @ shares
        matrix[np.diag_indices_from(matrix)] += alpha * self.penalised
        target = self.tail.adjoint(weighted)
        return _Reduced(
            tail=self.tail,
            block=block,
            shares=shares,
            rest=rest,
            lower=_factor(matrix),
            head_target=self.Z.T @ weighted - shares.T @ target,
            tail_target=target,
        )


@dataclass(frozen=True, eq=False)
class _Reduced:
    """The normal equations at one strength, without the columns of the tail."""

    # Shapes: block (width,), shares (width, k), rest (n, k), lower (k, k).

    tail: Disjoint
    block: Array
    shares: Array
    rest: Array
    lower: Array
    head_target: Array
    tail_target: Array

    def solve(self) -> tuple[Array, Array]:
        """Return the coefficients of the other columns, and of the tail."""
        head = scipy.linalg.cho_solve((self.lower, True), self.head_target, check_finite=False)
        return head, self.tail_target / self.block - self.shares @ head

    def leverages(self) -> Array:
        """Return those of rows of weight 1."""
        half = scipy.linalg.solve_triangular(
            self.lower, self.rest.T, lower=True, check_finite=False
        )
        own = self.tail.values**2 / self.block[self.tail.codes]
        return np.asarray(own + np.sum(half**2, axis=0))


def _factor(matrix: Array) -> Array:
    """Return the Cholesky factor of a matrix that only rounding keeps from being positive."""
    try:
        return np.asarray(scipy.linalg.cholesky(matrix, lower=True, check_finite=False))
    except np.linalg.LinAlgError:
        # In proportion, for columns may be of very unequal size.
        raised = matrix + 10 * len(matrix) * np.finfo(float).eps * np.diag(np.diag(matrix))
        return np.asarray(scipy.linalg.cholesky(raised, lower=True))


def _without(residuals: Array, leverages: Array) -> Array:
    """Return the residuals of rows that are left out; 0 where nothing is left without a row."""
    rest = 1.0 - leverages
    least = np.finfo(float).eps
    return np.where(rest > least, residuals / np.where(rest > least, rest, 1.0), 0.0)
