"""Do the work of a comparison: resumable, in parallel, within a time budget."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from threadpoolctl import threadpool_limits

from polytask._workers import Workers
from polytask.analysis._unit import Record, Unit, run_unit
from polytask.selection.held import Study


class Store(Protocol):
    """Where finished pieces are kept: a journal, or a dict of this run."""

    def get(self, key: str) -> Any: ...  # noqa: ANN401

    def put(self, key: str, value: Any) -> None: ...  # noqa: ANN401


class Watcher(Protocol):
    """Who is told of finished pieces."""

    def advance(self, label: str, weight: float) -> None: ...

    def skip(self, label: str, weight: float) -> None: ...


def run_units(
    study: Study,
    units: Sequence[Unit],
    store: Store,
    *,
    n_jobs: int | None,
    deadline: float | None,
    end: float | None,
    watcher: Watcher,
    costs: Mapping[str, float],
    started: float,
    earlier: float = 0.0,
) -> tuple[Mapping[str, Record], str, float]:
    """Run what is not in the store yet."""
    records: dict[str, Record] = {}
    for unit in units:
        record = store.get(unit.key)
        if record is not None:
            records[unit.key] = record
            watcher.skip(unit.label, costs.get(unit.model, 1.0))
    before = max([earlier, *(record["clock"] for record in records.values())])
    missing = [k for k, unit in enumerate(units) if unit.key not in records]

    def in_time() -> Iterator[int]:
        for k in missing:
            if k != missing[0] and deadline is not None and time.monotonic() > deadline:
                return
            yield k

    with Workers(_limited, (study, units), n_jobs) as workers:
        try:
            for k, record in workers.results(in_time(), end):
                unit = units[k]
                store.put(unit.key, record | {"clock": before + time.monotonic() - started})
                # As it is read back, so that a resumed run has the same bits.
                records[unit.key] = store.get(unit.key)
                watcher.advance(unit.label, costs.get(unit.model, 1.0))
        except KeyboardInterrupt:
            return records, "interrupt", before
    return records, "" if len(records) == len(units) else "time", before


def _limited(shared: tuple[Study, Sequence[Unit]], place: int) -> Record:
    study, units = shared
    # Two threads of linear algebra on small matrices cost more than one, ten times more where
    # the machine is busy; and sums come out the same on every machine.
    with threadpool_limits(1):
        return run_unit(study, units[place])
