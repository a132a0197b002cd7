"""Posterior modes as plain models of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.linear._export import plain_model
from polytask.linear.prediction import LinearTasks


def plain_classifier(linear: LinearTasks, task: int, features: NDArray[np.intp] | None) -> Any:  # noqa: ANN401
    """Return a fitted scikit-learn model with the coefficients of one task."""
    columns, classes = linear.slices[task], linear.classes[task]
    width = columns.stop - columns.start
    if width < 3 or classes is None:
        return plain_model(linear, task, features)
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import LabelBinarizer

    members = []
    for column in range(columns.start, columns.stop):
        member = LogisticRegression()
        coef = linear.coef[column : column + 1]
        member.coef_ = coef.copy() if features is None else coef[:, features]
        member.intercept_ = linear.intercept[column : column + 1].copy()
        member.classes_, member.n_iter_ = np.array([0, 1]), np.array([0], dtype=np.int32)
        member.n_features_in_ = member.coef_.shape[1]
        members.append(member)
    model = OneVsRestClassifier(LogisticRegression())
    model.estimators_ = members
    model.label_binarizer_ = LabelBinarizer(sparse_output=True).fit(classes)
    model.n_features_in_ = members[0].n_features_in_
    if not hasattr(model, "classes_"):  # a property in older versions
        model.classes_ = classes
    return model
