"""Boosted trees of one task, or of all as one: LightGBM with the parameters of scikit-learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from polytask._checks import one_of
from polytask._estimator.tuned import SearchedModel, folds_of
from polytask._registry import saveable
from polytask.boosting.trees import boosted

Array = NDArray[np.float64]

# What scikit-learn and LightGBM call losses of numbers.
_OBJECTIVES = {
    "squared_error": "regression",
    "poisson": "poisson",
    "gamma": "gamma",
    "quantile": "quantile",
}
# Features may lack values.
_READ: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
# Rows of a leaf at least: labels say less than numbers do.
_ROWS_OF_A_LEAF = {"numbers": 5, "labels": 20}


class PlainTrees(SearchedModel, ABC):
    """Base of trees whose number held-out rows choose."""

    categorical_features: Any
    cv: Any
    max_bins: int
    random_state: int | None

    @abstractmethod
    def _read(self, X: Any, y: ArrayLike) -> tuple[Array, Array, dict[str, Any]]:  # noqa: ANN401
        """Return features, targets as numbers, and what LightGBM is told of these."""

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: ANN401
        """Grow trees. Shapes: X (n, d), y, sample_weight (n,)."""
        X, targets, params = self._read(X, y)
        params |= {"seed": 0 if self.random_state is None else int(self.random_state)}
        params |= {"max_bin": int(self.max_bins)}
        marked = np.zeros(X.shape[1], dtype=bool)
        if self.categorical_features is not None:
            marked[np.asarray(self.categorical_features)] = True
        weight = np.asarray(_check_sample_weight(sample_weight, X))
        folds = folds_of(self.cv, len(targets)) if len(targets) > 1 else []
        categories = np.flatnonzero(marked).tolist()
        self.trees_ = boosted(X, targets, weight, categories, params, folds)
        return self

    def _values(self, X: Any, *, raw: bool = False) -> Array:  # noqa: ANN401 - array-like
        check_is_fitted(self)
        return self.trees_.values(validate_data(self, X, reset=False, **_READ), raw=raw)

    def __sklearn_tags__(self) -> Tags:
        """Say that values may be missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


@saveable("boosting.plain_regressor")
class TreeRegressor(RegressorMixin, PlainTrees):
    """Trees of LightGBM for numbers, with the names of scikit-learn."""

    def __init__(
        self,
        loss: str = "squared_error",
        quantile: float | None = None,
        categorical_features: Any = None,  # noqa: ANN401 - a mask
        cv: Any = 5,  # noqa: ANN401 - a number, or the folds themselves
        max_bins: int = 255,
        random_state: int | None = 0,
    ) -> None:
        self.loss, self.quantile = loss, quantile
        self.categorical_features, self.cv = categorical_features, cv
        self.max_bins, self.random_state = max_bins, random_state

    def _read(self, X: Any, y: ArrayLike) -> tuple[Array, Array, dict[str, Any]]:  # noqa: ANN401
        one_of(self.loss, "loss", type(self).__name__, tuple(_OBJECTIVES))
        X, y = validate_data(self, X, y, y_numeric=True, **_READ)
        params: dict[str, Any] = {"objective": _OBJECTIVES[self.loss]}
        params |= {"min_data_in_leaf": _ROWS_OF_A_LEAF["numbers"]}
        if self.quantile is not None:
            params["alpha"] = self.quantile
        return X, np.asarray(y, dtype=float), params

    def predict(self, X: Any) -> Array:  # noqa: ANN401 - array-like
        """Return the predictions, shape (n,)."""
        return self._values(X)


@saveable("boosting.plain_classifier")
class TreeClassifier(ClassifierMixin, PlainTrees):
    """Trees of LightGBM for classes, with the names of scikit-learn."""

    def __init__(
        self,
        categorical_features: Any = None,  # noqa: ANN401 - a mask
        cv: Any = 5,  # noqa: ANN401 - a number, or the folds themselves
        max_bins: int = 255,
        random_state: int | None = 0,
    ) -> None:
        self.categorical_features, self.cv = categorical_features, cv
        self.max_bins, self.random_state = max_bins, random_state

    def _read(self, X: Any, y: ArrayLike) -> tuple[Array, Array, dict[str, Any]]:  # noqa: ANN401
        X, y = validate_data(self, X, y, **_READ)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        k = len(self.classes_)
        params: dict[str, Any] = {"min_data_in_leaf": _ROWS_OF_A_LEAF["labels"]}
        params |= {"objective": "multiclass", "num_class": k} if k > 2 else {"objective": "binary"}
        return X, codes.astype(float), params

    def decision_function(self, X: Any) -> Array:  # noqa: ANN401 - array-like
        """Return log odds, shape (n,), of several classes sums of trees, (n, n_classes)."""
        return self._values(X, raw=True)

    def predict_proba(self, X: Any) -> Array:  # noqa: ANN401 - array-like
        """Return the probabilities of the classes, shape (n, n_classes)."""
        found = self._values(X)
        return found if found.ndim == 2 else np.column_stack([1.0 - found, found])

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: ANN401 - array-like
        """Return the most probable classes, shape (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])
