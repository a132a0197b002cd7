"""Predictions of a fitted model on held-out rows, as the metrics take them."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.scoring import judged_by
from polytask._estimator.training import Collected
from polytask.data import Form, TaskData
from polytask.losses import LogLink, Loss
from polytask.messages import LazyMessage
from polytask.metrics import HeldOut
from polytask.metrics.scores import best_constant

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

# Tasks that are named one by one.
_NAMED = 8


def seen_tasks_only(data: TaskData) -> TaskData:
    """Drop the tasks without rows: a model must not believe that it knows them."""
    if data.groupings is not None:
        data = dataclasses.replace(data, groupings=data.groupings.seen())
    if data.form is Form.TARGETS or bool(np.all(data.task_rows() > 0)):
        return data
    held = np.flatnonzero(data.task_rows() > 0)
    offsets = np.concatenate([[0], np.cumsum(data.task_rows()[held])]).astype(np.intp)
    present = None if data.present is None else data.present[held]
    tasks = tuple(data.tasks[t] for t in held)
    return dataclasses.replace(data, tasks=tasks, offsets=offsets, present=present)


def servable(data: TaskData, train: Rows, test: Rows) -> Rows:
    """Leave out test rows of tasks that the training part knows nothing about."""
    if data.form is Form.TARGETS:
        return test
    owners = data.row_tasks()
    return test[np.isin(owners[test], owners[train])]


def unscored_fields(data: TaskData, rows: Rows) -> dict[str, Any]:
    """Return the fields of a message about rows that are not servable, of which there are some."""
    tasks = np.unique(data.row_tasks()[rows])
    more = ["..."] * (len(tasks) > _NAMED)
    return {
        "n": len(rows),
        "tasks": LazyMessage("count.tasks", {"n": len(tasks)}),
        "names": [*(repr(data.tasks[t]) for t in tasks[:_NAMED]), *more],
    }


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutTask:
    """The held-out labels of one task: their rows in the data and in the output of predict."""

    task: int
    rows: Rows
    places: Rows


def reads_groupings(model: object) -> bool:
    """Say whether a model reads several groupings, which the others take the first of."""
    return isinstance(getattr(model, "task_column", None), list | tuple)


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """The data of a comparison."""

    data: TaskData
    outcomes: Outcomes
    # The data as numbers, where every part of the rows is encoded alike.
    encoded: TaskData | None = None
    # The statistics that the rows of the data stand for, if they do.
    collected: Collected | None = None
    # The same rows with all their groupings, where they have several; those of the first are the
    # tasks of the data, and the others categories.
    grouped: TaskData | None = None

    @property
    def n_rows(self) -> int:
        """How many rows there are, or were collected."""
        return self.data.n_rows if self.collected is None else self.collected.n_rows

    def task_rows(self) -> NDArray[np.intp]:
        """Return how many of them each task has."""
        if self.collected is None:
            return self.data.task_rows()
        return np.array(self.collected.rows_per_task, dtype=np.intp)

    @cached_property
    def codes(self) -> Array:
        """The targets as numbers, or as positions in :meth:`classes`; NaN where missing."""
        if not self.one_quantity or self.outcomes.union is None:
            return self.outcomes.y
        places = {label: k for k, label in enumerate(self.outcomes.union.tolist())}
        y = self.outcomes.y.copy()
        for t, classes in enumerate(self.outcomes.classes):
            part = self.data.task_slice(t)
            table = np.array(
                [places[label] for label in np.asarray(classes).tolist()], dtype=float
            )
            y[part] = table[y[part].astype(int)]
        return y

    def classes(self, task: int) -> NDArray[Any] | None:
        """Return the classes that a prediction for the task can be of, None for numbers."""
        # A pooled model may predict a class for a task that never had it, so tasks of one
        # quantity have the classes of all.
        own = self.outcomes.classes[task]
        return own if own is None or not self.one_quantity else self.outcomes.union

    def loss(self, task: int) -> Loss | None:
        """Return the loss that is scored instead of the squared error."""
        return (
            None
            if self.outcomes.classes[task] is not None
            else judged_by(self.outcomes.losses[task])
        )

    @cached_property
    def one_quantity(self) -> bool:
        """Whether the tasks are about the same thing, as rows with a task label are."""
        losses, classes = self.outcomes.losses, self.outcomes.classes
        kinds = {
            labels is None if judged_by(own) is None else own.name
            for own, labels in zip(losses, classes, strict=True)
        }
        return self.data.form is not Form.TARGETS and len(kinds) == 1

    @cached_property
    def several_kinds(self) -> bool:
        """Whether some tasks are numbers and some are classes."""
        return len({classes is None for classes in self.outcomes.classes}) > 1

    def labels(self, part: HeldOutTask) -> Array:
        """Return the held-out labels of a task, as in :attr:`codes`."""
        targets = self.data.form is Form.TARGETS
        return np.asarray(self.codes[(part.rows, part.task) if targets else part.rows])

    def rows_for(self, model: object) -> TaskData:
        """Return all rows as a model reads them."""
        if self.grouped is not None and reads_groupings(model):
            return self.grouped
        return self.data if self.encoded is None else self.encoded

    def part(self, rows: Rows, model: object = None) -> TaskData:
        """Return some rows for a model, without tasks that have none of them."""
        return seen_tasks_only(self.rows_for(model).rows(rows))

    def constants(self, train: Rows) -> list[Any]:
        """Return for every task what the best constant of some rows predicts."""
        # A number, or the share of each class. Tasks of one quantity share it: the constant knows
        # nothing about the task.
        data, tasks = self.data, range(self.data.n_tasks)
        weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
        y, weight = self.codes[train], weight[train]
        if data.form is Form.TARGETS:
            return [_constant(self, t, y[:, t], weight) for t in tasks]
        if self.one_quantity:
            return [_constant(self, 0, y, weight)] * data.n_tasks
        owners = data.row_tasks()[train]
        return [_constant(self, t, y[owners == t], weight[owners == t]) for t in tasks]


def digest_of(splits: Sequence[tuple[Rows, Rows]]) -> str:
    """Return what tells training and held-out rows apart from others."""
    digest = xxhash.xxh3_128()
    for train, test in splits:
        for rows in (train, test):
            digest.update(np.ascontiguousarray(rows, dtype=np.int64).tobytes() + b"|")
    return digest.hexdigest()


def parts_of(study: Study, test: Rows) -> list[HeldOutTask]:
    """Find the held-out labels of every task, tasks without any left out. Shapes: test (m,)."""
    data, y = study.data, study.codes
    if data.form is Form.TARGETS:
        seen = ~np.isnan(y[test])
        found = [(t, np.flatnonzero(seen[:, t])) for t in range(data.n_tasks)]
        return [HeldOutTask(t, test[at], at) for t, at in found if len(at)]
    # predict returns rows in the order of the input.
    places = np.empty(len(test), dtype=np.intp)
    places[np.argsort(data.order[test], kind="stable")] = np.arange(len(test))
    owners = data.row_tasks()[test]
    found = [(int(t), np.flatnonzero(owners == t)) for t in np.unique(owners)]
    return [HeldOutTask(t, test[at], places[at]) for t, at in found]


def held_out(study: Study, model: Any, train: Rows, test: Rows) -> list[tuple[int, HeldOut]]:  # noqa: ANN401
    """Predict held-out rows."""
    rows = study.part(test, model)
    predicted = np.asarray(model.predict(rows))
    probabilities = _probabilities(study, model, rows)
    constants, targets = study.constants(train), study.data.form is Form.TARGETS
    found = []
    for part in parts_of(study, test):
        classes = study.classes(part.task)
        values = predicted[(part.places, part.task) if targets else part.places]
        chances = None
        if classes is not None and probabilities is not None:
            chances = probabilities(part.task, part.places, classes)
        values = values.astype(float) if classes is None else _codes(values, classes)
        held = _held(study, part, values, chances, constants[part.task])
        found.append((part.task, held))
    return found


def constant_parts(study: Study) -> list[tuple[int, HeldOut]]:
    """Return all labels as if they were held out, predicted by their best constant."""
    everything = np.arange(study.data.n_rows)
    constants, found = study.constants(everything), []
    for part in parts_of(study, everything):
        constant, n = constants[part.task], len(part.rows)
        numbers = study.classes(part.task) is None
        values = np.full(n, constant if numbers else int(np.argmax(constant)))
        chances = None if numbers else np.tile(constant, (n, 1))
        found.append((part.task, _held(study, part, values, chances, constant)))
    return found


def _held(
    study: Study,
    part: HeldOutTask,
    values: NDArray[Any],
    chances: Array | None,
    constant: Any,  # noqa: ANN401 - a number or probabilities
) -> HeldOut:
    weight = study.data.sample_weight
    return HeldOut(
        y=study.labels(part),
        prediction=values,
        probabilities=chances,
        classes=study.classes(part.task),
        weight=None if weight is None else weight[part.rows],
        baseline=constant,
        loss=study.loss(part.task),
    )


def _codes(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return positions among the classes of a task, -1 for a class that only other tasks have."""
    position: dict[Hashable, int] = {label: k for k, label in enumerate(classes.tolist())}
    return np.array([position.get(label, -1) for label in labels.tolist()], dtype=np.intp)


def _probabilities(study: Study, model: Any, rows: TaskData) -> Any:  # noqa: ANN401
    """Return (task, places, classes) -> probabilities of the classes, or None."""
    if study.outcomes.union is None or not hasattr(model, "predict_proba"):
        return None
    values = model.predict_proba(rows)
    known = model.classes_
    listed = isinstance(values, list)

    def take(task: int, places: Rows, classes: NDArray[Any]) -> Array:
        table = np.asarray(values[task] if listed else values)[places]
        columns = {label: k for k, label in enumerate((known[task] if listed else known).tolist())}
        # A class that was never seen in training has probability 0.
        out = np.zeros((len(places), len(classes)))
        for k, label in enumerate(classes.tolist()):
            if label in columns:
                out[:, k] = table[:, columns[label]]
        return out

    return take


def _constant(study: Study, task: int, y: Array, weight: Array) -> Any:  # noqa: ANN401
    seen = ~np.isnan(y)
    y, weight = y[seen], weight[seen]
    classes, loss = study.classes(task), study.loss(task)
    if classes is None and not len(y):
        return float("nan")
    if classes is None:
        # The mean is the best constant of a deviance too.
        if loss is None or isinstance(loss, LogLink):
            return float(np.average(y, weights=weight))
        return best_constant(loss, y, weight)
    counts = np.bincount(y.astype(int), weights=weight, minlength=len(classes))
    total = counts.sum()
    return counts / total if total > 0 else np.full(len(counts), 1.0 / len(counts))
