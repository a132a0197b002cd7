"""Nets beside linear models and trees on real tables: ``python benchmarks/deep_accuracy.py``.

75/25 splits within tasks, the same for every model; a seed decides the split and how nets begin.
Numbers: R2 (mean over targets; in the long form against the grand mean) or, for classes, the area
under the ROC curve, mean over tasks (a class of ten: mean over its classes, one against the rest).

Three kinds of nets, each with the same number of settings to try: single-task nets (a net per
task), hard sharing, and "shared and regularised", whose settings differ in how tasks share and in
what regularises. A fifth of the training rows judges the settings, by the score of the table; the
best is fitted again to all training rows. When to stop is decided within each fit by a tenth of
its rows, as by default. Nothing of the test rows is looked at before the end. "Hard sharing,
defaults" tries nothing: the estimator as it comes.

Linear models: a ridge or logistic regression per task, its strength tuned on five folds, and the
learned prior, which has nothing to tune. Trees are scikit-learn's: a forest of 200 (one for all
targets where none is missing) and histogram gradient boosting with its defaults, per task and
pooled with the task as a category.

Intervals are of the paired difference from the single-task nets, corrected for training parts that
overlap as much as those of a quarter held out do (Nadeau and Bengio). ``--keep FILE`` goes on with
a run that was stopped.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from _deep_sets import SETS, is_complete, labels_of, load, pairs
from _kept import Kept
from _sets import RealSet
from _tables import interval, table
from real_data import score, single
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    Pooled,
    SingleTask,
)
from polytask.baselines import Joint, TunedLogistic

if TYPE_CHECKING:
    from _deep_nets import Keep, Search

SINGLE, DEFAULTS = "single-task nets", "hard sharing, defaults"
Pair = tuple[np.ndarray, np.ndarray]
Found = tuple[float, float, str]


def others(data: RealSet) -> dict[str, Callable[[], Any]]:
    """Return what is no net, by name."""
    if data.classes:
        linear = make_pipeline(StandardScaler(), TunedLogistic())
        forest, boosting = RandomForestClassifier, HistGradientBoostingClassifier
        learned: Any = BayesianMultiTaskClassifier
    else:
        linear = single(classes=False, sparse=False)
        forest, boosting = RandomForestRegressor, HistGradientBoostingRegressor
        learned = BayesianMultiTaskRegressor
    trees = forest(200, random_state=0)
    whole = is_complete(data)
    rows: dict[str, Callable[[], Any]] = {
        "separate linear": lambda: SingleTask(linear),
        "random forest": lambda: Joint(trees) if whole else SingleTask(trees),
        "boosting per task": lambda: SingleTask(boosting(random_state=0)),
    }
    if _same_question(data):
        # What pools rows, and the learned prior, want the same classes in every task.
        rows["boosting pooled"] = lambda: Pooled(boosting(random_state=0), "category")
        rows["learned prior"] = learned
    return rows


def _same_question(data: RealSet) -> bool:
    return not data.classes or len(np.unique(data.y[~np.isnan(data.y)])) == 2


def fit_other(make: Callable[[], Any], data: RealSet, pair: Pair, seed: int) -> Found:
    """Return the held-out score and CPU seconds of a model that is no net."""
    from _deep_nets import fitted

    started = time.process_time()
    model = fitted(make(), labels_of(data, pair[0], seed), pair[0])
    seconds = time.process_time() - started
    return score(model, data, pair[1]), seconds, ""


def fit_nets(search: Search, data: RealSet, pair: Pair, seed: int, keep: Keep, most: int) -> Found:
    """Return the held-out score, CPU seconds with all settings tried, and the setting chosen."""
    labelled = labels_of(data, pair[0], seed)
    model, chosen, seconds = search.best(labelled, pair[0], seed, keep, most)
    return score(model, data, pair[1]), seconds, chosen


def fit_default(data: RealSet, pair: Pair, seed: int) -> Found:
    """Return the same of hard sharing as it comes."""
    from _deep_nets import default_nets

    started = time.process_time()
    model = default_nets(labels_of(data, pair[0], seed), pair[0], seed)
    seconds = time.process_time() - started
    return score(model, data, pair[1]), seconds, f"{model.n_iter_} epochs"


def jobs(data: RealSet, kept: Kept, most: int) -> dict[str, Callable[[Pair, int], Found]]:
    """Return what to run, by name."""
    from _deep_nets import KINDS

    found: dict[str, Callable[[Pair, int], Found]] = {
        DEFAULTS: lambda pair, seed: fit_default(data, pair, seed)
    }
    for label, search in KINDS.items():

        def nets(pair: Pair, seed: int, label: str = label, search: Search = search) -> Found:
            def keep(own: str, job: Callable[[], tuple[float, float]]) -> tuple[float, float]:
                return kept.get(f"{label}: {own}", seed, job)

            return fit_nets(search, data, pair, seed, keep, most)

        found[label] = nets
    for label, make in others(data).items():
        found[label] = lambda pair, seed, make=make: fit_other(make, data, pair, seed)
    return found


def _quietly(job: Callable[[], Found]) -> Found:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return job()


def run(name: str, options: argparse.Namespace) -> None:
    """Fit the models to one set and print its table."""
    from _deep_nets import n_tasks

    data = load(name)
    kept = Kept(options.keep, name)
    skipped = set(options.skip.split(","))
    for label, job in jobs(data, kept, options.settings).items():
        if f"{name}:{label}" in skipped or options.only not in label:
            continue
        for k, pair in enumerate(pairs(data, options.seeds)):
            kept.get(label, k, partial(_quietly, partial(job, pair, k)))
        print(f"<!-- {name} {label} done -->", file=sys.stderr, flush=True)
    shape = f"{len(data.y):,} rows, {data.X.shape[1]} features, {n_tasks(data)} tasks"
    print(f"\n## {name} ({shape}): {'AUC' if data.classes else 'R2'}, {options.seeds} seeds\n")
    print(tables(kept)[name], flush=True)


HEAD = (
    "model",
    "mean",
    "sd",
    "minus single-task nets",
    "95% interval",
    "minus best other",
    "CPU s",
)


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every set of which results are kept, and the settings chosen."""
    # Beside the models their settings are kept, without a name of what was chosen.
    found = {
        name: {label: list(values.values()) for label, values in own.items()}
        for name, own in kept.grouped().items()
    }
    return {
        name: _table({label: own for label, own in models.items() if len(own[0]) == 3})
        for name, models in found.items()
    }


def _table(found: dict[str, list[Found]]) -> str:
    """Return the scores, best first, and what was chosen."""
    values = {label: np.array([entry[0] for entry in own]) for label, own in found.items()}
    order = sorted(values, key=lambda label: -values[label].mean())
    rows = []
    for label in order:
        best = next((other for other in order if other != label), label)
        gap = (values[label] - values[best]).mean()
        seconds = np.mean([entry[1] for entry in found[label]])
        scores = f"{values[label].mean():.4f}", f"{values[label].std(ddof=1):.4f}"
        against = _against(values, label)
        rows.append([label, *scores, *against, f"{gap:+.4f}", f"{seconds:.1f}"])
    told = [table(HEAD, rows)]
    for label, own in found.items():
        chosen = Counter(entry[2] for entry in own)
        if any(chosen) and label != DEFAULTS:
            counts = "; ".join(f"{name} ({n})" for name, n in chosen.items())
            told.append(f"Chosen, {label}: {counts}.")
    return "\n\n".join(told)


def _against(values: dict[str, np.ndarray], label: str) -> tuple[str, str]:
    if label == SINGLE or SINGLE not in values or len(values[label]) < 2:
        return "", ""
    gap = values[label] - values[SINGLE]
    low, high = interval(gap, 0.25)
    return f"{gap.mean():+.4f}", f"{low:+.4f} to {high:+.4f}"


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--settings", type=int, default=7, help="settings that nets try")
    parser.add_argument("--only", default="", help="part of the names of the models to fit")
    parser.add_argument("--skip", default="", help="SET:MODEL to leave out, by commas")
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    print(
        f"`python benchmarks/deep_accuracy.py {shlex.join(sys.argv[1:])}`, "
        f"polytask {polytask.__version__}, torch {torch.__version__}, "
        f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, one used"
    )
    for name in options.sets:
        run(name, options)


if __name__ == "__main__":
    main()
