"""The long form and the targets form: from what the user gives to the fields of TaskData."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask.data import designs, tables
from polytask.data.designs import Design
from polytask.data.labels import factorize, warn_near_misses
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
