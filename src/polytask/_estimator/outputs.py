"""From the predictions of each task to what `predict` returns."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.query import Query
from polytask.data import tables

Labels = NDArray[Any]
# (rows of X, task) -> one prediction per row, or one row of class values per row
TaskFunction = Callable[[Any, int], NDArray[Any]]


def predictions(query: Query, tasks: tuple[Hashable, ...], function: TaskFunction) -> Any:  # noqa: ANN401 - array, table or mapping
    """Predict every row for its task, or for every task.

    Parameters
    ----------
    query : Query
        The rows.
    tasks : tuple
        The model's tasks.
    function : callable
        ``(X, task) -> predictions``, natural outputs.

    Returns
    -------
    ndarray of shape (n,) or (n, n_tasks), table, or mapping
        A table if a table was given; a mapping if a mapping was.
    """
    if query.codes is None:
        values = every_task(query, tasks, function)
        if query.template is None:
            return values
        names = {str(task): values[:, t] for t, task in enumerate(tasks)}
        return tables.table_like(query.template, names)
    flat = by_row(query, function)
    if query.parts is not None:
        return {
            part.label: flat[part.rows]
            if part.template is None
            else _column(part.template, flat[part.rows])
            for part in query.parts
        }
    return flat if query.template is None else _column(query.template, flat)


def every_task(query: Query, tasks: tuple[Hashable, ...], function: TaskFunction) -> Labels:
    """Stack the predictions of all tasks as columns."""
    columns = [function(query.data.X, t) for t in range(len(tasks))]
    dtypes = {column.dtype.kind for column in columns}
    mixed = len(dtypes & set("US")) and len(dtypes - set("US"))
    if mixed or "O" in dtypes:
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns)


def by_row(query: Query, function: TaskFunction) -> Labels:
    """Put the predictions of the tasks into the order of the input."""
    parts = [(function(X, task), places) for task, X, places in query.groups()]
    kinds = {values.dtype.kind for values, _ in parts}
    mixed = bool(kinds & set("USO")) and len(kinds) > 1
    dtype = object if mixed else np.result_type(*[values.dtype for values, _ in parts])
    out = np.empty((query.n_rows, *parts[0][0].shape[1:]), dtype=dtype)
    for values, places in parts:
        out[places] = values
    return out


def class_values(
    query: Query,
    union: Labels,
    task_classes: Callable[[int], Labels | None],
    function: TaskFunction,
    absent: float,
) -> NDArray[np.float64]:
    """Spread class values over the union of the classes, shape (n, n_classes).

    Parameters
    ----------
    query : Query
        The rows; each has a task.
    union : ndarray of shape (n_classes,)
        All classes.
    task_classes : callable
        The classes of a task, None for a task of numbers, whose rows become NaN.
    function : callable
        ``(X, task) -> (n, classes of the task)``.
    absent : float
        The value of classes that a task lacks.

    Returns
    -------
    ndarray of shape (n, n_classes)
    """
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


def split(query: Query, values: NDArray[Any]) -> Any:  # noqa: ANN401 - array or mapping
    """Give a mapping its parts back."""
    if query.parts is None:
        return values
    return {part.label: values[part.rows] for part in query.parts}


def _column(template: Any, values: Labels) -> Any:  # noqa: ANN401 - a column of any library
    table = tables.table_like(template, {"prediction": values})
    return tables.open_frame(table)["prediction"].to_native()
