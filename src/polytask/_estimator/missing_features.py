"""Reading features some of which are missing: NaN stays NaN, in arrays and in encoded tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator.places import rows_as_given
from polytask._estimator.query import InputSchema, Query, read_query
from polytask._estimator.scored import Reading, scored_data
from polytask._estimator.training import TaskColumn, encode, is_task_mapping, training_data
from polytask.data import TableEncoder, TaskData, tables
from polytask.data.missing import missing_mask
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclasses.dataclass(frozen=True, eq=False)
class IncompleteRows:
    """Rows of encoded features, some of them missing, which know their places in the input."""

    # Shapes: values (n, d), numbers (n,).

    values: NDArray[Any]
    numbers: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and features."""
        return self.values.shape

    def __getitem__(self, rows: Any) -> IncompleteRows:  # noqa: ANN401 - a slice, mask or numbers
        """Return some of the rows."""
        return IncompleteRows(self.values[rows], self.numbers[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class MissingCells:
    """Which cells of the input are missing. Shapes: missing (n, n_columns), order (n,)."""

    missing: Mask
    names: tuple[str, ...] | None
    order: Rows | None = None

    def of_columns(self, names: Sequence[str] | None) -> Mask:
        """Return the columns of these names; what the table lacks is missing in every row."""
        if self.names is None or names is None:
            return self.missing
        place = {name: j for j, name in enumerate(self.names)}
        columns = [place.get(name, -1) for name in names]
        padded = np.column_stack([self.missing, np.ones(len(self.missing), dtype=bool)])
        return padded[:, columns]

    def numbers(self, data: TaskData) -> Rows:
        """Return the number in the input of each row of data that was read from it."""
        return data.order if self.order is None else self.order[data.order]


def _features(schema: InputSchema, data: TaskData) -> Sequence[str] | None:
    """Return the column of the table that each feature of a query comes from."""
    return data.feature_names if schema.encoder is None else _sources(schema.encoder)


def _sources(encoder: TableEncoder) -> list[str]:
    """Return the column of the table that each feature comes from."""
    names: list[str] = encoder.feature_names_in_[encoder.source_columns()].tolist()
    return names


def _with_nan(X: NDArray[Any], missing: Mask) -> NDArray[Any]:
    return np.where(missing, np.asarray(np.nan, dtype=X.dtype), X) if missing.any() else X


def _put_back(data: TaskData, holes: MissingCells) -> TaskData:
    """Undo what :func:`_without_holes` did to arrays, and to the order of a TaskData."""
    if holes.names is None:
        X = _with_nan(data.X, holes.missing[data.order])
        data = dataclasses.replace(data, X=X)
    return dataclasses.replace(data, order=holes.numbers(data))


def _without_holes(X: object, labels: object, owner: str) -> tuple[Any, MissingCells]:
    """Fill the gaps of arrays with 0, and say where they are."""
    if isinstance(X, TaskData):
        design, holes = _without_holes(X.X, None, owner)
        rows = np.arange(X.n_rows, dtype=np.intp)
        holes = dataclasses.replace(holes, order=X.order)
        return dataclasses.replace(X, X=design, order=rows), holes
    if is_task_mapping(X):
        return _of_mapping(X, owner)
    if sp.issparse(X):
        allowed, got = LazyMessage("allowed.dense_with_gaps"), LazyMessage("got.sparse")
        raise DataError(sentence("X", owner, allowed, got))
    return (X, _of_table(X)) if tables.is_table(X) else _of_array(X, labels)


def _of_mapping(X: Any, owner: str) -> tuple[Any, MissingCells]:  # noqa: ANN401 - a mapping
    filled, found = {}, []
    for label, value in X.items():
        pair = isinstance(value, tuple) and len(value) == 2
        design, holes = _without_holes(value[0] if pair else value, None, owner)
        filled[label] = (design, value[1]) if pair else design
        found.append(holes)
    if all(holes.names is not None for holes in found):
        names = tuple(dict.fromkeys(name for holes in found for name in holes.names or ()))
        return filled, MissingCells(np.concatenate([h.of_columns(names) for h in found]), names)
    widths = {holes.missing.shape[1] for holes in found}
    # Designs of several widths or kinds are refused where they are read.
    masks = [holes.missing for holes in found] if len(widths) == 1 else [np.zeros((0, 0), bool)]
    return filled, MissingCells(np.concatenate(masks), None)


def _of_table(X: Any) -> MissingCells:  # noqa: ANN401 - a table
    names = tables.column_names(X)
    cells = [missing_mask(tables.get_column(X, name)) for name in names]
    missing = np.column_stack(cells) if cells else np.zeros((0, 0), dtype=bool)
    # As the encoder names them.
    return MissingCells(missing, tuple(map(str, names)))


def _filled_table(X: Any, holes: MissingCells) -> Any:  # noqa: ANN401 - a table
    """Return a table with 0 in its gaps, for a model that was fitted on an array."""
    names = tables.column_names(X)
    columns = {
        str(name): np.where(missing, 0, tables.get_column(X, name))
        for name, missing in zip(names, holes.missing.T, strict=True)
    }
    return tables.table_like(X, columns) if holes.missing.any() else X


def _of_array(X: Any, labels: object) -> tuple[Any, MissingCells]:  # noqa: ANN401 - array-like
    try:
        array = np.asarray(X)
        missing = missing_mask(array)
    except ValueError:
        # Rows of different lengths, or entries that are no numbers: refused where X is read.
        return X, MissingCells(np.zeros((0, 0), dtype=bool), None)
    if array.ndim != 2 or np.ma.is_masked(X):
        return X, MissingCells(np.zeros((0, 0), dtype=bool), None)
    held = _position(labels, array.shape[1])
    if held is not None:
        # A missing label is refused as one.
        missing[:, held] = False
    filled = np.where(missing, np.zeros((), dtype=array.dtype), array) if missing.any() else X
    kept = missing if held is None else np.delete(missing, held, axis=1)
    return filled, MissingCells(kept, None)


def _position(labels: object, n_columns: int) -> int | None:
    """Return the column of an array that holds the task labels, None if none does."""
    if not isinstance(labels, int | np.integer) or isinstance(labels, bool):
        return None
    return int(labels) % n_columns if -n_columns <= labels < n_columns else None


def _training(
    X: object, y: object, task: object, sample_weight: object, column: TaskColumn, owner: str
) -> TaskData:
    filled, holes = _without_holes(X, task if column is None else column, owner)
    return _put_back(training_data(filled, y, task, sample_weight, column, owner), holes)


def _encoded(raw: TaskData) -> tuple[TaskData, TableEncoder | None]:
    """Fit an encoder to the cells that are there; features of the others are NaN."""
    if not tables.is_table(raw.X):
        return raw, None
    holes = _of_table(raw.X)
    with rows_as_given(raw):
        encoder = TableEncoder().fit(
            raw.X,
            sample_weight=raw.sample_weight,
            present=~holes.missing,
            is_part=raw.is_part,
        )
    data = dataclasses.replace(encode(raw, encoder), present=None)
    missing = holes.of_columns(_sources(encoder))
    return data.with_X(_with_nan(data.X, missing), data.feature_names), encoder


def _query(schema: InputSchema, X: object, task: object, unseen: str) -> Query:
    labels = task if schema.task_column is None else schema.task_column
    filled, holes = _without_holes(X, labels, schema.owner)
    if schema.encoder is None and tables.is_table(X):
        filled = _filled_table(X, holes)
    query = read_query(schema, filled, task, unseen)
    data, numbers = query.data, holes.numbers(query.data)
    missing = holes.of_columns(_features(schema, data))[data.order]
    rows = IncompleteRows(_with_nan(data.X, missing), numbers)
    data = dataclasses.replace(data, X=rows, order=numbers, present=None)
    return dataclasses.replace(query, data=data)


def _scored(
    schema: InputSchema, X: object, y: object, task: object, sample_weight: object
) -> TaskData:
    labels = task if schema.task_column is None else schema.task_column
    filled, holes = _without_holes(X, labels, schema.owner)
    return _put_back(scored_data(schema, filled, y, task, sample_weight), holes)


# NaN marks what is missing: nothing is filled in. Only the rows of a query come as
# :class:`IncompleteRows`; those of `fit` are an array with NaN.
READING_MISSING = Reading(_training, _encoded, _query, _scored)
