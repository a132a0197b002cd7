"""How long a comparison will take, from small fits of the same models."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from polytask._progress import duration
from polytask._workers import BRIEF, Workers
from polytask.analysis._plan import Plan
from polytask.analysis._unit import Unit
from polytask.baselines import SingleTask
from polytask.data import Form, TaskData
from polytask.exceptions import PolytaskError
from polytask.selection.entries import Entry
from polytask.selection.facts import Facts
from polytask.selection.trials import trial_of

# A trial fit has this share of the rows, and this many at least.
_SHARE = 1 / 8
_LEAST = 2000
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
    n = min(len(unit.train), max(_LEAST, int(_SHARE * len(unit.train))))
    sample = np.random.default_rng(0).permutation(unit.train)[:n]
    rows = [plan.study.part(np.sort(sample[:count])) for count in (n // 2, n)]
    samples = _Samples(rows[0], rows[1], _of_few_tasks(plan, unit))
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
    shared: tuple[Facts, Sequence[Entry], _Samples, Sequence[int]], place: int
) -> dict[str, float]:
    facts, entries, samples, sizes = shared
    with threadpool_limits(1):
        return {"seconds": _cost(facts, entries[place], samples, sizes)}


def _cost(facts: Facts, entry: Entry, samples: _Samples, sizes: Sequence[int]) -> float:
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


def say_plan(plan: Plan, remaining: float, elapsed: float, n_jobs: int | None) -> None:
    """Print rows, tasks, models, fits and an estimate of the time on stderr."""
    data = plan.study.data
    fits = sum(1 + len(unit.inner) for unit in plan.units)
    # Less work is done in this process.
    jobs = effective_n_jobs(n_jobs) if remaining > BRIEF else 1
    lines = [
        f"{data.n_rows:,} rows, {data.n_tasks:,} tasks, {data.n_features:,} features: "
        f"{plan.facts.problem}.",
        f"{_counted(len(plan.running), 'model')}, {_counted(plan.n_splits, 'split')}, "
        f"{fits} fits: {duration(elapsed + remaining / jobs)}"
        + (f" with {jobs} processes." if jobs > 1 else "."),
    ]
    lines += [f"Left out: {e.name} ({e.left_out})." for e in plan.entries if e.estimator is None]
    sys.stderr.write("\n".join(lines) + "\n")


def say_extras(fits: int) -> None:
    """Print on stderr how many fits there are beyond those of the comparison."""
    sys.stderr.write(f"{_counted(fits, 'further fit')} beyond the verdict.\n")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
