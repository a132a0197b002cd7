"""Where the rows of a table that is read in parts come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Protocol, TypeVar

from polytask._checks import sentence
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

Summary = TypeVar("Summary")
_OWNER = "collect_parts"


class Source(Protocol):
    """Rows that can be read several times, a part at a time, here or elsewhere."""

    def summed(
        self,
        summary: Callable[[Any], Summary],
        together: Callable[[Summary, Summary], Summary],
    ) -> Summary | None:
        """Return the summaries of all parts put together, None where there is no part.

        `together` is associative; a part is a table of pandas, polars or pyarrow.
        """


@dataclass(frozen=True)
class Parts:
    """Parts that a function yields, in this process, one after another."""

    parts: Callable[[], Iterable[Any]]

    def summed(
        self,
        summary: Callable[[Any], Summary],
        together: Callable[[Summary, Summary], Summary],
    ) -> Summary | None:
        """Return the summaries of all parts put together, None where there is no part."""
        found = map(summary, self.parts())
        first = next(found, None)
        return None if first is None else reduce(together, found, first)


def source_of(source: object, part_rows: int) -> Source:
    """Return the rows of a file, of a folder, or of a function that yields tables."""
    return Parts(source if callable(source) else _file_parts(source, part_rows))


def _file_parts(source: object, part_rows: int) -> Callable[[], Iterator[Any]]:
    """Return what yields the rows of a file or folder, so many at a time."""
    if not isinstance(source, str | os.PathLike):
        allowed = LazyMessage("allowed.path_or_function")
        raise ParameterError(sentence("source", _OWNER, allowed, repr(source)))
    path = Path(source)
    if not path.exists():
        fields = {"path": repr(os.fspath(source))}
        raise DataError(LazyMessage("statistics.refusal.no_file", fields))
    import pyarrow as pa
    from pyarrow import dataset

    kind: Any = "ipc"
    if path.is_dir() or path.suffix in (".parquet", ".pq"):
        # Otherwise what has been read stays in memory until the file ends. (A buffered stream
        # holds less still, but pyarrow 17 reads its columns side by side, and then fails.)
        streamed = dataset.ParquetFragmentScanOptions(pre_buffer=False)
        kind = dataset.ParquetFileFormat(default_fragment_scan_options=streamed)
    try:
        opened = dataset.dataset(path, format=kind)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(source, error) from error

    def read() -> Iterator[Any]:
        try:
            for batch in opened.to_batches(
                batch_size=part_rows, batch_readahead=1, fragment_readahead=1
            ):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(source, error) from error

    return read


def _unreadable(source: object, error: Exception) -> DataError:
    first = str(error).partition("\n")[0]
    fields = {"path": repr(str(source)), "reason": first}
    return DataError(LazyMessage("statistics.refusal.unreadable", fields))
