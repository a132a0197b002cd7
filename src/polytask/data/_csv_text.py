"""From the bytes of a delimited text file to columns of text."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow

from polytask._checks import sentence
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SPOKEN = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}
Notes = list[LazyMessage]
HEAD = 1 << 16
SNIFFED_ROWS = 200
# Tables pack 5 to 50 times: a file that holds more than both was made to fill the memory.
_UNPACKED_BYTES, _UNPACKED_TIMES = 1 << 28, 100


@dataclass(frozen=True)
class Decoded:
    """The text of a file, the encoding it was read with, and what deserves to be said."""

    text: str
    encoding: str
    notes: tuple[LazyMessage, ...] = ()


@dataclass(frozen=True)
class RawTable:
    """Columns of text, as they stand in the file."""

    source: str
    columns: dict[str, Any]
    encoding: str | None
    separator: str | None
    notes: Notes = field(default_factory=list)


def most_unpacked(packed: int) -> int:
    """Return how many bytes a packed file may hold."""
    return max(_UNPACKED_BYTES, _UNPACKED_TIMES * packed)


def refuse_bomb(source: str, packed: int, unpacked: int) -> None:
    """Refuse a file that holds more bytes than it may."""
    if unpacked > most_unpacked(packed):
        fields = {"source": source, "times": _UNPACKED_TIMES, "mb": _UNPACKED_BYTES >> 20}
        raise DataError(LazyMessage("read.refusal.unpacked", fields))


def decode(data: bytes, source: str, encoding: str | None) -> Decoded:
    """Return the text of a file; without an encoding, UTF-8, UTF-16 by its mark, or GB18030."""
    if encoding is not None:
        return _decode_as(data, source, encoding)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = _decode_as(data, source, "utf-16").text
        return Decoded(text, "utf-16", (LazyMessage("read.utf16", {"file": source}),))
    if b"\0" in data:
        book = LazyMessage("read.refusal.book")
        advice = book if data.startswith(b"PK") else ""
        raise DataError(
            LazyMessage("read.refusal.zero_bytes", {"source": source, "advice": advice})
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _decode_chinese(data, source, error)
    if text.startswith("\ufeff"):
        note = LazyMessage("read.byte_order_mark", {"file": source})
        return Decoded(text[1:], "utf-8-sig", (note,))
    return Decoded(text, "utf-8")


def _decode_as(data: bytes, source: str, encoding: str) -> Decoded:
    try:
        codecs.lookup(encoding)  # bytes that are empty decode as anything
        text = data.decode(encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line = data.count(b"\n", 0, start) + 1
        raise DataError(
            LazyMessage(
                "read.refusal.not_in_encoding",
                {"source": source, "encoding": encoding, "line": str(line)},
            )
        ) from None
    except (LookupError, ValueError):
        # Such as base64, which is no encoding of text.
        raise ParameterError(
            sentence("encoding", "read_table", LazyMessage("allowed.encoding"), repr(encoding))
        ) from None
    return Decoded(text.removeprefix("\ufeff"), encoding)


def _decode_chinese(data: bytes, source: str, error: UnicodeDecodeError) -> Decoded:
    line = data.count(b"\n", 0, error.start) + 1
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    # Nearly any bytes decode as GB18030. Western European text then gives rare characters,
    # whose first byte is an accented small letter (0xE0 and above); common Chinese characters
    # and punctuation start with a byte from 0xA1 to 0xD7.
    wide = [char.encode("gb18030") for char in text if ord(char) > 127]
    common = sum(len(c) == 2 and 0xA1 <= c[0] <= 0xD7 and c[1] >= 0xA1 for c in wide)
    if not common > len(wide) / 2:
        raise DataError(
            LazyMessage("read.refusal.unknown_encoding", {"source": source, "line": str(line)})
        )
    note = LazyMessage("read.gb18030", {"file": source})
    return Decoded(text, "gb18030", (note,))


def separator_of(text: str, source: str, suffix: str, sep: str | None, decimal: str | None) -> str:
    """Return the separator: as given, a tab for .tsv, else the one that fits the first rows."""
    if sep is not None:
        sep = SPOKEN.get(sep, sep)
        if len(sep) != 1 or sep in '"\r\n\0' or ord(sep) > 127:
            allowed = LazyMessage("allowed.separator")
            raise ParameterError(sentence("sep", "read_table", allowed, repr(sep), source))
        return sep
    if suffix in (".tsv", ".tab"):
        return "\t"
    fits = {separator: _fit(text, separator) for separator in SEPARATORS}
    best = max(fits, key=lambda separator: fits[separator])
    one_column = fits[best] == (0.0, 0)
    return ";" if one_column and decimal == "," else best


def _fit(text: str, separator: str) -> tuple[float, int]:
    """Return the share of rows as wide as the header, and the width; zeros for one column."""
    rows = head_rows(text, separator)
    width = len(rows[0]) if rows else 0
    if width < 2:
        return 0.0, 0
    return sum(len(row) == width for row in rows) / len(rows), width


def head_rows(text: str, separator: str) -> list[list[str]]:
    """Return the first rows, split at a separator; empty lines do not count."""
    reader = csv.reader(io.StringIO(text[:HEAD], newline=""), delimiter=separator)
    rows: list[list[str]] = []
    try:
        rows = [row for _, row in zip(range(SNIFFED_ROWS), reader, strict=False) if row]
    except csv.Error:
        return rows
    cut = len(text) > HEAD and len(rows) < SNIFFED_ROWS and len(rows) > 1
    return rows[:-1] if cut else rows


@dataclass(frozen=True)
class Head:
    """What the beginning of a text says of the rest; the names begin at character `start`."""

    start: int
    names: list[str]
    separator: str
    notes: Notes


def head_of(text: str, source: str, suffix: str, sep: str | None, decimal: str | None) -> Head:
    """Find the names of the columns and what separates them."""
    rest = text.lstrip("\r\n")
    if not rest.strip():
        raise DataError(LazyMessage("read.refusal.empty", {"source": source}))
    if rest[:4] == "sep=" and rest[5:6] in ("\r", "\n"):
        rest, sep = rest[5:].lstrip("\r\n"), sep or rest[4]
    separator = separator_of(rest, source, suffix, sep, decimal)
    header = head_rows(rest, separator)
    if not header:
        raise DataError(LazyMessage("read.refusal.no_end", {"source": source}))
    notes = _name_notes(header[0], source)
    if sep is None and separator != (default := "\t" if suffix in (".tsv", ".tab") else ","):
        marks = {"found": separator, "usual": default}
        words = {name: LazyMessage(f"separator.{SEPARATORS[m]}").node for name, m in marks.items()}
        notes.append(LazyMessage("read.separator", {"file": source, **words}))
    return Head(len(text) - len(rest), header[0], separator, notes)


def parse(
    decoded: Decoded, source: str, suffix: str, sep: str | None, decimal: str | None = None
) -> RawTable:
    """Split a text into named columns of text."""
    head = head_of(decoded.text, source, suffix, sep, decimal)
    text, names, separator = decoded.text[head.start :], head.names, head.separator
    notes = [*decoded.notes, *head.notes]
    table = _split(text, source, separator, len(names))
    if not table.num_rows:
        raise DataError(LazyMessage("read.refusal.no_rows", {"source": source}))
    columns = _named(names, table, source, notes)
    return RawTable(source, columns, decoded.encoding, separator, notes)


def raw_table(source: str, names: list[str], rows: list[list[str]], notes: Notes) -> RawTable:
    """Return rows of words, all as long as the names, as named columns of text."""
    notes = [*notes, *_name_notes(names, source)]
    cells = [pa.chunked_array([list(column)], pa.string()) for column in zip(*rows, strict=True)]
    table = pa.table(dict(zip(map(str, range(len(names))), cells, strict=True)))
    return RawTable(source, _named(names, table, source, notes), None, None, notes)


def _name_notes(names: list[str], source: str) -> Notes:
    """Refuse names that occur twice, and say what is odd about others."""
    for name, count in Counter(names).items():
        if count > 1 and name.strip():
            raise DataError(
                LazyMessage(
                    "read.refusal.same_names",
                    {"source": source, "count": count, "name": repr(name)},
                )
            )
    notes = [
        LazyMessage("read.spaces", {"file": source, "column": repr(name)})
        for name in names
        if name != name.strip() and name.strip()
    ]
    if all(name.strip().replace(".", "", 1).lstrip("+-").isdecimal() for name in names):
        notes.append(LazyMessage("read.header_of_numbers", {"file": source}))
    return notes


def read_options(separator: str, width: int, block: int, bad: list[Any]) -> tuple[Any, Any, Any]:
    """Return how pyarrow reads so many columns as text; `bad` receives the first refused row."""

    def refuse(row: Any) -> str:  # noqa: ANN401 - an untyped record of pyarrow
        bad.append(row)
        return "error"

    places = [str(j) for j in range(width)]
    return (
        arrow.ReadOptions(
            use_threads=False, block_size=block, column_names=places, skip_rows_after_names=1
        ),
        arrow.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse
        ),
        arrow.ConvertOptions(
            column_types=dict.fromkeys(places, pa.string()), strings_can_be_null=False
        ),
    )


def _split(text: str, source: str, separator: str, width: int) -> pa.Table:
    data = text.encode() + b"\n"
    bad: list[Any] = []
    block = min(len(data) + 1, 2**31 - 2)
    try:
        table = arrow.read_csv(io.BytesIO(data), *read_options(separator, width, block, bad))
    except pa.ArrowInvalid as error:
        raise ragged(bad, source, str(error), separator) from None
    last = table.column(table.num_columns - 1)[-1].as_py() if table.num_rows else ""
    refuse_open_quote(source, text.count('"'), table.num_rows, last)
    return table


def refuse_open_quote(source: str, quotes: int, n_rows: int, last: str) -> None:
    """Refuse a text whose last cell holds what follows an open quote."""
    # It swallows the rest of the file without complaint.
    if quotes % 2 and ("\n" in last or "\r" in last):
        fields = {
            "source": source,
            "row": str(n_rows + 1),
            "start": repr(last.splitlines()[0][:60]),
        }
        raise DataError(LazyMessage("read.refusal.open_quote", fields))


def ragged(bad: list[Any], source: str, message: str, separator: str) -> DataError:
    if not bad:
        return DataError(
            LazyMessage(
                "read.refusal.no_columns", {"source": source, "reason": message.splitlines()[0]}
            )
        )
    row = bad[0]
    start = row.text.splitlines()[0][:60] if row.text else ""
    fields = {
        "source": source,
        "row": str(row.number),
        "n": row.actual_columns,
        "expected": row.expected_columns,
        "separator": SEPARATORS.get(separator, repr(separator)),
        "start": repr(start),
    }
    told = LazyMessage("read.refusal.ragged", fields)
    return DataError(
        told + (LazyMessage("read.refusal.left_open") if row.text.count('"') % 2 else "")
    )


def _named(names: list[str], table: pa.Table, source: str, notes: Notes) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for j, (name, column) in enumerate(zip(names, table.columns, strict=True)):
        if name.strip():
            columns[name] = column
            continue
        place = {"file": source, "number": j + 1}
        idle = _idle(column, first=j == 0)
        if idle:
            notes.append(LazyMessage(f"read.nameless.{idle}", place))
            continue
        fresh = name_of_nameless(j, names)
        notes.append(LazyMessage("read.nameless", place | {"column": repr(fresh)}))
        columns[fresh] = column
    if not columns:
        raise DataError(LazyMessage("read.refusal.no_named_column", {"source": source}))
    return columns


def name_of_nameless(place: int, names: list[str]) -> str:
    """Return a name for a column that has none."""
    fresh = f"column {place + 1}"
    while fresh in names:
        fresh = f"({fresh})"
    return fresh


def _idle(column: Any, first: bool) -> str:  # noqa: ANN401 - a column of pyarrow
    """Say why a column without a name is of no use, or nothing."""
    if pc.all(pc.equal(pc.utf8_trim_whitespace(column), "")).as_py():
        return "empty"
    counting = (map(str, range(start, start + len(column))) for start in (0, 1))
    if first and any(column.equals(pa.chunked_array([list(rows)])) for rows in counting):
        return "rows"
    return ""
