"""What every loader returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.taskdata import TaskData

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A data set with everything needed to use it and to cite it.

    Parameters
    ----------
    name : str
        Short name.
    X : ndarray or pandas.DataFrame of shape (n, d)
        Features; a data frame if the loader was called with ``as_frame=True``.
    y : ndarray of shape (n,) or (n, T), or pandas.DataFrame of shape (n, T)
        Target of each row (long form), or one column per task with NaN where a label was not
        observed (targets form).
    task : ndarray of shape (n,) or None
        Task label of each row; None in the targets form.
    feature_names : tuple of d str
        Names of the columns of `X`.
    target_names : tuple of str
        One name in the long form, T names in the targets form.
    task_names : tuple of T labels
        The labels that occur in `task`, or `target_names` in the targets form.
    task_column : str or None
        What a task is ("school", "hospital"): the name of the task column of :meth:`frame`;
        None in the targets form.
    description : str
        Where the data come from, what a row, a feature and a task is, what was done to them.
    citation : str
        What to cite.
    licence : str
        The licence as stated at the source.
    extras : mapping of str to object, default={}
        What else the source gives; the loader says what.
    """

    name: str
    X: NDArray[np.float64] | pd.DataFrame
    y: NDArray[Any] | pd.DataFrame
    task: NDArray[Any] | None
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    task_names: tuple[Hashable, ...]
    task_column: str | None
    description: str
    citation: str
    licence: str
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        """Return one line with the name and the sizes."""
        rows, features = self.X.shape
        tasks = len(self.task_names)
        return f"<Dataset {self.name}: {rows} rows, {features} features, {tasks} tasks>"

    def frame(self) -> pd.DataFrame:
        """Return one table: the features, the task column and the target.

        Returns
        -------
        pandas.DataFrame of shape (n, d + 2) or (n, d + T)
            Features first, then the column `task_column` and the target in the long form, or
            the T targets in the targets form. A copy: changing it leaves the data set as it is.
        """
        frame = _frame(self.X, self.feature_names).copy()
        if self.task_column is not None:
            frame[self.task_column] = self.task
        targets = np.asarray(self.y).reshape(len(frame), -1)
        for column, target in enumerate(self.target_names):
            frame[target] = targets[:, column]
        return frame

    def to_task_data(self) -> TaskData:
        """Return the data as a :class:`polytask.TaskData`.

        Returns
        -------
        TaskData
            In the long form if there is a task per row, else in the targets form; tasks and
            features carry the names given here.
        """
        if self.task is None:
            data = TaskData.from_targets(self.X, _frame(self.y, self.target_names))
        else:
            data = TaskData.from_long(self.X, self.y, self.task)
        if isinstance(self.X, np.ndarray):
            return data.with_X(data.X, self.feature_names)
        return data


def with_frames(dataset: Dataset) -> Dataset:
    """Return `dataset` with X, and y in the targets form, as data frames."""
    X = _frame(dataset.X, dataset.feature_names)
    y = dataset.y if dataset.task is not None else _frame(dataset.y, dataset.target_names)
    return dataclasses.replace(dataset, X=X, y=y)


def _frame(values: NDArray[Any] | pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd  # only those who ask for a table pay for importing it

    return pd.DataFrame(values, columns=list(names))
