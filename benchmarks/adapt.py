"""New tasks with little data: ``python benchmarks/adapt.py``; POLYTASK_DATA names the sets.

Learning curves: whole tasks of school and computer are held out of the model. Each is then
learned from its first 0, 1, 2, ... rows and judged on rows that no curve uses: adapted, by a model
of its own (ridge, strength by leaving one row out), by a pooled ridge with task intercepts that
has never seen the task, and by fitting the whole model again with the rows. A penalised model is
fitted again with the penalty that its search has found; the time of a refit is that of the first
fit, its search included. Seconds are processor seconds.

New domains: a hospital of heart4 or a product domain of amazon_sentiment is held out;
``adapt(domain="new")`` against the model as it was and against the new rows alone, on all rows
that no draw uses. The last column is the adapted model's mean log loss less that of the better of
the two, chosen with hindsight on the test rows, with the standard error over draws.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sklearn
from _sets import RealSet, load_set
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    ConvergenceWarning,
    DataWarning,
    MultiTaskClassifier,
    MultiTaskClassifierCV,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    Pooled,
    SingleTask,
    adapt,
)
from polytask.baselines import TunedLogistic
from polytask.penalties import L2, toward_mean

NEAR_MEAN = toward_mean(1.0) + L2(0.01)
CURVES = {"school": ((0, 1, 2, 5, 10, 20, 50), 30), "computer": ((0, 1, 2, 5, 10, 15), 5)}
DOMAINS = {"heart4": (5, 20, 60), "amazon_sentiment": (20, 100)}
# Enough of the large set to show what is to be shown.
MOST_ROWS = 1000


def searched() -> Any:
    """Return the penalised model, its strength searched."""
    return MultiTaskRegressorCV(NEAR_MEAN, alphas=20, cv=3)


def again(model: Any) -> Any:
    """Return what fits a model again: for a search, with the penalty that was found."""
    if not hasattr(model, "best_penalty_"):
        return sklearn.base.clone(model)
    return MultiTaskRegressor(
        model.best_penalty_,
        task_weight=model.task_weight_,
        intercept_strength=model.intercept_strength_,
        standardize=True,
        scale_targets="auto",
    )


@dataclass
class Curve:
    """Squared errors and seconds by method and number of rows."""

    fit_seconds: float
    errors: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    seconds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, name: str, n: int, predicted: np.ndarray, y: np.ndarray) -> None:
        """Keep a mean squared error."""
        self.errors.setdefault((name, n), []).append(float(np.mean((y - predicted) ** 2)))

    def timed(self, n: int, run: Callable[[], Any]) -> Any:
        """Time an adaptation."""
        before = time.process_time()
        model = run()
        self.seconds.setdefault(n, []).append(time.process_time() - before)
        return model


def curve(data: RealSet, model: Any, steps: tuple[int, ...], tested: int, tasks: int) -> Curve:
    """Return the errors of held-out tasks."""
    rng = np.random.default_rng(0)
    sizes = {label: int((data.task == label).sum()) for label in np.unique(data.task)}
    able = [label for label, n in sizes.items() if n >= max(steps) + tested]
    held = rng.choice(able, tasks, replace=False)
    old = ~np.isin(data.task, held)
    X, y, task = data.X[old], data.y[old], data.task[old]
    before = time.process_time()
    fitted = model.fit(X, y, task=task)
    found = Curve(time.process_time() - before)
    pooled = Pooled(make_pipeline(StandardScaler(), Ridge()), "intercept", unseen_tasks="shared")
    pooled.fit(X, y, task=task)
    for label in held:
        rows = rng.permutation(np.flatnonzero(data.task == label))
        test = rows[max(steps) :]
        for n in steps:
            one = _OneTask(data, label, rows[:n], test, old)
            new = found.timed(n, lambda one=one: one.adapted(fitted))
            found.add("adapted", n, one.predicted(new), data.y[test])
            found.add("pooled", n, one.predicted(pooled), data.y[test])
            if n:
                found.add("separate", n, one.separate(), data.y[test])
                found.add("refit", n, one.predicted(one.refit(fitted)), data.y[test])
    return found


@dataclass(frozen=True, eq=False)
class _OneTask:
    """A held-out task with its first rows."""

    data: RealSet
    label: Any
    rows: np.ndarray
    test: np.ndarray
    old: np.ndarray

    def adapted(self, model: Any) -> Any:
        X, y = self.data.X[self.rows], self.data.y[self.rows]
        few = len(self.rows) == 0
        return adapt(model, None if few else X, None if few else y, task=self.label)

    def refit(self, model: Any) -> Any:
        rows = np.concatenate([np.flatnonzero(self.old), self.rows])
        return again(model).fit(self.data.X[rows], self.data.y[rows], task=self.data.task[rows])

    def separate(self) -> np.ndarray:
        X, y = self.data.X[self.rows], self.data.y[self.rows]
        if len(y) < 3:
            return np.full(len(self.test), y.mean())
        model = make_pipeline(StandardScaler(), RidgeCV(np.geomspace(0.01, 1e4, 20))).fit(X, y)
        return np.asarray(model.predict(self.data.X[self.test]))

    def predicted(self, model: Any) -> np.ndarray:
        labels = np.full(len(self.test), self.label)
        return np.asarray(model.predict(self.data.X[self.test], task=labels))


def show_curve(name: str, method: str, found: Curve, steps: tuple[int, ...]) -> None:
    """Print the table of a set and a model."""
    print(f"\n## {name}, {method}\n")
    print(f"Root mean squared errors; the fit took {found.fit_seconds:.2f} s.\n")
    print("| rows | separate | pooled | adapted | refit | adapted / refit | ms | fit / adapt |")
    print("|---|---|---|---|---|---|---|---|")
    for n in steps:
        mean = {key: np.mean(v) for (key, at), v in found.errors.items() if at == n}
        took = float(np.mean(found.seconds[n]))
        cells = [
            f"{np.sqrt(mean[key]):.3f}" if key in mean else ""
            for key in ("separate", "pooled", "adapted", "refit")
        ]
        cells.append(f"{np.sqrt(mean['adapted'] / mean['refit']):.3f}" if n else "")
        cells += [f"{1000 * took:.1f}", f"{found.fit_seconds / took:.0f}"]
        print(f"| {n} | {' | '.join(cells)} |", flush=True)


def draws(
    data: RealSet, label: Any, n: int, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and test rows of a domain."""
    own = np.flatnonzero(data.task == label)
    for seed in range(count):
        rows = np.random.default_rng(seed).permutation(own)
        yield rows[:n], rows[max(DOMAINS[data.name]) :]


def log_loss(model: Any, X: Any, y: np.ndarray, label: Any) -> float:
    """Return the mean log loss of a task."""
    proba = model.predict_proba(X, task=np.full(len(y), label))
    classes = np.asarray(model.classes_).tolist()
    own = np.array([classes.index(value) if value in classes else -1 for value in y.tolist()])
    chance = np.where(own >= 0, proba[np.arange(len(y)), own], 0.0)
    return float(-np.log(np.maximum(chance, 1e-6)).mean())


def taken(X: Any, rows: np.ndarray) -> Any:
    """Return rows of an array, a sparse matrix or a table."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def domain(data: RealSet, model: Any, count: int) -> None:
    """Print a table: every domain held out in turn."""
    print(
        "| held out | rows | source only | new rows only | adapted | chosen | adapted - better |"
    )
    print("|---|---|---|---|---|---|---|")
    for label in np.unique(data.task):
        old = np.flatnonzero(data.task != label)
        fitted = sklearn.base.clone(model)
        fitted.fit(taken(data.X, old), data.y[old], task=data.task[old])
        fitted.unseen_tasks = "shared"
        for n in DOMAINS[data.name]:
            losses, chosen = [], []
            for rows, test in draws(data, label, n, count):
                X, y, at = taken(data.X, rows), data.y[rows], taken(data.X, test)
                new = adapt(fitted, X, y, task=label, domain="new")
                found = [log_loss(m, at, data.y[test], label) for m in (fitted, new)]
                found.insert(1, alone_loss((X, y), (at, data.y[test]), label))
                losses.append(found)
                chosen.append(new.adaptation_.chosen)
            print_domain(label, n, np.array(losses), chosen)


def alone_loss(train: tuple[Any, Any], test: tuple[Any, Any], label: Any) -> float:
    """Return the log loss of a model of the new rows; one class alone has smoothed odds."""
    (X, y), (at, truth) = train, test
    if len(np.unique(y)) < 2:
        sure = (len(y) + 0.5) / (len(y) + 1.0)
        return float(-np.log(np.where(truth == y[0], sure, 1.0 - sure)).mean())
    scaler = StandardScaler(with_mean=hasattr(X, "iloc"))
    model = SingleTask(make_pipeline(scaler, TunedLogistic()))
    return log_loss(model.fit(X, y, task=np.full(len(y), label)), at, truth, label)


def print_domain(label: Any, n: int, losses: np.ndarray, chosen: list[str]) -> None:
    """Print one line."""
    mean = losses.mean(axis=0)
    better = losses[:, int(np.argmin(mean[:2]))]
    gap = losses[:, 2] - better
    error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
    counts = ", ".join(f"{name} {chosen.count(name)}" for name in dict.fromkeys(chosen))
    cells = " | ".join(f"{value:.3f}" for value in mean)
    print(f"| {label} | {n} | {cells} | {counts} | {gap.mean():+.3f} ({error:.3f}) |", flush=True)


def few_rows(data: RealSet, most: int) -> RealSet:
    """Return so many rows of every task at most."""
    kept = []
    for label in np.unique(data.task):
        own = np.flatnonzero(data.task == label)
        kept.append(np.random.default_rng(0).permutation(own)[:most])
    rows = np.sort(np.concatenate(kept))
    return RealSet(data.name, data.X[rows], data.y[rows], data.task[rows], data.classes)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=24, help="held-out tasks of a curve")
    parser.add_argument("--draws", type=int, default=10, help="draws of new rows of a domain")
    parser.add_argument("--sets", nargs="+", default=[*CURVES, *DOMAINS])
    parser.add_argument("--each", type=int, default=MOST_ROWS, help="rows of a large domain")
    parser.add_argument("--only", default="", help="part of the names of the models")
    given = parser.parse_args()
    # Columns that few rows leave empty are said once per fit.
    for kind in (ConvergenceWarning, DataWarning):
        warnings.simplefilter("ignore", kind)
    versions = f"scikit-learn {sklearn.__version__}, numpy {np.__version__}"
    print(f"polytask {polytask.__version__}, {versions}, Python {platform.python_version()}")
    for name in [name for name in CURVES if name in given.sets]:
        steps, tested = CURVES[name]
        models = {"learned prior": BayesianMultiTaskRegressor(), "near the mean": searched()}
        for method, model in models.items():
            found = curve(load_set(name), model, steps, tested, given.tasks)
            show_curve(name, method, found, steps)
    if "heart4" in given.sets:
        pair = {"learned prior": BayesianMultiTaskClassifier()}
        pair["searched penalty"] = MultiTaskClassifierCV(alphas=15, cv=3)
        for method, model in pair.items():
            if given.only in method:
                print(f"\n## heart4, {method}\n")
                domain(load_set("heart4"), model, given.draws)
    if "amazon_sentiment" in given.sets:
        data = few_rows(load_set("amazon_sentiment"), given.each)
        several = {
            "near the mean": MultiTaskClassifier(toward_mean(1e-3) + L2(1e-3)),
            "learned prior": BayesianMultiTaskClassifier(),
        }
        for method, model in several.items():
            if given.only in method:
                print(f"\n## amazon_sentiment, {method}, {given.each:,} rows of every domain\n")
                domain(data, model, min(given.draws, 3))


if __name__ == "__main__":
    main()
