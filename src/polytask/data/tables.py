"""Data frames of pandas, polars and pyarrow, seen through narwhals."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest, sentence
from polytask.data.missing import is_missing
from polytask.exceptions import DataError, DataWarning
from polytask.messages import LazyMessage, Text, with_and

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame, IntoDataFrameT

Rows = NDArray[np.intp] | slice


def is_table(X: object) -> TypeGuard[IntoDataFrame]:
    """Say whether `X` is an eager data frame (pandas, polars or pyarrow)."""
    # Arrays and pandas first: asking every library takes a while, which adds up over many tasks.
    if isinstance(X, np.ndarray | list | str | nw.DataFrame | None):
        return isinstance(X, nw.DataFrame)
    asked = nw.dependencies
    return asked.is_pandas_dataframe(X) or asked.is_into_dataframe(X)


def is_column(y: object) -> bool:
    """Say whether `y` is a column of a data frame (a Series or a ChunkedArray)."""
    plain = isinstance(y, np.ndarray | list | str | None)
    return not plain and nw.dependencies.is_into_series(y)


def refuse_lazy(X: object, parameter: Text, owner: Text) -> None:
    """Refuse a lazy frame or a collection of Dask, whose rows are not there yet."""
    if isinstance(X, np.ndarray | list | tuple) or nw.dependencies.is_pandas_dataframe(X):
        return
    kind: Any = X
    dask = type(X).__module__.partition(".")[0] in ("dask", "dask_expr")
    if dask or (nw.dependencies.is_into_lazyframe(kind) and not is_table(kind)):
        got = LazyMessage("got.dask" if dask else "got.lazy", {"kind": type(X).__name__})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.in_memory"), got))


def open_frame(X: IntoDataFrame) -> nw.DataFrame[Any]:
    """Return the narwhals view of a table."""
    try:
        return nw.from_native(X, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        raise DataError(
            LazyMessage("data.refusal.different_names", {"error": str(error)})
        ) from None


def column_names(X: IntoDataFrame) -> tuple[Hashable, ...]:
    """Return the column names of a table, in order, as they are."""
    return tuple(open_frame(X).columns)


def feature_names(X: IntoDataFrame) -> tuple[str, ...] | None:
    """Return the column names if they are all text, None if none of them is."""
    names = column_names(X)
    text = [isinstance(name, str) for name in names]
    if any(text) and not all(text):
        got = LazyMessage(
            "got.name_types", {"kinds": sorted({type(name).__name__ for name in names})}
        )
        raise DataError(
            sentence(LazyMessage("what.column_names"), "X", LazyMessage("allowed.all_text"), got)
        )
    return tuple(str(name) for name in names) if names and all(text) else None


def n_rows(X: IntoDataFrame) -> int:
    """Return the number of rows of a table."""
    return len(open_frame(X))


def take_rows(X: IntoDataFrameT, rows: Rows) -> IntoDataFrameT:
    """Return the given rows of a table as a table of the same kind."""
    if isinstance(rows, slice) and rows == slice(None):
        return X
    taken: IntoDataFrameT = open_frame(X)[rows].to_native()
    return taken


def select(X: IntoDataFrameT, names: Sequence[Hashable]) -> IntoDataFrameT:
    """Return the named columns of a table, in the order of `names`."""
    known = column_names(X)
    for name in names:
        _require(name, known)
    # By position, because the names of pandas need not be text.
    chosen: IntoDataFrameT = open_frame(X)[:, [known.index(name) for name in names]].to_native()
    return chosen


def drop_columns(X: IntoDataFrameT, names: Sequence[Hashable]) -> IntoDataFrameT:
    """Return a table without the named columns."""
    known = column_names(X)
    for name in names:
        _require(name, known)
    return select(X, [name for name in known if name not in names])


def get_column(X: IntoDataFrame, name: Hashable) -> NDArray[Any]:
    """Return a column of a table as an array; see :func:`column_values`."""
    known = column_names(X)
    _require(name, known)
    return column_values(open_frame(X)[:, known.index(name)])


def name_at(X: object, column: str | int | None) -> str | int | None:
    """Return the name of a column of a table with names; what is no position stays as it is."""
    names = feature_names(X) if is_table(X) else None
    if names is None or column is None or isinstance(column, str):
        return column
    if not -len(names) <= column < len(names):
        got = LazyMessage("got.position_beyond", {"column": column, "n": len(names)})
        raise DataError(sentence("task_column", "fit", LazyMessage("allowed.position"), got))
    return names[column]


def column_values(column: object) -> NDArray[Any]:
    """Return a column as an array. Shapes: result (n,)."""
    series = nw.from_native(column, series_only=True, allow_series=True)  # type: ignore[call-overload]
    dtype = series.dtype
    if dtype.is_numeric() or dtype.is_temporal():
        return np.asarray(series.to_numpy())
    if dtype == nw.Boolean and series.null_count() == 0:
        return np.asarray(series.to_numpy(), dtype=np.bool_)
    # By way of a list: the arrays of categories of some backends lose their gaps.
    values = np.empty(len(series), dtype=object)
    values[:] = series.to_list()
    if series.null_count() or dtype in (nw.Categorical, nw.Object):
        values[[is_missing(value) for value in values]] = None
    return values


def warn_of_other_order(X: object, **columns: object) -> bool:
    """Warn of columns whose index names the rows of X in another order; say whether there are."""
    # Rows are joined by their places, as in scikit-learn.
    index, found = _pandas_index(X), False
    for name, column in columns.items():
        other = None if index is None else _pandas_index(column)
        if other is None or len(other) != len(index) or other.equals(index):
            continue
        if other.isin(index).all() and index.isin(other).all():
            row, found = int(np.flatnonzero(np.asarray(other != index))[0]), True
            fields = {"name": name, "row": row, "own": str(other[row]), "of_x": str(index[row])}
            warnings.warn(DataWarning(LazyMessage("warn.other_order", fields)), stacklevel=5)
    return found


def _pandas_index(values: object) -> Any:  # noqa: ANN401 - an index of pandas, or None
    asked = nw.dependencies
    pandas = asked.is_pandas_like_dataframe(values) or asked.is_pandas_like_series(values)
    return getattr(values, "index", None) if pandas else None


def take_column(column: object, rows: NDArray[np.intp]) -> Any:  # noqa: ANN401 - what came in
    """Return the given rows of a column as a column of the same kind."""
    series = nw.from_native(column, series_only=True, allow_series=True)  # type: ignore[call-overload]
    return series[rows].to_native()


def table_like(
    template: IntoDataFrameT,
    columns: Mapping[str, NDArray[Any]],
    rows: Rows | None = None,
) -> IntoDataFrameT:
    """Build a table of the same kind as another, such as a table of predictions."""
    # Shapes: columns (n,), rows (n,).
    backend = open_frame(template).implementation
    pandas_like = backend.is_pandas_like()
    plain = {name: _plain(values, pandas_like) for name, values in columns.items()}
    table: Any = nw.from_dict(plain, backend=backend).to_native()
    if pandas_like:
        native: Any = template
        table.index = native.index if rows is None else native.index[rows]
    result: IntoDataFrameT = table
    return result


def same_kind(tables: Sequence[IntoDataFrame]) -> bool:
    """Say whether all tables come from the same library."""
    return len({open_frame(table).implementation for table in tables}) == 1


def stack(tables: Sequence[IntoDataFrameT]) -> IntoDataFrameT:
    """Put tables below each other, columns aligned by name, gaps where one is lacking."""
    frames = [open_frame(table) for table in tables]
    kinds = _common_dtypes(frames)
    stacked = nw.concat([_cast(frame, kinds) for frame in frames], how="diagonal")
    result: IntoDataFrameT = stacked.to_native()
    return result


def _cast(frame: nw.DataFrame[Any], kinds: Mapping[str, Any]) -> nw.DataFrame[Any]:
    changed = [
        frame[:, position].cast(kinds[name])
        for position, name in enumerate(frame.columns)
        if name in kinds
    ]
    return frame.with_columns(*changed) if changed else frame


def _common_dtypes(frames: Sequence[nw.DataFrame[Any]]) -> dict[str, Any]:
    """Return the dtype to cast to for every column whose dtypes must be reconciled."""
    found: dict[str, dict[Any, None]] = {}
    for frame in frames:
        for position, (name, dtype) in enumerate(frame.schema.items()):
            empty = frame[:, position].null_count() == len(frame)  # it fits any type
            found.setdefault(name, {})[nw.Unknown() if empty else dtype] = None
    common = {name: _common_dtype(name, list(dtypes)) for name, dtypes in found.items()}
    return {name: dtype for name, dtype in common.items() if dtype is not None}


def _common_dtype(name: str, dtypes: Sequence[Any]) -> Any:  # noqa: ANN401 - a narwhals dtype or None
    labels = (nw.Categorical, nw.Enum)
    text = (*labels, nw.String, nw.Unknown)
    if any(dtype in labels for dtype in dtypes) and all(dtype in text for dtype in dtypes):
        return nw.String  # the categories of two tables need not be the same
    if len(dtypes) == 1:
        return None
    known = [dtype for dtype in dtypes if dtype not in (nw.Unknown, nw.Object)]
    if len(known) > 1 and all(dtype.is_numeric() for dtype in known):
        return nw.Float64
    if len(known) < 2 or all(dtype.is_temporal() for dtype in known):
        return known[0] if known else None
    got = with_and([str(dtype) for dtype in dtypes])
    raise DataError(
        sentence(
            LazyMessage("what.column", {"column": repr(name)}),
            LazyMessage("what.tasks"),
            LazyMessage("allowed.one_type"),
            got,
        )
    )


def _require(name: Hashable, known: Sequence[Hashable]) -> None:
    if name not in known:
        shown = ", ".join(repr(column) for column in known[:10])
        more = ", ..." if len(known) > 10 else ""
        raise DataError(
            LazyMessage(
                "data.refusal.no_column",
                {"name": repr(name), "hint": nearest(name, known), "shown": shown, "more": more},
            )
        )


def _plain(values: NDArray[Any], keep_objects: bool) -> Any:  # noqa: ANN401 - array or list
    array = np.asarray(values)
    if array.dtype.kind != "O" or keep_objects:
        return array
    entries = [None if is_missing(value) else value for value in array.tolist()]
    kinds = {type(value) for value in entries if value is not None}
    mixed = str in kinds and len(kinds) > 1
    as_text = functools.partial(map, lambda value: None if value is None else str(value))
    return list(as_text(entries)) if mixed else entries
