"""Splitters: what divides the rows of many tasks into training and test rows."""

from __future__ import annotations

import abc
import dataclasses
import heapq
import itertools
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import is_whole, number, positive_integer, sentence
from polytask._registry import saveable
from polytask.data import tables
from polytask.data.dates import read_dates
from polytask.data.dealing import deck_of
from polytask.data.forms import Form
from polytask.data.labels import LabelIndex, factorize, refuse_groupings
from polytask.data.missing import missing_mask, rows_text
from polytask.data.taskdata import TaskData
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.messages import LazyMessage

Split = tuple[NDArray[np.intp], NDArray[np.intp]]

# More blocks of time make an interval hardly shorter, and shorter ones are less independent.
_MOST_BLOCKS = 50


class Splitter(abc.ABC):
    """What divides the rows of :class:`~polytask.TaskData` into training and test rows."""

    @abc.abstractmethod
    def split(self, data: TaskData) -> Iterator[Split]:
        """Yield pairs of training and test rows, as row numbers of `data`, sorted."""

    def reduced(self, data: TaskData) -> Splitter | None:
        """Return the splitter with as few splits as `data` allow, for a part of the rows.

        Parameters
        ----------
        data : TaskData
            Rows of one task, say, where the splitter was made for all.

        Returns
        -------
        Splitter or None
            Itself if it can divide the rows as it is; None if they cannot be divided so.
        """
        return self

    def units(self, data: TaskData) -> NDArray[np.intp] | None:
        """Return the number of what is dealt for every row of `data`: a row, a group, a task.

        Errors within a unit go together. None says that nothing smaller than a whole test set
        can be taken for independent.
        """
        return None


class _RowSplitter(Splitter):
    """A splitter of :class:`TaskData` that scikit-learn's tools can call with X and y too."""

    n_splits: int

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:  # noqa: ANN401
        """Yield pairs of training and test rows.

        Parameters
        ----------
        X : TaskData, or array or table of shape (n, d)
            The rows; all but TaskData as the tools of scikit-learn give them.
        y : array of shape (n,) or (n, T), default=None
            The targets, if X is no TaskData.
        groups : array of shape (n,), default=None
            The task of every row, if X is no TaskData and the splitter asks for tasks.

        Yields
        ------
        train, test : ndarray
            Row numbers, sorted: of the TaskData, or of X as it was given.
        """
        if isinstance(X, TaskData):
            yield from self._pairs(X)
            return
        data = self._rows_as_data(X, y, groups)
        for train, test in self._pairs(data):
            yield np.sort(data.order[train]), np.sort(data.order[test])

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ANN401
        """Return the number of splits, as scikit-learn asks for it; arguments are ignored."""
        return self.n_splits

    @abc.abstractmethod
    def _pairs(self, data: TaskData) -> Iterator[Split]:
        """Yield pairs of training and test rows of `data`."""

    def _rows_as_data(self, X: Any, y: Any, groups: Any) -> TaskData:  # noqa: ANN401
        """Return rows and tasks alone: no splitter looks at features."""
        return TaskData.from_long(np.zeros((_count(X), 1)))


@saveable("split.within_tasks")
@dataclasses.dataclass(frozen=True)
class WithinTasks(_RowSplitter):
    """Hold out rows of every task: the rows of each are spread evenly over the folds.

    Every task keeps at least one training row in every split, and so does every class of
    it if stratified (in the targets form: every target); a task or class with a single
    row is never held out.

    Parameters
    ----------
    n_splits : int, default=5
        The number of folds; with `test_size`, of independent splits.
    test_size : float, default=None
        The fraction to hold out in each of `n_splits` random splits; None means folds.
    stratify : bool, default=None
        Whether to spread classes evenly too; None means if y holds classes (text,
        booleans, or whole numbers with two distinct values).
    random_state : int, default=0
        The seed; None draws a new one at every call of ``split``.
    task_column : str or int, default=None
        The column of X with the task of every row, where scikit-learn's tools split: its name
        in a table, its position in an array. Without it, ``groups=`` gives the tasks.

    Raises
    ------
    ParameterError
        If a parameter is outside its set.
    """

    n_splits: int = 5
    test_size: float | None = None
    stratify: bool | None = None
    random_state: int | None = 0
    task_column: str | int | None = None

    def __post_init__(self) -> None:
        least = 2 if self.test_size is None else 1
        _check_splits(self.n_splits, least, "WithinTasks")
        _check_fraction(self.test_size, "WithinTasks")
        _check_seed(self.random_state, "WithinTasks")

    def _pairs(self, data: TaskData) -> Iterator[Split]:
        deck = deck_of(data, self.stratify)
        eligible = int(deck.eligible.sum())
        needed = self.n_splits if self.test_size is None else 1
        if eligible < needed:
            key = "only_rows" if eligible < data.n_rows else "too_few_rows"
            fields = {"needed": needed, "got": eligible, "n": data.n_rows}
            raise DataError(LazyMessage(f"data.refusal.{key}", fields))
        rng = np.random.default_rng(self.random_state)
        if self.test_size is None:
            folds = deck.folds(self.n_splits, rng)
            yield from (_pair(folds == fold) for fold in range(self.n_splits))
        else:
            for _ in range(self.n_splits):
                yield _pair(deck.held_out(self.test_size, rng))

    def _rows_as_data(self, X: Any, y: Any, groups: Any) -> TaskData:  # noqa: ANN401
        return _rows_with_tasks(X, y, groups, self.task_column, "WithinTasks")

    def reduced(self, data: TaskData) -> Splitter | None:
        """Return it with no more folds than rows that can be held out."""
        eligible = int(deck_of(data, self.stratify).eligible.sum())
        if self.test_size is not None:
            return self if eligible else None
        return _fewer(self, eligible)

    def units(self, data: TaskData) -> NDArray[np.intp] | None:
        """Return the rows themselves."""
        return np.arange(data.n_rows)


@saveable("split.grouped_rows")
@dataclasses.dataclass(frozen=True, eq=False)
class GroupedRows(_RowSplitter):
    """Hold out whole groups of rows (patients, days): no group is on both sides.

    A task all of whose rows are in one group has no training rows where it is held out.

    Parameters
    ----------
    groups : array-like of shape (n,)
        The group of every row, in the order of the input.
    n_splits : int, default=5
        The number of folds; they are made as equal in rows as groups allow.
    random_state : int, default=0
        The seed, which decides among groups of one size.

    Raises
    ------
    ParameterError
        If a parameter is outside its set.
    """

    groups: Any
    n_splits: int = 5
    random_state: int | None = 0

    def __post_init__(self) -> None:
        _check_splits(self.n_splits, 2, "GroupedRows")
        _check_seed(self.random_state, "GroupedRows")

    def _pairs(self, data: TaskData) -> Iterator[Split]:
        codes, sizes = self._rows_of_groups(data)
        if int((sizes > 0).sum()) < self.n_splits:
            got = LazyMessage("got.groups", {"n": int((sizes > 0).sum())})
            allowed = LazyMessage("allowed.groups", {"n_splits": self.n_splits})
            raise DataError(sentence(LazyMessage("what.rows"), str(data), allowed, got))
        folds = _pack(sizes, self.n_splits, np.random.default_rng(self.random_state))[codes]
        yield from (_pair(folds == fold) for fold in range(self.n_splits))

    def reduced(self, data: TaskData) -> Splitter | None:
        """Return it with no more folds than groups."""
        _, sizes = self._rows_of_groups(data)
        return _fewer(self, int((sizes > 0).sum()))

    def units(self, data: TaskData) -> NDArray[np.intp] | None:
        """Return the groups."""
        return self._rows_of_groups(data)[0]

    def _rows_of_groups(self, data: TaskData) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the group of every row of `data`, and how many rows each group has."""
        distinct, codes = factorize(self.groups, "groups", "GroupedRows")
        own = _of_rows(codes, data, "groups", "GroupedRows")
        return own, np.bincount(own, minlength=len(distinct))


@saveable("split.collected_folds")
@dataclasses.dataclass(frozen=True)
class CollectedFolds(_RowSplitter):
    """Hold out the folds that statistics were collected with.

    Parameters
    ----------
    n_splits : int, default=5
        The number of test sets; where there are more folds, a test set has several.
    random_state : int, default=0
        The seed, which decides which folds are held out together.
    n_folds : int, default=0
        The number of folds of all statistics, where parts of them may have fewer.
    """

    n_splits: int = 5
    random_state: int | None = 0
    n_folds: int = 0

    def _pairs(self, data: TaskData) -> Iterator[Split]:
        fold, held = self._folds(data)
        sets = _pack(held, self.n_splits, np.random.default_rng(self.random_state))[fold]
        yield from (_pair(sets == place) for place in range(self.n_splits))

    def reduced(self, data: TaskData) -> Splitter | None:
        """Return it with no more test sets than folds."""
        return _fewer(self, int(self._folds(data)[1].sum()))

    def units(self, data: TaskData) -> NDArray[np.intp] | None:
        """Return the folds of every task; those of all targets where rows have several."""
        fold, held = self._folds(data)
        return fold if data.form is Form.TARGETS else data.row_tasks() * len(held) + fold

    def _folds(self, data: TaskData) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the fold of every row of `data`, and 1 for every fold that it has."""
        fold = np.zeros(data.n_rows, dtype=np.intp) if data.fold is None else data.fold
        return fold, np.minimum(np.bincount(fold, minlength=self.n_folds), 1)


@saveable("split.time_ordered")
@dataclasses.dataclass(frozen=True, eq=False)
class TimeOrdered(_RowSplitter):
    """Train on the past, test on what comes next; rows of one time stay on one side.

    The last ``n_splits`` stretches of time are held out one after the other; training
    rows are all rows before. A task that starts later has no training rows at first.

    Parameters
    ----------
    time : array-like of shape (n,)
        The time of every row, numbers or dates, in the order of the input.
    n_splits : int, default=5
        The number of test sets.
    test_size : float, default=None
        The fraction of the rows in one test set; None means ``1 / (n_splits + 1)``. Where
        there are few distinct times, test sets are larger or smaller than that.
    min_train_times : int, default=1
        Distinct times before the first test set, at least.

    Raises
    ------
    ParameterError
        If a parameter is outside its set.
    """

    time: Any
    n_splits: int = 5
    test_size: float | None = None
    min_train_times: int = 1

    def __post_init__(self) -> None:
        _check_splits(self.n_splits, 1, "TimeOrdered")
        positive_integer(self.min_train_times, "min_train_times", "TimeOrdered")
        _check_fraction(self.test_size, "TimeOrdered")
        if self.test_size is not None and self.test_size * self.n_splits >= 1:
            allowed = LazyMessage("allowed.test_size", {"share": f"{1 / self.n_splits:.3g}"})
            raise ParameterError(
                sentence("test_size", "TimeOrdered", allowed, repr(self.test_size))
            )

    def _pairs(self, data: TaskData) -> Iterator[Split]:
        codes, n_times = self._positions(data)
        if n_times < self.n_splits + self.min_train_times:
            allowed = LazyMessage(
                "allowed.times",
                {
                    "least": self.n_splits + self.min_train_times,
                    "n_splits": self.n_splits,
                    "min_train_times": self.min_train_times,
                },
            )
            got = LazyMessage("got.times", {"n_times": n_times, "n": len(codes)})
            raise DataError(sentence("time", "TimeOrdered", allowed, got))
        for begin, end in itertools.pairwise(self._begins(codes, n_times)):
            yield np.flatnonzero(codes < begin), np.flatnonzero((codes >= begin) & (codes < end))

    def reduced(self, data: TaskData) -> Splitter | None:
        """Return it with as many test sets as there are distinct times for."""
        most = len(self.distinct_times(data)) - self.min_train_times
        return dataclasses.replace(self, n_splits=min(self.n_splits, most)) if most > 0 else None

    def units(self, data: TaskData) -> NDArray[np.intp] | None:
        """Return blocks of consecutive times, at most 50.

        Times that follow each other have errors in common: as for a block bootstrap, a block has
        as many of them as the cube root of their number, or more.
        """
        codes, n_times = self._positions(data)
        each = max(math.ceil(n_times ** (1 / 3) - 1e-9), math.ceil(n_times / _MOST_BLOCKS))
        return np.asarray(codes // each, dtype=np.intp)

    def distinct_times(self, data: TaskData) -> NDArray[Any]:
        """Return the distinct times of the rows of `data`, the earliest first."""
        return np.unique(_of_rows(_times(self.time), data, "time", "TimeOrdered"))

    def _positions(self, data: TaskData) -> tuple[NDArray[np.intp], int]:
        """Return the place of every row of `data` among the distinct times, and their number."""
        time = _of_rows(_times(self.time), data, "time", "TimeOrdered")
        distinct, codes = np.unique(time, return_inverse=True)
        return codes, len(distinct)

    def _begins(self, codes: NDArray[np.intp], n_times: int) -> NDArray[np.intp]:
        """Return where each test set begins and the last ends, a time apart at least."""
        n, each = len(codes), np.arange(self.n_splits)
        share = 1 / (self.n_splits + 1) if self.test_size is None else self.test_size
        cuts = n - max(1, int(n * share)) * (self.n_splits - each)
        wanted = np.sort(codes)[np.maximum(cuts, 0)]
        begins = np.maximum.accumulate(np.maximum(wanted - each, self.min_train_times)) + each
        return np.append(np.minimum(begins, n_times - self.n_splits + each), n_times)


@saveable("split.leave_tasks_out")
@dataclasses.dataclass(frozen=True)
class LeaveTasksOut(_RowSplitter):
    """Hold out whole tasks, to see how a model does on tasks that it has never seen.

    Parameters
    ----------
    n_splits : int, default=5
        The number of folds that the tasks are divided into.
    tasks : sequence of labels, default=None
        The tasks of the one test set; None means folds of all tasks.
    random_state : int, default=0
        The seed.
    task_column : str or int, default=None
        As in :class:`WithinTasks`.

    Raises
    ------
    ParameterError
        If a parameter is outside its set.
    """

    n_splits: int = 5
    tasks: Sequence[Hashable] | None = None
    random_state: int | None = 0
    task_column: str | int | None = None

    def __post_init__(self) -> None:
        _check_splits(self.n_splits, 2, "LeaveTasksOut")
        _check_seed(self.random_state, "LeaveTasksOut")

    def _pairs(self, data: TaskData) -> Iterator[Split]:
        if data.form is Form.TARGETS:
            raise IncompatibleError(LazyMessage("data.refusal.leave_tasks"))
        rows = data.row_tasks()
        if self.tasks is not None:
            left_out = np.zeros(data.n_tasks, dtype=np.bool_)
            left_out[self._named(data)] = True
            yield _pair(left_out[rows])
            return
        if data.n_tasks < self.n_splits:
            allowed = LazyMessage("allowed.tasks_per_fold", {"n_splits": self.n_splits})
            raise DataError(
                sentence(LazyMessage("what.n_tasks"), str(data), allowed, data.n_tasks)
            )
        rng = np.random.default_rng(self.random_state)
        folds = rng.permutation(data.n_tasks) % self.n_splits
        yield from (_pair((folds == fold)[rows]) for fold in range(self.n_splits))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ANN401
        """Return the number of splits, as scikit-learn asks for it; arguments are ignored."""
        return self.n_splits if self.tasks is None else 1

    def _rows_as_data(self, X: Any, y: Any, groups: Any) -> TaskData:  # noqa: ANN401
        return _rows_with_tasks(X, y, groups, self.task_column, "LeaveTasksOut")

    def reduced(self, data: TaskData) -> Splitter | None:
        """Return it with no more folds than tasks; named tasks are held out as they are."""
        if self.tasks is not None:
            return self
        return _fewer(self, len(np.unique(data.row_tasks())))

    def units(self, data: TaskData) -> NDArray[np.intp] | None:
        """Return the tasks."""
        return data.row_tasks()

    def _named(self, data: TaskData) -> NDArray[np.intp]:
        named = list(self.tasks or ())
        codes = LabelIndex(data.tasks).encode(named, "shared", "tasks", "LeaveTasksOut")
        strangers = [label for label, code in zip(named, codes, strict=True) if code < 0]
        distinct = len(np.unique(codes))
        if strangers or not 0 < distinct < data.n_tasks:
            key, most = ("unknown" if strangers else "some_of"), data.n_tasks
            fields = {"names": str(strangers[:5]), "count": distinct, "most": most}
            got = LazyMessage(f"got.{key}", fields)
            allowed = LazyMessage("allowed.some_tasks")
            raise DataError(sentence("tasks", "LeaveTasksOut", allowed, got))
        return codes


def _count(X: Any) -> int:  # noqa: ANN401 - rows as scikit-learn gives them
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def _rows_with_tasks(
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    groups: Any,  # noqa: ANN401
    column: str | int | None,
    owner: str,
) -> TaskData:
    """Return the tasks of rows: the columns of a target matrix, `groups`, or a column of X."""
    empty = np.zeros((_count(X), 1))
    refuse_groupings(groups, column, owner)
    if y is not None and not tables.is_column(y) and len(np.shape(y)) == 2 and np.shape(y)[1] > 1:
        return TaskData.from_targets(empty, y)
    if groups is None and column is None:
        raise DataError(LazyMessage("data.refusal.needs_task", {"owner": owner}))
    if groups is None and tables.is_table(X):
        groups = tables.get_column(X, tables.name_at(X, column))
    elif groups is None:
        if isinstance(column, str):
            got = LazyMessage(
                "got.name_without_names", {"given": repr(column), "kind": type(X).__name__}
            )
            raise DataError(sentence("task_column", owner, LazyMessage("allowed.position"), got))
        rows: Any = X
        groups = rows[:, [column]].toarray()[:, 0] if sp.issparse(X) else np.asarray(X)[:, column]
    return TaskData.from_long(empty, y, groups)


Folding = TypeVar("Folding", WithinTasks, GroupedRows, CollectedFolds, LeaveTasksOut)


def _fewer(splitter: Folding, most: int) -> Folding | None:
    """Return a splitter with `most` folds at most; None if two are too many."""
    if most < 2:
        return None
    return dataclasses.replace(splitter, n_splits=min(splitter.n_splits, most))


def _pair(test: NDArray[np.bool_]) -> Split:
    return np.flatnonzero(~test), np.flatnonzero(test)


def _pack(sizes: NDArray[np.intp], n_folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Give every group to the fold with the fewest rows so far, the largest groups first."""
    shuffled = rng.permutation(len(sizes))
    heap = [(0, int(tie), fold) for fold, tie in enumerate(rng.permutation(n_folds))]
    heapq.heapify(heap)
    folds = np.empty(len(sizes), dtype=np.intp)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        total, tie, fold = heap[0]
        folds[group] = fold
        heapq.heapreplace(heap, (total + int(sizes[group]), tie, fold))
    return folds


def _of_rows(values: NDArray[Any], data: TaskData, parameter: str, owner: str) -> NDArray[Any]:
    """Bring values that are in the order of the input into that of the rows of `data`."""
    last = int(data.order.max(initial=-1))
    if len(values) <= last:
        allowed = LazyMessage("allowed.as_long_as_input", {"n": last + 1})
        raise DataError(
            sentence(parameter, owner, allowed, LazyMessage("got.rows", {"n": len(values)}))
        )
    return values[data.order]


def _times(time: object) -> NDArray[Any]:
    values = tables.column_values(time) if tables.is_column(time) else np.asarray(time)
    if values.ndim == 1 and values.dtype.kind in "OU" and not missing_mask(values).any():
        values = read_dates(values, None, "time", "TimeOrdered")
    if values.ndim != 1 or values.dtype.kind not in "iufM":
        got = LazyMessage("got.array_of", {"shape": values.shape, "dtype": values.dtype})
        raise DataError(sentence("time", "TimeOrdered", LazyMessage("allowed.times_1d"), got))
    missing = missing_mask(values)
    if missing.any():
        got = LazyMessage("got.no_time", {"rows": rows_text(missing)})
        raise DataError(
            sentence("time", "TimeOrdered", LazyMessage("allowed.given_everywhere"), got)
        )
    return values


def _check_splits(n_splits: object, least: int, owner: str) -> None:
    if positive_integer(n_splits, "n_splits", owner) < least:
        raise ParameterError(
            sentence("n_splits", owner, LazyMessage("allowed.from", {"least": least}), n_splits)
        )


def _check_fraction(test_size: float | None, owner: str) -> None:
    allowed = LazyMessage("allowed.between_0_and_1")
    if test_size is not None and not 0 < number(test_size, "test_size", owner, allowed) < 1:
        raise ParameterError(sentence("test_size", owner, allowed, repr(test_size)))


def _check_seed(random_state: object, owner: str) -> None:
    if random_state is not None and not (is_whole(random_state) and int(random_state) >= 0):
        allowed = LazyMessage("allowed.seed_or_none")
        raise ParameterError(sentence("random_state", owner, allowed, repr(random_state)))
