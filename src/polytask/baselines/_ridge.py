"""Ridge regression whose strength is found on held-out rows, all strengths at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import KFold
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from polytask._checks import is_whole, sentence
from polytask._estimator.state import estimator_state, from_estimator_state
from polytask._registry import State, saveable
from polytask.baselines._disjoint import split_columns
from polytask.baselines._ridge_rows import RidgeRows, ridge_rows
from polytask.exceptions import ParameterError

Array = NDArray[np.float64]

# Dense columns beside many of which no row has two: their matrix is factored at every strength.
_HEAD_COLUMNS = 300


@saveable("baseline.tuned_ridge")
class TunedRidge(RegressorMixin, BaseEstimator):
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
        ``RidgeCV``.
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
        dtypes = (np.float64, np.float32)
        X, targets = validate_data(self, X, y, accept_sparse="csr", dtype=dtypes, y_numeric=True)
        weight = _check_sample_weight(sample_weight, X)
        alphas = np.asarray(self.alphas, dtype=np.float64)
        if alphas.ndim != 1 or not len(alphas) or not (alphas > 0).all():
            allowed = "a sequence of positive numbers"
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
        for train, test in self._folds(len(y)):
            part = self._prepared(rows[train], y[train], weight[train])
            predicted = part.predictions(rows[test], alphas)
            total += weight[test] @ (y[test][:, None] - predicted) ** 2
        return total

    def _folds(self, n: int) -> list[tuple[Any, Any]]:
        cv: Any = self.cv
        if not is_whole(cv):
            return list(cv)
        # Rows may come in an order that means something, and a fold must not be a part of it.
        return list(KFold(min(int(cv), n), shuffle=True, random_state=0).split(np.zeros(n)))

    def predict(self, X: Any) -> Array:  # noqa: ANN401 - array-like
        """Return predictions, shape (n,)."""
        check_is_fitted(self)
        dtypes = (np.float64, np.float32)
        X = validate_data(self, X, accept_sparse="csr", dtype=dtypes, reset=False)
        return np.asarray(X @ self.coef_ + self.intercept_)

    def to_state(self) -> State:
        """Return parameters and fitted attributes, for :func:`polytask.save`."""
        return estimator_state(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the estimator from :meth:`to_state`."""
        return from_estimator_state(cls, state)

    def __sklearn_tags__(self) -> Tags:
        """Say that X may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
