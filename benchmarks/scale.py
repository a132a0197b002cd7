"""Statistics of files larger than memory: ``python benchmarks/scale.py --rows 2e6 8e6``.

Tables of 20 features and 1,000 tasks are written to Parquet in parts. For every size, each in a
process of its own: seconds of reading the file with pyarrow alone, of reading it and forming X'X
of all rows, and of `collect_parts` with and without an encoder; the most memory that the process
held; and the growth exponent of seconds in rows. The fit of the statistics is compared with that
of the rows for the smallest table.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import polytask
from polytask import BayesianMultiTaskRegressor, MultiTaskRegressor
from polytask.data import TableEncoder
from polytask.penalties import L21
from polytask.statistics import TaskStatistics, collect_parts

FEATURES, TASKS, PART = 20, 1000, 500_000
NAMES = [f"x{j}" for j in range(FEATURES)]


def write_parts(path: Path, rows: int, make: Callable[[int], dict[str, Any]]) -> None:
    """Write a table to Parquet, a part at a time, of which `make` returns the columns."""
    part = path.with_suffix(".part")
    writer = None
    for first in range(0, rows, PART):
        table = pa.table(make(min(PART, rows - first)))
        writer = writer or pq.ParquetWriter(part, table.schema, compression="none")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    part.rename(path)


def write(path: Path, rows: int) -> None:
    """Write a table of tasks that are related."""
    rng = np.random.default_rng(0)
    W = rng.normal(size=FEATURES) + 0.5 * rng.normal(size=(TASKS, FEATURES))

    def make(n: int) -> dict[str, Any]:
        X, task = rng.normal(size=(n, FEATURES)), rng.integers(TASKS, size=n)
        y = np.einsum("ij,ij->i", X, W[task]) + rng.normal(size=n)
        return dict(zip(NAMES, X.T, strict=True)) | {"task": task, "y": y}

    write_parts(path, rows, make)


def print_head(*columns: str, **versions: str) -> None:
    """Print the versions, those of further packages first, and the head of a table."""
    known = {"polytask": polytask.__version__} | versions
    known |= {"pyarrow": pa.__version__, "numpy": np.__version__}
    known["Python"] = platform.python_version()
    print(", ".join(f"{name} {version}" for name, version in known.items()))
    print(f"| {' | '.join(columns)} |")
    print("|" + "---|" * len(columns))


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Read all rows, a part at a time; what was read of a group of rows is let go with it."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        yield from file.iter_batches(200_000, row_groups=[group])


def read(path: Path) -> None:
    """Read all rows into memory, a part at a time."""
    for batch in batches(path):
        np.column_stack([batch.column(name).to_numpy() for name in NAMES])


def gram(path: Path) -> None:
    """Read all rows and form X'X."""
    total = np.zeros((FEATURES, FEATURES))
    for batch in batches(path):
        X = np.column_stack([batch.column(name).to_numpy() for name in NAMES])
        total += X.T @ X


def collect_twice(path: Path) -> TaskStatistics:
    """Collect, the encoder learned in a first pass."""
    return collect_parts(path, "y", task_column="task")


def collect_once(path: Path) -> TaskStatistics:
    """Collect with an encoder that is learned from the first rows."""
    sample = next(pq.ParquetFile(path).iter_batches(10_000, columns=NAMES)).to_pandas()
    return collect_parts(path, "y", task_column="task", encoder=TableEncoder().fit(sample))


STEPS = {"read": read, "X'X": gram, "one pass": collect_once, "two passes": collect_twice}


def measured(step: str, path: Path) -> dict[str, float]:
    """Run one step in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--file", str(path)]
    found: dict[str, float] = json.loads(subprocess.check_output(command, text=True))
    return found


def run(step: str, path: Path) -> None:
    """Run one step here and print what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    STEPS[step](path)
    found = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
    }
    print(json.dumps(found))


def equality(path: Path) -> str:
    """Say how far coefficients of statistics are from those of the rows."""
    table = pq.read_table(path).to_pandas()
    y = table.pop("y")
    statistics = collect_once(path)
    away = []
    for make in (lambda: MultiTaskRegressor(L21(0.1), tol=1e-10), BayesianMultiTaskRegressor):
        rows = make().set_params(task_column="task").fit(table, y)
        away.append(float(np.abs(make().fit(statistics).coef_ - rows.coef_).max()))
    return f"largest difference of a coefficient: L21 {away[0]:.1e}, learned prior {away[1]:.1e}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, nargs="+", default=[2e6, 8e6])
    parser.add_argument("--keep", type=Path, default=Path("scale"))
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    if given.step:
        run(given.step, given.file)
        return
    given.keep.mkdir(exist_ok=True)
    print_head("rows", "file GB", "step", "wall s", "CPU s", "of X'X (CPU)", "memory GB")
    walls: dict[str, list[float]] = {step: [] for step in STEPS}
    for rows in given.rows:
        path = given.keep / f"{int(rows)}.parquet"
        if not path.exists():
            write(path, int(rows))
        size = path.stat().st_size / 1e9
        found = {step: measured(step, path) for step in STEPS}
        for step, took in found.items():
            walls[step].append(took["wall"])
            ratio = took["cpu"] / found["X'X"]["cpu"]
            seconds = f"{took['wall']:.1f} | {took['cpu']:.1f} | {ratio:.2f}"
            print(f"| {int(rows):,} | {size:.2f} | {step} | {seconds} | {took['memory']:.2f} |")
    if len(given.rows) > 1:
        span = math.log(given.rows[-1] / given.rows[0])
        grown = {step: math.log(took[-1] / took[0]) / span for step, took in walls.items()}
        print("\ngrowth exponent in rows:", ", ".join(f"{s} {g:.2f}" for s, g in grown.items()))
    print(equality(given.keep / f"{int(min(given.rows))}.parquet"))


if __name__ == "__main__":
    main()
