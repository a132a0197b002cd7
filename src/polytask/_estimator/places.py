"""Where a row stands in what the user gave: tasks are read in an order of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polytask.data import Form, TaskData
from polytask.data.missing import CellError
from polytask.exceptions import DataError
from polytask.messages import LazyMessage


def row_message(data: TaskData, row: int) -> LazyMessage:
    """Name a row as in what was given, counted from 0."""
    if data.form is not Form.SEPARATE:
        return LazyMessage("place.row", {"row": str(int(data.order[row]))})
    task = int(data.row_tasks()[row])
    fields = {"row": str(row - data.task_slice(task).start), "task": repr(data.tasks[task])}
    return LazyMessage("place.task_row", fields)


def counted(place: LazyMessage) -> LazyMessage:
    """Add to a place that rows are counted from 0."""
    return LazyMessage("place.counted", {"place": place})


@contextmanager
def rows_as_given(data: TaskData) -> Iterator[None]:
    """Name a cell that cannot be used by its row in what was given."""
    try:
        yield
    except CellError as error:
        raise DataError(error.told(lambda row: row_message(data, row))) from None
