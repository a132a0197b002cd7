"""Trees with a learned prior on real sets: ``python benchmarks/boosting.py SET``.

SET is school, computer, exam65, radon, landmine (five 75/25 splits within tasks), wages (the five
published folds) or au_import (five folds of the rows); they are read from the folder
POLYTASK_DATA. To the last two the square of the time is added, to au_import its third and fourth
power too. Prints the mean over the splits of the squared error and of the share of the squared
error of the training mean that is explained, how many of the held-out rows lie inside their 90%
intervals, and CPU seconds of fit and prediction. ``--peers`` adds LightGBM with the task as a
category and GPBoost, tuned on held-out rows, in environments of their own. ``--plain`` has the
candidates of boosting in their place, of LightGBM and of scikit-learn. ``--only TEXT`` has the
models alone whose names hold the text. Of landmine, which has classes, the error is the log loss.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from _auto_peers import Peer
from _sets import data_folder, load_set
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss

from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    Pooled,
    SingleTask,
)
from polytask.baselines import TunedRidge
from polytask.boosting import MixedBoostingClassifier, MixedBoostingRegressor
from polytask.boosting.plain import TreeRegressor
from polytask.data import TaskData, WithinTasks
from polytask.selection.candidates import MODELS
from polytask.selection.facts import DataFacts
from polytask.selection.shared_base import SharedBase

Split = tuple[np.ndarray, np.ndarray]
SETS = ("school", "computer", "exam65", "radon", "landmine", "wages", "au_import")
PEERS = ("LightGBM", "GPBoost linear, intercepts", "GPBoost linear, slopes", "GPBoost trees")
# Ridge regression tries these strengths.
STRENGTHS = tuple(10.0 ** (k / 3) for k in range(-9, 16))


def loaded(name: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, list[Split]]:
    """Return features, targets, tasks and splits of a set."""
    if name not in ("wages", "au_import"):
        found = load_set(name)
        data = TaskData.from_long(np.arange(len(found.y))[:, None], found.y, found.task)
        pairs = WithinTasks(5, test_size=0.25).split(data)
        splits = [(data.order[train], data.order[held]) for train, held in pairs]
        X = pd.DataFrame(np.asarray(found.X, dtype=float)).add_prefix("x")
        return X, found.y.astype(float), found.task, splits
    table = pd.read_csv(data_folder() / "grouped" / f"{name}.csv.gz", low_memory=False)
    table["t2"] = table["t"] ** 2
    n = len(table)
    if name == "wages":
        with gzip.open(data_folder() / "grouped" / "wages_folds.json.gz") as file:
            trains = [np.array(rows) - 1 for rows in json.load(file)]
        splits = [(train, np.setdiff1d(np.arange(n), train)) for train in trains]
        y, task, others = table["ln_wage"], table["idcode"], ["ln_wage", "idcode"]
    else:
        fold = np.random.default_rng(0).permutation(n) % 5
        splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]
        table["t3"], table["t4"] = table["t"] ** 3, table["t"] ** 4
        y, task = np.log(table["trade_usd"].astype(float)), table["commodity_id"]
        others = ["trade_usd", "commodity_id", "comm_code", "commodity"]
    return table.drop(columns=others), y.to_numpy(), task.to_numpy(), splits


class PowersOfTime:
    """Slopes of two or of four powers of the time, by the held-out loss inside the training rows.

    The powers are the last four columns.
    """

    def fit(self, X: np.ndarray, y: np.ndarray, task: np.ndarray) -> PowersOfTime:
        """Learn with both, and keep the better."""
        tried = [
            MixedBoostingRegressor(varying=varying, cv=3).fit(X, y, task=task)
            for varying in ([-4, -3], [-4, -3, -2, -1])
        ]
        self.best = min(tried, key=lambda model: model.held_out_loss_.min())
        return self

    def predict(self, X: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Return the predictions."""
        return self.best.predict(X, task=task)

    def predict_interval(self, X: np.ndarray, task: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the 90% intervals."""
        return self.best.predict_interval(X, task=task)


def contenders(name: str, peers: bool) -> dict[str, Callable[[], Any]]:
    """Return what makes the models of a set, by name."""
    boosted = MixedBoostingRegressor
    made: dict[str, Callable[[], Any]] = {"mixed boosting, intercepts": boosted}
    # The time and its powers are the last columns.
    if name == "wages":
        made["mixed boosting, t and t^2 vary"] = lambda: boosted(varying=[-2, -1])
        # Tenure is the fourth column.
        made["mixed boosting, 15 leaves, tenure too"] = lambda: boosted(
            varying=[3, -2, -1], max_leaf_nodes=15
        )
    if name == "au_import":
        made["mixed boosting, t and t^2 vary"] = lambda: boosted(varying=[-4, -3])
        made["mixed boosting, powers of t by held-out loss"] = PowersOfTime
    if name == "au_import":
        made["mixed boosting, all vary"] = lambda: boosted(varying="all")
    if name not in ("wages", "au_import"):
        made["mixed boosting, all vary"] = lambda: boosted(varying="all")
        made["mixed boosting, 7 leaves"] = lambda: boosted(max_leaf_nodes=7)
        made["mixed boosting, 7 leaves, all vary"] = lambda: boosted(
            max_leaf_nodes=7, varying="all"
        )
        made["separate ridge"] = lambda: SingleTask(TunedRidge(STRENGTHS))
    made["learned prior"] = BayesianMultiTaskRegressor
    made["pooled ridge + intercepts"] = lambda: Pooled(
        TunedRidge(STRENGTHS), "intercept", unseen_tasks="shared"
    )
    made["histogram boosting, task as category"] = lambda: Pooled(
        HistGradientBoostingRegressor(random_state=0), "category", unseen_tasks="shared"
    )
    for peer in PEERS if peers else ():
        made[peer] = lambda peer=peer: Peer(peer, False, 60.0)
    return made


def plain_contenders(X: pd.DataFrame, task: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return what makes the candidates of boosting, by name."""
    rows = np.unique(task, return_counts=True)[1]
    facts = DataFacts(
        problem="regression",
        losses="squared",
        n_rows=len(task),
        n_features=X.shape[1],
        n_tasks=len(rows),
        median_rows=float(np.median(rows)),
        targets=False,
        sparse=False,
        unseen=False,
        seed=0,
    )
    made: dict[str, Callable[[], Any]] = {}
    for kind in (TreeRegressor, HistGradientBoostingRegressor):
        own = lambda kind=kind: kind(random_state=0)  # noqa: E731
        name = "LightGBM" if kind is TreeRegressor else "scikit-learn"
        made[f"{name} pooled"] = lambda own=own: Pooled(own(), "category", unseen_tasks="error")
        if MODELS["boosting per task"].unfit(facts) is None:
            made[f"{name} per task"] = lambda own=own: SingleTask(own())
        made[f"{name} corrected"] = lambda own=own: SharedBase(own(), cv=5, unseen_tasks="error")
    return made


def class_contenders() -> dict[str, Callable[[], Any]]:
    """Return what makes the models of classes, by name."""
    boosted = HistGradientBoostingClassifier
    return {
        "mixed boosting, intercepts": MixedBoostingClassifier,
        "mixed boosting, all vary": lambda: MixedBoostingClassifier(varying="all"),
        "learned prior": BayesianMultiTaskClassifier,
        "histogram boosting, task as category": lambda: Pooled(
            boosted(random_state=0), "category", unseen_tasks="shared"
        ),
        "histogram boosting per task": lambda: SingleTask(boosted(random_state=0)),
    }


def measured(
    make: Callable[[], Any], X: pd.DataFrame, y: np.ndarray, task: np.ndarray, split: Split
) -> tuple[float, float, float, float]:
    """Return squared error, explained share, coverage and CPU seconds of one split."""
    train, held = split
    model, started = make(), time.process_time()
    model.fit(X.iloc[train].to_numpy(), y[train], task=task[train])
    asked = X.iloc[held].to_numpy()
    if hasattr(model, "classes_"):
        found = model.predict_proba(asked, task=task[held])
        error = log_loss(y[held], found, labels=model.classes_)
        constant = log_loss(y[held], np.full(len(held), y[train].mean()))
        return error, 1.0 - error / constant, np.nan, time.process_time() - started
    values = model.predict(asked, task=task[held])
    seconds = time.process_time() - started + getattr(model, "cpu", 0.0)
    error = float(np.mean((values - y[held]) ** 2))
    covered = np.nan
    if isinstance(model, MixedBoostingRegressor | PowersOfTime):
        lower, upper = model.predict_interval(asked, task=task[held])
        covered = float(np.mean((lower < y[held]) & (y[held] < upper)))
    explained = 1.0 - error / float(np.mean((y[held] - y[train].mean()) ** 2))
    return error, explained, covered, seconds


def lines(name: str, peers: bool, plain: bool, only: str) -> Iterator[str]:
    """Yield the lines of the table of a set."""
    X, y, task, splits = loaded(name)
    yield f"\n### {name}: {len(y):,} rows, {len(np.unique(task)):,} tasks\n"
    classes = name == "landmine"
    made = class_contenders() if classes else contenders(name, peers)
    if plain:
        made = plain_contenders(X, task)
    error = "log loss" if classes else "squared error"
    yield f"| model | {error} | explained | inside 90% intervals | CPU s |"
    yield "|---|---|---|---|---|"
    for label, make in made.items():
        if only not in label:
            continue
        found = np.mean([measured(make, X, y, task, split) for split in splits], axis=0)
        inside = "" if np.isnan(found[2]) else f"{found[2]:.0%}"
        yield f"| {label} | {found[0]:.4f} | {found[1]:.4f} | {inside} | {found[3]:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--only", default="", metavar="TEXT")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for line in lines(given.set, given.peers, given.plain, given.only):
        print(line, flush=True)


if __name__ == "__main__":
    main()
