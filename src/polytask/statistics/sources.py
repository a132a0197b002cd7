"""Where the rows of a table that is read in parts come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from importlib import import_module
from typing import Any, Protocol, TypeVar, runtime_checkable

import narwhals as nw
import pyarrow as pa
from pyarrow import dataset

from polytask._checks import sentence
from polytask.data import tables
from polytask.data.file_parts import UNBUFFERED, file_parts
from polytask.data.places import Place
from polytask.data.readers import PLAIN, Style
from polytask.exceptions import DataError, ParameterError, PolytaskError
from polytask.messages import LazyMessage

Summary = TypeVar("Summary")
Yields = Callable[[], Iterable[Any]]
_OWNER = "collect_parts"
# What relations of DuckDB have, of today and of before.
_READERS = ("to_arrow_reader", "fetch_arrow_reader", "fetch_record_batch")


@runtime_checkable
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

    def in_turn(self) -> Parts:
        """Return the parts as they are read in this process, one after another."""


@dataclass(frozen=True)
class Parts:
    """Parts that a function yields, in this process, one after another."""

    parts: Yields

    def placed(self) -> Iterator[tuple[Place, Any]]:
        """Yield the parts that have rows, as tables, and where these stand."""
        # What reads files knows; other rows count from the first of the source.
        known: Callable[[], Iterator[tuple[Place, Any]]] | None
        known = getattr(self.parts, "placed", None)
        first = 0
        for place, given in known() if known else ((None, part) for part in self.parts()):
            part = pa.Table.from_batches([given]) if isinstance(given, pa.RecordBatch) else given
            if not tables.is_table(part):
                allowed = LazyMessage("allowed.parts_are_tables")
                got = type(part).__name__
                raise DataError(sentence(LazyMessage("what.part"), _OWNER, allowed, got))
            n_rows = tables.n_rows(part)
            if n_rows:
                yield Place(first) if place is None else place, part
            first += n_rows

    def in_turn(self) -> Parts:
        """Return the parts themselves."""
        return self

    def summed(
        self,
        summary: Callable[[Any], Summary],
        together: Callable[[Summary, Summary], Summary],
    ) -> Summary | None:
        """Return the summaries of all parts put together, None where there is no part."""

        def summary_of(placed: tuple[Place, Any]) -> Summary:
            with placed[0].named():
                return summary(placed[1])

        found = map(summary_of, self.placed())
        first = next(found, None)
        return None if first is None else reduce(together, found, first)


def source_of(
    source: object,
    part_rows: int,
    *,
    once: bool = False,
    style: Style = PLAIN,
    missing: Sequence[str] = (),
    owner: str = _OWNER,
) -> Source:
    """Return the rows of a source, which is to be read `once`, or several times."""
    if isinstance(source, Source):
        return source
    if type(source).__module__.partition(".")[0] == "dask":
        # A package above this one knows Dask, and is there where a collection of Dask is.
        found: Source = import_module("polytask.distributed.partitions").of_table(source)
        return found
    if isinstance(source, str | os.PathLike):
        words = tuple(word.strip() for word in missing)
        return Parts(file_parts(source, part_rows, style, words))
    if callable(source):
        return Parts(source)
    foreign = _foreign_parts(source, part_rows)
    if foreign is not None:
        return Parts(partial(_guarded, foreign, type(source).__name__))
    # The rows of a table in memory are no parts of it.
    in_memory = tables.is_table(source) or isinstance(source, pa.RecordBatch | Mapping)
    if in_memory or not isinstance(source, Iterable):
        allowed = LazyMessage("allowed.path_or_function")
        raise ParameterError(sentence("source", owner, allowed, type(source).__name__))
    if not once and (iter(source) is source or isinstance(source, pa.RecordBatchReader)):
        fields = {"kind": type(source).__name__}
        raise DataError(LazyMessage("statistics.refusal.read_once", fields))
    return Parts(lambda: source)


def _foreign_parts(source: Any, part_rows: int) -> Yields | None:  # noqa: ANN401
    """Return what yields the rows of another library's object that knows where they are."""
    if isinstance(source, dataset.Dataset):
        ahead = {"batch_readahead": 1, "fragment_readahead": 1}
        if isinstance(getattr(source, "format", None), dataset.ParquetFileFormat):
            ahead["fragment_scan_options"] = UNBUFFERED
        return partial(source.to_batches, batch_size=part_rows, **ahead)
    if nw.dependencies.is_polars_lazyframe(source):
        if not hasattr(source, "collect_batches"):
            raise DataError(LazyMessage("statistics.refusal.old_polars"))
        return partial(source.collect_batches, chunk_size=part_rows, lazy=True)
    read = next((getattr(source, name) for name in _READERS if hasattr(source, name)), None)
    return None if read is None else partial(read, part_rows)


def _guarded(parts: Yields, kind: str) -> Iterator[Any]:
    """Yield parts; what another library cannot read is one sentence."""
    try:
        yield from parts()
    except PolytaskError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        fields = {"kind": kind, "reason": reason}
        raise DataError(LazyMessage("statistics.refusal.source_fails", fields)) from error
