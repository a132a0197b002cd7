"""What every candidate predicts for rows that it has not seen: resumable, within a budget."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
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
from polytask.selection.auto.mixing import as_good
from polytask.selection.auto.pilot import in_order
from polytask.selection.auto.race import look, losses_of
from polytask.selection.auto.weighing import TOO_LATE, CandidateFit, Stop, judged, weigh
from polytask.selection.base import SearchEstimator
from polytask.selection.entries import Entry, told, without_splitters
from polytask.selection.folds import given_splits
from polytask.selection.held import Study, digest_of, held_out, servable

Array = NDArray[np.float64]
Record = dict[str, Any]
# All rows, encoded and before that; a candidate, a fold, and what a search of it chose before.
Given = tuple[Study, Study, Sequence[Entry], Sequence[Split]]
Piece = tuple[int, int, Record | None]


# Further folds of a number of them are not fitted where two hold out so many rows, or three
# so many, and of the average task so many that it may have weights of its own.
_ENOUGH_IN_TWO, _ENOUGH_IN_THREE, _ENOUGH_OF_TASK = 100_000, 1_500, 20
_MANY_TASKS = 200


def make_splits(raw: TaskData, cv: object, unseen: bool, owner: str) -> list[Split]:
    """Return training and held-out rows of every fold that is fitted."""
    # A fold that says nothing of any target does not count.
    given = given_splits(cv, raw, owner, unlabelled=True)
    splits = given if unseen else [(a, servable(raw, a, b)) for a, b in given]
    splits = [pair for pair in splits if all(_labelled(raw, rows) for rows in pair)]
    if is_whole(cv):
        held = np.cumsum([len(test) for _, test in splits])
        own = 0 if raw.form is Form.TARGETS else _ENOUGH_OF_TASK * raw.n_tasks
        needed = {2: _ENOUGH_IN_TWO, 3: max(_ENOUGH_IN_THREE, own)}
        enough = (n for n, rows in needed.items() if n <= len(held) and held[n - 1] >= rows)
        splits = splits[: next(enough, len(splits))]
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


def journal_header(
    data: TaskData, splits: Sequence[Split], entries: Sequence[Entry]
) -> dict[str, Any]:
    """Return what must be the same for a journal of a choice to be gone on with."""
    return {
        "kind": "auto",
        # The first format had the probability of the class that was seen alone, the second not
        # what a search chose.
        "format": 3,
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
    # Finished folds by place and number, and why a candidate was stopped before the last.
    records: dict[tuple[int, int], Record] = field(default_factory=dict)
    stops: dict[int, Stop] = field(default_factory=dict)
    # The held-out rows of a subsample, which is the split after the last fold.
    pilot: HeldOutRows | None = None

    def all(self, verbose: bool) -> None:
        """Fit candidates fold after fold, without those that are behind."""
        places = [k for k, entry in enumerate(self.entries) if entry.estimator is not None]
        running = sorted(places, key=self._effort)
        if self.pilot is not None:
            running = in_order(running, self._on_subsample(running, self.pilot))
        comparisons = max(len(places) - 1, 1) * max(len(self.splits) - 1, 1)
        with progress(len(places) * len(self.splits), "Choosing", verbose) as bar:
            for fold in range(len(self.splits)):
                self._round(running, fold, bar)
                running = [place for place in running if self._usable(place, fold + 1)]
                if len(running) > 1 and fold + 1 < len(self.splits):
                    running = self._race(running, fold + 1, comparisons)
            # Those that all folds seemed to take too long for, as far as time is left after all.
            for fold in range(1, len(self.splits) if self.clock.deadline is not None else 0):
                left = [k for k in self._in_question() if self._finished(k) == fold]
                if left:
                    self._round(self._race(left, fold, comparisons), fold, bar)
        late = [place for place in places if (place, 0) not in self.records]
        if late and not self._in_question():
            raise self._too_late(late[0])

    def found(
        self, names: Collection[str] | None = None
    ) -> tuple[list[CandidateFit], HeldOutRows]:
        """Return the candidates, and the rows that they, or those with names, are judged by."""
        asked = self._in_question() if names is None else self._named(names)
        folds = self._common_folds(asked)
        bench = self.bench.first(folds)
        # What is asked for by name is judged although it was stopped.
        stops = {k: stop for k, stop in self.stops.items() if k not in asked}
        tried = [self._tried(place, folds, stops.get(place)) for place in range(len(self.entries))]
        return [judged(one, bench) for one in tried], bench

    def fit(self, names: Sequence[str]) -> bool:
        """Fit candidates on all rows; say whether all of them are in :attr:`members` now."""
        places = {entry.name: k for k, entry in enumerate(self.entries)}
        pieces = [(places[name], -1, None) for name in names if name not in self.members]
        for (place, *_), record in self.workers.results(pieces, self.clock.end):
            for message in record.get("warnings", ()):
                warnings.warn(message, stacklevel=2)
            if "model" in record:
                self.members[self.entries[place].name] = record["model"]
        return all(name in self.members for name in names)

    def _round(self, running: Sequence[int], fold: int, bar: Progress) -> None:
        """Fit one fold of every candidate, as far as there is time."""
        missing = []
        for place in running:
            known = self.store.get(self._key(place, fold))
            if known is None:
                missing.append(place)
            else:
                self._keep(place, fold, known)
                bar.skip(self.entries[place].name)
        if self.clock.deadline is None:
            self._fit_fold(missing, fold, None, bar)
            return
        step = max(self.workers.count if fold == 0 else len(missing), 1)
        for part in ([], *(missing[k : k + step] for k in range(0, len(missing), step))):
            self._fit_fold(part, fold, self.clock.fold_end(fold, bool(self.members)), bar)
            usable = [place for place in running if self._usable(place, fold + 1)]
            # The first that is finished is fitted on all rows at once, so that there is a model
            # whatever comes.
            if usable and not self.members and not self.fit([self.entries[usable[0]].name]):
                raise self._too_late(usable[0])
            self._reserve()

    def _on_subsample(self, running: Sequence[int], pilot: HeldOutRows) -> dict[int, float]:
        """Return the mean losses of candidates on a subsample, as far as there is time."""
        number = len(self.splits)
        found = {place: self.store.get(self._key(place, number)) for place in running}
        pieces = [(place, number, None) for place in running if found[place] is None]
        for (place, *_), record in self.workers.results(pieces, self.clock.pilot_end()):
            self.store.put(self._key(place, number), record)
            found[place] = record
        return {
            place: float(np.average(losses_of(record["values"], pilot), weights=pilot.weight))
            for place, record in found.items()
            if record is not None and "values" in record
        }

    def _fit_fold(
        self, places: Sequence[int], fold: int, end: float | None, bar: Progress
    ) -> None:
        started: dict[int, float] = {}
        # Once all have a fold, a worse one has another only where time is left for all of them,
        # and for those of the better ones: what is compared on all folds are the best.
        after = len(self.splits) - fold - 1 if fold else 0

        def in_time() -> Iterator[Piece]:
            before = 0.0
            for place in places:
                entry = self.entries[place]
                fitted, folds = entry.name in self.members, 1 + after if started else 1
                if not self.members or self.clock.allows(entry, fitted, folds, before):
                    started[place], self.clock.begun = time.monotonic(), True
                    before += after * self.clock.of(entry.name) / self.workers.count
                    yield place, fold, self.records.get((place, 0), {}).get("place")

        for (place, *_), record in self.workers.results(in_time(), end):
            self.store.put(self._key(place, fold), record)
            # As it is read back, so that a resumed choice has the same bits.
            self._keep(place, fold, self.store.get(self._key(place, fold)))
            bar.advance(self.entries[place].name)
        for place, begun in started.items():
            if (place, fold) not in self.records:
                self.clock.give_up(self.entries[place].cost, time.monotonic() - begun)

    def _keep(self, place: int, fold: int, record: Record) -> None:
        self.records[place, fold] = record
        if "clock" in record:
            self.clock.note(self.entries[place], record["clock"], record.get("less", 1.0))

    def _race(self, running: Sequence[int], folds: int, comparisons: int) -> list[int]:
        """Return the candidates that are not behind, the best first."""
        bench = self.bench.first(folds)
        null = bench.known_loss
        if np.isnan(null):
            return list(running)
        losses = np.column_stack([losses_of(self._values(k, folds), bench) for k in running])
        seen = look(losses, bench, comparisons)
        leader = self.entries[running[seen.leader]].name
        kept = []
        for m in np.argsort(seen.gaps, kind="stable"):
            place = running[m]
            if seen.behind[m] and not self.entries[place].is_plain:
                gap = float(seen.gaps[m]) / null
                self.stops[place] = Stop(leader, gap, folds, len(self.splits))
            else:
                kept.append(place)
        return kept

    def _reserve(self) -> None:
        """Keep time for fitting on all rows what would have weight if this were all."""
        tried, bench = self.found()
        weighed = weigh(tried, bench)
        names = weighed.names() if weighed else []
        self.clock.reserve(name for name in names if name not in self.members)

    def _in_question(self) -> list[int]:
        """Return the candidates that may still be chosen."""
        usable = self._named([entry.name for entry in self.entries])
        return [place for place in usable if place not in self.stops]

    def _named(self, names: Collection[str]) -> list[int]:
        """Return candidates that have finished a fold and failed in none."""
        return [
            k
            for k, entry in enumerate(self.entries)
            if entry.name in names and self._finished(k) and self._usable(k, self._finished(k))
        ]

    def _common_folds(self, places: Sequence[int]) -> int:
        """Return by how many folds to judge: all, unless what lacks some is clearly better."""
        finished = {place: self._finished(place) for place in places}
        for folds in range(max(finished.values(), default=len(self.splits)), 1, -1):
            have = [place for place, count in finished.items() if count >= folds]
            lacking = [place for place, count in finished.items() if count < folds]
            if all(self._as_good(have, place) for place in lacking):
                return folds
        return 1

    def is_whole(self) -> bool:
        """Say whether time was no reason to leave out a fold of a candidate."""
        n_folds = len(self.splits)
        begun = {place for place, _ in self.records}
        made = {place for place, entry in enumerate(self.entries) if entry.estimator is not None}
        return made == begun and all(self._finished(k) == n_folds for k in self._in_question())

    def _as_good(self, places: Sequence[int], other: int) -> bool:
        """Say whether the best of some is as good as another, on the rows that that has seen."""
        bench = self.bench.first(self._finished(other))
        losses = [
            losses_of(self._values(place, self._finished(other)), bench)
            for place in (other, *places)
        ]
        best = min(losses[1:], key=lambda own: float(np.average(own, weights=bench.weight)))
        return as_good(best - losses[0], bench)

    def _finished(self, place: int) -> int:
        """Return how many folds a candidate has, from the first on."""
        there = [(place, fold) in self.records for fold in range(len(self.splits))]
        return there.index(False) if False in there else len(there)

    def _usable(self, place: int, folds: int) -> bool:
        """Say whether a candidate has predictions for the first folds."""
        records = [self.records.get((place, fold)) for fold in range(folds)]
        return all(record is not None and "failed" not in record for record in records)

    def _values(self, place: int, folds: int) -> Array:
        return _stacked([self.records[place, fold]["values"] for fold in range(folds)])

    def _tried(self, place: int, folds: int, stop: Stop | None) -> CandidateFit:
        """Return what became of a candidate, judged by the first folds."""
        entry = self.entries[place]
        if entry.estimator is None:
            return CandidateFit(entry, None, 0.0, entry.left_out)
        records = [
            self.records[place, fold]
            for fold in range(len(self.splits))
            if (place, fold) in self.records
        ]
        failed = next((record["failed"] for record in records if "failed" in record), None)
        if failed is not None:
            return CandidateFit(entry, None, 0.0, text_of(failed))
        seconds = float(sum(record["seconds"] for record in records))
        if stop is not None:
            return CandidateFit(entry, None, seconds, stop.message, stop=stop)
        if len(records) < folds:
            had = {"folds": len(records), "n": len(self.splits)}
            late = LazyMessage("left_out.unfinished", had) if records else LazyMessage(TOO_LATE)
            return CandidateFit(entry, None, seconds, late, folds=len(records))
        return CandidateFit(entry, self._values(place, folds), seconds, None)

    def _effort(self, place: int) -> tuple[int, bool]:
        """Return what puts candidates in order, those that take least first."""
        # A model for each of many tasks takes longer than one for all of them.
        entry, many = self.entries[place], self.bench.n_tasks >= _MANY_TASKS
        return entry.cost, many and entry.kind == "separate"

    def _key(self, place: int, fold: int) -> str:
        return f"{fold}/{self.entries[place].name}"

    def _too_late(self, place: int) -> TimeBudgetError:
        entry = self.entries[place]
        fields = {"owner": self.owner, "name": repr(entry.name)}
        fold = self.clock.of(entry.name)
        if not fold:
            return TimeBudgetError(LazyMessage("selection.refusal.no_fit_in_time", fields))
        fields |= {"one": duration(fold), "all": duration(self.clock.least(fold))}
        return TimeBudgetError(LazyMessage("selection.refusal.too_late", fields))


def do_fit(given: Given, piece: Piece) -> Record:
    """Fit a candidate on a fold, or on all rows: the work of :class:`CandidateFits`."""
    study, raw, entries, splits = given
    place, fold, chosen = piece
    estimator = entries[place].estimator
    if fold >= 0:
        # The first fold searches everything, the others the strengths around what it found.
        return _fold(raw, estimator if chosen is None else estimator._near(chosen), *splits[fold])
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
    found = {"values": _stacked(values), "seconds": seconds, "clock": clock}
    if not isinstance(model, SearchEstimator):
        return found
    place = model._place()
    return found | {"place": place, "less": len(place["alphas"]) / len(model.alphas_)}


def _values(held: HeldOut) -> Array:
    """Return predicted numbers, or probabilities with the class that was seen in front."""
    if held.classes is None:
        return np.asarray(held.prediction, dtype=float)
    if held.probabilities is None:
        raise DataError(LazyMessage("selection.refusal.no_probabilities"))
    return seen_first(np.asarray(held.probabilities, dtype=float), held.y)


def _stacked(values: list[Array]) -> Array:
    return np.concatenate(values) if values[0].ndim == 1 else stacked(values)
