"""Scores by split, the model that each training part chooses, and its held-out losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.comparison.plan import Plan
from polytask.comparison.records import ModelRow
from polytask.comparison.statistics import Codes, Floats, GroupMeans, group_means
from polytask.comparison.work import Record
from polytask.selection.entries import Entry
from polytask.selection.held import parts_of

Array = NDArray[np.float64]

# Families that a verdict can be about, the first that has models of both sorts.
_RULING = ("linear", "deep")


@dataclass(frozen=True, eq=False)
class Board:
    """The records of the splits that are complete."""

    entries: tuple[Entry, ...]
    records: Mapping[tuple[int, str], Record]
    splits: tuple[int, ...]
    sign: float
    by_time: bool = False

    def record(self, split: int, name: str) -> Record | None:
        """Return what a model did in a split, None if it failed."""
        record = self.records.get((split, name))
        return None if record is None or "failed" in record else record

    def inner(self, split: int, name: str) -> float:
        """Return the mean inner score, more is better; -inf if there is none."""
        record = self.record(split, name)
        values = np.array([] if record is None else record["inner"], dtype=float)
        values = values[~np.isnan(values)]
        return self.sign * float(values.mean()) if len(values) else float("-inf")

    def scores(self, names: Sequence[str | None]) -> Array:
        """Return the verdict's metric of the model named for each split, NaN where none is."""
        out = np.full(len(self.splits), np.nan)
        for j, (split, name) in enumerate(zip(self.splits, names, strict=True)):
            record = None if name is None else self.record(split, name)
            if record is not None:
                out[j] = record["score"]
        return out

    def choose(self, wanted: Callable[[Entry], bool]) -> tuple[str | None, ...]:
        """Return for every split the wanted model with the best inner score."""
        names = [entry.name for entry in self.entries if wanted(entry)]
        return tuple(self._best(split, names) for split in self.splits)

    def _best(self, split: int, names: Sequence[str]) -> str | None:
        able = [name for name in names if self.inner(split, name) > float("-inf")]
        return max(able, key=lambda name: self.inner(split, name)) if able else None

    def most_chosen(self, names: Sequence[str | None]) -> str | None:
        """Return the name chosen in most splits; of those level, the one ahead in more of all."""
        known = [name for name in names if name is not None]
        if self.by_time:
            # The latest training rows are the most; the first know little of later ones.
            return known[-1] if known else None
        counts = Counter(known)
        level = [name for name in counts if counts[name] == max(counts.values())]

        def wins(name: str) -> int:
            return sum(
                self.inner(split, name) > self.inner(split, other)
                for split in self.splits
                for other in level
            )

        return max(level, key=wins, default=None)


@dataclass(frozen=True)
class Chosen:
    """The model of each role in every split, None where no model can play it."""

    shared: tuple[str | None, ...]
    plain: tuple[str | None, ...]
    pooled: tuple[str | None, ...]
    separate: tuple[str | None, ...]
    trees: tuple[str | None, ...]
    deep: tuple[str | None, ...]
    deep_shared: tuple[str | None, ...]
    deep_plain: tuple[str | None, ...]


def ruling_family(models: Iterable[Entry | ModelRow]) -> str:
    """Return the family that the verdict is about."""
    seen = {(model.family, model.kind != "shared") for model in models}
    whole = [family for family in _RULING if {(family, True), (family, False)} <= seen]
    return whole[0] if whole else _RULING[0]


def choose_all(board: Board) -> Chosen:
    """Apply the rule in every split."""

    def of(family: str, *kinds: str) -> tuple[str | None, ...]:
        return board.choose(lambda e: e.family == family and e.kind in kinds)

    ruling = ruling_family(board.entries)
    return Chosen(
        shared=of(ruling, "shared"),
        plain=of(ruling, "separate", "pooled"),
        pooled=of(ruling, "pooled"),
        separate=of(ruling, "separate"),
        trees=board.choose(lambda e: e.family == "trees"),
        deep=board.choose(lambda e: e.family == "deep"),
        deep_shared=of("deep", "shared"),
        deep_plain=of("deep", "separate", "pooled"),
    )


Names = Sequence[str | None]


@dataclass(frozen=True, eq=False)
class HeldLabels:
    """Every label that is held out in a judged split and counts in the score."""

    # Shapes: counted (m,), tasks (k,), clusters, rows (k,), weights (k,), scale (k,), splits (k,).

    counted: NDArray[np.bool_]
    tasks: Codes
    clusters: Codes
    rows: Codes
    weights: Floats
    scale: Floats
    splits: Codes


def held_labels(plan: Plan, board: Board, relative: bool, by_task: bool) -> HeldLabels | None:
    """Gather what all models have in common: the labels that they are scored on."""
    found = [_of_split(plan, board, split) for split in board.splits]
    if not found or any(part is None for part in found):
        return None
    kept = list(filter(None, found))
    tasks, rows, weights, null = map(np.concatenate, zip(*kept, strict=True))
    splits = np.repeat(np.arange(len(kept)), [len(part[0]) for part in kept])
    scale = np.ones(len(tasks))
    if relative:
        groups = tasks if by_task else np.zeros(len(tasks), dtype=np.intp)
        totals = np.bincount(groups, weights)
        means = np.bincount(groups, weights * null) / np.where(totals > 0, totals, 1.0)
        scale = means[groups]
    counted = (weights > 0) & (scale > 0)
    return HeldLabels(
        counted,
        tasks[counted],
        plan.clusters[rows[counted]],
        rows[counted],
        weights[counted],
        scale[counted],
        splits[counted],
    )


def _of_split(plan: Plan, board: Board, split: int) -> tuple[Any, ...] | None:
    """Return task, row, weight and loss of the constant of every held-out label of a split."""
    records = (board.record(split, entry.name) for entry in board.entries)
    record = next((r for r in records if r is not None and "losses" in r), None)
    if record is None:
        return None
    test = next(unit.test for unit in plan.units if unit.split == split)
    rows = np.concatenate([part.rows for part in parts_of(plan.study, test)])
    counts, weights = record["counts"], record["row_weights"]
    tasks = np.repeat(np.asarray(record["tasks"], dtype=np.intp), counts)
    weights = np.ones(len(rows)) if weights is None else weights
    return tasks, rows, weights, np.repeat(record["null"], counts)


def losses_of(board: Board, names: Names, labels: HeldLabels) -> Floats | None:
    """Return what the models named for each split lose on the labels that count."""
    # None if one of them is missing or has no losses.
    records = [None if name is None else board.record(split, name)
               for split, name in zip(board.splits, names, strict=True)]  # fmt: skip
    known = [record for record in records if record is not None and "losses" in record]
    if len(known) < len(records):
        return None
    return np.concatenate([record["losses"] for record in known])[labels.counted]


@dataclass(frozen=True, eq=False)
class InnerLabels:
    """Labels that are held out a second time, by inner splits of the other outer splits."""

    # Shapes: labels (r,), splits (r,), places (r,).

    labels: Codes
    splits: Codes
    places: Codes


def inner_labels(plan: Plan, board: Board, labels: HeldLabels) -> InnerLabels:
    """Find the labels that inner splits hold out too."""
    n = plan.study.data.n_rows
    known = labels.tasks * n + labels.rows
    order = np.argsort(known, kind="stable")
    found = []
    for position, split in enumerate(board.splits):
        unit = next(unit for unit in plan.units if unit.split == split)
        parts = [part for _, test in unit.inner for part in parts_of(plan.study, test)]
        codes = np.concatenate([part.task * n + part.rows for part in parts] or [known[:0]])
        at = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
        places = np.flatnonzero(known[order][at] == codes)
        found.append((order[at[places]], np.full(len(places), position), places))
    return InnerLabels(*map(np.concatenate, zip(*found, strict=True)))


def inner_losses_of(
    board: Board, names: Names, labels: HeldLabels, inner: InnerLabels
) -> Floats | None:
    """Return the inner losses of the model that is named for the outer split of each label."""
    # None if one of them has no such losses.
    out = np.empty(len(inner.labels))
    own = labels.splits[inner.labels]
    for position, split in enumerate(board.splits):
        for name in dict.fromkeys(names):
            named = np.array([other == name for other in names])
            mine = (inner.splits == position) & named[own]
            record = None if name is None else board.record(split, name)
            if record is None or "inner_losses" not in record:
                return None
            out[mine] = record["inner_losses"][inner.places[mine]]
    return out


def task_table(labels: HeldLabels, gains: Floats, n_tasks: int, whole_tasks: bool) -> GroupMeans:
    """Return gains by task from those of labels, NaN where a task was not held out."""
    # Where whole tasks are independent of each other, the rows of one stand for themselves.
    clusters = labels.rows if whole_tasks else labels.clusters
    return group_means(gains, labels.weights, clusters, labels.tasks, n_tasks)


def task_table_of_scores(
    board: Board, first: Names, second: Names, metric: str, n_tasks: int, share: float
) -> GroupMeans:
    """Return gains by task of a metric that is no mean over rows, from the scores of splits."""
    values = np.full((len(board.splits), n_tasks), np.nan)
    for j, (split, *names) in enumerate(zip(board.splits, first, second, strict=True)):
        pair: list[Record | None] = [
            None if name is None else board.record(split, name) for name in names
        ]
        if pair[0] is not None and pair[1] is not None:
            held = np.asarray(pair[0]["tasks"], dtype=np.intp)
            mine, theirs = (np.asarray(r["by_task"][metric], dtype=float) for r in pair if r)
            values[j, held] = board.sign * (mine - theirs)
    count = (~np.isnan(values)).sum(axis=0)
    mean = np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
    squares = np.nansum((values - mean) ** 2, axis=0)
    freedom = np.maximum(count - 1.0, 0.0)
    # As for the overall gain, see corrected_mean.
    variance = (1 / np.maximum(count, 1) + share) * squares / np.maximum(freedom, 1.0)
    return GroupMeans(mean, np.where(freedom > 0, variance, np.nan), freedom)
