"""What every candidate predicts for rows that it has not seen: resumable, within a budget."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from polytask._checks import is_whole, sentence
from polytask._estimator.card import checksum, versions
from polytask._journal import Journal
from polytask._messages import Said
from polytask._progress import Progress, progress
from polytask.data import Form, Splitter, TaskData, WithinTasks
from polytask.data.splits import Split
from polytask.exceptions import DataError, PolytaskError
from polytask.metrics import HeldOut
from polytask.selection.auto.bench import Bench
from polytask.selection.auto.calibration import seen_first, stacked
from polytask.selection.auto.clock import Clock
from polytask.selection.auto.weighing import Tried, judged, weigh
from polytask.selection.entries import Entry, told
from polytask.selection.folds import given_splits
from polytask.selection.held import Study, digest_of, held_out

Array = NDArray[np.float64]
Record = dict[str, Any]


class Store(Protocol):
    """Where finished fits are kept: a journal, or a dict of this run."""

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever was stored
        """Return a finished piece, None if there is no such one."""
        ...

    def put(self, key: str, value: Any) -> None:  # noqa: ANN401 - anything
        """Store a finished piece."""
        ...


class _Memory(dict[str, Any]):
    """What a choice without a journal keeps."""

    def put(self, key: str, value: Any) -> None:  # noqa: ANN401
        self[key] = value


def make_splits(raw: TaskData, cv: object, unseen: bool, owner: str) -> list[Split]:
    """Return training and held-out rows of every fold.

    Parameters
    ----------
    raw : TaskData
        All rows.
    cv : int, splitter, or pairs of rows
        The folds.
    unseen : bool
        Whether rows of tasks that a fold does not train on may be held out.
    owner : str
        The estimator, for messages.

    Returns
    -------
    list of (train, test)
        Folds with held-out labels.

    Raises
    ------
    DataError
        If there is none, or two hold out the same row.
    """
    splits = [pair if unseen else _servable(raw, *pair) for pair in given_splits(cv, raw, owner)]
    splits = [pair for pair in splits if all(_labelled(raw, rows) for rows in pair)]
    if not splits:
        raise DataError(
            "No fold holds out a row of a task that it also trains on: give larger tasks, or "
            "other folds as cv."
        )
    times = np.bincount(np.concatenate([test for _, test in splits]), minlength=raw.n_rows)
    if np.any(times > 1):
        # What is learned from the other folds would have seen the row.
        got = f"{np.count_nonzero(times > 1)} rows that several folds hold out"
        raise DataError(sentence("cv", owner, "folds that hold out no row twice", got))
    return splits


def units_of(raw: TaskData, cv: object) -> NDArray[np.intp] | None:
    """Return what the rows belong to whose errors go together; None: the folds."""
    if is_whole(cv):
        cv = WithinTasks(int(cv))
    return cv.units(raw) if isinstance(cv, Splitter) else None


def _labelled(raw: TaskData, rows: NDArray[np.intp]) -> bool:
    if raw.form is Form.TARGETS:
        return bool(raw.labelled()[rows].any())
    return len(rows) > 0


def _servable(raw: TaskData, train: NDArray[np.intp], test: NDArray[np.intp]) -> Split:
    if raw.form is Form.TARGETS:
        return train, test
    owners = raw.row_tasks()
    return train, test[np.isin(owners[test], owners[train])]


@contextmanager
def opened(
    path: str | os.PathLike[str] | None,
    data: TaskData,
    splits: Sequence[Split],
    entries: Sequence[Entry],
    owner: str,
) -> Iterator[Store]:
    """Open the journal of a choice, or keep its fits in memory.

    Parameters
    ----------
    path : path or None
        The file.
    data : TaskData
        All rows, encoded.
    splits, entries
        The folds and the candidates.
    owner : str
        The estimator, for messages.

    Raises
    ------
    DataError
        If the journal belongs to another choice.
    """
    if path is None:
        yield _Memory()
        return
    header = {
        "kind": "auto",
        # The first format had the probability of the class that was seen alone.
        "format": 2,
        "data": checksum(data),
        "splits": digest_of(splits),
        "models": {entry.name: told(entry.estimator) for entry in entries if entry.estimator},
        "polytask": versions()["polytask"],
    }
    with Journal.open(path, header, owner=owner) as journal:
        yield journal


def try_all(
    study: Study,
    entries: Sequence[Entry],
    splits: Sequence[Split],
    store: Store,
    bench: Bench,
    *,
    n_jobs: int | None,
    deadline: float | None,
    verbose: bool,
) -> list[Tried]:
    """Fit every candidate on every fold, one after the other, those that take least first.

    Parameters
    ----------
    study : Study
        The data.
    entries : sequence of Entry
        The candidates, those that are left out among them.
    splits : sequence of (train, test)
        The folds.
    store : Store
        Finished fits, of this run and of one that was killed.
    bench : Bench
        The held-out rows, by which time is kept for those that would have weight.
    n_jobs : int or None
        Folds fitted at the same time, as in joblib.
    deadline : float or None
        When all is to be over, in seconds of ``time.monotonic``, fits on all rows among it; a
        candidate that is not expected to end in time is left out, but for the first.
    verbose : bool
        Whether to show progress on stderr.

    Returns
    -------
    list of Tried
        In the order of `entries`, judged.
    """
    running = [entry for entry in entries if entry.estimator is not None]
    found: dict[str, Tried] = {}
    clock = Clock(deadline, len(splits), effective_n_jobs(n_jobs))
    with progress(len(running) * len(splits), "Choosing", verbose) as bar:
        for entry in sorted(running, key=lambda entry: entry.cost):
            # One candidate is finished, however long it takes.
            hurried = any(one.values is not None for one in found.values())
            one = _tried(study, entry, splits, store, clock, hurried, bar)
            found[entry.name] = judged(one, bench)
            if deadline is not None:
                weighed = weigh(found.values(), bench)
                clock.reserve(weighed.names() if weighed else ())
    left_out = [Tried(e, None, 0.0, e.left_out) for e in entries if e.estimator is None]
    found |= {one.entry.name: one for one in left_out}
    return [found[entry.name] for entry in entries]


def _tried(
    study: Study,
    entry: Entry,
    splits: Sequence[Split],
    store: Store,
    clock: Clock,
    hurried: bool,
    bar: Progress,
) -> Tried:
    keys = [f"{number}/{entry.name}" for number in range(len(splits))]
    missing = [k for k, key in enumerate(keys) if store.get(key) is None]
    for _ in range(len(keys) - len(missing)):
        bar.skip(entry.name)

    def in_time(folds: Sequence[int]) -> Iterator[int]:
        for done, k in enumerate(folds):
            if hurried and not clock.allows(entry.cost, _spent(store, keys), len(folds) - done):
                return
            clock.begun = True
            yield k

    pool = Parallel(n_jobs=clock.n_jobs, return_as="generator")
    work = pool(delayed(_fold)(study, entry.estimator, *splits[k]) for k in in_time(missing))
    # Those begun in time are the first of them.
    for k, record in zip(missing, work, strict=False):
        store.put(keys[k], record)
        bar.advance(entry.name)
    # As they are read back, so that a resumed choice has the same bits.
    records = [store.get(key) for key in keys]
    finished = all(record is not None for record in records)
    clock.note(entry, _spent(store, keys), finished)
    if not finished:
        return Tried(entry, None, 0.0, Said("left_out.time"))
    failed = next((record["failed"] for record in records if "failed" in record), None)
    if failed is not None:
        return Tried(entry, None, 0.0, failed)
    values = _stacked([record["values"] for record in records])
    return Tried(entry, values, float(sum(record["seconds"] for record in records)), None)


def _spent(store: Store, keys: Sequence[str]) -> list[float]:
    """Return the seconds that finished folds took by the clock."""
    records = (store.get(key) for key in keys)
    return [record["clock"] for record in records if record and "clock" in record]


def _fold(
    study: Study,
    estimator: Any,  # noqa: ANN401 - an estimator
    train: NDArray[np.intp],
    test: NDArray[np.intp],
) -> Record:
    """Fit one candidate on one fold; a candidate that cannot be fitted is no end of the work."""
    # Two threads of linear algebra on small matrices cost more than one.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started, begun = time.process_time(), time.monotonic()
        try:
            model = clone(estimator).fit(study.part(train))
            parts = held_out(study, model, train, test)
        except (PolytaskError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            return {"failed": f"{type(error).__name__}: {error}"}
        values = [_values(held) for _, held in parts]
    if not all(np.isfinite(own).all() for own in values):
        return {"failed": "its predictions are not finite"}
    seconds, clock = time.process_time() - started, time.monotonic() - begun
    return {"values": _stacked(values), "seconds": seconds, "clock": clock}


def _values(held: HeldOut) -> Array:
    """Return predicted numbers, or probabilities with the class that was seen in front."""
    if held.classes is None:
        return np.asarray(held.prediction, dtype=float)
    if held.probabilities is None:
        raise DataError("it gives no probabilities")
    return seen_first(np.asarray(held.probabilities, dtype=float), held.y)


def _stacked(values: list[Array]) -> Array:
    return np.concatenate(values) if values[0].ndim == 1 else stacked(values)
