"""What every candidate predicts for rows that it has not seen: resumable, within a budget."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from polytask._checks import is_whole, sentence
from polytask._estimator.card import checksum
from polytask._progress import Progress, duration, progress
from polytask._workers import Workers
from polytask.data import Form, Splitter, TaskData, WithinTasks
from polytask.data.splits import Split
from polytask.exceptions import DataError, PolytaskError, TimeBudgetError
from polytask.io import Store
from polytask.io.model_file import versions
from polytask.messages import LazyMessage, failure, text_of
from polytask.metrics import HeldOut
from polytask.selection.auto.calibration import seen_first, stacked
from polytask.selection.auto.clock import Clock
from polytask.selection.auto.held_out_rows import HeldOutRows
from polytask.selection.auto.weighing import CandidateFit, judged, weigh
from polytask.selection.entries import Entry, told, without_splitters
from polytask.selection.folds import given_splits
from polytask.selection.held import Study, digest_of, held_out

Array = NDArray[np.float64]
Record = dict[str, Any]


# Held-out rows that tell candidates apart: further folds of a number of them are not fitted.
_ENOUGH_ROWS = 100_000
_FEWEST_FOLDS = 2


def make_splits(raw: TaskData, cv: object, unseen: bool, owner: str) -> list[Split]:
    """Return training and held-out rows of every fold that is fitted."""
    splits = [pair if unseen else _servable(raw, *pair) for pair in given_splits(cv, raw, owner)]
    splits = [pair for pair in splits if all(_labelled(raw, rows) for rows in pair)]
    if is_whole(cv):
        held = np.cumsum([len(test) for _, test in splits])
        splits = splits[: max(_FEWEST_FOLDS, int(np.searchsorted(held, _ENOUGH_ROWS)) + 1)]
    if not splits:
        raise DataError(LazyMessage("selection.refusal.no_fold"))
    times = np.bincount(np.concatenate([test for _, test in splits]), minlength=raw.n_rows)
    if np.any(times > 1):
        # What is learned from the other folds would have seen the row.
        got = LazyMessage("got.rows_held_twice", {"n": int(np.count_nonzero(times > 1))})
        raise DataError(sentence("cv", owner, LazyMessage("allowed.disjoint_folds"), got))
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


def journal_header(
    data: TaskData, splits: Sequence[Split], entries: Sequence[Entry]
) -> dict[str, Any]:
    """Return what must be the same for a journal of a choice to be gone on with."""
    return {
        "kind": "auto",
        # The first format had the probability of the class that was seen alone.
        "format": 2,
        "data": checksum(data),
        "splits": digest_of(splits),
        "models": {entry.name: told(entry.estimator) for entry in entries if entry.estimator},
        "polytask": versions()["polytask"],
    }


@dataclass(frozen=True, eq=False)
class CandidateFits:
    """Fits of candidates, on folds and on all rows, each in time or not at all."""

    entries: Sequence[Entry]
    splits: Sequence[Split]
    store: Store
    bench: HeldOutRows
    clock: Clock
    workers: Workers
    owner: str
    members: dict[str, Any] = field(default_factory=dict)

    def all(self, verbose: bool) -> list[CandidateFit]:
        """Fit every candidate on every fold, one after the other, those that take least first."""
        # Within a time budget the first that is finished is fitted on all rows at once, so that
        # there is a model whatever comes.
        places = [k for k, entry in enumerate(self.entries) if entry.estimator is not None]
        places.sort(key=lambda k: self.entries[k].cost)
        found: dict[str, CandidateFit] = {}
        with progress(len(places) * len(self.splits), "Choosing", verbose) as bar:
            for place in places:
                entry = self.entries[place]
                usable = [one.entry.name for one in found.values() if one.values is not None]
                one = judged(self._tried(place, bool(usable), bar), self.bench)
                found[entry.name] = one
                if self.clock.deadline is None or one.values is None:
                    continue
                if not usable and not self.fit([entry.name]):
                    raise self._too_late(place)
                weighed = weigh(found.values(), self.bench)
                self.clock.reserve(
                    name
                    for name in (weighed.names() if weighed else ())
                    if name not in self.members
                )
        if not any(one.values is not None for one in found.values()):
            for place in places:
                if found[self.entries[place].name].late:
                    raise self._too_late(place)
        left_out = [
            CandidateFit(e, None, 0.0, e.left_out) for e in self.entries if e.estimator is None
        ]
        found |= {one.entry.name: one for one in left_out}
        return [found[entry.name] for entry in self.entries]

    def fit(self, names: Sequence[str]) -> bool:
        """Fit candidates on all rows; say whether all of them are in :attr:`members` now."""
        places = {entry.name: k for k, entry in enumerate(self.entries)}
        pieces = [(places[name], -1) for name in names if name not in self.members]
        for (place, _), record in self.workers.results(pieces, self.clock.end):
            for message in record.get("warnings", ()):
                warnings.warn(message, stacklevel=2)
            if "model" in record:
                self.members[self.entries[place].name] = record["model"]
        return all(name in self.members for name in names)

    def _too_late(self, place: int) -> TimeBudgetError:
        name = self.entries[place].name
        spent = _spent(self.store, [f"{k}/{name}" for k in range(len(self.splits))])
        fields = {"owner": self.owner, "name": repr(name)}
        if not spent:
            return TimeBudgetError(LazyMessage("selection.refusal.no_fit_in_time", fields))
        fold = median(spent)
        fields |= {"one": duration(fold), "all": duration(self.clock.least(fold))}
        return TimeBudgetError(LazyMessage("selection.refusal.too_late", fields))

    def _tried(self, place: int, hurried: bool, bar: Progress) -> CandidateFit:
        entry, store, clock = self.entries[place], self.store, self.clock
        keys = [f"{number}/{entry.name}" for number in range(len(self.splits))]
        missing = [k for k, key in enumerate(keys) if store.get(key) is None]
        for _ in range(len(keys) - len(missing)):
            bar.skip(entry.name)

        def in_time() -> Iterator[tuple[int, int]]:
            for done, k in enumerate(missing):
                spent = _spent(store, keys)
                if hurried and not clock.allows(entry.cost, spent, len(missing) - done):
                    return
                clock.begun = True
                yield place, k

        end = clock.folds_end(hurried)
        for (_, k), record in self.workers.results(in_time(), end):
            store.put(keys[k], record)
            bar.advance(entry.name)
        # As they are read back, so that a resumed choice has the same bits.
        records = [store.get(key) for key in keys]
        finished = all(record is not None for record in records)
        clock.note(entry, _spent(store, keys), finished)
        if not finished:
            return CandidateFit(entry, None, 0.0, LazyMessage("left_out.time"))
        failed = next((record["failed"] for record in records if "failed" in record), None)
        if failed is not None:
            return CandidateFit(entry, None, 0.0, text_of(failed))
        values = _stacked([record["values"] for record in records])
        return CandidateFit(
            entry, values, float(sum(record["seconds"] for record in records)), None
        )


def _spent(store: Store, keys: Sequence[str]) -> list[float]:
    """Return the seconds that finished folds took by the clock."""
    records = (store.get(key) for key in keys)
    return [record["clock"] for record in records if record and "clock" in record]


# All rows, encoded and before that.
Given = tuple[Study, Study, Sequence[Entry], Sequence[Split]]


def do_fit(given: Given, piece: tuple[int, int]) -> Record:
    """Fit a candidate on a fold, or on all rows: the work of :class:`CandidateFits`."""
    study, raw, entries, splits = given
    place, fold = piece
    estimator = entries[place].estimator
    if fold >= 0:
        return _fold(raw, estimator, *splits[fold])
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = clone(estimator).fit(study.rows_for(estimator))
    # Groups or times are the data of others, and of no use for predicting.
    return {"model": without_splitters(model), "warnings": [w.message for w in caught]}


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
            model = clone(estimator).fit(study.part(train, estimator))
            parts = held_out(study, model, train, test)
        except (PolytaskError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            return {"failed": failure(error)}
        values = [_values(held) for _, held in parts]
        if study.several_kinds:
            values = [own if own.ndim == 1 else own[:, 0] for own in values]
    if not all(np.isfinite(own).all() for own in values):
        return {"failed": LazyMessage("left_out.not_finite").node}
    seconds, clock = time.process_time() - started, time.monotonic() - begun
    return {"values": _stacked(values), "seconds": seconds, "clock": clock}


def _values(held: HeldOut) -> Array:
    """Return predicted numbers, or probabilities with the class that was seen in front."""
    if held.classes is None:
        return np.asarray(held.prediction, dtype=float)
    if held.probabilities is None:
        raise DataError(LazyMessage("selection.refusal.no_probabilities"))
    return seen_first(np.asarray(held.probabilities, dtype=float), held.y)


def _stacked(values: list[Array]) -> Array:
    return np.concatenate(values) if values[0].ndim == 1 else stacked(values)
