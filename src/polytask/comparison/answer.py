"""From records of finished work to the answer."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from polytask.comparison.boards import (
    Board,
    Chosen,
    HeldLabels,
    InnerLabels,
    Names,
    choose_all,
    held_labels,
    inner_labels,
    inner_losses_of,
    losses_of,
    ruling_family,
    task_table,
    task_table_of_scores,
)
from polytask.comparison.collected import LEAST_TASKS
from polytask.comparison.options import OWNER
from polytask.comparison.plan import Plan
from polytask.comparison.records import (
    Interval,
    ModelRow,
    SplitGain,
    TaskGain,
    TwoByTwo,
)
from polytask.comparison.statistics import (
    NOTHING,
    Estimate,
    Floats,
    GroupMeans,
    clustered_mean,
    corrected_mean,
    mean_of_tasks,
    mutual_covariance,
)
from polytask.comparison.verdict import all_perfect, margin_of, rows_to_decide, task_rows, verdict
from polytask.comparison.work import Record, is_relative
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, one_paragraph, text_of
from polytask.metrics import METRICS
from polytask.selection.entries import Entry
from polytask.selection.held import parts_of


def preferred(board: Board, names: Sequence[str], first: str | None) -> str | None:
    """Return a model to look into: the chosen one if it is among some, else the best of them."""
    if first in names:
        return first

    def inner(name: str) -> float:
        scores = [board.inner(split, name) for split in board.splits]
        return float(np.mean(scores)) if scores else float("-inf")

    return max(names, key=inner, default=None)


# The models whose four scores make the table of shrinkage and sharing; the fourth is the
# chosen sharing model.
_SEPARATE_NONE, _SEPARATE, _JOINT_NONE = (
    "separate, unpenalised",
    "separate",
    "pooled + intercepts, unpenalised",
)
# The share of the squares of a target that rounding may leave.
_ROUNDING = 1e-24
# What is known of every label that is held out.
_BY_LABEL = ("tasks", "clusters", "rows", "weights", "scale", "splits")
# Kinds of models without sharing, the simplest first.
_SIMPLE = ("pooled", "separate")


@dataclass(frozen=True, eq=False)
class Answer:
    """What the finished splits say."""

    verdict: str
    perfect: bool
    gain: Interval
    gain_90: Interval
    margin: float
    times_more: float | None
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
    split_gains: tuple[SplitGain, ...]


class CompleteSplits:
    """Compares models on the splits that are complete: all on the same rows."""

    def __init__(self, plan: Plan, board: Board, metric: str) -> None:
        self.plan, self.board, self.metric = plan, board, metric
        self.by_task = plan.units[0].by_task
        self.relative = is_relative(METRICS[metric])
        self.labels = held_labels(plan, board, self.relative, self.by_task)

    def gain(self, first: Names, second: Names) -> Estimate:
        """Return by how much the first models are better than the second ones, more is better."""
        if self.labels is None:
            scores = self.board.scores(first) - self.board.scores(second)
            return self._known(corrected_mean(self.board.sign * scores, self.plan.test_share))
        gains = self._gains(first, second, self.labels)
        if gains is None:
            return NOTHING
        found = self._mean(gains, self.labels)
        common = self._common_variance(first, second, gains, self.labels, found.freedom)
        return self._known(found._replace(error=math.sqrt(found.error**2 + common)))

    @property
    def _few_clusters(self) -> bool:
        """Whether statistics are those of too few tasks to tell an error."""
        return self.plan.study.collected is not None and self.plan.study.data.n_tasks < LEAST_TASKS

    def _known(self, found: Estimate) -> Estimate:
        """Return an estimate, without its error where that is not known."""
        return found._replace(error=math.nan, freedom=0.0) if self._few_clusters else found

    @cached_property
    def unlike(self) -> bool:
        """Whether tasks have classes of their own, so that scores are means over tasks."""
        study = self.plan.study
        found = map(study.classes, range(study.data.n_tasks))
        return len({None if c is None else tuple(c) for c in found}) > 1

    @cached_property
    def _inner(self) -> InnerLabels:
        assert self.labels is not None
        return inner_labels(self.plan, self.board, self.labels)

    def _common_variance(
        self, first: Names, second: Names, gains: Floats, labels: HeldLabels, freedom: float
    ) -> float:
        """Return what folds add to the variance of a gain because they fit each other's models."""
        # How the gain on a row changes without the rows of another fold is told by the rows that
        # inner splits hold out too. The covariances are estimates: they are taken for no less than
        # nothing, and for no more than the variance of these changes, once for each other fold,
        # which bounds them.
        inner, at = self._inner, self._inner.labels
        lost = [inner_losses_of(self.board, names, labels, inner) for names in (second, first)]
        if lost[0] is None or lost[1] is None or not len(at):
            return 0.0
        changes = gains[at] - (lost[0] - lost[1]) / labels.scale[at]
        n_splits = len(self.board.splits)
        again = replace(
            labels,
            tasks=labels.tasks[at],
            clusters=labels.clusters[at] * n_splits + inner.splits,
            weights=labels.weights[at],
        )
        most = self._mean(changes, again)
        if math.isnan(most.error):
            return 0.0
        shares = labels.weights / labels.weights.sum()
        if self.by_task:
            totals = np.bincount(labels.tasks, labels.weights)
            shares = labels.weights / totals[labels.tasks] / np.count_nonzero(totals)
        # Within tasks, and of all tasks together: a pooled model or a strength that is chosen for
        # all tasks makes the rows of one task change the losses of the others.
        common = (
            mutual_covariance(changes - most.mean, at, inner.splits, labels.splits, groups, shares)
            for groups in (labels.tasks, np.zeros_like(labels.tasks))
        )
        bound = (n_splits - 1) * most.error**2 * (most.freedom + 1) / (freedom + 1)
        return min(max(0.0, *common), bound)

    def _gains(self, first: Names, second: Names, labels: HeldLabels) -> Floats | None:
        mine, theirs = (losses_of(self.board, names, labels) for names in (first, second))
        return None if mine is None or theirs is None else (theirs - mine) / labels.scale

    def _mean(self, values: Floats, labels: HeldLabels) -> Estimate:
        if self.by_task:
            return mean_of_tasks(values, labels.weights, labels.clusters, labels.tasks)
        return clustered_mean(values, labels.weights, labels.clusters)

    def over(self, names: Names, rival: Names) -> Interval | None:
        """Return the gain of models over others, None where there is none to compare."""
        there = any(name is not None for name in names)
        return self.gain(names, rival).interval() if there else None

    def inner(self, names: Names) -> float:
        """Return the mean inner score of the models named for each split."""
        board = self.board
        pairs = zip(board.splits, names, strict=True)
        values = [board.inner(split, name) for split, name in pairs if name is not None]
        return float(np.mean(values)) if values else float("-inf")

    def by_tasks(self, first: Names, second: Names) -> GroupMeans:
        """Return the gains of the first models over the second ones by task."""
        n_tasks, share = self.plan.study.data.n_tasks, self.plan.test_share
        if self.labels is None:
            return task_table_of_scores(self.board, first, second, self.metric, n_tasks, share)
        gains = self._gains(first, second, self.labels)
        if gains is None:
            return GroupMeans(*np.full((3, n_tasks), np.nan))
        found = task_table(self.labels, gains, n_tasks, self.plan.scheme == "unseen")
        if not self._few_clusters:
            return found
        return GroupMeans(found.mean, np.full(n_tasks, np.nan), np.zeros(n_tasks))

    def by_splits(self, first: Names, second: Names) -> Floats:
        """Return the gains of the first models over the second ones by split."""
        gains = None if self.labels is None else self._gains(first, second, self.labels)
        if self.labels is None or gains is None:
            scores = self.board.scores(first) - self.board.scores(second)
            return np.asarray(self.board.sign * scores)
        n, labels = len(self.board.splits), self.labels
        found = np.full(n, np.nan)
        for split in range(n):
            own = labels.splits == split
            part = replace(labels, **{name: getattr(labels, name)[own] for name in _BY_LABEL})
            found[split] = self._mean(gains[own], part).mean
        return found

    def scores(self, names: Names) -> Interval:
        """Return the score of models over all held-out rows, with its interval."""
        if self.labels is None:
            found = corrected_mean(self.board.scores(names), self.plan.test_share)
            return self._known(found).interval()
        losses = losses_of(self.board, names, self.labels)
        if losses is None:
            return NOTHING.interval()
        # Metrics of which more is better are kept as losses with a minus.
        sign = -self.board.sign
        found = self._mean(sign * losses / self.labels.scale, self.labels)
        start = 1.0 if self.relative else 0.0
        return self._known(found._replace(mean=start + found.mean)).interval()

    def perfect(self, *roles: Names) -> bool:
        """Say whether the models of all roles are right on all held-out rows, but for rounding."""
        if self.labels is None or not self.relative:
            return False
        losses = [losses_of(self.board, names, self.labels) for names in roles]
        known = [values for values in losses if values is not None]
        scale, weights = self.labels.scale, self.labels.weights
        return len(known) == len(roles) and all_perfect(known, scale, weights)

    @cached_property
    def _spread(self) -> Floats:
        """Return of every task the held-out rows, their squares around their mean and as such."""
        # Shapes: (3, n_tasks), zeros for tasks of classes.
        study, n = self.plan.study, self.plan.study.data.n_tasks
        tests = {unit.split: unit.test for unit in self.plan.units}
        parts = [part for split in self.board.splits for part in parts_of(study, tests[split])]
        numbers = [part for part in parts if study.classes(part.task) is None]
        if not numbers:
            return np.zeros((3, n))
        t = np.repeat([part.task for part in numbers], [len(part.rows) for part in numbers])
        y = np.concatenate([study.labels(part) for part in numbers])
        given = study.data.sample_weight
        w = np.ones(study.data.n_rows) if given is None else given
        w = w[np.concatenate([part.rows for part in numbers])]
        t, y, w = (values[w > 0] for values in (t, y, w))
        means = np.bincount(t, w * y, n) / np.maximum(np.bincount(t, w, n), np.finfo(float).tiny)
        return np.array([np.bincount(t, v, n) for v in (w > 0, w * (y - means[t]) ** 2, w * y**2)])

    def within_tasks(self, name: str) -> dict[str, float]:
        """Return R2 within tasks over all held-out rows: of one fold a task may have but one."""
        count, *spread = self._spread
        records = [self.board.record(split, name) for split in self.board.splits]
        known = [record for record in records if record is not None]
        if not count.any() or not known:
            return {}
        n, several = len(count), count > 1
        tasks = np.concatenate([record["tasks"] for record in known])
        errors = np.concatenate([record["squared_errors"] for record in known])
        spread.append(np.asarray(np.bincount(tasks, errors, n), dtype=float))
        # Targets are different quantities: of these it is the mean of one R2 each.
        own = (np.arange(n) if self.by_task else np.zeros(n, dtype=np.intp))[several]
        around, squared, left = (np.bincount(own, values[several]) for values in spread)
        # A target that is constant within tasks leaves rounding alone.
        told = around > _ROUNDING * squared
        each = 1.0 - left[told] / around[told]
        return {"r2_within": float(each.mean()) if len(each) else float("nan")}

    def margin(self, names: Names) -> float:
        """Return the margin of practical equivalence by the score of the best plain models."""
        if self.plan.options.margin is not None:
            return self.plan.options.margin
        return margin_of(self.scores(names).mean, METRICS[self.metric].greater_is_better)

    def always(self, name: str) -> tuple[str, ...]:
        """Return one name for every split."""
        return (name,) * len(self.board.splits)


def make_boards(plan: Plan, records: Mapping[str, Record], metric: str) -> tuple[Board, Board]:
    """Return the splits in which every model ran, which are judged, and those to show."""
    # A model that failed in one of the splits takes no part in them: means over other rows than
    # those of the other models would compare what cannot be compared. After an interruption in the
    # first split, what there is can be shown but not judged.
    found = {(unit.split, unit.model): records.get(unit.key) for unit in plan.units}
    numbers = range(plan.n_splits)
    names = [entry.name for entry in plan.running]
    whole = [j for j in numbers if all(found.get((j, name)) is not None for name in names)]
    some = [j for j in numbers if any(found.get((j, name)) is not None for name in names)]
    kept = {key: record for key, record in found.items() if record is not None}
    sign = 1.0 if METRICS[metric].greater_is_better else -1.0
    failed = {name: r["failed"] for (_, name), r in kept.items() if "failed" in r}
    entries = tuple(entry for entry in plan.running if entry.name not in failed)
    if failed and not entries:
        name, reason = next(iter(failed.items()))
        raise DataError(
            LazyMessage(
                "comparison.refusal.all_failed",
                {"owner": OWNER, "n": len(failed), "name": name, "reason": reason},
            )
        )
    judged = Board(entries, kept, tuple(whole), sign, plan.scheme == "time")
    return judged, replace(judged, splits=tuple(whole or some))


def make_answer(plan: Plan, records: Mapping[str, Record], metric: str) -> Answer:
    """Apply the rule to what is finished."""
    board, shown = make_boards(plan, records, metric)
    judge, chosen = CompleteSplits(plan, board, metric), choose_all(board)
    gain = judge.gain(chosen.shared, chosen.plain)
    pooling = judge.gain(chosen.pooled, chosen.separate)
    kinds = {entry.name: entry.kind for entry in plan.entries}
    plain = kinds.get(board.most_chosen(chosen.plain) or "", "separate")
    margin = judge.margin(chosen.plain)
    both_perfect = judge.perfect(chosen.shared, chosen.plain)
    said = "no practical difference" if both_perfect else verdict(gain, pooling, margin, plain)
    matched = said == "share" and _matched(judge, chosen)
    if matched:
        said = "pool" if pooling.interval().low > margin else "inconclusive"
    ruled = {
        "share": chosen.shared,
        "separate": chosen.separate,
        "pool": chosen.pooled,
        "no practical difference": (_simplest(judge, chosen, margin),) * len(board.splits),
        "inconclusive": better_plain(chosen, pooling.interval()),
    }[said]
    ruling = ruling_family(board.entries)
    trees = judge.over(chosen.trees, ruled)
    apart = ruling != "deep"
    networks = judge.over(chosen.deep, ruled) if apart else None
    both = any(chosen.deep_plain) and any(chosen.deep_shared) and apart
    others = {chosen.trees: trees, chosen.deep: networks}
    better = [names for names, found in others.items() if found is not None and found.above]
    best = max(better, key=judge.inner, default=ruled)
    recommended = board.most_chosen(best) or board.most_chosen(chosen.shared) or ""
    return Answer(
        verdict=said,
        perfect=judge.perfect(chosen.plain),
        gain=gain.interval(),
        gain_90=gain.interval(0.90),
        margin=margin,
        times_more=rows_to_decide(gain, pooling, margin)
        if _asks_for_more(plan, said) and not matched
        else None,
        pooling_gain=pooling.interval(),
        trees_gain=trees,
        networks_gain=networks,
        networks_sharing=judge.over(chosen.deep_shared, chosen.deep_plain) if both else None,
        plain=plain,
        recommended=recommended,
        sharing=board.most_chosen(chosen.shared),
        models=_leaderboard(CompleteSplits(plan, shown, metric), chosen, recommended),
        tasks=_tasks(judge, chosen, gain, margin, said),
        two_by_two=_two_by_two(judge, chosen) if ruling == "linear" else None,
        split_gains=_split_gains(judge, chosen) if plan.scheme == "time" else (),
    )


def _matched(judge: CompleteSplits, chosen: Chosen) -> bool:
    """Say whether one of the chosen plain models, in all splits, is as good as the joint ones."""
    # Then the gain is of the choice between plain models, not of learning jointly.
    plain = {name for name in chosen.plain if name is not None}
    return any(judge.gain(chosen.shared, judge.always(name)).mean <= 0 for name in plain)


def better_plain(chosen: Chosen, pooling: Interval) -> Names:
    """Return the models of the better kind without sharing, those chosen if that is not told."""
    if pooling.above or pooling.below:
        return chosen.pooled if pooling.above else chosen.separate
    return chosen.plain


def _simplest(judge: CompleteSplits, chosen: Chosen, margin: float) -> str | None:
    """Return the simplest plain model that is shown to be within the margin of the chosen ones."""
    ruling = ruling_family(judge.board.entries)
    plain = [e for e in judge.board.entries if e.family == ruling and e.kind in _SIMPLE]
    plain.sort(key=lambda entry: _SIMPLE.index(entry.kind))
    gains = ((e.name, judge.gain(judge.always(e.name), chosen.plain)) for e in plain)
    able = (name for name, gain in gains if gain.interval(0.9).low > -margin)
    return next(able, judge.board.most_chosen(chosen.plain))


def _tasks(
    judge: CompleteSplits, chosen: Chosen, gain: Estimate, margin: float, said: str
) -> tuple[TaskGain, ...]:
    if np.isnan(gain.mean):
        return ()
    study = judge.plan.study
    if any(name is not None for name in chosen.separate):
        pooling = np.nan_to_num(judge.by_tasks(chosen.pooled, chosen.separate).mean)
    else:
        # No model of a task alone was compared: it may not be able to predict.
        pooling = np.full(study.data.n_tasks, np.inf)
    found = task_rows(
        study.data.tasks,
        study.task_rows(),
        judge.by_tasks(chosen.shared, chosen.plain),
        pooling,
        gain.interval(),
        margin,
        undecided=_asks_for_more(judge.plan, said),
    )
    if not judge.plan.options.quick:
        return found
    return tuple(replace(row, more_rows=None) for row in found)


def _asks_for_more(plan: Plan, said: str) -> bool:
    """Whether to say what more data would do, which the few models of a quick one cannot tell."""
    return said == "inconclusive" and not plan.options.quick


def _split_gains(judge: CompleteSplits, chosen: Chosen) -> tuple[SplitGain, ...]:
    splits = judge.board.splits
    train = {unit.split: len(unit.train) for unit in judge.plan.units}
    gains = judge.by_splits(chosen.shared, chosen.plain)
    pooling = judge.by_splits(chosen.pooled, chosen.separate)
    found = zip(splits, gains.tolist(), pooling.tolist(), strict=True)
    return tuple(SplitGain(train[split], gain, other) for split, gain, other in found)


def _two_by_two(judge: CompleteSplits, chosen: Chosen) -> TwoByTwo | None:
    names = {entry.name for entry in judge.plan.running}
    if not {_SEPARATE_NONE, _SEPARATE, _JOINT_NONE} <= names:
        return None
    # The best of the separate models: a strength that is tuned on one task's few rows is noise,
    # and to do without that is no sharing.
    bare, tuned = judge.always(_SEPARATE_NONE), chosen.separate
    cells = TwoByTwo(
        separate_none=judge.scores(bare),
        separate_tuned=judge.scores(tuned),
        joint_none=judge.scores(judge.always(_JOINT_NONE)),
        joint_tuned=judge.scores(chosen.shared),
        shrinkage_gain=judge.gain(tuned, bare).interval(),
        sharing_gain=judge.gain(chosen.shared, tuned).interval(),
    )
    missing = np.isnan([cells.shrinkage_gain.mean, cells.sharing_gain.mean]).any()
    return None if missing else cells


def _leaderboard(judge: CompleteSplits, chosen: Chosen, recommended: str) -> tuple[ModelRow, ...]:
    picks = [*chosen.shared, *chosen.plain]
    rows = [_row(judge, entry, picks.count(entry.name)) for entry in judge.plan.entries]
    scored = [row.name for row in rows if np.isfinite(row.score.mean)]
    if recommended in scored:
        best = judge.always(recommended)
        rows = [
            replace(row, behind=judge.gain(best, judge.always(row.name)).interval())
            if row.name in scored and row.name != recommended
            else row
            for row in rows
        ]

    def rank(row: ModelRow) -> float:
        mean = judge.board.sign * row.score.mean
        return float("inf") if np.isnan(mean) else -mean

    return tuple(sorted(rows, key=rank))


def _row(judge: CompleteSplits, entry: Entry, picked: int) -> ModelRow:
    board = judge.board
    left = entry.estimator is None
    held = [] if left else [board.record(split, entry.name) for split in board.splits]
    done = [record for record in held if record is not None]
    # What failed in one split has no score that could stand beside those of the others.
    whole = bool(done) and len(done) == len(held)
    names = judge.always(entry.name)
    said = entry.left_out if left else _note(board, entry.name, done)
    over_all = judge.within_tasks(entry.name) if whole else {}
    first: Record = done[0] if done else {"overall": {}, "undefined": {}}
    metrics = {name: _mean([r["overall"][name] for r in done]) for name in first["overall"]}
    # Scores of single tasks that no mean over tasks could take in, over all splits.
    averaged = judge.by_task or judge.unlike
    undefined = {
        name: sum(int(r["undefined"][name]) for r in done)
        for name in first["undefined"]
        if name not in over_all
    }
    sizes = [r["file_bytes"] for r in done if r.get("file_bytes") is not None]
    return ModelRow(
        name=entry.name,
        kind=entry.kind,
        family=entry.family,
        score=judge.scores(names) if whole else NOTHING.interval(),
        splits=() if left else tuple(float(v) for v in board.scores(names)),
        inner=tuple(board.sign * board.inner(split, entry.name) for split in board.splits)
        if whole
        else (),
        picked=picked,
        metrics=metrics | over_all if whole else {},
        target_errors=_target_errors(judge, done) if whole and judge.by_task else (),
        undefined={name: n for name, n in undefined.items() if n and whole and averaged},
        fit_seconds=_mean([r["fit_seconds"] for r in done]),
        predict_seconds=_mean([r["predict_seconds"] for r in done]),
        nonzero=done[-1]["nonzero"] if done else None,
        file_bytes=sizes[-1] if sizes else None,
        note="" if said is None else str(said),
        left_out=entry.left_out,
        said=said,
    )


def _target_errors(
    judge: CompleteSplits, done: Sequence[Record]
) -> tuple[tuple[Hashable, float], ...]:
    """Return the root mean squared error of every target that is a number."""
    found: dict[int, list[float]] = {}
    for record in done:
        for t, value in zip(record["tasks"], record["by_task"].get("rmse", ()), strict=False):
            found.setdefault(int(t), []).append(float(value))
    means = {t: _mean(values) for t, values in found.items()}
    names = judge.plan.study.data.tasks
    return tuple((names[t], means[t]) for t in sorted(means) if np.isfinite(means[t]))


def _mean(values: Sequence[float]) -> float:
    seen = [v for v in values if not np.isnan(v)]
    return float(np.mean(seen)) if seen else float("nan")


def _note(board: Board, name: str, done: Sequence[Record]) -> LazyMessage | None:
    failures = [
        record["failed"]
        for split in board.splits
        if (record := board.records.get((split, name))) is not None and "failed" in record
    ]
    notes = {str(text): text for r in done for text in map(text_of, r["notes"])}
    said = [
        text if isinstance(text, LazyMessage) else LazyMessage("said", {"name": text})
        for text in [*notes.values()][:2]
    ]
    if failures:
        fields = {"n": len(failures), "splits": len(board.splits), "reason": failures[0]}
        said.insert(0, LazyMessage("left_out.splits", fields))
    return one_paragraph(said) if said else None
