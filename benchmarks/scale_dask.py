"""Statistics of a file by Dask, with several workers: ``python benchmarks/scale_dask.py``.

A table of 20 features and 1,000 tasks in Parquet, written as for `scale.py`, is collected by
`collect_parts` in one process and by `polytask.distributed.collect` with workers of one thread
each on this machine, two passes each. Seconds on the clock; seconds of the processor, of the
workers and of the process that has client and scheduler; the most memory that a worker held. Then
what a task costs that has nothing to do, as seconds of the processor, by 500 of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dask
import dask.dataframe as dd
import distributed as dask_distributed
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from distributed import Client, LocalCluster
from scale import FEATURES, NAMES, TASKS, print_head, write

from polytask import distributed
from polytask.distributed.partitions import Partitions
from polytask.statistics import TaskStatistics, collect_parts

ALONE = "collect_parts"


def held() -> float:
    """Return the most memory that this process held, in GB."""
    # Of Linux, and reset when a program starts, which ru_maxrss is not.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024**2


def passes(ddf: dd.DataFrame, client: Client) -> dict[str, float]:
    """Collect twice by workers, and say what it took."""
    before = client.run(time.process_time)
    wall, cpu = time.perf_counter(), time.process_time()
    found = distributed.collect(ddf, "y", task_column="task", client=client)
    took = {"wall": time.perf_counter() - wall, "here": time.process_time() - cpu}
    after = client.run(time.process_time)
    took["workers"] = sum(after[worker] - before[worker] for worker in after)
    return took | {"memory": max(client.run(held).values()), "check": check(found)}


def warm(path: Path) -> None:
    """Do once, with few rows, what is done with many."""
    few = next(pq.ParquetFile(path).iter_batches(1000)).to_pandas()
    collect_parts([few], "y", task_column="task")


def idle(client: Client) -> float:
    """Return the seconds of all processors that 500 tasks without work take."""
    one = pd.DataFrame({"a": [1.0]})
    before, here = client.run(time.process_time), time.process_time()
    rows = Partitions((dd.from_map(lambda _: one, range(500), meta=one[:0]),), client)
    assert rows.summed(len, lambda a, b: a + b) == 500
    here = time.process_time() - here
    return here + sum(client.run(time.process_time).values()) - sum(before.values())


def check(found: TaskStatistics) -> float:
    """Return a number that depends on all rows."""
    return float(sum(cell.weight * cell.second.sum() for cell in found.cells))


def run(mode: str, path: Path) -> None:
    """Run one mode here and print what it took."""
    if mode == ALONE:
        warm(path)
        wall, cpu = time.perf_counter(), time.process_time()
        found = collect_parts(path, "y", task_column="task")
        took = {"wall": time.perf_counter() - wall, "here": 0.0, "tasks": 0, "empty": 0.0}
        took |= {"workers": time.process_time() - cpu, "memory": held(), "check": check(found)}
        print(json.dumps(took))
        return
    with (
        LocalCluster(
            n_workers=int(mode), threads_per_worker=1, dashboard_address=None, memory_limit="4GB"
        ) as cluster,
        Client(cluster) as client,
    ):
        ddf = dd.read_parquet(path, split_row_groups=True)
        # What is loaded and compiled at first is no matter of rows.
        client.run(warm, path)
        took = passes(ddf, client)
        took["empty"] = idle(client) / 500
    print(json.dumps(took | {"partitions": ddf.npartitions}))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, default=8e6)
    parser.add_argument("--keep", type=Path, default=Path("scale"))
    parser.add_argument("--workers", nargs="+", default=["1", "2", "4"])
    parser.add_argument("--mode", help=f"{ALONE} or a number of workers: run this one here")
    given = parser.parse_args()
    given.keep.mkdir(exist_ok=True)
    path = given.keep / f"{int(given.rows)}.parquet"
    if given.mode:
        run(given.mode, path)
        return
    if not path.exists():
        write(path, int(given.rows))
    print(f"{int(given.rows):,} rows of {FEATURES} features and {TASKS} tasks, "
          f"{path.stat().st_size / 1e9:.2f} GB in {pq.ParquetFile(path).num_row_groups} parts, "
          f"{len(NAMES) + 2} columns")  # fmt: skip
    print_head(
        "how", "wall s", "CPU s of workers", "CPU s of client, scheduler", "of collect_parts",
        "GB a worker", "CPU ms a task without work", dask=dask.__version__,
        distributed=dask_distributed.__version__, cores=str(os.cpu_count()),
    )  # fmt: skip
    base, numbers = 0.0, []
    for mode in (ALONE, *given.workers):
        command = [sys.executable, __file__, "--mode", mode, "--keep", str(given.keep),
                   "--rows", str(given.rows)]  # fmt: skip
        took = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
        base = base or took["workers"]
        numbers.append(took["check"])
        name = mode if mode == ALONE else f"Dask, {mode} worker{'s' * (mode != '1')}"
        total = took["workers"] + took["here"]
        print(f"| {name} | {took['wall']:.1f} | {took['workers']:.1f} | {took['here']:.1f} "
              f"| {total / base:.2f} | {took['memory']:.2f} | {1000 * took['empty']:.1f} |",
              flush=True)  # fmt: skip
    print(f"\nlargest relative difference: {np.ptp(numbers) / np.mean(numbers):.1e}")


if __name__ == "__main__":
    main()
