"""Learning again from rows of the source and new ones, and what predictions cost."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from copy import copy as shallow_copy
from typing import Any

import narwhals as nw
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.query import read_query
from polytask._estimator.training import training_data
from polytask._linalg import is_sparse
from polytask.data import Form, TaskData, tables
from polytask.exceptions import DataError
from polytask.losses import LogLink, Loss, SquaredHinge
from polytask.messages import LazyMessage
from polytask.transfer._rows import outcomes_of

Array = NDArray[np.float64]
_LEAST = 1e-12


def source_data(source: Any, model: MultiTaskEstimator, owner: str) -> TaskData:  # noqa: ANN401
    """Read the rows that a model was fitted on."""
    if isinstance(source, tuple):
        if len(source) not in (2, 3):
            allowed = LazyMessage("allowed.pair_or_triple")
            raise DataError(sentence("source", owner, allowed, repr(len(source))))
        X, y, task = (*source, None)[:3]
        column = model.task_column if task is None else None
        raw = training_data(X, y, task, None, column, owner)
    else:
        raw = training_data(source, None, None, None, None, owner)
    if raw.form is Form.TARGETS:
        raise DataError(LazyMessage("transfer.refusal.source_targets", {"owner": owner}))
    return raw


def refitted(
    model: MultiTaskEstimator, parts: list[TaskData], weights: list[Array] | None = None
) -> Any:  # noqa: ANN401 - an estimator of the class of the model
    """Fit a copy of a model on several sets of rows."""
    factors = [np.ones(part.n_rows) for part in parts] if weights is None else weights
    own = [
        np.ones(part.n_rows) if part.sample_weight is None else part.sample_weight
        for part in parts
    ]
    weight = np.concatenate([a * b for a, b in zip(own, factors, strict=True)])
    y = np.concatenate([np.asarray(part.y) for part in parts])
    labels = [label for part in parts for label in row_labels(part)]
    X = _stacked([part.X for part in parts])
    plain = bool(np.all(weight == 1.0))
    copy = clone(model)
    if isinstance(getattr(copy, "loss", None), Mapping):
        copy.set_params(loss=_losses_of(copy.loss, set(labels)))
    X, task = _with_column(X, labels, copy.task_column)
    return copy.fit(X, y, task=task, sample_weight=None if plain else weight)


def _losses_of(losses: Mapping[Hashable, Any], labels: set[Hashable]) -> dict[Hashable, Any]:
    """Return the losses of some tasks; a new task has that of all others, if they have one."""
    known = {label: loss for label, loss in losses.items() if label in labels}
    distinct = list(losses.values())
    if all(loss == distinct[0] for loss in distinct):
        known |= dict.fromkeys(labels - set(known), distinct[0])
    return known


def row_labels(data: TaskData) -> list[Hashable]:
    """Return the task of every row."""
    return [data.tasks[code] for code in data.row_tasks().tolist()]


def natural_losses(model: Any, rows: TaskData, losses: Mapping[Hashable, Loss]) -> Array:  # noqa: ANN401
    """Return the loss of every row under what a model predicts for it."""
    # Shapes: result (n_rows,).
    # The model itself, or one of the same coefficients that predicts unknown tasks.
    model, found = shallow_copy(model), np.empty(rows.n_rows)
    model.unseen_tasks = "shared"
    own = [losses[label] for label in row_labels(rows)]
    for loss in dict.fromkeys(own):
        index = np.flatnonzero([other == loss for other in own])
        part = rows if len(index) == len(own) else rows.rows(index)
        found[index] = (_class_losses if loss.is_classifier else _number_losses)(model, part, loss)
    return found


def _number_losses(model: Any, rows: TaskData, loss: Loss) -> Array:  # noqa: ANN401
    X, task = _with_column(rows.X, row_labels(rows), model.task_column)
    found = np.asarray(model.predict(X, task=task)).astype(float)
    eta = np.log(np.maximum(found, _LEAST)) if isinstance(loss, LogLink) else found
    return np.asarray(loss.value(np.asarray(rows.y).astype(float), eta))


def _class_losses(model: Any, rows: TaskData, loss: Loss) -> Array:  # noqa: ANN401
    X, task = _with_column(rows.X, row_labels(rows), model.task_column)
    classes = model.classes_ if hasattr(model, "classes_") else model._linear_model().union
    position = {label: k for k, label in enumerate(np.asarray(classes).tolist())}
    own = np.array([position.get(label, -1) for label in np.asarray(rows.y).tolist()])
    if isinstance(loss, SquaredHinge):
        return np.asarray(loss.value(own.astype(float), _predictors(model, rows)))
    proba = np.asarray(model.predict_proba(X, task=task), dtype=float)
    chance = np.where(own >= 0, proba[np.arange(len(own)), own], 0.0)
    return np.asarray(-np.log(np.maximum(chance, _LEAST)))


def _predictors(model: Any, rows: TaskData) -> Array:  # noqa: ANN401
    """Return the linear predictors of rows whose tasks have one column each."""
    query, tasks = read_query(model._schema, rows, None, "shared"), outcomes_of(model)
    codes = np.asarray(query.codes).tolist()
    parts = [
        np.asarray(tasks.eta(query.data.X[rows.task_slice(t)], code), dtype=float)[:, 0]
        for t, code in enumerate(codes)
    ]
    return np.concatenate(parts)


def _stacked(designs: list[Any]) -> Any:  # noqa: ANN401 - array, sparse or table
    if tables.is_table(designs[0]):
        frames = [nw.from_native(design, eager_only=True) for design in designs]
        columns = frames[0].columns
        return nw.concat([frame.select(columns) for frame in frames]).to_native()
    if any(is_sparse(design) for design in designs):
        return sp.vstack([sp.csr_array(design) for design in designs], format="csr")
    return np.vstack(designs)


def _with_column(X: Any, labels: list[Hashable], column: str | int | None) -> tuple[Any, Any]:  # noqa: ANN401
    """Put the labels where the model reads them: in a column, or beside."""
    task = np.empty(len(labels), dtype=object)
    task[:] = labels
    if column is None:
        return X, task
    if tables.is_table(X):
        frame = nw.from_native(X, eager_only=True)
        series = nw.new_series(str(column), labels, backend=frame.implementation)
        return frame.with_columns(series).to_native(), None
    return np.insert(np.asarray(X), int(column), np.asarray(labels, dtype=float), axis=1), None
