"""Every penalty that needs no further knowledge, on real data: ``python every_penalty.py``.

School and computer, 75/25 splits within tasks, the same for every penalty, raw features,
intercepts pulled to their mean. Strengths are chosen by cross-validation inside the training part.
R2 is against the grand mean of the held-out rows; beside it, how many features and entries of the
coefficients are not zero, and their rank. ``--splits 3`` sets the number of splits;
``--keep FILE`` goes on with a run that was stopped.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _kept import Kept
from _sets import RealSet, load_set
from real_data import score, splits

import polytask
from polytask import MultiTaskRegressorCV
from polytask.exceptions import ConvergenceWarning, PolytaskError
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


@dataclass(frozen=True)
class Row:
    """What a penalty reached, means over splits."""

    r2: float
    sd: float
    seconds: float
    features: float
    entries: float
    rank: float
    certified: bool


def measures(penalty: Any, data: RealSet, pair: tuple[np.ndarray, np.ndarray]) -> list[float]:
    """Fit and score a penalty on one split; the measures in the order of Row."""
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


def row_of(label: str, data: RealSet, count: int, kept: Kept) -> Row:
    """Fit and score a penalty on all splits."""
    found = [
        kept.get(label, k, partial(measures, PENALTIES[label], data, pair))
        for k, pair in enumerate(splits(data, count))
    ]
    table = np.array(found, dtype=float)
    r2, seconds, features, entries, rank, certified = table.mean(axis=0)
    sd = float(table[:, 0].std(ddof=1)) if count > 1 else float("nan")
    return Row(r2, sd, seconds, features, entries, rank, certified == 1)


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
        kept = Kept(chosen.keep, name)
        print(f"\n## {name}\n\n| penalty | R2 | CPU s | features | entries | rank | certified |")
        print("|---|---|---|---|---|---|---|")
        for label in PENALTIES:
            try:
                row = row_of(label, data, chosen.splits, kept)
            except PolytaskError as error:
                print(f"| {label} | {error} | | | | | |", flush=True)
                continue
            print(
                f"| {label} | {row.r2:.4f} (sd {row.sd:.4f}) | {row.seconds:.1f} | "
                f"{row.features:.0%} | {row.entries:.0%} | {row.rank:.1f} | "
                f"{'yes' if row.certified else 'no'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
