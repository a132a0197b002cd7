"""What models that choose a strength or a size on folds of their rows have in common."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from polytask._checks import is_whole
from polytask._estimator.state import estimator_state, from_estimator_state
from polytask._registry import State

Array = NDArray[np.float64]
Folds = list[tuple[Any, Any]]

# How rows are read: sparse ones and those of single precision are not copied.
_READ = {"accept_sparse": "csr", "dtype": (np.float64, np.float32)}


class SearchedModel(BaseEstimator):
    """Base of these models: they are saved."""

    def to_state(self) -> State:
        """Return parameters and fitted attributes, for :func:`polytask.save`."""
        return estimator_state(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the estimator from :meth:`to_state`."""
        return from_estimator_state(cls, state)


class TunedModel(SearchedModel):
    """Base of the linear ones: reads rows, and predicts."""

    coef_: Array
    intercept_: Any  # a number, or one per class

    def _read(
        self,
        X: Any,  # noqa: ANN401 - array-like
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        *,
        numeric: bool,
    ) -> tuple[Any, NDArray[Any], Array]:
        X, targets = validate_data(self, X, y, y_numeric=numeric, **_READ)
        return X, targets, np.asarray(_check_sample_weight(sample_weight, X))

    def _linear(self, X: Any) -> Array:  # noqa: ANN401 - array-like
        """Return the linear predictor of new rows, shape (n,) or (n, n_classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **_READ)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def __sklearn_tags__(self) -> Tags:
        """Say that X may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def folds_of(cv: Any, n_rows: int) -> Folds:  # noqa: ANN401 - a number, or the folds themselves
    """Return the folds, of rows in random order where only their number is given."""
    if not is_whole(cv):
        return list(cv)
    # Rows may come in an order that means something, such as task by task.
    count = min(int(cv), n_rows)
    return list(KFold(count, shuffle=True, random_state=0).split(np.zeros(n_rows)))
