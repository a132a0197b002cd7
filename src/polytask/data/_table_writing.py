"""Tables to files, whole or not at all."""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from polytask.exceptions import DataError
from polytask.io.atomic import write_whole
from polytask.messages import LazyMessage

Writer = Callable[[Iterator[pa.Table], BinaryIO], None]


def write_table(frame: object, path: str | os.PathLike[str]) -> None:
    """Write a data frame to a file, whole or not at all.

    Text files are UTF-8 with the missing cells blank; the index of a pandas frame is not
    written.

    Parameters
    ----------
    frame : data frame of shape (n_rows, n_columns)
        A pandas, polars or pyarrow table.
    path : path-like
        The file; its suffix says what is written: ``.csv``, ``.tsv`` (also with ``.gz``),
        ``.parquet``, ``.pq``, ``.arrow``, ``.feather`` or ``.ipc``. A file that exists is
        replaced.

    Raises
    ------
    DataError
        If the suffix is another one, a column cannot be written, the folder is not there, or
        the disk is full; nothing is left behind.
    """
    write_parts(iter([arrow_of(frame, path)]), path)


def write_parts(tables: Iterator[pa.Table], path: str | os.PathLike[str]) -> None:
    """Write tables below each other to a file, whole or not at all, as :func:`write_table`."""
    name = os.fspath(path).lower()
    zipped = name.endswith(".gz")
    suffix = os.path.splitext(name.removesuffix(".gz"))[1]
    write = _TEXT.get(suffix) if zipped else (_TEXT | _BINARY).get(suffix)
    if write is None:
        raise DataError(LazyMessage("write.refusal.suffix", {"path": os.fspath(path)}))
    alike = _alike(tables, path)
    write_whole(path, lambda file: _compressed(write, alike, file, zipped))


def _alike(tables: Iterator[pa.Table], path: str | os.PathLike[str]) -> Iterator[pa.Table]:
    """Yield tables with the types of the first."""
    schema = None
    for table in tables:
        schema = schema or table.schema
        try:
            yield table if table.schema.equals(schema) else table.cast(schema)
        except pa.ArrowException as error:
            fields = {"path": os.fspath(path), "error": str(error)}
            raise DataError(LazyMessage("write.refusal.other", fields)) from None


def _compressed(write: Writer, tables: Iterator[pa.Table], file: BinaryIO, zipped: bool) -> None:
    if not zipped:
        write(tables, file)
        return
    # No time and no name, so that the same table gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        write(tables, packed)  # type: ignore[arg-type]


def arrow_of(frame: object, path: str | os.PathLike[str]) -> pa.Table:
    """Return a data frame as it is written to a file."""
    try:
        view: nw.DataFrame[Any] = nw.from_native(frame, eager_only=True)
        table = view.to_arrow()
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            LazyMessage("write.refusal.other", {"path": os.fspath(path), "error": str(error)})
        ) from None
    index = [name for name in table.column_names if name not in set(map(str, view.columns))]
    return table.drop_columns(index).replace_schema_metadata(None)


def _text(separator: str) -> Writer:
    def write(tables: Iterator[pa.Table], file: BinaryIO) -> None:
        for k, table in enumerate(tables):
            frame = table.to_pandas(ignore_metadata=True, date_as_object=True)
            for name, column in zip(table.column_names, table.columns, strict=True):
                # Integers and booleans with missing cells would come out as 1.0 and True mixed.
                if column.null_count and not str(column.type).startswith(("float", "double")):
                    frame[name] = column.to_pandas(integer_object_nulls=True)
            text = frame.to_csv(index=False, header=not k, sep=separator, lineterminator="\n")
            file.write(text.encode("utf-8"))

    return write


def _parquet(tables: Iterator[pa.Table], file: BinaryIO) -> None:
    first = next(tables)
    with pq.ParquetWriter(file, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _arrow(tables: Iterator[pa.Table], file: BinaryIO) -> None:
    first = next(tables)
    with ipc.new_file(file, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


_TEXT: dict[str, Writer] = {".csv": _text(","), ".tsv": _text("\t")}
_BINARY: dict[str, Writer] = {
    ".parquet": _parquet,
    ".pq": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".ipc": _arrow,
}
