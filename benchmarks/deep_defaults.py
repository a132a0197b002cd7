"""Defaults of the deep estimators, one changed at a time: ``python benchmarks/deep_defaults.py``.

Hard sharing on the small sets of ``deep_accuracy.py``. Every row of the table changes one thing
of the estimator as it comes. Scores are of a fifth of the training rows, which are not trained on;
the test rows of the accuracy tables are not looked at. R2 or AUC, mean of the seeds, and their
mean over the sets; epochs and CPU seconds of a fit are means over sets and seeds. ``--keep FILE``
goes on with a run that was stopped.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from _deep_nets import estimator, fitted
from _deep_sets import labels_of, load, pairs, split
from _kept import Kept
from real_data import score
from torch import nn

import polytask
from polytask.deep import MLP

SETS = ("digits", "digits_apart", "mtr_atp1d", "mtr_enb", "mtr_scpf", "mtr_wq", "sarcos_sub")


def _he(data: Any) -> dict[str, Any]:
    """Return a trunk whose weights are drawn for rectifiers, about 2.4 times as large."""
    trunk = MLP(dropout=0.1).build(data.X.shape[1])
    for layer in trunk:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return {"trunk": trunk}


CHANGES: Mapping[str, Any] = {
    "nothing: the defaults": {},
    "patience 20, 200 epochs at most": {"patience": 20, "max_epochs": 200},
    "no dropout": {"trunk": MLP()},
    "dropout .2": {"trunk": MLP(dropout=0.2)},
    "dropout .3": {"trunk": MLP(dropout=0.3)},
    "GELU": {"trunk": MLP(dropout=0.1, activation="gelu")},
    "batch norm": {"trunk": MLP(dropout=0.1, norm="batch")},
    "layer norm": {"trunk": MLP(dropout=0.1, norm="layer")},
    "rate 3e-4": {"learning_rate": 3e-4},
    "rate 3e-3": {"learning_rate": 3e-3},
    "decay .1": {"weight_decay": 0.1},
    "decay 1": {"weight_decay": 1.0},
    "a fifth held out": {"validation": 0.2},
    "weights drawn after He et al.": _he,
}
Found = tuple[float, float, float]


def measure(name: str, label: str, seed: int) -> Found:
    """Return the score, the epochs and the CPU seconds of one fit."""
    data = load(name)
    train = pairs(data, seed + 1)[seed][0]
    labelled = labels_of(data, train, seed)
    fit, held = split(labelled, train, 0.2, seed)
    change = CHANGES[label]
    torch.manual_seed(seed)
    settings = change(data) if callable(change) else change
    net = estimator(data)(**settings, random_state=seed, device="cpu")
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fitted(net, labelled, fit)
    seconds = time.process_time() - started
    return score(model, labelled, held), model.n_iter_, seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"`python benchmarks/deep_defaults.py {shlex.join(sys.argv[1:])}`, "
        f"polytask {polytask.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}\n"
    )
    print(f"| changed | {' | '.join(options.sets)} | mean | epochs | CPU s |")
    print("|---" * (len(options.sets) + 4) + "|")
    for label in CHANGES:
        kept = Kept(options.keep, label)
        found = np.array(
            [
                [
                    kept.get(name, seed, partial(measure, name, label, seed))
                    for seed in range(options.seeds)
                ]
                for name in options.sets
            ]
        )
        means = " | ".join(f"{value:.4f}" for value in found[:, :, 0].mean(axis=1))
        rest = found.mean(axis=(0, 1))
        print(f"| {label} | {means} | {rest[0]:.4f} | {rest[1]:.0f} | {rest[2]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
