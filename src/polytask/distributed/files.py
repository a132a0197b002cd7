"""Files that the workers of a cluster read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import dask.dataframe as dd
from distributed import Client

from polytask.data.file_parts import FilePiece
from polytask.data.readers import frame_of
from polytask.distributed.partitions import Partitions
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

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
    table = frame_of(piece.read(columns))
    return table if needed is None else table.dropna(subset=[needed]).reset_index(drop=True)
