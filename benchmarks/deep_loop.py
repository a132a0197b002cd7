"""What our training loop adds to a bare one of PyTorch.

Run: python benchmarks/deep_loop.py [--before SRC]

The same network (two layers of 128 units, 20 features, 5 tasks, linear heads), batches, loss and
fused AdamW, once in twenty lines of PyTorch and once as `DeepMultiTaskRegressor`. "All tasks" is
the targets form, where every row has a label for every task; "one task" the long form, where every
row belongs to one. CPU microseconds of a step on one thread: the difference of a long fit and a
short one over their steps, so that what a fit costs once is left out. Processes take turns, with
this version and with the one in the folder SRC; medians of their times and of their ratios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import polytask
from polytask.deep import MLP, DeepMultiTaskRegressor

ROWS, FEATURES, TASKS, WIDTH = 1600, 20, 5, 128
SHORT, LONG, REPEATS = 4, 24, 9
CASES = list(itertools.product((False, True), (32, 256)))


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, targets of all tasks, and one task for every row."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, FEATURES)).astype(np.float32)
    Y = np.tanh(X[:, :TASKS]) + 0.3 * X[:, TASKS : 2 * TASKS]
    return X, Y, rng.integers(0, TASKS, ROWS)


def bare(epochs: int, size: int, own: bool) -> None:
    """Train with nothing but PyTorch; `own`: every row has one task."""
    X, Y, task = data()
    x, y, t = torch.as_tensor(X), torch.as_tensor(Y), torch.as_tensor(task)
    net = nn.Sequential(
        nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, TASKS),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    for _ in range(epochs):
        for rows in torch.randperm(ROWS).split(size):
            optimizer.zero_grad(set_to_none=True)
            if own:
                loss = _of_own_task(net(x[rows]), y[rows], t[rows])
            else:
                loss = 0.5 * ((net(x[rows]) - y[rows]) ** 2).mean(0).sum()
            loss.backward()
            optimizer.step()


def _of_own_task(eta: Tensor, y: Tensor, task: Tensor) -> Tensor:
    """Return the sum over tasks of the mean loss of the rows of each."""
    at = task[:, None]
    losses = 0.5 * (eta.gather(1, at) - y.gather(1, at))[:, 0] ** 2
    counts = torch.bincount(task, minlength=TASKS).clamp(min=1)
    return (torch.zeros(TASKS).index_add(0, task, losses) / counts).sum()


def ours(epochs: int, size: int, own: bool) -> None:
    """Train the same with the estimator."""
    X, Y, task = data()
    model = DeepMultiTaskRegressor(
        MLP((WIDTH, WIDTH)),
        max_epochs=epochs,
        batch_size=size,
        early_stopping=False,
        scale_targets=None,
        random_state=0,
    )
    if own:
        model.fit(X, Y[np.arange(ROWS), task], task=task)
    else:
        model.fit(X, Y)


def step(train: Callable[[int, int, bool], None], size: int, own: bool) -> float:
    """Return the CPU microseconds of a step."""
    seconds = []
    for epochs in (SHORT, LONG):
        started = time.process_time()
        train(epochs, size, own)
        seconds.append(time.process_time() - started)
    return (seconds[1] - seconds[0]) / ((LONG - SHORT) * -(-ROWS // size)) * 1e6


def once() -> list[list[float]]:
    """Return the times of a bare step and of ours in each case."""
    torch.set_num_threads(1)
    for own in (False, True):
        bare(2, 32, own)
        ours(2, 32, own)
    return [[step(bare, size, own), step(ours, size, own)] for own, size in CASES]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="folder that holds another polytask")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(once()))
        return
    sources = [Path(polytask.__file__).parents[1], *([given.before] if given.before else [])]
    times = np.empty((REPEATS, len(sources), len(CASES), 2))
    for r, s in itertools.product(range(REPEATS), range(len(sources))):
        command = [sys.executable, __file__, "--once"]
        env = os.environ | {"PYTHONPATH": str(sources[s])}
        told = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        times[r, s] = json.loads(told.stdout)
    print(
        f"`python benchmarks/deep_loop.py`, polytask {polytask.__version__}, "
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, one used"
    )
    names = ["ours", "before"][: len(sources)]
    head = ["labels of a row", "rows in a batch", "bare loop, us"]
    head += [cell for name in names for cell in (f"{name}, us", "ratio")]
    print("\n| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for c, (own, size) in enumerate(CASES):
        plain, whole = times[:, :, c, 0], times[:, :, c, 1]
        cells = ["one task" if own else "all tasks", str(size), f"{np.median(plain):.0f}"]
        for s in range(len(sources)):
            ratio = np.median(whole[:, s] / plain[:, s])
            cells += [f"{np.median(whole[:, s]):.0f}", f"{ratio:.2f}"]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
