"""Predictions of the models that a combination is made of."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import UNSEEN, MultiTaskEstimator

Array = NDArray[np.float64]
Labels = NDArray[Any]

# The label of an unseen task, for models that must be told one.
_STRANGER = ("a task that was not seen",)


def numbers_of(model: MultiTaskEstimator, X: Any, task: int) -> Array:  # noqa: ANN401
    """Return the numbers that a model predicts for rows of a task, -1 for an unseen one."""
    return np.asarray(model._predict_task(X, task), dtype=float)


def probabilities_of(
    model: Any,  # noqa: ANN401 - a fitted classifier
    X: Any,  # noqa: ANN401 - dense or sparse
    task: int,
    classes: Labels,
    labels: tuple[Hashable, ...] | None,
) -> Array:
    """Return the probabilities of classes for rows of a task.

    Parameters
    ----------
    model : MultiTaskEstimator
        A fitted classifier.
    X : array of shape (n, d)
        Encoded rows.
    task : int
        Position of the task, -1 for an unseen one.
    classes : ndarray of shape (C,)
        The classes wanted; those that the model does not know have probability 0.
    labels : tuple or None
        The labels of the tasks; None if the tasks are targets.

    Returns
    -------
    ndarray of shape (n, C)
    """
    if labels is None:
        table, known = model.predict_proba(X)[task], model.classes_[task]
    else:
        label = _STRANGER if task == UNSEEN else labels[task]
        table, known = model.predict_proba({label: X})[label], model.classes_
    position = {name: k for k, name in enumerate(known.tolist())}
    found = np.zeros((X.shape[0], len(classes)))
    for k, name in enumerate(classes.tolist()):
        if name in position:
            found[:, k] = table[:, position[name]]
    return found
