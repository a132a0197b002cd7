"""What a training step of each way of sharing costs: ``python benchmarks/sharing_steps.py``.

A trunk of three layers of 256 units on 64 features, linear heads, squared loss, batches of 256
rows, fused Adam; forward, backward and the step of the optimiser, median over repeats, as a
multiple of a step of hard sharing in the same form. "All tasks" is the targets form, where every
row has a label for every task; "one task" the long form, where every row belongs to one. On a CPU
figures are CPU seconds of one thread, on a GPU wall time after it has finished. ``--memory``
prints instead the most memory that five steps add to a process of their own (Linux, CPU).

``--peer FOLDER`` adds LibMTL, whose wheel is unpacked in the folder: its modules for hard
sharing, MMoE and CGC with the same trunk, heads and optimiser, in the first form.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from _memory import apart, memory
from _tables import table as markdown
from torch import Tensor, nn

from polytask.deep import sharing
from polytask.deep.network import ColumnHeads

FEATURES, WIDTH, ROWS = 64, 256, 256
# One shared expert and one of each task, as in the peer; four experts for MMoE.
WAYS: dict[str, sharing.Sharing] = {
    "hard": sharing.Hard(),
    "FiLM": sharing.FiLM(),
    "MMoE, 2 experts": sharing.MMoE(2),
    "MMoE, 4 experts": sharing.MMoE(4),
    "CGC, 1 + 1 experts": sharing.CGC(1, 1),
    "soft": sharing.Soft(),
    "cross-stitch": sharing.CrossStitch(),
    "PLE, 1 + 1 experts, 2 levels": sharing.PLE(1, 1, 2),
    "DSelectK, 2 of 4 experts": sharing.DSelectK(4, 2),
    "MTAN": sharing.MTAN(),
    "branching, 2 branches": sharing.Branching(2),
}
PEERS = {
    "hard": ("HPS", lambda tasks: []),
    "MMoE, 2 experts": ("MMoE", lambda tasks: [2]),
    "MMoE, 4 experts": ("MMoE", lambda tasks: [4]),
    "CGC, 1 + 1 experts": ("CGC", lambda tasks: [1] + [1] * tasks),
}


@dataclass(frozen=True)
class Batch:
    """Rows of random numbers, with labels in both forms."""

    x: Tensor
    targets: Tensor
    task: Tensor

    @classmethod
    def of(cls, n_tasks: int, device: str) -> Batch:
        torch.manual_seed(0)
        x, targets = torch.randn(ROWS, FEATURES), torch.randn(ROWS, n_tasks)
        task = torch.randint(0, n_tasks, (ROWS,))
        return cls(x.to(device), targets.to(device), task.to(device))

    def own(self) -> Tensor:
        return self.targets.gather(1, self.task[:, None])


def trunk() -> nn.Module:
    widths = (FEATURES, WIDTH, WIDTH, WIDTH)
    layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*(layer for pair in layers for layer in pair))


class Ours(nn.Module):
    """A way of sharing with linear heads."""

    def __init__(self, how: sharing.Sharing, n_tasks: int) -> None:
        super().__init__()
        self.sharing = how.build(trunk(), n_tasks)
        self.heads = ColumnHeads(range(n_tasks), WIDTH)

    def all_tasks(self, batch: Batch) -> Tensor:
        readout = getattr(self.sharing, "readout", None)
        if readout is not None:
            eta = readout(batch.x, self.heads.weight, self.heads.owners) + self.heads.bias
        else:
            eta = self.heads(self.sharing(batch.x, None))
        return 0.5 * (eta - batch.targets).square().mean(0).sum()

    def one_task(self, batch: Batch) -> Tensor:
        eta = self.heads.of_columns(self.sharing(batch.x, batch.task), batch.task[:, None])
        return 0.5 * (eta - batch.own()).square().mean()


class Peer(nn.Module):
    """A module of LibMTL with a linear head for each task."""

    def __init__(self, made: type, n_tasks: int, n_experts: list[int], device: str) -> None:
        super().__init__()
        names = [f"task{t}" for t in range(n_tasks)]
        heads = nn.ModuleDict({name: nn.Linear(WIDTH, 1) for name in names})
        settings = {"img_size": [FEATURES], "num_experts": n_experts} if n_experts else {}
        self.net = made(names, trunk, heads, False, False, torch.device(device), **settings)

    def all_tasks(self, batch: Batch) -> Tensor:
        found = self.net(batch.x).values()
        losses = torch.zeros(batch.targets.shape[1], device=batch.x.device)
        for t, eta in enumerate(found):
            losses[t] = 0.5 * (eta[:, 0] - batch.targets[:, t]).square().mean()
        return losses.sum()


def peer_modules(folder: Path) -> dict[str, type]:
    """Return the modules of LibMTL without its own start, which needs more than they do."""
    for name in ("LibMTL", "LibMTL.architecture"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    found = {made for made, _ in PEERS.values()}
    return {
        name: getattr(importlib.import_module(f"LibMTL.architecture.{name}"), name)
        for name in found
    }


def seconds(net: nn.Module, loss: Callable[[], Tensor], repeats: int, device: str) -> float:
    """Return the median time of a step."""
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    clock = time.process_time if device == "cpu" else time.perf_counter

    def step() -> float:
        begin = clock()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()
        return clock() - begin

    for _ in range(3):
        step()
    return statistics.median(step() for _ in range(repeats))


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    name: str
    parameters: int
    every: float
    one: float | None

    def shown(self, hard: Line) -> str:
        cells = [f"{self.parameters:,}", f"{1e3 * self.every:.2f}"]
        cells.append(f"{self.every / hard.every:.1f}")
        if self.one is not None and hard.one is not None:
            cells += [f"{1e3 * self.one:.2f}", f"{self.one / hard.one:.1f}"]
        else:
            cells += ["", ""]
        return f"| {self.name} | " + " | ".join(cells) + " |"


def ways(n_tasks: int) -> dict[str, sharing.Sharing]:
    """Return all ways; in a tree tasks part once, before the last layer, into two groups."""
    part = [[0] * n_tasks, [0] * n_tasks, [t % 2 for t in range(n_tasks)]]
    return {**WAYS, "tree": sharing.Tree(part)}


def megabytes(how: sharing.Sharing, n_tasks: int, form: str) -> float:
    """Return the most memory that a net, its optimiser and five steps add."""
    batch = Batch.of(n_tasks, "cpu")
    seconds(
        small := Ours(sharing.Hard(), 1), partial(small.all_tasks, Batch.of(1, "cpu")), 2, "cpu"
    )
    before = memory(reset=True)
    net = Ours(how, n_tasks)
    seconds(net, lambda: getattr(net, form)(batch), 2, "cpu")
    return memory() - before


def memory_table(tasks: list[int]) -> str:
    """Return a row for each way, with the memory of both forms for each number of tasks."""
    rows = []
    for name in ways(2):
        found = [
            apart(partial(megabytes, ways(n_tasks)[name], n_tasks, form))
            for form in ("all_tasks", "one_task")
            for n_tasks in tasks
        ]
        rows.append([name, *(f"{most:.0f}" for most in found)])
    head = [f"{form}, T = {n}" for form in ("all tasks", "one task") for n in tasks]
    return markdown(["MB", *head], rows)


def ours(n_tasks: int, repeats: int, device: str, only: list[str]) -> Iterator[Line]:
    batch = Batch.of(n_tasks, device)
    for name, how in ways(n_tasks).items():
        if only and name not in ("hard", *only):
            continue
        torch.manual_seed(1)
        net = Ours(how, n_tasks).to(device)
        every = seconds(net, lambda net=net: net.all_tasks(batch), repeats, device)
        one = seconds(net, lambda net=net: net.one_task(batch), repeats, device)
        yield Line(name, sum(p.numel() for p in net.parameters()), every, one)


def theirs(modules: dict[str, type], n_tasks: int, repeats: int, device: str) -> Iterator[Line]:
    batch = Batch.of(n_tasks, device)
    for name, (made, experts) in PEERS.items():
        torch.manual_seed(1)
        net = Peer(modules[made], n_tasks, experts(n_tasks), device).to(device)
        every = seconds(net, lambda net=net: net.all_tasks(batch), repeats, device)
        count = sum(p.numel() for p in net.parameters())
        yield Line(f"LibMTL: {name}", count, every, None)


HEADER = "| sharing | parameters | all tasks, ms | x hard | one task, ms | x hard |\n" + "|---" * 6


def table(n_tasks: int, lines: list[Line], peers: list[Line]) -> str:
    shown = [f"T = {n_tasks}", "", HEADER + "|"]
    for group in (lines, peers):
        shown += [line.shown(group[0]) for line in group]
    by_name = {line.name: line for line in lines}
    for line in peers:
        own = by_name[line.name.removeprefix("LibMTL: ")]
        share = own.every / line.every
        times = own.every / peers[0].every
        text = f"{own.name}: {share:.2f} of the time of LibMTL for the same"
        shown += ["", f"{text}, {times:.1f} times LibMTL's hard sharing."]
    return "\n".join([*shown, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 10, 50])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--only", nargs="+", default=[], help="names to measure beside hard")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer", type=Path, help="a folder with LibMTL unpacked")
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    modules = peer_modules(args.peer) if args.peer else None
    place = torch.cuda.get_device_name() if args.device != "cpu" else "CPU, one thread"
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {place}\n")
    if args.memory:
        print(memory_table(args.tasks))
        return
    for n_tasks in args.tasks:
        lines = list(ours(n_tasks, args.repeats, args.device, args.only))
        peers = list(theirs(modules, n_tasks, args.repeats, args.device)) if modules else []
        print(table(n_tasks, lines, peers), flush=True)


if __name__ == "__main__":
    main()
