"""A linear model with more tasks, or with other coefficients for some."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask._estimator.base import MultiTaskEstimator, label_array
from polytask._estimator.card import DataCard, checksum, counted_card
from polytask._estimator.scoring import ConstantBaseline, LabelledTask
from polytask._estimator.training import Collected
from polytask.data import Form, LabelIndex
from polytask.linear.adapted_coefficients import AdaptedCoefficients
from polytask.linear.base import LinearEstimator
from polytask.linear.prediction import LinearTasks
from polytask.transfer._pulled import Line
from polytask.transfer._rows import NewRows, NewTask, linear_model


@dataclass(frozen=True, eq=False)
class LearnedTask:
    """A task with the coefficients that it is given."""

    task: NewTask
    line: Line


@dataclass(frozen=True)
class CoefficientCovariance:
    """How uncertain given coefficients are; see :class:`AdaptedCoefficients`."""

    deviations: tuple[float | None, ...]
    unseen: bool


def extended(model: LinearEstimator, card: DataCard, learned: Sequence[LearnedTask]) -> Any:  # noqa: ANN401
    """Return a copy of a model that has other tasks too, with the card of all rows."""
    new = copy.copy(model)
    new._forget_held_out()
    # Statistics of earlier rows know nothing of the new tasks.
    new.__dict__.pop("statistics_", None)
    known = [entry for entry in learned if entry.task.position >= 0]
    fresh = [entry for entry in learned if entry.task.position < 0]
    linear = _replaced(model._linear_model(), known)
    new._linear = linear = _appended(linear, fresh)
    indexed(new, model, [entry.task for entry in fresh])
    new.coef_, new.intercept_ = linear.coef, linear.intercept
    _columns(new, linear)
    rows = np.array([entry.task.rows.weight.sum() for entry in fresh])
    new.task_weight_sums_ = np.append(model.task_weight_sums_, rows)
    new.data_card_ = card
    return new


def replaced(model: Any, learned: Sequence[LearnedTask], spread: CoefficientCovariance) -> Any:  # noqa: ANN401
    """Return a model with a learned prior that predicts some tasks by given coefficients."""
    new = copy.copy(model)
    new._forget_held_out()
    linear = _replaced(linear_model(model), learned)
    lines = tuple(
        AdaptedCoefficients(entry.task.position, deviation, spread.unseen)
        for entry, deviation in zip(learned, spread.deviations, strict=True)
    )
    if hasattr(model, "_linear"):
        new._linear = linear
        new._given_lines = (*model._given_lines, *lines)
    else:
        given = (*model._tasks.given, *lines)
        new._tasks = dataclasses.replace(model._tasks, linear=linear, given=given)
    new.coef_, new.intercept_ = linear.coef, linear.intercept
    return new


def with_card(model: Any, given: NewRows) -> Any:  # noqa: ANN401
    """Return the model with a card that lists the new rows too."""
    model.data_card_ = added_card(model.data_card_, given)
    return model


def _replaced(linear: LinearTasks, known: Sequence[LearnedTask]) -> LinearTasks:
    if not known:
        return linear
    coef, intercept = linear.coef.copy(), linear.intercept.copy()
    for entry in known:
        columns = linear.slices[entry.task.position]
        coef[columns], intercept[columns] = entry.line.coef, entry.line.intercept
    return dataclasses.replace(linear, coef=coef, intercept=intercept)


def _appended(linear: LinearTasks, fresh: Sequence[LearnedTask]) -> LinearTasks:
    """Append tasks; they do not count in the mean that unseen tasks are predicted with."""
    if not fresh:
        return linear
    classes, loss = linear.classes_of(-1), linear.loss_of(-1)
    width = fresh[0].line.coef.shape[0]
    labels = np.asarray(classes).tolist() if width > 1 else [None]
    first = len(linear.coef)
    starts = range(first, first + width * len(fresh), width)
    coef = np.vstack([linear.coef, *[entry.line.coef for entry in fresh]])
    intercept = np.concatenate([linear.intercept, *[entry.line.intercept for entry in fresh]])
    return dataclasses.replace(
        linear,
        coef=coef.astype(linear.coef.dtype),
        intercept=intercept.astype(linear.intercept.dtype),
        slices=(*linear.slices, *[slice(start, start + width) for start in starts]),
        losses=(*linear.losses, *[loss] * len(fresh)),
        classes=(*linear.classes, *[classes] * len(fresh)),
        labels=(*linear.labels, *labels * len(fresh)),
        counts=np.append(linear.counts, np.zeros(len(fresh))),
    )


def indexed(new: Any, model: MultiTaskEstimator, added: Sequence[NewTask]) -> None:  # noqa: ANN401
    """Let a copy of a model know further tasks, which have all features."""
    # New targets are scored against their own mean, other tasks against that of the training rows.
    schema, labels = model._schema, tuple(task.label for task in added)
    present = schema.present
    if present is not None:
        has = np.ones((len(labels), present.shape[1]), dtype=bool)
        present = np.vstack([present, has])
    tasks = (*schema.index.labels, *labels)
    new._schema = dataclasses.replace(schema, index=LabelIndex(tasks), present=present)
    new.tasks_ = label_array(tasks)
    baseline: ConstantBaseline | None = getattr(model, "_baseline", None)
    if baseline is not None and schema.form is Form.TARGETS:
        known = model._by_loss()
        classes = None if known is None else known.classes_of(-1)
        labels_of = [
            t.rows.y if classes is None else classes[t.rows.y.astype(np.intp)] for t in added
        ]
        rows = [
            LabelledTask(k, slice(None), y, task.rows.weight)
            for k, (y, task) in enumerate(zip(labels_of, added, strict=True))
        ]
        own = dataclasses.replace(model._scoring(), n_tasks=len(added)).baseline(rows)
        new._baseline = baseline.extended(own)


def _columns(new: Any, linear: LinearTasks) -> None:  # noqa: ANN401
    tasks = new._schema.index.labels
    widths = [part.stop - part.start for part in linear.slices]
    owners = [task for task, width in zip(tasks, widths, strict=True) for _ in range(width)]
    new.columns_ = tuple(zip(owners, linear.labels, strict=True))
    if hasattr(new, "task_classes_"):
        new.task_classes_ = dict(zip(tasks, linear.classes, strict=True))
        if new._schema.form is Form.TARGETS:
            new.classes_ = list(linear.classes)


def added_card(card: DataCard, given: NewRows) -> DataCard:
    """Add the new rows; the checksum is that of the old one and of the new rows."""
    own = "" if given.data is None else checksum(given.data)
    counts = {entry.label: len(entry.rows.y) for entry in given.tasks}
    return counted_card(card, counts, given.n_rows, own)


def collected_card(card: DataCard, found: Collected) -> DataCard:
    """Add rows that statistics were collected of."""
    counts = dict(zip(found.tasks, found.rows_per_task, strict=True))
    return counted_card(card, counts, found.n_rows, checksum(found.to_task_data()))
