"""Meta-learning beside other ways to learn a new task: ``python benchmarks/meta.py``.

Some tasks are held out; each is learned from its first k rows by models that were trained on the
others, and judged on its other rows. Every network takes the same number of steps of its
optimiser, each on as many rows; a meta-learner takes its inner steps besides. Mean squared errors
over the variance of the target, means over seeds; in brackets the paired difference to the
new head of a network (``adapt`` of :class:`DeepMultiTaskRegressor`) with its 95% interval over
seeds. Seconds are processor seconds of fitting, and of adapting to all held-out tasks with the
most rows; memory is the most that fitting adds to the process.

Sinusoids are those of Finn et al. (2017), section 5.1: amplitude .1 to 5, phase 0 to pi, x in
[-5, 5], a network of 40 x 40 units, trained for one step on ten rows and adapted with ten steps
(ANIL and MetaSGD, which diverge with ten, with one). "frequencies" are those of Li et al. (2017),
section 4.1, where tasks differ in frequency too, .8 to 1.2, and five rows and one step are all:
squared errors, beside their Table 1. Real sets are
read from the folder that POLYTASK_DATA names.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from _kept import Kept
from _memory import apart, memory
from _tables import differing, table
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

import polytask
from polytask import BayesianMultiTaskRegressor, adapt
from polytask.deep import ANIL, MAML, MLP, DeepMultiTaskRegressor, MetaLearner, MetaSGD, Reptile
from polytask.deep.balancing import UPGrad
from polytask.penalties import L2

REFERENCE = "network, new head"


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows of all tasks, the tasks held out, rows of each to learn from, and settings."""

    X: np.ndarray
    y: np.ndarray
    task: np.ndarray
    held: np.ndarray
    shots: tuple[int, ...]
    widths: tuple[int, ...]
    steps: int
    tasks_per_step: int
    rate: float
    inner: tuple[int, float]
    adapt_steps: int | None = None
    support: int = 10
    only: tuple[str, ...] = ()
    in_units: bool = False

    @property
    def old(self) -> np.ndarray:
        """Which rows are of tasks to train on."""
        return ~np.isin(self.task, self.held)


def sinusoids(seed: int) -> Problem:
    """Return a thousand sinusoids of forty rows, of which a hundred are held out."""
    settings = SHOTS["sinusoids"], (40, 40), 1000, 25, 1e-2, (1, 0.1), 10
    return Problem(*_waves(seed, (1.0, 1.0)), *settings)


def frequencies(seed: int) -> Problem:
    """Return sinusoids of several frequencies, each learned by one step, as in Table 1 of Li."""
    settings = SHOTS["frequencies"], (40, 40), 4000, 25, 3e-3, (1, 0.1)
    only = ("pooled network", REFERENCE, "MAML", "MetaSGD", "learned prior, splines")
    more: Any = {"support": 5, "only": only, "in_units": True}
    return Problem(*_waves(seed, (0.8, 1.2)), *settings, **more)


def _waves(seed: int, frequency: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Return features, targets and tasks of a thousand sinusoids, and those held out."""
    rng = np.random.default_rng(seed)
    amplitude, phase = rng.uniform(0.1, 5, (1000, 1)), rng.uniform(0, np.pi, (1000, 1))
    x = rng.uniform(-5, 5, (1000, 40))
    low, high = frequency
    pace = rng.uniform(low, high, (1000, 1)) if high > low else 1.0
    y, task = amplitude * np.sin(pace * x - phase), np.repeat(np.arange(1000), 40)
    return x.reshape(-1, 1), y.ravel(), task, np.arange(900, 1000)


def real(name: str, least: int, count: int, shots: tuple[int, ...]) -> Callable[[int], Problem]:
    """Return a real set, with some tasks of so many rows held out."""

    def problem(seed: int) -> Problem:
        from _sets import load_set

        data, rng = load_set(name), np.random.default_rng(seed)
        order = rng.permutation(len(data.y))
        X, y, task = data.X[order], data.y[order], data.task[order]
        labels, sizes = np.unique(task, return_counts=True)
        held = rng.choice(labels[sizes >= least], count, replace=False)
        return Problem(X, y, task, held, shots, (32,), 400, 8, 5e-3, (3, 0.05))

    return problem


SHOTS = {"sinusoids": (5, 10), "frequencies": (5, 10), "school": (5, 20), "computer": (5, 10)}
PROBLEMS = {
    "sinusoids": sinusoids,
    "frequencies": frequencies,
    "school": real("school", 60, 20, SHOTS["school"]),
    "computer": real("computer", 20, 40, SHOTS["computer"]),
}


def models(p: Problem, seed: int) -> dict[str, Any]:
    """Return the models by name."""
    steps, rate = p.inner

    def meta(method: Any, adapt_steps: int | None = p.adapt_steps, **more: Any) -> MetaLearner:
        per_epoch = -(-(len(np.unique(p.task)) - len(p.held)) // p.tasks_per_step)
        return MetaLearner(
            MLP(p.widths), method, support=p.support, tasks_per_step=p.tasks_per_step,
            adapt_steps=adapt_steps, learning_rate=p.rate, validation=0.0,
            max_epochs=max(p.steps // per_epoch, 1), random_state=seed, **more,
        )  # fmt: skip

    batch = 20 * p.tasks_per_step
    epochs = max(p.steps // -(-int(p.old.sum()) // batch), 1)
    network = DeepMultiTaskRegressor(
        MLP(p.widths), batch_size=batch, max_epochs=epochs, early_stopping=False,
        learning_rate=p.rate, random_state=seed,
    )  # fmt: skip
    found = {
        "pooled network": network,
        REFERENCE: network,
        "MAML": meta(MAML(steps, rate)),
        "MAML, first order": meta(MAML(steps, rate, first_order=True)),
        "ANIL": meta(ANIL(steps, rate), None),
        "Reptile": meta(Reptile(5, rate), p.adapt_steps or 5),
        "MetaSGD": meta(MetaSGD(steps, rate), None),
        "MAML, UPGrad": meta(MAML(steps, rate), balancer=UPGrad()),
        "MAML, L2 on layers": meta(MAML(steps, rate), penalties={"*": L2(1e-3)}),
        "learned prior": BayesianMultiTaskRegressor(),
    }
    if p.X.shape[1] > 1:
        found["MAML, L2 pull"] = meta(MAML(steps, rate, proximal=L2(0.5)))
    else:
        found["learned prior, splines"] = BayesianMultiTaskRegressor()
    return {name: found[name] for name in p.only or found}


def measured(p: Problem, name: str, seed: int) -> list[float]:
    """Return errors with each number of rows, seconds of fitting and adapting, and memory."""
    model, X = models(p, seed)[name], p.X
    if "splines" in name:
        X = make_pipeline(SplineTransformer(10)).fit_transform(X)
    before, began = memory(reset=True), time.process_time()
    labels = np.zeros(int(p.old.sum()), int) if "pooled" in name else p.task[p.old]
    model.fit(X[p.old], p.y[p.old], task=labels)
    fitting, most = time.process_time() - began, memory() - before
    errors, adapting = [], 0.0
    rows = [np.flatnonzero(p.task == t) for t in p.held.tolist()]
    test = np.concatenate([own[max(p.shots) :] for own in rows])
    for k in p.shots:
        few, began = np.concatenate([own[:k] for own in rows]), time.process_time()
        labels = np.zeros(len(test), int) if "pooled" in name else p.task[test]
        new = model if "pooled" in name else adapt(model, X[few], p.y[few], task=p.task[few])
        predicted = new.predict(X[test], task=labels)
        adapting = time.process_time() - began
        unit = 1.0 if p.in_units else p.y[p.old].var()
        errors.append(float(np.mean((predicted - p.y[test]) ** 2) / unit))
    return [*errors, fitting, adapting, most]


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every problem of which results are kept."""
    found = {}
    for name, own in kept.grouped().items():
        head, rows = ["", *(f"{k} rows" for k in SHOTS[name]), "s, fit", "s, adapt", "MB"], []
        runs = {method: np.array(list(seeds.values())) for method, seeds in own.items()}
        for method, lines in runs.items():
            errors = [differing(lines[:, j], runs[REFERENCE][:, j]) for j in (0, 1)]
            fit, took, most = lines[:, 2:].mean(axis=0)
            rows.append([method, *errors, f"{fit:.1f}", f"{took:.2f}", f"{most:.0f}"])
        found[name] = table(head, rows)
    return found


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    print(f"polytask {polytask.__version__}, {versions}, Python {platform.python_version()}")
    for name in given.only:
        kept = Kept(given.keep, name)
        problems = [PROBLEMS[name](seed) for seed in range(given.seeds)]
        for method in models(problems[0], 0):
            for seed, p in enumerate(problems):
                kept.get(method, seed, partial(apart, partial(measured, p, method, seed)))
        p = problems[0]
        print(f"\n## {name}\n\n{p.steps} steps of {p.tasks_per_step} tasks.", end=" ")
        print(f"{len(p.held)} tasks are held out.\n\n{tables(kept)[name]}")


if __name__ == "__main__":
    main()
