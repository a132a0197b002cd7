"""A new domain whose level is far off, simulated: ``python benchmarks/adapt_level.py``.

Tasks of 100 rows with two classes, six features, coefficients that differ by 0.2 and levels
that differ by 0.5 (standard deviations of the log odds). A new task has such a level too, or one
that is 3 away from it. Mean log loss on 1,500 further rows: the model as it was, a model of the
new rows alone, and adapted with the prior held (``domain=None``) and as a new domain
(``domain="new"``), which may also fall back.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import warnings
from typing import Any

import numpy as np
from adapt import alone_loss, log_loss

import polytask
from polytask import BayesianMultiTaskClassifier, MultiTaskClassifier, adapt
from polytask.penalties import L2, toward_mean

ROWS, FEATURES, SPREAD, LEVEL, AWAY = 100, 6, 0.2, 0.5, 3.0
MODELS = {
    "learned prior": lambda: BayesianMultiTaskClassifier(unseen_tasks="shared"),
    "near the mean": lambda: MultiTaskClassifier(
        toward_mean(0.05) + L2(0.005), unseen_tasks="shared"
    ),
}


def drawn(rng: np.random.Generator, w: np.ndarray, level: float, n: int) -> tuple[Any, Any]:
    """Return rows and classes of a task."""
    X = rng.standard_normal((n, len(w)))
    return X, X @ w + level + rng.logistic(size=n) > 0


def losses(make: Any, n_tasks: int, away: float, n: int, seed: int) -> list[float]:
    """Return the log loss of each way to predict a new task."""
    rng = np.random.default_rng(seed)
    mean = 0.7 * rng.standard_normal(FEATURES)
    coef = mean + SPREAD * rng.standard_normal((n_tasks + 1, FEATURES))
    level = LEVEL * rng.standard_normal(n_tasks + 1)
    level[-1] += away * rng.choice([-1.0, 1.0])
    parts = [drawn(rng, w, b, ROWS) for w, b in zip(coef[:-1], level[:-1], strict=True)]
    X, y = np.vstack([X for X, _ in parts]), np.concatenate([y for _, y in parts])
    model = make().fit(X, y, task=np.repeat(np.arange(n_tasks), ROWS))
    new, test = (drawn(rng, coef[-1], level[-1], size) for size in (n, 1500))
    found = [adapt(model, *new, task="new", domain=domain) for domain in (None, "new")]
    held, free = (log_loss(fitted, *test, "new") for fitted in found)
    return [log_loss(model, *test, "new"), alone_loss(new, test, "new"), held, free]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=10)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"polytask {polytask.__version__}, numpy {np.__version__}, ", end="")
    print(f"Python {platform.python_version()}\n")
    print("| model | tasks | level | rows | source only | new rows only | held | new domain |")
    print("|---|---|---|---|---|---|---|---|")
    design = itertools.product(MODELS, (3, 40), (0.0, AWAY), (5, 20))
    for name, n_tasks, away, n in design:
        found = [losses(MODELS[name], n_tasks, away, n, seed) for seed in range(given.draws)]
        cells = " | ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
        where = "3 away" if away else "alike"
        print(f"| {name} | {n_tasks} | {where} | {n} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
