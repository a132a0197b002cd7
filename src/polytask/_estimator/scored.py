"""What `score` is given as labelled data in the order of the tasks, and how all calls are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import got_shape, nearest, sentence
from polytask._estimator.query import InputSchema, Query, check_columns, read_query
from polytask._estimator.training import (
    encode_training,
    is_task_mapping,
    is_wide,
    names_targets,
    training_data,
)
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data.missing import missing_mask
from polytask.data.outcomes import outcome_values
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Labels = NDArray[Any]


def scored_data(
    schema: InputSchema, X: object, y: object, task: object, sample_weight: object
) -> TaskData:
    """Read data to score; as in `fit`, but a target may have no label."""
    check_columns(schema, X, task)
    labelled = isinstance(X, TaskData) or is_task_mapping(X)
    names: tuple[Hashable, ...] | None = None
    if not labelled and is_wide(y) and not names_targets(X, y):
        n, shape = len(schema.index.labels), () if tables.is_table(y) else np.asarray(y).shape
        if schema.form is Form.TARGETS and shape and shape[1] != n:
            # Columns without names are those of the tasks in their order.
            allowed = LazyMessage("allowed.columns_of_tasks", {"n": n})
            raise DataError(sentence("y", schema.owner, allowed, got_shape(shape)))
        y, names = _with_labels(y)
    data = training_data(X, y, task, sample_weight, schema.task_column, schema.owner)
    if data.form is Form.TARGETS:
        return _aligned(schema, data, data.tasks if names is None else names)
    if labelled or task is not None or schema.task_column is not None:
        return data
    return _one_task(schema, data)


def _with_labels(y: Any) -> tuple[Any, tuple[Hashable, ...]]:  # noqa: ANN401 - array or table
    """Drop the targets without a label; return the others and their names."""
    seen = np.asarray(~missing_mask(outcome_values(y, "y", "score")).all(axis=0))
    if not tables.is_table(y):
        return np.asarray(y)[:, seen], tuple(np.flatnonzero(seen).tolist())
    kept = [name for name, has in zip(tables.column_names(y), seen, strict=True) if has]
    return tables.select(y, kept), tuple(kept)


def _aligned(schema: InputSchema, data: TaskData, names: tuple[Hashable, ...]) -> TaskData:
    """Put targets into the order of the model's tasks, by name or by position."""
    known = schema.index.labels
    if names == known:
        return dataclasses.replace(data, tasks=known)
    positional = schema.form is Form.TARGETS and _positions(names, len(known))
    order: tuple[Hashable, ...] = tuple(range(len(known))) if positional else known
    place = {name: t for t, name in enumerate(order)}
    strangers = [name for name in names if name not in place]
    if strangers:
        allowed = LazyMessage("allowed.column_per_task")
        told = sentence("y", schema.owner, allowed, repr(strangers[0]))
        raise DataError(told + nearest(strangers[0], known))
    truth = np.asarray(data.y)
    gap = None if truth.dtype.kind in "OUS" else np.nan
    full = np.full((data.n_rows, len(known)), gap, dtype=object if gap is None else float)
    full[:, [place[name] for name in names]] = truth
    return dataclasses.replace(data, y=full, tasks=known)


def _positions(names: tuple[Hashable, ...], width: int) -> bool:
    return all(isinstance(name, int) and 0 <= name < width for name in names)


def _one_task(schema: InputSchema, data: TaskData) -> TaskData:
    """Take rows without task labels, which a model of one task only can predict."""
    if len(schema.index.labels) == 1:
        return dataclasses.replace(data, tasks=schema.index.labels)
    if schema.form is Form.TARGETS:
        allowed = LazyMessage("allowed.columns_of_tasks", {"n": len(schema.index.labels)})
        raise DataError(sentence("y", schema.owner, allowed, LazyMessage("got.flat_y")))
    fields = {"owner": schema.owner, "n": len(schema.index.labels)}
    raise DataError(LazyMessage("estimator.refusal.which_task", fields))


@dataclasses.dataclass(frozen=True)
class Reading:
    """How an estimator reads what it is given: arrays are complete, gaps of tables are filled."""

    # Of X, y, task, sample_weight, the task column and the owner: rows to fit, not encoded yet.
    training: Callable[[Any, Any, Any, object, Any, str], TaskData] = training_data
    # Of such rows: the same as numbers, and the encoder, None for arrays.
    encoded: Callable[[TaskData], tuple[TaskData, TableEncoder | None]] = encode_training
    # Of X, task and what to do with unseen tasks: rows to predict.
    query: Callable[[InputSchema, Any, Any, str], Query] = read_query
    # Of X, y, task and sample_weight: rows to score, not encoded.
    scored: Callable[[InputSchema, Any, Any, Any, object], TaskData] = scored_data
    # Whether rows may belong to levels of several groupings.
    groupings: bool = False
