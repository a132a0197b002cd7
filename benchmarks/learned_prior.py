"""The learned prior beside what a user would tune: ``python benchmarks/learned_prior.py``.

75/25 splits within tasks, the same for every model, raw features, every other model tuned inside
the training part. R2 against the grand mean of the test rows; mean over targets in the targets
form. The last columns are the paired difference to the learned prior (auto), and how many of the
test rows lie inside its 90% intervals. ``--simulate`` adds wide simulated tasks, ``--scale`` the
time and memory on many tasks with the exponents of growth.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import sklearn
from _kept import Kept
from _sets import RealSet, load_set
from _tables import table
from real_data import single, splits, take

import polytask
from polytask import BayesianMultiTaskRegressor, MultiTaskRegressorCV, Pooled, SingleTask
from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Scalar
from polytask.penalties import L2, toward_mean

SETS = (
    "school",
    "computer",
    "exam65",
    "radon",
    "sarcos_sub",
    "mtr_enb",
    "mtr_scpf",
    "mtr_wq",
    "mtr_rf1",
    "mtr_atp1d",
)
Make = Callable[[], Any]
AUTO = "learned prior, auto"


def models(wide: bool) -> dict[str, Make]:
    """Return the models by name; wide sets leave out the structures of many parameters."""
    learner = single(False, False)
    near_mean = [toward_mean(1.0) + L2(share) for share in (1e-3, 0.1)]
    structures = [NoVariation(), Scalar(), Diagonal()]
    structures += [] if wide else [LowRank(1), Full()]
    rows: dict[str, Make] = {
        "separate": lambda: SingleTask(learner),
        "pooled": lambda: Pooled(learner, "none"),
        "pooled + intercepts": lambda: Pooled(learner, "intercept"),
        "pooled + category": lambda: Pooled(learner, "category"),
        "toward_mean, tuned": lambda: MultiTaskRegressorCV(near_mean),
    }
    for structure in structures:
        rows[f"learned prior, {structure!r}"] = _with(structure)
    return rows | {AUTO: BayesianMultiTaskRegressor}


def _with(structure: Any) -> Make:
    return lambda: BayesianMultiTaskRegressor(structure)


def r_squared(y: np.ndarray, predicted: np.ndarray) -> float:
    """R2 against the grand mean, mean over targets."""
    return float(np.mean(1 - np.mean((y - predicted) ** 2, axis=0) / np.var(y, axis=0)))


def coverage(model: Any, X: Any, y: np.ndarray, task: Any) -> float:
    """Share of targets inside the 90% intervals of a learned prior; NaN for other models."""
    if not isinstance(model, BayesianMultiTaskRegressor):
        return float("nan")
    lower, upper = model.predict_interval(X, task=task)
    return float(np.mean((np.asarray(lower) <= y) & (y <= np.asarray(upper))))


def run(name: str, count: int, only: str, keep: str | None) -> None:
    """Print the table of one set."""
    data = load_set(name)
    pairs, kept = splits(data, count), Kept(keep, name)
    n, d = data.X.shape
    for label, make in models(d > 100).items():
        if only in label:
            for k, pair in enumerate(pairs):
                kept.get(label, k, partial(measure, make, data, *pair))
    print(f"\n## {name}: {n} rows, {d} features, {len(pairs)} splits\n\n{tables(kept)[name]}")
    sys.stdout.flush()


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every set of which results are kept."""
    head = ["model", "R2", "auto less it (sd of the mean)", "seconds per fit", "inside 90%"]
    found = {}
    for name, own in kept.grouped().items():
        lines = []
        for label, runs in own.items():
            values, seconds, inside = np.array([*runs.values()]).T
            cells = [label, f"{values.mean():.4f}", "", f"{seconds.mean():.2f}"]
            if AUTO in own:
                gain = np.array([own[AUTO][k][0] for k in runs]) - values
                error = np.std(gain, ddof=1) / np.sqrt(len(gain))
                cells[2] = f"{gain.mean():+.4f} ({error:.4f})"
            lines.append([*cells, "" if np.isnan(inside).all() else f"{inside.mean():.3f}"])
        found[name] = table(head, lines)
    return found


def measure(
    make: Make, data: RealSet, train: np.ndarray, test: np.ndarray
) -> tuple[float, float, float]:
    """Return R2 and coverage on the test rows, and CPU seconds of the fit."""
    task = None if data.task is None else data.task[train]
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make().fit(take(data.X, train), data.y[train], task=task)
    seconds = time.process_time() - started
    X, y = take(data.X, test), data.y[test]
    at = None if data.task is None else data.task[test]
    return r_squared(y, np.asarray(model.predict(X, task=at))), seconds, coverage(model, X, y, at)


def simulate(count: int, deviations: Sequence[float]) -> None:
    """Print the error of wide simulated tasks against tuned toward_mean."""
    print("\n## 48 tasks of 20 to 60 rows, 124 features, small isotropic Omega\n")
    print("| sd of the deviations | toward_mean, tuned | learned prior, auto | error ratio |")
    print("|---|---|---|---|")
    for deviation in deviations:
        errors = np.array([_wide(seed, deviation) for seed in range(count)])
        tuned, auto = errors.mean(axis=0)
        print(f"| {deviation} | {tuned:.4f} | {auto:.4f} | {auto / tuned:.4f} |")
        sys.stdout.flush()


def _wide(seed: int, deviation: float) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    T, d = 48, 124
    mean = rng.standard_normal(d)
    W = mean / np.linalg.norm(mean) + deviation * rng.standard_normal((T, d))
    level = 0.3 * rng.standard_normal(T)
    errors = []
    rows = np.repeat(np.arange(T), rng.integers(20, 61, T))
    later = np.repeat(np.arange(T), 100)
    X, Z = rng.standard_normal((len(rows), d)), rng.standard_normal((len(later), d))
    y = np.sum(X * W[rows], axis=1) + level[rows] + rng.standard_normal(len(rows))
    truth = np.sum(Z * W[later], axis=1) + level[later] + rng.standard_normal(len(later))
    near_mean = [toward_mean(1.0) + L2(share) for share in (1e-3, 0.1)]
    for model in (MultiTaskRegressorCV(near_mean), BayesianMultiTaskRegressor()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = model.fit(X, y, task=rows).predict(Z, task=later)
        errors.append(float(np.mean((truth - predicted) ** 2)))
    return errors[0], errors[1]


def scale() -> None:
    """Print time and memory on many tasks, and the exponents of growth."""
    print("\n## Time on simulated tasks of 50 rows, half of the features vary\n")
    print("| tasks | features | CPU seconds | evaluations on all tasks | peak over data |")
    print("|---|---|---|---|---|")
    taken = {}
    for T, d in ((1250, 30), (2500, 30), (5000, 30), (10000, 30), (2500, 15), (2500, 60)):
        seconds, evaluations, peak = _timed(T, d)
        taken[T, d] = seconds
        print(f"| {T} | {d} | {seconds:.1f} | {evaluations} | {peak:.1f} |")
        sys.stdout.flush()
    in_tasks = np.log(taken[10000, 30] / taken[2500, 30]) / np.log(4)
    in_features = np.log(taken[2500, 60] / taken[2500, 15]) / np.log(4)
    print(f"\nGrowth: T to the power {in_tasks:.2f}, d to the power {in_features:.2f}.")


def _timed(T: int, d: int) -> tuple[float, int, float]:
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(T), 50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    X = np.empty((len(task), d))
    for start in range(0, len(X), 20_000):
        X[start : start + 20_000] = rng.standard_normal((len(X[start : start + 20_000]), d))
    W = rng.standard_normal(d) + 0.3 * rng.standard_normal((T, d)) * (np.arange(d) % 2)
    y = np.einsum("ij,ij->i", X.reshape(T * 50, d), W[task]) + rng.standard_normal(len(task))
    started = time.process_time()
    model = BayesianMultiTaskRegressor().fit(X, y, task=task)
    seconds = time.process_time() - started
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return seconds, model.n_iter_, peak / (X.nbytes + y.nbytes)


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--only", default="", help="part of the names of the models to fit")
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument(
        "--deviations", type=float, nargs="+", default=[0.02, 0.05, 0.1], help="of --simulate"
    )
    parser.add_argument("--scale", action="store_true")
    chosen = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    for name in chosen.sets:
        run(name, chosen.splits, chosen.only, chosen.keep)
    if chosen.simulate:
        simulate(chosen.splits, chosen.deviations)
    if chosen.scale:
        scale()


if __name__ == "__main__":
    main()
