"""Does a task that is missing from every second batch stop the others, and is it learned itself?

Three regressions share a trunk; the third has labels in every second batch only. Every balancer
trains the same network on the same batches, at the representation. `backward` drops the absent
task before it weighs the others. Where TorchJD is installed, a second table shows what some of
its methods do if the task is passed on with a gradient of zero instead, as a loss over no rows
has: the shortest vector, for one, is then zero.

Run: python benchmarks/balancing_absent.py [--keep FILE]
"""

from __future__ import annotations

import argparse
import platform
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from _kept import Kept
from _tables import table
from torch import Tensor, nn

import polytask
from polytask.deep import balancing
from polytask.deep.balancing import StatefulBalancer, backward

ROWS, FEATURES, WIDTH, TASKS, RATE, STEPS = 128, 8, 32, 3, 0.005, 400
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


def left_over(balancer: Any, zeroed: bool = False) -> list[float]:
    """Return losses over first losses, in per cent, and the steps that did not move the trunk."""
    problem, balance = Problem(), StatefulBalancer(balancer, TASKS)
    take = problem.zeroed if zeroed else problem.dropped
    first, still = problem.losses()[0].detach(), 0
    for step in range(STEPS):
        problem.optimizer.zero_grad()
        take(balance, absent=step % 2 == 0)
        moved = max(float(p.grad.abs().max()) for p in problem.trunk.parameters())
        still += moved < 1e-6
        problem.optimizer.step()
    return [*(100 * problem.losses()[0].detach() / first).tolist(), still]


def run(balancer: Any, kept: Kept) -> None:
    """Run what is not kept: the balancer, and its peer of TorchJD if that is there."""
    name = type(balancer).__name__
    kept.title = "dropped"
    kept.get(name, STEPS, partial(left_over, balancer))
    if find_spec("torchjd") is not None and name in PEERS:
        import torchjd.aggregation

        kept.title = "as zeros"
        peer = balancing.TorchJD(getattr(torchjd.aggregation, f"{PEERS[name]}Weighting")())
        kept.get(name, STEPS, partial(left_over, peer, zeroed=True))


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of kept results."""
    head = ["balancer", *(f"task {t + 1}" for t in range(TASKS)), "still"]
    found = {}
    for title, own in kept.grouped().items():
        lines = []
        for name, runs in own.items():
            ((*left, still),) = runs.values()
            lines.append([name, *(f"{share:.1f}" for share in left), still])
        found[title] = table(head, lines)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", help="file of finished runs, to go on from")
    kept = Kept(parser.parse_args().keep)
    torch.set_num_threads(1)
    print(f"polytask {polytask.__version__}, Python {platform.python_version()}, ", end="")
    print(f"PyTorch {torch.__version__}")
    for balancer in METHODS:
        run(balancer, kept)
    for title, text in tables(kept).items():
        print(f"\n## {title}\n\n{text}")


if __name__ == "__main__":
    main()
