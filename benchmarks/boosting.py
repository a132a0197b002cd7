"""Trees with a learned prior on real sets: ``python benchmarks/boosting.py SET [--peers]``.

SET is school, computer, exam65 (five 75/25 splits within tasks), wages (the five published folds)
or au_import (five folds of the rows); they are read from the folder POLYTASK_DATA. Of the last two
the square of the time is added. Prints the mean over the splits of the squared error and of the
share of the squared error of the training mean that is explained, how many of the held-out rows
lie inside their 90% intervals, and CPU seconds of fit and prediction. ``--peers`` adds LightGBM
with the task as a category and GPBoost, tuned on held-out rows, in environments of their own.
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
from sklearn.ensemble import HistGradientBoostingRegressor

from polytask import BayesianMultiTaskRegressor, Pooled, SingleTask
from polytask.baselines import TunedRidge
from polytask.boosting import MixedBoostingRegressor
from polytask.data import TaskData, WithinTasks

Split = tuple[np.ndarray, np.ndarray]
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
        y, task = np.log(table["trade_usd"].astype(float)), table["commodity_id"]
        others = ["trade_usd", "commodity_id", "comm_code", "commodity"]
    return table.drop(columns=others), y.to_numpy(), task.to_numpy(), splits


def contenders(name: str, peers: bool) -> dict[str, Callable[[], Any]]:
    """Return what makes the models of a set, by name."""
    boosted = MixedBoostingRegressor
    made: dict[str, Callable[[], Any]] = {"mixed boosting, intercepts": boosted}
    # The time and its square are the last columns.
    if name in ("wages", "au_import"):
        made["mixed boosting, t and t^2 vary"] = lambda: boosted(varying=[-2, -1])
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


def measured(
    make: Callable[[], Any], X: pd.DataFrame, y: np.ndarray, task: np.ndarray, split: Split
) -> tuple[float, float, float, float]:
    """Return squared error, explained share, coverage and CPU seconds of one split."""
    train, held = split
    model, started = make(), time.process_time()
    model.fit(X.iloc[train].to_numpy(), y[train], task=task[train])
    asked = X.iloc[held].to_numpy()
    values = model.predict(asked, task=task[held])
    seconds = time.process_time() - started + getattr(model, "cpu", 0.0)
    error = float(np.mean((values - y[held]) ** 2))
    covered = np.nan
    if isinstance(model, MixedBoostingRegressor):
        lower, upper = model.predict_interval(asked, task=task[held])
        covered = float(np.mean((lower < y[held]) & (y[held] < upper)))
    explained = 1.0 - error / float(np.mean((y[held] - y[train].mean()) ** 2))
    return error, explained, covered, seconds


def lines(name: str, peers: bool) -> Iterator[str]:
    """Yield the lines of the table of a set."""
    X, y, task, splits = loaded(name)
    yield f"\n### {name}: {len(y):,} rows, {len(np.unique(task)):,} tasks\n"
    yield "| model | squared error | explained | inside 90% intervals | CPU s |"
    yield "|---|---|---|---|---|"
    for label, make in contenders(name, peers).items():
        found = np.mean([measured(make, X, y, task, split) for split in splits], axis=0)
        inside = "" if np.isnan(found[2]) else f"{found[2]:.0%}"
        yield f"| {label} | {found[0]:.4f} | {found[1]:.4f} | {inside} | {found[3]:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=("school", "computer", "exam65", "wages", "au_import"))
    parser.add_argument("--peers", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for line in lines(given.set, given.peers):
        print(line, flush=True)


if __name__ == "__main__":
    main()
