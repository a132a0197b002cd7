"""TaskData: the data of all tasks, in whichever form they were given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask._checks import got_shape, sentence
from polytask.data import designs
from polytask.data.designs import Design
from polytask.data.forms import (
    Fields,
    Form,
    grouped_labels,
    long_fields,
    offsets_of,
    targets_fields,
    task_order,
)
from polytask.data.labels import Groupings
from polytask.data.missing import missing_mask, surely_finite
from polytask.data.outcomes import check_length
from polytask.data.separate import separate_fields
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage

Sums = TypeVar("Sums")


class EncodedParts(Protocol):
    """Rows that are read a part at a time."""

    # How often they have been read.
    passes: int

    def summed(
        self, summary: Callable[[TaskData], Sums], together: Callable[[Sums, Sums], Sums]
    ) -> Sums:
        """Return the summaries of all encoded parts put together."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TaskData:
    """The data of T tasks: one design sorted by task, or one design shared by all.

    Built by :meth:`from_long`, :meth:`from_targets` or :meth:`from_tasks`, which check
    what they are given; the same problem in any form gives the same answer. The arrays
    may be those of the user and are never written to.

    Parameters
    ----------
    X : ndarray, csr_array or data frame of shape (n, d)
        The design; rows sorted by task in the long and separate forms. A data frame is
        one that no encoder has turned into numbers yet.
    y : ndarray of shape (n,) or (n, T), or None
        The outcomes; (n, T) in the targets form, where NaN or None is a gap.
    tasks : tuple of length T
        The task labels as Python values.
    offsets : ndarray of shape (T + 1,) or None
        Task t has the rows ``offsets[t]`` to ``offsets[t + 1]``; None in the targets form.
    sample_weight : ndarray of shape (n,) or None
        The weights of the rows.
    form : Form
        The form in which the data came.
    order : ndarray of shape (n,), integers
        Row i here is row ``order[i]`` of the input (in the separate form: of the tasks
        below each other as the mapping lists them).
    feature_names : tuple of str, or None
        The column names of a data frame.
    present : ndarray of shape (T, d), booleans, or None
        Which columns a task has; None if every task has every column.
    n_input : int or None
        How many rows the input had, where some of weight zero were left out; else None.
    fold : ndarray of shape (n,), integers, or None
        The fold of every row, where rows stand for statistics that were collected with folds.
    parts : EncodedParts or None
        What reads the rows that these stand for, a part at a time.
    groupings : Groupings or None
        The levels of the rows where they belong to several groupings, in the long form.
    is_part : bool
        Whether these are some of the rows of others, whose columns were accepted before.
    """

    X: Design
    y: NDArray[Any] | None
    tasks: tuple[Hashable, ...]
    offsets: NDArray[np.intp] | None
    sample_weight: NDArray[np.float64] | None
    form: Form
    order: NDArray[np.intp]
    feature_names: tuple[str, ...] | None = None
    present: NDArray[np.bool_] | None = None
    n_input: int | None = None
    fold: NDArray[np.intp] | None = None
    parts: EncodedParts | None = None
    groupings: Groupings | None = None
    is_part: bool = False

    @classmethod
    def from_long(
        cls, X: object, y: object = None, task: object = None, sample_weight: object = None
    ) -> Self:
        """Build from one row per observation with a task label per row.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n, d)
            The design.
        y : array-like of shape (n,), or str, default=None
            The outcomes, or the name of their column in the data frame X.
        task : array-like of shape (n,) or (n, g), str, int or list of str, default=None
            The task labels, the name of their column in the data frame X, or the
            position of their column in the array X; None means one task, labelled 0. With
            several groupings a table or array with a column for each, or the names of such
            columns in the data frame X; the first is that of the tasks.
        sample_weight : array-like of shape (n,), default=None
            The weights of the rows.

        Returns
        -------
        TaskData

        Raises
        ------
        DataError
            If something is empty, missing, infinite, or not as long as X.
        """
        split = grouped_labels(X, task)
        if split is None:
            return cls._of(long_fields(X, y, task, sample_weight))
        X, names, labels = split
        data = cls._of(long_fields(X, y, labels[0], sample_weight))
        first = data.tasks, data.row_tasks()
        groupings = Groupings.of(names, labels, first, data.order, "TaskData")
        return dataclasses.replace(data, groupings=groupings)

    @classmethod
    def from_targets(cls, X: object, Y: object, sample_weight: object = None) -> Self:
        """Build from one design with one column of outcomes per task.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n, d)
            The design.
        Y : array-like or data frame of shape (n, T), or list of str
            The outcomes, NaN or None where not observed; or their columns in the data
            frame X.
        sample_weight : array-like of shape (n,), default=None
            The weights of the rows.

        Returns
        -------
        TaskData

        Raises
        ------
        DataError
            If something is empty, infinite, or not as long as X, or a target has no label.
        """
        return cls._of(targets_fields(X, Y, sample_weight))

    @classmethod
    def from_tasks(cls, data: object, y: object = None, sample_weight: object = None) -> Self:
        """Build from a design and an outcome per task.

        Parameters
        ----------
        data : mapping of task label to (X_t, y_t), or to X_t
            Arrays have the same columns in all tasks; data frames are aligned by column
            name, and a column that a task lacks has gaps there (see ``present``).
        y : str, default=None
            The column of outcomes, if `data` maps to data frames that hold it.
        sample_weight : mapping of task label to array-like of shape (n_t,), default=None
            The weights of the rows.

        Returns
        -------
        TaskData

        Raises
        ------
        DataError
            If `data` is no mapping, or the data frames share no column, or as in
            :meth:`from_long`.
        """
        return cls._of(separate_fields(data, y, sample_weight))

    @classmethod
    def _of(cls, fields: Fields) -> Self:
        return cls(*fields)

    def __repr__(self) -> str:
        """Return one short line."""
        return (
            f"TaskData({self.form.value}: {self.n_rows} rows, {self.n_features} features, "
            f"{self.n_tasks} tasks)"
        )

    @property
    def n_tasks(self) -> int:
        """The number of tasks, T."""
        return len(self.tasks)

    @property
    def n_rows(self) -> int:
        """The number of rows of X."""
        return len(self.order)

    @property
    def n_features(self) -> int:
        """The number of columns of X."""
        return int(self.X.shape[1])

    def task_slice(self, t: int) -> slice:
        """Return the rows of task number `t`, not in the targets form."""
        offsets = self._offsets()
        return slice(int(offsets[t]), int(offsets[t + 1]))

    def row_tasks(self) -> NDArray[np.intp]:
        """Return the number of its task for every row, shape (n,); not in the targets form."""
        sizes = np.diff(self._offsets())
        codes: NDArray[np.intp] = np.repeat(np.arange(self.n_tasks, dtype=np.intp), sizes)
        return codes

    def labelled(self) -> NDArray[np.bool_]:
        """Return which labels were observed, shape (n, T); in the targets form only."""
        if self.form is not Form.TARGETS or self.y is None:
            raise IncompatibleError(LazyMessage("data.refusal.labelled"))
        return ~missing_mask(self.y)

    def task_rows(self) -> NDArray[np.intp]:
        """Return the number of labelled rows of every task, shape (T,)."""
        if self.form is Form.TARGETS:
            if self.y is not None and surely_finite(self.y):
                return np.full(self.n_tasks, self.n_rows, dtype=np.intp)
            return np.asarray(self.labelled().sum(axis=0), dtype=np.intp)
        sizes: NDArray[np.intp] = np.diff(self._offsets())
        return sizes

    def task_counts(self) -> NDArray[np.float64]:
        """Return n_t, the sum of the weights of the labelled rows of every task, shape (T,)."""
        if self.sample_weight is None:
            return self.task_rows().astype(np.float64)
        if self.form is Form.TARGETS:
            return np.asarray(self.sample_weight @ self.labelled())
        codes = self.row_tasks()
        sums: NDArray[Any] = np.bincount(codes, self.sample_weight, minlength=self.n_tasks)
        return sums

    def rows(self, index: ArrayLike) -> TaskData:
        """Return some of the rows, with all tasks, also those that have none of them.

        Parameters
        ----------
        index : array-like of integers, or of n booleans
            Row numbers of this object. The rows are put in the order of the tasks.

        Returns
        -------
        TaskData
            Its ``order`` still refers to the original input.
        """
        chosen = self._row_numbers(index)
        offsets = None
        if self.offsets is not None:
            codes = self.row_tasks()[chosen]
            chosen = chosen[task_order(codes, self.n_tasks)[1]]
            offsets = offsets_of(codes, self.n_tasks)
        run: NDArray[np.intp] | slice = chosen
        if len(chosen) and bool((np.diff(chosen) == 1).all()):
            run = slice(int(chosen[0]), int(chosen[-1]) + 1)  # it needs no copy
        return dataclasses.replace(
            self,
            X=designs.take_rows(self.X, run),
            y=None if self.y is None else self.y[run],
            offsets=offsets,
            sample_weight=None if self.sample_weight is None else self.sample_weight[run],
            order=self.order[run],
            fold=None if self.fold is None else self.fold[run],
            groupings=None if self.groupings is None else self.groupings.rows(run),
            is_part=self.is_part or len(chosen) < self.n_rows,
        )

    def with_X(
        self,
        X: Design,
        feature_names: tuple[str, ...] | None = None,
        present: NDArray[np.bool_] | None = None,
    ) -> TaskData:
        """Return the same rows with another design, such as the encoded one.

        Parameters
        ----------
        X : ndarray, csr_array or data frame of shape (n, d')
            The design, rows as here.
        feature_names : tuple of str, default=None
            The names of its columns.
        present : ndarray of shape (T, d'), default=None
            Which columns a task has. None keeps ``present``, which must fit then.

        Returns
        -------
        TaskData
        """
        n, d = X.shape
        check_length(n, self.n_rows, LazyMessage("what.new", {"name": "X"}), "TaskData")
        present = self.present if present is None else present
        if present is not None and present.shape != (self.n_tasks, d):
            got = got_shape(present.shape)
            allowed = LazyMessage("allowed.shape_of_x", {"shape": (self.n_tasks, d)})
            raise DataError(sentence("present", "TaskData", allowed, got))
        return dataclasses.replace(self, X=X, feature_names=feature_names, present=present)

    def with_tasks(self, tasks: tuple[Hashable, ...]) -> TaskData:
        """Return the same rows as rows of further tasks too, which have none of them.

        Parameters
        ----------
        tasks : tuple
            The task labels, those of here among them, in the order of the result.

        Returns
        -------
        TaskData
        """
        if tasks == self.tasks:
            return self
        place = {label: t for t, label in enumerate(tasks)}
        own = np.array([place[label] for label in self.tasks], dtype=np.intp)
        y, codes, offsets, present = self.y, None, None, None
        if self.offsets is not None:
            codes = own[self.row_tasks()]
            offsets = offsets_of(codes, len(tasks))
        elif y is not None:
            gap = None if y.dtype.kind in "OUS" else np.nan
            y = np.full((self.n_rows, len(tasks)), gap, dtype=object if gap is None else float)
            y[:, own] = self.y
        if self.present is not None:
            present = np.zeros((len(tasks), self.n_features), dtype=bool)
            present[own] = self.present
        wider = dataclasses.replace(self, y=y, tasks=tasks, offsets=offsets, present=present)
        if codes is None:
            return wider
        order = np.argsort(codes, kind="stable")
        held = {name: getattr(self, name) for name in ("y", "sample_weight", "order", "fold")}
        taken: dict[str, Any] = {
            name: value[order] for name, value in held.items() if value is not None
        }
        if self.groupings is not None:
            taken["groupings"] = self.groupings.rows(order)
        return dataclasses.replace(wider, X=designs.take_rows(self.X, order), **taken)

    def with_y(self, y: NDArray[Any]) -> TaskData:
        """Return the same rows with other outcomes, such as class codes."""
        check_length(len(y), self.n_rows, LazyMessage("what.new", {"name": "y"}), "TaskData")
        return dataclasses.replace(self, y=y)

    def to_long(self) -> TaskData:
        """Return the data in the long form, without the gaps of the targets form.

        Returns
        -------
        TaskData
            A row per observed label; this object itself unless it is in the targets form.
        """
        if self.form is not Form.TARGETS or self.y is None:
            return self
        tasks, rows = np.nonzero(self.labelled().T)
        return dataclasses.replace(
            self,
            X=designs.take_rows(self.X, rows),
            y=self.y[rows, tasks],
            offsets=offsets_of(tasks, self.n_tasks),
            sample_weight=None if self.sample_weight is None else self.sample_weight[rows],
            form=Form.LONG,
            order=self.order[rows],
            fold=None if self.fold is None else self.fold[rows],
        )

    def _offsets(self) -> NDArray[np.intp]:
        if self.offsets is None:
            raise IncompatibleError(LazyMessage("data.refusal.targets_form"))
        return self.offsets

    def _row_numbers(self, index: ArrayLike) -> NDArray[np.intp]:
        given = np.asarray(index)
        if given.dtype == np.bool_:
            check_length(len(given), self.n_rows, "index", "TaskData.rows")
            return np.flatnonzero(given)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            got = LazyMessage("got.array_of", {"shape": given.shape, "dtype": given.dtype})
            raise DataError(
                sentence("index", "TaskData.rows", LazyMessage("allowed.row_numbers"), got)
            )
        if given.size and not 0 <= given.min() <= given.max() < self.n_rows:
            allowed = LazyMessage("allowed.rows_to", {"last": self.n_rows - 1})
            raise DataError(
                sentence(
                    "index",
                    "TaskData.rows",
                    allowed,
                    LazyMessage("got.range", {"least": given.min(), "most": given.max()}),
                )
            )
        return given.astype(np.intp, copy=False)
