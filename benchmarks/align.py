"""Alignment of domains without labels: ``python benchmarks/align.py``.

Models learn from labelled rows of some tasks and from half of the rows of another one, whose
labels they do not see; its other half judges. Beside no alignment: ``adapt(domain="shift")``,
which fits the network again on old rows that are weighted to look like the new ones. Errors are
means over targets and five seeds (simulations: squared error over the variance of the target;
heart4: log loss); in brackets the paired difference to no alignment, with its 95% interval over
seeds. Seconds are processor seconds of a fit, memory the most that fitting adds to the process.

"shifted": the same relation in all tasks, features of the new task moved by one standard
deviation and stretched. "nuisance": half of the features say nothing about the target but where a
row comes from; in the old tasks each moves with the target, in the new one they do not.
"heart4": each of four hospitals in turn is without labels. It is read from the folder that
POLYTASK_DATA names.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from _kept import Kept
from _memory import apart, memory
from _tables import differing, table
from sklearn.metrics import log_loss

import polytask
from polytask import adapt
from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskRegressor
from polytask.deep.align import CORAL, MMD, Adversarial

METHODS: dict[str, Any] = {
    "no alignment": None,
    "CORAL(1)": CORAL(1.0),
    "MMD(1)": MMD(1.0),
    "Adversarial(0.1)": Adversarial(0.1),
    "shift weights": "shift",
}
NEW = 9
KINDS = ("shifted", "nuisance", "heart4")


def simulated(kind: str, seed: int) -> Iterator[tuple[Any, ...]]:
    """Yield features, targets and tasks of a simulation."""
    rng = np.random.default_rng(seed)
    task = np.repeat([0, 1, NEW], (200, 200, 400))
    X, new = rng.standard_normal((len(task), 10)), task == NEW
    if kind == "shifted":
        X[new] = 1.5 * X[new] + 1.0 * np.sign(rng.standard_normal(10))
    signal = np.tanh(X[:, :5] @ rng.standard_normal((5, 3))) @ rng.standard_normal(3)
    if kind == "nuisance":
        X[~new, 5:] += 0.7 * signal[~new, None]
        X[new, 5:] += 1.0
    yield X, signal + 0.3 * rng.standard_normal(len(task)), task


def heart(seed: int) -> Iterator[tuple[Any, ...]]:
    """Yield the hospitals, each in turn the new one."""
    from _sets import load_set

    data = load_set("heart4")
    for label in np.unique(data.task):
        yield data.X, data.y, np.where(data.task == label, NEW, data.task)


def part(X: Any, rows: np.ndarray) -> Any:
    """Return some rows of an array or a table."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def error(kind: str, method: Any, X: Any, y: Any, task: Any, seed: int) -> float:
    """Return the error on the rows that judge."""
    rng = np.random.default_rng(seed)
    new = rng.permutation(np.flatnonzero(task == NEW))
    seen, judged = new[: len(new) // 2], new[len(new) // 2 :]
    old = np.flatnonzero(task != NEW)
    make = DeepMultiTaskClassifier if kind == "heart4" else DeepMultiTaskRegressor
    model = make(MLP((32, 32)), random_state=seed, unseen_tasks="shared")
    model.set_params(max_epochs=40, batch_size=64)
    aligned = method is not None and method != "shift"
    if aligned:
        model.set_params(alignment=method)
    rows = np.concatenate([old, seen]) if aligned else old
    targets = np.where(np.isin(rows, seen), None, y[rows])
    targets = targets if aligned and kind == "heart4" else targets.astype(float)
    model.fit(part(X, rows), targets, task=task[rows])
    if method == "shift":
        source = part(X, old), y[old], task[old]
        model = adapt(model, part(X, seen), task=NEW, domain="shift", source=source)
        model.set_params(unseen_tasks="shared")
    labels = np.full(len(judged), NEW)
    if kind == "heart4":
        return float(log_loss(y[judged], model.predict_proba(part(X, judged), task=labels)[:, 1]))
    predicted = model.predict(part(X, judged), task=labels)
    return float(np.mean((predicted - y[judged]) ** 2) / y[judged].var())


def measured(kind: str, method: Any, seed: int) -> tuple[float, float, float]:
    """Return the mean error of the problems of a seed, and the seconds and memory of a fit."""
    before, began = memory(reset=True), time.process_time()
    problems = list(heart(seed) if kind == "heart4" else simulated(kind, seed))
    found = float(np.mean([error(kind, method, *problem, seed) for problem in problems]))
    return found, (time.process_time() - began) / len(problems), memory() - before


def tables(kept: Kept) -> dict[str, str]:
    """Return the one table, of kept results."""
    found, rows = kept.grouped(), []
    for name in METHODS:
        runs = [np.array(list(found[kind][name].values())) for kind in KINDS]
        plain = [np.array(list(found[kind]["no alignment"].values())) for kind in KINDS]
        errors = [differing(a[:, 0], b[:, 0]) for a, b in zip(runs, plain, strict=True)]
        seconds, most = np.mean([own[:, 1:].mean(axis=0) for own in runs], axis=0)
        rows.append([name, *errors, f"{seconds:.1f}", f"{most:.0f}"])
    return {"all": table(["", *KINDS, "s", "MB"], rows)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"polytask {polytask.__version__}, torch {torch.__version__}, numpy {np.__version__}\n")
    kept = Kept(given.keep)
    for name, method in METHODS.items():
        for kept.title in KINDS:
            for seed in range(given.seeds):
                run = partial(measured, kept.title, method, seed)
                kept.get(name, seed, partial(apart, run))
    print(tables(kept)["all"])


if __name__ == "__main__":
    main()
