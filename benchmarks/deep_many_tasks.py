"""What a training step costs with many tasks: ``python benchmarks/deep_many_tasks.py``.

A trunk of three layers of 256 units on 64 features under hard sharing, linear heads, batches of
256 rows, the default optimiser; forward, backward and the step of the optimiser in CPU seconds of
one thread, mean over steps. "One task": every row belongs to one task (long form); "all tasks":
every row has a label for every task (targets form). Below, whole fits with the defaults: 50,000
rows of 10,000 tasks, and 2,000 rows with 10,000 targets, one epoch each, and predictions of all.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from _kept import Kept
from _tables import table

from polytask.deep import MLP, DeepMultiTaskRegressor, Training
from polytask.deep.network import NetworkPlan
from polytask.deep.regularise import Penalties
from polytask.deep.rows import RowBatch
from polytask.deep.sharing import Hard
from polytask.deep.training.engine import TrainingProcesses
from polytask.deep.training.history import Tally
from polytask.deep.training.loop import _TrainingRun
from polytask.losses import Loss, Multinomial, Squared

FEATURES, ROWS, STEPS = 64, 256, 15


def batch(n_tasks: int, one: bool, classes: int) -> RowBatch:
    """Return rows with random labels."""
    torch.manual_seed(1)
    shape = (ROWS,) if one else (ROWS, n_tasks)
    y = torch.randint(0, classes, shape).float() if classes > 1 else torch.randn(shape)
    task = torch.randint(0, n_tasks, (ROWS,)) if one else None
    return RowBatch(torch.randn(ROWS, FEATURES), y, torch.ones(shape), task)


def steps_ms(n_tasks: int, loss: Loss, classes: int) -> list[float]:
    """Return the CPU milliseconds of a step, of rows of one task each and of all tasks."""
    return [step_ms(n_tasks, one, loss, classes) for one in (True, False)]


def step_ms(n_tasks: int, one: bool, loss: Loss, classes: int) -> float:
    """Return the CPU milliseconds of a step."""
    torch.manual_seed(0)
    trunk = MLP((256, 256, 256))
    plan = NetworkPlan(trunk, Hard(), FEATURES, (loss,) * n_tasks, (classes,) * n_tasks, "float32")
    network, rows = plan.build(torch.device("cpu")), batch(n_tasks, one, classes)
    run = _TrainingRun(
        network=network,
        batches=[rows],
        training=Training(),
        tasks=tuple(range(n_tasks)),
        weights=torch.ones(n_tasks),
        held_out=None,
        everything=[rows],
        balance=None,
        penalties=Penalties(network, {}),
        engine=TrainingProcesses(torch.device("cpu")),
    )
    tally = Tally(n_tasks)
    for _ in range(3):
        run._step([rows], tally)
    return 1e3 * seconds(lambda: [run._step([rows], tally) for _ in range(STEPS)]) / STEPS


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a piece of work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def whole_fit(n_rows: int, targets: bool) -> list[float]:
    """Return seconds of fit and of predict for 10,000 tasks."""
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(n_rows, 10)), None
    y = X[:, :1] + rng.normal(size=(n_rows, 10_000)) if targets else X[:, 0]
    if not targets:
        task = np.arange(n_rows) % 10_000
        y = y + task % 7
    model = DeepMultiTaskRegressor(MLP((64,)), max_epochs=1, random_state=0)
    took = seconds(lambda: model.fit(X, y, task))
    return [took, seconds(lambda: model.predict(X, task))]


LOSSES: dict[str, tuple[Loss, int]] = {
    "squared": (Squared(), 1),
    "five classes": (Multinomial(), 5),
}
FITS = {
    "50,000 rows of 10,000 tasks": (50_000, False),
    "2,000 rows with 10,000 targets": (2000, True),
}


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of steps and of fits, of kept results."""
    known = kept.grouped()
    steps = [
        [name, f"{n_tasks:,}", *(f"{ms:.1f}" for ms in took)]
        for name, runs in known["steps"].items()
        for n_tasks, took in runs.items()
    ]
    fits = [
        [name, f"{took[0][0]:.1f}", f"{took[0][1]:.2f}"] for name, took in known["fits"].items()
    ]
    head = ["loss", "T", "one task, ms", "all tasks, ms"]
    return {"steps": table(head, steps), "fits": table(["data", "fit, s", "predict, s"], fits)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    kept = Kept(parser.parse_args().keep, "steps")
    torch.set_num_threads(1)
    print(f"Python {platform.python_version()}, torch {torch.__version__}, CPU, one thread.\n")
    for name, (loss, classes) in LOSSES.items():
        for n_tasks in (10, 1000, 10_000):
            kept.get(name, n_tasks, partial(steps_ms, n_tasks, loss, classes))
    kept.title = "fits"
    for name, (n_rows, targets) in FITS.items():
        kept.get(name, 0, partial(whole_fit, n_rows, targets))
    print("\n\n".join(tables(kept).values()))


if __name__ == "__main__":
    main()
