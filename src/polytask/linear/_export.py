"""A linear model as plain models of scikit-learn, or as a table."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import IncompatibleError
from polytask.linear.prediction import LinearTasks
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd


def plain_model(linear: LinearTasks, task: int, features: NDArray[np.intp] | None) -> Any:  # noqa: ANN401
    """Return a fitted scikit-learn model with the coefficients of one task."""
    columns = linear.slices[task]
    coef, intercept = linear.coef[columns], linear.intercept[columns]
    coef = coef.copy() if features is None else coef[:, features]
    loss, classes = linear.losses[task], linear.classes[task]
    if loss.plain_model == "LinearRegression":
        return _regression(coef[0], intercept[0])
    if loss.plain_model in ("PoissonRegressor", "GammaRegressor"):
        return _of_means(loss.plain_model, coef[0], intercept[0])
    if loss.plain_model == "LogisticRegression":
        return _classification(coef, intercept, np.asarray(classes))
    if loss.plain_model == "LinearSVC":
        return _machine(coef, intercept, np.asarray(classes))
    raise IncompatibleError(
        LazyMessage("linear.refusal.no_plain_model", {"loss": repr(loss.name)})
    )


def _regression(coef: NDArray[Any], intercept: Any) -> Any:  # noqa: ANN401 - untyped package
    from sklearn.linear_model import LinearRegression

    model = LinearRegression()
    model.coef_, model.intercept_, model.n_features_in_ = coef, intercept, len(coef)
    return model


def _of_means(name: str, coef: NDArray[Any], intercept: Any) -> Any:  # noqa: ANN401
    from sklearn import linear_model

    # Fitted to nothing, because fit also sets what the link of its predictions is.
    model = getattr(linear_model, name)().fit(
        np.zeros((2, len(coef)), dtype=coef.dtype), np.ones(2)
    )
    model.coef_, model.intercept_, model.n_iter_ = coef, intercept, 0
    return model


def _classification(coef: NDArray[Any], intercept: NDArray[Any], classes: NDArray[Any]) -> Any:  # noqa: ANN401
    from sklearn.linear_model import LogisticRegression

    if len(classes) == 1:
        return _constant(coef.shape[1], classes)
    if len(classes) == 2 and len(coef) == 2:  # what counts is the difference of the two
        coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    model = LogisticRegression()
    model.coef_, model.intercept_ = coef, intercept.copy()
    model.classes_, model.n_features_in_ = classes, coef.shape[1]
    model.n_iter_ = np.array([0], dtype=np.int32)
    return model


def _machine(coef: NDArray[Any], intercept: NDArray[Any], classes: NDArray[Any]) -> Any:  # noqa: ANN401
    from sklearn.svm import LinearSVC

    if len(classes) == 1:
        return _constant(coef.shape[1], classes)
    model = LinearSVC()
    model.coef_, model.intercept_, model.classes_ = coef, intercept.copy(), classes
    model.n_features_in_, model.n_iter_ = coef.shape[1], 0
    return model


def _constant(width: int, classes: NDArray[Any]) -> Any:  # noqa: ANN401 - untyped package
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="most_frequent").fit(np.zeros((1, width)), classes)


def coefficient_table(
    columns: tuple[tuple[Hashable, Hashable | None], ...],
    names: NDArray[Any],
    coef: NDArray[Any],
    intercept: NDArray[Any],
) -> pd.DataFrame:
    """Return coefficients as a long table: task, class, feature, coef."""
    import pandas as pd

    features = [*names.tolist(), "(intercept)"]
    return pd.DataFrame(
        {
            "task": [task for task, _ in columns for _ in features],
            "class": [label for _, label in columns for _ in features],
            "feature": features * len(columns),
            "coef": np.column_stack([coef, intercept]).ravel(),
        }
    )
