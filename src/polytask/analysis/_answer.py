"""From records of finished work to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._choosing import (
    Board,
    Chosen,
    choose_all,
    most_frequent,
    ruling_family,
)
from polytask.analysis._gains import TaskTable, row_differences, task_table
from polytask.analysis._intervals import corrected_interval, row_interval
from polytask.analysis._parts import Coefficients, Interval, ModelRow, TaskGain, TwoByTwo
from polytask.analysis._plan import Plan
from polytask.analysis._task_rows import task_rows
from polytask.analysis._unit import Record, is_relative
from polytask.analysis._verdict import verdict
from polytask.metrics import METRICS
from polytask.selection.entries import Entry

Array = NDArray[np.float64]
NOTHING = Interval(float("nan"), float("nan"), float("nan"))
# The models whose four scores make the table of shrinkage and sharing; the fourth is the
# chosen sharing model.
_SEPARATE_NONE, _SEPARATE, _JOINT_NONE = (
    "separate, unpenalised",
    "separate",
    "pooled + intercepts, unpenalised",
)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the finished splits say.

    Attributes
    ----------
    verdict : str
        "share", "separate", "pool" or "unclear".
    gain, pooling_gain : Interval
        See :class:`Comparison`.
    trees_gain, networks_gain, networks_sharing : Interval or None
        See :class:`Comparison`.
    plain : str
        Kind of the model without sharing chosen most often.
    recommended : str
        A name.
    sharing : str or None
        The sharing model chosen most often.
    models : tuple of ModelRow
        Best first.
    tasks : tuple of TaskGain
        Largest gain first.
    two_by_two : TwoByTwo or None
        None where a part is missing.
    """

    verdict: str
    gain: Interval
    pooling_gain: Interval
    trees_gain: Interval | None
    networks_gain: Interval | None
    networks_sharing: Interval | None
    plain: str
    recommended: str
    sharing: str | None
    models: tuple[ModelRow, ...]
    tasks: tuple[TaskGain, ...]
    two_by_two: TwoByTwo | None


class Judge:
    """Compares models on the splits that are complete."""

    def __init__(self, plan: Plan, board: Board, metric: str) -> None:
        self.plan, self.board, self.metric = plan, board, metric
        unit = plan.units[0]
        self.by_task = unit.by_task
        self.relative = is_relative(METRICS[metric])

    def interval(self, first: Sequence[str | None], second: Sequence[str | None]) -> Interval:
        """Return the gain of the first models over the second ones."""
        scores = self.board.scores(first) - self.board.scores(second)
        differences = self.board.sign * scores
        seen = np.flatnonzero(~np.isnan(differences))
        if len(seen) != 1:
            return corrected_interval(differences, self.plan.test_share) if len(seen) else NOTHING
        return self._one_split(float(differences[seen[0]]), int(seen[0]), first, second)

    def _one_split(
        self,
        difference: float,
        at: int,
        first: Sequence[str | None],
        second: Sequence[str | None],
    ) -> Interval:
        """Let the rows say what a single split cannot."""
        split = self.board.splits[at]
        pair = self.board.record(split, str(first[at])), self.board.record(split, str(second[at]))
        if pair[0] is None or pair[1] is None:
            return NOTHING
        rows = row_differences(pair[0], pair[1], self.by_task, self.relative)
        if rows is None:
            return Interval(difference, float("nan"), float("nan"))
        share = self.plan.test_share
        return row_interval(rows.values, rows.weights, rows.tasks, 1.0, share)

    def over(self, names: Sequence[str | None], rival: Sequence[str | None]) -> Interval | None:
        """Return the gain of models over others, None where there is none to compare."""
        there = any(name is not None for name in names)
        return self.interval(names, rival) if there else None

    def inner(self, names: Sequence[str | None]) -> float:
        """Return the mean inner score of the models named for each split."""
        board = self.board
        pairs = zip(board.splits, names, strict=True)
        values = [board.inner(split, name) for split, name in pairs if name is not None]
        return float(np.mean(values)) if values else float("-inf")

    def by_tasks(self, first: Sequence[str | None], second: Sequence[str | None]) -> TaskTable:
        """Return the gains of the first models over the second ones by split and task."""
        return task_table(
            self.board,
            first,
            second,
            metric=self.metric,
            n_tasks=self.plan.study.data.n_tasks,
            by_task=self.by_task,
            relative=self.relative,
        )

    def scores(self, names: Sequence[str | None]) -> Interval:
        """Return the score of models with the spread over splits."""
        values = self.board.scores(names)
        values = values[~np.isnan(values)]
        if len(values) > 1:
            return corrected_interval(values, self.plan.test_share)
        return Interval(float(values[0]), float("nan"), float("nan")) if len(values) else NOTHING

    def unit_of(self, names: Sequence[str | None]) -> float:
        """Return what counts as much of the metric: 1 for shares, else the score itself."""
        share = METRICS[self.metric].greater_is_better
        return 1.0 if share else abs(self.scores(names).mean)

    def always(self, name: str) -> tuple[str, ...]:
        """Return one name for every split."""
        return (name,) * len(self.board.splits)


def make_boards(plan: Plan, records: Mapping[str, Record], metric: str) -> tuple[Board, Board]:
    """Return the splits in which every model ran, which are judged, and those to show.

    After an interruption in the first split, what there is can be shown but not judged.
    """
    found = {(unit.split, unit.model): records.get(unit.key) for unit in plan.units}
    numbers = range(plan.n_splits)
    names = [entry.name for entry in plan.running]
    whole = [j for j in numbers if all(found.get((j, name)) is not None for name in names)]
    some = [j for j in numbers if any(found.get((j, name)) is not None for name in names)]
    kept = {key: record for key, record in found.items() if record is not None}
    sign = 1.0 if METRICS[metric].greater_is_better else -1.0
    judged = Board(plan.running, kept, tuple(whole), sign)
    return judged, replace(judged, splits=tuple(whole or some))


def make_answer(plan: Plan, records: Mapping[str, Record], metric: str) -> Answer:
    """Apply the rule to what is finished.

    Parameters
    ----------
    plan : Plan
        What was to be done.
    records : dict
        What is finished.
    metric : str
        The verdict's metric.

    Returns
    -------
    Answer
        With the verdict "unclear" if no split can be judged.
    """
    board, shown = make_boards(plan, records, metric)
    judge, chosen = Judge(plan, board, metric), choose_all(board)
    gain = judge.interval(chosen.shared, chosen.plain)
    pooling = judge.interval(chosen.pooled, chosen.separate)
    plain = _kind(plan.entries, most_frequent(chosen.plain))
    said = verdict(gain, pooling, plain)
    ruled = {
        "share": chosen.shared,
        "separate": chosen.separate,
        "pool": chosen.pooled,
        "unclear": chosen.plain,
    }[said]
    ruling = ruling_family(board.entries)
    trees = judge.over(chosen.trees, ruled)
    apart = ruling != "deep"
    networks = judge.over(chosen.deep, ruled) if apart else None
    both = any(chosen.deep_plain) and any(chosen.deep_shared) and apart
    others = {chosen.trees: trees, chosen.deep: networks}
    better = [names for names, found in others.items() if found is not None and found.above]
    best = max(better, key=judge.inner, default=ruled)
    return Answer(
        verdict=said,
        gain=gain,
        pooling_gain=pooling,
        trees_gain=trees,
        networks_gain=networks,
        networks_sharing=judge.over(chosen.deep_shared, chosen.deep_plain) if both else None,
        plain=plain,
        recommended=most_frequent(best) or most_frequent(chosen.shared) or "",
        sharing=most_frequent(chosen.shared),
        models=_leaderboard(Judge(plan, shown, metric), chosen),
        tasks=_tasks(judge, chosen, gain),
        two_by_two=_two_by_two(judge, chosen) if ruling == "linear" else None,
    )


def shared_features(records: Mapping[str, Record], name: str | None) -> Coefficients | None:
    """Return the coefficients of a model as it was fitted in the first split."""
    record = records.get(f"0/{name}", {})
    found = record.get("coefficients")
    if found is None:
        return None
    return Coefficients(
        features=tuple(found["features"]),
        columns=tuple(found["columns"]),
        values=tuple(tuple(row) for row in found["values"]),
        n_features=found["n_features"],
        n_columns=found["n_columns"],
    )


def _kind(entries: Sequence[Entry], name: str | None) -> str:
    kinds = {entry.name: entry.kind for entry in entries}
    return kinds.get(name or "", "separate")


def _tasks(judge: Judge, chosen: Chosen, gain: Interval) -> tuple[TaskGain, ...]:
    if gain is NOTHING:
        return ()
    study = judge.plan.study
    gains = judge.by_tasks(chosen.shared, chosen.plain)
    return task_rows(
        study.data.tasks,
        study.data.task_rows(),
        gains,
        judge.by_tasks(chosen.pooled, chosen.separate).values,
        judge.plan.test_share,
        gain,
        scale=judge.unit_of(chosen.plain),
    )


def _two_by_two(judge: Judge, chosen: Chosen) -> TwoByTwo | None:
    names = {entry.name for entry in judge.plan.running}
    if not {_SEPARATE_NONE, _SEPARATE, _JOINT_NONE} <= names:
        return None
    bare, tuned = judge.always(_SEPARATE_NONE), judge.always(_SEPARATE)
    cells = TwoByTwo(
        separate_none=judge.scores(bare),
        separate_tuned=judge.scores(tuned),
        joint_none=judge.scores(judge.always(_JOINT_NONE)),
        joint_tuned=judge.scores(chosen.shared),
        shrinkage_gain=judge.interval(tuned, bare),
        sharing_gain=judge.interval(chosen.shared, tuned),
    )
    missing = np.isnan([cells.shrinkage_gain.mean, cells.sharing_gain.mean]).any()
    return None if missing else cells


def _leaderboard(judge: Judge, chosen: Chosen) -> tuple[ModelRow, ...]:
    picks = [*chosen.shared, *chosen.plain]
    rows = [_row(judge, entry, picks.count(entry.name)) for entry in judge.plan.entries]

    def rank(row: ModelRow) -> float:
        mean = judge.board.sign * row.score.mean
        return float("inf") if np.isnan(mean) else -mean

    return tuple(sorted(rows, key=rank))


def _row(judge: Judge, entry: Entry, picked: int) -> ModelRow:
    board = judge.board
    if entry.estimator is None:
        return ModelRow(
            name=entry.name,
            kind=entry.kind,
            family=entry.family,
            score=NOTHING,
            splits=(),
            note=str(entry.left_out),
            left_out=entry.left_out,
        )
    held = [board.record(split, entry.name) for split in board.splits]
    done = [record for record in held if record is not None]
    names = judge.always(entry.name)
    sizes = [r["file_bytes"] for r in done if r.get("file_bytes") is not None]
    return ModelRow(
        name=entry.name,
        kind=entry.kind,
        family=entry.family,
        score=judge.scores(names),
        splits=tuple(float(v) for v in board.scores(names)),
        inner=tuple(board.sign * board.inner(split, entry.name) for split in board.splits),
        picked=picked,
        metrics=_mean_metrics(done),
        undefined=_undefined(done),
        fit_seconds=_mean([r["fit_seconds"] for r in done]),
        predict_seconds=_mean([r["predict_seconds"] for r in done]),
        nonzero=done[-1]["nonzero"] if done else None,
        file_bytes=sizes[-1] if sizes else None,
        note=_note(board, entry.name, done),
    )


def _mean(values: Sequence[float]) -> float:
    seen = [v for v in values if not np.isnan(v)]
    return float(np.mean(seen)) if seen else float("nan")


def _mean_metrics(done: Sequence[Record]) -> dict[str, float]:
    names: list[str] = list(done[0]["overall"]) if done else []
    return {name: _mean([record["overall"][name] for record in done]) for name in names}


def _undefined(done: Sequence[Record]) -> dict[str, int]:
    """Count the scores of single tasks that could not be defined, over all splits."""
    names: list[str] = list(done[0]["undefined"]) if done else []
    counts = {name: sum(int(record["undefined"][name]) for record in done) for name in names}
    return {name: count for name, count in counts.items() if count}


def _note(board: Board, name: str, done: Sequence[Record]) -> str:
    failures = [
        record["failed"]
        for split in board.splits
        if (record := board.records.get((split, name))) is not None and "failed" in record
    ]
    notes: list[Any] = [note for record in done for note in record["notes"]]
    said = list(dict.fromkeys(notes))[:2]
    if failures:
        said.insert(0, f"failed in {len(failures)} of {len(board.splits)} splits: {failures[0]}")
    return " ".join(said)
