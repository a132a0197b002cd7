"""What our training loop adds to a bare one of PyTorch: ``python benchmarks/deep_loop.py``.

The same network (two layers of 128 units, 20 features, 5 tasks, linear heads), batches, loss and
fused AdamW, once in twenty lines of PyTorch and once as `DeepMultiTaskRegressor`. "All tasks" is
the targets form, where every row has a label for every task; "one task" the long form, where every
row belongs to one. CPU microseconds of a step on one thread: the difference of a long fit and a
short one over their steps, so that what a fit costs once is left out; median over repeats.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import polytask
from polytask.deep import MLP, DeepMultiTaskRegressor

ROWS, FEATURES, TASKS, WIDTH = 1600, 20, 5, 128
SHORT, LONG, REPEATS = 4, 24, 5


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
    steps = (LONG - SHORT) * -(-ROWS // size)
    taken = []
    for _ in range(REPEATS):
        seconds = []
        for epochs in (SHORT, LONG):
            started = time.process_time()
            train(epochs, size, own)
            seconds.append(time.process_time() - started)
        taken.append((seconds[1] - seconds[0]) / steps * 1e6)
    return statistics.median(taken)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(
        f"`python benchmarks/deep_loop.py`, polytask {polytask.__version__}, "
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, one used"
    )
    print("\n| labels of a row | rows in a batch | bare loop, us | ours, us | ratio |")
    print("|---|---|---|---|---|")
    for own in (False, True):
        for size in (32, 256):
            plain, whole = step(bare, size, own), step(ours, size, own)
            told = "one task" if own else "all tasks"
            print(f"| {told} | {size} | {plain:.0f} | {whole:.0f} | {whole / plain:.2f} |")


if __name__ == "__main__":
    main()
