"""Boosted trees of one task, or of all as one: LightGBM with the parameters of scikit-learn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from polytask._checks import one_of
from polytask._estimator.state import estimator_state, from_estimator_state
from polytask._registry import State, saveable
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


@saveable("boosting.plain_regressor")
class TreeRegressor(RegressorMixin, BaseEstimator):
    """100 trees of LightGBM for numbers, with its defaults and the names of scikit-learn."""

    def __init__(
        self,
        loss: str = "squared_error",
        quantile: float | None = None,
        categorical_features: Any = None,  # noqa: ANN401 - a mask
        max_bins: int = 255,
        random_state: int | None = 0,
    ) -> None:
        self.loss, self.quantile = loss, quantile
        self.categorical_features, self.max_bins = categorical_features, max_bins
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: ANN401
        """Grow trees. Shapes: X (n, d), y, sample_weight (n,)."""
        one_of(self.loss, "loss", type(self).__name__, tuple(_OBJECTIVES))
        X, y = validate_data(self, X, y, y_numeric=True, **_READ)
        seed = 0 if self.random_state is None else int(self.random_state)
        params: dict[str, Any] = {"objective": _OBJECTIVES[self.loss], "seed": seed}
        params["max_bin"] = int(self.max_bins)
        if self.quantile is not None:
            params["alpha"] = self.quantile
        marked = np.zeros(X.shape[1], dtype=bool)
        if self.categorical_features is not None:
            marked[np.asarray(self.categorical_features)] = True
        weight = _check_sample_weight(sample_weight, X)
        categories = np.flatnonzero(marked).tolist()
        self.trees_ = boosted(X, np.asarray(y, dtype=float), weight, categories, params)
        return self

    def predict(self, X: Any) -> Array:  # noqa: ANN401 - array-like
        """Return the predictions, shape (n,)."""
        check_is_fitted(self)
        return self.trees_.values(validate_data(self, X, reset=False, **_READ))

    def to_state(self) -> State:
        """Return parameters and fitted attributes, for :func:`polytask.save`."""
        return estimator_state(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the estimator from :meth:`to_state`."""
        return from_estimator_state(cls, state)

    def __sklearn_tags__(self) -> Tags:
        """Say that values may be missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
