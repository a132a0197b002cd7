"""A table in a file, or in a folder of files, that is read so many rows at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset

from polytask._checks import nearest_file
from polytask.data._csv_parts import TextParts, refuse_other_names
from polytask.data.places import Place
from polytask.data.readers import (
    ARROW_SUFFIXES,
    INDEX_PREFIX,
    PARQUET_SUFFIXES,
    PLAIN,
    TEXT_SUFFIXES,
    Style,
    rows_within,
    with_gaps,
    with_plain_numbers,
)
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Column = Any  # a type of pyarrow, which has no types

# Otherwise what has been read of a file stays in memory until it ends. (A buffered stream holds
# less still, but pyarrow 17 reads its columns side by side, and then fails.)
UNBUFFERED = dataset.ParquetFragmentScanOptions(pre_buffer=False)
_PARQUET = dataset.ParquetFileFormat(default_fragment_scan_options=UNBUFFERED)


def file_parts(
    path: str | os.PathLike[str],
    part_rows: int,
    style: Style = PLAIN,
    missing: tuple[str, ...] = (),
    part_bytes: float = float("inf"),
) -> FileParts:
    """Return what yields the rows of a file or folder, so many, or so many bytes, at a time.

    The files are Parquet, Arrow or text, all of one kind, with the same columns.
    """
    files, kind = _of_one_kind(os.fspath(path))
    if kind == "text":
        return FileParts(
            TextParts(tuple(files), part_rows, style, missing, part_bytes), tuple(files)
        )
    opened = {file: _opened(file, kind) for file in files}
    _refuse_unlike({file: each.schema for file, each in opened.items()})
    n_columns = len(next(iter(opened.values())).schema.names)
    n_rows = rows_within(part_rows, part_bytes, n_columns)
    return FileParts(partial(_batches, opened, n_rows, missing), tuple(files))


def _of_one_kind(source: str) -> tuple[list[str], str]:
    """Return the files of a table, and what they all are."""
    if not os.path.exists(source):
        fields = {"path": repr(source), "hint": nearest_file(source)}
        raise DataError(LazyMessage("statistics.refusal.no_file", fields))
    files = files_in(source) if os.path.isdir(source) else [source]
    # In a folder what has no known suffix is taken to be Parquet, as other programs write it.
    kinds = {file: _kind_of(file, "parquet" if os.path.isdir(source) else "ipc") for file in files}
    kind = kinds[files[0]]
    for file in files:
        if kinds[file] != kind:
            fields = {"folder": source, "file": files[0], "other": file}
            raise DataError(LazyMessage("read.refusal.kinds_of_files", fields))
    return files, kind


@dataclass(frozen=True)
class FilePiece:
    """An Arrow file, or a group of rows of a Parquet file, to be read elsewhere."""

    file: str
    group: int | None
    missing: tuple[str, ...]
    place: Place

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return its rows."""
        try:
            if self.group is None:
                table = dataset.dataset(self.file, format="ipc").to_table(columns=list(columns))
            else:
                table = pq.ParquetFile(self.file).read_row_group(self.group, columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.file, error) from error
        return with_gaps(with_plain_numbers(table), self.missing)[0]


@dataclass(frozen=True)
class FilePieces:
    """Pieces of a table in files, in their order, and the names of its columns."""

    columns: tuple[str, ...]
    pieces: tuple[FilePiece, ...]


def file_pieces(path: str, missing: tuple[str, ...] = ()) -> FilePieces:
    """Return pieces of a table in Parquet or Arrow files, which have the same columns."""
    files, kind = _of_one_kind(path)
    if kind == "text":
        raise DataError(LazyMessage("read.refusal.text_pieces", {"source": files[0]}))
    schemas = {file: _opened(file, kind).schema for file in files}
    _refuse_unlike(schemas)
    found = []
    for file in files:
        # Workers have working folders of their own.
        path, named = os.path.abspath(file), file if len(files) > 1 else None
        if kind != "parquet":
            found.append(FilePiece(path, None, missing, Place(0, named)))
            continue
        about, first = pq.read_metadata(file), 0
        for group in range(about.num_row_groups):
            found.append(FilePiece(path, group, missing, Place(first, named)))
            first += about.row_group(group).num_rows
    return FilePieces(_kept_names(schemas[files[0]].names), tuple(found))


@dataclass(frozen=True, eq=False)
class FileParts:
    """The rows of files, which must stay as they are until they were read for the last time."""

    # Yields the rows with the file that they are in.
    parts: Callable[[], Iterator[tuple[str, pa.Table]]]
    files: tuple[str, ...]

    def __post_init__(self) -> None:
        """Take down what the files are now."""
        _ = self._stamps

    @cached_property
    def _stamps(self) -> dict[str, tuple[int, int]]:
        return {file: _stamp(file) for file in self.files}

    def __call__(self) -> Iterator[pa.Table]:
        """Read the files, so many rows at a time."""
        return (table for _, table in self.placed())

    def placed(self) -> Iterator[tuple[Place, pa.Table]]:
        """Read the files, and say where the rows stand: also in which file, if it is not alone."""
        self._refuse_altered()
        last, first = "", 0
        for file, table in self.parts():
            first = first if file == last else 0
            yield Place(first, file if len(self.files) > 1 else None), table
            last, first = file, first + table.num_rows
        self._refuse_altered()

    @property
    def has_header(self) -> bool:
        """Whether the first row of a file is that of the names."""
        return isinstance(self.parts, TextParts)

    @property
    def messages(self) -> Sequence[LazyMessage]:
        """What was decided while reading."""
        return self.parts.messages if isinstance(self.parts, TextParts) else ()

    def _refuse_altered(self) -> None:
        for file, stamp in self._stamps.items():
            if _stamp(file) != stamp:
                raise DataError(LazyMessage("read.refusal.altered", {"source": file}))


def _stamp(file: str) -> tuple[int, int]:
    """Return what changes when a file is written: its size and time; zeros if it is gone."""
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


# How many times the bytes of its cells, or of its text, reading and fitting a table takes.
_CELLS, _TEXT, _PACKED = 5, 4.5, 5


def bytes_needed(path: str, otherwise: str = "") -> float:
    """Return about how much memory it takes to read a table whole and to fit it; 0 if unknown."""
    if os.path.isdir(path):
        return sum(bytes_needed(file, "parquet") for file in files_in(path))
    if not os.path.isfile(path):
        return 0.0
    kind, size = _kind_of(path, otherwise), os.path.getsize(path)
    if kind == "text":
        return size * _TEXT * (_PACKED if path.lower().endswith(".gz") else 1)
    if kind == "parquet":
        try:
            about = pq.read_metadata(path)
        except (pa.ArrowException, OSError):
            return 0.0  # refused where it is read
        groups = [about.row_group(k).total_byte_size for k in range(about.num_row_groups)]
        size = max(8 * about.num_rows * about.num_columns, sum(groups))
    return float(size * _CELLS) if kind else 0.0


def files_in(folder: str) -> list[str]:
    """Return the files of a folder and of those in it; hidden ones and marks of jobs are none."""
    found = sorted(
        file
        for file in Path(folder).rglob("*")
        if file.is_file() and not file.name.startswith((".", "_"))
    )
    if not found:
        raise DataError(LazyMessage("read.refusal.empty_folder", {"folder": folder}))
    return [os.fspath(file) for file in found]


def _kind_of(file: str, otherwise: str) -> str:
    name = file.lower()
    if name.removesuffix(".gz").endswith(TEXT_SUFFIXES):
        return "text"
    if name.endswith(PARQUET_SUFFIXES):
        return "parquet"
    return "ipc" if name.endswith(ARROW_SUFFIXES) else otherwise


def _opened(file: str, kind: str) -> Any:  # noqa: ANN401 - a dataset of pyarrow
    try:
        return dataset.dataset(file, format=_PARQUET if kind == "parquet" else kind)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _batches(
    opened: dict[str, Any], part_rows: int, missing: tuple[str, ...]
) -> Iterator[tuple[str, pa.Table]]:
    kept = list(_kept_names(next(iter(opened.values())).schema.names))
    for file, rows in opened.items():
        try:
            for piece in _pieces(rows):
                for batch in piece.to_batches(
                    columns=kept, batch_size=part_rows, batch_readahead=1, fragment_readahead=1
                ):
                    if batch.num_rows:
                        table = with_plain_numbers(pa.Table.from_batches([batch]))
                        yield file, with_gaps(table, missing)[0]
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file, error) from error


def _kept_names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not name.startswith(INDEX_PREFIX))


def _pieces(rows: Any) -> Iterator[Any]:  # noqa: ANN401 - a dataset of pyarrow
    """Yield the groups of rows of Parquet, so that none is read ahead of whoever takes long."""
    for fragment in rows.get_fragments():
        groups = getattr(fragment, "split_by_row_group", None)
        yield from [fragment] if groups is None else groups()


def whole_table(parts: Iterable[pa.Table], source: str) -> pa.Table:
    """Return the parts of a table below each other."""
    found = [*parts]
    if not found:
        raise DataError(LazyMessage("read.refusal.no_rows", {"source": source}))
    if any(part.schema != found[0].schema for part in found):
        # Levels of one part are the words of another.
        plain = {name: kind.value_type for part in found
                 for name, kind in zip(part.column_names, part.schema.types, strict=True)
                 if pa.types.is_dictionary(kind)}  # fmt: skip
        found = [
            pa.table({
                name: column.cast(plain[name]) if name in plain and column.type != pa.null()
                else column
                for name, column in zip(part.column_names, part.columns, strict=True)
            })
            for part in found
        ]  # fmt: skip
    return pa.concat_tables(found, promote_options="permissive")


def _unreadable(source: str, error: Exception) -> DataError:
    reason = str(error).partition("\n")[0]
    fields = {"path": repr(source), "reason": reason}
    return DataError(LazyMessage("statistics.refusal.unreadable", fields))


def _refuse_unlike(schemas: dict[str, Any]) -> None:
    """Refuse files whose columns are not those of the first, or hold something else."""
    expected: dict[str, tuple[str, str]] = {}
    first = next(iter(schemas))
    for file, schema in schemas.items():
        if file != first:
            refuse_other_names(schemas[first].names, schema.names, first, file)
        for name, kind in zip(schema.names, schema.types, strict=True):
            cells = _cells_of(kind)
            if not cells:
                continue  # nothing but missing cells
            known, where = expected.setdefault(name, (cells, file))
            if cells != known:
                fields = {"name": repr(name), "file": file, "got": f"{kind}"}
                fields |= {"first": where, "wanted": str(schemas[where].field(name).type)}
                raise DataError(LazyMessage("read.refusal.part_type", fields))


def _cells_of(kind: Column) -> str:
    """Return what cells of a type are, as features: numbers of all types are alike."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(kind):
        return ""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    return "date" if pa.types.is_temporal(kind) else str(kind)
