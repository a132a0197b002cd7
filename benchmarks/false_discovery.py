"""How often `compare` says that sharing helps: ``python benchmarks/false_discovery.py``.

Collections of tasks are simulated. Tasks have coefficients ``sqrt(r) * common + sqrt(1 - r) *
own`` with relatedness r: at r = 0 they are unrelated, and a verdict "share" is false unless the
measured true gain is above 0. The truth of every collection is measured on many fresh rows of
the same tasks, with the models that the rule chose most often, trained on as many rows as in a
split. The table shows the verdicts, the coverage of the interval of the gain, and the share of
all calls of single tasks that are wrong.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from joblib import Parallel, delayed
from sklearn.base import clone

import polytask
from polytask import Comparison, MultiTaskClassifierCV, MultiTaskRegressorCV, TaskData, compare
from polytask.data import WithinTasks
from polytask.penalties import L2, toward_mean
from polytask.selection.candidates import MODELS, Facts

PLAIN = ["separate", "pooled", "pooled + intercepts", "pooled + category"]
FEATURES = 5
# Rows per task, and training parts, on which the truth is measured.
FRESH, PARTS = 400, 3


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


def simulate(setting: Setting, seed: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Draw a collection, and fresh rows of the same tasks."""
    rng = np.random.default_rng(seed)
    r, n_tasks = setting.relatedness, setting.n_tasks
    common = rng.standard_normal(FEATURES)
    coef = np.sqrt(r) * common + np.sqrt(1 - r) * rng.standard_normal((n_tasks, FEATURES))
    level = 0.5 * rng.standard_normal(n_tasks)

    def rows(n: int) -> tuple[Any, ...]:
        task = np.repeat(np.arange(n_tasks), n)
        X = rng.standard_normal((len(task), FEATURES))
        eta = (X * coef[task]).sum(axis=1) + level[task]
        if setting.classes:
            return X, (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(int), task
        return X, eta + 2.0 * rng.standard_normal(len(eta)), task

    return rows(setting.n_rows), rows(FRESH)


def sharing(setting: Setting, full: bool) -> Any:
    """Return the sharing model: the candidate itself, or the same with a small search."""
    if full:
        return "near the mean"
    cv: Any = MultiTaskClassifierCV if setting.classes else MultiTaskRegressorCV
    penalties = [toward_mean(1.0) + L2(share) for share in (1e-3, 0.1)]
    model = cv(penalties, alphas=8, cv=3, task_weight="size", intercept_strength=1.0)
    return ("near the mean", model)


def losses(model: Any, rows: tuple[Any, ...], classes: bool) -> np.ndarray:
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


def picked(result: Comparison, kinds: tuple[str, ...]) -> str:
    """Return the model of some kinds that the rule chose most often."""
    rows = [row for row in result.models if row.kind in kinds and row.family == "linear"]
    return max(rows, key=lambda row: row.picked).name


def truth(
    setting: Setting, own: Any, rows: tuple[Any, ...], fresh: tuple[Any, ...], result: Comparison
) -> np.ndarray:
    """Return the true gain of every task."""
    problem = "classification" if setting.classes else "regression"
    n = setting.n_rows * setting.n_tasks
    facts = Facts(
        problem=problem,
        losses="auto" if setting.classes else "squared",
        n_rows=n,
        n_features=FEATURES,
        n_tasks=setting.n_tasks,
        median_rows=setting.n_rows,
        targets=False,
        sparse=False,
        unseen=False,
        seed=0,
    )
    shared = MODELS[own].make(facts) if isinstance(own, str) else own[1]
    plain = MODELS[picked(result, ("separate", "pooled"))].make(facts)
    data = TaskData.from_long(*rows)
    gains = []
    for train, _ in WithinTasks(PARTS, 0.25, random_state=99).split(data):
        lost = [
            losses(clone(model).fit(data.rows(train)), fresh, setting.classes)
            for model in (plain, shared)
        ]
        scale = constant_loss(rows[1], fresh[1], setting.classes)
        gain = (lost[0] - lost[1]) / scale
        gains.append([gain[fresh[2] == t].mean() for t in range(setting.n_tasks)])
    return np.mean(gains, axis=0)


def one(setting: Setting, seed: int, full: bool) -> Outcome:
    """Simulate, compare and judge one collection."""
    rows, fresh = simulate(setting, seed)
    own = sharing(setting, full)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = compare(*rows[:2], task=rows[2], models=[*PLAIN, own])
        true = truth(setting, own, rows, fresh, result)
    gain = float(true.mean())
    calls = [(row.group, true[row.task]) for row in result.tasks if row.group != "unclear"]
    wrong = sum((group == "gain") != (value > 0) for group, value in calls)
    covered = result.gain.low <= gain <= result.gain.high
    return Outcome(result.verdict, bool(covered), gain, len(calls), wrong)


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
        f"{np.mean([o.true_gain for o in outcomes]):+.4f}",
        f"{np.mean([o.covered for o in outcomes]):.2f}",
        f"{sum(o.called for o in outcomes) / tasks:.3f}",
        f"{sum(o.wrong for o in outcomes) / tasks:.4f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| target | relatedness | tasks | rows per task | collections | share | pool | separate "
    "| unclear | false share | true gain | coverage | tasks called | called wrongly |"
)


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
                outcomes = Parallel(n_jobs=chosen.jobs)(
                    delayed(one)(setting, seed, chosen.full) for seed in range(chosen.collections)
                )
                print(show(setting, list(outcomes)), flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
