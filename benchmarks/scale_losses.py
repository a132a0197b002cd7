"""Losses of classes and counts on files larger than memory: ``python benchmarks/scale_losses.py``.

Tables of 20 features and 1,000 tasks, with a target of two classes and one of counts, are written
to Parquet in parts. For every size and loss, in a process of its own: the passes over the file
that `fit_parts` takes, seconds, those of a pass beside reading the file, and the most memory that
the process held. For the smallest table the answer is compared with that of the rows in memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scale import FEATURES, NAMES, TASKS, batches, print_head, write_parts

from polytask import BayesianMultiTaskClassifier, MultiTaskClassifier, MultiTaskRegressor
from polytask.data import TableEncoder
from polytask.penalties import L21, TraceNorm
from polytask.statistics import fit_parts

MODELS = {
    "logistic": ("bought", lambda: MultiTaskClassifier(L21(0.001), task_column="task")),
    "logistic, L21 + TraceNorm": (
        "bought",
        lambda: MultiTaskClassifier(L21(0.001) + TraceNorm(0.0003), task_column="task"),
    ),
    "learned prior, scalar": (
        "bought",
        lambda: BayesianMultiTaskClassifier(structure="scalar", task_column="task"),
    ),
    "poisson": (
        "visits",
        lambda: MultiTaskRegressor(L21(0.001), loss="poisson", task_column="task"),
    ),
}


def write(path: Path, rows: int) -> None:
    """Write a table of tasks that are related, a part at a time."""
    rng = np.random.default_rng(0)
    W = 0.2 * rng.normal(size=FEATURES) + 0.1 * rng.normal(size=(TASKS, FEATURES))

    def make(n: int) -> dict[str, Any]:
        X, task = rng.normal(size=(n, FEATURES)), rng.integers(TASKS, size=n)
        eta = np.einsum("ij,ij->i", X, W[task])
        targets = {
            "bought": rng.random(n) < 1 / (1 + np.exp(-eta)),
            "visits": rng.poisson(np.exp(np.minimum(eta, 3.0))),
        }
        return dict(zip(NAMES, X.T, strict=True)) | {"task": task} | targets

    write_parts(path, rows, make)


def run(step: str, path: Path) -> None:
    """Read the file, or fit it, and print what it took."""
    sample = next(pq.ParquetFile(path).iter_batches(10_000, columns=NAMES)).to_pandas()
    found: dict[str, object] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    if step == "read":
        for batch in batches(path):
            np.column_stack([batch.column(name).to_numpy() for name in NAMES])
    else:
        target, make = MODELS[step]
        model = fit_parts(
            make(), path, target, task_column="task", encoder=TableEncoder().fit(sample),
            drop=sorted({other for other, _ in MODELS.values() if other != target}),
        )  # fmt: skip
        status, gap = model.solution_.status.name, model.solution_.certificate.relative
        found = {"passes": model.n_passes_, "status": status, "gap": gap}
    found |= {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
    }
    print(json.dumps(found))


def equality(path: Path) -> str:
    """Say how far coefficients of the file are from those of its rows in memory."""
    table = pq.read_table(path).to_pandas()
    encoder = TableEncoder().fit(table[NAMES])
    away = []
    for target, make in MODELS.values():
        others = sorted({other for other, _ in MODELS.values()})
        # Of the evidence a tolerance bounds the slope, not the gap.
        tol = 1e-8 if isinstance(make(), BayesianMultiTaskClassifier) else 1e-10
        given = make().set_params(tol=tol)
        rows = make().set_params(tol=tol).fit(table.drop(columns=others), table[target])
        drop = [other for other in others if other != target]
        parts = fit_parts(given, path, target, task_column="task", encoder=encoder, drop=drop)
        away.append(f"{np.abs(parts.coef_ - rows.coef_).max():.1e}")
    return f"largest difference of a coefficient ({', '.join(MODELS)}): {', '.join(away)}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, nargs="+", default=[5e5, 2e6])
    parser.add_argument("--keep", type=Path, default=Path("scale"))
    parser.add_argument("--step", choices=["read", *MODELS])
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    if given.step:
        run(given.step, given.file)
        return
    given.keep.mkdir(exist_ok=True)
    print_head("rows", "step", "passes", "status", "gap", "wall s", "CPU s",
               "a pass, of reading", "GB")  # fmt: skip
    for rows in given.rows:
        path = given.keep / f"losses_{int(rows)}.parquet"
        if not path.exists():
            write(path, int(rows))
        reading = 0.0
        for step in ("read", *MODELS):
            command = [sys.executable, __file__, "--step", step, "--file", str(path)]
            took = json.loads(subprocess.check_output(command, text=True))
            passes = took.get("passes", 1)
            reading = reading or took["cpu"]
            gap = f"{took['gap']:.1e}" if "gap" in took else ""
            print(
                f"| {int(rows):,} | {step} | {passes} | {took.get('status', '')} | {gap} "
                f"| {took['wall']:.1f} | {took['cpu']:.1f} | {took['cpu'] / passes / reading:.1f} "
                f"| {took['memory']:.2f} |"
            )
    print("\n" + equality(given.keep / f"losses_{int(min(given.rows))}.parquet"))


if __name__ == "__main__":
    main()
