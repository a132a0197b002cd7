"""What the cells of one column of a table hold, read the same way from every kind of table."""

from __future__ import annotations

import datetime
import decimal
import enum
import numbers
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, cast

import narwhals as nw
import numpy as np
import numpy.typing as npt

from polytask.data.labels import label_of
from polytask.data.missing import CellError, row_of_table
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Series = nw.Series[Any]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.intp]
Reals = npt.NDArray[Any]

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


@dataclass(frozen=True)
class Levels:
    """A column as codes into its distinct labels. Shapes: codes (n,)."""

    codes: Codes
    labels: tuple[str, ...]


def missing_cells(series: Series) -> Mask:
    """Return the mask of null cells; NaN in a column of floats is left to the numbers."""
    return np.asarray(series.is_null().to_numpy(), dtype=bool)


def date_refusal(name: str, value: object, row: int) -> DataError:
    """Build the error for a column of dates."""
    times = isinstance(value, datetime.time | datetime.timedelta)
    fields = {"name": repr(name), "value": str(value), "place": row_of_table(row), "drop": name}
    return CellError(LazyMessage(f"column.refusal.{'times' if times else 'dates'}", fields))


def kind_of(series: Series, name: str) -> Kind:
    """Return the kind of a column."""
    dtype = series.dtype
    if series.null_count() == len(series):
        return Kind.EMPTY
    if dtype.is_numeric():
        return Kind.NUMERIC
    if dtype == nw.Boolean:
        return Kind.BOOLEAN
    if dtype == nw.String:
        return Kind.TEXT
    if dtype in (nw.Categorical, nw.Enum):
        return Kind.CATEGORY
    if dtype.is_temporal():
        row = int(np.flatnonzero(~missing_cells(series))[0])
        raise date_refusal(name, series[row], row)
    if dtype.is_nested():
        raise _nested_refusal(name)
    return _kind_of_objects(series, name)


def _kind_of_objects(series: Series, name: str) -> Kind:
    values = series.drop_nulls().to_list()
    words = {kind: _word(kind) for kind in set(map(type, values))}
    row = int(np.flatnonzero(~missing_cells(series))[0])
    if "date" in words.values():
        at = _first(series, lambda value: words.get(type(value)) == "date")
        raise date_refusal(name, series[at], at)
    if "nested" in words.values():
        raise _nested_refusal(name)
    if "other" in words.values():
        at = _first(series, lambda value: words.get(type(value)) == "other")
        fields = {"name": repr(name), "kind": type(series[at]).__name__}
        place = {"place": row_of_table(at)}
        raise CellError(LazyMessage("column.refusal.other", fields | place))
    common = words[type(values[0])]
    if set(words.values()) != {common}:
        at = _first(series, lambda value: words.get(type(value), common) != common)
        other = _word(type(series[at]))
        mixed = {
            "name": repr(name),
            "kinds": LazyMessage(f"cells.{common}"),
            "others": LazyMessage(f"cells.{other}"),
            "place": row_of_table(row),
            "value": repr(series[row]),
            "place2": row_of_table(at),
            "value2": repr(series[at]),
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


def _first(series: Series, wanted: Any) -> int:  # noqa: ANN401 - a predicate on any cell
    present = np.flatnonzero(~missing_cells(series))
    values = series.drop_nulls().to_list()
    return int(next(row for row, value in zip(present, values, strict=True) if wanted(value)))


def _nested_refusal(name: str) -> DataError:
    fields = {"name": repr(name), "drop": name}
    return DataError(LazyMessage("column.refusal.nested", fields))


def as_numbers(series: Series) -> Reals:
    """Return a numeric or boolean column as floats, NaN where a cell is missing."""
    # float32 stays float32; every other type becomes float64.
    kept = np.float32 if series.dtype == nw.Float32 else np.float64
    if not series.null_count():
        return _floats(series).astype(kept, copy=False)
    missing = missing_cells(series)
    values = np.full(len(missing), np.nan, dtype=kept)
    values[~missing] = _floats(series.filter((~missing).tolist()))
    return values


def _floats(series: Series) -> Reals:
    # Decimals and Python objects go through float(), which rounds the same way everywhere.
    if series.dtype.is_decimal() or series.dtype in (nw.Object, nw.Unknown):
        return np.fromiter(map(float, series.to_list()), np.float64, len(series))
    values = series.to_numpy()
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def as_levels(series: Series) -> Levels:
    """Return a column as codes into its sorted labels; blank text counts as missing."""
    missing = missing_cells(series)
    values = _labels_of(series.filter((~missing).tolist()) if missing.any() else series)
    texts: dict[Hashable, str] = {value: label_of(value) for value in dict.fromkeys(values)}
    labels = tuple(sorted({text for text in texts.values() if text.strip()}))
    rank = {label: code for code, label in enumerate(labels)}
    code = {value: rank.get(text, -1) for value, text in texts.items()}
    codes = np.full(len(missing), -1, dtype=np.intp)
    codes[~missing] = np.fromiter(map(code.__getitem__, values), np.intp, len(values))
    return Levels(codes, labels)


def _labels_of(series: Series) -> list[Hashable]:
    # Arrow dictionaries turn into Python objects one by one, forty times slower than text.
    if series.dtype in (nw.Categorical, nw.Enum) and series.implementation.is_pyarrow():
        series = series.cast(nw.String)
    return cast("list[Hashable]", series.to_list())
