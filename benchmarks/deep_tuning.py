"""``tune`` beside settings chosen by hand, for networks: ``python benchmarks/deep_tuning.py``.

A quarter of the rows is held out, within tasks, for each seed. By hand: eight settings of the
accuracy table (four of hard sharing, four of other structures). ``tune``: eight trials of
``search_space()``, hopeless ones given up after their first fold. Both are judged on the same two
halves of the training rows, by ``score``; the best is fitted to all of them. Nets have 60 epochs
at most. Intervals are of the paired difference, corrected for training parts that overlap.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
import optuna
import torch
from _deep_nets import SHARED, TRUNKS, estimator, fitted
from _deep_sets import load, pairs, split
from _kept import Kept
from _memory import apart, memory
from _sets import RealSet
from _tables import against, table
from real_data import score, take

from polytask.selection import tune

BY_HAND = [*list(TRUNKS.values())[:4], *list(SHARED.values())[:4]]


def fit(way: str, data: RealSet, rows: Any, seed: int) -> tuple[float, float, float, str]:
    """Return the score, CPU seconds, the most memory in MB, and what was chosen."""
    warnings.simplefilter("ignore")
    train, test = rows
    usual = {"max_epochs": 60, "random_state": seed, "device": "cpu"}
    halves = split(data, train, 0.5, seed)
    before, started = memory(reset=True), time.process_time()
    if way == "hard, defaults":
        model, told = fitted(estimator(data)(**usual), data, train), ""
    elif way == "by hand":

        def judged(settings: Any) -> float:
            nets = [
                (fitted(estimator(data)(**usual | settings), data, own), other)
                for own, other in (halves, halves[::-1])
            ]
            return float(np.mean([score(net, data, rows) for net, rows in nets]))

        found = max(BY_HAND, key=judged)
        model, told = fitted(estimator(data)(**usual | found), data, train), repr(found)
    else:
        net = estimator(data)(**usual)
        first, second = (np.searchsorted(train, half) for half in halves)
        folds = [(first, second), (second, first)]
        X, y = take(data.X, train), data.y[train]
        tuned = tune(net, net.search_space(), X, y, cv=folds, n_trials=8, random_state=seed)
        pruned = sum(trial.pruned for trial in tuned.trials)
        model, told = tuned.estimator, f"{pruned} pruned; {dict(tuned.params)}"
    seconds = time.process_time() - started
    return score(model, data, test), seconds, memory() - before, told


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every set of which results are kept."""
    found = {}
    for name, own in kept.grouped().items():
        rows = against(own, "by hand")
        for row, runs in zip(rows, own.values(), strict=True):
            _, seconds, most, _ = zip(*runs.values(), strict=True)
            row += [f"{np.mean(seconds):.1f}", f"{np.mean(most):.0f}"]
        head = ("settings", "mean", "minus by hand", "95% interval", "CPU s", "MB")
        found[name] = table(head, rows)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["mtr_atp1d", "mtr_scpf"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in options.sets:
        data, kept = load(name), Kept(options.keep, name)
        for way in ("hard, defaults", "by hand", "tune"):
            for k, rows in enumerate(pairs(data, options.seeds)):
                kept.get(way, k, partial(apart, partial(fit, way, data, rows, k)))
        print(f"\n## {name}: R2\n\n{tables(kept)[name]}")
        for way, runs in kept.grouped()[name].items():
            print(*(f"\n- {way}: {run[3]}" for run in runs.values() if run[3]))


if __name__ == "__main__":
    main()
