"""Tables to files, whole or not at all."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from typing import Any, BinaryIO

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from polytask.exceptions import DataError
from polytask.io.atomic import write_whole
from polytask.messages import LazyMessage

Writer = Callable[[pa.Table, BinaryIO], None]


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
    name = os.fspath(path).lower()
    zipped = name.endswith(".gz")
    suffix = os.path.splitext(name.removesuffix(".gz"))[1]
    write = _TEXT.get(suffix) if zipped else (_TEXT | _BINARY).get(suffix)
    if write is None:
        raise DataError(LazyMessage("write.refusal.suffix", {"path": os.fspath(path)}))
    table = _table(frame, path)
    write_whole(path, lambda file: _compressed(write, table, file, zipped))


def _compressed(write: Writer, table: pa.Table, file: BinaryIO, zipped: bool) -> None:
    if not zipped:
        write(table, file)
        return
    # No time and no name, so that the same table gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        write(table, packed)  # type: ignore[arg-type]


def _table(frame: object, path: str | os.PathLike[str]) -> pa.Table:
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
    def write(table: pa.Table, file: BinaryIO) -> None:
        frame = table.to_pandas(ignore_metadata=True, date_as_object=True)
        for name, column in zip(table.column_names, table.columns, strict=True):
            # Integers and booleans with missing cells would come out as 1.0 and True mixed.
            if column.null_count and not str(column.type).startswith(("float", "double")):
                frame[name] = column.to_pandas(integer_object_nulls=True)
        text = frame.to_csv(index=False, sep=separator, lineterminator="\n")
        file.write(text.encode("utf-8"))

    return write


def _parquet(table: pa.Table, file: BinaryIO) -> None:
    pq.write_table(table, file)


def _arrow(table: pa.Table, file: BinaryIO) -> None:
    with ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


_TEXT: dict[str, Writer] = {".csv": _text(","), ".tsv": _text("\t")}
_BINARY: dict[str, Writer] = {
    ".parquet": _parquet,
    ".pq": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".ipc": _arrow,
}
