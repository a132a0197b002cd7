"""From the predictions of each task to what `predict` returns."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.query import Query
from polytask.data import tables

Labels = NDArray[Any]
Tasks = NDArray[np.intp]
# (rows of X, task) -> one prediction per row, or one row of class values per row
TaskFunction = Callable[[Any, int], NDArray[Any]]
# (rows of X, the task of each) -> the same; rows of a task stand together
RowsFunction = Callable[[Any, Tasks], NDArray[Any]]


def predictions(query: Query, n_tasks: int, function: RowsFunction) -> Any:  # noqa: ANN401 - array or mapping
    """Predict every row for its task, or for every task. Shapes: result (n,) or (n, n_tasks)."""
    if query.codes is None:
        return every_task(query, n_tasks, function)
    return split(query, by_row(query, function))


def prediction_tables(query: Query, tasks: tuple[Hashable, ...], function: RowsFunction) -> Any:  # noqa: ANN401 - table or mapping
    """Return :func:`predictions` as tables of the library that the rows came in."""
    values = predictions(query, len(tasks), function)
    if query.codes is None:
        named = {str(task): values[:, t] for t, task in enumerate(tasks)}
        return tables.table_like(query.template, named)
    if query.parts is None:
        return tables.table_like(query.template, {"prediction": values})
    return {
        part.label: tables.table_like(part.template, {"prediction": values[part.label]})
        for part in query.parts
    }


def every_task(query: Query, n_tasks: int, function: RowsFunction) -> Labels:
    """Stack the predictions of all tasks as columns."""
    columns = [function(query.data.X, np.full(query.n_rows, t)) for t in range(n_tasks)]
    dtypes = {column.dtype.kind for column in columns}
    mixed = len(dtypes & set("US")) and len(dtypes - set("US"))
    if mixed or "O" in dtypes:
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns)


def by_row(query: Query, function: RowsFunction) -> Labels:
    """Put the predictions of the rows into the order of the input."""
    values = function(query.data.X, query.row_tasks())
    out = np.empty_like(values)
    out[query.places()] = values
    return out


def one_by_one(function: TaskFunction) -> RowsFunction:
    """Return what predicts rows of several tasks, one task after the other."""

    def of_rows(X: Any, tasks: Tasks) -> Labels:  # noqa: ANN401 - dense or sparse
        parts = [function(X[run], int(tasks[run.start])) for run in runs(tasks)]
        kinds = {values.dtype.kind for values in parts}
        if kinds & set("USO") and len(kinds) > 1:
            parts = [values.astype(object) for values in parts]
        return np.concatenate(parts)

    return of_rows


def runs(tasks: Tasks) -> list[slice]:
    """Return the stretches of rows that have the same task."""
    starts = np.append(0, np.flatnonzero(np.diff(tasks)) + 1).tolist()
    return [slice(*ends) for ends in zip(starts, [*starts[1:], len(tasks)], strict=True)]


def class_values(
    query: Query,
    union: Labels,
    task_classes: Callable[[int], Labels | None],
    function: TaskFunction,
    absent: float,
) -> NDArray[np.float64]:
    """Spread class values over the union of the classes, shape (n, n_classes)."""
    # Shapes: union (n_classes,), result (n, n_classes).
    out = np.full((query.n_rows, len(union)), absent)
    position = {label: k for k, label in enumerate(union.tolist())}
    for task, X, places in query.groups():
        classes = task_classes(task)
        if classes is None:
            out[places] = np.nan
            continue
        at = [position[label] for label in classes.tolist()]
        out[np.ix_(places, np.array(at, dtype=np.intp))] = function(X, task)
    return out


def joint_class_values(
    query: Query, union: Labels, classes: Labels, function: RowsFunction, absent: float
) -> NDArray[np.float64]:
    """Spread class values over the union of the classes where all tasks have the same ones."""
    # Shapes: result (n, n_classes).
    out = np.full((query.n_rows, len(union)), absent)
    position = {label: k for k, label in enumerate(union.tolist())}
    at = np.array([position[label] for label in classes.tolist()], dtype=np.intp)
    out[:, at] = by_row(query, function)
    return out


def split(query: Query, values: NDArray[Any]) -> Any:  # noqa: ANN401 - array or mapping
    """Give a mapping its parts back."""
    if query.parts is None:
        return values
    return {part.label: values[part.rows] for part in query.parts}
