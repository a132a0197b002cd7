"""A network for a new task with few rows: ``python benchmarks/deep_adapt.py``.

A network learns all tasks but some that are held out. Each of these is then learned from its
first 1, 5, 20, 100 (simulated: 400) rows, by every method of ``adapt``, and judged on rows that
no method sees. Beside it: what an unseen task is predicted with ("shared"), a network from scratch
on the same rows, and linear models, ``adapt`` of the learned prior on the features, and on the
representation of the network, for which it needs the old rows.

Errors are root mean squared
errors over held-out tasks and repetitions. In brackets: the mean squared error less that of the
new head, as a share of the latter, and the standard error of that over tasks. "layers changed"
is in how many tasks the method took steps at all. Seconds are processor seconds.

Simulations: targets are linear in six hidden features tanh(a'x + b) of ten inputs, with
coefficients that differ between tasks. "alike": new tasks have the hidden features of the old
ones; "moved": theirs are turned, so that layers have to change. ``school`` is read from the
folder that POLYTASK_DATA names.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from _kept import Kept
from _tables import table

import polytask
from polytask import BayesianMultiTaskRegressor, ConvergenceWarning, DataWarning, adapt
from polytask.deep import MLP, DeepMultiTaskRegressor
from polytask.deep.adapting import Adapters, NearSource, NewHead, Unfreeze

STEPS = (1, 5, 20, 100)
METHODS = {
    "new head": NewHead(),
    "unfreeze": Unfreeze(),
    "near source": NearSource(),
    "adapters": Adapters(),
}


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows of all tasks, and the tasks that are held out."""

    name: str
    X: np.ndarray
    y: np.ndarray
    task: np.ndarray
    held: np.ndarray
    widths: tuple[int, ...]
    steps: tuple[int, ...]


def simulated(seed: int, moved: float) -> Problem:
    """Return thirty-five tasks, five of them held out."""
    rng = np.random.default_rng(seed)
    tasks, held, rows, inputs, hidden = 35, 5, 600, 10, 6
    maps = rng.standard_normal((inputs, hidden)) / np.sqrt(3)
    level = 0.5 * rng.standard_normal(hidden)
    coef = rng.standard_normal(hidden) + 0.5 * rng.standard_normal((tasks, hidden))
    task = np.repeat(np.arange(tasks), np.where(np.arange(tasks) < tasks - held, 200, rows))
    X = rng.standard_normal((len(task), inputs))
    features = np.tanh(X @ maps + level)
    if moved:
        new = task >= tasks - held
        turn = moved * rng.standard_normal((inputs, hidden)) / np.sqrt(3)
        features[new] = np.tanh(X[new] @ (maps + turn) + level)
    y = (features * coef[task]).sum(axis=1) + 0.3 * rng.standard_normal(tasks)[task]
    y += 0.3 * rng.standard_normal(len(task))
    name = "simulation, new tasks moved" if moved else "simulation, new tasks alike"
    return Problem(name, X, y, task, np.arange(tasks - held, tasks), (64, 64), (*STEPS, 400))


def school(seed: int) -> Problem:
    """Return the schools, of which five large ones are held out."""
    from _sets import load_set

    data = load_set("school")
    labels, sizes = np.unique(data.task, return_counts=True)
    able = labels[sizes >= max(STEPS) + 30]
    held = np.random.default_rng(seed).choice(able, 5, replace=False)
    return Problem("school", data.X, data.y, data.task, held, (32,), STEPS)


@dataclass(frozen=True, eq=False)
class Sources:
    """Models of the old tasks, each fitted when it is first needed."""

    problem: Problem
    seed: int

    @cached_property
    def old(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, targets and tasks of the old rows."""
        rows = ~np.isin(self.problem.task, self.problem.held)
        return self.problem.X[rows], self.problem.y[rows], self.problem.task[rows]

    def fresh(self) -> DeepMultiTaskRegressor:
        """Return the network, not fitted."""
        return DeepMultiTaskRegressor(
            MLP(self.problem.widths), max_epochs=100, random_state=self.seed
        )

    @cached_property
    def network(self) -> DeepMultiTaskRegressor:
        """The network of the old tasks."""
        X, y, task = self.old
        model = self.fresh().fit(X, y, task=task)
        return model.set_params(unseen_tasks="shared")

    @cached_property
    def linear(self) -> BayesianMultiTaskRegressor:
        """The learned prior on the features."""
        X, y, task = self.old
        return BayesianMultiTaskRegressor().fit(X, y, task=task)

    @cached_property
    def above(self) -> BayesianMultiTaskRegressor:
        """The learned prior on the representation."""
        X, y, task = self.old
        return BayesianMultiTaskRegressor().fit(self.represent(X), y, task=task)

    def represent(self, X: np.ndarray) -> np.ndarray:
        """Return what the heads read."""
        return self.network._tasks.features(X, -1)


@dataclass(frozen=True, eq=False)
class NewTask:
    """A held-out task: rows to learn from, and rows to be judged on."""

    sources: Sources
    label: Any
    X: np.ndarray
    y: np.ndarray
    at: np.ndarray

    def methods(self) -> dict[str, Callable[[], tuple[Any, bool]]]:
        """Return what gives predictions, and whether layers changed."""
        own = self.sources
        found: dict[str, Callable[[], tuple[Any, bool]]] = {"shared": self._shared}
        for name, method in METHODS.items():
            found[name] = lambda method=method: self._adapted(method)
        found["prior on representation"] = lambda: self._linear(own.above, own.represent)
        found["prior on features"] = lambda: self._linear(own.linear, lambda X: X)
        found["from scratch"] = self._alone
        return found

    @property
    def _labels(self) -> np.ndarray:
        return np.full(len(self.at), self.label)

    def _shared(self) -> tuple[Any, bool]:
        return self.sources.network.predict(self.at, task=self._labels), False

    def _adapted(self, method: Any) -> tuple[Any, bool]:
        new = adapt(self.sources.network, self.X, self.y, task=self.label, method=method)
        return new.predict(self.at, task=self._labels), any(new.adaptation_.steps)

    def _linear(self, model: Any, turn: Callable[[Any], Any]) -> tuple[Any, bool]:
        new = adapt(model, turn(self.X), self.y, task=self.label)
        return new.predict(turn(self.at), task=self._labels), False

    def _alone(self) -> tuple[Any, bool]:
        # One row has no spread: its target is all that it says.
        if len(self.y) < 2:
            return np.full(len(self.at), self.y.mean()), False
        return self.sources.fresh().fit(self.X, self.y).predict(self.at), False


def measured(sources: Sources, label: Any) -> list[tuple[str, int, float, float, bool]]:
    """Return method, rows, mean squared error, seconds and whether layers changed, of a task."""
    problem, found = sources.problem, []
    order = np.random.default_rng(sources.seed)
    rows = order.permutation(np.flatnonzero(problem.task == label))
    test = rows[max(problem.steps) :]
    for n in problem.steps:
        new = NewTask(sources, label, problem.X[rows[:n]], problem.y[rows[:n]], problem.X[test])
        for name, run in new.methods().items():
            before = time.process_time()
            predicted, changed = run()
            took = time.process_time() - before
            error = float(np.mean((problem.y[test] - np.asarray(predicted)) ** 2))
            found.append((name, n, error, took, changed))
    return found


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every problem of which results are kept."""
    found = {}
    for problem, own in kept.grouped().items():
        # Of every method, by number of rows: error, seconds and whether layers changed.
        runs: dict[str, dict[int, list[list[float]]]] = {}
        tasks = [task for by_seed in own.values() for task in by_seed.values()]
        for method, n, *values in (line for task in tasks for line in task):
            runs.setdefault(method, {}).setdefault(n, []).append(values)
        lines = []
        head = {n: [line[0] for line in own] for n, own in runs["new head"].items()}
        for method, by_rows in runs.items():
            cells = [cell(method, [line[0] for line in by_rows[n]], head[n]) for n in head]
            used = [np.mean([line[2] for line in by_rows[n]]) for n in head]
            changed = ", ".join(f"{share:.0%}" for share in used) if any(used) else ""
            took = np.mean([line[1] for line in by_rows[max(head)]])
            lines.append([method, *cells, changed, f"{took:.2f}"])
        names = ["method", *(f"{n} rows" for n in head), "layers changed", "s, most rows"]
        found[problem] = table(names, lines)
    return found


def cell(method: str, errors: list[float], head: list[float]) -> str:
    """Return an error, and how it compares with that of the new head."""
    shown = f"{np.sqrt(np.mean(errors)):.3f}"
    if method == "new head":
        return shown
    gap = (np.array(errors) - np.array(head)) / np.mean(head)
    return f"{shown} ({gap.mean():+.2f}, {gap.std(ddof=1) / np.sqrt(len(gap)):.2f})"


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "alike": lambda seed: simulated(seed, 0.0),
    "moved": lambda seed: simulated(seed, 0.7),
    "school": school,
}


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--keep", help="file of finished tasks, to go on from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    # Few rows leave features constant, and a network of a hundred epochs may still improve.
    for kind in (DataWarning, ConvergenceWarning):
        warnings.simplefilter("ignore", kind)
    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    print(f"polytask {polytask.__version__}, {versions}, Python {platform.python_version()}")
    for name in given.only:
        kept = Kept(given.keep, name)
        for seed in range(given.repetitions):
            sources = Sources(PROBLEMS[name](seed), seed)
            for label in sources.problem.held.tolist():
                kept.get(str(label), seed, partial(measured, sources, label))
        held = len(sources.problem.held)
        print(f"\n## {sources.problem.name}\n\n{given.repetitions} repetitions,", end=" ")
        print(f"{held} held-out tasks each.\n\n{tables(kept)[name]}", flush=True)


if __name__ == "__main__":
    main()
