"""How far from the best strength do criteria and cross-validation end, and do they find supports?

Data are drawn from stated models, so that the error of every strength is known. The error is the
expected squared error of a new label, noise included (of classes the log loss on 20,000 new
rows); the oracle is the strength of the same path with the smallest one. A support is found if
the features that any task uses are exactly the planted ones.

Run: python benchmarks/criteria.py [--repeats 20] [--keep FILE]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy
import sklearn
from _kept import Kept
from _tables import table

import polytask
from polytask import (
    MultiTaskClassifier,
    MultiTaskClassifierCV,
    MultiTaskClassifierIC,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
)
from polytask.linear.problem import Settings
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean
from polytask.selection.rules import RULES, ScoredChoice

Array = np.ndarray
CRITERIA = ("aic", "aicc", "gcv", "bic", "ebic")
ALPHAS = 30
FIXED: dict[str, Any] = {"task_weight": "size", "intercept": "task", "standardize": False}
NEW_ROWS = 20_000


@dataclass(frozen=True)
class Story:
    """One simulation.

    Attributes
    ----------
    name : str
        For the table.
    rows, features, tasks : int
        Rows are those of each task.
    truth : callable
        ``rng -> W`` of shape (features, tasks), of about unit columns.
    penalty : Penalty
        What is searched.
    ratio : float
        Signal to noise: the variance of x . w over that of the noise, mean over the tasks; for
        classes the standard deviation of x . w.
    shared_rows : bool
        Whether tasks have their rows in common (targets form), or each its own.
    planted : bool
        Whether some features play no part.
    classes : bool
        Whether labels are classes.
    """

    name: str
    rows: int
    features: int
    tasks: int
    truth: Callable[[np.random.Generator], Array]
    penalty: Any
    ratio: float
    shared_rows: bool = True
    planted: bool = False
    classes: bool = False


def rows_of(features: int, kept: int, tasks: int) -> Callable[[np.random.Generator], Array]:
    """Return the same few features for all tasks."""

    def draw(rng: np.random.Generator) -> Array:
        W = np.zeros((features, tasks))
        where = rng.choice(features, kept, replace=False)
        W[where] = rng.choice([-1.0, 1.0], (kept, 1)) + 0.5 * rng.standard_normal((kept, tasks))
        return W

    return draw


def entries_of(features: int, kept: int, tasks: int) -> Callable[[np.random.Generator], Array]:
    """Return a few features for each task, most of them its own."""

    def draw(rng: np.random.Generator) -> Array:
        W = np.zeros((features, tasks))
        for t in range(tasks):
            where = rng.choice(features, kept, replace=False)
            W[where, t] = rng.choice([-1.0, 1.0], kept)
        return W

    return draw


def near_mean(features: int, tasks: int, apart: float) -> Callable[[np.random.Generator], Array]:
    """Return coefficients that differ from their mean by `apart` of its size."""

    def draw(rng: np.random.Generator) -> Array:
        mean = rng.standard_normal((features, 1))
        return mean + apart * rng.standard_normal((features, tasks))

    return draw


def low_rank(features: int, tasks: int, rank: int) -> Callable[[np.random.Generator], Array]:
    """Return coefficients in a few common directions."""

    def draw(rng: np.random.Generator) -> Array:
        left = rng.standard_normal((features, rank))
        return left @ rng.standard_normal((rank, tasks)) / np.sqrt(rank)

    return draw


def _stories() -> list[Story]:
    found = []
    for n, d, tasks, kept, ratio in (
        (50, 20, 5, 4, 2.0),
        (100, 20, 10, 4, 0.5),
        (100, 50, 5, 5, 1.0),
        (200, 100, 10, 8, 0.5),
        (60, 150, 8, 5, 2.0),
    ):
        name = f"same {kept} of {d} features"
        found.append(Story(name, n, d, tasks, rows_of(d, kept, tasks), L21(), ratio, planted=True))
    mean = toward_mean(1.0) + L2(0.01)
    return [
        *found,
        Story("own 3 of 30", 100, 30, 5, entries_of(30, 3, 5), L1(), 1.0),
        Story("near the mean", 20, 8, 40, near_mean(8, 40, 0.4), mean, 1.0, shared_rows=False),
        Story("unrelated", 40, 10, 20, near_mean(10, 20, 3.0), mean, 1.0, shared_rows=False),
        Story("rank 2", 80, 20, 15, low_rank(20, 15, 2), TraceNorm(), 1.0),
        Story(
            "classes near the mean", 60, 8, 15, near_mean(8, 15, 0.5), mean, 2.0,
            shared_rows=False, classes=True,
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """Data, and the truth behind them."""

    given: dict[str, Any]
    W: Array
    noise: float
    correlation: Array


def draw(story: Story, rng: np.random.Generator) -> Drawn:
    """Draw one data set; features have a correlation of .5 to the power of their distance."""
    d, tasks = story.features, story.tasks
    correlation = 0.5 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    half = np.linalg.cholesky(correlation)
    W = story.truth(rng)
    signal = float(np.mean(np.einsum("ij,ik,kj->j", W, correlation, W)))
    if story.classes:
        W = W * story.ratio / np.sqrt(signal)
    noise = 1.0 if story.classes else signal / story.ratio
    n = story.rows if story.shared_rows else story.rows * tasks
    X = rng.standard_normal((n, d)) @ half.T
    if story.shared_rows:
        Y = X @ W + np.sqrt(noise) * rng.standard_normal((n, tasks))
        return Drawn({"X": X, "y": Y}, W, noise, correlation)
    task = np.repeat(np.arange(tasks), story.rows)
    eta = np.einsum("ij,ji->i", X, W[:, task])
    if story.classes:
        y: Array = rng.random(n) < 1.0 / (1.0 + np.exp(-eta))
    else:
        y = eta + np.sqrt(noise) * rng.standard_normal(n)
    return Drawn({"X": X, "y": y, "task": task}, W, noise, correlation)


def error_of(model: Any, drawn: Drawn, story: Story, new: Array) -> float:
    """Return the expected error of a new label, mean over the tasks."""
    coef, level = model.coef_.T, model.intercept_
    if not story.classes:
        away = coef - drawn.W
        risk = np.einsum("ij,ik,kj->j", away, drawn.correlation, away) + level**2
        return float(risk.mean() + drawn.noise)
    truth, guess = new @ drawn.W, new @ coef + level
    share = 1.0 / (1.0 + np.exp(-truth))
    return float(np.mean(np.logaddexp(0.0, guess) - share * guess))


def run(
    story: Story, seed: int
) -> tuple[dict[str, float], dict[str, list[int]], dict[str, float]]:
    """Return excess errors, wrong and missed features, and CPU seconds of one draw."""
    rng = np.random.default_rng(seed)
    drawn = draw(story, rng)
    classes: tuple[Any, Any, Any] = (
        (MultiTaskClassifierIC, MultiTaskClassifierCV, MultiTaskClassifier)
        if story.classes
        else (MultiTaskRegressorIC, MultiTaskRegressorCV, MultiTaskRegressor)
    )
    by_criterion, by_folds, plain = classes
    fixed = dict(FIXED)
    if story.classes:
        fixed |= {"intercept": "toward_mean", "intercept_strength": 1.0}
    started = time.process_time()
    one = by_criterion(story.penalty, alphas=ALPHAS, **fixed).fit(**drawn.given)
    seconds = {"criteria": time.process_time() - started}
    started = time.process_time()
    cv = by_folds(story.penalty, alphas=one.alphas_, **fixed).fit(**drawn.given)
    seconds["cv"] = time.process_time() - started
    chosen = {name: int(np.nanargmin(one.criteria_[name])) for name in CRITERIA}
    chosen["cv"] = int(np.argmax(cv.scores_.mean(axis=1)))
    chosen["cv, pareto"] = _knee(cv)
    if story.penalty == toward_mean(1.0) + L2(0.01) and not story.classes:
        evidence = by_criterion(
            story.penalty, criterion="evidence", alphas=one.alphas_, **fixed
        ).fit(**drawn.given)
        chosen["evidence"] = _position(evidence, one)
    new = rng.standard_normal((NEW_ROWS, story.features)) if story.classes else np.zeros(0)
    new = new @ np.linalg.cholesky(drawn.correlation).T if story.classes else new
    scaled = {} if story.classes else {"scale_targets": "auto"}
    models = [
        plain(story.penalty.with_strength(a), **fixed, **scaled).fit(**drawn.given)
        for a in one.alphas_
    ]
    errors = np.array([error_of(model, drawn, story, new) for model in models])
    best = errors.min()
    excess = {name: float(errors[k] / best - 1.0) for name, k in chosen.items()}
    planted = drawn.W.any(axis=1)
    kept = {name: models[k].coef_.any(axis=0) for name, k in chosen.items()}
    found = {
        name: [int((own & ~planted).sum()), int((planted & ~own).sum())]
        for name, own in kept.items()
    }
    return excess, found, seconds


def _knee(cv: Any) -> int:
    """Return what rule="pareto" chooses among the candidates of a search."""
    fixed = Settings()
    candidates = [
        ScoredChoice(penalty, penalty.strength, fixed, cv.scores_[k], 0, k, cv.sizes_[k])
        for k, (penalty, _, _) in enumerate(cv.candidates_)
    ]
    return RULES["pareto"](candidates).position


def _position(model: Any, one: Any) -> int:
    return int(np.argmin(np.abs(np.log(one.alphas_ / model.alpha_))))


def _support(found: list[list[int]]) -> str:
    wrong, missed = np.array(found).T
    exact = 100 * np.mean((wrong == 0) & (missed == 0))
    return f"{exact:.0f} ({np.median(wrong):g}, {np.median(missed):g})"


def tables(kept: Kept) -> dict[str, str]:
    """Return the excess errors and the features found, of kept draws."""
    names = ["aic", "aicc", "gcv", "cv", "evidence", "bic", "ebic", "cv, pareto"]
    supported = [name for name in names if name != "evidence"]
    found, lines, supports = kept.grouped(), [], []
    pooled: dict[str, list[float]] = {name: [] for name in names}
    for story in _stories():
        results = list(found[f"{story.name}, {story.ratio:g}"]["draw"].values())
        cells = []
        for name in names:
            values = [excess[name] for excess, _, _ in results if name in excess]
            pooled[name] += values
            cells.append(f"{100 * np.median(values):.2f}" if values else "")
        cost = [np.mean([s[k] for _, _, s in results]) for k in ("criteria", "cv")]
        size, ratio = f"{story.rows} x {story.features} x {story.tasks}", f"{story.ratio:g}"
        lines.append([story.name, size, ratio, *cells, f"{cost[0]:.2f} : {cost[1]:.2f}"])
        if story.planted:
            shares = [_support([kinds[name] for _, kinds, _ in results]) for name in supported]
            supports.append([story.name, ratio, *shares])
    cells = [f"{100 * np.median(pooled[name]):.2f}" for name in names]
    lines.append(["**all**", "", "", *cells, ""])
    head = ["story", "rows x features x tasks", "signal : noise", *names, "CPU s"]
    return {
        "excess": table(head, lines),
        "features": table(["story", "signal : noise", *supported], supports),
    }


def main() -> None:
    """Run all stories and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--keep", help="keeps finished draws, for a later run")
    given = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}, ",
        end="",
    )
    print(f"scikit-learn {sklearn.__version__}\n")
    kept = Kept(given.keep)
    for story in _stories():
        kept.title = f"{story.name}, {story.ratio:g}"
        for seed in range(given.repeats):
            kept.get("draw", seed, partial(run, story, seed))
    print("\n\n".join(tables(kept).values()))


if __name__ == "__main__":
    main()
