"""Planted groups of tasks from gradients in training: ``python benchmarks/gradient_groups.py``.

Six tasks, three of one function and three of another, 200 rows each with noise of half a unit,
every row of one task; a net of two hidden layers of 16, 40 epochs. For each kind of recording,
batch size and number of steps from one that is measured to the next: what is recorded of a task
with itself, of two tasks of one group, and of tasks of different groups; the similarity, which is
corrected for the noise of batches; in how many of the draws the suggested groups are the planted
ones; and the seconds of a fit over those without recording.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from _kept import Kept
from _tables import table

import polytask
from polytask import relatedness
from polytask.deep import MLP, DeepMultiTaskRegressor
from polytask.deep.recording import GradientSimilarity, Recording, TaskAffinity

T, ROWS = 6, 200
CASES = ((32, 1), (32, 5), (128, 1), (T * ROWS, 1))
KINDS: dict[str, Callable[[int], Recording]] = {
    "cosines": GradientSimilarity,
    "affinity": TaskAffinity,
}
HEAD = ["recorded", "batch", "every", "itself", "within", "across", "similarity within", "across",
        "planted groups found", "time"]  # fmt: skip
GROUPS = {frozenset(range(3)), frozenset(range(3, T))}


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, targets and tasks."""
    rng = np.random.default_rng(seed)
    X, task = rng.standard_normal((T * ROWS, 6)), np.arange(T * ROWS) % T
    one, other = np.tanh(2 * X[:, 0]) + X[:, 1], np.tanh(2 * X[:, 2]) - X[:, 3]
    return X, np.where(task < 3, one, other) + 0.5 * rng.standard_normal(T * ROWS), task


def fitted(batch_size: int, seed: int, record: Recording | None) -> DeepMultiTaskRegressor:
    """Return a net trained on one draw."""
    model = DeepMultiTaskRegressor(
        MLP((16, 16)),
        learning_rate=0.01,
        max_epochs=40,
        early_stopping=False,
        batch_size=batch_size,
        random_state=seed,
        record=record,
    )
    X, y, task = draw(seed)
    return model.fit(X, y, task)


def parts(matrix: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of the diagonal, within groups, and between them."""
    same = np.arange(T)[:, None] // 3 == np.arange(T)[None, :] // 3
    own = np.eye(T, dtype=bool)
    return matrix[own].mean(), matrix[same & ~own].mean(), matrix[~same].mean()


def measured(batch_size: int, seed: int, record: Recording | None) -> list[float]:
    """Return the processor's seconds of a training, and what it recorded, in the order of HEAD."""
    began = time.process_time()
    model = fitted(batch_size, seed, record)
    seconds = time.process_time() - began
    if record is None:
        return [seconds]
    one = model.history_.relations[0]
    right = set(map(frozenset, relatedness(model).groups)) == GROUPS
    return [seconds, *parts(one.matrix), *parts(one.similarity)[1:], float(right)]


def tables(kept: Kept) -> dict[str, str]:
    """Return the one table, of kept results."""
    found, rows = kept.grouped(), []
    for title, kinds in found.items():
        runs = {kind: np.array(list(own.values())) for kind, own in kinds.items()}
        plain = runs.pop("nothing")[:, 0].sum()
        for kind, own in runs.items():
            raw, alike = own[:, 1:4].mean(axis=0), own[:, 4:6].mean(axis=0)
            cells = [*(f"{one:.4f}" for one in raw), *(f"{one:.2f}" for one in alike)]
            right = f"{own[:, 6].sum():.0f} of {len(own)}"
            rows.append([kind, *title.split(), *cells, right, f"{own[:, 0].sum() / plain:.1f}"])
    return {"all": table(HEAD, rows)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"polytask {polytask.__version__}, torch {torch.__version__}\n")
    kept = Kept(given.keep)
    for size, every in CASES:
        kept.title = f"{size:,} {every}"
        for seed in range(given.draws):
            kept.get("nothing", seed, partial(measured, size, seed, None))
            for kind, make in KINDS.items():
                kept.get(kind, seed, partial(measured, size, seed, make(every)))
    print(tables(kept)["all"])


if __name__ == "__main__":
    main()
