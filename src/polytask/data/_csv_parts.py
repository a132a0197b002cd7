"""Delimited text files that are read so many rows at a time, by the rules for whole ones."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow

from polytask._checks import one_of
from polytask.data._csv_text import (
    HEAD,
    Head,
    head_of,
    name_of_nameless,
    ragged,
    read_options,
    refuse_open_quote,
)
from polytask.data._csv_types import ColumnSurvey, DecimalMark, decimal_of
from polytask.data.readers import Style, rows_within
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

# Bytes that are read at a time, at most, and at least where parts may take little memory: some
# such blocks are in memory at once. A row is not longer.
_BLOCK, _LEAST_BLOCK, _AT_ONCE = 1 << 23, 1 << 20, 4


class Utf8:
    """The text of a file as a stream of UTF-8, checked as it is read."""

    # What pyarrow asks of a file.
    closed = False

    def __init__(
        self, source: str, encoding: str | None, start: int = 0, block: int = _BLOCK
    ) -> None:
        self.source, self.encoding, self.quotes, self._line = source, encoding, 0, 1
        self._block = block
        self._held, self._chunks = b"", self._decoded(start)

    def read(self, size: int) -> bytes:
        """Return so many bytes; fewer where the file ends."""
        while len(self._held) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._held += chunk
        found, self._held = self._held[:size], self._held[size:]
        return found

    def close(self) -> None:
        """Close the file."""
        self._chunks.close()
        self.closed = True

    def _decoded(self, start: int) -> Generator[bytes]:
        """Yield what follows the first characters."""
        try:
            with _opened(self.source) as file:
                data = file.read(self._block)
                decoder = self._decoder(data)
                text = self._text(decoder, data, final=False).removeprefix("\ufeff")
                yield text[start:].encode()
                while data := file.read(self._block):
                    yield self._text(decoder, data, final=False).encode()
                self._text(decoder, b"", final=True)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise DataError(LazyMessage("read.refusal.gzip", {"source": self.source})) from None
        except OSError as error:
            fields = {"path": self.source, "reason": error.strerror or error}
            raise DataError(LazyMessage("refusal.read.system", fields)) from None
        yield b"\n"

    def _decoder(self, head: bytes) -> codecs.IncrementalDecoder:
        marks = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
        found = "utf-16" if self.encoding is None and head.startswith(marks) else self.encoding
        self.zeros = found is not None
        return codecs.getincrementaldecoder(found or "utf-8")()

    def _text(self, decoder: codecs.IncrementalDecoder, data: bytes, *, final: bool) -> str:
        if not self.zeros and b"\0" in data:
            fields = {"source": self.source, "advice": ""}
            raise DataError(LazyMessage("read.refusal.zero_bytes", fields))
        try:
            text = decoder.decode(data, final)
        except UnicodeError as error:
            line = self._line + data.count(b"\n", 0, getattr(error, "start", 0))
            fields = {"source": self.source, "line": str(line)}
            key = "unknown_in_parts" if self.encoding is None else "not_in_encoding"
            fields |= {} if self.encoding is None else {"encoding": self.encoding}
            raise DataError(LazyMessage(f"read.refusal.{key}", fields)) from None
        self._line += text.count("\n")
        self.quotes += text.count('"')
        return text


def _opened(source: str) -> BinaryIO:
    opened: Any = gzip.open if source.lower().endswith(".gz") else open
    return opened(source, "rb")  # type: ignore[no-any-return]


def refuse_other_names(names: Iterable[str], others: Iterable[str], first: str, file: str) -> None:
    """Refuse a file that lacks a column of the first, or has one more."""
    known, met = list(names), list(others)
    lacking = [name for name in known if name not in met]
    added = [name for name in met if name not in known]
    if lacking or added:
        key = "lacks" if lacking else "adds"
        fields = {"file": file, "first": first, "name": repr((lacking or added)[0])}
        raise DataError(LazyMessage(f"read.refusal.part_{key}", fields))


@dataclass(frozen=True, eq=False)
class _TextFile:
    """A text file whose beginning was looked at."""

    source: str
    encoding: str | None
    head: Head

    @classmethod
    def of(cls, source: str, style: Style) -> _TextFile:
        """Look at the beginning of a file."""
        stream = Utf8(source, style.encoding)
        # So many bytes that the text goes on behind the characters that are looked at.
        text = stream.read(5 * HEAD).decode(errors="ignore")
        stream.close()
        suffix = os.path.splitext(source.lower().removesuffix(".gz"))[1]
        head = head_of(text, source, suffix, style.sep, style.decimal)
        return cls(source, style.encoding, head)

    @cached_property
    def columns(self) -> dict[str, str]:
        """The names of the columns of :meth:`words`; those without a name get one."""
        names = self.head.names
        return {
            name if name.strip() else name_of_nameless(j, names): str(j)
            for j, name in enumerate(names)
        }

    def words(self, block: int) -> Iterator[pa.Table]:
        """Yield the rows as columns of text, read so many bytes at a time."""
        stream = Utf8(self.source, self.encoding, self.head.start, block)
        n_rows, last, bad = 0, "", list[Any]()
        try:
            options = read_options(self.head.separator, len(self.head.names), block, bad)
            for batch in arrow.open_csv(pa.PythonFile(stream, mode="r"), *options):
                if batch.num_rows:
                    n_rows, last = n_rows + batch.num_rows, batch.column(-1)[-1].as_py()
                    yield pa.Table.from_batches([batch]).rename_columns(list(self.columns))
        except pa.ArrowInvalid as error:
            if "straddling" in str(error) and not bad:
                fields = {"source": self.source, "n": str(n_rows), "size": str(block >> 20)}
                raise DataError(LazyMessage("read.refusal.long_row", fields)) from None
            raise ragged(bad, self.source, str(error), self.head.separator) from None
        finally:
            stream.close()
        refuse_open_quote(self.source, stream.quotes, n_rows, last)


@dataclass
class _Nameless:
    """Whether a column without a name has nothing to tell."""

    first: bool
    empty: bool = True
    counts: tuple[int, ...] = (0, 1)
    n_rows: int = 0

    def add(self, words: Any) -> None:  # noqa: ANN401 - a column of pyarrow
        """Look at one more part."""
        self.empty &= pc.all(pc.equal(pc.utf8_trim_whitespace(words), "")).as_py()
        self.counts = tuple(
            start
            for start in self.counts
            if self.first and words.to_pylist() == [
                str(start + k) for k in range(self.n_rows, self.n_rows + len(words))
            ]
        )  # fmt: skip
        self.n_rows += len(words)

    @property
    def is_idle(self) -> bool:
        """Whether it is empty, or numbers the rows."""
        return self.empty or (self.first and bool(self.counts))


@dataclass(frozen=True, eq=False)
class TextParts:
    """The rows of text files below each other; a column means the same in all parts."""

    files: tuple[str, ...]
    part_rows: int
    style: Style
    missing: tuple[str, ...] = ()
    part_bytes: float = float("inf")

    def __call__(self) -> Iterator[tuple[str, pa.Table]]:
        """Read the files, so many rows at a time; yield them with the file."""
        for file in self._files:
            for words in file.words(self._block):
                columns = {}
                for name, survey in self._surveys.items():
                    columns[name] = survey.read(words.column(name))
                    if columns[name] is None:
                        fields = {"source": file.source, "name": repr(name)}
                        raise DataError(LazyMessage("read.refusal.changed", fields))
                table = pa.table(columns)
                step = rows_within(self.part_rows, self.part_bytes, len(columns))
                for start in range(0, table.num_rows, step):
                    yield file.source, table.slice(start, step)

    @cached_property
    def _files(self) -> list[_TextFile]:
        files = [_TextFile.of(file, self.style) for file in self.files]
        for file in files[1:]:
            refuse_other_names(files[0].columns, file.columns, self.files[0], file.source)
        return files

    @cached_property
    def _decimal(self) -> tuple[DecimalMark, Sequence[LazyMessage]]:
        """The decimal mark, as the first rows of all files tell."""
        if self.style.decimal is not None:
            one_of(self.style.decimal, "decimal", "read_table", (".", ","))
            return DecimalMark(self.style.decimal, given=True), ()
        return decimal_of(
            (
                file.head.separator,
                (
                    dict(zip(words.column_names, words.columns, strict=True))
                    for words in file.words(self._block)
                ),
            )
            for file in self._files
        )

    @property
    def _block(self) -> int:
        return int(min(_BLOCK, max(_LEAST_BLOCK, self.part_bytes / _AT_ONCE)))

    @cached_property
    def _surveys(self) -> dict[str, ColumnSurvey]:
        """What the columns mean, as all rows tell."""
        mark = self._decimal[0]
        names = list(self._files[0].columns)
        surveys = {name: ColumnSurvey(name, mark, self.missing) for name in names}
        nameless = []
        for file in self._files:
            own = {
                name: _Nameless(first=place == "0")
                for name, place in file.columns.items()
                if not file.head.names[int(place)].strip()
            }
            nameless.append(own)
            for words in file.words(self._block):
                for name, survey in surveys.items():
                    survey.add(words.column(name))
                    if name in own:
                        own[name].add(words.column(name))
        for name in nameless[0]:
            if all(name in own and own[name].is_idle for own in nameless):
                del surveys[name]
        for name, survey in surveys.items():
            if survey.meaning is None and survey.written:
                fields = {"name": repr(name), "example": repr(survey.written)}
                fields["source"] = self.files[0]
                raise DataError(LazyMessage("read.refusal.written_in_parts", fields))
        if not surveys:
            fields = {"source": self.files[0]}
            raise DataError(LazyMessage("read.refusal.no_named_column", fields))
        return surveys

    @property
    def messages(self) -> tuple[LazyMessage, ...]:
        """What was decided while reading."""
        return (*(note for file in self._files for note in file.head.notes), *self._decimal[1])
