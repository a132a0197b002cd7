"""New domains near and far, simulated: ``python benchmarks/adapt_relation.py``.

Tasks of 150 rows with two classes and eight features; the coefficients of tasks differ by
nothing, or by 0.3, and their levels by 0.4 (standard deviations of the log odds). A new domain
has coefficients like those of the tasks ("alike"), 0.4 times as large and changed by 0.3
("weaker"), drawn anew ("unlike"), or none ("none"), and a level like theirs, or 2.5. Mean log
loss on 1,000 further rows: the model as it was, a model of the new rows alone, and
``adapt(domain="new")``; and how far the last is from the better of the others.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import warnings
from collections.abc import Callable

import numpy as np
from adapt import alone_loss, log_loss

import polytask
from polytask import BayesianMultiTaskClassifier, adapt

ROWS, FEATURES, LEVEL, AWAY, TEST = 150, 8, 0.4, 2.5, 1000
Draw = Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
RELATIONS: dict[str, Draw] = {
    "alike": lambda rng, mean, spread: mean + spread * rng.standard_normal(FEATURES),
    "weaker": lambda rng, mean, spread: 0.4 * mean + 0.3 * rng.standard_normal(FEATURES),
    "unlike": lambda rng, mean, spread: 0.5 * rng.standard_normal(FEATURES),
    "none": lambda rng, mean, spread: np.zeros(FEATURES),
}


def drawn(rng: np.random.Generator, w: np.ndarray, level: float, n: int) -> tuple:
    """Return rows and classes of a task."""
    X = rng.standard_normal((n, FEATURES))
    return X, (X @ w + level + rng.logistic(size=n) > 0).astype(int)


def losses(n_tasks: int, spread: float, relation: str, away: bool, n: int, seed: int) -> list:
    """Return the log loss of the source, of the new rows alone, and of the adapted model."""
    rng = np.random.default_rng(1000 + seed)
    mean = 0.5 * rng.standard_normal(FEATURES)
    coef = mean + spread * rng.standard_normal((n_tasks, FEATURES))
    level = LEVEL * rng.standard_normal(n_tasks)
    parts = [drawn(rng, w, b, ROWS) for w, b in zip(coef, level, strict=True)]
    X, y = np.vstack([X for X, _ in parts]), np.concatenate([y for _, y in parts])
    model = BayesianMultiTaskClassifier().fit(X, y, task=np.repeat(np.arange(n_tasks), ROWS))
    w = RELATIONS[relation](rng, mean, spread)
    own = AWAY if away else LEVEL * rng.standard_normal()
    new, test = drawn(rng, w, own, n), drawn(rng, w, own, TEST)
    adapted = adapt(model, *new, task=-1, domain="new")
    return [log_loss(model, *test, -1), alone_loss(new, test, -1), log_loss(adapted, *test, -1)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=8)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"polytask {polytask.__version__}, numpy {np.__version__}, ", end="")
    print(f"Python {platform.python_version()}\n")
    print("| rows | tasks | spread | coefficients | level | source only | new rows only ", end="")
    print("| adapted | adapted - better |\n|---|---|---|---|---|---|---|---|---|")
    design = itertools.product((5, 20), ((3, 0.0), (8, 0.3)), RELATIONS, (False, True))
    for n, (tasks, spread), relation, away in design:
        found = np.array(
            [losses(tasks, spread, relation, away, n, seed) for seed in range(given.draws)]
        )
        mean = found.mean(axis=0)
        gap = found[:, 2] - found[:, int(np.argmin(mean[:2]))]
        error = gap.std(ddof=1) / np.sqrt(len(gap))
        cells = " | ".join(f"{value:.3f}" for value in mean)
        where = "2.5" if away else "alike"
        print(f"| {n} | {tasks} | {spread} | {relation} | {where} | {cells} ", end="")
        print(f"| {gap.mean():+.3f} ({error:.3f}) |", flush=True)


if __name__ == "__main__":
    main()
