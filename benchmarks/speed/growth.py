"""How time and memory of polytask grow; each measurement in a process of its own.

``python growth.py MODE TASKS ROWS FEATURES PENALTY`` measures once and prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

_REPEATS = 3


def _fitter(mode: str, tasks: int, rows: int, features: int, penalty: str):
    """Return a function that fits, and the bytes of the data."""
    from problems import separate, shared

    from polytask import MultiTaskRegressor
    from polytask.penalties import L21, toward_mean

    kinds = {"l21": L21(fraction=0.1), "mean": toward_mean(1.0)}
    model = MultiTaskRegressor(kinds[penalty], intercept=None, task_weight="equal")
    if mode == "shared":
        p = shared(mode, rows, features, tasks, [0.1], 0)
        return lambda: model.fit(p.X, p.Y), p.X.nbytes + p.Y.nbytes
    p = _drawn_in_place(tasks, rows, features) if mode == "many" else None
    p = p or separate(mode, tasks, rows, features, 0)
    task = np.repeat(np.arange(tasks), rows)
    size = p.X.nbytes + p.Y.nbytes + task.nbytes
    return lambda: model.fit(p.X, p.Y, task=task), size


def _drawn_in_place(tasks: int, rows: int, features: int):
    """Draw many related tasks without a second copy of X in memory."""
    from problems import Card, Problem

    rng = np.random.default_rng(8)
    common = np.where(np.arange(features) < features // 3, rng.standard_normal(features), 0.0)
    X, y = np.empty((tasks * rows, features)), np.empty(tasks * rows)
    for t in range(tasks):
        part = slice(t * rows, (t + 1) * rows)
        X[part] = rng.standard_normal((rows, features))
        own = common * (1.0 + 0.5 * rng.standard_normal(features))
        y[part] = X[part] @ own + 0.5 * rng.standard_normal(rows)
    return Problem(Card("P8", "separate", "squared", "l21"), X, y, np.arange(tasks + 1) * rows)


def _peak() -> float:
    """Return the largest resident memory so far, in bytes."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def measure_here(mode: str, tasks: int, rows: int, features: int, penalty: str) -> None:
    """Fit in this process and print what it took."""
    warnings.simplefilter("ignore")
    # Everything is imported and compiled before memory and time count.
    warm = ("separate", 50, 100, 250) if mode != "shared" else ("shared", 20, 20000, 100)
    _fitter(*warm, penalty)[0]()
    before = _peak()
    fit, size = _fitter(mode, tasks, rows, features, penalty)
    times = []
    for _ in range(1 if mode == "many" else _REPEATS):
        start = time.process_time()
        model = fit()
        times.append(time.process_time() - start)
    print(
        json.dumps(
            {
                "cpu": float(np.median(times)),
                "memory": (_peak() - before) / size,
                "status": model.solution_.status.name,
                "n_iter": model.n_iter_,
            }
        )
    )


def _measured(mode: str, sizes: tuple[int, int, int], penalty: str) -> dict[str, object]:
    command = [sys.executable, __file__, mode, *map(str, sizes), penalty]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | one
    )
    return json.loads(done.stdout.splitlines()[-1])


def _exponent(sizes: list[int], times: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


# What is doubled: mode, (tasks, rows, features), and the position of the size that grows.
GROWTH = {
    "shared, rows": ("shared", (20, 10000, 200), 1),
    "shared, features": ("shared", (20, 1000, 2000), 2),
    "shared, tasks": ("shared", (10, 10000, 200), 0),
    "separate, rows": ("separate", (50, 100, 200), 1),
    "separate, features": ("separate", (50, 100, 200), 2),
    "separate, tasks": ("separate", (50, 100, 200), 0),
}


def lines() -> list[str]:
    """Return the tables of growth and of many tasks."""
    out = [
        "",
        "| doubled three times (tasks, rows, features) | CPU s | exponent |",
        "|---|---|---|",
    ]
    for name, (mode, base, position) in GROWTH.items():
        sizes, times = [], []
        for k in range(4):
            now = tuple(s * 2**k if i == position else s for i, s in enumerate(base))
            sizes.append(now[position])
            times.append(float(_measured(mode, now, "l21")["cpu"]))  # type: ignore[arg-type]
        shown = ", ".join(f"{t:.2f}" for t in times)
        out.append(f"| {name} from {base} | {shown} | {_exponent(sizes, times):.2f} |")
    out += ["", "| P8: 50 rows, 30 features | tasks | CPU s | peak / data | status |"]
    out.append("|---|---|---|---|---|")
    for penalty in ("l21", "mean"):
        many, times = [1250, 2500, 5000, 10000], []
        for tasks in many:
            found = _measured("many", (tasks, 50, 30), penalty)
            times.append(float(found["cpu"]))  # type: ignore[arg-type]
            shown = f"{found['cpu']:.2f} | {found['memory']:.2f} | {found['status']}"
            out.append(f"| {penalty} | {tasks} | {shown} |")
        out.append(f"| {penalty} | exponent | {_exponent(many, times):.2f} | | |")
    return out


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    measure_here(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
