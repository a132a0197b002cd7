"""False alarms and power of ``polytask.monitor``: ``python benchmarks/monitor.py PART``.

PART is ``alarms`` or ``power`` (simulated), ``halves`` (random halves of real sets), ``heart`` or
``wages`` (rows that have changed); real sets need POLYTASK_DATA. Simulated tasks have six
features: a normal one of which every task has its own level, a lognormal one, a rare and a
frequent yes or no, counts that are mostly 0, and a normal one with 10% missing cells; targets
have noise of Student's t with 5 degrees of freedom.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from _kept import Kept
from _sets import RealSet, load_set, load_table
from _tables import table

import polytask
from polytask import MultiTaskClassifier, MultiTaskRegressor, calibrate, monitor
from polytask.datasets import load_wages
from polytask.penalties import L2, toward_mean

# Tasks, training rows and new rows of each.
DESIGNS = ((100, 10, 5), (100, 10, 20), (20, 50, 50), (5, 400, 400), (2, 50, 1000))
SEEDS = 40


@dataclass
class Tasks:
    """Tasks that rows are drawn from; the first `moved` change in what new rows show."""

    rng: np.random.Generator
    n: int

    def __post_init__(self) -> None:
        """Draw levels and coefficients."""
        self.level = self.rng.normal(size=self.n)
        self.coef = self.rng.normal(size=6) + 0.3 * self.rng.normal(size=(self.n, 6))

    def rows(self, each: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        """Return features, targets and tasks."""
        rng, task = self.rng, np.repeat(np.arange(self.n), each)
        size = len(task)
        X = np.column_stack([
            rng.normal(size=size) + self.level[task], rng.lognormal(size=size),
            rng.binomial(1, 0.03, size), rng.binomial(1, 0.4, size),
            rng.poisson(0.3, size), rng.normal(size=size),
        ])  # fmt: skip
        y = (X * self.coef[task]).sum(axis=1) + rng.standard_t(5, size=size)
        table = pd.DataFrame(X, columns=[f"x{j}" for j in range(6)])
        table.loc[rng.random(size) < 0.1, "x5"] = np.nan
        return table, y, task


Change = Callable[[pd.DataFrame, np.ndarray, np.ndarray], None]


def change(kind: str) -> Change:
    """Return what changes the new rows of the tasks that a mask marks."""

    def apply(X: pd.DataFrame, y: np.ndarray, rows: np.ndarray) -> None:
        if kind == "mean + 1 sd":
            X.loc[rows, "x0"] += 1.0
        elif kind == "spread times 2":
            level = X.loc[rows, "x0"].mean()
            X.loc[rows, "x0"] = level + 2 * (X.loc[rows, "x0"] - level)
        elif kind == "40% missing":
            X.loc[rows & (np.arange(len(X)) % 5 < 2), "x1"] = np.nan
        elif kind == "share .4 to .7":
            X.loc[rows & (np.arange(len(X)) % 2 == 0), "x3"] = 1.0
        elif kind == "target + 1.5 sd of noise":
            y[rows] += 1.5 * np.sqrt(5 / 3)
        elif kind == "noise times 2":
            y[rows] += np.random.default_rng(0).standard_t(5, rows.sum()) * np.sqrt(3)

    return apply


def once(
    design: tuple[int, int, int],
    seed: int,
    targets: bool,
    kind: str = "",
    share: float = 0.0,
    summed: bool = False,
) -> Any:
    """Fit, draw new rows, and return what is found, and the tasks that have changed."""
    n_tasks, old, new = design
    tasks = Tasks(np.random.default_rng(seed), n_tasks)
    X, y, task = tasks.rows(old)
    model = MultiTaskRegressor(toward_mean(0.1) + L2(0.01))
    if summed:
        # Statistics of a table with gaps would need a schema; here gaps are 0.
        model.partial_fit(X.fillna(0.0).to_numpy(), y, task)
        X, y, task = tasks.rows(new)
        return monitor(model, X.fillna(0.0).to_numpy(), task=task), set()
    model.fit(X, y, task=task)
    model = calibrate(model, X, y, task=task) if targets else model
    X, y, task = tasks.rows(new)
    moved = task < (1 if share == 0 else np.ceil(share * n_tasks))
    if kind:
        change(kind)(X, y, moved)
    return monitor(model, X, y if targets else None, task=task), set(task[moved].tolist())


def called(found: Any) -> tuple[int, int, int, int]:
    """Return whether a change was called, by columns, by errors, and whether a rival is better."""
    errors = found.refit_all or any(t.action == "refit" for t in found.tasks)
    rival = any(gain.high < 0 for gain in found.gains)
    return int(found.status in (3, 4)), int(bool(found.shifts)), int(errors), int(rival)


def alarms(kept: Kept, seeds: int) -> None:
    """Look at unchanged rows."""
    for design in DESIGNS:
        for words, targets in (("none", False), ("known", True), ("none, statistics", False)):
            for seed in range(seeds if design[0] < 100 or not targets else seeds // 4):
                run = partial(once, design, seed, targets, summed="statistics" in words)
                label = " | ".join([*map(str, design), words])
                kept.get(label, seed, lambda run=run: called(run()[0]))


def noticed(design: tuple[int, int, int], seed: int, kind: str, share: float) -> list[float]:
    """Return whether a change was called, the share of its tasks that are named, and of others."""
    targets = kind.startswith(("target", "noise"))
    found, moved = once(design, seed, targets, kind, share)
    refit = {t.task for t in found.tasks if t.action == "refit"}
    named = refit if targets else {s.task for s in found.shifts}
    others = set(range(design[0])) - moved
    rest = len(named & others) / max(len(others), 1)
    return [int(found.status in (3, 4)), round(len(named & moved) / len(moved), 4), round(rest, 4)]


def power(kept: Kept, seeds: int) -> None:
    """Look at rows that have changed."""
    kinds = ("mean + 1 sd", "spread times 2", "share .4 to .7", "40% missing",
             "target + 1.5 sd of noise", "noise times 2")  # fmt: skip
    for kind in kinds:
        slow = kind.startswith(("target", "noise"))
        for share, words in ((1.0, "all tasks"), (0.0, "one task")):
            for design in ((100, 10, 20), (20, 50, 50), (5, 400, 400)):
                for seed in range(seeds // 4 if slow and design[0] == 100 else seeds):
                    label = " | ".join([kind, words, *map(str, design)])
                    kept.get(label, seed, partial(noticed, design, seed, kind, share))


def halves(kept: Kept, splits: int) -> None:
    """Look at random halves of real sets, whose rows are alike."""
    for name in ("school", "heart4", "landmine", "mtr_enb", "computer"):
        data = load_table(name)
        tasks = data.y.shape[1] if data.task is None else len(np.unique(data.task))
        label = f"{name} | {tasks} | {len(data.y)} | {data.X.shape[1]}"
        for seed in range(splits):
            kept.get(label, seed, partial(half, data, seed))


def half(data: RealSet, seed: int) -> tuple[int, int, int, int]:
    """Learn from a random half of the rows and look at the other."""
    old = np.random.default_rng(seed).random(len(data.y)) < 0.5
    task = (None, None) if data.task is None else (data.task[old], data.task[~old])
    rows = data.X[old], data.y[old], task[0]
    kind = MultiTaskClassifier if data.classes else MultiTaskRegressor
    model = calibrate(kind(L2(0.05), standardize=True).fit(*rows), *rows)
    return called(monitor(model, data.X[~old], data.y[~old], task[1]))


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of the parts that keep what every call has found."""
    counts, sizes = ["called", "columns", "errors", "worse than a rival"], ["tasks", "old", "new"]
    heads = {
        "alarms": ["tasks", "old rows of each", "new", "targets", *counts],
        "halves": ["set", "tasks", "rows", "features", *counts],
        "power": ["change", "of", *sizes, "found", "tasks that changed", "other tasks"],
    }
    found = {}
    for part, own in kept.grouped().items():
        rows = []
        for label, runs in own.items():
            means = np.mean(list(runs.values()), axis=0)
            told = [f"{m:.1%}" if part == "power" else f"{m * len(runs):.0f} of {len(runs)}"
                    for m in means]  # fmt: skip
            rows.append([*label.split(" | "), *told])
        found[part] = table(heads[part], rows)
    return found


def heart() -> None:
    """Print what is said of each hospital as a new one, of the other three and of its own."""
    data = load_set("heart4")
    print(f"heart4: {data.X.shape}, hospitals {Counter(np.asarray(data.task).tolist())}\n")
    X = data.X if isinstance(data.X, pd.DataFrame) else pd.DataFrame(data.X).add_prefix("x")
    for left in np.unique(data.task):
        own = data.task == left
        # The other hospitals: half of the rows to learn from, half as new ones.
        half = np.random.default_rng(0).random(len(own)) < 0.5
        train, new = ~own & half, own | ~half
        rows = X[train], data.y[train], data.task[train]
        model = calibrate(polytask.BayesianMultiTaskClassifier().fit(*rows), *rows)
        found = monitor(model, X[new], data.y[new], data.task[new])
        print(found.tasks_frame().round(3).to_string(), "\n")
        said = found.summary().replace("\n", "\n    ")
        print(f"Hospital {left} left out: status {found.status}\n\n    {said}\n")


def wages() -> None:
    """Print what is said of later years, and of a random half, for two kinds of tasks."""
    table = load_wages().frame()
    early = table["year"] < 1979
    half = np.random.default_rng(0).random(len(table)) < 0.5
    for task, other in (("occupation", "woman"), ("woman", "occupation")):
        X, y = table.drop(columns=["log_wage", "year", other]), table["log_wage"]
        for words, old in (("years from 1979", early), ("a random half", half)):
            model = polytask.BayesianMultiTaskRegressor("scalar", task_column=task)
            model = calibrate(model.fit(X[old], y[old]), X[old], y[old])
            found = monitor(model, X[~old], y[~old])
            said = found.summary().replace("\n", "\n    ")
            print(f"Tasks by {task}, new rows: {words}: status {found.status}\n\n    {said}\n")
            actions = found.tasks_frame().groupby("action").size().to_dict()
            print(f"    tasks by what to do: {actions}\n", flush=True)


PARTS = {"alarms": alarms, "power": power, "halves": halves}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=(*PARTS, "heart", "wages"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--keep", help="file of finished calls of the first three parts, to go on")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"polytask {polytask.__version__}, numpy {np.__version__}, ", end="")
    print(f"Python {platform.python_version()}\n")
    start = time.process_time()
    if given.part in PARTS:
        kept = Kept(given.keep, given.part)
        PARTS[given.part](kept, given.seeds)
        print(tables(kept)[given.part])
    else:
        {"heart": heart, "wages": wages}[given.part]()
    print(f"\n{time.process_time() - start:.0f} s of CPU time")


if __name__ == "__main__":
    main()
