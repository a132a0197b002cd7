"""A training step on a graphics card: time, memory, and lower precision with batch norm.

Without a CUDA card the program says so in a sentence, and measures nothing. Times are wall time of
whole steps (forward, backward, AdamW), the card waited for at the end.

Run: python benchmarks/deep_gpu.py [--out FILE]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _nets import table, versions

from polytask.deep import MLP, DeepMultiTaskRegressor, Training
from polytask.deep.balancing import StatefulBalancer, UPGrad
from polytask.deep.network import NetworkPlan
from polytask.deep.regularise import Penalties
from polytask.deep.rows import RowBatch
from polytask.deep.sharing import Hard, MMoE
from polytask.deep.training.engine import TrainingProcesses, compile_layers
from polytask.deep.training.history import Tally
from polytask.deep.training.loop import _TrainingRun
from polytask.losses import Squared

NO_CARD = "There is no CUDA card here: nothing was measured. Run this program where there is one."
FEATURES, WIDTH, WARM, STEPS = 512, 2048, 10, 50


class Case(NamedTuple):
    """What a step is made of."""

    n_tasks: int
    rows: int
    mixed: bool = False
    norm: str | None = "batch"
    compiled: bool = False
    experts: bool = False
    balanced: bool = False

    @property
    def told(self) -> list[str]:
        """The cells of the table that describe it."""
        extra = [
            name
            for name, there in (
                ("compiled", self.compiled),
                ("MMoE(4)", self.experts),
                ("UPGrad", self.balanced),
            )
            if there
        ]
        precision = "bfloat16" if self.mixed else "float32"
        return [f"{self.rows:,}", precision, self.norm or "none", ", ".join(extra)]


CASES = [Case(50, rows, mixed) for rows in (256, 4096, 16_384) for mixed in (False, True)] + [
    Case(50, 4096, True, norm=None),
    Case(50, 4096, True, norm="layer"),
    Case(50, 4096, True, compiled=True),
    Case(50, 4096, True, experts=True),
    Case(50, 4096, True, balanced=True),
    Case(10_000, 4096, True),
]


def stepper(case: Case, device: torch.device) -> Callable[[], None]:
    """Return a function that takes one step."""
    torch.manual_seed(0)
    trunk = MLP((WIDTH, WIDTH, WIDTH), norm=case.norm)
    sharing = MMoE(4) if case.experts else Hard()
    losses, widths = (Squared(),) * case.n_tasks, (1,) * case.n_tasks
    network = NetworkPlan(trunk, sharing, FEATURES, losses, widths, "float32").build(device)
    if case.compiled:
        compile_layers(network)
    shape = (case.rows, case.n_tasks)
    batch = RowBatch(
        torch.randn(case.rows, FEATURES, device=device),
        torch.randn(shape, device=device),
        torch.ones(shape, device=device),
        None,
    )
    weights = torch.ones(case.n_tasks, device=device)
    run = _TrainingRun(
        network=network,
        batches=[batch],
        training=Training(),
        tasks=tuple(range(case.n_tasks)),
        weights=weights,
        held_out=None,
        everything=[batch],
        balance=StatefulBalancer(UPGrad(), case.n_tasks) if case.balanced else None,
        penalties=Penalties(network, {}),
        engine=TrainingProcesses(device, mixed=case.mixed),
    )
    network.train()
    tally = Tally(case.n_tasks)
    return lambda: run._step([batch], tally)


def measured(case: Case, device: torch.device) -> list[str]:
    """Return the cells of a row."""
    step = stepper(case, device)
    for _ in range(WARM):
        step()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize(device)
    took = 1e3 * (time.perf_counter() - began) / STEPS
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    return [*case.told, f"{took:.2f}", f"{peak:.2f}"]


def accuracies(device: str) -> dict[str, list[str]]:
    """Return test R2 of networks with each norm, in both precisions: they should agree."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((24_000, 40))
    hidden = np.tanh(X @ rng.standard_normal((40, 12)) / 4.0)
    Y = hidden @ rng.standard_normal((12, 8)) + 0.5 * rng.standard_normal((24_000, 8))
    found = {}
    for norm in (None, "batch", "layer"):
        cells = []
        for mixed in (None, "bf16"):
            model = DeepMultiTaskRegressor(
                MLP((256, 256), norm=norm),
                mixed_precision=mixed,
                max_epochs=15,
                patience=None,
                device=device,
                random_state=0,
            )
            cells.append(f"{model.fit(X[:4000], Y[:4000]).score(X[4000:], Y[4000:]):.4f}")
        found[norm or "none"] = cells
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, or that there is no card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(NO_CARD)
        return
    device = torch.device("cuda")
    head = ["tasks", "rows", "precision", "norm", "with", "step, ms", "peak memory, GiB"]
    lines = [table(head, {})]
    for case in CASES:
        cells = measured(case, device)
        lines.append("| " + " | ".join([f"{case.n_tasks:,}", *cells]) + " |")
        print(lines[-1], flush=True)
    card = torch.cuda.get_device_name(device)
    text = "\n".join(
        [
            f"{card}; {versions().partition(';')[0]}. Trunk 3 x {WIDTH}, {FEATURES} features.\n",
            *lines,
            "\nTest R2 in both precisions:\n",
            table(["norm", "float32", "bfloat16"], accuracies("cuda")),
        ]
    )
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
