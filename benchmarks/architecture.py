"""Attention, selected experts, trees and Auto-Lambda: ``python benchmarks/architecture.py``.

Beside hard sharing, with a trunk of two layers of 64 units ("hard"), as all others have it, and of
two of 160 ("hard, wide"), for about the parameters that the larger of the others have: the
alternative at equal budget. A quarter of the rows is held out, within tasks, five times. All nets
stop by a tenth of their training rows, after 100 epochs at most.

A tree by affinity is that of gradients recorded while hard sharing is trained, fitted anew, and
parts once, into two groups; a tree by Gumbel choice is that of ``Branching``, of two branches in
each stage, fitted anew too; seconds hold both fits.

"groups": six tasks, simulated, of two functions with three tasks each; how often a tree has them
as its last branches is told below the table. Intervals are of the paired difference from "hard,
wide", corrected for training parts that overlap (Nadeau and Bengio).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from _deep_nets import estimator, fitted, n_tasks
from _deep_sets import load, pairs
from _kept import Kept
from _memory import apart, memory
from _sets import RealSet
from _tables import against, table
from real_data import score

from polytask.deep import MLP, balancing, sharing
from polytask.deep.recording import GradientSimilarity

NARROW, WIDE = MLP((64, 64), dropout=0.1), MLP((160, 160), dropout=0.1)
Net = Callable[..., Any]
BASE, PLANTED = "hard, wide", "000111"


def simulated() -> RealSet:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((800, 8))
    one, other = np.tanh(2 * X[:, 0]) + X[:, 1] * X[:, 2], np.tanh(2 * X[:, 3]) * X[:, 4] - X[:, 5]
    y = np.column_stack([one] * 3 + [other] * 3) + 0.3 * rng.standard_normal((800, 6))
    return RealSet("groups", X, y, None, classes=False)


def by_affinity(net: Net) -> tuple[Any, str]:
    watched = net(record=GradientSimilarity(every=5))
    (relation,) = watched.history_.relations
    return _anew(net, sharing.Tree.of_affinity(relation.similarity, [1, 2]))


def by_choice(net: Net) -> tuple[Any, str]:
    return _anew(net, net(sharing=sharing.Branching(2)).network_.sharing.tree())


def _anew(net: Net, tree: sharing.Tree) -> tuple[Any, str]:
    return net(sharing=tree), "".join(map(str, tree.branches[-1]))


WAYS: dict[str, Callable[[Net], tuple[Any, str]]] = {
    "hard, wide": lambda net: (net(trunk=WIDE), ""),
    "hard": lambda net: (net(), ""),
    "MTAN": lambda net: (net(sharing=sharing.MTAN()), ""),
    "DSelectK(4, 2)": lambda net: (net(sharing=sharing.DSelectK(4, 2)), ""),
    "tree by affinity": by_affinity,
    "tree by Gumbel choice": by_choice,
    "hard, AutoLambda": lambda net: (net(balancer=balancing.AutoLambda()), ""),
}


def fit(way: Callable[[Net], tuple[Any, str]], data: RealSet, rows: Any, seed: int) -> Any:
    """Return the score, CPU seconds, parameters, last branches of a tree, and the most memory."""

    def net(**settings: Any) -> Any:
        usual = {"trunk": NARROW, "max_epochs": 100, "random_state": seed, "device": "cpu"}
        return fitted(estimator(data)(**usual | settings), data, rows[0])

    before, started = memory(reset=True), time.process_time()
    model, branches = way(net)
    seconds = time.process_time() - started
    size = sum(p.numel() for p in model.network_.parameters())
    most = memory() - before
    return score(model, data, rows[1]), seconds, size, branches, most


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every set of which results are kept, and what trees have found."""
    head = ("net", "mean", f"minus {BASE}", "95% interval", "CPU s", "MB", "parameters")
    found = {}
    for name, own in kept.grouped().items():
        rows = against(own, BASE)
        for row, runs in zip(rows, own.values(), strict=True):
            _, seconds, sizes, _, most = zip(*runs.values(), strict=True)
            row += [f"{np.mean(seconds):.1f}", f"{np.mean(most):.0f}", f"{max(sizes):,}"]
        told = [table(head, rows)]
        for label in own if name == "groups" else ():
            branches = [run[3] for run in own[label].values()]
            if any(branches):
                right = branches.count(PLANTED)
                told.append(f"{label}: the planted groups in {right} of {len(branches)}.")
        found[name] = "\n\n".join(told)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["groups", "mtr_atp1d", "mtr_scpf"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets:
        data, kept = simulated() if name == "groups" else load(name), Kept(options.keep, name)
        for label, way in WAYS.items():
            for k, rows in enumerate(pairs(data, options.seeds)):
                kept.get(label, k, partial(apart, partial(fit, way, data, rows, k)))
        print(f"\n## {name} ({len(data.y):,} rows, {data.X.shape[1]} features, ", end="")
        print(f"{n_tasks(data)} tasks): R2\n\n{tables(kept)[name]}")


if __name__ == "__main__":
    main()
