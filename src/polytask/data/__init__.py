"""Data of many tasks: three forms with one meaning, and splits that keep tasks."""

from __future__ import annotations

from polytask.data.encoder import TableEncoder
from polytask.data.forms import Form
from polytask.data.labels import LabelIndex
from polytask.data.splits import (
    CollectedFolds,
    GroupedRows,
    LeaveTasksOut,
    Splitter,
    TimeOrdered,
    WithinTasks,
    as_splits,
    train_test_split_tasks,
)
from polytask.data.target_kinds import read_numbers
from polytask.data.taskdata import TaskData

__all__ = [
    "TableEncoder",
    "TaskData",
    "Form",
    "LabelIndex",
    "Splitter",
    "WithinTasks",
    "GroupedRows",
    "CollectedFolds",
    "TimeOrdered",
    "LeaveTasksOut",
    "as_splits",
    "train_test_split_tasks",
    "read_numbers",
]
