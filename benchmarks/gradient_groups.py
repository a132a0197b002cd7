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
import platform
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

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


def timed(batch_size: int, seed: int, record: Recording | None) -> tuple[object, float]:
    """Return the net and the processor's seconds of its training."""
    began = time.process_time()
    return fitted(batch_size, seed, record), time.process_time() - began


def parts(matrix: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of the diagonal, within groups, and between them."""
    same = np.arange(T)[:, None] // 3 == np.arange(T)[None, :] // 3
    own = np.eye(T, dtype=bool)
    return matrix[own].mean(), matrix[same & ~own].mean(), matrix[~same].mean()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5)
    draws = parser.parse_args().draws
    warnings.simplefilter("ignore")
    print(f"`python {' '.join(['benchmarks/gradient_groups.py', *sys.argv[1:]])}`, ", end="")
    print(f"polytask {polytask.__version__}, torch {torch.__version__}, ", end="")
    print(f"Python {platform.python_version()}, one thread\n")
    print("| recorded | batch | every | itself | within | across | similarity within ", end="")
    print("| across | planted groups found | time |\n" + "|---" * 10 + "|")
    for batch_size, every in CASES:
        plain = sum(timed(batch_size, seed, None)[1] for seed in range(draws))
        for name, make in KINDS.items():
            found = [timed(batch_size, seed, make(every)) for seed in range(draws)]
            relations = [model.history_.relations[0] for model, _ in found]
            raw = np.mean([parts(one.matrix) for one in relations], axis=0)
            alike = np.mean([parts(one.similarity) for one in relations], axis=0)
            right = [
                set(map(frozenset, relatedness(model).groups)) == GROUPS for model, _ in found
            ]
            ratio = sum(seconds for _, seconds in found) / plain
            print(f"| {name} | {batch_size} | {every} | {raw[0]:.4f} | {raw[1]:.4f} ", end="")
            print(f"| {raw[2]:.4f} | {alike[1]:.2f} | {alike[2]:.2f} ", end="")
            print(f"| {sum(right)} of {draws} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
