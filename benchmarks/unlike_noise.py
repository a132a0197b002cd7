"""Tasks of unlike noise: the square-root loss beside the squared one, on planted coefficients.

    python benchmarks/unlike_noise.py --draws 10

Eight targets of one design of 100 rows and 50 features, of which the first five matter in every
task; the noise of the tasks goes from 0.1 to 10, or is 1 in all of them. "theory" takes a strength
that knows n and d alone. Targets are not scaled and tasks have equal weights in both losses.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _kept import Kept
from _tables import table
from numpy.typing import NDArray
from scipy.stats import norm

from polytask import MultiTaskRegressor, MultiTaskRegressorCV
from polytask.exceptions import ConvergenceWarning
from polytask.penalties import L1, L21

Array = NDArray[np.float64]
ROWS, FEATURES, TASKS, USED = 100, 50, 8, 5
NOISES = {"0.1 to 10": np.geomspace(0.1, 10.0, TASKS), "1": np.ones(TASKS)}
THEORY = 1.1 * norm.ppf(1 - 0.05 / (2 * FEATURES)) / np.sqrt(ROWS)


def _searched(penalty: Any, loss: str) -> Callable[[], Any]:
    return lambda: MultiTaskRegressorCV(
        penalty,
        loss=loss,
        alphas=20,
        intercept="task",
        task_weight="equal",
        standardize=False,
        scale_targets=None,
    )


MODELS: dict[str, Callable[[], Any]] = {
    "squared, L21 searched": _searched(L21(), "squared"),
    "square root, L21 searched": _searched(L21(), "square_root"),
    "squared, L1 searched": _searched(L1(), "squared"),
    "square root, L1 searched": _searched(L1(), "square_root"),
    "square root, L1 of theory": lambda: MultiTaskRegressor(
        L1(THEORY), loss="square_root", intercept="task", task_weight="equal"
    ),
}


def planted(seed: int, noise: Array) -> tuple[Array, Array, Array]:
    """Return X, Y and the coefficients, of shape (n_tasks, n_features)."""
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((ROWS, FEATURES)), np.zeros((FEATURES, TASKS))
    W[:USED] = rng.standard_normal((USED, 1)) + 0.3 * rng.standard_normal((USED, TASKS))
    return X, X @ W + noise * rng.standard_normal((ROWS, TASKS)), W.T


def judged(make: Callable[[], Any], seed: int, noise: Array) -> list[float]:
    """Return errors in units of a task's noise and as they are, and the shares found."""
    X, Y, truth = planted(seed, noise)
    coef = make().fit(X, Y).coef_
    squares = np.sum((coef - truth) ** 2, axis=1)
    found = coef != 0
    relative = float(np.sqrt(np.mean(squares / noise**2)))
    plain = float(np.sqrt(np.mean(squares)))
    return [relative, plain, float(found[:, :USED].mean()), float(found[:, USED:].mean())]


def tables(kept: Kept) -> dict[str, str]:
    """Return a table per kind of noise, of kept results."""
    head = ["model", "error / noise", "error", "relevant found", "others found"]
    return {
        f"noise {name}": table(
            head,
            [
                [label, *(f"{mean:.3f}" for mean in np.mean(list(runs.values()), axis=0))]
                for label, runs in found.items()
            ],
        )
        for name, found in kept.grouped().items()
    }


def main() -> None:
    """Print one table per kind of noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=10, help="draws of the data")
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    given = parser.parse_args()
    # What a path cannot solve in its 200 steps is told by its score.
    warnings.simplefilter("ignore", ConvergenceWarning)
    kept = Kept(given.keep)
    for kept.title, noise in NOISES.items():
        for label, make in MODELS.items():
            for seed in range(given.draws):
                kept.get(label, seed, partial(judged, make, seed, noise))
    print("\n\n".join(tables(kept).values()))


if __name__ == "__main__":
    main()
