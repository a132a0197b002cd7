"""What the rows of all tasks say about the squared loss, as one object of a fixed size."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from polytask._checks import positive, sentence
from polytask._estimator import given_columns, regression
from polytask._estimator.training import (
    TaskColumn,
    as_table,
    encode,
    encode_training,
    is_wide,
    training_data,
)
from polytask._registry import State, saveable
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data.labels import factorize, in_order, refuse_groupings
from polytask.data.missing import CellError
from polytask.datafits import Features, Stacked, collect_stacked
from polytask.exceptions import DataError, IncompatibleError
from polytask.io.model_file import load_object, save_object
from polytask.messages import LazyMessage
from polytask.statistics.cells import Array, Cell, Key, cell_of, joined
from polytask.statistics.disclosure import SmallCounts

# More numbers than these (2.4 GB) are refused.
_MOST = 3e8
_LEAST_WEIGHT = 1e-100
_OWNER = "collect"


@saveable("statistics.task_statistics")
@dataclass(frozen=True, eq=False, repr=False)
class TaskStatistics:
    """Sums over the rows of every task: all that estimators of the squared loss need of them.

    Made by :func:`collect`. Statistics of different rows are added with ``a + b`` (``sum`` works),
    and ``a - b`` takes rows away again. ``fit`` of :class:`polytask.MultiTaskRegressor`, of its
    searches ``MultiTaskRegressorCV`` and ``MultiTaskRegressorIC``, of
    :class:`polytask.BayesianMultiTaskRegressor`, and of :class:`polytask.SingleTask` and
    :class:`polytask.Pooled` around ``LinearRegression`` takes statistics in place of X and y, with
    the same answer; so do :func:`polytask.compare` and :func:`polytask.relatedness`. Their size
    does not depend on the number of rows. ``0.9 * a`` are the statistics of the same rows with all
    weights times 0.9, so that ``0.9 * old + new`` forgets old rows.

    Attributes
    ----------
    tasks : tuple of length T
        The task labels.
    folds : tuple
        The labels of the folds, ``(None,)`` where rows have none.
    form : Form
        The form in which the rows came.
    n_features : int
        Number of features, d, after encoding.
    feature_names : tuple of str, or None
        Their names, for tables.
    encoder : TableEncoder or None
        How the columns of a table became features.
    task_column : str, int or None
        The column that holds the task labels, in rows to predict too.
    cells : tuple of Cell
        The sums of each task and fold.
    n_columns : int
        Columns of X as given.
    names : tuple of str, or None
        Names of the columns of X as given.
    present : ndarray of bool, or None
        Which columns of features each task has; None: all.

    Notes
    -----
    A task (or a set of targets that are observed together) has, in every fold, its number of
    rows, their weight, the means of features and targets, and their products about these
    means: (d + 1)^2 numbers, or (d + T)^2 for T targets of one design. Rows cannot be read from
    them where a task has many more rows than d in each fold; with fewer they nearly can.

    References
    ----------
    T. Chan, G. Golub and R. LeVeque, "Algorithms for computing the sample variance: analysis
    and recommendations", The American Statistician 37 (1983), equations 1.5a and 1.5b.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskRegressor
    >>> from polytask.penalties import L21
    >>> from polytask.statistics import collect
    >>> rng = np.random.default_rng(0)
    >>> X, task = rng.normal(size=(60, 2)), np.repeat(["a", "b"], 30)
    >>> y = X @ [1.0, 2.0]
    >>> early, late = (
    ...     collect(X[part], y[part], task[part]) for part in (slice(40), slice(40, 60))
    ... )
    >>> model = MultiTaskRegressor(L21(0.1)).fit(early + late)
    >>> bool(np.allclose(model.coef_, MultiTaskRegressor(L21(0.1)).fit(X, y, task).coef_))
    True
    """

    tasks: tuple[Hashable, ...]
    folds: tuple[Hashable, ...]
    cells: tuple[Cell, ...]
    form: Form
    n_features: int
    n_columns: int
    feature_names: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    encoder: TableEncoder | None = None
    task_column: str | int | None = None
    present: NDArray[np.bool_] | None = None
    in_parts: ClassVar[bool] = False
    # Numbers of NumPy leave their product with statistics to these.
    __array_ufunc__: ClassVar[None] = None

    def __repr__(self) -> str:
        """Return one short line."""
        folds = "" if self.folds == (None,) else f", {len(self.folds)} folds"
        return (
            f"TaskStatistics({self.form.value}: {self.n_rows} rows, {self.n_features} features, "
            f"{len(self.tasks)} tasks{folds})"
        )

    @property
    def n_rows(self) -> int:
        """The number of rows that were collected."""
        return sum(cell.n_rows for cell in self.cells)

    @property
    def rows_per_task(self) -> tuple[int, ...]:
        """The number of labelled rows of every task."""
        counts = np.zeros(len(self.tasks), dtype=int)
        for cell in self.cells:
            counts[list(cell.tasks)] += cell.n_rows
        return tuple(counts.tolist())

    def __add__(self, other: object) -> Self:
        """Return the statistics of these rows and of others together."""
        if not isinstance(other, TaskStatistics):
            return NotImplemented
        self._refuse_unlike(other)
        if self.encoder is not None and other.encoder is not None:
            encoder = self.encoder.together(other.encoder)
            if encoder.to_state()["codes"] != self.encoder.to_state()["codes"]:
                return self._encoded(encoder) + other._encoded(encoder)
            other = other._encoded(self.encoder)
        tasks = self.tasks
        if other.tasks != tasks:
            tasks = in_order(dict.fromkeys((*self.tasks, *other.tasks)))
        folds = in_order(dict.fromkeys((*self.folds, *other.folds)))
        cells = joined(self._placed(tasks, folds), other._placed(tasks, folds))
        present = _present(tasks, (self, other))
        return replace(self, tasks=tasks, folds=folds, cells=_sorted(cells), present=present)

    def __radd__(self, other: object) -> Self:
        """Let ``sum`` begin with 0."""
        return self if other == 0 else NotImplemented

    def __sub__(self, other: object) -> Self:
        """Return the statistics without some of the rows. They must be part of these."""
        if not isinstance(other, TaskStatistics):
            return NotImplemented
        self._refuse_unlike(other)
        if self.encoder is not None and other.encoder is not None:
            other = other._encoded(self.encoder)
        strange = [task for task in other.tasks if task not in self.tasks]
        strange += [fold for fold in other.folds if fold not in self.folds]
        if strange:
            fields = {"name": repr(strange[0])}
            raise DataError(LazyMessage("statistics.refusal.lack", fields))
        cells: dict[Key, Cell] = {cell.key: cell for cell in self.cells}
        for cell in other._placed(self.tasks, self.folds):
            held = cells.pop(cell.key, None)
            if held is None:
                raise DataError(LazyMessage("statistics.refusal.lack_cell"))
            left = held.less(cell)
            if left is not None:
                cells[cell.key] = left
        return replace(self, cells=_sorted(cells))

    def __mul__(self, factor: object) -> Self:
        """Return the statistics of the same rows with all weights times a number above 0."""
        if isinstance(factor, TaskStatistics):
            return NotImplemented
        share = positive(factor, "factor", type(self).__name__)
        cells = (replace(cell, weight=share * cell.weight) for cell in self.cells)
        # Before weights are too small to be divided by, rows are no rows.
        return replace(self, cells=tuple(cell for cell in cells if cell.weight >= _LEAST_WEIGHT))

    __rmul__ = __mul__

    def _placed(self, tasks: tuple[Hashable, ...], folds: tuple[Hashable, ...]) -> list[Cell]:
        """Return the cells, numbered by other lists of tasks and folds."""
        if (tasks, folds) == (self.tasks, self.folds):
            return list(self.cells)
        task = {label: t for t, label in enumerate(tasks)}
        fold = {label: k for k, label in enumerate(folds)}
        return [
            replace(
                cell,
                tasks=tuple(task[self.tasks[t]] for t in cell.tasks),
                fold=fold[self.folds[cell.fold]],
            )
            for cell in self.cells
        ]

    def _encoded(self, encoder: TableEncoder) -> Self:
        """Return the same with the features of an encoder that has these; others are 0."""
        names = tuple(map(str, encoder.get_feature_names_out()))
        if names == self.feature_names:
            return replace(self, encoder=encoder)
        place = {name: j for j, name in enumerate(names)}
        lacking = [name for name in self.feature_names or () if name not in place]
        if lacking:
            name = LazyMessage("what.feature", {"name": repr(lacking[0])})
            raise IncompatibleError(LazyMessage("statistics.refusal.lack", {"name": name}))
        columns = np.array([place[name] for name in self.feature_names or ()], dtype=np.intp)
        cells = tuple(cell.spread_to(columns, len(names)) for cell in self.cells)
        present = self.present
        if present is not None:
            sources = encoder.source_columns()
            known = dict(zip(self._sources(), present.T, strict=True))
            present = np.stack([known[source] for source in sources.tolist()], axis=1)
        return replace(
            self, encoder=encoder, feature_names=names, n_features=len(names), cells=cells,
            present=present,
        )  # fmt: skip

    def _sources(self) -> list[int]:
        """Return the column of the table that every feature comes from."""
        return [] if self.encoder is None else self.encoder.source_columns().tolist()

    def _refuse_unlike(self, other: TaskStatistics) -> None:
        """Refuse statistics whose columns mean something else."""
        for name, said in _MUST_AGREE.items():
            mine, theirs = said(self), said(other)
            if mine != theirs:
                fields = {"got": repr(mine), "got2": repr(theirs)}
                raise IncompatibleError(LazyMessage(f"statistics.refusal.{name}", fields))
        if self.form is Form.TARGETS and self.tasks != other.tasks:
            fields = {"got": repr(self.tasks), "got2": repr(other.tasks)}
            raise IncompatibleError(LazyMessage("statistics.refusal.targets", fields))

    def to_task_data(self) -> TaskData:
        """Return the fewest rows that have these statistics, with weights and folds.

        Returns
        -------
        TaskData
            Made up: at most d + 2 rows per task and fold (d + T + 1 for T targets of one design).
            What the squared loss of any coefficients is on them, it is on the collected rows.
        """
        if not self.cells:
            raise DataError(LazyMessage("statistics.refusal.empty"))
        d, width = self.n_features, len(self.tasks)
        parts = [cell.rows() for cell in self.cells]
        sizes = [len(part) for part in parts]
        first = np.repeat([cell.tasks[0] for cell in self.cells], sizes)
        weight = np.repeat([c.weight / n for c, n in zip(self.cells, sizes, strict=True)], sizes)
        fold = np.repeat([cell.fold for cell in self.cells], sizes)
        X = np.concatenate([part[:, :d] for part in parts])
        y = np.full((len(X), width), np.nan)
        for cell, part, end in zip(self.cells, parts, np.cumsum(sizes), strict=True):
            y[end - len(part) : end, list(cell.tasks)] = part[:, d:]
        offsets = None
        if self.form is not Form.TARGETS:
            y = y[np.arange(len(y)), first]
            counts = np.bincount(first, minlength=width)
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        return TaskData(
            X=X,
            y=y,
            tasks=self.tasks,
            offsets=offsets,
            sample_weight=weight,
            form=self.form,
            order=np.arange(len(X), dtype=np.intp),
            feature_names=self.feature_names,
            present=self.present,
            fold=fold.astype(np.intp),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save to one file, whole or not at all.

        Parameters
        ----------
        path : path-like
            The file, such as ``site.stats``; one that exists is replaced.
        """
        save_object(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TaskStatistics:
        """Load what :meth:`save` has written; this never runs code from the file.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        TaskStatistics

        Raises
        ------
        DataError
            If there is no such file, or it is damaged or holds something else.
        """
        return load_object(path, cls)

    def to_state(self) -> State:
        """Return the fields, the cells as one array for each number of targets."""
        by_size: dict[int, list[Cell]] = {}
        for cell in self.cells:
            by_size.setdefault(len(cell.tasks), []).append(cell)
        names = ("tasks", "fold", "n_rows", "weight", "mean", "second")
        groups = [
            {name: np.array([getattr(cell, name) for cell in cells]) for name in names}
            for cells in by_size.values()
        ]
        fields = {name: getattr(self, name) for name in _PLAIN}
        return fields | {"form": self.form.value, "cells": groups}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the statistics from :meth:`to_state`."""
        cells: dict[Key, Cell] = {}
        for group in state["cells"]:
            columns = zip(*group.values(), strict=True)
            for tasks, fold, n_rows, weight, mean, second in columns:
                numbers = int(fold), int(n_rows), float(weight)
                cell = Cell(tuple(tasks.tolist()), *numbers, mean, second)
                cells[cell.key] = cell
        return cls(**state | {"form": Form(state["form"]), "cells": _sorted(cells)})


_PLAIN = (
    "tasks",
    "folds",
    "n_features",
    "n_columns",
    "feature_names",
    "names",
    "encoder",
    "task_column",
    "present",
)
# What must be the same where statistics are joined, by what the refusal is called.
_MUST_AGREE: Mapping[str, Callable[[TaskStatistics], object]] = {
    "forms": lambda s: s.form.value,
    "columns": lambda s: s.n_columns if s.names is None else sorted(s.names),
    "task_columns": lambda s: s.task_column,
}


def _sorted(cells: Mapping[Key, Cell]) -> tuple[Cell, ...]:
    return tuple(sorted(cells.values(), key=lambda cell: cell.key))


def _present(
    tasks: tuple[Hashable, ...], parts: Iterable[TaskStatistics]
) -> NDArray[np.bool_] | None:
    """Return which columns the tasks of several statistics have."""
    given = {
        label: part.present[t] for part in parts if part.present is not None
        for t, label in enumerate(part.tasks)
    }  # fmt: skip
    if not given:
        return None
    width = len(next(iter(given.values())))
    return np.stack([given.get(label, np.ones(width, dtype=bool)) for label in tasks])


def collect(
    X: Any,  # noqa: ANN401
    y: Any = None,  # noqa: ANN401
    task: Any = None,  # noqa: ANN401
    *,
    sample_weight: Any = None,  # noqa: ANN401
    fold: ArrayLike | None = None,
    task_column: str | int | None = None,
    encoder: TableEncoder | None = None,
    minimum: int | None = None,
) -> TaskStatistics:
    """Collect the statistics of some rows.

    Parameters
    ----------
    X : array, sparse matrix or table of shape (n, d), TaskData, or mapping
        The features. In the separate form ``{task: (X_t, y_t)}`` with ``y=None``.
    y : array of shape (n,) or (n, T), or None
        The targets, numbers: one per row with a task label per row, or one column per task with
        NaN where a label is missing.
    task : array of shape (n,) or None, default=None
        The task of each row.
    sample_weight : array of shape (n,), mapping or None, default=None
        Row weights; weight 2 is the row twice.
    fold : array of shape (n,) or None, default=None
        A label for each row; rows of one label are held out together by the searches that
        cross-validate. None: one fold, for fits without a search or with ``criterion=``. In the
        separate form rows count as the tasks of the mapping below each other.
    task_column : str, int or None, default=None
        The column of X that holds the task labels, in place of `task`.
    encoder : TableEncoder or None, default=None
        How columns of a table become features, where several parts of a table must agree: fitted
        on any of them, or on a sample. None learns it from X.
    minimum : int or None, default=None
        The fewest rows that may be told apart, as :class:`Schema` says; None sets no limit.

    Returns
    -------
    TaskStatistics

    Raises
    ------
    DataError
        If the data cannot be used, or tell of fewer rows than `minimum`; the message names row,
        column or task.
    """
    refuse_groupings(task, task_column, _OWNER)
    X = as_table(X, task_column)
    column = tables.name_at(X, task_column)
    if encoder is not None and task is None and tables.is_table(X) and not is_wide(y):
        # Of a part of a table numbers are sorted by task, which is faster than to sort columns.
        data = _encoded_first(X, y, column, sample_weight, encoder)
        raw, names = data, tables.feature_names(X)
        n_columns = len(tables.column_names(X))
    else:
        raw = training_data(X, y, task, sample_weight, column, _OWNER)
        if encoder is None:
            data, encoder = encode_training(raw)
        elif tables.is_table(raw.X):
            data = encode(raw, encoder)
        else:
            allowed = LazyMessage("allowed.none_without_table")
            raise DataError(sentence("encoder", _OWNER, allowed, LazyMessage("got.a_value")))
        n_columns, names = given_columns(X, raw, column, {})
    targets = regression(data, "squared", _OWNER).y
    folds, codes = _folds(fold, raw)
    _refuse_large(data, targets, len(folds))
    weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
    if minimum is not None:
        _refuse_small(data, targets, codes, folds, minimum)
    made = _shared_cells if data.form is Form.TARGETS else _stacked_cells
    cells = {cell.key: cell for cell in made(data, targets, weight, codes)}
    return TaskStatistics(
        tasks=data.tasks,
        folds=folds,
        cells=_sorted(cells),
        form=data.form,
        n_features=data.n_features,
        n_columns=n_columns,
        feature_names=data.feature_names,
        names=names,
        encoder=encoder,
        task_column=column,
        present=data.present,
    )


def _encoded_first(
    table: Any,  # noqa: ANN401 - any table
    y: Any,  # noqa: ANN401
    column: TaskColumn,
    sample_weight: Any,  # noqa: ANN401
    encoder: TableEncoder,
) -> TaskData:
    """Return encoded rows of a table, sorted by task."""
    task = None
    if column is not None:
        task, table = tables.get_column(table, column), tables.drop_columns(table, [column])
    try:
        X = encoder.encode(table).X
    except CellError as error:
        raise DataError(
            error.told(lambda row: LazyMessage("place.row", {"row": str(row)}))
        ) from None
    data = training_data(X, y, task, sample_weight, None, _OWNER)
    return replace(data, feature_names=tuple(map(str, encoder.get_feature_names_out())))


def _folds(fold: object, raw: TaskData) -> tuple[tuple[Hashable, ...], NDArray[np.intp]]:
    """Return the labels of folds, and the number of the fold of every row of the data."""
    if fold is None:
        return (None,), np.zeros(raw.n_rows, dtype=np.intp)
    folds, codes = factorize(fold, "fold", _OWNER)
    given = raw.n_rows if raw.n_input is None else raw.n_input
    if len(codes) != given:
        allowed = LazyMessage("allowed.as_long_as_x", {"n": given})
        raise DataError(sentence("fold", _OWNER, allowed, str(len(codes))))
    return folds, codes[raw.order]


def _refuse_large(data: TaskData, targets: Array, n_folds: int) -> None:
    d = data.n_features
    if data.form is Form.TARGETS:
        seen = np.unique(~np.isnan(targets), axis=0).sum(axis=1)
        entries = float(n_folds * np.sum((d + seen) ** 2.0))
    else:
        entries = float(n_folds * data.n_tasks * (d + 1) ** 2)
    if entries > _MOST:
        fields = {"features": str(d), "tasks": str(data.n_tasks), "folds": str(n_folds)}
        fields |= {"numbers": f"{entries:.2g}", "most": f"{_MOST:.2g}"}
        raise DataError(LazyMessage("statistics.refusal.large", fields))


def _refuse_small(
    data: TaskData,
    Y: Array,
    fold: NDArray[np.intp],
    folds: tuple[Hashable, ...],
    minimum: int,
) -> None:
    """Refuse what tells of few rows."""
    X, d = Features(data.X), data.n_features
    names = data.feature_names or tuple(f"x{j}" for j in range(d))
    shared = data.form is Form.TARGETS
    targets = [repr(task) for task in data.tasks] if shared else ["target"]
    seen = ~np.isnan(Y) if shared else np.ones((data.n_rows, 1), dtype=bool)
    kinds, which = np.unique(
        np.column_stack([seen if shared else data.row_tasks(), fold]), axis=0, return_inverse=True
    )
    for k, kind in enumerate(kinds):
        rows = np.flatnonzero(which.ravel() == k)
        used = seen[rows[0]]
        if not used.any():
            continue
        task = LazyMessage("statistics.cell.targets")
        if not shared:
            task = LazyMessage("statistics.cell.task", {"task": repr(data.tasks[kind[0]])})
        cell = (
            task
            if len(folds) == 1
            else LazyMessage("statistics.cell.fold", {"task": task, "fold": repr(folds[kind[-1]])})
        )
        dense: Any = X.rows(rows).matrix  # dense or sparse
        dense = dense.toarray() if hasattr(dense, "toarray") else dense
        y = Y.reshape(len(Y), -1)[np.ix_(rows, np.flatnonzero(used))]
        known = [*names, *(name for name, has in zip(targets, used, strict=True) if has)]
        SmallCounts(minimum, known).check(np.hstack([dense, y]), d, cell)


def _stacked_cells(
    data: TaskData, y: Array, weight: Array, fold: NDArray[np.intp]
) -> Iterable[Cell]:
    """Yield the moments of tasks that have rows of their own."""
    task, X = data.row_tasks(), Features(data.X)
    if fold.any():
        order = np.lexsort((fold, task))
        task, fold, X, y, weight = task[order], fold[order], X.rows(order), y[order], weight[order]
    first = np.ones(len(task), dtype=bool)
    first[1:] = (task[1:] != task[:-1]) | (fold[1:] != fold[:-1])
    starts = np.flatnonzero(first)
    offsets = np.append(starts, len(task)).astype(np.intp)
    design = Stacked(X, offsets, np.arange(len(starts)))
    found = collect_stacked(design, y, weight, np.ones(len(starts)))
    d = data.n_features
    second = np.empty((len(starts), d + 1, d + 1))
    second[:, :d, :d], second[:, d, d] = found.second, found.spread
    second[:, :d, d] = second[:, d, :d] = found.cross.T
    mean = np.column_stack([found.x_mean.T, found.y_mean])
    totals, counts = design.collect(weight), np.diff(offsets)
    for k, start in enumerate(starts.tolist()):
        tasks = (int(task[start]),)
        yield Cell(tasks, int(fold[start]), int(counts[k]), float(totals[k]), mean[k], second[k])


def _shared_cells(
    data: TaskData, Y: Array, weight: Array, fold: NDArray[np.intp]
) -> Iterable[Cell]:
    """Yield the moments of rows that hold labels of the same targets."""
    patterns, which = np.unique(~np.isnan(Y), axis=0, return_inverse=True)
    # Some versions of numpy return a column.
    which = which.ravel()
    for k, seen in enumerate(patterns):
        tasks = np.flatnonzero(seen)
        if not len(tasks):
            continue
        for f in np.unique(fold[which == k]):
            rows = np.flatnonzero((which == k) & (fold == f))
            X: Any = Features(data.X).rows(rows).matrix
            stack: Any = sp.hstack if sp.issparse(X) else np.hstack
            values = stack([X, Y[np.ix_(rows, tasks)]])
            yield cell_of(tuple(tasks.tolist()), int(f), values, weight[rows])
