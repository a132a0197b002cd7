"""How long `compare` takes on many tasks: ``python benchmarks/compare_scale.py [--quick]``.

80 tasks x 1,000 rows x 40 mixed columns (30 numbers, 5 categories of 4 levels, 5 true/false).
Prints the estimate that is made before the work, the time that it took, and their ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import re
import time

import numpy as np
import pandas as pd

import polytask
from polytask import compare


def table(n_tasks: int, n_rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw tasks that share most of their coefficients."""
    rng = np.random.default_rng(0)
    n = n_tasks * n_rows
    task = np.repeat(np.arange(n_tasks), n_rows)
    numbers = rng.standard_normal((n, 30))
    coef = rng.standard_normal(30) + 0.3 * rng.standard_normal((n_tasks, 30))
    frame = pd.DataFrame(numbers, columns=[f"x{j}" for j in range(30)])
    y = (numbers * coef[task]).sum(axis=1) + 5.0 * rng.standard_normal(n)
    for j in range(5):
        level = rng.integers(0, 4, n)
        frame[f"kind{j}"] = pd.Categorical.from_codes(level, list("abcd"))
        frame[f"flag{j}"] = rng.random(n) < 0.3
        y += 0.5 * level + frame[f"flag{j}"]
    frame["task"] = task
    return frame, y


def main() -> None:
    """Run and time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=80)
    parser.add_argument("--rows", type=int, default=1000)
    chosen = parser.parse_args()
    frame, y = table(chosen.tasks, chosen.rows)
    said = io.StringIO()
    started = time.perf_counter()
    with contextlib.redirect_stderr(said):
        result = compare(
            frame, y, task_column="task", quick=chosen.quick, n_jobs=chosen.jobs, verbose=True
        )
    taken = time.perf_counter() - started
    print(f"polytask {polytask.__version__}, Python {platform.python_version()}")
    plan = re.search(r"\d+ models.*", said.getvalue())
    print(f"estimate: {plan.group(0) if plan else 'none'}")
    print(f"taken: {taken:.0f} s, verdict {result.verdict}, gain {result.gain}")
    for row in result.models:
        print(f"  {row.name}: {row.score.mean:.4f}, {row.fit_seconds:.1f} CPU s per fit")


if __name__ == "__main__":
    main()
