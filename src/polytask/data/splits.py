"""Splits into training and test rows: from what the user gives to rows of TaskData."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import is_whole, sentence
from polytask.data import designs, tables
from polytask.data.forms import Form
from polytask.data.splitters import (
    CollectedFolds,
    GroupedRows,
    LeaveTasksOut,
    Split,
    Splitter,
    TimeOrdered,
    WithinTasks,
)
from polytask.data.taskdata import TaskData
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Text

__all__ = [
    "CollectedFolds",
    "GroupedRows",
    "LeaveTasksOut",
    "Split",
    "Splitter",
    "TimeOrdered",
    "WithinTasks",
    "as_splits",
    "train_test_split_tasks",
]


SEARCH = LazyMessage("what.search")


def as_splits(
    cv: object,
    data: TaskData,
    parameter: str = "cv",
    owner: Text = SEARCH,
    *,
    unlabelled: bool = False,
) -> list[Split]:
    """Turn what the user gave as `cv` into pairs of training and test rows of `data`.

    Parameters
    ----------
    cv : int, Splitter, iterable of pairs, or splitter of scikit-learn
        An int means :class:`WithinTasks` with that many folds. Pairs, and the splitters
        of scikit-learn, count rows as the input had them. For statistics an int means the folds
        that they were collected with.
    data : TaskData
        The data.
    parameter, owner : str, default="cv" and "the search"
        What was given, and to whom, for messages.
    unlabelled : bool, default=False
        Whether a side of a split may be rows without any label.

    Returns
    -------
    list of (train, test)
        Sorted row numbers of `data`.

    Raises
    ------
    ParameterError
        If `cv` is none of these.
    DataError
        If a side of a split is empty, or has no label and needs one, or a row is on both.
    """
    splits = _splits(cv, data, (parameter, owner))
    if data.form is Form.TARGETS and not unlabelled:
        known = np.asarray(data.labelled().any(axis=1))
        lacking = [k for k, pair in enumerate(splits) if not all(known[s].any() for s in pair)]
        if lacking:
            fields = {"fold": str(lacking[0] + 1), "n": len(splits)}
            raise DataError(LazyMessage("data.refusal.unlabelled_fold", fields))
    return splits


def _splits(cv: Any, data: TaskData, told: tuple[Text, Text]) -> list[Split]:  # noqa: ANN401
    if data.fold is not None and not isinstance(cv, CollectedFolds):
        return _tagged(data.fold, cv, told)
    if is_whole(cv):
        cv = WithinTasks(int(cv))
    if isinstance(cv, Splitter):
        return [_both_sides(pair, told) for pair in cv.split(data)]
    if hasattr(cv, "split") and not isinstance(cv, str | bytes):
        return [_both_sides(pair, told) for pair in _foreign(cv, data)]
    if not isinstance(cv, Iterable) or isinstance(cv, str | bytes):
        allowed = LazyMessage("allowed.splits")
        raise ParameterError(sentence(*told, allowed, repr(cv)))
    sides = ((_from_input(a, data, told), _from_input(b, data, told)) for a, b in cv)
    return [_both_sides(pair, told) for pair in sides]


def train_test_split_tasks(
    X: object,
    y: object,
    task: object,
    *,
    test_size: float = 0.25,
    stratify: bool | None = None,
    random_state: int | None = 0,
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Hold out rows of every task of data in the long form.

    Parameters
    ----------
    X : array-like, sparse matrix or data frame of shape (n, d)
        The design.
    y : array-like of shape (n,)
        The outcomes.
    task : array-like of shape (n,)
        The task labels.
    test_size : float, default=0.25
        The fraction to hold out.
    stratify : bool, default=None
        As in :class:`WithinTasks`.
    random_state : int, default=0
        The seed.

    Returns
    -------
    X_train, X_test, y_train, y_test, task_train, task_test
        Rows in the order of the input; data frames and columns stay what they are,
        lists become arrays.
    """
    data = TaskData.from_long(X, y, task)
    splitter = WithinTasks(1, test_size, stratify, random_state)
    sides = [np.sort(data.order[side]) for side in next(splitter.split(data))]
    parts = [_take(values, side) for values in (X, y, task) for side in sides]
    return parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]


def _tagged(fold: NDArray[np.intp], cv: object, told: tuple[Text, Text]) -> list[Split]:
    """Return the folds that statistics were collected with."""
    if not is_whole(cv):
        allowed = LazyMessage("allowed.number_of_folds")
        raise ParameterError(sentence(*told, allowed, repr(cv)))
    tags = np.unique(fold)
    if len(tags) < 2:
        raise DataError(LazyMessage("data.refusal.one_fold", {"owner": told[1]}))
    return [(np.flatnonzero(fold != tag), np.flatnonzero(fold == tag)) for tag in tags]


def _foreign(cv: Any, data: TaskData) -> Iterator[Split]:  # noqa: ANN401 - of scikit-learn
    """Let a splitter of scikit-learn divide the rows in the order of the input."""
    back = np.argsort(data.order, kind="stable")
    y = None if data.y is None else data.y[back]
    if y is not None and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    for train, test in cv.split(np.zeros((len(back), 1)), y, None):
        yield np.sort(back[train]), np.sort(back[test])


def _from_input(rows: object, data: TaskData, told: tuple[Text, Text]) -> NDArray[np.intp]:
    """Turn row numbers of the input into those of `data`, repeated as often as given."""
    given = np.asarray(rows)
    if given.dtype == np.bool_:
        given = np.flatnonzero(given)
    last = int(data.order.max(initial=-1)) if data.n_input is None else data.n_input - 1
    if given.ndim != 1 or given.dtype.kind not in "iu" or not _within(given, last):
        allowed = LazyMessage("allowed.pairs_of_rows", {"last": last})
        raise DataError(sentence(*told, allowed, repr(given)))
    times = np.bincount(given.astype(np.intp), minlength=last + 1)[data.order]
    repeated: NDArray[np.intp] = np.repeat(np.arange(data.n_rows, dtype=np.intp), times)
    return repeated


def _within(rows: NDArray[Any], last: int) -> bool:
    return not rows.size or (int(rows.min()) >= 0 and int(rows.max()) <= last)


def _both_sides(pair: Split, told: tuple[Text, Text]) -> Split:
    """Refuse a split with an empty side, or with a row on both."""
    for side, name in zip(pair, ("training", "test"), strict=True):
        if not len(side):
            raise DataError(
                sentence(
                    *told,
                    LazyMessage("allowed.splits_with", {"name": name}),
                    LazyMessage("got.none"),
                )
            )
    sides = np.zeros((2, max(int(side.max()) for side in pair) + 1), dtype=np.bool_)
    for mask, side in zip(sides, pair, strict=True):
        mask[side] = True
    shared = int(np.count_nonzero(sides.all(axis=0)))
    if shared:
        allowed = LazyMessage("allowed.apart")
        raise DataError(
            sentence(*told, allowed, LazyMessage("got.on_both_sides", {"shared": shared}))
        )
    return pair


def _take(values: object, rows: NDArray[np.intp]) -> Any:  # noqa: ANN401 - what came in
    if tables.is_column(values):
        return tables.take_column(values, rows)
    if tables.is_table(values):
        return tables.take_rows(values, rows)
    if sp.issparse(values):
        matrix: Any = values
        return designs.take_rows(sp.csr_array(matrix), rows)
    return np.asarray(values)[rows]
