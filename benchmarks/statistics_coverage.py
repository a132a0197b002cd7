"""How often the interval of the gain of statistics covers it.

Run ``python benchmarks/statistics_coverage.py``.

The collections, models and rule are those of ``gain_coverage.py``. Each collection is judged by
its rows, and by the statistics of its five folds: there one fold is held out in place of rows,
three of the other four choose the models, and what is known of a task is the sum over each of its
folds. The true gains of both differ a little, because both may choose other models. Finished
batches are kept in the file ``--kept``, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
from _kept import Kept
from false_discovery import Setting
from gain_coverage import run
from numpy.typing import NDArray

import polytask

BATCH = 25
SIZES = (12, 50, 200)
DESIGNS = {
    "related 0.75, 30 rows: sharing helps": Setting(0, 30, 0.75),
    "unrelated, 60 rows: next to nothing is shared": Setting(0, 60, 0.0),
    "identical, 20 rows: pooling is enough": Setting(
        0, 20, 1.0, n_features=6, noise=1.5, level=2.0
    ),
    "noise, 40 rows: nothing to learn": Setting(0, 40, 0.0, signal=0.0, level=0.0),
}
# Whether tasks have rows of their own, or are targets of the same rows, which then have this share
# of their noise in common.
FORMS = {"": None, "targets, ": 0.0, "targets, half of the noise in common, ": 0.5}
HEAD = (
    "| collection | tasks | runs | true gain, median | rows: error | stated | covered 90% | 95% "
    "| statistics: error | stated | covered 90% | 95% | false share, rows | statistics |"
)


def batch(setting: Setting, seed: int, collected: bool, common: float | None) -> list[list[float]]:
    """Return true gain, estimate, error, half of both intervals, and a false share of each run."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(BATCH):
        one = run(setting, rng, collected, common)
        reach = [one.whole.interval(level).high - one.whole.mean for level in (0.90, 0.95)]
        false = one.verdicts[1] == "share" and one.true <= 0
        found.append([one.true, one.whole.mean, one.whole.error, *reach, float(false)])
    return found


def cells(table: NDArray[np.float64]) -> list[str]:
    """Return what is shown of the runs of one kind; table is (runs, 6)."""
    true, mean, error, *reach, _ = table.T
    away = np.abs(mean - true)
    covered = [f"{np.mean(away <= half):.3f}" for half in reach]
    return [f"{np.sqrt(np.mean(away**2)):.4f}", f"{np.sqrt(np.mean(error**2)):.4f}", *covered]


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="a multiple of 25")
    parser.add_argument("--tasks", type=int, nargs="*", default=SIZES)
    parser.add_argument("--forms", type=int, nargs="*", default=range(len(FORMS)))
    parser.add_argument("--kept", default="statistics_coverage.jsonl")
    chosen, started = parser.parse_args(), time.process_time()
    versions = f"numpy {np.__version__}, Python {platform.python_version()}"
    print(f"polytask {polytask.__version__}, {versions}\n")
    print(HEAD + "\n|" + "---|" * (HEAD.count("|") - 1))
    forms = [[*FORMS.items()][k] for k in chosen.forms]
    for (form, common), n_tasks, (name, blank) in product(forms, chosen.tasks, DESIGNS.items()):
        setting, design, tables = replace(blank, n_tasks=n_tasks), f"{form}{name}", []
        for collected in (False, True):
            kept = Kept(chosen.kept, "statistics" if collected else "rows")
            found = [
                kept.get(
                    f"{design}, {n_tasks}",
                    seed,
                    partial(batch, setting, seed, collected, common),
                )
                for seed in range(chosen.runs // BATCH)
            ]
            tables.append(np.concatenate(found))
        rows, sums = tables
        line = [design, str(n_tasks), str(len(rows)), f"{np.median(rows[:, 0]):+.4f}"]
        line += [*cells(rows), *cells(sums)]
        line += [f"{int(table[:, -1].sum())}" for table in tables]
        print("| " + " | ".join(line) + " |", flush=True)
    print(f"\n{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
