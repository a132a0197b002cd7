"""What a balanced training step costs, as a ratio to the plain sum of the losses.

One process, one thread, CPU seconds of forward pass, backward pass and an SGD step; every task
labels every row. The trunk has three layers of 256 units, a batch 256 rows. Peers run in the same
process where they are installed (TorchJD; LibMTL).

Run: python benchmarks/balancing_steps.py [--tasks 2 10 50 1000] [--out FILE]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _balancing_peers import Libmtl, TorchjdEngine, TorchjdJacobian, versions
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

import polytask
from polytask.deep import balancing
from polytask.deep.balancing import (
    GradientBalancer,
    LinearHeads,
    Parameters,
    StatefulBalancer,
    backward,
)

ROWS, WIDTH, HIDDEN = 256, 256, 64
LOSSES = (
    balancing.Equal(),
    balancing.GeometricMean(),
    balancing.RandomWeights(),
    balancing.STCH(),
    balancing.Uncertainty(),
    balancing.IMTLL(),
    balancing.DWA(),
    balancing.FAMO(),
)
GRADIENTS = (
    balancing.GradNorm(),
    balancing.MGDA(),
    balancing.PCGrad(),
    balancing.CAGrad(),
    balancing.IMTLG(),
    balancing.Nash(),
    balancing.Aligned(),
    balancing.UPGrad(),
)
AT_PARAMETERS = (balancing.MGDA(), balancing.PCGrad(), balancing.IMTLG())
LARGEST_PEER = 50
# A step that takes long is repeated less often: until that many seconds, but three times.
ENOUGH, FEWEST = 1.0, 3

Step = Callable[[], None]


class Net(nn.Module):
    """A trunk, and heads of one kind."""

    def __init__(self, heads: str, n_tasks: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads = heads
        layers = [layer for _ in range(3) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        self.trunk = nn.Sequential(*layers)
        self.together = nn.Linear(WIDTH, n_tasks) if heads == "one product" else None
        each = range(0 if self.together is not None else n_tasks)
        self.apart = nn.ModuleList(HEADS[heads]() for _ in each)
        self.X, self.Y = torch.randn(ROWS, WIDTH), torch.randn(ROWS, n_tasks)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=1e-4)

    def forward(self) -> tuple[Tensor, Tensor, Any]:
        """Return the losses, the representation, and the route to it."""
        shared = self.trunk(self.X)
        if self.together is None:
            return torch.stack(self.apiece(shared)), shared, shared
        outputs = self.together(shared)
        losses = (outputs - self.Y).square().mean(0)
        return losses, shared, LinearHeads(shared, outputs, self.together.weight)

    def apiece(self, shared: Tensor) -> list[Tensor]:
        """Return the losses of heads that are modules of their own."""
        pairs = zip(self.apart, self.Y.T, strict=True)
        return [(head(shared)[:, 0] - y).square().mean() for head, y in pairs]

    def step(self, pull: Callable[[Tensor, Tensor, Any], None]) -> None:
        """Take one training step."""
        self.optimizer.zero_grad()
        pull(*self())
        self.optimizer.step()


HEADS: dict[str, Callable[[], nn.Module]] = {
    "one product": lambda: nn.Linear(WIDTH, 1),
    "own linear": lambda: nn.Linear(WIDTH, 1),
    "own MLP": lambda: nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)),
}


def plain(net: Net) -> Step:
    """Return the step with the plain sum."""
    return lambda: net.step(lambda losses, shared, route: losses.sum().backward())


def balanced(net: Net, balancer: Any, level: str, n_tasks: int) -> Step:
    """Return the step with a balancer."""
    balance = StatefulBalancer(balancer, n_tasks)

    def pull(losses: Tensor, shared: Tensor, route: Any) -> None:
        below = Parameters(tuple(net.trunk.parameters()), through=route)
        at = route if level == "representation" else below
        backward(losses, shared=at, balancer=balance)

    return lambda: net.step(pull)


def observed(net: Net, n_tasks: int) -> Step:
    """Return the step of FAMO that computes the losses of the batch once more."""
    balance = StatefulBalancer(balancing.FAMO(), n_tasks)

    def step() -> None:
        net.step(lambda losses, shared, route: backward(losses, balancer=balance))
        with torch.no_grad():
            balance.observe(net()[0])

    return step


def ratios(steps: dict[str, Step], repeats: int) -> tuple[float, dict[str, float]]:
    """Return milliseconds of the plain step, and the other steps as a multiple of it."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        # The step before was a dear one, which leaves the caches to itself.
        steps["plain"]()
        for name, step in steps.items():
            if len(seconds[name]) >= FEWEST and sum(seconds[name]) > ENOUGH:
                continue
            began = time.process_time()
            step()
            if repeat:
                seconds[name].append(time.process_time() - began)
    base = median(seconds["plain"])
    return 1e3 * base, {name: median(values) / base for name, values in seconds.items()}


def steps_of(net: Net, heads: str, n_tasks: int, own_peers: Iterable[Any]) -> dict[str, Step]:
    """Return what is measured on one network."""
    steps = {"plain": plain(net)}
    for balancer in LOSSES if heads == "one product" else ():
        steps[f"{type(balancer).__name__}"] = balanced(net, balancer, "losses", n_tasks)
    if heads == "one product":
        steps["FAMO, observed"] = observed(net, n_tasks)
    for balancer in GRADIENTS:
        if not _refused(balancer, n_tasks):
            name = type(balancer).__name__
            steps[name] = balanced(net, balancer, "representation", n_tasks)
    if n_tasks <= LARGEST_PEER:
        for balancer in AT_PARAMETERS:
            name = f"{type(balancer).__name__}, parameters"
            steps[name] = balanced(net, balancer, "parameters", n_tasks)
    if heads != "one product" and n_tasks <= LARGEST_PEER:
        for peer in own_peers:
            for method in peer.methods:
                steps[f"{peer.title} {method}"] = peer.step(net, method)
    return steps


def _refused(balancer: GradientBalancer, n_tasks: int) -> bool:
    """Say whether a balancer refuses so many tasks."""
    return isinstance(balancer, balancing.UPGrad) and n_tasks > balancer.max_tasks


def table(heads: str, counts: list[int], repeats: int) -> str:
    """Measure one kind of heads; return its table."""
    bases, columns = [], []
    peers = [peer() for peer in (TorchjdJacobian, TorchjdEngine, Libmtl) if peer.found()]
    for n_tasks in counts:
        net = Net(heads, n_tasks)
        base, found = ratios(steps_of(net, heads, n_tasks, peers), repeats)
        bases.append(base)
        columns.append(found)
        print(f"{heads}, {n_tasks} tasks: done", flush=True)
    names = dict.fromkeys(name for found in columns for name in found if name != "plain")
    head = [f"## Heads: {TITLES[heads]}", "", "| step | " + _joined(f"T={k}" for k in counts)]
    rule = "|---|" + "---|" * len(counts)
    first = "| plain sum, ms | " + _joined(f"{base:.1f}" for base in bases)
    lines = [
        f"| {name} | "
        + _joined(f"{found[name]:.2f}" if name in found else "" for found in columns)
        for name in names
    ]
    return "\n".join([*head, rule, first, *lines, ""])


TITLES = {
    "one product": "linear, computed as one product (`LinearHeads`)",
    "own linear": "linear, a module each (found by `backward` itself)",
    "own MLP": f"MLP {WIDTH}-{HIDDEN}-1, a module each (found by `backward` itself)",
}


def _joined(cells: Iterable[str]) -> str:
    return " | ".join(cells) + " |"


def main() -> None:
    """Print the tables, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 10, 50, 1000])
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=list(HEADS))
    parser.add_argument("--repeats", type=int, default=24)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        tables = [table(heads, given.tasks, given.repeats) for heads in given.heads]
    told = (
        f"`python benchmarks/balancing_steps.py`; polytask {polytask.__version__}, "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}, {versions()}; "
        f"2 cores, one thread. {ROWS} rows, trunk 3 x {WIDTH}; every task labels every row; "
        "forward pass, backward pass and SGD step; CPU seconds as a multiple of the same step "
        f"with the plain sum, median of {FEWEST} to {given.repeats}. UPGrad refuses more "
        f"than {balancing.UPGrad().max_tasks} tasks; parameter level and peers are run up to "
        f"T={LARGEST_PEER}."
    )
    text = "\n".join(["# What a balanced step costs", "", told, "", *tables])
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
