"""What the cells of one column of a table hold, read the same way from every kind of table."""

from __future__ import annotations

import datetime
import decimal
import enum
import numbers
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import narwhals as nw
import numpy as np
import numpy.typing as npt

from polytask.data.labels import label_of
from polytask.data.missing import CellError, row_of_table
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Frame = nw.DataFrame[Any]
Series = nw.Series[Any]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.intp]
Reals = npt.NDArray[Any]

# The types of NumPy whose cells are numbers, or true and false.
_SINGLE = np.dtype(np.float32)
_NUMBERS = {np.dtype(kind) for kind in "?bhilqBHILQfd"}

DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)
NESTED = (list, tuple, dict, set, np.ndarray)


class Kind(enum.Enum):
    """What a column holds."""

    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    TEXT = "text"
    CATEGORY = "category"
    EMPTY = "empty"

    @property
    def is_numeric(self) -> bool:
        """Whether the cells are numbers or count as 0 and 1."""
        return self in (Kind.NUMERIC, Kind.BOOLEAN)


_KINDS = {
    Kind.BOOLEAN: (nw.Boolean,),
    Kind.TEXT: (nw.String,),
    Kind.CATEGORY: (nw.Categorical, nw.Enum),
}


@dataclass(frozen=True)
class Levels:
    """A column as codes into its distinct labels. Shapes: codes (n,)."""

    codes: Codes
    labels: tuple[str, ...]


class Column:
    """One column of a table: numbers and text of pandas in an array, else as narwhals sees it."""

    def __init__(self, cells: Series | Reals, missing: Mask | None = None) -> None:
        self.cells: Any = cells
        self.is_array = isinstance(cells, np.ndarray)
        if missing is not None:
            self.missing = missing

    @property
    def precision(self) -> type[np.float32 | np.float64]:
        """The type of its numbers: float32 stays float32; every other type becomes float64."""
        single = self.cells.dtype == (_SINGLE if self.is_array else nw.Float32)
        return np.float32 if single else np.float64

    @cached_property
    def missing(self) -> Mask:
        """The mask of null cells; NaN in floats of polars and arrow is left to the numbers."""
        if self.is_array:
            return np.asarray(np.isnan(self.cells))
        return np.asarray(self.cells.is_null().to_numpy(), dtype=bool)

    @cached_property
    def present(self) -> Any:  # noqa: ANN401 - an array or a series
        """The cells that are not null."""
        if not self.missing.any():
            return self.cells
        kept = ~self.missing
        return self.cells[kept] if self.is_array else self.cells.filter(kept.tolist())

    def values(self) -> list[Any]:
        """Return the cells that are not null as Python values."""
        cells = self.present
        if self.is_array:
            return cast("list[Any]", cells.tolist())
        # Arrow dictionaries turn into Python objects one by one, forty times slower than text.
        if cells.dtype in (nw.Categorical, nw.Enum) and cells.implementation.is_pyarrow():
            cells = cells.cast(nw.String)
        return cast("list[Any]", cells.to_list())


def columns_of(frame: Frame, wanted: Collection[int]) -> dict[int, Column]:
    """Return some columns of a table by position, each read once."""
    found, native = {}, frame.to_native()
    if frame.implementation.is_pandas():
        import pandas as pd

        # Most columns are numbers or text, which narwhals would look at for ten times as long.
        for j, (_, own) in enumerate(native.items()):
            if j in wanted and isinstance(own.dtype, np.dtype) and own.dtype in _NUMBERS:
                found[j] = Column(own.to_numpy())
            elif j in wanted and isinstance(own.dtype, pd.StringDtype):
                found[j] = Column(own.to_numpy(dtype=object), own.isna().to_numpy())
    for j in wanted:
        if j not in found:
            own = frame[:, j]
            plain = (own.dtype.is_numeric() or own.dtype == nw.Boolean) and not own.null_count()
            cells = own.to_numpy() if plain else own
            found[j] = Column(cells if cells.dtype in _NUMBERS else own)
    return found


def date_refusal(name: str, value: object, row: int) -> DataError:
    """Build the error for a column of dates."""
    times = isinstance(value, datetime.time | datetime.timedelta)
    fields = {"name": repr(name), "value": str(value), "place": row_of_table(row), "drop": name}
    return CellError(LazyMessage(f"column.refusal.{'times' if times else 'dates'}", fields))


def kind_of(column: Column, name: str) -> Kind:
    """Return the kind of a column."""
    if column.missing.all():
        return Kind.EMPTY
    if column.is_array:
        return {"b": Kind.BOOLEAN, "O": Kind.TEXT}.get(column.cells.dtype.kind, Kind.NUMERIC)
    dtype = column.cells.dtype
    if dtype.is_numeric():
        return Kind.NUMERIC
    for kind, types in _KINDS.items():
        if dtype in types:
            return kind
    if dtype.is_temporal():
        row = int(np.flatnonzero(~column.missing)[0])
        raise date_refusal(name, column.cells[row], row)
    if dtype.is_nested():
        raise _nested_refusal(name)
    return _kind_of_objects(column, name)


def _kind_of_objects(column: Column, name: str) -> Kind:
    values = column.present.to_list()
    words = {kind: _word(kind) for kind in set(map(type, values))}
    row = int(np.flatnonzero(~column.missing)[0])
    if "date" in words.values():
        at = _first(column, lambda value: words.get(type(value)) == "date")
        raise date_refusal(name, column.cells[at], at)
    if "nested" in words.values():
        raise _nested_refusal(name)
    if "other" in words.values():
        at = _first(column, lambda value: words.get(type(value)) == "other")
        fields = {"name": repr(name), "kind": type(column.cells[at]).__name__}
        place = {"place": row_of_table(at)}
        raise CellError(LazyMessage("column.refusal.other", fields | place))
    common = words[type(values[0])]
    if set(words.values()) != {common}:
        at = _first(column, lambda value: words.get(type(value), common) != common)
        other = _word(type(column.cells[at]))
        mixed = {
            "name": repr(name),
            "kinds": LazyMessage(f"cells.{common}"),
            "others": LazyMessage(f"cells.{other}"),
            "place": row_of_table(row),
            "value": repr(column.cells[row]),
            "place2": row_of_table(at),
            "value2": repr(column.cells[at]),
        }
        raise CellError(LazyMessage("column.refusal.mixed", mixed))
    return {"number": Kind.NUMERIC, "boolean": Kind.BOOLEAN, "text": Kind.TEXT}[common]


def _word(kind: type) -> str:
    if issubclass(kind, DATES):
        return "date"
    if issubclass(kind, NESTED):
        return "nested"
    if issubclass(kind, (bool, np.bool_)):
        return "boolean"
    if issubclass(kind, (numbers.Real, decimal.Decimal, np.number)) and not issubclass(
        kind, np.complexfloating
    ):
        return "number"
    return "text" if issubclass(kind, str) else "other"


def _first(column: Column, wanted: Any) -> int:  # noqa: ANN401 - a predicate on any cell
    present = np.flatnonzero(~column.missing)
    values = column.present.to_list()
    return int(next(row for row, value in zip(present, values, strict=True) if wanted(value)))


def _nested_refusal(name: str) -> DataError:
    fields = {"name": repr(name), "drop": name}
    return DataError(LazyMessage("column.refusal.nested", fields))


def as_numbers(column: Column) -> Reals:
    """Return a numeric or boolean column as floats, NaN where a cell is missing."""
    kept = column.precision
    if column.is_array:
        return cast("Reals", column.cells.astype(kept, copy=False))
    cells = column.present
    # Decimals and Python objects go through float(), which rounds the same way everywhere.
    if cells.dtype.is_decimal() or cells.dtype in (nw.Object, nw.Unknown):
        found = np.fromiter(map(float, cells.to_list()), np.float64, len(cells))
    else:
        found = cells.to_numpy()
    if len(found) == len(column.missing):
        return found.astype(kept, copy=False)
    values = np.full(len(column.missing), np.nan, dtype=kept)
    values[~column.missing] = found
    return values


def as_levels(column: Column) -> Levels:
    """Return a column as codes into its sorted labels; blank text counts as missing."""
    values: list[Hashable] = column.values()
    texts: dict[Hashable, str] = {value: label_of(value) for value in dict.fromkeys(values)}
    labels = tuple(sorted({text for text in texts.values() if text.strip()}))
    rank = {label: code for code, label in enumerate(labels)}
    code = {value: rank.get(text, -1) for value, text in texts.items()}
    codes = np.full(len(column.missing), -1, dtype=np.intp)
    codes[~column.missing] = np.fromiter(map(code.__getitem__, values), np.intp, len(values))
    return Levels(codes, labels)
