"""Ridge regression whose strength is found on folds that are given, all strengths at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from polytask._checks import is_whole, sentence
from polytask._estimator.state import estimator_state, from_estimator_state
from polytask._registry import State, saveable
from polytask.exceptions import ParameterError

Array = NDArray[np.float64]

# What None means, as in scikit-learn.
_FOLDS = 5
# Of the largest singular value: directions below it are rounding errors.
_TINY = 1e-12


@saveable("baseline.tuned_ridge")
class TunedRidge(RegressorMixin, BaseEstimator):
    """L2-penalised linear regression, its strength cross-validated by squared error.

    ``RidgeCV`` leaves one row out, or fits every strength on every fold anew; this class
    decomposes the training rows of a fold once for all strengths, so that folds that keep
    groups together cost little.

    Parameters
    ----------
    alphas : sequence of float, default=(0.01, 0.1, 1.0, 10.0, 100.0)
        Strengths, in units of scikit-learn's alpha.
    cv : int, iterable of (train, test), or None, default=None
        Number of folds, or the folds themselves; None means 5.
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
        X : array of shape (n, d)
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
        X, targets = validate_data(self, X, y, dtype=dtypes, y_numeric=True)
        weight = _check_sample_weight(sample_weight, X)
        alphas = np.asarray(self.alphas, dtype=np.float64)
        if alphas.ndim != 1 or not len(alphas) or not (alphas > 0).all():
            allowed = "a sequence of positive numbers"
            raise ParameterError(sentence("alphas", "TunedRidge", allowed, repr(self.alphas)))
        # One row cannot be divided: all strengths give the same constant.
        several = len(targets) > 1
        errors = self._errors(X, targets, weight, alphas) if several else np.zeros(len(alphas))
        self.alpha_ = float(alphas[int(errors.argmin())])
        model = Ridge(self.alpha_, fit_intercept=self.fit_intercept)
        model.fit(X, targets, sample_weight=weight)
        self.coef_, self.intercept_ = np.asarray(model.coef_), float(model.intercept_)
        return self

    def _errors(self, X: Array, y: Array, weight: Array, alphas: Array) -> Array:
        """Return the weighted sum of squared held-out errors, shape (n_alphas,)."""
        total = np.zeros(len(alphas))
        for train, test in self._folds(len(y)):
            predicted = self._paths(X[train], y[train], weight[train], X[test], alphas)
            total += weight[test] @ (y[test][:, None] - predicted) ** 2
        return total

    def _folds(self, n: int) -> list[tuple[Any, Any]]:
        cv: Any = _FOLDS if self.cv is None else self.cv
        if not is_whole(cv):
            return list(cv)
        # Rows may come in an order that means something, and a fold must not be a part of it.
        return list(KFold(min(int(cv), n), shuffle=True, random_state=0).split(np.zeros(n)))

    def _paths(self, X: Array, y: Array, weight: Array, new: Array, alphas: Array) -> Array:
        """Return predictions of new rows for every strength, shape (n_new, n_alphas)."""
        mean, level = np.zeros(X.shape[1]), 0.0
        if self.fit_intercept:
            mean, level = np.average(X, axis=0, weights=weight), np.average(y, weights=weight)
        root = np.sqrt(weight)
        U, s, Vt = np.linalg.svd(root[:, None] * (X - mean), full_matrices=False)
        held = s > _TINY * s.max(initial=0.0)
        s, scores = s[held], (root * (y - level)) @ U[:, held]
        shrunk = (s * scores)[:, None] / (s[:, None] ** 2 + alphas)
        return np.asarray(((new - mean) @ Vt[held].T) @ shrunk + level)

    def predict(self, X: Any) -> Array:  # noqa: ANN401 - array-like
        """Return predictions, shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return np.asarray(X @ self.coef_ + self.intercept_)

    def to_state(self) -> State:
        """Return parameters and fitted attributes, for :func:`polytask.save`."""
        return estimator_state(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the estimator from :meth:`to_state`."""
        return from_estimator_state(cls, state)
