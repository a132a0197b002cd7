"""How long the first fit of a fresh process takes: ``python benchmarks/speed/cold_start.py``.

Every row is a new process that imports polytask and fits one small problem through a compiled
solver: first with an empty folder for machine code, then again with what the first one left
there, and without any compiled solver for comparison. Compilations are counted from numba's own
records and from the files in the folder. Targets are held against CPU seconds of one thread, what
the clock shows where nothing else runs. ``--python PATH`` uses another environment, for example
one that polytask is installed in read-only; ``--repeats 5`` takes medians of so many.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
WITH_CACHE, WITHOUT_CACHE = 1.5, 15.0

PROGRAM = """
import json, resource, sys, time
start = time.perf_counter()
import numpy as np
import polytask
from polytask import solvers
imported = time.perf_counter()
rng = np.random.default_rng(0)
X, task = rng.normal(size=(400, 40)), np.repeat(np.arange(4), 100)
y = X[:, :5] @ rng.normal(size=5) + rng.normal(size=400)
FITS = {
    "one design": lambda: polytask.MultiTaskRegressor(solver=solvers.BlockDescent()).fit(
        X, np.column_stack([y, -y, y + X[:, 6]])
    ),
    "rows of their own": lambda: polytask.MultiTaskRegressor(
        solver=solvers.SeparateDescent()
    ).fit(X, y, task=task),
    "logistic": lambda: polytask.MultiTaskClassifier(
        solver=solvers.SeparateDescent()
    ).fit(X, (y > 0).astype(int), task=task),
    "no compiled solver": lambda: polytask.MultiTaskRegressor().fit(X, y, task=task),
}
assert FITS[sys.argv[1]]().solution_.status.ok
ended = time.perf_counter()
hits = misses = 0
if "numba" in sys.modules:
    from numba.core.dispatcher import Dispatcher
    import gc
    for found in gc.get_objects():
        if isinstance(found, Dispatcher) and found.__module__.startswith("polytask"):
            # Parts of other kernels are compiled within them, and not kept by themselves.
            if type(found._cache).__name__ == "NullCache":
                continue
            hits += sum(found.stats.cache_hits.values())
            misses += sum(found.stats.cache_misses.values())
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "import": imported - start, "fit": ended - imported,
    "cpu": used.ru_utime + used.ru_stime, "hits": hits, "misses": misses,
    "where": polytask.__file__,
}))
"""
PROBLEMS = ("one design", "rows of their own", "logistic", "no compiled solver")


@dataclass(frozen=True)
class Run:
    """What one process took.

    Attributes
    ----------
    wall, cpu : float
        Seconds from the first import to the fitted model, and of the whole process.
    hits, misses : int
        Kernels that were read from the folder, and that were looked for there in vain.
    files : int
        Files that the process wrote to the folder.
    """

    wall: float
    cpu: float
    hits: int
    misses: int
    files: int


def run(python: Path, problem: str, folder: Path) -> Run:
    """Fit in a new process whose machine code is kept in a folder."""
    environment = os.environ | dict.fromkeys(_THREADS, "1") | {"NUMBA_CACHE_DIR": str(folder)}
    before = _written(folder)
    done = subprocess.run(
        [str(python), "-c", PROGRAM, problem],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found = json.loads(done.stdout)
    changed = len(set(_written(folder).items()) - set(before.items()))
    wall = found["import"] + found["fit"]
    return Run(wall, found["cpu"], found["hits"], found["misses"], changed)


def _written(folder: Path) -> dict[str, int]:
    """Return when each file of machine code was written."""
    files = (f for f in folder.rglob("*") if f.suffix in (".nbi", ".nbc"))
    return {str(f): f.stat().st_mtime_ns for f in files}


def measured(python: Path, problem: str, repeats: int) -> tuple[list[Run], list[Run]]:
    """Return processes without machine code, and the ones that follow them."""
    first, second = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            first.append(run(python, problem, Path(folder)))
            second.append(run(python, problem, Path(folder)))
    return first, second


def line(problem: str, kind: str, runs: list[Run], most: float) -> str:
    """Return a line of the table."""
    wall, cpu = (statistics.median(getattr(r, k) for r in runs) for k in ("wall", "cpu"))
    said = "met" if cpu <= most else "missed"
    counts = f"{runs[0].hits} | {max(r.files for r in runs)}"
    return f"| {problem} | {kind} | {wall:.2f} | {cpu:.2f} | {counts} | {most:g} s: {said} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"`{shlex.join(['python', 'benchmarks/speed/cold_start.py', *sys.argv[1:]])}`")
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores, 1 thread, medians.\n")
    print("| first fit | machine code | wall s | CPU s | read | written | target |")
    print("|---|---|---|---|---|---|---|")
    for problem in PROBLEMS:
        first, second = measured(options.python, problem, options.repeats)
        print(line(problem, "none yet", first, WITHOUT_CACHE), flush=True)
        print(line(problem, "kept", second, WITH_CACHE), flush=True)
        if any(r.files for r in second):
            raise SystemExit(f"{problem}: a second process compiled {second}.")


if __name__ == "__main__":
    main()
