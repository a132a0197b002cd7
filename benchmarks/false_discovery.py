"""How often `compare` says that sharing helps: ``python benchmarks/false_discovery.py``.

Collections of tasks are simulated. Tasks have coefficients ``sqrt(r) * common + sqrt(1 - r) *
own`` with relatedness r: at r = 0 they are unrelated. A verdict "share" is false unless the
measured true gain is above 0. The truth of every collection is measured on many fresh rows of
the same tasks, with the sharing model and with the models without sharing, each of these counted
as often as the rule chose it, all trained on fresh rows, as many as in a split. The table shows
the verdicts, the coverage of the interval of the gain, and the calls of single tasks: how many
of all tasks are called, how many are called to gain, and how many of these two do not. Ctrl-C
or SIGTERM ends it with the row of what is finished.
"""

from __future__ import annotations

import argparse
import platform
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from joblib import Parallel, delayed
from sklearn.base import clone

import polytask
from polytask import Comparison, MultiTaskClassifierCV, MultiTaskRegressorCV, TaskData, compare
from polytask.penalties import L2, toward_mean
from polytask.selection.candidates import MODELS
from polytask.selection.facts import Facts

PLAIN = [
    "separate",
    "separate, one strength",
    "pooled",
    "pooled + intercepts",
    "pooled + category",
]
FEATURES = 5
# Fresh rows per task, and fresh training sets, by which the truth is measured.
FRESH, PARTS = 400, 4
# Of the rows of a task, those that a split trains on.
TRAINED = 0.75


# Features, targets and tasks; and what draws so many rows of every task.
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
Draw = Callable[[int], Rows]


@dataclass(frozen=True)
class Setting:
    """One kind of collection."""

    classes: bool
    relatedness: float
    n_tasks: int
    n_rows: int


@dataclass(frozen=True)
class Outcome:
    """What was said of one collection, and what is true."""

    verdict: str
    covered: bool
    true_gain: float
    called: int
    wrong: int
    helped: int
    falsely: int


def simulate(setting: Setting, seed: int) -> Draw:
    """Draw the tasks of a collection, and return what draws rows of them."""
    rng = np.random.default_rng(seed)
    r, n_tasks = setting.relatedness, setting.n_tasks
    common = rng.standard_normal(FEATURES)
    coef = np.sqrt(r) * common + np.sqrt(1 - r) * rng.standard_normal((n_tasks, FEATURES))
    level = 0.5 * rng.standard_normal(n_tasks)

    def rows(n: int) -> Rows:
        task = np.repeat(np.arange(n_tasks), n)
        X = rng.standard_normal((len(task), FEATURES))
        eta = (X * coef[task]).sum(axis=1) + level[task]
        if setting.classes:
            return X, (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(int), task
        return X, eta + 2.0 * rng.standard_normal(len(eta)), task

    return rows


def sharing(setting: Setting, full: bool) -> Any:
    """Return the sharing model: the candidate itself, or the same with a small search."""
    if full:
        return "near the mean"
    cv: Any = MultiTaskClassifierCV if setting.classes else MultiTaskRegressorCV
    penalties = [toward_mean(1.0) + L2(share) for share in (1e-3, 0.1)]
    model = cv(penalties, alphas=8, cv=3, task_weight="size", intercept_strength=1.0)
    return ("near the mean", model)


def losses(model: Any, rows: Rows, classes: bool) -> np.ndarray:
    """Return the loss of every row."""
    X, y, task = rows
    if not classes:
        return np.asarray((y - model.predict(X, task=task)) ** 2)
    p = model.predict_proba(X, task=task)
    at = np.searchsorted(model.classes_, y)
    return np.asarray(-np.log(np.clip(p[np.arange(len(y)), at], 1e-15, 1)))


def constant_loss(y: np.ndarray, fresh: np.ndarray, classes: bool) -> float:
    """Return the mean loss of the training mean."""
    mean = y.mean()
    if classes:
        return float(-(fresh * np.log(mean) + (1 - fresh) * np.log(1 - mean)).mean())
    return float(((fresh - mean) ** 2).mean())


def picks(result: Comparison) -> dict[str, float]:
    """Return how often the rule chose each model without sharing."""
    kinds = ("separate", "pooled")
    rows = [row for row in result.models if row.kind in kinds and row.family == "linear"]
    total = sum(row.picked for row in rows)
    return {row.name: row.picked / total for row in rows if row.picked}


def facts_of(setting: Setting) -> Facts:
    """Return what decides about the models."""
    return Facts(
        problem="classification" if setting.classes else "regression",
        losses="auto" if setting.classes else "squared",
        n_rows=setting.n_rows * setting.n_tasks,
        n_features=FEATURES,
        n_tasks=setting.n_tasks,
        median_rows=setting.n_rows,
        targets=False,
        sparse=False,
        unseen=False,
        seed=0,
    )


def truth(setting: Setting, own: Any, draw: Draw, result: Comparison) -> np.ndarray:
    """Return the true gain of every task."""
    facts = facts_of(setting)
    shared = MODELS[own].make(facts) if isinstance(own, str) else own[1]
    plain = {name: MODELS[name].make(facts) for name in picks(result)}
    fresh, gains = draw(FRESH), []
    for _ in range(PARTS):
        rows = draw(round(TRAINED * setting.n_rows))
        data = TaskData.from_long(*rows)

        def lost(model: Any, data: TaskData = data) -> np.ndarray:
            return losses(clone(model).fit(data), fresh, setting.classes)

        without = sum(share * lost(plain[name]) for name, share in picks(result).items())
        gain = (without - lost(shared)) / constant_loss(rows[1], fresh[1], setting.classes)
        gains.append([gain[fresh[2] == t].mean() for t in range(setting.n_tasks)])
    return np.mean(gains, axis=0)


def one(setting: Setting, seed: int, full: bool) -> Outcome:
    """Simulate, compare and judge one collection."""
    draw = simulate(setting, seed)
    rows, own = draw(setting.n_rows), sharing(setting, full)
    # Checks of many tiny fits take longer than the fits.
    quick = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), quick:
        warnings.simplefilter("ignore")
        result = compare(*rows[:2], task=rows[2], models=[*PLAIN, own])
        if result.stopped:  # compare keeps an interruption to itself
            raise KeyboardInterrupt
        true = truth(setting, own, draw, result)
    gain = float(true.mean())
    calls = [(row.group, true[row.task]) for row in result.tasks if row.group != "unclear"]
    helped = [value for group, value in calls if group == "gain"]
    return Outcome(
        verdict=result.verdict,
        covered=bool(result.gain.low <= gain <= result.gain.high),
        true_gain=gain,
        called=len(calls),
        wrong=sum((group == "gain") != (value > 0) for group, value in calls),
        helped=len(helped),
        falsely=sum(value <= 0 for value in helped),
    )


def show(setting: Setting, outcomes: list[Outcome]) -> str:
    """Return one row of the table."""
    n = len(outcomes)
    said = Counter(outcome.verdict for outcome in outcomes)
    false = sum(o.verdict == "share" and o.true_gain <= 0 for o in outcomes)
    tasks = n * setting.n_tasks
    cells = [
        "classes" if setting.classes else "numbers",
        f"{setting.relatedness:g}",
        str(setting.n_tasks),
        str(setting.n_rows),
        str(n),
        *(str(said[word]) for word in ("share", "pool", "separate", "unclear")),
        str(false),
        f"{np.median([o.true_gain for o in outcomes]):+.4f}",
        f"{np.mean([o.true_gain > 0 for o in outcomes]):.2f}",
        f"{np.mean([o.covered for o in outcomes]):.2f}",
        f"{sum(o.called for o in outcomes)} ({sum(o.wrong for o in outcomes)})",
        f"{sum(o.helped for o in outcomes)} ({sum(o.falsely for o in outcomes)})",
        str(tasks),
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| target | relatedness | tasks | rows per task | collections | share | pool | separate "
    "| unclear | false share | true gain, median | true gain > 0 | coverage "
    "| tasks called (wrongly) | called to gain (wrongly) | of tasks |"
)


def simulated(setting: Setting, chosen: argparse.Namespace) -> tuple[list[Outcome], bool]:
    """Return the outcomes of all collections, after Ctrl-C those that are finished."""
    pool = Parallel(n_jobs=chosen.jobs, return_as="generator")
    seeds, outcomes = range(chosen.collections), []
    try:
        for outcome in pool(delayed(one)(setting, seed, chosen.full) for seed in seeds):
            outcomes.append(outcome)
    except KeyboardInterrupt:
        return outcomes, False
    return outcomes, True


def main() -> None:
    """Run all settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collections", type=int, default=100)
    parser.add_argument("--relatedness", type=float, nargs="*", default=[0.0])
    parser.add_argument("--rows", type=int, nargs="*", default=[30])
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--targets", nargs="*", default=["numbers", "classes"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="the whole search of compare")
    chosen = parser.parse_args()
    # A run in the background does not hear Ctrl-C unless it says so.
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.default_int_handler)
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    print(HEAD)
    print("|" + "---|" * (HEAD.count("|") - 1))
    started = time.perf_counter()
    for target in chosen.targets:
        for relatedness in chosen.relatedness:
            for n_rows in chosen.rows:
                setting = Setting(target == "classes", relatedness, chosen.tasks, n_rows)
                outcomes, whole = simulated(setting, chosen)
                if outcomes:
                    print(show(setting, outcomes), flush=True)
                if not whole:
                    return
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
