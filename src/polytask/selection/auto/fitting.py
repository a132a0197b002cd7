"""How a combination is found: candidates tried on folds, weights learned, models refitted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nonnegative
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.conformal import spread_of
from polytask._estimator.held_out_errors import ErrorRows
from polytask._estimator.scaling import refuse_huge_values
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask._workers import Workers
from polytask.data import Form, Splitter
from polytask.data.splits import Split
from polytask.exceptions import DataError
from polytask.io import open_store
from polytask.messages import LazyMessage, with_and
from polytask.selection.auto.calibration import AS_GIVEN, Calibration
from polytask.selection.auto.clock import Clock
from polytask.selection.auto.held_out_rows import HeldOutRows, make_bench
from polytask.selection.auto.pilot import MANY_ROWS, subsample
from polytask.selection.auto.trying import (
    CandidateFits,
    do_fit,
    journal_header,
    make_splits,
    units_of,
)
from polytask.selection.auto.weighing import CandidateFit, Ensemble, weigh
from polytask.selection.candidates import DEEP, DEFAULT, auto_models, deep_models
from polytask.selection.entries import make_entries
from polytask.selection.facts import DataFacts, target_spread
from polytask.selection.held import Study

Array = NDArray[np.float64]

_TINY = float(np.finfo(float).tiny)


@saveable("selection.auto_row")
@dataclass(frozen=True)
class AutoRow:
    """A line of the leaderboard."""

    name: str
    kind: str
    family: str
    score: float
    error: float
    weight: float
    seconds: float
    note: str
    calibration: Calibration = AS_GIVEN
    # The node of what the note says.
    said: dict[str, Any] | None = None
    # After how many folds it was stopped, because it was behind.
    stopped: int = 0
    # How many folds its score is of; those of one without a score were too few to compare.
    folds: int = 0


@dataclass(frozen=True, eq=False)
class AutoSettings:
    """What the user chose, see :class:`AutoMultiTaskRegressor`; `spent` seconds of it are over."""

    models: Any
    cv: Any
    unseen: bool
    time_budget: float | None
    spent: float
    journal: str | os.PathLike[str] | None
    n_jobs: int | None
    seed: int
    verbose: bool


@dataclass(frozen=True, eq=False)
class Combination:
    """What was learned. Shapes: shared (n_members,), by_task (n_tasks, n_members)."""

    members: dict[str, MultiTaskEstimator]
    shared: Array
    by_task: Array
    rows: tuple[AutoRow, ...]
    score: float
    pull: float
    stopped: bool
    unfitted: tuple[str, ...] = ()
    # Those of the combination that the other folds chose; None where they are not asked for.
    errors: ErrorRows | None = None
    # The names of several groupings, to say what the model of all is.
    groupings: tuple[object, ...] = ()


def facts_of(study: Study, problem: str, losses: Any, settings: AutoSettings) -> DataFacts:  # noqa: ANN401
    """Gather what decides about the candidates."""
    data, held = study.data, None if study.grouped is None else study.grouped.groupings
    keeps = isinstance(settings.cv, Splitter)
    targets = data.form is Form.TARGETS
    return DataFacts(
        problem=problem,
        losses=losses,
        n_rows=data.n_rows,
        n_features=data.n_features,
        n_tasks=data.n_tasks,
        median_rows=float(np.median(data.task_rows())),
        targets=targets,
        sparse=bool(is_sparse(data.X)),
        unseen=settings.unseen,
        seed=settings.seed,
        cv=settings.cv if keeps else 5,
        gaps=targets and not bool(data.labelled().all()),
        groupings=() if held is None else held.names,
        target_spread=target_spread(data.y) if targets and problem == "regression" else 0.0,
    )


def combine(
    study: Study,
    raw: Study,
    problem: str,
    losses: Any,  # noqa: ANN401 - a name, or one of each task
    settings: AutoSettings,
    owner: str,
) -> Combination:
    """Try the candidates, choose how to combine them, and fit those that have weight."""
    # `raw` are the rows before encoding, which every fold does for itself.
    budget = settings.time_budget
    if budget is not None:
        budget = nonnegative(budget, "time_budget", owner)
    facts = facts_of(study, problem, losses, settings)
    groups = {DEFAULT: auto_models(), DEEP: deep_models()}
    entries = make_entries(settings.models, facts, groups, owner)
    splits = make_splits(raw.data, settings.cv, settings.unseen, owner)
    bench = make_bench(raw, splits, units_of(raw.data, settings.cv))
    data = study.data if study.grouped is None else study.grouped
    # What is fitted first matters where time may end before everything is.
    orders = budget is not None and raw.data.n_rows > MANY_ROWS
    pilots = [subsample(raw.data, splits[0], settings.seed)] if orders else []
    with (
        open_store(
            settings.journal, lambda: journal_header(data, splits, entries), owner=owner
        ) as store,
        Workers(do_fit, (study, raw, entries, [*splits, *pilots]), settings.n_jobs) as workers,
    ):
        clock = Clock.of_budget(budget, settings.spent, len(splits))
        rows = make_bench(raw, pilots, None) if pilots else None
        trials = CandidateFits(entries, splits, store, bench, clock, workers, owner, pilot=rows)
        trials.all(settings.verbose)
        tried, bench = trials.found()
        weighed = weigh(tried, bench)
        if weighed is None:
            refuse_huge_values(study.data.X, "X", owner, study.data)
            notes = {
                str(one.note): getattr(one.note, "node", one.note) for one in tried if one.note
            }
            none = LazyMessage("got.no_reason")
            fields = {"owner": owner, "reasons": [*notes.values()] or none}
            raise DataError(LazyMessage("selection.refusal.no_candidate", fields))
        chosen = weighed.names()
        trials.fit(chosen)
    members = trials.members
    unfitted = tuple(name for name in chosen if name not in members)
    if unfitted:
        tried, bench = trials.found(members)
        found = weigh([one for one in tried if one.entry.name in members], bench)
        if found is None:
            fields = {"owner": owner, "names": with_and(list(map(repr, unfitted)))}
            raise DataError(LazyMessage("selection.refusal.ended_outside", fields))
        weighed = found.beside(one for one in tried if one.values is not None)
    mix, used = weighed.mix, weighed.used
    return Combination(
        members={name: members[name] for name in weighed.names()},
        shared=mix.shared[used],
        by_task=mix.by_task[:, used],
        rows=_leaderboard(tried, weighed, bench),
        score=1.0 - weighed.loss / bench.known_loss,
        pull=mix.policy.pull,
        stopped=bool(unfitted) or not trials.is_whole(),
        unfitted=unfitted,
        errors=_errors(mix.nested, bench, raw, splits),
    )


def _errors(mixed: Array, bench: HeldOutRows, study: Study, splits: Sequence[Split]) -> ErrorRows:
    """Return the errors of combined predictions of held-out rows."""
    errors, weight, seen = np.zeros(len(mixed)), np.zeros(len(mixed)), np.ones(len(mixed), bool)
    for t in np.unique(bench.task).tolist():
        own = bench.task == t
        y, predicted = bench.y[own], mixed[own]
        if study.outcomes.classes[t] is None:
            loss = study.outcomes.losses[t]
            errors[own] = np.abs(y - predicted) / spread_of(loss, predicted)
        else:
            # Of the class that was seen.
            errors[own] = 1.0 - predicted
        # How much the task counted in the choice is nothing that its errors need.
        weight[own] = bench.weight[own] / max(float(bench.weight[own].mean()), _TINY)
    if study.data.form is not Form.TARGETS:
        owners = study.data.row_tasks()
        for k, (train, _) in enumerate(splits):
            out = bench.fold == k
            seen[out] = bool(np.isin(bench.task[out], owners[train]).any())
    return ErrorRows(errors, bench.task, bench.fold, weight, seen)


def _leaderboard(
    tried: Sequence[CandidateFit], weighed: Ensemble, bench: HeldOutRows
) -> tuple[AutoRow, ...]:
    usable = {one.entry.name: one for one in weighed.usable}
    folds = int(bench.fold.max()) + 1
    losses = {}
    for name, one in usable.items():
        per_row = bench.weight * bench.loss.losses(np.asarray(one.values), bench.y)
        # So scaled that their mean over the folds is the loss of all rows.
        losses[name] = np.bincount(bench.fold, per_row, folds) * folds / bench.weight.sum()
    best = min(losses.values(), key=lambda own: float(own.mean()))
    share = bench.weight / bench.weight.sum()
    weights = share @ weighed.mix.by_task[bench.task]
    weight = {name: float(w) for name, w in zip(usable, weights, strict=True)}
    null, count = bench.known_loss, len(best)
    scores = {name: float(1.0 - own.mean() / null) for name, own in losses.items()}
    stops = {one.entry.name: one.stop for one in tried if one.stop is not None}
    # The leader of a stopped candidate was itself stopped later, if at all.
    for name, stop in sorted(stops.items(), key=lambda pair: -pair[1].folds):
        scores[name] = scores.get(stop.leader, float("nan")) - stop.gap
    rows = []
    for one in (usable.get(one.entry.name, one) for one in tried):
        own = losses.get(one.entry.name)
        gap = None if own is None or count < 2 else np.std(own - best, ddof=1) / np.sqrt(count)
        rows.append(
            AutoRow(
                name=one.entry.name,
                kind=one.entry.kind,
                family=one.entry.family,
                score=scores.get(one.entry.name, float("nan")),
                error=float("nan") if gap is None else float(gap / null),
                weight=weight.get(one.entry.name, 0.0),
                seconds=one.seconds,
                note="" if one.note is None else str(one.note),
                calibration=one.calibration,
                said=one.note.node if isinstance(one.note, LazyMessage) else None,
                stopped=0 if one.stop is None else one.stop.folds,
                folds=one.stop.folds if one.stop else one.folds if own is None else folds,
            )
        )
    # Scores of fewer folds are not ranked among the others.
    return tuple(
        sorted(rows, key=lambda row: (np.isnan(row.score), row.folds < folds, -row.score))
    )
