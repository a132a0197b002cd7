"""Learned priors of several groupings: ``python benchmarks/groupings.py``.

Simulated rows of two crossed groupings: CPU seconds and memory, the standard deviations that are
found beside those of the simulation, how many of further rows lie inside their 90% intervals, and
how often the evidence finds the groupings that have slopes. With ``--peer`` the times of
statsmodels' ``MixedLM`` with variance components on small sets. With ``--auto`` what an automatic
choice uses, and its R2 on further rows. With ``--labels`` times of classes and counts, and the
standard deviations found with few and many rows for each level.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import scipy
from _kept import Kept
from _tables import table

import polytask
from polytask import (
    AutoMultiTaskRegressor,
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
)
from polytask.bayes import NoVariation

SCALES = [
    (1_000, (200, 50)),
    (10_000, (2_000, 500)),
    (100_000, (20_000, 1_000)),
    (100_000, (20_000, 2_500)),
    (100_000, (20_000, 5_000)),
    (100_000, (20_000, 10_000)),
    (1_000_000, (200_000, 50_000)),
]
SLOPES = [
    (10_000, (2_000, 500)),
    (100_000, (20_000, 1_000)),
    (100_000, (20_000, 5_000)),
    (200_000, (40_000, 10_000)),
]
LABELS = [
    (1_000, (200, 50), "none"),
    (20_000, (2_000, 500), "none"),
    (100_000, (20_000, 1_000), "none"),
    (20_000, (2_000, 500), "auto"),
]


_SIZES = ["CPU s", "evaluations", "MB", "found"]
_LARGE = ["rows", "levels", "effects beside the first", *_SIZES]
HEADS = {
    "intercepts": _LARGE,
    "slopes": _LARGE,
    "recovered": ["simulation", "mean found (standard error)", "rows inside 90%",
                  "unseen levels inside", "evidence is right"],
    "labels": ["labels", "rows", "levels", "structure", *_SIZES],
    "few rows": ["labels", "rows for each of 200 levels", "mean found (standard error)",
                 "counts inside 90%"],
    "auto": ["rows", "seed", "R2 of the choice", "of all groupings", "of the first", "CPU s",
             "used"],
    "peer": ["rows", "levels", "statsmodels CPU s", "polytask CPU s", "largest difference"],
}  # fmt: skip


@dataclass(frozen=True)
class Simulated:
    """Rows of two crossed groupings. Shapes: spreads (2, 1 + slopes)."""

    X: np.ndarray
    task: np.ndarray
    y: np.ndarray

    @classmethod
    def of(
        cls,
        n: int,
        levels: tuple[int, int],
        spreads: np.ndarray,
        seed: int,
        noise: float = 1.0,
    ) -> Simulated:
        """Draw rows of two features, and noise of some standard deviation."""
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n, 2))
        task = np.column_stack([rng.integers(0, size, n) for size in levels])
        y = 1.0 + X @ [1.0, -0.5] + noise * rng.standard_normal(n)
        Z = np.column_stack([np.ones(n), X])[:, : spreads.shape[1]]
        for own, size, spread in zip(task.T, levels, spreads, strict=True):
            effects = spread * rng.standard_normal((size, len(spread)))
            y += np.sum(Z * effects[own], axis=1)
        return cls(X, task, y)


INTERCEPTS = np.array([[0.8], [0.5]])
SPREADS = {"intercepts": INTERCEPTS, "slopes": np.array([[0.8, 0.4, 0.4], [0.5, 0.2, 0.2]])}
CASES = {
    "intercepts alone": np.array([[0.8, 0.0, 0.0], [0.5, 0.0, 0.0]]),
    "slopes in the first": np.array([[0.8, 0.4, 0.4], [0.5, 0.0, 0.0]]),
    "slopes in the second": np.array([[0.8, 0.0, 0.0], [0.5, 0.4, 0.4]]),
    "slopes in both": np.array([[0.8, 0.4, 0.4], [0.5, 0.3, 0.3]]),
}
FEW = np.array([[0.8], [0.6]])


def apart(work: Callable[..., tuple], *given: object) -> tuple:
    """Return what a process of its own finds, and its largest memory in MB."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measured, (work, given))


def _measured(work: Callable[..., tuple], given: tuple) -> tuple:
    found = work(*given)
    return (*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def fitted(n: int, levels: tuple[int, int], slopes: bool) -> tuple:
    """Return CPU seconds, evaluations, standard deviations found, and whether it converged."""
    spreads = SPREADS["slopes" if slopes else "intercepts"]
    data = Simulated.of(n, levels, spreads, seed=0)
    started = time.process_time()
    model = BayesianMultiTaskRegressor(
        "diagonal" if slopes else "none", standardize=False, scale_targets=None
    )
    model.fit(data.X, data.y, task=data.task)
    seconds = time.process_time() - started
    priors = model.prior_.values()
    deviations = [np.sqrt(np.diagonal(prior.covariance)).tolist() for prior in priors]
    return seconds, model.solution_.n_iter, deviations, model.solution_.status.ok


def shown(deviations: np.ndarray | list, ok: bool = True) -> str:
    told = "; ".join(", ".join(f"{value:.2f}" for value in own) for own in deviations)
    return told if ok else f"{told} (not converged)"


def means(true: np.ndarray, found: np.ndarray) -> str:
    """Return true standard deviations of intercepts, means of those found, standard errors."""
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(len(found))
    lines = zip(true[:, 0], mean, error, strict=True)
    return ", ".join(f"{t:.2f}: {m:.3f} ({e:.3f})" for t, m, e in lines)


def recovered(spreads: np.ndarray, seed: int) -> list:
    """Return deviations found, shares of rows inside, and whether the evidence is right."""
    data = Simulated.of(6_000, (200, 80), spreads, seed)
    known = (data.task[:, 0] >= 10) & (data.task[:, 1] >= 4)
    train = known & (np.random.default_rng(seed).random(len(known)) < 0.5)
    model = BayesianMultiTaskRegressor(standardize=False, scale_targets=None)
    model.fit(data.X[train], data.y[train], task=data.task[train])
    found = [float(np.sqrt(p.covariance[0, 0])) for p in model.prior_.values()]
    low, high = model.predict_interval(data.X[~train], task=data.task[~train])
    hit = (low <= data.y[~train]) & (data.y[~train] <= high)
    slopes = [not isinstance(s, NoVariation) for s in model.structure_.structures]
    inside = [float(hit[known[~train]].mean()), float(hit[~known[~train]].mean())]
    return [found, *inside, slopes == (spreads[:, 1] > 0).tolist()]


def peer(n: int, levels: tuple[int, int]) -> tuple:
    """Return CPU seconds of both, and the largest difference of a standard deviation."""
    from statsmodels.api import MixedLM

    data = Simulated.of(n, levels, INTERCEPTS, seed=0)
    table = pd.DataFrame(np.column_stack([data.X, data.y]), columns=["a", "b", "y"])
    table["u"], table["v"] = data.task.T
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MixedLM.from_formula(
            "y ~ a + b", groups=np.ones(n), re_formula="0", data=table,
            vc_formula={"u": "0 + C(u)", "v": "0 + C(v)"},
        ).fit()  # fmt: skip
    middle = time.process_time()
    ours = BayesianMultiTaskRegressor("none", standardize=False, scale_targets=None)
    ours.fit(data.X, data.y, task=data.task)
    own = [np.sqrt(prior.covariance[0, 0]) for prior in ours.prior_.values()]
    apart_by = float(np.abs(np.sqrt(theirs.vcomp) - own).max())
    return middle - started, time.process_time() - middle, apart_by


def automatic(n: int, seed: int) -> tuple:
    """Return R2 on further rows of a choice, the prior of all and that of one; names; seconds."""
    spreads = np.array([[1.0, 0.5], [1.0, 0.3]])
    data = Simulated.of(n + 4_000, (40, 30), spreads, seed)
    X, y, task = data.X[:n], data.y[:n], data.task[:n]
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen = AutoMultiTaskRegressor().fit(X, y, task=task)
    seconds = time.process_time() - started
    every = BayesianMultiTaskRegressor().fit(X, y, task=task)
    # What models of one grouping read: the levels of the other as a category.
    table = pd.DataFrame(data.X).add_prefix("x").assign(first=data.task[:, 0])
    table["second"] = pd.Categorical(data.task[:, 1].astype(str))
    one = BayesianMultiTaskRegressor(task_column="first").fit(table[:n], y)
    rest = (data.X[n:], data.y[n:], data.task[n:])
    scores = chosen.score(*rest), every.score(*rest), one.score(table[n:], data.y[n:])
    used = dict(zip(chosen.members_, chosen.shared_weights_.tolist(), strict=True))
    return scores, used, seconds


def labels_of(data: Simulated, kind: str, seed: int) -> np.ndarray:
    """Draw classes or counts, of which the numbers are the linear predictors."""
    rng = np.random.default_rng(seed)
    if kind == "classes":
        return rng.random(len(data.y)) < 1.0 / (1.0 + np.exp(-data.y))
    return rng.poisson(np.exp(data.y))


def grouped(kind: str, structure: str) -> BayesianMultiTaskClassifier | BayesianMultiTaskModel:
    if kind == "classes":
        return BayesianMultiTaskClassifier(structure, standardize=False)
    return BayesianMultiTaskModel(structure, loss="poisson", standardize=False)


def labelled(n: int, levels: tuple[int, int], kind: str, structure: str) -> tuple:
    """Return CPU seconds, evaluations and standard deviations of the intercepts."""
    data = Simulated.of(n, levels, INTERCEPTS, seed=0, noise=0.0)
    y = labels_of(data, kind, 1)
    started = time.process_time()
    model = grouped(kind, structure).fit(data.X, y, task=data.task)
    seconds = time.process_time() - started
    found = [np.sqrt(prior.covariance[:1, 0]).tolist() for prior in model.prior_.values()]
    return seconds, model.solution_.n_iter, found, model.solution_.status.ok


def few(kind: str, rows: int, seed: int) -> list:
    """Return deviations found with few rows of a level, and the share of counts inside."""
    data = Simulated.of(400 * rows, (200, 40), FEW, seed, noise=0.0)
    y, half = labels_of(data, kind, seed), 200 * rows
    model = grouped(kind, "none")
    model.fit(data.X[:half], y[:half], task=data.task[:half])
    found, inside = [float(np.sqrt(p.covariance[0, 0])) for p in model.prior_.values()], None
    if kind == "counts":
        model.unseen_tasks = "shared"
        low, high = model.predict_interval(data.X[half:], task=data.task[half:])
        inside = float(((low <= y[half:]) & (y[half:] <= high)).mean())
    return [found, inside]


def run_times(kept: Kept) -> None:
    """Fit what is not kept of the large sets."""
    for kept.title, sizes in (("intercepts", SCALES), ("slopes", SLOPES)):
        for n, levels in sizes:
            work = partial(apart, fitted, n, levels, kept.title == "slopes")
            kept.get(f"{levels[0]:,} x {levels[1]:,}", n, work)


def run_labels(kept: Kept, repeats: int) -> None:
    """Fit what is not kept of classes and counts."""
    kinds = ("classes", "counts")
    kept.title = "labels"
    for (n, levels, structure), kind in product(LABELS, kinds):
        work = partial(apart, labelled, n, levels, kind, structure)
        kept.get(f"{kind}, {structure}, {levels[0]:,} x {levels[1]:,}", n, work)
    kept.title = "few rows"
    for kind, rows, seed in product(kinds, (2, 5, 10, 30), range(repeats)):
        kept.get(f"{kind}, {rows}", seed, partial(few, kind, rows, seed))


def run_others(kept: Kept, options: argparse.Namespace) -> None:
    """Fit what is not kept of the smaller sets."""
    if options.peer:
        kept.title = "peer"
        for n, levels in [(250, (25, 10)), (500, (50, 20)), (1_000, (100, 40))]:
            kept.get(f"{levels[0]} x {levels[1]}", n, partial(apart, peer, n, levels))
    elif options.auto:
        kept.title = "auto"
        for n, seed in [(600, 0), (600, 1), (1_200, 0), (2_400, 0)]:
            kept.get(f"{n:,}", seed, partial(apart, automatic, n, seed))
    else:
        kept.title = "recovered"
        for (name, spreads), seed in product(CASES.items(), range(options.repeats)):
            kept.get(name, seed, partial(recovered, spreads, seed))


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of kept results."""
    found: dict[str, list[list[object]]] = {title: [] for title in HEADS}
    for title, label, n in kept.values:
        value = kept.values[title, label, n]
        if title in SPREADS:
            seconds, n_iter, deviations, ok, memory = value
            beside = int(label.split(" x ")[1].replace(",", "")) * SPREADS[title].shape[1]
            cells = [f"{n:,}", label, f"{beside:,}", f"{seconds:.1f}", n_iter, f"{memory:,.0f}"]
            found[title].append([*cells, shown(deviations, ok)])
        elif title == "labels":
            seconds, n_iter, deviations, ok, memory = value
            kind, structure, levels = label.split(", ")
            cells = [kind, f"{n:,}", levels, structure, f"{seconds:.1f}", n_iter]
            found[title].append([*cells, f"{memory:,.0f}", shown(deviations, ok)])
        elif title == "peer":
            theirs, ours, apart_by, _ = value
            cells = [f"{n:,}", label, f"{theirs:.1f}", f"{ours:.2f}", f"{apart_by:.5f}"]
            found[title].append(cells)
        elif title == "auto":
            scores, used, seconds, _ = value
            shares = ", ".join(f"{name} {share:.2f}" for name, share in used.items())
            told = [f"{score:.4f}" for score in scores]
            found[title].append([label, n, *told, f"{seconds:.0f}", shares])
    for name, runs in kept.grouped().get("recovered", {}).items():
        deviations, known, unseen, right = zip(*runs.values(), strict=True)
        shares = [
            f"{np.mean(known):.1%}",
            f"{np.mean(unseen):.1%}",
            f"{sum(right)} of {len(right)}",
        ]
        found["recovered"].append([name, means(CASES[name], np.array(deviations)), *shares])
    for label, runs in kept.grouped().get("few rows", {}).items():
        deviations, inside = zip(*runs.values(), strict=True)
        kind, rows = label.split(", ")
        covered = f"{np.mean(inside):.1%}" if kind == "counts" else ""
        found["few rows"].append([kind, rows, means(FEW, np.array(deviations)), covered])
    return {title: table(HEADS[title], rows) for title, rows in found.items() if rows}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--auto", action="store_true")
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--recovered", action="store_true", help="leave the times out")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    options = parser.parse_args()
    print(f"polytask {polytask.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
          f"Python {platform.python_version()}, one thread")  # fmt: skip
    kept = Kept(options.keep)
    if options.labels:
        run_labels(kept, options.repeats)
    else:
        if not (options.peer or options.auto or options.recovered):
            run_times(kept)
        run_others(kept, options)
    for title, text in tables(kept).items():
        print(f"\n## {title}\n\n{text}")


if __name__ == "__main__":
    main()
