"""Does a task that is missing from every second batch stop the others, and is it learned itself?

Three regressions share a trunk; the third has labels in every second batch only. Every balancer
trains the same network on the same batches, at the representation. `backward` drops the absent
task before it weighs the others; the last columns show what some methods do if the task is passed
on with a gradient of zero instead, as a loss over no rows has: the shortest vector, for one, is
then zero.

Run: python benchmarks/balancing_absent.py [--steps 400] [--out docs/results/balancing_absent.md]
"""

from __future__ import annotations

import argparse
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import polytask
from polytask.deep import balancing
from polytask.deep.balancing import StatefulBalancer, backward

ROWS, FEATURES, WIDTH, TASKS, RATE = 128, 8, 32, 3, 0.005
METHODS = (
    balancing.Equal(),
    balancing.Fixed([1.0, 1.0, 2.0]),
    balancing.GeometricMean(),
    balancing.RandomWeights(),
    balancing.STCH(),
    balancing.Uncertainty(),
    balancing.IMTLL(),
    balancing.DWA(period=20),
    balancing.FAMO(),
    balancing.GradNorm(),
    balancing.MGDA(),
    balancing.PCGrad(),
    balancing.CAGrad(),
    balancing.IMTLG(),
    balancing.Nash(),
    balancing.Aligned(),
    balancing.UPGrad(),
)
# Weightings of TorchJD that need no GPL solver.
PEERS = {"MGDA": "MGDA", "PCGrad": "PCGrad", "IMTLG": "IMTLG", "Aligned": "AlignedMTL"}


class Problem:
    """Three targets of one network, the same for every balancer."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.X = torch.randn(ROWS, FEATURES)
        self.Y = torch.tanh(self.X @ torch.randn(FEATURES, TASKS)) * torch.tensor([1.0, 2.0, 1.0])
        self.trunk = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU())
        self.heads = nn.Linear(WIDTH, TASKS)
        learned = [*self.trunk.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.Adam(learned, lr=RATE)

    def losses(self) -> tuple[Tensor, Tensor]:
        """Return the losses (3,) and the representation."""
        shared = self.trunk(self.X)
        return (self.heads(shared) - self.Y).square().mean(0) / 2, shared

    def dropped(self, balance: StatefulBalancer, absent: bool) -> None:
        """Take a step; the absent task is not there."""
        losses, shared = self.losses()
        present = torch.tensor([0, 1] if absent else [0, 1, 2])
        backward(losses[present], shared=shared, balancer=balance, present=present)

    def zeroed(self, balance: StatefulBalancer, absent: bool) -> None:
        """Take a step; the absent task is there with a loss and a gradient of zero."""
        losses, shared = self.losses()
        seen = losses * torch.tensor([1.0, 1.0, 0.0]) if absent else losses
        backward(seen, shared=shared, balancer=balance)


def left_over(balancer: Any, steps: int, zeroed: bool = False) -> tuple[list[float], int]:
    """Return losses over first losses, in per cent, and the steps that did not move the trunk."""
    problem, balance = Problem(), StatefulBalancer(balancer, TASKS)
    take = problem.zeroed if zeroed else problem.dropped
    first, still = problem.losses()[0].detach(), 0
    for step in range(steps):
        problem.optimizer.zero_grad()
        take(balance, absent=step % 2 == 0)
        moved = max(float(p.grad.abs().max()) for p in problem.trunk.parameters())
        still += moved < 1e-6
        problem.optimizer.step()
    return (100 * problem.losses()[0].detach() / first).tolist(), still


def peer_of(balancer: Any) -> Any:
    """Return the weighting of TorchJD of the same name, or None."""
    name = type(balancer).__name__
    if find_spec("torchjd") is None or name not in PEERS:
        return None
    import torchjd.aggregation

    return getattr(torchjd.aggregation, f"{PEERS[name]}Weighting")()


def row(balancer: Any, steps: int) -> list[str]:
    """Return the cells of a balancer."""
    after, still = left_over(balancer, steps)
    cells = [type(balancer).__name__, *(f"{value:.1f}" for value in after), str(still)]
    weighting = peer_of(balancer)
    if weighting is None:
        return cells + [""] * (TASKS + 1)
    after, still = left_over(balancing.TorchJD(weighting), steps, zeroed=True)
    return [*cells, *(f"{value:.1f}" for value in after), str(still)]


def summary(rows: list[list[str]], steps: int) -> str:
    """Say in a sentence what the rows show."""
    left = max(float(value) for cells in rows for value in cells[1 : TASKS + 1])
    still = {cells[0]: cells[-1] for cells in rows if cells[-1] not in ("", "0")}
    text = (
        f"In short: with every one of {len(rows)} balancers at most {left:.0f} per cent of the "
        "first loss of any task are left, also of the one that is missing."
    )
    for name, number in still.items():
        text += f" Passed on as zeros, it makes {name} stand still in {number} of {steps} steps."
    return text


def main() -> None:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row(balancer, given.steps) for balancer in METHODS]
    told = (
        f"`python benchmarks/balancing_absent.py`; polytask {polytask.__version__}, Python "
        f"{platform.python_version()}, PyTorch {torch.__version__}; 2 cores. {given.steps} "
        f"steps of Adam at {RATE}; three targets, {ROWS} rows, one hidden layer of {WIDTH}; "
        "loss at the end in per cent of the first one (task 3 is the one that is missing), and "
        "the number of steps in which nothing moved the trunk. The last four columns: weightings "
        "of TorchJD where it is installed, the absent task passed on as zeros."
    )
    columns = ["task 1", "task 2", "task 3", "still"]
    head = ["balancer", *columns, *(f"as zeros: {name}" for name in columns)]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    title = "# A task that is missing from every second batch"
    text = "\n".join([title, "", summary(rows, given.steps), "", told, "", *lines, ""])
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
