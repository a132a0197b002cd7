"""Partitions of Dask collections as a source of rows: summed up where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Self, TypeVar

import dask.array as da
import dask.dataframe as dd
import numpy as np
from dask.delayed import Delayed, delayed
from distributed import KilledWorker

from polytask._checks import got_shape, nearest, sentence
from polytask.data.places import Place
from polytask.exceptions import DataError
from polytask.messages import LazyMessage
from polytask.statistics.sources import Parts

Summary = TypeVar("Summary")
# The pieces of several arrays, by what they are for.
Pieces = Mapping[str, Any]
OWNER = "polytask.distributed"
# Where tables that were read of files say where their rows stand.
PLACE = "polytask.place"
# So many summaries are put together by one task.
_FAN_IN = 8


@dataclass(frozen=True, eq=False)
class Partitions:
    """The partitions of a table, or those of arrays that have the same rows."""

    # A part is a piece of the table; of arrays it is a mapping of names to pieces.

    collections: tuple[Any, ...]
    client: Any = None
    names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, X: Any, others: Mapping[str, Any], client: Any = None) -> Self:  # noqa: ANN401
        """Take arrays that are given."""
        _refuse_no_target(others)
        given = {name: value for name, value in others.items() if value is not None}
        return cls(aligned(X, given), client, ("X", *given))

    def summed(
        self,
        summary: Callable[[Any], Summary],
        together: Callable[[Summary, Summary], Summary],
    ) -> Summary | None:
        """Return the summaries of all partitions put together, None where there is no row."""
        try:
            found: Summary | None = self.lazily(summary, together).compute(scheduler=self.client)
        except KilledWorker as error:
            raise DataError(LazyMessage("distributed.refusal.killed")) from error
        return found

    def in_turn(self) -> Parts:
        """Return the partitions of the table as they are brought here, one after another."""
        (table,) = self.collections

        def brought() -> Iterator[Any]:
            for k in range(table.npartitions):
                try:
                    yield table.partitions[k].compute(scheduler=self.client)
                except KilledWorker as error:
                    raise DataError(LazyMessage("distributed.refusal.killed")) from error

        return Parts(brought)

    def lazily(
        self,
        summary: Callable[[Any], Summary],
        together: Callable[[Summary, Summary], Summary],
    ) -> Delayed:
        """Return the same as a task: one for each partition, put together as a tree."""
        names = self.names

        def of_pieces(*pieces: Any) -> Summary | None:  # noqa: ANN401 - of any collections
            if not pieces[0].shape[0]:
                return None
            if names is not None:
                return summary(dict(zip(names, pieces, strict=True)))
            with pieces[0].attrs.get(PLACE, Place()).named():
                return summary(pieces[0])

        def joined(found: Sequence[Summary | None]) -> Summary | None:
            kept = [one for one in found if one is not None]
            return reduce(together, kept) if kept else None

        join, level = delayed(joined, pure=False), self._tasks(of_pieces)
        while len(level) > 1:
            level = [join(level[k : k + _FAN_IN]) for k in range(0, len(level), _FAN_IN)]
        return level[0]

    def _tasks(self, function: Callable[..., Any]) -> list[Delayed]:
        """Return one task for each partition, which reads it too."""
        if self.names is None:
            # Said to be a column, what is returned is made by the task that reads.
            found = self.collections[0].map_partitions(
                function, meta=(None, object), enforce_metadata=False
            )
            return list(found.to_delayed())
        pairs = [part for one in self.collections for part in (one, "ij"[: one.ndim])]
        found = da.blockwise(
            function, "ij", *pairs, dtype=object, meta=np.empty((0, 0), dtype=object),
            align_arrays=False,
        )  # fmt: skip
        return list(found.to_delayed().ravel())


def of_table(ddf: Any) -> Partitions:  # noqa: ANN401 - what is to be a table of Dask
    """Return the partitions of a table."""
    if not isinstance(ddf, dd.DataFrame):
        allowed = LazyMessage("allowed.path_or_function")
        raise DataError(sentence("source", "collect_parts", allowed, type(ddf).__name__))
    return Partitions((ddf,))


def aligned(X: Any, others: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: ANN401
    """Return X and others with the same partitions, each of which has all columns."""
    kind = dd.DataFrame if isinstance(X, dd.DataFrame) else da.Array
    if not isinstance(X, kind) or X.ndim != 2:
        got = got_shape(X.shape) if isinstance(X, da.Array) else type(X).__name__
        raise DataError(sentence("X", OWNER, LazyMessage("allowed.collection"), got))
    kinds = da.Array if kind is da.Array else dd.DataFrame | dd.Series
    for name, value in others.items():
        if not isinstance(value, kinds):
            allowed = LazyMessage("allowed.collection_like_x", {"kind": type(X).__name__})
            raise DataError(sentence(name, OWNER, allowed, type(value).__name__))
    if kind is da.Array:
        X, others = _whole_columns(X), {n: _whole_columns(v) for n, v in others.items()}
        rows = {0: X.chunks[0]}
        # Blocks are moved where the sizes of all are known.
        others = {n: v.rechunk(rows) if v.shape[0] == X.shape[0] else v for n, v in others.items()}
    for name, value in others.items():
        if value.npartitions != X.npartitions:
            allowed = LazyMessage("allowed.partitions_of_x", {"n": X.npartitions})
            raise DataError(sentence(name, OWNER, allowed, str(value.npartitions)))
    return X, *others.values()


def _whole_columns(array: Any) -> Any:  # noqa: ANN401 - an array of Dask
    # Along the columns only: rows stay in their blocks, whose sizes need not be known.
    return array if array.ndim == 1 or array.numblocks[1] == 1 else array.rechunk({1: -1})


def _refuse_no_target(given: Mapping[str, Any]) -> None:
    if given["y"] is None:
        raise DataError(LazyMessage("estimator.refusal.no_y", {"owner": OWNER}))


def with_columns(
    X: Any,  # noqa: ANN401 - a table of Dask
    given: Mapping[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """Return a table that has given columns too, and their names; those of None are left out."""
    _refuse_no_target(given)
    known = [str(name) for name in X.columns]
    names, added = dict[str, Any](), dict[str, Any]()
    for role, value in given.items():
        if isinstance(value, str | list | tuple):
            names[role] = value if isinstance(value, str) else list(value)
            for name in [value] if isinstance(value, str) else value:
                if name not in known:
                    fields = {"owner": OWNER, "name": repr(name), "hint": nearest(name, known)}
                    raise DataError(LazyMessage("statistics.refusal.no_column", fields))
        elif value is not None:
            added[role] = value
            names[role] = _new_names(role, value, known)
    collections = aligned(X, added)
    if not added:
        return X, names
    join = partial(_with_columns, names=[names[role] for role in added])
    empty = join(*(one._meta for one in collections))
    return dd.map_partitions(join, *collections, meta=empty, align_dataframes=False), names


def _new_names(role: str, value: Any, known: Sequence[str]) -> str | list[str]:  # noqa: ANN401
    """Return names of columns to be added: those of a table, or one that is free."""
    if not isinstance(value, dd.DataFrame):
        while role in known:
            role += "_"
        return role
    twice = [repr(str(name)) for name in value.columns if str(name) in known]
    if twice:
        raise DataError(LazyMessage("distributed.refusal.twice", {"names": twice}))
    return [*map(str, value.columns)]


def _with_columns(X: Any, *others: Any, names: Sequence[str | list[str]]) -> Any:  # noqa: ANN401
    """Put columns beside a piece of a table."""
    found = X.copy(deep=False)
    for name, other in zip(names, others, strict=True):
        if not X.index.equals(other.index):
            fields = {"n": len(X), "n2": len(other)}
            raise DataError(LazyMessage("distributed.refusal.unlike", fields))
        found[name] = other
    return found
