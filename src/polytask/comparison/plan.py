"""What a comparison will do, in which pieces, and how long they will take."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from polytask._checks import is_whole, sentence
from polytask._linalg import is_sparse
from polytask._progress import duration
from polytask._workers import BRIEF, Workers
from polytask.baselines import SingleTask
from polytask.comparison.amounts import models_by_reason
from polytask.comparison.options import OWNER, Options
from polytask.comparison.work import ALL_ROWS, Unit
from polytask.data import (
    CollectedFolds,
    Form,
    GroupedRows,
    LeaveTasksOut,
    Splitter,
    TaskData,
    TimeOrdered,
    WithinTasks,
    as_splits,
    tables,
)
from polytask.data.dates import n_given_columns
from polytask.data.splits import Split
from polytask.exceptions import DataError, ParameterError, PolytaskError
from polytask.messages import LazyMessage, spoken, with_and
from polytask.selection.candidates import (
    DEEP,
    DEFAULT,
    CandidateModel,
    compared_models,
    deep_models,
    quick_models,
)
from polytask.selection.entries import Entry, make_entries
from polytask.selection.facts import DataFacts, target_spread
from polytask.selection.held import (
    Rows,
    Study,
    reads_groupings,
    seen_tasks_only,
    servable,
    unscored_fields,
)
from polytask.selection.trials import trial_of

# Numbers of folds, fixed before any data are seen: outer ones, inner ones, and how many of the
# latter are held out.
_SPLITS = 5
_FOLDS = 4
_INNER = 3
# Distinct times to learn from before the first that are held out: the inner split that chooses
# the models leaves two, and of these the search for a strength learns from one.
_PAST, _INNER_PAST = 3, 2
# Groups and tasks that are needed at least: some are held out, some of the others by the inner
# split, and of groups a search holds out some of the rest.
_LEAST = {"grouped": ("groups", 4), "unseen": ("tasks", 3)}
# Of the training rows, what an inner split by time holds out.
_RECENT = {1: 1 / 4, _INNER: 1 / 6}
# Above it one inner split tells the models apart well enough.
_INNER_ROWS = 5000


@dataclass(frozen=True, eq=False)
class Plan:
    """All that will be done. Shapes: clusters (n,), times (n_times,), strangers (n_strangers,)."""

    study: Study
    facts: DataFacts
    entries: tuple[Entry, ...]
    units: tuple[Unit, ...]
    wholes: tuple[Unit, ...]
    scheme: str
    n_splits: int
    test_share: float
    clusters: NDArray[np.intp]
    options: Options
    times: NDArray[Any]
    # Rows that are held out where the training part has none of their task, and never scored.
    strangers: Rows

    @property
    def running(self) -> tuple[Entry, ...]:
        """The models that are not left out."""
        return tuple(entry for entry in self.entries if entry.estimator is not None)


def scheme_of(options: Options) -> str:
    """Say how rows are held out."""
    collected = isinstance(options.cv, CollectedFolds)
    given = options.cv is not None and not is_whole(options.cv) and not collected
    asked = {
        "collected": collected,
        "grouped": options.groups is not None,
        "time": options.time is not None,
        "unseen": bool(options.unseen),
        "given": given,
    }
    chosen = [name for name, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        raise ParameterError(
            LazyMessage("comparison.refusal.ways", {"owner": OWNER, "ways": with_and(chosen)})
        )
    return chosen[0] if chosen else "within"


def count_of(options: Options) -> int:
    """Return the number of outer splits where the user may choose it."""
    if not is_whole(options.cv):
        return _SPLITS
    if options.cv < (1 if options.time is not None else 2):
        allowed = LazyMessage("allowed.outer_cv")
        raise ParameterError(sentence("cv", OWNER, allowed, repr(options.cv)))
    return int(options.cv)


def _splitter(
    scheme: str, options: Options, count: int, seed: int, times: tuple[Any, ...]
) -> Splitter:
    """Return what holds rows out; `times` are the further arguments of :class:`TimeOrdered`."""
    makers: dict[str, Callable[[], Splitter]] = {
        "within": lambda: WithinTasks(count, random_state=seed),
        "grouped": lambda: GroupedRows(options.groups, n_splits=count, random_state=seed),
        "time": lambda: TimeOrdered(options.time, *times),
        "unseen": lambda: LeaveTasksOut(n_splits=count, random_state=seed),
        "collected": lambda: replace(options.cv, n_splits=count, random_state=seed),
    }
    return makers[scheme]()


def _outer_splitter(scheme: str, options: Options, data: TaskData) -> Splitter:
    """Return what holds every row out once, in fewer folds where the data have no more."""
    count = count_of(options)
    splitter: Any = _splitter(scheme, options, count, options.random_state, (count, None, _PAST))
    if scheme in _LEAST:
        what, least = _LEAST[scheme]
        units = splitter.units(data) if scheme == "grouped" else np.arange(data.n_tasks)
        count = len(np.unique(np.asarray(units)))
        if count < least:
            raise DataError(
                LazyMessage(
                    f"comparison.refusal.few_{what}",
                    {"owner": OWNER, "least": least, "n": count},
                )
            )
    return splitter if is_whole(options.cv) else _fewer(splitter, data, 2)


def _fewer(splitter: Any, data: TaskData, least: int) -> Splitter:  # noqa: ANN401 - with n_splits
    """Return it with as many folds as the data allow, or `least`, with which it refuses them."""
    fewer = splitter.reduced(data)
    enough = fewer is not None and fewer.n_splits >= least
    found: Splitter = fewer if enough else replace(splitter, n_splits=least)
    return found


def outer_splits(data: TaskData, options: Options) -> tuple[list[Split], NDArray[np.intp], Rows]:
    """Return the outer splits, the independent part of each row, and rows that are not scored."""
    scheme = scheme_of(options)
    cv = options.cv if scheme in ("given", "collected") else _outer_splitter(scheme, options, data)
    splits = as_splits(cv, data)
    units = cv.units(data) if isinstance(cv, Splitter) else None
    clusters = np.arange(data.n_rows) if units is None else units
    scored = splits if options.unseen else [_servable(data, *pair) for pair in splits]
    held, kept = (np.concatenate([test for _, test in pairs]) for pairs in (splits, scored))
    return scored, clusters, np.setdiff1d(held, kept)


def _servable(data: TaskData, train: Rows, test: Rows) -> Split:
    known = servable(data, train, test)
    if not len(known):
        raise DataError(LazyMessage("comparison.refusal.strangers", {"owner": OWNER}))
    return train, known


def inner_splits(data: TaskData, train: Rows, options: Options, number: int) -> tuple[Split, ...]:
    """Split the training rows of an outer split in the same way, as rows of `data`."""
    scheme, seed = scheme_of(options), options.random_state + 1 + number
    # Rows that stand for statistics are few whatever these are made of.
    count = 1 if len(train) > _INNER_ROWS and scheme != "collected" else _INNER
    part, times = seen_tasks_only(data.rows(train)), (count, _RECENT[count], _INNER_PAST)
    way = "within" if scheme == "given" else scheme
    splitter = _splitter(way, options, _FOLDS, seed, times)
    least = 1 if scheme == "time" else 2
    pairs = as_splits(_fewer(splitter, part, least), part)[:count]
    found = [(train[a], train[b]) for a, b in pairs]
    return tuple(found if options.unseen else [_servable(data, *pair) for pair in found])


def inner_folds(options: Options) -> Any:  # noqa: ANN401 - int or Splitter
    """Return the folds of searches inside training parts, which keep groups and time too."""
    scheme = scheme_of(options)
    if scheme == "grouped":
        return GroupedRows(options.groups, n_splits=_FOLDS, random_state=options.random_state)
    if scheme == "collected":
        return replace(options.cv, n_splits=_FOLDS)
    if scheme == "time":
        return TimeOrdered(options.time, n_splits=_INNER, test_size=_RECENT[_INNER])
    return _SPLITS


def facts_of(study: Study, problem: str, losses: Any, options: Options) -> DataFacts:  # noqa: ANN401
    """Gather what decides about the models."""
    data = study.data
    held = None if study.grouped is None else study.grouped.groupings
    targets, collected = data.form is Form.TARGETS, study.collected is not None
    numbers = targets and problem == "regression" and not collected
    return DataFacts(
        problem=problem,
        losses=losses,
        n_rows=study.n_rows,
        n_features=data.n_features,
        n_tasks=data.n_tasks,
        median_rows=float(np.median(study.task_rows())),
        targets=targets,
        sparse=bool(is_sparse(data.X)),
        unseen=bool(options.unseen),
        seed=options.random_state,
        cv=inner_folds(options),
        gaps=targets and not bool(data.labelled().all()),
        statistics=collected,
        groupings=() if held is None else held.names,
        target_spread=target_spread(data.y) if numbers else 0.0,
    )


def _groups(facts: DataFacts, quick: bool) -> dict[str, tuple[CandidateModel, ...]]:
    """Return what stands for several models."""
    if quick:
        return {DEFAULT: quick_models(facts), DEEP: quick_models(facts, deep=True)}
    return {DEFAULT: compared_models(), DEEP: deep_models()}


def make_plan(
    study: Study, facts: DataFacts, options: Options, metric: str, shown: tuple[str, ...]
) -> Plan:
    """Lay out all the work before any of it is done."""
    entries = make_entries(options.models, facts, _groups(facts, options.quick), OWNER)
    splits, clusters, strangers = outer_splits(study.data, options)
    by_task = facts.targets or facts.problem == "mixed"
    units = []
    for number, (train, test) in enumerate(splits):
        blank = Unit(
            model="",
            split=number,
            estimator=None,
            train=train,
            test=test,
            inner=inner_splits(study.data, train, options, number),
            metric=metric,
            shown=shown,
            by_task=by_task,
        )
        units += [
            replace(blank, model=entry.name, estimator=entry.estimator)
            for entry in entries
            if entry.estimator is not None
        ]
    everything, nothing = np.arange(study.data.n_rows), np.empty(0, dtype=np.intp)
    whole = replace(units[0], split=0, train=everything, test=nothing, inner=(), variant=ALL_ROWS)
    wholes = tuple(
        replace(whole, model=entry.name, estimator=entry.estimator)
        for entry in entries
        if entry.estimator is not None and (entry.kind, entry.family) == ("shared", "linear")
    )
    times = (
        np.empty(0)
        if options.time is None
        else TimeOrdered(options.time).distinct_times(study.data)
    )
    share = float(np.mean([len(test) / len(train) for train, test in splits]))
    return Plan(
        study,
        facts,
        entries,
        tuple(units),
        wholes,
        scheme_of(options),
        len(splits),
        share,
        clusters,
        options,
        times,
        strangers,
    )


def unscored_note(plan: Plan) -> tuple[LazyMessage, ...]:
    """Say how many held-out rows no model is scored on, where there are any."""
    if not len(plan.strangers):
        return ()
    fields = unscored_fields(plan.study.data, plan.strangers)
    kind = "time" if plan.scheme == "time" else "other"
    return (LazyMessage(f"comparison.unscored.{kind}", fields),)


# A trial fit has this share of the rows, and this many at least.
_SHARE = 1 / 8
_LEAST_estimate = 2000
# Of more tasks, models that are fitted to each by itself are tried on as many.
_FEW_TASKS = 8
# A trial that takes fewer seconds is made twice.
_SHORT = 1.0


def costs_of(plan: Plan, n_jobs: int | None, end: float | None) -> dict[str, float]:
    """Estimate the seconds that one piece of work of every model takes."""
    # Every model is fitted on two small samples of the rows of all tasks, searches with few
    # strengths and folds; from there its time grows along the line through both. What is fitted
    # to every task by itself is fitted to some of many tasks, with all their rows.
    unit = plan.units[0]
    sizes = [len(unit.train), *[len(train) for train, _ in unit.inner]]
    n = min(len(unit.train), max(_LEAST_estimate, int(_SHARE * len(unit.train))))
    sample = np.random.default_rng(0).permutation(unit.train)[:n]
    half, whole = (np.sort(sample[:count]) for count in (n // 2, n))
    few = _of_few_tasks(plan, unit)
    kinds = {reads_groupings(entry.estimator): entry.estimator for entry in plan.running}
    samples = {
        kind: _Samples(plan.study.part(half, model), plan.study.part(whole, model), few)
        for kind, model in kinds.items()
    }
    shared = (plan.facts, plan.running, samples, sizes)
    with Workers(_limited, shared, n_jobs) as workers:
        found = dict(workers.results(range(len(plan.running)), end))
    return {
        plan.running[k].name: cost["seconds"]
        for k, cost in sorted(found.items())
        if "seconds" in cost
    }


@dataclass(frozen=True)
class _Samples:
    """Rows that trials are fitted on."""

    half: TaskData
    whole: TaskData
    few: TaskData | None


def _of_few_tasks(plan: Plan, unit: Unit) -> TaskData | None:
    data = plan.study.data
    owners = data.row_tasks()[unit.train] if data.form is not Form.TARGETS else np.empty(0, int)
    tasks = np.unique(owners)
    if len(tasks) <= _FEW_TASKS:
        return None
    chosen = np.random.default_rng(0).permutation(tasks)[:_FEW_TASKS]
    return plan.study.part(unit.train[np.isin(owners, chosen)])


def _limited(
    shared: tuple[DataFacts, Sequence[Entry], Mapping[bool, _Samples], Sequence[int]], place: int
) -> dict[str, float]:
    facts, entries, samples, sizes = shared
    with threadpool_limits(1):
        own = samples[reads_groupings(entries[place].estimator)]
        return {"seconds": _cost(facts, entries[place], own, sizes)}


def _cost(facts: DataFacts, entry: Entry, samples: _Samples, sizes: Sequence[int]) -> float:
    """Return the seconds of fits to samples of some sizes, from trials on small ones."""
    half, whole, few = samples.half, samples.whole, samples.few
    model = entry.estimator
    if few is not None and isinstance(model, SingleTask):
        once = _fit_seconds(model, few)
        # The first fit of a kind loads what later ones have.
        once = min(once, _fit_seconds(model, few)) if once < _SHORT else once
        return once * (facts.n_tasks / few.n_tasks) * sum(sizes) / sizes[0]
    trial = trial_of(model)
    if trial is None:
        # The first fit of a kind loads what later ones have.
        small = min(_fit_seconds(model, half), _fit_seconds(model, half))
        large = _fit_seconds(model, whole)
        slope = max(large - small, 0.0) / max(whole.n_rows - half.n_rows, 1)
        return sum(large + slope * (size - whole.n_rows) for size in sizes)
    once = min(_fit_seconds(trial.small, whole), _fit_seconds(trial.small, whole))
    once = trial.whole(once, _fit_seconds(trial.large, whole))
    if facts.problem == "regression":
        # With the squared loss a search works on sums that are as large for any number of rows.
        return once * len(sizes)
    return sum(once * max(size / whole.n_rows, 1.0) for size in sizes)


def _fit_seconds(trial: Any, rows: TaskData) -> float:  # noqa: ANN401 - any estimator
    """Return the CPU seconds of a fit, which other programs do not lengthen."""
    trial = clone(trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.process_time()
        try:
            trial.fit(rows)
        except (PolytaskError, ValueError, ArithmeticError, np.linalg.LinAlgError):
            # It may do better with all rows; if not, its row will say so.
            return 0.0
        return time.process_time() - started


def n_columns(data: TaskData) -> int:
    """Return how many columns are learned from, a date as one."""
    return (
        n_given_columns(tables.column_names(data.X))
        if tables.is_table(data.X)
        else data.n_features
    )


def say_plan(plan: Plan, steps: int, remaining: float, elapsed: float, n_jobs: int | None) -> None:
    """Print rows, tasks, models, steps and an estimate of the time on stderr."""
    say, data = spoken(), plan.study.data
    counts = {
        "rows": plan.study.n_rows,
        "tasks": data.n_tasks,
        "models": len(plan.running),
        "splits": plan.n_splits,
        "steps": steps,
    }
    fields: dict[str, str | int] = {k: say(f"count.{k}", {"n": n}) for k, n in counts.items()}
    fields["columns"] = say("fact.columns", {"n": n_columns(data)})
    # Less work is done in this process.
    jobs = effective_n_jobs(n_jobs) if remaining > BRIEF else 1
    fields |= {"time": duration(elapsed + remaining / jobs, say), "n": jobs}
    fields["problem"] = say(f"problem.{plan.facts.problem}")
    # The command line has described the data before.
    lines = [] if say.options else [say("plan.data", fields)]
    lines.append(say("plan.work_jobs" if jobs > 1 else "plan.work", fields))
    left = [e for e in plan.entries if e.estimator is None and e.left_out is not None]
    reasons = models_by_reason(((e.name, e.left_out.text(say)) for e in left if e.left_out), say)
    lines += [say("plan.left_out", {"models": reason}) for reason in reasons]
    sys.stderr.write("\n".join(lines) + "\n")


def say_extras(steps: int) -> None:
    """Print on stderr how many steps there are beyond those of the comparison."""
    sys.stderr.write(spoken()("plan.further", {"n": steps}) + "\n")
