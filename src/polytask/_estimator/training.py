"""From what `fit` and `score` are given to encoded TaskData."""

from __future__ import annotations

import dataclasses
import numbers
import warnings
from collections.abc import Container, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import nearest, sentence
from polytask._estimator.places import rows_as_given
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data.labels import refuse_groupings
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage, message_of

TaskColumn = str | int | None
# Several columns are those of several groupings.
TaskColumns = TaskColumn | Sequence[str | int]


@runtime_checkable
class Collected(Protocol):
    """Statistics of rows, which are fitted in place of the rows."""

    @property
    def encoder(self) -> TableEncoder | None:
        """How the columns of a table became features."""
        ...

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the columns."""
        ...

    @property
    def tasks(self) -> tuple[Hashable, ...]:
        """The task labels."""
        ...

    @property
    def n_features(self) -> int:
        """How many features there are after encoding."""
        ...

    @property
    def n_columns(self) -> int:
        """How many there are."""
        ...

    @property
    def task_column(self) -> TaskColumn:
        """The column that holds the task labels."""
        ...

    @property
    def in_parts(self) -> bool:
        """Whether the rows can be read again, a part at a time."""
        ...

    @property
    def n_rows(self) -> int:
        """How many rows were collected."""
        ...

    @property
    def rows_per_task(self) -> tuple[int, ...]:
        """How many of each task."""
        ...

    def to_task_data(self) -> TaskData:
        """Return rows that have the same statistics."""
        ...


_CELLS = (str, numbers.Real, np.bool_, type(None))


def listed_columns(column: TaskColumns) -> tuple[str | int, ...]:
    """Return the columns that hold task labels, none, one or those of several groupings."""
    if column is None or isinstance(column, str | int | np.integer):
        return () if column is None else (column,)
    return tuple(column)


def refused_statistics(owner: str) -> IncompatibleError:
    """Return what to raise where rows are needed and statistics came."""
    return IncompatibleError(LazyMessage("estimator.refusal.statistics", {"owner": owner}))


def refuse_beside_statistics(owner: str, *held: object) -> None:
    """Refuse what statistics hold already."""
    if any(value is not None for value in held):
        what, allowed = LazyMessage("what.held"), LazyMessage("allowed.none_statistics")
        raise DataError(sentence(what, owner, allowed, LazyMessage("got.a_value")))


def refuse_other_features(
    found: Collected, encoder: TableEncoder | None, n_features: int, owner: str
) -> None:
    """Refuse statistics whose features are not those of a model."""
    mine, theirs = (one and one.to_state()["codes"] for one in (encoder, found.encoder))
    lacks = encoder is None and found.encoder is None and found.n_features != n_features
    if mine != theirs or lacks:
        fields = {"owner": owner, "n": n_features, "n2": found.n_features}
        raise IncompatibleError(LazyMessage("estimator.refusal.other_features", fields))


def training_data(
    X: object,
    y: object,
    task: object,
    sample_weight: object,
    task_column: TaskColumns,
    owner: str,
    *,
    groupings: bool = False,
) -> TaskData:
    """Read the three data forms; `groupings`: TaskData may have several of them."""
    # Shapes: y (n,), task (n,), sample_weight (n,).
    if isinstance(X, Collected):
        raise refused_statistics(owner)
    refuse_groupings(task, task_column, owner)
    for name, value in {"X": X, "y": y, "task": task, "sample_weight": sample_weight}.items():
        # Before anything asks for their values, which would bring all rows here.
        tables.refuse_lazy(value, name, owner)
    if isinstance(X, TaskData):
        refuse_extra(owner, "task_data", y=y, task=task, sample_weight=sample_weight)
        if not groupings and X.groupings is not None:
            refuse_groupings(X.groupings.codes, None, owner)
        data = X
    elif is_task_mapping(X):
        refuse_extra(owner, "task_mapping", y=y, task=task)
        data = TaskData.from_tasks(X, sample_weight=sample_weight)
    else:
        try:
            data = _from_arrays(X, y, task, sample_weight, task_column, owner)
        except DataError as error:
            said = message_of(error)
            if isinstance(said, LazyMessage) and said.fields.get("owner") == "TaskData":
                # Which the user may not know: named is what was called.
                error.args = (LazyMessage(said.key, said.fields | {"owner": owner}),)
            raise
    if data.y is None:
        raise DataError(LazyMessage("estimator.refusal.no_y_within", {"owner": owner}))
    return _without_weightless(data, owner)


def as_table(X: Any, column: TaskColumns) -> Any:  # noqa: ANN401 - what a user gives
    """Turn an array of objects that holds text beside its task column into a table."""
    # As tools of scikit-learn give it that make arrays of tables: BaggingRegressor, SHAP.
    if not isinstance(X, np.ndarray) or X.dtype != object or X.ndim != 2:
        return X
    columns: Any = listed_columns(column)
    if any(isinstance(name, str) for name in columns):
        return X  # an array has no names: refused where it is read
    try:
        np.delete(X, columns, axis=1).astype(float)
    except (TypeError, ValueError, IndexError):
        kinds = set(map(type, X.ravel()))
        if str not in kinds or not all(issubclass(kind, _CELLS) for kind in kinds):
            return X
        import pandas as pd

        return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]).infer_objects()
    return X


def check_task_column(column: object, owner: str, groupings: bool = False) -> None:
    """Raise ParameterError unless `column` can name a column, or those of several groupings."""
    several = isinstance(column, list | tuple)
    named = column if isinstance(column, list | tuple) else [column]
    fine = all(
        isinstance(one, str | int | np.integer) and not isinstance(one, bool) for one in named
    )
    if several:
        fine = fine and len(set(named)) == len(named) >= 2
    if fine and not groupings:
        refuse_groupings(None, column, owner)
    if column is not None and not fine:
        allowed = LazyMessage("allowed.task_columns" if groupings else "allowed.task_column")
        raise ParameterError(sentence("task_column", owner, allowed, repr(column)))


def is_task_mapping(X: object) -> TypeGuard[Mapping[Hashable, Any]]:
    """Say whether X is a mapping of tasks; a sparse matrix may be a mapping of its entries."""
    return isinstance(X, Mapping) and not sp.issparse(X)


def _from_arrays(
    X: object, y: object, task: object, sample_weight: object, column: TaskColumns, owner: str
) -> TaskData:
    if y is None:
        raise DataError(LazyMessage("estimator.refusal.no_y", {"owner": owner}))
    if column is not None:
        if task is not None:
            fields = {"owner": owner, "column": repr(column)}
            raise DataError(LazyMessage("estimator.refusal.task_twice", fields))
        task = column
    if is_wide(y) or names_targets(X, y):
        if task is not None:
            fields = {"owner": owner, "given": "task" if column is None else "task_column"}
            raise DataError(LazyMessage("estimator.refusal.wide_y", fields))
        return TaskData.from_targets(X, y, sample_weight=sample_weight)
    return TaskData.from_long(X, y, task, sample_weight=sample_weight)


def is_wide(y: Any) -> bool:  # noqa: ANN401 - any container
    if isinstance(y, str):
        return False
    if tables.is_table(y):
        return True
    try:
        return np.asarray(y).ndim == 2
    except ValueError:
        # Rows of different lengths; refused with a sentence where y is read.
        return False


def names_targets(X: object, y: object) -> bool:
    """Say whether y lists columns of the table X."""
    if not isinstance(y, list | tuple) or not y or not tables.is_table(X):
        return False
    known = set(tables.column_names(X))
    return all(isinstance(name, str) and name in known for name in y)


def warn_of_key(data: TaskData, owner: str, made: Container[str]) -> None:
    """Warn if, without task labels, a text column of a table looks like a task label."""
    # Columns that were `made` of dates are none.
    X = data.X
    if data.form is not Form.LONG or data.n_tasks > 1 or not tables.is_table(X):
        return
    for name in tables.column_names(X):
        values = tables.get_column(X, name)
        if name in made or values.dtype != object or len(values) < 20:
            continue
        count = len(set(values.tolist()))
        if 3 <= count <= len(values) // 5:
            fields = {"owner": owner, "column": name, "n": count}
            warnings.warn(DataWarning(LazyMessage("warn.no_labels", fields)), stacklevel=3)
            return


def refuse_extra(
    owner: str, what: str, y: object = None, task: object = None, sample_weight: object = None
) -> None:
    """Refuse arguments beside an X that holds them already."""
    given = {"y": y, "task": task, "sample_weight": sample_weight}
    for name, value in given.items():
        if value is not None:
            allowed = LazyMessage("allowed.none_held", {"what": LazyMessage(f"what.{what}")})
            raise DataError(sentence(name, owner, allowed, LazyMessage("got.a_value")))


def _without_weightless(data: TaskData, owner: str) -> TaskData:
    weight = data.sample_weight
    if weight is None or bool(np.all(weight > 0)):
        return data
    kept = data.rows(np.flatnonzero(weight > 0))
    if kept.n_rows == 0:
        raise DataError(LazyMessage("estimator.refusal.weightless", {"owner": owner}))
    empty = [t for t, n in zip(data.tasks, kept.task_rows(), strict=True) if n == 0]
    if empty:
        fields = {"n": len(empty), "names": _shown(empty)}
        warnings.warn(DataWarning(LazyMessage("warn.weightless", fields)), stacklevel=4)
    return dataclasses.replace(kept, n_input=data.n_rows, is_part=data.is_part)


def _shown(labels: list[Hashable]) -> str:
    return ", ".join(repr(label) for label in labels[:5]) + (", ..." if len(labels) > 5 else "")


def encode_training(data: TaskData) -> tuple[TaskData, TableEncoder | None]:
    """Turn a table into numbers; arrays and sparse matrices stay as they are."""
    if not tables.is_table(data.X):
        return data, None
    exists = cell_mask(data)
    weight = data.sample_weight
    with rows_as_given(data):
        encoder = TableEncoder().fit(
            data.X, sample_weight=weight, present=exists, is_part=data.is_part
        )
    return encode(data, encoder), encoder


def encode(data: TaskData, encoder: TableEncoder) -> TaskData:
    """Apply a fitted encoder to raw data."""
    with rows_as_given(data):
        encoded = encoder.encode(data.X, present=cell_mask(data))
    present = data.present
    if present is not None:
        position = {name: j for j, name in enumerate(tables.column_names(data.X))}
        sources = encoder.feature_names_in_[encoder.source_columns()]
        present = present[:, [position[name] for name in sources]]
    return dataclasses.replace(data, X=encoded.X, feature_names=encoder.labels(), present=present)


def cell_mask(data: TaskData) -> NDArray[np.bool_] | None:
    """Return which cells exist, shape (n_rows, n_columns), None if all do."""
    if data.present is None or data.form is Form.TARGETS:
        return None
    return np.asarray(data.present[data.row_tasks()])


def check_names(given: tuple[str, ...], known: tuple[str, ...], owner: str) -> None:
    """Refuse columns that were renamed since training, naming the nearest."""
    there = set(given)
    absent = [name for name in known if name not in there]
    if absent:
        hint = nearest(absent[0], [name for name in given if name not in set(known)])
        fields = {"owner": owner, "n": len(absent), "names": _shown(list(absent)), "hint": hint}
        raise DataError(LazyMessage("estimator.refusal.lacks", fields))
