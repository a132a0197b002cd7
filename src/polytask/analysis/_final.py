"""What is fitted once on all rows: the recommended model, and the map of shared features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from polytask._estimator.training import cell_mask, encode
from polytask._linalg import is_sparse
from polytask.analysis._parts import Coefficients
from polytask.data import TaskData
from polytask.selection.entries import without_splitters

# What a picture can hold.
_FEATURES = 30
_COLUMNS = 100


class Refit:
    """Fits models of a comparison on all rows, each once, on what `compare` was given."""

    # A model that is fitted on X with its task column finds the tasks there when it predicts.

    def __init__(
        self, given: Mapping[str, Any], column: str | int | None, estimators: dict[str, Any]
    ) -> None:
        self._given = given
        self._column = column
        self._estimators = estimators
        self._fitted: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:  # noqa: ANN401 - a fitted estimator
        """Return the model of a name, fitted on all rows."""
        if name not in self._fitted:
            model = clone(self._estimators[name])
            if self._column is not None:
                model.set_params(task_column=self._column)
            with threadpool_limits(1):
                model.fit(**self._given)
            # Groups or times are the data of others, and of no use for predicting.
            self._fitted[name] = without_splitters(model)
        return self._fitted[name]


def coefficients(data: TaskData, model: Any) -> Coefficients | None:  # noqa: ANN401
    """Return the largest coefficients of a fitted model, on features of unit deviation."""
    if not hasattr(model, "coef_"):
        return None
    values = np.asarray(model.coef_) * _deviations(data, model)
    size = np.linalg.norm(values, axis=0)
    rows = np.argsort(-size, kind="stable")[:_FEATURES]
    columns = np.arange(values.shape[0])[:_COLUMNS]
    names = [str(name) for name in model.coef_feature_names_]
    return Coefficients(
        features=tuple(names[j] for j in rows),
        columns=tuple(_label(*model.columns_[c]) for c in columns),
        values=tuple(tuple(float(values[c, j]) for c in columns) for j in rows),
        n_features=values.shape[1],
        n_columns=values.shape[0],
    )


def _label(task: object, label: object) -> str:
    return str(task) if label is None else f"{task}: {label}"


def _deviations(data: TaskData, model: Any) -> NDArray[np.float64]:  # noqa: ANN401
    encoded = data if model.encoder_ is None else encode(data, model.encoder_)
    X = encoded.X
    if is_sparse(X):
        mean = np.asarray(X.mean(axis=0)).ravel()
        square = np.asarray(X.multiply(X).mean(axis=0)).ravel()
        return np.asarray(np.sqrt(np.maximum(square - mean**2, 0.0)))
    mask = cell_mask(encoded)
    if mask is None:
        return np.asarray(np.std(X, axis=0, dtype=float))
    return np.asarray(np.nan_to_num(np.nanstd(np.where(mask, X, np.nan), axis=0)))
