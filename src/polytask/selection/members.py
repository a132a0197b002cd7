"""Predictions of the models that a combination is made of."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import UNSEEN, MultiTaskEstimator, outputs
from polytask._estimator.groupings import GroupedRows

Array = NDArray[np.float64]
Labels = NDArray[Any]
Tasks = NDArray[np.intp]

# The label of an unseen task, for models that must be told one.
_STRANGER = ("a task that was not seen",)


def numbers_of(model: MultiTaskEstimator, X: Any, tasks: Tasks) -> Array:  # noqa: ANN401
    """Return the numbers that a model predicts for rows, each of its task, -1 an unseen one."""
    # Rows of a task stand together.
    return np.asarray(model._predict_rows(X, tasks), dtype=float)


def probabilities_of(
    model: Any,  # noqa: ANN401 - a fitted classifier
    X: Any,  # noqa: ANN401 - dense or sparse
    tasks: Tasks,
    classes: Labels,
    labels: tuple[Hashable, ...] | None,
) -> Array:
    """Return the probabilities of classes for rows, each of its task."""
    # Shapes: X (n, d), tasks (n,), classes (C,), result (n, C).
    if isinstance(X, GroupedRows):
        return _columns(model._row_probabilities(X), model.classes_, classes)
    found = np.zeros((X.shape[0], len(classes)))
    order = np.argsort(tasks, kind="stable")
    rows = {int(tasks[order[run.start]]): order[run] for run in outputs.runs(tasks[order])}
    if labels is None:
        for task, own in rows.items():
            table = model.predict_proba(X[own])[task]
            found[own] = _columns(table, model.classes_[task], classes)
        return found
    if UNSEEN in rows:
        # The combination has been asked for them, whatever its members would do on their own.
        model = copy.copy(model).set_params(unseen_tasks="shared")
    names = {task: _STRANGER if task == UNSEEN else labels[task] for task in rows}
    tables = model.predict_proba({names[task]: X[own] for task, own in rows.items()})
    for task, own in rows.items():
        found[own] = _columns(tables[names[task]], model.classes_, classes)
    return found


def _columns(table: Array, known: Labels, classes: Labels) -> Array:
    """Return the columns of some classes, 0 for one that is not known."""
    position = {name: k for k, name in enumerate(known.tolist())}
    found = np.zeros((len(table), len(classes)))
    for k, name in enumerate(classes.tolist()):
        if name in position:
            found[:, k] = table[:, position[name]]
    return found
