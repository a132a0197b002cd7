"""The long form and the targets form: from what the user gives to the fields of TaskData."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import got_shape, sentence
from polytask.data import designs, tables
from polytask.data.designs import Design
from polytask.data.labels import factorize, is_grouped, warn_near_misses
from polytask.data.outcomes import check_length, check_target, check_targets, check_weights
from polytask.data.tables import Rows
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

_OWNER = "TaskData"


class Form(enum.Enum):
    """How the data of several tasks were given."""

    LONG = "long"
    TARGETS = "targets"
    SEPARATE = "separate"


class Fields(NamedTuple):
    """The fields of TaskData, in order."""

    X: Design
    y: NDArray[Any] | None
    tasks: tuple[Hashable, ...]
    offsets: NDArray[np.intp] | None
    sample_weight: NDArray[np.float64] | None
    form: Form
    order: NDArray[np.intp]
    feature_names: tuple[str, ...] | None
    present: NDArray[np.bool_] | None = None


def long_fields(X: object, y: object, task: object, sample_weight: object) -> Fields:
    """Sort rows by task, stably; copy X once, or not at all if it is sorted already."""
    tables.warn_of_other_order(X, y=y, task=task, sample_weight=sample_weight)
    X, y, task = _take_named(X, y, task)
    checked = designs.inspect(X, _OWNER)
    n = checked.X.shape[0]
    distinct, codes = _tasks(task, n)
    values = None if y is None else check_target(y, n, owner=_OWNER)
    weights = check_weights(sample_weight, n, _OWNER)
    order, rows = task_order(codes, len(distinct))
    return Fields(
        X=designs.arrange(checked, rows),
        y=None if values is None else values[rows],
        tasks=distinct,
        offsets=offsets_of(codes, len(distinct)),
        sample_weight=None if weights is None else weights[rows],
        form=Form.LONG,
        order=order,
        feature_names=checked.feature_names,
    )


def grouped_labels(
    X: Any,  # noqa: ANN401 - what a user gives
    task: Any,  # noqa: ANN401
    owner: str = _OWNER,
) -> tuple[object, tuple[Hashable, ...], tuple[NDArray[Any], ...]] | None:
    """Return X, names and labels of several groupings; None for one label per row."""
    # As many labels as rows are no names of columns.
    if isinstance(task, list | tuple) and tables.is_table(X) and len(task) != len(X):
        known = {*tables.column_names(X)}
        if not all(isinstance(name, str) and name in known for name in task):
            return None
        chosen = tables.select(X, task)
        X, task = tables.drop_columns(X, task), chosen
    elif not is_grouped(task):
        return None
    tables.warn_of_other_order(X, task=task)
    names: tuple[Hashable, ...]
    if tables.is_table(task):
        names = tables.column_names(task)
        labels = tuple(tables.get_column(task, name) for name in names)
    else:
        names, labels = tuple(range(task.shape[1])), tuple(task.T)
    if len(names) < 2:
        got = got_shape((len(labels[0]) if labels else 0, len(names)))
        raise DataError(sentence("task", owner, LazyMessage("allowed.several_groupings"), got))
    return X, names, labels


def targets_fields(X: object, Y: object, sample_weight: object) -> Fields:
    """Check one design with one column of outcomes per task; nothing is reordered."""
    if isinstance(Y, str):
        Y = [Y]
    listed = list(Y) if isinstance(Y, list | tuple) else []
    names = [name for name in listed if isinstance(name, str)]
    if tables.is_table(X) and names and len(names) == len(listed):
        X, Y = tables.drop_columns(X, names), tables.select(X, names)
    tables.warn_of_other_order(X, y=Y, sample_weight=sample_weight)
    checked = designs.inspect(X, _OWNER)
    n = checked.X.shape[0]
    values, targets = check_targets(Y, n, _OWNER)
    return Fields(
        X=designs.arrange(checked),
        y=values,
        tasks=targets,
        offsets=None,
        sample_weight=check_weights(sample_weight, n, _OWNER),
        form=Form.TARGETS,
        order=np.arange(n, dtype=np.intp),
        feature_names=checked.feature_names,
    )


def task_order(codes: NDArray[np.intp], n_tasks: int) -> tuple[NDArray[np.intp], Rows]:
    """Return the stable order by task, and the rows to take: all as they are if sorted."""
    if bool((codes[1:] >= codes[:-1]).all()):
        return np.arange(len(codes), dtype=np.intp), slice(None)
    # Small integers are sorted by radix, several times faster.
    small = codes.astype(np.uint16) if n_tasks <= 2**16 else codes
    order = np.argsort(small, kind="stable").astype(np.intp, copy=False)
    return order, order


def offsets_of(codes: NDArray[np.intp], n_tasks: int) -> NDArray[np.intp]:
    """Return where the rows of every task begin and end once sorted, shape (T + 1,)."""
    counts = np.bincount(codes, minlength=n_tasks)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.intp)


def _tasks(task: object, n: int) -> tuple[tuple[Hashable, ...], NDArray[np.intp]]:
    if task is None:
        return (0,), np.zeros(n, dtype=np.intp)
    distinct, codes = factorize(task, "task", _OWNER)
    check_length(len(codes), n, "task", _OWNER)
    warn_near_misses(distinct)
    return distinct, codes


def _take_named(X: object, y: object, task: object) -> tuple[object, object, object]:
    """Replace the names of columns (or the position of the task column) by the columns."""
    if not tables.is_table(X):
        return _take_position(X, y, task)
    names = [name for name in (task, y) if isinstance(name, str | int)]
    if len(set(names)) < len(names):
        raise DataError(sentence("y", _OWNER, LazyMessage("allowed.other_column"), repr(y)))
    columns = {name: tables.get_column(X, name) for name in names}
    y = columns[y] if isinstance(y, str | int) else y
    task = columns[task] if isinstance(task, str | int) else task
    return (tables.drop_columns(X, names) if names else X), y, task


def _take_position(X: object, y: object, task: object) -> tuple[object, object, object]:
    for name, given in (("y", y), ("task", task)):
        if isinstance(given, str):
            got = LazyMessage(
                "got.name_without_names", {"given": repr(given), "kind": type(X).__name__}
            )
            if name == "task":
                got += LazyMessage("hint.task_position")
            raise DataError(sentence(name, _OWNER, LazyMessage("allowed.array_unless_frame"), got))
    if not isinstance(task, int | np.integer) or isinstance(task, bool):
        return X, y, task
    array = np.empty((0, 0)) if sp.issparse(X) else np.asarray(X)
    d = array.shape[1] if array.ndim == 2 else 0
    if not -d <= task < d:
        got = LazyMessage("got.position_of", {"task": task, "kind": type(X).__name__, "d": d})
        raise DataError(sentence("task", _OWNER, LazyMessage("allowed.array_position"), got))
    position = int(task) % d
    return designs.without_column(array, position), y, array[:, position]
