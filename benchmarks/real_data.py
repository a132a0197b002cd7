"""Separate, pooled and multi-task models on real data: ``python benchmarks/real_data.py``.

Five 75/25 splits within tasks, the same for every model, raw features, every model tuned
inside the training part. Regression: R2 against the grand mean of the test rows (mean over
targets in the targets form). Classes: mean over tasks of the area under the ROC curve. A fit
counts as not converged if anything in it warned of that: the final fit of the multi-task models
(their search is loose by design and does not warn), the search and the fits of the others.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sklearn
from _kept import Kept
from _sets import RealSet, load_set
from _tables import table
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import MultiTaskClassifierCV, MultiTaskRegressorCV, Pooled, SingleTask, TaskData
from polytask.data import WithinTasks
from polytask.penalties import L2, L21, TraceNorm, toward_mean

SETS = ("school", "computer", "exam65", "radon", "landmine", "heart4", "tox21", "mtr_enb")
ALPHAS = np.logspace(-3, 5, 25)
NOT_CONVERGED = (ConvergenceWarning, polytask.ConvergenceWarning)


def single(classes: bool, sparse: bool) -> Any:
    """Return the tuned single-task learner."""
    scaler = StandardScaler(with_mean=not sparse)
    if classes:
        inner = LogisticRegressionCV(
            Cs=np.logspace(-4, 3, 10),
            cv=5,
            scoring="neg_log_loss",
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
            max_iter=2000,
        )
        return make_pipeline(scaler, inner)
    return make_pipeline(scaler, RidgeCV(ALPHAS))


def models(data: RealSet, quick: bool) -> dict[str, Callable[[], Any]]:
    """Return the models by name; `quick` searches 8 strengths on 3 folds and nothing else."""
    sparse = hasattr(data.X, "indptr")
    learner = single(data.classes, sparse)
    cv: Any = MultiTaskClassifierCV if data.classes else MultiTaskRegressorCV
    if quick:
        cv = partial(cv, alphas=8, cv=3, task_weight="size", intercept_strength=10.0)
    boosting = HistGradientBoostingClassifier if data.classes else HistGradientBoostingRegressor
    near_mean = [toward_mean(1.0) + L2(share) for share in (1e-3, 0.1)]
    rows: dict[str, Callable[[], Any]] = {
        "separate": lambda: SingleTask(learner),
        "pooled": lambda: Pooled(learner, "none"),
        "pooled + intercepts": lambda: Pooled(learner, "intercept"),
        "pooled + category": lambda: Pooled(learner, "category"),
        "multi-task CV, toward_mean": lambda: cv(near_mean),
        "multi-task CV, L21": lambda: cv(L21()),
        "multi-task CV, TraceNorm": lambda: cv(TraceNorm()),
        "multi-task CV, default": cv,
    }
    if not data.classes and data.task is not None:
        rows["multi-task CV, toward_mean, shrunk intercepts"] = lambda: cv(
            near_mean, intercept="toward_mean"
        )
    if not sparse:
        rows["pooled boosting, category"] = lambda: Pooled(boosting(random_state=0), "category")
    return rows


def splits(data: RealSet, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split within tasks, in row numbers of the input."""
    if data.task is None:
        rng = np.random.default_rng(0)
        orders = [rng.permutation(len(data.y)) for _ in range(count)]
        cut = int(0.75 * len(data.y))
        return [(np.sort(o[:cut]), np.sort(o[cut:])) for o in orders]
    rows = TaskData.from_long(np.zeros((len(data.y), 1)), data.y, data.task)
    pairs = WithinTasks(count, test_size=0.25, random_state=0).split(rows)
    return [(np.sort(rows.order[a]), np.sort(rows.order[b])) for a, b in pairs]


def take(X: Any, rows: np.ndarray) -> Any:
    """Take rows of an array, sparse matrix or data frame."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def score(model: Any, data: RealSet, test: np.ndarray) -> float:
    """Score a fitted model on held-out rows."""
    X, y = take(data.X, test), data.y[test]
    if data.task is None:
        return _score_targets(model, X, y, data.classes)
    task = data.task[test]
    if not data.classes:
        residual = y - np.asarray(model.predict(X, task=task))
        return float(1 - np.mean(residual**2) / np.var(y))
    proba = np.asarray(model.predict_proba(X, task=task))[:, 1]
    areas = [
        roc_auc_score(y[task == t], proba[task == t])
        for t in np.unique(task)
        if len(np.unique(y[task == t])) == 2
    ]
    return float(np.mean(areas))


def _score_targets(model: Any, X: Any, Y: np.ndarray, classes: bool) -> float:
    if not classes:
        P = np.asarray(model.predict(X))
        return float(np.mean(1 - np.mean((Y - P) ** 2, axis=0) / np.var(Y, axis=0)))
    probabilities = model.predict_proba(X)
    areas = []
    for t in range(Y.shape[1]):
        seen = ~np.isnan(Y[:, t])
        if len(np.unique(Y[seen, t])) >= 2:
            areas.append(_area(Y[seen, t], probabilities[t][seen], model.classes_[t]))
    return float(np.mean(areas))


def _area(y: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> float:
    """Return the area of the second class of two, or the mean over the classes that y has."""
    counted = [1] if len(classes) == 2 else np.flatnonzero(np.isin(classes, y))
    own = [roc_auc_score(y == classes[k], probabilities[:, k]) for k in counted]
    return float(np.mean(own))


def fit_and_score(
    make: Callable[[], Any], data: RealSet, train: np.ndarray, test: np.ndarray
) -> tuple[float, float, bool]:
    """Return the held-out score, CPU seconds, and whether a warning said "not converged"."""
    task = None if data.task is None else data.task[train]
    started = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = make().fit(take(data.X, train), data.y[train], task=task)
        value = score(model, data, test)
    seconds = round(time.process_time() - started, 2)
    return value, seconds, any(issubclass(warning.category, NOT_CONVERGED) for warning in caught)


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every set of which results are kept."""
    head = ["model", "mean", "sd", "CPU seconds per fit", "not converged"]
    found = {}
    for name, own in kept.grouped().items():
        rows = []
        for label, runs in own.items():
            values, seconds, warned = zip(*runs.values(), strict=True)
            told = f"{np.mean(values):.3f}", f"{np.std(values):.3f}", f"{np.mean(seconds):.1f}"
            rows.append([label, *told, f"{sum(warned)}/{len(values)}"])
        found[name] = table(head, rows)
    return found


def run(kept: Kept, count: int, quick: bool, only: str) -> None:
    """Measure one set; `only` is a part of the names of the models wanted."""
    data = load_set(kept.title, 3000 if kept.title == "tox21" else None)
    metric = "mean AUC per task" if data.classes else "R2 against the grand mean"
    for label, make in models(data, quick).items():
        if only in label:
            for split, (train, test) in enumerate(splits(data, count)):
                kept.get(label, split, partial(fit_and_score, make, data, train, test))
    print(f"\n## {kept.title}: {metric}\n\n{tables(kept)[kept.title]}", flush=True)


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS, help=f"of {', '.join(SETS)}")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small search, for large sets")
    parser.add_argument("--only", default="", help="part of the names of the models to fit")
    parser.add_argument("--keep", help="file of finished fits, to go on from")
    chosen = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    for name in chosen.sets:
        run(Kept(chosen.keep, name), chosen.splits, chosen.quick, chosen.only)


if __name__ == "__main__":
    main()
