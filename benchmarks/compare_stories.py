"""Three traps, and what `compare` says: ``python benchmarks/compare_stories.py [leak rare few]``.

leak: every patient has a row in every hospital, the same but for a little noise, and an outcome
    of his own that no feature explains. A model that learns hospitals together recognises him.
rare: 2 in 100 rows are positive, so that "all negative" has the best accuracy.
few: unrelated tasks with few rows. Shrinkage helps all of them, sharing has nothing to give.

Multi-task models search 8 strengths on 3 folds (with groups: 4 folds of whole groups).
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
import sklearn
from _kept import Kept
from _tables import table
from sklearn.dummy import DummyClassifier

import polytask
from polytask import MultiTaskClassifierCV, MultiTaskRegressorCV, compare
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


def few_positive(seed: int, signal: float) -> Table:
    """Return 6 related tasks of 600 rows, 2 in 100 of them positive."""
    rng = np.random.default_rng(seed)
    n_tasks, n, d = 6, 600, 5
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), d))
    coef = signal * (np.array([1.0, -1.0, 0.5, 0, 0]) + 0.2 * rng.standard_normal((n_tasks, d)))
    score = (X * coef[task]).sum(axis=1) + rng.logistic(size=len(task))
    return X, (score > np.quantile(score, 0.98)).astype(int), task


def unrelated(seed: int) -> Table:
    """Return 30 unrelated tasks of 24 rows and 8 features."""
    rng = np.random.default_rng(seed)
    n_tasks, n, d = 30, 24, 8
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), d))
    coef = 0.5 * rng.standard_normal((n_tasks, d))
    return X, (X * coef[task]).sum(axis=1) + 2.0 * rng.standard_normal(len(task)), task


def numbers(value: Interval | None) -> list[float]:
    """Return mean, lower and upper end; there are none where a model was left out."""
    if value is None:
        raise SystemExit("A difference is missing.")
    return [value.mean, value.low, value.high]


def leak(seed: int, grouped: bool) -> list[Any]:
    """Return verdict, gain and scores with random splits, or with splits of whole patients."""
    (X, y, task), who = patients(seed)
    groups = who if grouped else None
    models = [*PLAIN, near(MultiTaskRegressorCV, groups)]
    result = compare(X, y, task=task, models=models, groups=groups)
    found = {row.name: row.score.mean for row in result.models}
    shown = [found[name] for name in ("near the mean", "pooled", "separate")]
    return [result.verdict, numbers(result.gain), shown]


def rare(signal: float) -> list[Any]:
    """Return verdict, gain, the recommended model, and what every model has."""
    X, y, task = few_positive(0, signal)
    nothing = ("all negative", DummyClassifier(strategy="most_frequent"))
    models = [*PLAIN, near(MultiTaskClassifierCV), nothing]
    result = compare(X, y, task=task, models=models)
    shown = ("accuracy", "majority", "auc", "average_precision")
    rows = [
        [row.name, row.score.mean, *(row.metrics[name] for name in shown)] for row in result.models
    ]
    return [result.verdict, numbers(result.gain), result.recommended, rows]


def few(seed: int) -> list[Any]:
    """Return verdict, and the gains of shrinkage and of sharing of unrelated tasks."""
    X, y, task = unrelated(seed)
    models = [*PLAIN, "separate, one strength", *BARE, near(MultiTaskRegressorCV)]
    result = compare(X, y, task=task, models=models)
    return [result.verdict, numbers(result.shrinkage_gain), numbers(result.sharing_gain)]


SIGNALS = {"features that matter": 0.8, "features of pure noise": 0.0}
SPLITS = {"none": False, "patient": True}


def told(story: str, kept: Kept) -> None:
    """Run what is not kept of a story."""
    kept.title = story
    if story == "rare":
        for title, signal in SIGNALS.items():
            kept.get(title, 0, partial(rare, signal))
    elif story == "few":
        for seed in range(5):
            kept.get("", seed, partial(few, seed))
    else:
        for seed, (name, grouped) in itertools.product(range(3), SPLITS.items()):
            kept.get(name, seed, partial(leak, seed, grouped))


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of kept results."""
    known, found = kept.grouped(), {}
    if "leak" in known:
        head = ["seed", "groups", "verdict", "gain", "contains 0", "near the mean", "pooled"]
        lines = [
            [seed, name, verdict, *said(gain), *(f"{score:.3f}" for score in shown)]
            for name, runs in known["leak"].items()
            for seed, (verdict, gain, shown) in runs.items()
        ]
        found["leak"] = table([*head, "separate"], lines)
    for title, runs in known.get("rare", {}).items():
        ((verdict, gain, recommended, rows),) = runs.values()
        head = ["model", "d2", "accuracy", "majority", "AUC", "average precision"]
        lines = [[n, f"{d2:.3f}", *(f"{v:.4f}" for v in rest)] for n, d2, *rest in rows]
        interval = said(gain)[0]
        above = f"{title}: verdict {verdict}, gain {interval}, recommended {recommended or 'none'}"
        found[title] = f"{above}\n\n{table(head, lines)}"
    if "few" in known:
        head = ["seed", "verdict", "shrinkage", "contains 0", "sharing", "contains 0"]
        lines = [
            [seed, verdict, *said(shrinkage), *said(sharing)]
            for seed, (verdict, shrinkage, sharing) in known["few"][""].items()
        ]
        found["few"] = table(head, lines)
    return found


def said(interval: list[float]) -> list[str]:
    """Return an interval in words, and whether it contains 0."""
    mean, low, high = interval
    return [f"{mean:+.3f} ({low:.3f} to {high:.3f})", "yes" if low <= 0 <= high else "no"]


def main() -> None:
    """Tell the chosen stories."""
    parser = argparse.ArgumentParser(description=__doc__)
    stories = ("leak", "rare", "few")
    parser.add_argument("stories", nargs="*", default=stories, help=", ".join(stories))
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    chosen = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    # Scores that a small task does not have, and pauses of searches, are counted in the result.
    warnings.simplefilter("ignore")
    kept, started = Kept(chosen.keep), time.process_time()
    for story in chosen.stories:
        told(story, kept)
    for name, text in tables(kept).items():
        print(f"\n## {name}\n\n{text}")
    print(f"\n{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
