"""Three traps, and what `compare` says: ``python benchmarks/compare_stories.py [leak rare few]``.

leak: every patient has a row in every hospital, the same but for a little noise, and an outcome
    of his own that no feature explains. A model that learns hospitals together recognises him.
rare: 2 in 100 rows are positive, so that "all negative" has the best accuracy.
few: unrelated tasks with few rows. Shrinkage helps all of them, sharing has nothing to give.

Multi-task models search 8 strengths on 3 folds (with groups: 4 folds of whole groups).
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn.dummy import DummyClassifier

import polytask
from polytask import Comparison, MultiTaskClassifierCV, MultiTaskRegressorCV, compare
from polytask.comparison.records import Interval
from polytask.data import GroupedRows
from polytask.penalties import L2, toward_mean

PLAIN = ["separate", "pooled", "pooled + intercepts"]
BARE = ["separate, unpenalised", "pooled + intercepts, unpenalised"]
Table = tuple[np.ndarray, np.ndarray, np.ndarray]


def near(search: Any, groups: np.ndarray | None = None) -> tuple[str, Any]:
    """Return a model near the mean of the tasks with a small search."""
    folds = 3 if groups is None else GroupedRows(groups, n_splits=4, random_state=0)
    penalties = [toward_mean(1.0) + L2(share) for share in (1e-3, 0.1)]
    settings = {"task_weight": "size", "intercept_strength": 1.0}
    return "near the mean", search(penalties, alphas=8, cv=folds, **settings)


def patients(seed: int) -> tuple[Table, np.ndarray]:
    """Return 6 hospitals that see the same 40 patients, and the number of the patient."""
    rng = np.random.default_rng(seed)
    n_tasks, n, d = 6, 40, 60
    who, task = np.tile(np.arange(n), n_tasks), np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((n, d))[who] + 0.05 * rng.standard_normal((n * n_tasks, d))
    # What hospitals do has nothing in common: their coefficients are independent.
    coef = rng.standard_normal((n_tasks, d)) * (np.arange(d) < 3)
    own = 2.0 * rng.standard_normal(n)
    y = (X * coef[task]).sum(axis=1) + own[who] + 0.3 * rng.standard_normal(n * n_tasks)
    return (X, y, task), who


def rare(seed: int, signal: float) -> Table:
    """Return 6 related tasks of 600 rows, 2 in 100 of them positive."""
    rng = np.random.default_rng(seed)
    n_tasks, n, d = 6, 600, 5
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), d))
    coef = signal * (np.array([1.0, -1.0, 0.5, 0, 0]) + 0.2 * rng.standard_normal((n_tasks, d)))
    score = (X * coef[task]).sum(axis=1) + rng.logistic(size=len(task))
    return X, (score > np.quantile(score, 0.98)).astype(int), task


def few(seed: int) -> Table:
    """Return 30 unrelated tasks of 24 rows and 8 features."""
    rng = np.random.default_rng(seed)
    n_tasks, n, d = 30, 24, 8
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), d))
    coef = 0.5 * rng.standard_normal((n_tasks, d))
    return X, (X * coef[task]).sum(axis=1) + 2.0 * rng.standard_normal(len(task)), task


def said(value: Interval) -> str:
    return f"{value.mean:+.3f} ({value.low:.3f} to {value.high:.3f})"


def holds_zero(value: Interval) -> bool:
    return value.low <= 0 <= value.high


def scores(result: Comparison) -> dict[str, float]:
    return {row.name: row.score.mean for row in result.models}


def tell_leak() -> None:
    """Print what random splits say, and what splits of whole patients say."""
    print("\n## Planted leak: the same patients in every hospital\n")
    print("Expected: random splits score too high and find a gain; with `groups` the")
    print("interval of the gain contains 0 and no model scores well.\n")
    print("| seed | groups | verdict | gain | contains 0 | near the mean | pooled | separate |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in range(3):
        (X, y, task), who = patients(seed)
        for groups in (None, who):
            models = [*PLAIN, near(MultiTaskRegressorCV, groups)]
            result = compare(X, y, task=task, models=models, groups=groups)
            found = scores(result)
            cells = [
                str(seed),
                "none" if groups is None else "patient",
                result.verdict,
                said(result.gain),
                "yes" if holds_zero(result.gain) else "no",
                *(f"{found[name]:.3f}" for name in ("near the mean", "pooled", "separate")),
            ]
            print("| " + " | ".join(cells) + " |", flush=True)


def tell_rare() -> None:
    """Print every metric of every model where 2 in 100 rows are positive."""
    print("\n## 2 in 100 rows are positive")
    print("\nExpected: all negative has the best accuracy, equal to the majority rate; average")
    print("precision is shown without being asked for; the verdict and the recommended model")
    print("follow what is learned, and nothing is found where there is nothing to learn.")
    for title, signal in (("features that matter", 0.8), ("features of pure noise", 0.0)):
        X, y, task = rare(0, signal)
        nothing = ("all negative", DummyClassifier(strategy="most_frequent"))
        models = [*PLAIN, near(MultiTaskClassifierCV), nothing]
        result = compare(X, y, task=task, models=models)
        gain = f"gain {said(result.gain)}, recommended {result.recommended}"
        print(f"\n{title}: verdict {result.verdict}, {gain}\n")
        print("| model | d2 | accuracy | majority | AUC | average precision |")
        print("|---|---|---|---|---|---|")
        for row in result.models:
            shown = ("accuracy", "majority", "auc", "average_precision")
            cells = [row.name, f"{row.score.mean:.3f}"]
            cells += [f"{row.metrics[name]:.4f}" for name in shown]
            print("| " + " | ".join(cells) + " |")


def tell_few() -> None:
    """Print the table of shrinkage and sharing of unrelated tasks."""
    print("\n## Unrelated tasks with few rows: shrinkage and sharing told apart\n")
    print("Expected: the interval of shrinkage is above 0, that of sharing contains 0.\n")
    print("| seed | verdict | shrinkage | above 0 | sharing | contains 0 |")
    print("|---|---|---|---|---|---|")
    for seed in range(5):
        X, y, task = few(seed)
        models = [*PLAIN, *BARE, near(MultiTaskRegressorCV)]
        result = compare(X, y, task=task, models=models)
        shrinkage, sharing = result.shrinkage_gain, result.sharing_gain
        if shrinkage is None or sharing is None:
            raise SystemExit("The 2 x 2 table is missing.")
        words = ["yes" if shrinkage.above else "no", "yes" if holds_zero(sharing) else "no"]
        cells = [str(seed), result.verdict, said(shrinkage), words[0], said(sharing), words[1]]
        print("| " + " | ".join(cells) + " |", flush=True)


STORIES: dict[str, Callable[[], None]] = {"leak": tell_leak, "rare": tell_rare, "few": tell_few}


def main() -> None:
    """Tell the chosen stories."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stories", nargs="*", default=list(STORIES), help=", ".join(STORIES))
    chosen = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    # Scores that a small task does not have, and pauses of searches, are counted in the result.
    warnings.simplefilter("ignore")
    started = time.process_time()
    for name in chosen.stories:
        STORIES[name]()
    print(f"\n{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
