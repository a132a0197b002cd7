"""From what `predict` is given to encoded rows per task."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator.dates import DayFirst, names_before
from polytask._estimator.training import (
    TaskColumns,
    check_names,
    encode,
    is_task_mapping,
    listed_columns,
    refuse_extra,
)
from polytask._registry import State, fields_of, saveable
from polytask.data import Form, LabelIndex, TableEncoder, TaskData, tables
from polytask.data.labels import refuse_groupings
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

UNSEEN = -1
_SHOWN = 10


@saveable("estimator.input_schema")
@dataclass(frozen=True, eq=False)
class InputSchema:
    """What `predict` must be given, as learned in `fit`. Shapes: present (n_tasks, n_columns)."""

    owner: str
    index: LabelIndex
    form: Form
    n_features: int
    names: tuple[str, ...] | None
    task_column: TaskColumns
    encoder: TableEncoder | None
    present: NDArray[np.bool_] | None = None
    # Columns of dates that became features.
    dates: DayFirst = field(default_factory=dict)
    # Name and levels of each of several groupings, that of the tasks first.
    groupings: tuple[tuple[Hashable, LabelIndex], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns learned from, a date as one; none for rows without names."""
        held = listed_columns(self.task_column)
        # A date that is given beside the features that were made of it is one column.
        return names_before(tuple(n for n in self.names or () if n not in held), self.dates)

    def to_state(self) -> State:
        """Return the fields by name, the form as its value."""
        return fields_of(self) | {"form": self.form.value}

    @classmethod
    def from_state(cls, state: State) -> InputSchema:
        """Rebuild the object from :meth:`to_state`."""
        return cls(**state | {"form": Form(state["form"])})


class Part(NamedTuple):
    """One entry of a mapping that was given: its label, its rows, its table if it is one."""

    label: Hashable
    rows: slice
    template: Any


@dataclass(frozen=True, eq=False)
class Query:
    """Rows to predict."""

    data: TaskData
    codes: NDArray[np.intp] | None
    template: Any
    parts: tuple[Part, ...] | None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.data.n_rows

    def places(self) -> NDArray[np.intp]:
        """Return where each row stands in the output: they count the rows that are here."""
        # The data may be a subset of the input.
        places = np.empty(self.n_rows, dtype=np.intp)
        places[np.argsort(self.data.order, kind="stable")] = np.arange(self.n_rows)
        return places

    def row_tasks(self) -> NDArray[np.intp]:
        """Return the model's task of every row, those of a task together."""
        return np.repeat(self._codes(), self.data.task_rows())

    def _codes(self) -> NDArray[np.intp]:
        if self.codes is None:
            raise TypeError("A query for every task has no task for a row.")
        return self.codes

    def groups(self) -> Iterator[tuple[int, Any, NDArray[np.intp]]]:
        """Yield (task, its rows of X, their places in the output); tasks without rows left out."""
        places = self.places()
        for k, code in enumerate(self._codes()):
            part = self.data.task_slice(k)
            if part.stop > part.start:
                yield int(code), self.data.X[part], places[part]


def named_columns(schema: InputSchema, X: Any) -> Any:  # noqa: ANN401 - what a user gives
    """Give an array the column names of the table that the model was fitted on, by position."""
    if schema.encoder is None or schema.names is None:
        return X
    if is_task_mapping(X):
        return {
            label: (named_columns(schema, part[0]), *part[1:])
            if isinstance(part, tuple)
            else named_columns(schema, part)
            for label, part in X.items()
        }
    shape = _shape(X) if isinstance(X, np.ndarray | list) else ()
    if len(shape) != 2:
        return X
    import pandas as pd

    names = schema.names
    if shape[1] != len(names):
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise DataError(
            LazyMessage(
                "estimator.refusal.width_of_table",
                {"owner": schema.owner, "n": len(names), "names": shown, "got": shape[1]},
            )
        )
    return pd.DataFrame(X, columns=list(names)).infer_objects()


def refuse_arrays(X: object, owner: str) -> None:
    """Refuse what has no index and names that predictions could keep."""
    parts = list(X.values()) if is_task_mapping(X) else [X]
    for part in parts:
        if not tables.is_table(part):
            what, allowed = f"{owner}.predict_frame", LazyMessage("allowed.tables")
            raise DataError(sentence("X", what, allowed, type(part).__name__))


def read_query(schema: InputSchema, X: object, task: object, unseen: str) -> Query:
    """Read what `predict` was given. Shapes: task (n,)."""
    if isinstance(X, TaskData):
        if X.groupings is not None and not schema.groupings:
            refuse_groupings(X.groupings.codes, None, schema.owner)
        return _finish(schema, _encoded(schema, X), X, unseen, None)
    if is_task_mapping(X):
        refuse_extra(schema.owner, "task_mapping", task=task)
        return _from_mapping(schema, X, unseen)
    # A table is opened once.
    rows = tables.open_frame(X) if tables.is_table(X) else X
    check_columns(schema, rows, task)
    if schema.task_column is not None:
        if task is not None:
            raise DataError(
                LazyMessage(
                    "estimator.refusal.task_and_column",
                    {"owner": schema.owner, "column": repr(schema.task_column)},
                )
            )
        task = schema.task_column
    if task is None and len(schema.index.labels) > 1 and schema.form is not Form.TARGETS:
        fields = {"owner": schema.owner, "n": len(schema.index.labels)}
        raise DataError(LazyMessage("estimator.refusal.which_task", fields))
    refuse_groupings(task, None, schema.owner)
    tables.warn_of_other_order(X, task=task)
    data = _encoded_rows(schema, rows, task, unseen)
    if task is None:
        codes = None if schema.form is Form.TARGETS else np.zeros(1, dtype=np.intp)
        return Query(data, codes, _template(X), None)
    return _finish(schema, data, X, unseen, None)


def _encoded_rows(schema: InputSchema, X: Any, task: Any, unseen: str) -> TaskData:  # noqa: ANN401
    """Return rows with their tasks; those of a table are encoded before they are sorted."""
    encoder = schema.encoder
    if encoder is None or schema.present is not None or not tables.is_table(X):
        X = nw.to_native(X, pass_through=True)
        data = TaskData.from_long(X, None, task)
        if task is not None:
            _name_unseen(schema, X, task, unseen)
        return _encoded(schema, data)
    if isinstance(task, str | int):
        task = tables.get_column(X, task)
    if task is not None:
        schema.index.encode(task, unseen, "task", schema.owner)
    data = TaskData.from_long(encoder.encode(X).X, None, task)
    return data.with_X(data.X, encoder.labels())


def _from_mapping(schema: InputSchema, X: Mapping[Hashable, Any], unseen: str) -> Query:
    schema.index.encode(list(X), unseen, "task", schema.owner)
    designs = {name: v[0] if isinstance(v, tuple) else v for name, v in X.items()}
    data = _encoded(schema, TaskData.from_tasks(designs))
    rows = dict(zip(data.tasks, data.task_rows().tolist(), strict=True))
    ends = np.cumsum([rows[name] for name in designs])
    parts = tuple(
        Part(name, slice(int(end) - rows[name], int(end)), _template(design))
        for (name, design), end in zip(designs.items(), ends, strict=True)
    )
    return _finish(schema, data, None, unseen, parts)


def _finish(
    schema: InputSchema,
    data: TaskData,
    X: object,
    unseen: str,
    parts: tuple[Part, ...] | None,
) -> Query:
    if data.form is Form.TARGETS:
        # One task that holds all rows.
        every = TaskData.from_long(data.X).with_X(data.X, data.feature_names)
        return Query(every, None, None, parts)
    codes = schema.index.encode(list(data.tasks), "shared", "task", schema.owner)
    if unseen == "error" and bool((codes < 0).any()):
        # Refused with the numbers of the rows.
        rows = data.row_tasks()[np.argsort(data.order, kind="stable")]
        schema.index.encode([data.tasks[t] for t in rows], unseen, "task", schema.owner)
    return Query(data, codes, _template(X), parts)


def _name_unseen(schema: InputSchema, X: object, task: object, unseen: str) -> None:
    """Refuse unseen labels with the numbers of their rows."""
    if isinstance(task, str) and tables.is_table(X):
        task = tables.get_column(X, task)
    elif isinstance(task, str | int):
        task = np.asarray(X)[:, task] if not isinstance(task, str) else task
    schema.index.encode(task, unseen, "task", schema.owner)


def check_columns(schema: InputSchema, X: object, task: object = None) -> None:
    """Refuse columns other than those in `fit`, before anything else is read."""
    if isinstance(X, TaskData) or is_task_mapping(X):
        return
    if tables.is_table(X) and schema.names is not None:
        check_names(tables.feature_names(X) or (), schema.names, schema.owner)
        return
    expected = schema.n_features
    if schema.task_column is None and isinstance(task, int | np.integer):
        expected += 1
    shape = _shape(X)
    if len(shape) == 2 and shape[0]:
        refuse_width(shape[1], expected, schema.owner)


def _shape(X: Any) -> tuple[int, ...]:  # noqa: ANN401 - any container
    if hasattr(X, "shape"):
        return tuple(X.shape)
    try:
        return np.asarray(X).shape
    except ValueError:
        # Rows of different lengths; refused with a sentence where X is read.
        return ()


def refuse_width(width: int, expected: int, owner: str) -> None:
    """Refuse rows of another number of columns than in `fit`."""
    if width != expected:
        fields = {"owner": owner, "width": width, "expected": expected}
        raise DataError(LazyMessage("estimator.refusal.width", fields))


def _template(X: object) -> object:
    return X if tables.is_table(X) else None


def _encoded(schema: InputSchema, data: TaskData) -> TaskData:
    if schema.encoder is not None:
        if not tables.is_table(data.X):
            fields = {"owner": schema.owner, "kind": type(data.X).__name__}
            raise DataError(LazyMessage("estimator.refusal.fitted_on_table", fields))
        return encode(_with_lacking(schema, data), schema.encoder)
    refuse_width(
        data.n_features, schema.n_features - len(listed_columns(schema.task_column)), schema.owner
    )
    if tables.is_table(data.X):
        return data.with_X(_table_to_array(data.X, schema.owner), data.feature_names)
    return data


def _table_to_array(X: Any, owner: str) -> NDArray[np.float64]:  # noqa: ANN401 - any table
    columns = [tables.get_column(X, name) for name in tables.column_names(X)]
    if any(column.dtype.kind not in "biuf" for column in columns):
        raise DataError(LazyMessage("estimator.refusal.fitted_on_array", {"owner": owner}))
    array = np.column_stack(columns).astype(float)
    return np.asarray(TaskData.from_long(array).X)


def _with_lacking(schema: InputSchema, data: TaskData) -> TaskData:
    """Add the columns that the queried tasks lacked in training already, as gaps."""
    if schema.present is None or schema.encoder is None:
        return data
    have = set(tables.column_names(data.X))
    known = [str(name) for name in schema.encoder.feature_names_in_]
    codes = schema.index.encode(list(data.tasks), "shared")
    seen = codes[codes >= 0]
    lacking = [
        name
        for j, name in enumerate(known)
        if name not in have and not schema.present[seen, j].any()
    ]
    if not lacking:
        return data
    frame = nw.from_native(data.X, eager_only=True)
    wide = frame.with_columns([nw.lit(None).cast(nw.Float64).alias(name) for name in lacking])
    base = np.ones((data.n_tasks, len(have)), bool) if data.present is None else data.present
    present = np.column_stack([base, np.zeros((data.n_tasks, len(lacking)), bool)])
    return data.with_X(wide.to_native(), None, present)
