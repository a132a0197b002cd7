"""Every penalty that needs no further knowledge, on real data: ``python every_penalty.py``.

School and computer, 75/25 splits within tasks, the same for every penalty, raw features,
intercepts pulled to their mean. Strengths are chosen by cross-validation inside the training part.
R2 is against the grand mean of the held-out rows; beside it, how many features and entries of the
coefficients are not zero, and their rank. ``--splits 3`` sets the number of splits;
``--keep FILE`` goes on with a run that was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import shlex
import sys
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
from _kept import Kept
from _sets import RealSet, load_set
from _tables import table
from real_data import score, splits

import polytask
from polytask import MultiTaskRegressorCV
from polytask.exceptions import ConvergenceWarning
from polytask.penalties import (
    L1,
    L2,
    L21,
    MCP,
    SCAD,
    AlternatingStructure,
    CappedL21,
    Clustered,
    ElasticNet,
    L1Inf,
    LearnedCovariance,
    OutlierTasks,
    SparseGroup,
    TraceNorm,
    dirty,
    robust,
    robust_features,
    sparse_low_rank,
    toward_mean,
)

PENALTIES: dict[str, Any] = {
    "L2": L2(),
    "L1": L1(),
    "ElasticNet": ElasticNet(),
    "L21": L21(),
    "L1Inf": L1Inf(),
    "SparseGroup": SparseGroup(),
    "MCP": MCP(),
    "SCAD": SCAD(),
    "CappedL21": CappedL21(),
    "TraceNorm": TraceNorm(),
    "LearnedCovariance": LearnedCovariance(),
    "Clustered, 3 groups": Clustered(n_clusters=3),
    "AlternatingStructure, 2": AlternatingStructure(n_dimensions=2),
    "OutlierTasks": OutlierTasks(),
    "toward_mean": toward_mean(),
    "toward_mean + 0.1 L2": toward_mean(1.0) + L2(0.1),
    "toward_mean + L21": toward_mean(1.0) + L21(0.1),
    "dirty": dirty(),
    "robust": robust(),
    "robust_features": robust_features(),
    "sparse_low_rank": sparse_low_rank(),
}


def measures(penalty: Any, data: RealSet, pair: tuple[np.ndarray, np.ndarray]) -> list[float]:
    """Fit and score a penalty on one split; what the table shows of it."""
    train, test = pair
    model = MultiTaskRegressorCV(
        penalty,
        alphas=20,
        task_weight="size",
        intercept="toward_mean",
        intercept_strength=10.0,
    )
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.X[train], data.y[train], task=data.task[train])
    seconds = time.process_time() - started
    W = model.coef_.T
    rank = np.linalg.matrix_rank(W, tol=1e-6 * np.linalg.norm(W)) if W.any() else 0
    certified = model.solution_.status.name == "CONVERGED"
    used = [float(np.mean(W.any(axis=1))), float(np.mean(W != 0))]
    return [score(model, data, test), seconds, *used, float(rank), float(certified)]


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every set of which results are kept."""
    head = ["penalty", "R2", "CPU s", "features", "entries", "rank", "certified"]
    found = {}
    for name, own in kept.grouped().items():
        lines = []
        for label, runs in own.items():
            values = np.array([*runs.values()], dtype=float)
            r2, seconds, features, entries, rank, certified = values.mean(axis=0)
            sd = values[:, 0].std(ddof=1) if len(values) > 1 else np.nan
            cells = [f"{r2:.4f} (sd {sd:.4f})", f"{seconds:.1f}", f"{features:.0%}"]
            cells += [f"{entries:.0%}", f"{rank:.1f}", "yes" if certified == 1 else "no"]
            lines.append([label, *cells])
        found[name] = table(head, lines)
    return found


def main() -> None:
    """Print a table per set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["school", "computer"])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    chosen = parser.parse_args()
    command = shlex.join(["python", "benchmarks/every_penalty.py", *sys.argv[1:]])
    print(f"`{command}`, polytask {polytask.__version__}, numpy {np.__version__}, ", end="")
    print(f"Python {platform.python_version()}")
    for name in chosen.sets:
        data = load_set(name)
        kept, pairs = Kept(chosen.keep, name), splits(data, chosen.splits)
        for (label, penalty), (k, pair) in itertools.product(PENALTIES.items(), enumerate(pairs)):
            kept.get(label, k, partial(measures, penalty, data, pair))
        print(f"\n## {name}\n\n{tables(kept)[name]}", flush=True)


if __name__ == "__main__":
    main()
