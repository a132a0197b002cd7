"""Tables from and to files: delimited text, workbooks of Excel, Parquet and Arrow."""

from __future__ import annotations

import contextlib
import glob
import gzip
import io
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ipc

from polytask._checks import nearest, nearest_file
from polytask.data._csv_text import RawTable, decode, most_unpacked, parse, refuse_bomb
from polytask.data._csv_types import type_columns
from polytask.data._excel import EXCEL_SUFFIXES, read_workbook
from polytask.data._table_writing import arrow_of, write_parts, write_table
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ReadResult",
    "TablesResult",
    "arrow_of",
    "read_table",
    "read_tables",
    "write_parts",
    "write_table",
]

FilePath = str | os.PathLike[str]
Messages = tuple[LazyMessage, ...]

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")
ARROW_SUFFIXES = (".arrow", ".feather", ".ipc", ".arrows")
INDEX_PREFIX = "__index_level_"
_INT64_DIGITS = 18


@dataclass(frozen=True, eq=False)
class ReadResult:
    """A table that was read, and how.

    Attributes
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The table, with a plain index.
    messages : tuple of LazyMessage
        What was decided while reading: encoding, separator, missing markers, dates.
    encoding : str or None
        The encoding of a text file.
    separator : str or None
        The separator of a text file.
    """

    table: pd.DataFrame
    messages: Messages = ()
    encoding: str | None = None
    separator: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """The messages in English."""
        return tuple(map(str, self.messages))


@dataclass(frozen=True, eq=False)
class TablesResult:
    """Several tables that were read, one per file.

    Attributes
    ----------
    tables : dict
        From the name of each file without its suffix to its pandas.DataFrame, sorted by name.
    messages : tuple of LazyMessage
        What was decided while reading.
    """

    tables: dict[str, pd.DataFrame]
    messages: Messages = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The messages in English."""
        return tuple(map(str, self.messages))


def read_table(
    path: FilePath,
    *,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    columns: Sequence[str] | None = None,
    missing_values: Sequence[str] = (),
    sheet: str | None = None,
) -> ReadResult:
    """Read one table from a file.

    The suffix says what the file is: ``.csv``, ``.tsv``, ``.tab`` and ``.txt`` (also with
    ``.gz``), ``.xlsx`` and ``.xls``, ``.parquet`` and ``.pq``, ``.arrow``, ``.feather`` and
    ``.ipc``; in any case.

    In text files a column is true/false (in any case), integers, numbers or ISO dates if all its
    words are, else text. Words are read as they stand: a column with leading zeros ("007") or
    with more digits than a number can hold stays text. Blank cells are missing. In columns of
    numbers, dates and true/false the usual markers ("NA", "NaN", "null", "?", "-") are missing
    too; in text only "NaN", "NULL", "null", "<NA>" and "#N/A" are, because "NA" or "None" may be
    answers. What was decided is said in the notes.

    A column of numbers that all have the same unit, such as "€ 8.47", "340 g" or "$1.20M", is
    read as numbers too, and so is one with marks between thousands, such as "2,927". Where
    neither `decimal` nor a number of the file tells whether a comma stands between thousands, the
    column is text, and a note says how to read it. Several units make a column text.

    Parameters
    ----------
    path : path-like
        The file.
    sep : str, default=None
        The separator of a text file: one character, or ``"comma"``, ``"semicolon"``, ``"tab"``,
        ``"pipe"``. None finds it from the first rows (``.tsv`` and ``.tab``: a tab).
    decimal : {".", ","} or None, default=None
        The decimal mark of a text file. None is a full stop, or a comma where semicolons
        separate the columns and numbers have commas.
    encoding : str, default=None
        The encoding of a text file. None tries UTF-8, UTF-16 with a mark, then GB18030.
    columns : sequence of str, default=None
        The columns to keep, in this order; None keeps all.
    missing_values : sequence of str, default=()
        Words that mean "missing" in every column, beside the usual ones.
    sheet : str, default=None
        The sheet of a workbook; None is the first with cells.

    Returns
    -------
    ReadResult
        The table and the notes.

    Raises
    ------
    DataError
        If the file cannot be read as a table; the sentence names it, and the row if there is one.
    ParameterError
        If `sep`, `decimal` or `encoding` is not allowed, or `sheet` given for a file without.
    """
    source = os.fspath(path)
    suffix = _suffix(source)
    absent = tuple(word.strip() for word in missing_values)
    _check_sheet(source, suffix, sheet)
    if suffix not in TEXT_SUFFIXES + EXCEL_SUFFIXES:
        table, notes = _read_binary(source, suffix)
        if columns is not None:
            _check_columns(columns, table.column_names, source)
            table = table.select(list(columns))
        table, said = with_gaps(table, absent)
        return ReadResult(frame_of(table), (*notes, *said))
    raw = _read_words(source, suffix, Style(sep, decimal, encoding, sheet))
    if columns is not None:
        _check_columns(columns, list(raw.columns), source)
        raw = RawTable(
            source, {c: raw.columns[c] for c in columns}, raw.encoding, raw.separator, raw.notes
        )
    tables, notes = type_columns([raw], decimal, absent)
    return ReadResult(frame_of(tables[0]), (*raw.notes, *notes), raw.encoding, raw.separator)


def read_tables(
    pattern: FilePath,
    *,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    missing_values: Sequence[str] = (),
    sheet: str | None = None,
) -> TablesResult:
    """Read one table per task: all files that match a pattern.

    A column of several text files means the same in all: it is read as numbers only if it
    holds numbers in every file.

    Parameters
    ----------
    pattern : path-like
        A file name with ``*``, ``?`` or ``[...]``; ``**`` stands for any folders.
    sep, decimal, encoding, missing_values, sheet
        As in :func:`read_table`.

    Returns
    -------
    TablesResult
        The tables by file name without suffix, and the notes.

    Raises
    ------
    DataError
        If no file matches, two files have the same name without suffix, or one cannot be read.
    """
    files = _matches(os.fspath(pattern))
    absent = tuple(word.strip() for word in missing_values)
    raws: dict[str, RawTable] = {}
    ready: dict[str, pa.Table] = {}
    notes: list[LazyMessage] = []
    for stem, file in files.items():
        suffix = _suffix(file)
        _check_sheet(file, suffix, sheet)
        if suffix in TEXT_SUFFIXES + EXCEL_SUFFIXES:
            raws[stem] = _read_words(file, suffix, Style(sep, decimal, encoding, sheet))
            notes.extend(raws[stem].notes)
        else:
            table, said = _read_binary(file, suffix)
            ready[stem], gaps = with_gaps(table, absent)
            notes.extend((*said, *gaps))
    typed, said = type_columns(list(raws.values()), decimal, absent)
    ready.update(zip(raws, typed, strict=True))
    return TablesResult({stem: frame_of(ready[stem]) for stem in files}, (*notes, *said))


def _matches(pattern: str) -> dict[str, str]:
    found = [pattern] if os.path.isfile(pattern) else glob.glob(pattern, recursive=True)
    files = sorted(file for file in found if os.path.isfile(file))
    if not files:
        inside = os.path.join(pattern, "*.csv")
        advice = LazyMessage("read.refusal.folder_inside", {"inside": inside})
        raise DataError(
            LazyMessage(
                "read.refusal.no_match",
                {"pattern": pattern, "advice": advice if os.path.isdir(pattern) else ""},
            )
        )
    names = {file: Path(file).name for file in files}
    stems = {
        file: os.path.splitext(name[:-3] if name.lower().endswith(".gz") else name)[0]
        for file, name in names.items()
    }
    stem, count = Counter(stems.values()).most_common(1)[0]
    if count > 1:
        twins = " and ".join(file for file in files if stems[file] == stem)
        raise DataError(
            LazyMessage("read.refusal.same_stem", {"twins": twins, "stem": repr(stem)})
        )
    return {stems[file]: file for file in sorted(files, key=lambda file: stems[file])}


def _suffix(source: str) -> str:
    """Return the suffix that says what a file is, after the checks that need no reading."""
    if os.path.isdir(source):
        raise DataError(
            LazyMessage(
                "read.refusal.folder", {"source": source, "names": os.path.join(source, "*.csv")}
            )
        )
    if not os.path.exists(source):
        raise DataError(
            LazyMessage("refusal.no_file", {"path": source, "hint": nearest_file(source)})
        )
    name = source.lower()
    suffix = os.path.splitext(name[:-3] if name.endswith(".gz") else name)[1]
    zipped = name.endswith(".gz")
    whole = EXCEL_SUFFIXES + PARQUET_SUFFIXES + ARROW_SUFFIXES
    known = suffix in TEXT_SUFFIXES or (not zipped and suffix in whole)
    if not known:
        advice = LazyMessage("read.refusal.save_sheet") if suffix == ".ods" else ""
        raise DataError(LazyMessage("read.refusal.suffix", {"source": source, "advice": advice}))
    return suffix


def _check_sheet(source: str, suffix: str, sheet: str | None) -> None:
    if sheet is not None and suffix not in EXCEL_SUFFIXES:
        fields = {"source": source, "sheet": repr(sheet)}
        raise ParameterError(LazyMessage("read.refusal.sheetless", fields))


def _bytes(source: str) -> bytes:
    try:
        with open(source, "rb") as file:
            data = file.read()
        if not source.lower().endswith(".gz"):
            return data
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            found = packed.read(most_unpacked(len(data)) + 1)
        refuse_bomb(source, len(data), len(found))
        return found
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(LazyMessage("read.refusal.gzip", {"source": source})) from None
    except OSError as error:
        raise DataError(
            LazyMessage("refusal.read.system", {"path": source, "reason": error.strerror or error})
        ) from None


# What is said of a part of a table, and learned of its columns, needs some rows.
_FEWEST_ROWS = 500


@dataclass(frozen=True)
class Style:
    """How a text file is written, as far as the caller knows, and the sheet of a workbook."""

    sep: str | None
    decimal: str | None
    encoding: str | None
    sheet: str | None = None


PLAIN = Style(None, None, None)


def _read_words(source: str, suffix: str, style: Style) -> RawTable:
    if suffix in EXCEL_SUFFIXES:
        return read_workbook(_bytes(source), source, suffix, style.sheet, style.decimal or ".")
    decoded = decode(_bytes(source), source, style.encoding)
    return parse(decoded, source, suffix, style.sep, style.decimal)


def _read_binary(source: str, suffix: str) -> tuple[pa.Table, Messages]:
    data = _bytes(source)
    if not data:
        raise DataError(LazyMessage("read.refusal.empty", {"source": source}))
    is_parquet = suffix in PARQUET_SUFFIXES
    try:
        table = pq.ParquetFile(io.BytesIO(data)).read() if is_parquet else _arrow(data)
    except (pa.ArrowException, OSError, ValueError):
        raise DataError(
            LazyMessage(
                "read.refusal.not_readable",
                {"source": source, "format": "Parquet" if is_parquet else "Arrow"},
            )
        ) from None
    name, count = Counter(table.column_names or [""]).most_common(1)[0]
    if count > 1:
        raise DataError(
            LazyMessage(
                "read.refusal.same_names", {"source": source, "count": count, "name": repr(name)}
            )
        )
    index = [name for name in table.column_names if name.startswith(INDEX_PREFIX)]
    notes = (LazyMessage("read.row_labels", {"file": source}),) if index else ()
    table = with_plain_numbers(table.drop_columns(index) if index else table)
    if not table.num_rows or not table.num_columns:
        raise DataError(LazyMessage("read.refusal.no_rows", {"source": source}))
    return table, notes


def rows_within(n_rows: int, n_bytes: float, n_columns: int) -> int:
    """Return how many rows are read at a time: fewer where their numbers take more bytes."""
    return int(min(n_rows, max(n_bytes / (8 * n_columns), _FEWEST_ROWS)))


def with_plain_numbers(table: pa.Table) -> pa.Table:
    """Return a table whose decimals, as databases export them, are numbers like others."""
    for k, (name, kind) in enumerate(zip(table.column_names, table.schema.types, strict=True)):
        if pa.types.is_decimal(kind):
            whole = kind.scale == 0 and kind.precision <= _INT64_DIGITS
            numbers = table.column(k).cast(pa.int64() if whole else pa.float64())
            table = table.set_column(k, name, numbers)
    return table


def with_gaps(table: pa.Table, missing: tuple[str, ...]) -> tuple[pa.Table, Messages]:
    """Return a table whose cells that hold one of the words are missing."""
    notes = []
    numbers = []
    for word in missing:
        with contextlib.suppress(ValueError):
            numbers.append(float(word))
    for k, name in enumerate(table.column_names if missing else []):
        column, kind = table.column(k), table.column(k).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            found = pc.is_in(pc.utf8_trim_whitespace(column.cast(pa.string())), pa.array(missing))
        elif numbers and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            found = pc.is_in(column.cast(pa.float64(), safe=False), pa.array(numbers))
        else:
            continue
        count = pc.sum(found).as_py()
        if count:
            nothing = pa.scalar(None, column.type)
            table = table.set_column(k, name, pc.if_else(found, nothing, column))
            notes.append(LazyMessage("read.missing_numbers", {"column": name, "n": count}))
    return table, tuple(notes)


def _arrow(data: bytes) -> pa.Table:
    try:
        return ipc.open_file(pa.BufferReader(data)).read_all()
    except pa.ArrowInvalid:
        return ipc.open_stream(pa.BufferReader(data)).read_all()


def _check_columns(columns: Sequence[str], names: list[str], source: str) -> None:
    for name in columns:
        if name not in names:
            raise DataError(
                LazyMessage(
                    "read.refusal.no_column",
                    {"source": source, "name": repr(name), "hint": nearest(name, names)},
                )
            )


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return a table of pandas, with a plain index."""
    # Without the writer's metadata an index of pandas is a column like any other.
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_boolean(column.type) and column.null_count:
            frame[name] = frame[name].astype("boolean")
    return frame
