"""Which columns of a table that is read in parts are what."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask._checks import nearest
from polytask._estimator.training import TaskColumns, training_data
from polytask.data import TaskData, tables
from polytask.data.labels import refuse_groupings
from polytask.data.missing import missing_mask
from polytask.exceptions import DataError, DataWarning
from polytask.messages import LazyMessage


def no_rows(owner: str) -> DataError:
    """Return the error for a source that yields nothing."""
    return DataError(LazyMessage("statistics.refusal.no_rows", {"owner": owner}))


def other_rows(n: int | None, n_again: int) -> DataError:
    """Return the error for a source that has another number of rows when it is read again."""
    fields = {"n": str(n), "n2": str(n_again)}
    return DataError(LazyMessage("statistics.refusal.other_rows", fields))


@dataclass(frozen=True)
class Columns:
    """Which columns of a part are what."""

    # `several`: whether the targets are tasks of one design.

    owner: str
    targets: tuple[str, ...]
    several: bool
    task_column: str | None
    sample_weight: str | None
    fold: str | None
    drop: tuple[str, ...]

    @classmethod
    def of(
        cls,
        owner: str,
        target: str | Sequence[str],
        task_column: TaskColumns,
        sample_weight: str | None,
        drop: Sequence[str],
        fold: str | None = None,
    ) -> Columns:
        """Take what a user names."""
        one = isinstance(target, str)
        targets = (target,) if isinstance(target, str) else tuple(target)
        refuse_groupings(None, task_column, owner)
        name = None if task_column is None else str(task_column)
        return cls(owner, targets, not one, name, sample_weight, fold, tuple(drop))

    def features(self, table: Any) -> Any:  # noqa: ANN401 - any table
        """Return the columns of features, with that of the tasks."""
        known = [str(name) for name in tables.column_names(table)]
        given = [self.task_column, self.sample_weight, self.fold]
        others = [name for name in given if name is not None]
        for name in (*self.targets, *others, *self.drop):
            if name not in known:
                fields = {"owner": self.owner, "name": repr(name), "hint": nearest(name, known)}
                raise DataError(LazyMessage("statistics.refusal.no_column", fields))
        others = [name for name in others if name != self.task_column]
        return tables.drop_columns(table, [*self.targets, *dict.fromkeys(others), *self.drop])

    def features_alone(self, table: Any) -> Any:  # noqa: ANN401 - any table
        """Return the columns of features."""
        without = [] if self.task_column is None else [self.task_column]
        return tables.drop_columns(self.features(table), without)

    def rows(self, table: Any) -> TaskData | None:  # noqa: ANN401 - any table
        """Return the rows of a part that have a weight, None if no label has one."""
        weight = None
        if self.sample_weight is not None:
            weight = np.asarray(tables.get_column(table, self.sample_weight))
            if not np.any(weight > 0):
                return None
        y: Any = list(self.targets)
        if self.several:
            # A target may be without a label in a part.
            cells = {name: np.asarray(tables.get_column(table, name)) for name in self.targets}
            y = [name for name, column in cells.items() if not missing_mask(column).all()]
        if not y:
            return None
        labels = tables.select(table, y) if self.several else tables.get_column(table, y[0])
        with warnings.catch_warnings():
            # What deserves a look in one part need not do so in all.
            warnings.simplefilter("ignore", DataWarning)
            X = self.features(table)
            return training_data(X, labels, None, weight, self.task_column, self.owner)
