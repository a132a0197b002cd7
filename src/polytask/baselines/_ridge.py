"""Ridge regression whose strength is found on held-out rows, all strengths at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.linear_model import Ridge, RidgeCV

from polytask._checks import sentence
from polytask._estimator.tuned import TunedModel, folds_of
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.baselines._columns import Disjoint, SplitDesign, split_columns
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage

Array = NDArray[np.float64]

# Of the largest singular value: directions below it are rounding errors.
_TINY = 1e-12
# Beside disjoint columns so many rows at most are left out, which tell strengths apart.
_MOST_LEFT_OUT = 20_000
# Of conjugate gradients: scikit-learn's own is two digits where columns differ in length.
_SPARSE_ACCURACY = 1e-9


class RidgeRows(ABC):
    """Rows with targets and weights, on which every strength can be fitted."""

    @abstractmethod
    def fit(self, alpha: float) -> tuple[Array, float]:
        """Return coefficients and intercept."""

    def predictions(self, new: Any, alphas: Array) -> Array:  # noqa: ANN401 - rows of this kind
        """Return predictions of new rows, shape (n_new, n_alphas)."""
        fits = [self.fit(float(alpha)) for alpha in alphas]
        return np.column_stack([new @ coef + level for coef, level in fits])

    @abstractmethod
    def left_out(self, alphas: Array) -> Array:
        """Return the weighted squared errors of rows that are left out, one sum per strength."""


def ridge_rows(X: Any, y: Array, weight: Array, *, intercept: bool) -> RidgeRows:  # noqa: ANN401
    """Prepare rows. Shapes: y, weight (n,)."""
    y, weight = np.asarray(y, dtype=float), np.asarray(weight, dtype=float)
    if isinstance(X, SplitDesign) and X.tail is not None:
        return TailedRidge.of(X.head, X.tail, y, weight, intercept=intercept)
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
    def of(
        cls, X: Array, tail: Disjoint, y: Array, weight: Array, *, intercept: bool
    ) -> TailedRidge:
        """Put the intercept beside the dense columns."""
        head = np.asarray(X, dtype=float)
        Z = np.column_stack([head, np.ones(len(y))]) if intercept else head
        penalised = np.ones(Z.shape[1])
        penalised[head.shape[1] :] = 0.0
        return cls(Z, tail, y, weight, penalised)

    def fit(self, alpha: float) -> tuple[Array, float]:
        """Return the coefficients, those of the tail behind the others, and the intercept."""
        head, tail = self._reduced(alpha).solve()
        width = int(self.penalised.sum())
        return np.concatenate([head[:width], tail]), float(head[width:].sum())

    def left_out(self, alphas: Array) -> Array:
        """Return the weighted squared errors of rows that are left out, one sum per strength."""
        some = np.random.default_rng(0).permutation(len(self.y))[:_MOST_LEFT_OUT]
        root, y, Z, tail = np.sqrt(self.weight[some]), self.y[some], self.Z[some], self.tail[some]
        errors = []
        for alpha in alphas:
            reduced = self._reduced(float(alpha))
            head, own = reduced.solve()
            leverages = self.weight[some] * reduced.leverages(Z, tail)
            lost = root * _without(y - Z @ head - tail.times(own), leverages)
            errors.append(float(lost @ lost))
        return np.array(errors)

    @cached_property
    def _tail_squares(self) -> Array:
        return self.tail.adjoint(self.weight * self.tail.values)

    @cached_property
    def _targets(self) -> tuple[Array, Array]:
        """The products of the dense columns and of the tail with the targets."""
        weighted = self.weight * self.y
        return self.Z.T @ weighted, self.tail.adjoint(weighted)

    @cached_property
    def _apart(self) -> tuple[Array, Array]:
        """Coefficients of the dense columns on those of the tail, and products of what is left."""
        # Shapes: coefficients (width, k), products (k, k).
        square = self._tail_squares[:, None]
        crossed = self.tail.matrix().T @ (self.weight[:, None] * self.Z)
        means = np.divide(crossed, square, out=np.zeros_like(crossed), where=square > 0)
        rest = self.Z - self.tail.values[:, None] * means[self.tail.codes]
        return means, (rest.T * self.weight) @ rest

    def _reduced(self, alpha: float) -> _Reduced:
        square, (means, within) = self._tail_squares, self._apart
        head, tail = self._targets
        block = square + alpha
        shares = (square / block)[:, None] * means
        # As a sum of squares: a difference of large matrices would lose what is small.
        matrix = within + (means.T * (alpha * square / block)) @ means
        matrix[np.diag_indices_from(matrix)] += alpha * self.penalised
        return _Reduced(block, shares, _factor(matrix), head - shares.T @ tail, tail)


@dataclass(frozen=True, eq=False)
class _Reduced:
    """The normal equations at one strength, without the columns of the tail."""

    # Shapes: block (width,), shares (width, k), lower (k, k).

    block: Array
    shares: Array
    lower: Array
    head_target: Array
    tail_target: Array

    def solve(self) -> tuple[Array, Array]:
        """Return the coefficients of the other columns, and of the tail."""
        head = scipy.linalg.cho_solve((self.lower, True), self.head_target, check_finite=False)
        return head, self.tail_target / self.block - self.shares @ head

    def leverages(self, Z: Array, tail: Disjoint) -> Array:
        """Return those of rows of weight 1. Shapes: Z (n, k)."""
        rest = Z - tail.values[:, None] * self.shares[tail.codes]
        half = scipy.linalg.solve_triangular(self.lower, rest.T, lower=True, check_finite=False)
        own = tail.values**2 / self.block[tail.codes]
        return np.asarray(own + np.einsum("ij,ij->j", half, half))


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


# Dense columns beside many of which no row has two: their matrix is factored at every strength.
_HEAD_COLUMNS = 300


@saveable("baseline.tuned_ridge")
class TunedRidge(RegressorMixin, TunedModel):
    """L2-penalised linear regression, its strength cross-validated by squared error.

    ``RidgeCV`` leaves one row out, or fits every strength on every fold anew; this class
    decomposes the training rows of a fold once for all strengths, so that folds that keep
    groups together cost little. Columns of which no row has two, such as those of thousands of
    tasks, cost little more than the rows.

    Parameters
    ----------
    alphas : sequence of float, default=(0.01, 0.1, 1.0, 10.0, 100.0)
        Strengths, in units of scikit-learn's alpha.
    cv : int, iterable of (train, test), or None, default=None
        Number of folds, or the folds themselves; None leaves every row out once, as in
        ``RidgeCV``, or 20,000 of them beside columns of which no row has two.
    fit_intercept : bool, default=True
        Whether there is an intercept.

    Attributes
    ----------
    alpha_ : float
        The chosen strength.
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept.
    n_features_in_ : int
        Columns of X.
    """

    def __init__(
        self,
        alphas: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
        cv: int | Iterable[tuple[Any, Any]] | None = None,
        fit_intercept: bool = True,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: ANN401
        """Search the strength and fit all rows.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, d)
            Features.
        y : array of shape (n,)
            Targets.
        sample_weight : array of shape (n,) or None
            Row weights.

        Returns
        -------
        self

        Raises
        ------
        ParameterError
            If a strength is not positive.
        """
        X, targets, weight = self._read(X, y, sample_weight, numeric=True)
        alphas = np.asarray(self.alphas, dtype=np.float64)
        if alphas.ndim != 1 or not len(alphas) or not (alphas > 0).all():
            allowed = LazyMessage("allowed.positive_numbers")
            raise ParameterError(sentence("alphas", "TunedRidge", allowed, repr(self.alphas)))
        split = split_columns(X, _HEAD_COLUMNS)
        rows = X if split is None else split
        whole = self._prepared(rows, targets, weight)
        several = len(targets) > 1
        # One row cannot be divided: all strengths give the same constant.
        errors = np.zeros(len(alphas))
        if several and self.cv is None:
            errors = whole.left_out(alphas)
        elif several:
            errors = self._errors(rows, targets, weight, alphas)
        self.alpha_ = float(alphas[int(errors.argmin())])
        self.coef_, self.intercept_ = whole.fit(self.alpha_)
        return self

    def _prepared(self, rows: Any, y: Array, weight: Array) -> RidgeRows:  # noqa: ANN401
        return ridge_rows(rows, y, weight, intercept=self.fit_intercept)

    def _errors(self, rows: Any, y: Array, weight: Array, alphas: Array) -> Array:  # noqa: ANN401
        """Return the weighted sum of squared held-out errors, shape (n_alphas,)."""
        total = np.zeros(len(alphas))
        for train, test in folds_of(self.cv, len(y)):
            part = self._prepared(rows[train], y[train], weight[train])
            predicted = part.predictions(rows[test], alphas)
            total += weight[test] @ (y[test][:, None] - predicted) ** 2
        return total

    def predict(self, X: Any) -> Array:  # noqa: ANN401 - array-like
        """Return predictions, shape (n,)."""
        return self._linear(X)
