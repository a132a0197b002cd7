"""Reading rows that belong to one level of each of several groupings."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator.query import InputSchema, Query, check_columns, read_query
from polytask._estimator.scored import Reading, scored_data
from polytask._estimator.training import (
    TaskColumns,
    is_task_mapping,
    listed_columns,
    training_data,
)
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.data import TableEncoder, TaskData, tables
from polytask.data.dates import looks_like_dates
from polytask.data.designs import without_column
from polytask.data.forms import grouped_labels
from polytask.data.labels import Groupings, is_grouped
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage

Labels = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class GroupedRows:
    """Rows of features that know the level of each grouping, -1 for an unknown one."""

    # Shapes: values (n, d), dense or sparse, codes (n, n_groupings).

    values: Any
    codes: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and features."""
        return tuple(self.values.shape)

    def __getitem__(self, rows: Any) -> GroupedRows:  # noqa: ANN401 - a slice, mask or numbers
        """Return some of the rows."""
        return GroupedRows(self.values[rows], self.codes[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class _Split:
    """Features, and beside them the name and the labels of every grouping."""

    X: Any
    names: tuple[Hashable, ...]
    labels: tuple[Labels, ...]

    @classmethod
    def of(cls, X: Any, task: Any, column: TaskColumns, owner: str) -> _Split:  # noqa: ANN401
        """Take the groupings out of the columns of X, or from what was given beside it."""
        if is_task_mapping(X) or isinstance(X, TaskData):
            fields = {"owner": owner}
            raise IncompatibleError(LazyMessage("estimator.refusal.groupings_form", fields))
        columns = listed_columns(column)
        if columns and task is not None:
            fields = {"owner": owner, "column": repr(column)}
            raise DataError(LazyMessage("estimator.refusal.task_twice", fields))
        if columns:
            return cls._of_columns(X, columns, owner)
        split = grouped_labels(X, task, owner)
        assert split is not None
        return cls(*split)

    @classmethod
    def _of_columns(cls, X: Any, columns: tuple[str | int, ...], owner: str) -> _Split:  # noqa: ANN401
        if tables.is_table(X):
            labels = tuple(tables.get_column(X, name) for name in columns)
            return cls(tables.drop_columns(X, columns), columns, labels)
        array = np.asarray(X)
        if any(isinstance(name, str) for name in columns):
            got = LazyMessage(
                "got.name_without_names", {"given": repr(columns), "kind": type(X).__name__}
            )
            allowed = LazyMessage("allowed.array_unless_frame")
            raise DataError(sentence("task_column", owner, allowed, got))
        d = array.shape[1] if array.ndim == 2 else 0
        places = [int(k) for k in columns]
        for k in places:
            if not -d <= k < d:
                fields = {"task": k, "kind": type(X).__name__, "d": d}
                got = LazyMessage("got.position_of", fields)
                allowed = LazyMessage("allowed.array_position")
                raise DataError(sentence("task_column", owner, allowed, got))
        labels = tuple(array[:, k] for k in places)
        for k in sorted({k % d for k in places}, reverse=True):
            array = without_column(array, k)
        return cls(array, columns, labels)


def _training(
    X: Any,  # noqa: ANN401
    y: object,
    task: Any,  # noqa: ANN401
    sample_weight: object,
    column: TaskColumns,
    owner: str,
) -> TaskData:
    if isinstance(X, TaskData) and X.groupings is not None:
        # Its groupings are those that a column may name.
        return training_data(X, y, task, sample_weight, None, owner, groupings=True)
    if not has_groupings(X, task, column):
        assert column is None or isinstance(column, str | int)
        return training_data(X, y, task, sample_weight, column, owner)
    tables.refuse_lazy(X, "X", owner)
    split = _Split.of(X, task, column, owner)
    data = training_data(split.X, y, split.labels[0], sample_weight, None, owner)
    first = data.tasks, data.row_tasks()
    groupings = Groupings.of(split.names, split.labels, first, data.order, owner)
    return dataclasses.replace(data, groupings=groupings)


def _scored(
    schema: InputSchema, X: object, y: object, task: object, sample_weight: object
) -> TaskData:
    if not schema.groupings:
        return scored_data(schema, X, y, task, sample_weight)
    task = _in_order(schema, X, task)
    check_columns(schema, X, task)
    return _training(X, y, task, sample_weight, schema.task_column, schema.owner)


def _query(schema: InputSchema, X: Any, task: Any, unseen: str) -> Query:  # noqa: ANN401
    if not schema.groupings:
        return read_query(schema, X, task, unseen)
    task = _in_order(schema, X, task)
    indexes = [index for _, index in schema.groupings]
    if isinstance(X, TaskData):
        assert X.groupings is not None
        held = X.groupings
        query = read_query(schema, X, None, unseen)
        pairs = zip(indexes, held.labels, held.codes.T, held.names, strict=True)
        codes = [
            index.encode([labels[c] for c in own], unseen, str(name), schema.owner)
            for index, labels, own, name in pairs
        ]
    else:
        check_columns(schema, X, task)
        split = _Split.of(X, task, schema.task_column, schema.owner)
        query = read_query(_without_columns(schema), split.X, split.labels[0], unseen)
        codes = [
            index.encode(labels, unseen, str(name), schema.owner)[query.data.order]
            for (name, index), labels in zip(schema.groupings, split.labels, strict=True)
        ]
    data = query.data
    # A view of the rows that knows their levels: what predicts rows of a task sees those alone.
    rows: Any = GroupedRows(data.X, np.column_stack(codes))
    return dataclasses.replace(query, data=dataclasses.replace(data, X=rows))


def levels_apart(schema: InputSchema, X: Any, task: Any) -> tuple[Any, tuple[Labels, ...]]:  # noqa: ANN401
    """Return the features of rows, and their labels in the groupings of the model."""
    task = _in_order(schema, X, task)
    check_columns(schema, X, task)
    split = _Split.of(X, task, schema.task_column, schema.owner)
    return split.X, split.labels


def of_first_grouping(data: TaskData, owner: str) -> TaskData:
    """Return rows for models of one grouping: the levels of the others are categories."""
    held = data.groupings
    if held is None:
        return data
    if is_sparse(data.X):
        raise IncompatibleError(
            LazyMessage("estimator.refusal.groupings_sparse", {"owner": owner})
        )
    pairs = list(zip(held.labels, held.codes.T, strict=True))
    labels = [[known[k] for k in own] for known, own in pairs[1:]]
    X = _with_categories(data.X, held.names[1:], labels)
    return dataclasses.replace(data, X=X, feature_names=tables.feature_names(X), groupings=None)


@saveable("estimator.level_columns")
@dataclasses.dataclass(frozen=True, eq=False)
class LevelColumns:
    """What the levels of groupings beyond the first are to models of one grouping: features."""

    # Shapes: tables (levels + 1, features) each; the last row is that of an unknown level.

    names: tuple[str, ...]
    tables: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, data: TaskData) -> LevelColumns:
        """Encode levels as the categories that :func:`of_first_grouping` makes of them."""
        import pandas as pd

        held = data.groupings
        assert held is not None
        columns: list[str] = []
        found = []
        for name, labels, own in list(zip(held.names, held.labels, held.codes.T, strict=True))[1:]:
            rows = pd.DataFrame(index=range(data.n_rows))
            rows = _with_categories(rows, [name], [[labels[k] for k in own]])
            if not len(rows.columns):
                found.append(np.zeros((len(labels) + 1, 0)))
                continue
            encoder = TableEncoder().fit(rows, sample_weight=data.sample_weight)
            text = [*map(str, labels)]
            text.append(max(text, key=len) + "+")  # one that is none of them
            levels = pd.DataFrame({_column(name): pd.Categorical(text)})
            found.append(np.asarray(encoder.encode(levels).X, dtype=float))
            columns += map(str, encoder.get_feature_names_out())
        return cls(tuple(columns), tuple(found))

    def beside(self, X: Any, codes: NDArray[np.intp]) -> Any:  # noqa: ANN401 - of any float type
        """Return features and beside them those of the levels of rows."""
        pairs = zip(self.tables, codes.T[1:], strict=True)
        return np.hstack([X, *(table.astype(X.dtype)[own] for table, own in pairs)])

    def of_first_grouping(self, data: TaskData) -> TaskData:
        """Return encoded rows for models of one grouping."""
        assert data.groupings is not None
        names = data.feature_names or tuple(f"x{j}" for j in range(data.n_features))
        X = self.beside(data.X, data.groupings.codes)
        return dataclasses.replace(data, X=X, feature_names=(*names, *self.names), groupings=None)


def has_groupings(X: object, task: object, column: TaskColumns) -> bool:
    """Say whether rows, as they were given, belong to several groupings."""
    held = isinstance(X, TaskData) and X.groupings is not None
    return held or is_grouped(task) or isinstance(column, list | tuple)


def given_first_grouping(
    X: Any,  # noqa: ANN401
    task: Any,  # noqa: ANN401
    column: TaskColumns,
    owner: str,
) -> tuple[Any, Any, str | int | None]:
    """Return X, task and task column, as given, for models of one grouping."""
    if isinstance(X, TaskData):
        return of_first_grouping(X, owner), task, None
    columns = [tables.name_at(X, one) for one in listed_columns(column)]
    split = _Split.of(X, task, tuple(c for c in columns if c is not None) or None, owner)
    if columns and tables.is_table(X):
        first, others = columns[0], columns[1:]
        kept = tables.drop_columns(X, others)
        return _with_categories(kept, others, split.labels[1:]), None, first
    return _with_categories(split.X, split.names[1:], split.labels[1:]), split.labels[0], None


def is_category(labels: Sequence[Hashable], n_rows: int) -> bool:
    """Say whether levels can be categories: neither dates nor nearly as many as rows."""
    return 2 * len(labels) <= n_rows and not looks_like_dates(tuple(map(str, labels)))


def _with_categories(
    X: Any,  # noqa: ANN401
    names: Sequence[Hashable],
    labels: Sequence[Iterable[Hashable]],
) -> Any:  # noqa: ANN401
    """Return a table with a column of categories for each grouping."""
    import pandas as pd

    if not tables.is_table(X):
        X = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    frame = tables.open_frame(X)
    for name, own in zip(names, labels, strict=True):
        text = [str(label) for label in own]
        if is_category(sorted(set(text)), len(text)):
            # Text that is numbers: of another kind than features of numbers.
            column = nw.new_series(_column(name), text, nw.String, backend=frame.implementation)
            frame = frame.with_columns(column.cast(nw.Categorical))
    return frame.to_native()


def _column(name: Hashable) -> str:
    return name if isinstance(name, str) else f"grouping {name}"


def _without_columns(schema: InputSchema) -> InputSchema:
    """Return what is expected of the rows once their groupings were taken out."""
    columns, names = listed_columns(schema.task_column), schema.names
    if names is not None:
        names = tuple(name for name in names if name not in columns)
    n = schema.n_features - len(columns)
    return dataclasses.replace(schema, task_column=None, n_features=n, names=names)


def _in_order(schema: InputSchema, X: object, task: Any) -> Any:  # noqa: ANN401
    """Return labels in the order of the groupings in fit; refuse those of other groupings."""
    names = tuple(name for name, _ in schema.groupings)
    if isinstance(X, TaskData):
        given = () if X.groupings is None else X.groupings.names
    elif schema.task_column is not None:
        return task  # they are columns of X
    elif tables.is_table(task):
        given = tables.column_names(task)
        if set(given) == set(names):
            return tables.select(task, names)
    elif isinstance(task, np.ndarray) and task.ndim == 2:
        # Columns without names are those of fit, by position.
        given = names if task.shape[1] == len(names) else tuple(range(task.shape[1]))
    else:
        given = ()
    if given != names:
        fields: dict[str, Any] = {"owner": schema.owner, "names": [*map(repr, names)]}
        fields["got"] = [*map(repr, given)] if given else LazyMessage("got.nothing")
        raise DataError(LazyMessage("estimator.refusal.which_levels", fields))
    return task


def shares_of_groupings(model: object) -> dict[Hashable, tuple[float, ...]]:
    """Return the shares of several groupings in the variance, none of another model."""
    return getattr(model, "variance_shares_", None) or {}


def has_levels(model: object) -> bool:
    """Say whether a model was fitted on several groupings."""
    return bool(getattr(getattr(model, "_schema", None), "groupings", ()))


def refuse_grouped(model: Any, what: str | LazyMessage) -> None:  # noqa: ANN401 - any estimator
    """Refuse what is for models of one grouping."""
    if has_levels(model):
        names = [repr(name) for name, _ in model._schema.groupings]
        fields = {"what": what, "owner": type(model).__name__, "names": names}
        raise IncompatibleError(LazyMessage("linear.refusal.groupings", fields))


READING_GROUPINGS = Reading(training=_training, query=_query, scored=_scored, groupings=True)
