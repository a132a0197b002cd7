"""Learned priors of several groupings: ``python benchmarks/groupings.py``.

Simulated rows of two crossed groupings: CPU seconds and memory with their exponents of growth, the
standard deviations that are found beside those of the simulation, how many of further rows lie
inside their 90% intervals, and how often the evidence finds the groupings that have slopes. With
``--peer`` the times of statsmodels' ``MixedLM`` with variance components on small sets. With
``--auto`` what an automatic choice uses, and its R2 on further rows. With ``--labels`` times of
classes and counts, and the standard deviations found with few and many rows for each level.
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

import numpy as np
import pandas as pd
import scipy

import polytask
from polytask import (
    AutoMultiTaskRegressor,
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
)
from polytask.bayes import NoVariation
from polytask.bayes.crossed_left import LARGEST_DENSE

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
BOTH = np.array([[0.8, 0.4, 0.4], [0.5, 0.2, 0.2]])


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
    spreads = BOTH if slopes else INTERCEPTS
    data = Simulated.of(n, levels, spreads, seed=0)
    started = time.process_time()
    model = BayesianMultiTaskRegressor(
        "diagonal" if slopes else "none", standardize=False, scale_targets=None
    )
    model.fit(data.X, data.y, task=data.task)
    seconds = time.process_time() - started
    deviations = [np.sqrt(np.diagonal(prior.covariance)) for prior in model.prior_.values()]
    return seconds, model.solution_.n_iter, deviations, model.solution_.status.ok


def scale(sizes: list[tuple[int, tuple[int, int]]], slopes: bool) -> None:
    """Print times, memory and what was found."""
    spreads = BOTH if slopes else INTERCEPTS
    print(f"\nTrue standard deviations {shown(spreads)}.\n")
    print("| rows | levels | effects beside the first | CPU s | evaluations | MB | found |")
    print("|---|---|---|---|---|---|---|")
    points = []
    for n, levels in sizes:
        seconds, n_iter, deviations, ok, memory = apart(fitted, n, levels, slopes)
        beside = min(levels) * spreads.shape[1]
        points.append((beside, seconds))
        print(
            f"| {n:,} | {levels[0]:,} x {levels[1]:,} | {beside:,} | {seconds:.1f} | {n_iter} | "
            f"{memory:,.0f} | {shown(deviations)}{'' if ok else ' (not converged)'} |",
            flush=True,
        )
    both = [
        [p for p in points if (p[0] <= LARGEST_DENSE) == dense][-2:] for dense in (True, False)
    ]
    for told, pair in zip(("dense", "conjugate gradients"), both, strict=True):
        if len(pair) == 2:
            (a, s), (b, t) = pair
            growth = np.log(t / s) / np.log(b / a)
            print(f"\n{told}: exponent {growth:.1f} between {a:,} and {b:,} effects.")


def shown(deviations: np.ndarray | list) -> str:
    return "; ".join(", ".join(f"{value:.2f}" for value in own) for own in deviations)


def recovered(repeats: int) -> None:
    """Print variances, coverage and choices over repeated simulations."""
    print("\n| simulation | mean found (standard error) | rows inside 90% | unseen levels inside "
          "| evidence is right |\n|---|---|---|---|---|")  # fmt: skip
    cases = {
        "intercepts alone": np.array([[0.8, 0.0, 0.0], [0.5, 0.0, 0.0]]),
        "slopes in the first": np.array([[0.8, 0.4, 0.4], [0.5, 0.0, 0.0]]),
        "slopes in the second": np.array([[0.8, 0.0, 0.0], [0.5, 0.4, 0.4]]),
        "slopes in both": np.array([[0.8, 0.4, 0.4], [0.5, 0.3, 0.3]]),
    }
    for name, spreads in cases.items():
        found, inside, strange, right = [], [], [], []
        for seed in range(repeats):
            data = Simulated.of(6_000, (200, 80), spreads, seed)
            known = (data.task[:, 0] >= 10) & (data.task[:, 1] >= 4)
            train = known & (np.random.default_rng(seed).random(len(known)) < 0.5)
            model = BayesianMultiTaskRegressor(standardize=False, scale_targets=None)
            model.fit(data.X[train], data.y[train], task=data.task[train])
            found.append([np.sqrt(p.covariance[0, 0]) for p in model.prior_.values()])
            low, high = model.predict_interval(data.X[~train], task=data.task[~train])
            hit = (low <= data.y[~train]) & (data.y[~train] <= high)
            inside.append(hit[known[~train]].mean())
            strange.append(hit[~known[~train]].mean())
            slopes = [not isinstance(s, NoVariation) for s in model.structure_.structures]
            right.append(slopes == (spreads[:, 1] > 0).tolist())
        mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(repeats)
        told = ", ".join(
            f"{t:.2f}: {m:.3f} ({e:.3f})"
            for t, m, e in zip(spreads[:, 0], mean, error, strict=True)
        )
        print(f"| {name} | {told} | {np.mean(inside):.1%} | {np.mean(strange):.1%} | "
              f"{sum(right)} of {repeats} |", flush=True)  # fmt: skip


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
    apart_by = np.abs(np.sqrt(theirs.vcomp) - own).max()
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
    found = [np.sqrt(prior.covariance[:1, 0]) for prior in model.prior_.values()]
    return seconds, model.solution_.n_iter, found, model.solution_.status.ok


def labels(repeats: int) -> None:
    """Print times of classes and counts, and what is found with few rows for each level."""
    print(f"\nTrue standard deviations {shown(INTERCEPTS)}.\n")
    print("| labels | rows | levels | structure | CPU s | evaluations | MB | found |")
    print("|---|---|---|---|---|---|---|---|")
    for n, levels, structure in LABELS:
        for kind in ("classes", "counts"):
            seconds, n_iter, found, ok, memory = apart(labelled, n, levels, kind, structure)
            told = f"{shown(found)}{'' if ok else ' (not converged)'}"
            print(
                f"| {kind} | {n:,} | {levels[0]:,} x {levels[1]:,} | {structure} | "
                f"{seconds:.1f} | {n_iter} | {memory:,.0f} | {told} |",
                flush=True,
            )
    print("\n| labels | rows for each of 200 levels | mean found (standard error) "
          "| counts inside 90% |\n|---|---|---|---|")  # fmt: skip
    spreads = np.array([[0.8], [0.6]])
    for kind in ("classes", "counts"):
        for rows in (2, 5, 10, 30):
            found, inside = [], []
            for seed in range(repeats):
                data = Simulated.of(400 * rows, (200, 40), spreads, seed, noise=0.0)
                y, half = labels_of(data, kind, seed), 200 * rows
                model = grouped(kind, "none")
                model.fit(data.X[:half], y[:half], task=data.task[:half])
                found.append([np.sqrt(p.covariance[0, 0]) for p in model.prior_.values()])
                if kind == "counts":
                    model.unseen_tasks = "shared"
                    low, high = model.predict_interval(data.X[half:], task=data.task[half:])
                    inside.append(((low <= y[half:]) & (y[half:] <= high)).mean())
            mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / repeats**0.5
            told = ", ".join(
                f"{t:.2f}: {m:.3f} ({e:.3f})"
                for t, m, e in zip(spreads[:, 0], mean, error, strict=True)
            )
            covered = f"{np.mean(inside):.1%}" if inside else ""
            print(f"| {kind} | {rows} | {told} | {covered} |", flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--auto", action="store_true")
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--recovered", action="store_true", help="leave the times out")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    print(f"polytask {polytask.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
          f"Python {platform.python_version()}, one thread")  # fmt: skip
    if options.peer:
        print("\n| rows | levels | statsmodels CPU s | polytask CPU s | largest difference |")
        print("|---|---|---|---|---|")
        for n, levels in [(250, (25, 10)), (500, (50, 20)), (1_000, (100, 40))]:
            theirs, ours, apart_by, _ = apart(peer, n, levels)
            print(f"| {n:,} | {levels[0]} x {levels[1]} | {theirs:.1f} | {ours:.2f} | "
                  f"{apart_by:.5f} |", flush=True)  # fmt: skip
        return
    if options.labels:
        labels(options.repeats)
        return
    if options.auto:
        print(
            "\n| rows | seed | R2 of the choice | of all groupings | of the first | CPU s | used |"
        )
        print("|---|---|---|---|---|---|---|")
        for n, seed in [(600, 0), (600, 1), (1_200, 0), (2_400, 0)]:
            scores, used, seconds, _ = apart(automatic, n, seed)
            shares = ", ".join(f"{name} {share:.2f}" for name, share in used.items())
            told = " | ".join(f"{score:.4f}" for score in scores)
            print(f"| {n:,} | {seed} | {told} | {seconds:.0f} | {shares} |", flush=True)
        return
    if not options.recovered:
        scale(SCALES, slopes=False)
        scale(SLOPES, slopes=True)
    recovered(options.repeats)


if __name__ == "__main__":
    main()
