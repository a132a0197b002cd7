"""90% intervals and sets on real sets: ``python benchmarks/interval_coverage.py SET``.

SET is one of the sets below, read from the folder POLYTASK_DATA, wages from the library. Half of
the rows of every task are held out, ``--splits`` times. Of all held-out rows: the share inside the
interval; of the tasks with at least 20 held-out rows the share of which fewer than 80% are inside,
beside what chance alone gives where each row is inside with probability 0.9; and the mean width
over the standard deviation of the target (for several targets the mean of that), infinite ones
left out. Of classes the share of sets that hold the true one, and their mean size.
``--peers`` adds MAPIE and crepes,
in environments of their own, on the ridge regression of features and a column per task; it has no
CPU seconds. ``--keep FILE`` continues a run; the table has all that it has of the set.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _kept import Kept
from _sets import RealSet, load_table
from _tables import table
from scipy.stats import binom
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegressionCV, RidgeCV

from polytask import (
    AutoMultiTaskClassifier,
    AutoMultiTaskRegressor,
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    MultiTaskClassifier,
    MultiTaskClassifierCV,
    MultiTaskClassifierIC,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
    Pooled,
    SingleTask,
    calibrate,
)
from polytask.baselines import TunedRidge
from polytask.data import TaskData, WithinTasks
from polytask.datasets import load_wages
from polytask.penalties import L2, toward_mean

sys.path.append(str(Path(__file__).parent / "speed"))
from environments import Environment, python_of

SETS = (
    "school",
    "computer",
    "exam65",
    "radon",
    "wages",
    "mtr_enb",
    "mtr_scpf",
    "mtr_atp1d",
    "mtr_wq",
    "mtr_rf1",
    "sarcos_sub",
    "landmine",
    "heart4",
    "bank_conjoint",
    "mfeat_pix",
    "adult_mmoe",
    "hillstrom",
    "tox21",
    "amazon_sentiment",
)
CLASSES = SETS[SETS.index("landmine") :]
LEVEL, ENOUGH, LEAST = 0.9, 20, 0.8
STRENGTHS = tuple(10.0 ** (k / 3) for k in range(-9, 16))
AUTO = ("separate", "pooled + intercepts", "near the mean", "learned prior")
PEERS = {
    "MAPIE": Environment("mapie", ("mapie==1.6.0",)),
    "crepes": Environment("crepes", ("crepes==0.9.1", "scikit-learn")),
}
_CACHE = Path.home() / ".cache" / "polytask-peers"
_WORKER = Path(__file__).with_name("_interval_peer_worker.py")


def wages() -> RealSet:
    """Return the wages of women over the years, a task for each woman."""
    data = load_wages()
    return RealSet("wages", data.X, np.asarray(data.y), np.asarray(data.task), classes=False)


def calibrated(make: Callable[[], Any], by_task: bool = False) -> Callable[..., Any]:
    """Return what fits a model and gives its intervals or sets by CV+."""

    def ends(rows: tuple[Any, ...], new: tuple[Any, ...], classes: bool) -> Any:
        model = calibrate(make().fit(*rows), *rows)
        return asked(model, new, classes, by_task)

    return ends


def own(make: Callable[[], Any]) -> Callable[..., Any]:
    """Return what fits a model and gives the intervals or sets that it has."""
    return lambda rows, new, classes: asked(make().fit(*rows), new, classes)


def asked(model: Any, new: tuple[Any, ...], classes: bool, by_task: bool = False) -> Any:
    """Return intervals, or the sets with the classes."""
    if classes:
        return model.predict_set(*new, level=LEVEL), model.classes_
    return model.predict_interval(*new, level=LEVEL, by_task=by_task)


def contenders(data: RealSet) -> dict[str, Callable[..., Any]]:
    """Return what gives the intervals or sets of each model, by name."""
    from polytask.boosting import MixedBoostingClassifier, MixedBoostingRegressor
    from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskRegressor

    near = toward_mean() + L2()
    if data.classes:
        logistic = LogisticRegressionCV()
        boosted = HistGradientBoostingClassifier(random_state=0)
        known = {
            "MultiTaskClassifier, calibrate": calibrated(MultiTaskClassifier),
            "MultiTaskClassifierCV": own(lambda: MultiTaskClassifierCV(near, alphas=8)),
            "AutoMultiTaskClassifier": own(lambda: AutoMultiTaskClassifier(AUTO)),
            "SingleTask of logistic regression, calibrate": calibrated(
                lambda: SingleTask(logistic)
            ),
            "learned prior, its own": own(BayesianMultiTaskClassifier),
            "MultiTaskClassifierIC, calibrate": calibrated(lambda: MultiTaskClassifierIC(near)),
            "mixed boosting, calibrate": calibrated(MixedBoostingClassifier),
            "network, calibrate": calibrated(
                partial(DeepMultiTaskClassifier, MLP((32,)), random_state=0)
            ),
        }
        if data.task is not None:
            known["Pooled logistic regression + intercepts, calibrate"] = calibrated(
                lambda: Pooled(logistic, "intercept")
            )
            known["Pooled boosting, calibrate"] = calibrated(lambda: Pooled(boosted, "category"))
        return known
    boosted = HistGradientBoostingRegressor(random_state=0)
    found: dict[str, Callable[..., Any]] = {
        "MultiTaskRegressor, calibrate": calibrated(MultiTaskRegressor),
        "MultiTaskRegressorCV": own(lambda: MultiTaskRegressorCV(near)),
        "AutoMultiTaskRegressor": own(lambda: AutoMultiTaskRegressor(AUTO)),
        "SingleTask of ridge, calibrate": calibrated(lambda: SingleTask(TunedRidge(STRENGTHS))),
        "learned prior, its own": own(BayesianMultiTaskRegressor),
        "learned prior, calibrate": calibrated(BayesianMultiTaskRegressor),
        "MultiTaskRegressorIC, calibrate": calibrated(lambda: MultiTaskRegressorIC(near)),
        "mixed boosting, its own": own(MixedBoostingRegressor),
        "mixed boosting, calibrate": calibrated(MixedBoostingRegressor),
        "network, calibrate": calibrated(
            partial(DeepMultiTaskRegressor, MLP((32,)), random_state=0)
        ),
    }
    if data.task is not None:
        ridge = partial(Pooled, TunedRidge(STRENGTHS), "intercept")
        found["Pooled ridge + intercepts, calibrate"] = calibrated(ridge)
        found["Pooled ridge + intercepts, calibrate by task"] = calibrated(ridge, by_task=True)
        found["Pooled boosting, calibrate"] = calibrated(lambda: Pooled(boosted, "category"))
    return found


def with_columns(rows: tuple[Any, ...], new: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """Return fitted and new rows with a column per task, and the numbers of their tasks."""
    labels, codes = np.unique(rows[2], return_inverse=True)
    of_new, one_hot = np.searchsorted(labels, new[1]), np.eye(len(labels))
    return [(np.column_stack([x, one_hot[c]]), c) for x, c in ((rows[0], codes), (new[0], of_new))]


def same_ridge(rows: tuple[Any, ...], new: tuple[Any, ...], classes: bool) -> Any:
    """Return the intervals by CV+ of the model that the peers have."""
    (X, codes), (Z, of_new) = with_columns(rows, new)
    model = Pooled(RidgeCV(STRENGTHS)).fit(X, rows[1], codes)
    return calibrate(model, X, rows[1], codes).predict_interval(Z, of_new, level=LEVEL)


def peer(name: str) -> Callable[..., Any]:
    """Return what gives the intervals of a peer."""

    def ends(rows: tuple[Any, ...], new: tuple[Any, ...], classes: bool) -> Any:
        python, y = python_of(PEERS[name], _CACHE), rows[1]
        (X, codes), (Z, of_new) = with_columns(rows, new)
        with tempfile.TemporaryDirectory() as folder:
            given = {"X": X, "y": y, "task": codes, "Z": Z, "task_of_Z": of_new}
            np.savez(Path(folder) / "rows.npz", **given)
            subprocess.run([str(python), str(_WORKER), name, folder], check=True)
            with np.load(Path(folder) / "answer.npz") as found:
                return found["low"], found["high"]

    return ends


def halves(data: RealSet, splits: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows to fit and held-out rows."""
    rows = np.arange(len(data.y))[:, None]
    if data.task is None:
        found = TaskData.from_targets(rows, data.y)
    else:
        found = TaskData.from_long(rows, data.y, data.task)
    pairs = WithinTasks(splits, test_size=0.5).split(found)
    return [(np.sort(found.order[a]), np.sort(found.order[b])) for a, b in pairs]


def judged(data: RealSet, ends: Callable[..., Any], split: tuple[np.ndarray, ...]) -> list[float]:
    """Return rows, rows inside, tasks, low tasks, low tasks by chance, width, and seconds."""
    train, test = split
    begun = time.process_time()
    known, asked_X = (
        data.X.iloc[own] if hasattr(data.X, "iloc") else data.X[own] for own in (train, test)
    )
    rows: tuple[Any, ...] = (known, data.y[train])
    new: tuple[Any, ...] = (asked_X,)
    if data.task is not None:
        rows, new = (*rows, data.task[train]), (*new, data.task[test])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ends(rows, new, data.classes)
    seconds, y = time.process_time() - begun, data.y[test]
    if data.classes:
        inside, width = _hits(*found, y)
    else:
        inside = np.where(np.isnan(y), np.nan, (found[0] <= y) & (y <= found[1]))
        wide = (found[1] - found[0]) / np.nanstd(data.y, axis=0)
        width = float(wide[np.isfinite(wide)].mean())
    if data.task is None:
        parts = list(inside.T)
    else:
        parts = [inside[data.task[test] == name] for name in np.unique(data.task[test])]
    hits, parts = inside[~np.isnan(inside)], [part[~np.isnan(part)] for part in parts]
    parts = [part for part in parts if len(part) >= ENOUGH]
    low = sum(part.mean() < LEAST - 1e-9 for part in parts)
    chance = sum(
        float(binom.cdf(np.ceil(LEAST * len(part) - 1e-9) - 1, len(part), LEVEL)) for part in parts
    )
    return [len(hits), int(hits.sum()), len(parts), int(low), chance, width, seconds]


def _hits(sets: Any, classes: Any, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Return which sets hold the class, NaN where it is not known, and their mean size."""
    if y.ndim == 1:
        return sets[np.arange(len(y)), np.searchsorted(classes, y)] * 1.0, float(
            sets.sum(1).mean()
        )
    of_targets = [
        (_hits(own, names, np.nan_to_num(column)), np.isnan(column))
        for own, names, column in zip(sets, classes, y.T, strict=True)
    ]
    inside = [np.where(lacking, np.nan, own) for (own, _), lacking in of_targets]
    return np.column_stack(inside), float(np.mean([size for (_, size), _ in of_targets]))


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every set of which results are kept."""
    return {
        name: _table(own, "size of the set" if name in CLASSES else "width / sd")
        for name, own in kept.grouped().items()
    }


def _table(own: dict[str, dict[int, Any]], width: str) -> str:
    rows = []
    for name in sorted(own, key=str.casefold):
        found = np.array(list(own[name].values()), dtype=float)
        inside, asked_rows, n_tasks, low, chance = found[:, [1, 0, 2, 3, 4]].sum(axis=0)
        shares = [f"{low / n_tasks:.1%}", f"{chance / n_tasks:.1%}"] if n_tasks else ["-", "-"]
        # What a peer takes is spent in a process of its own.
        seconds = "" if name.endswith(tuple(PEERS)) else f"{found[:, 6].mean():.1f}"
        wide = f"{found[:, 5].mean():.2f}"
        rows.append([name, len(found), f"{inside / asked_rows:.1%}", *shares, wide, seconds])
    head = ["model", "splits", "inside", "tasks below 80%", "by chance", width, "CPU s"]
    return table(head, rows)


def main() -> None:
    """Read the arguments, run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--keep", default=None)
    parser.add_argument("--models", nargs="*", default=None, help="beginnings of names")
    given = parser.parse_args()
    data = load_table(given.set) if given.set != "wages" else wages()
    kept = Kept(given.keep, given.set)
    made = contenders(data)
    if given.peers and not data.classes and data.task is not None:
        made["ridge of a column per task, calibrate"] = same_ridge
        made |= {f"ridge of a column per task, {name}": peer(name) for name in PEERS}
    splits = halves(data, given.splits)
    for name, ends in made.items():
        if given.models and not any(name.startswith(one) for one in given.models):
            continue
        for k, split in enumerate(splits):
            kept.get(name, k, partial(judged, data, ends, split))
    print(f"\n### {given.set}\n\n{tables(kept)[given.set]}")


if __name__ == "__main__":
    main()
