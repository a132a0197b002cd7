"""From what `adapt` is given to the rows of each task."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator, regression
from polytask._estimator.outcomes import codes_of
from polytask._estimator.query import read_query
from polytask._estimator.scaling import refuse_huge_values
from polytask._estimator.training import check_task_column, is_task_mapping, training_data
from polytask.data import Form, TaskData, tables
from polytask.data.labels import label_list, refuse_groupings, warn_of_likeness
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.linear.prediction import LinearTasks
from polytask.linear.source import linear_of
from polytask.losses import Loss
from polytask.messages import LazyMessage, one_paragraph
from polytask.transfer._pulled import TaskRows

OWNER = "adapt"
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NewTask:
    """A task to adapt to."""

    label: Hashable
    position: int
    rows: TaskRows


@dataclass(frozen=True, eq=False)
class NewRows:
    """What was given."""

    raw: TaskData | None
    data: TaskData | None
    tasks: tuple[NewTask, ...]

    @property
    def n_rows(self) -> int:
        """Number of labelled rows."""
        return sum(len(task.rows.y) for task in self.tasks)

    @property
    def losses(self) -> dict[Hashable, Loss]:
        """The loss of each task, in the units of its target."""
        return {task.label: task.rows.loss for task in self.tasks}

    @property
    def weight(self) -> NDArray[np.float64]:
        """Weights of the labelled rows."""
        return np.concatenate([task.rows.weight for task in self.tasks])

    def folds(self, count: int) -> list[NDArray[np.intp]]:
        """Deal the rows of every task into folds; a task's single row is never held out."""
        folds: list[list[NDArray[np.intp]]] = [[] for _ in range(count)]
        first = 0
        for task in self.tasks:
            n = len(task.rows.y)
            for k, fold in enumerate(task.rows.folds(count) if n > 1 else []):
                folds[k].append(fold + first)
            first += n
        return [np.sort(np.concatenate(parts)) for parts in folds if parts]


def linear_model(model: MultiTaskEstimator) -> LinearTasks:
    """Return the coefficients of a fitted linear model; refuse any other."""
    linear = linear_of(model)
    if linear is None:
        allowed = LazyMessage("allowed.fitted_linear")
        got = LazyMessage("got.kind", {"kind": type(model).__name__})
        raise IncompatibleError(sentence("model", OWNER, allowed, got))
    return linear


class KnownOutcomes(Protocol):
    """What a model knows about the targets of its tasks."""

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task; an unseen task has that of all tasks."""
        ...

    def classes_of(self, task: int) -> NDArray[Any] | None:
        """Return the classes of a task, None for numbers."""
        ...

    def eta(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        """Return the predictors of encoded rows, (n_rows, n_columns)."""
        ...


def is_deep(model: object) -> bool:
    """Say whether a model is a network, without importing PyTorch to find out."""
    return isinstance(model, MultiTaskEstimator) and model._is_network


def outcomes_of(model: MultiTaskEstimator) -> KnownOutcomes:
    """Return what a fitted model knows of its tasks."""
    known: KnownOutcomes = model._tasks if is_deep(model) else linear_model(model)
    return known


def losses_of(model: MultiTaskEstimator, tasks: Sequence[Hashable]) -> dict[Hashable, Loss]:
    """Return the losses of tasks, in the units of their targets."""
    codes = np.asarray(model._schema.index.encode(list(tasks), "shared")).tolist()
    return {label: _loss(model, code) for label, code in zip(tasks, codes, strict=True)}


def loss_of_new(model: MultiTaskEstimator) -> Loss:
    """Return the loss that a new task has, in the units of its target."""
    return _loss(model, -1)


def _loss(model: MultiTaskEstimator, task: int) -> Loss:
    """Return the loss of a task, in the units of its target."""
    loss = outcomes_of(model).loss_of(task)
    if is_deep(model):
        scale: Floats = model._tasks.target_scale
        # Tasks that were added to it, which are refused elsewhere, have a scale of their own.
        own = 0 <= task < len(scale)
        return loss.at_scale(float(scale[task] if own else np.exp(np.log(scale).mean())))
    pull = getattr(model, "_pull", None)
    return loss if pull is None else loss.at_scale(pull.unit)


def read_rows(
    model: MultiTaskEstimator,
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    task: Any,  # noqa: ANN401
    sample_weight: Any,  # noqa: ANN401
) -> NewRows:
    """Read new rows as the model reads its own."""
    X, task = _labelled(model, X, task)
    known = model._schema.index.labels
    if X is None:
        warn_of_likeness(label_list(task), known)
        _refuse(y, "y")
        _refuse(sample_weight, "sample_weight")
        codes = model._schema.index.encode(task, "shared")
        width = len(model.coef_feature_names_)
        empty = TaskRows(np.zeros((0, width)), np.zeros(0), np.zeros(0), _loss(model, -1))
        pairs = dict(zip(label_list(task), codes.tolist(), strict=True))
        return NewRows(None, None, tuple(NewTask(k, c, empty) for k, c in pairs.items()))
    raw = _raw(X, y, task, sample_weight)
    query = read_query(model._schema, raw, None, "shared")
    refuse_huge_values(query.data.X, "X", OWNER)
    warn_of_likeness(raw.tasks, known)
    if model.encoder_ is not None and raw.present is None:
        met = model.encoder_.encode(raw.X).report.messages
        if met:
            warnings.warn(DataWarning(one_paragraph(met)), stacklevel=3)
    codes = np.asarray(query.codes)
    found = []
    for t, (label, code) in enumerate(zip(raw.tasks, codes.tolist(), strict=True)):
        part = raw.task_slice(t)
        found.append(NewTask(label, code, _rows(model, raw, query.data.X[part], part, code)))
    return NewRows(raw, query.data, tuple(found))


def _raw(X: Any, y: Any, task: Any, sample_weight: Any) -> TaskData:  # noqa: ANN401
    refuse_groupings(task, None, OWNER)
    if y is not None or is_task_mapping(X) or (isinstance(X, TaskData) and X.y is not None):
        raw = training_data(X, y, task, sample_weight, None, OWNER)
    else:
        _refuse(sample_weight, "sample_weight")
        raw = X if isinstance(X, TaskData) else TaskData.from_long(X, None, task)
    if raw.form is Form.TARGETS:
        raise DataError(LazyMessage("transfer.refusal.targets"))
    return raw


def _refuse(value: object, name: str) -> None:
    if value is not None:
        allowed = LazyMessage("allowed.none_without_targets")
        raise DataError(sentence(name, OWNER, allowed, LazyMessage("got.a_value")))


def _labelled(model: MultiTaskEstimator, X: Any, task: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Return the rows, and the label of each or the column that holds them."""
    task = task.item() if isinstance(task, np.generic) else task
    if isinstance(X, TaskData) or is_task_mapping(X):
        if task is not None:
            allowed = LazyMessage("allowed.none_where_named")
            raise DataError(sentence("task", OWNER, allowed, repr(task)))
        return X, None
    if X is None:
        if task is None:
            raise ParameterError(LazyMessage("transfer.refusal.nameless"))
        return None, [task] if _is_label(task) else task
    names: Sequence[Hashable] = tables.column_names(X) if tables.is_table(X) else ()
    column = model.task_column
    held = column in names or isinstance(column, int | np.integer)
    if task is None:
        if not held or column is None:
            raise ParameterError(LazyMessage("transfer.refusal.nameless"))
        return X, column
    check_task_column(column, OWNER)
    if column in names:
        fields = {"owner": OWNER, "column": repr(column)}
        raise DataError(LazyMessage("estimator.refusal.task_twice", fields))
    # A text that names a column of the table, which is no feature of the model, is that column.
    is_column = isinstance(task, str) and task in names and task not in (model._schema.names or ())
    if is_column or not _is_label(task):
        return X, task
    labels = np.empty(int(X.shape[0]) if hasattr(X, "shape") else len(X), dtype=object)
    labels[:] = [task] * len(labels)
    return X, labels


def _is_label(task: object) -> bool:
    return not isinstance(task, list) and not hasattr(task, "__array__")


def _rows(model: MultiTaskEstimator, raw: TaskData, X: Any, part: slice, code: int) -> TaskRows:  # noqa: ANN401
    """Return the rows of one task with their targets as numbers."""
    outcomes, loss = outcomes_of(model), _loss(model, code)
    if raw.y is None:
        return TaskRows(X[:0], np.zeros(0), np.zeros(0), loss)
    classes = outcomes.classes_of(code)
    n = part.stop - part.start
    weight = np.ones(n) if raw.sample_weight is None else raw.sample_weight[part]
    if classes is None:
        # The rows of this task alone: another may have classes, or a loss of other targets.
        own = regression(raw.rows(np.arange(part.start, part.stop)), loss, OWNER)
        refuse_huge_values(own.y, "y", OWNER)
        return TaskRows(X, own.y, weight, loss)
    return TaskRows(X, codes_of(np.asarray(raw.y)[part], classes, OWNER), weight, loss)
