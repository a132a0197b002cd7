"""Where a row stands in what the user gave: tasks are read in an order of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polytask.data import Form, TaskData
from polytask.data.cell_errors import CellError
from polytask.exceptions import DataError


def row_place(data: TaskData, row: int) -> str:
    """Name a row as in what was given, counted from 0."""
    if data.form is not Form.SEPARATE:
        return f"row {int(data.order[row])}"
    task = int(data.row_tasks()[row])
    return f"row {row - data.task_slice(task).start} of task {data.tasks[task]!r}"


@contextmanager
def rows_as_given(data: TaskData) -> Iterator[None]:
    """Name a cell that cannot be used by its row in what was given."""
    try:
        yield
    except CellError as error:
        raise DataError(error.told(lambda row: row_place(data, row))) from None
