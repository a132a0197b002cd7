"""How long a comparison will take, from small fits of the same models."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from polytask._progress import duration
from polytask.analysis._plan import Entry, Plan
from polytask.data import TaskData
from polytask.exceptions import PolytaskError
from polytask.selection.candidates import Facts
from polytask.selection.trials import trial_of

# A trial fit has this share of the rows, and this many at least.
_SHARE = 1 / 8
_LEAST = 2000


def costs_of(plan: Plan) -> dict[str, float]:
    """Estimate the seconds that one piece of work of every model takes.

    Every model is fitted on two small samples of the rows of all tasks, searches with few
    strengths and folds; from there its time grows along the line through both.

    Parameters
    ----------
    plan : Plan
        The work.

    Returns
    -------
    dict
        Seconds by model: its outer fit and its inner ones in one split.
    """
    unit = plan.units[0]
    sizes = [len(unit.train), *[len(train) for train, _ in unit.inner]]
    n = min(len(unit.train), max(_LEAST, int(_SHARE * len(unit.train))))
    sample = np.random.default_rng(0).permutation(unit.train)[:n]
    rows = [plan.study.part(np.sort(sample[:count])) for count in (n // 2, n)]
    with threadpool_limits(1):
        return {entry.name: _cost(plan.facts, entry, rows, sizes) for entry in plan.running}


def _cost(facts: Facts, entry: Entry, rows: Sequence[TaskData], sizes: Sequence[int]) -> float:
    """Return the seconds of fits to samples of some sizes, from trials on two small ones."""
    trial = trial_of(entry.estimator)
    if trial is None:
        small, large = (_seconds(clone(entry.estimator), part) for part in rows)
        half = rows[1].n_rows - rows[0].n_rows
        slope = max(large - small, 0.0) / max(half, 1)
        return sum(large + slope * (size - rows[1].n_rows) for size in sizes)
    once = trial.whole(_seconds(trial.small, rows[1]), _seconds(trial.large, rows[1]))
    if facts.problem == "regression":
        # With the squared loss a search works on sums that are as large for any number of rows.
        return once * len(sizes)
    return sum(once * max(size / rows[1].n_rows, 1.0) for size in sizes)


def _seconds(trial: Any, rows: TaskData) -> float:  # noqa: ANN401 - any estimator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        try:
            trial.fit(rows)
        except (PolytaskError, ValueError, ArithmeticError, np.linalg.LinAlgError):
            # It may do better with all rows; if not, its row will say so.
            return 0.0
        return time.perf_counter() - started


def say_plan(plan: Plan, costs: Mapping[str, float], n_jobs: int | None) -> None:
    """Print rows, tasks, models, fits and an estimate of the time on stderr."""
    data = plan.study.data
    fits = sum(1 + len(unit.inner) for unit in plan.units)
    jobs = _workers(n_jobs)
    seconds = sum(costs[unit.model] for unit in plan.units) / jobs
    lines = [
        f"{data.n_rows:,} rows, {data.n_tasks:,} tasks, {data.n_features:,} features: "
        f"{plan.facts.problem}.",
        f"{_counted(len(plan.running), 'model')}, {_counted(plan.n_splits, 'split')}, "
        f"{fits} fits: {duration(seconds)}" + (f" with {jobs} processes." if jobs > 1 else "."),
    ]
    lines += [f"Left out: {e.name} ({e.left_out})." for e in plan.entries if e.estimator is None]
    sys.stderr.write("\n".join(lines) + "\n")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _workers(n_jobs: int | None) -> int:
    processors = os.cpu_count() or 1
    if n_jobs is None:
        return 1
    return max(1, min(processors, n_jobs if n_jobs > 0 else processors + 1 + n_jobs))
