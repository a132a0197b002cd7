"""Files that the workers of a cluster read."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import dask.dataframe as dd
import numpy as np
from distributed import Client, KilledWorker

from polytask.data.file_parts import FilePiece
from polytask.data.readers import frame_of
from polytask.distributed.partitions import PLACE, Partitions
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Given = TypeVar("Given")
Result = TypeVar("Result")
_SECONDS = 10


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Use the cluster whose scheduler is at an address."""
    try:
        client = Client(address, timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        fields = {"address": address, "reason": reason}
        raise DataError(LazyMessage("distributed.refusal.no_scheduler", fields)) from error
    with client:
        yield client


def of_files(
    pieces: Sequence[FilePiece], columns: Sequence[str], needed: str | None, client: Client
) -> Partitions:
    """Return some columns of files; rows without a cell in `needed` are left out."""
    read = partial(_read, columns=tuple(columns), needed=needed)
    return Partitions((dd.from_map(read, pieces, meta=read(pieces[0])[:0]),), client)


def _read(piece: FilePiece, columns: Sequence[str], needed: str | None) -> Any:  # noqa: ANN401
    table, place = frame_of(piece.read(columns)), piece.place
    if needed is not None:
        kept = np.flatnonzero(table[needed].notna())
        place, table = replace(place, kept=kept), table.iloc[kept].reset_index(drop=True)
    table.attrs[PLACE] = place
    return table


def in_order(
    function: Callable[[Given, FilePiece], Result],
    given: Given,
    pieces: Iterable[FilePiece],
    client: Client,
) -> Iterator[Result]:
    """Yield what workers make of what is given and every piece, as they follow each other."""
    # A task returns what is given, so that it is there again where a worker died that had it.
    shared = client.submit(_same, given, pure=False)
    left = (client.submit(function, shared, piece, pure=False) for piece in pieces)
    # So many are made ahead that no worker waits, and what they return fits into memory here.
    running = deque(itertools.islice(left, 2 * max(1, sum(client.nthreads().values()))))
    while running:
        try:
            found: Result = running.popleft().result()
        except KilledWorker as error:
            raise DataError(LazyMessage("distributed.refusal.killed")) from error
        running.extend(itertools.islice(left, 1))
        yield found


def _same(given: Given) -> Given:
    return given
