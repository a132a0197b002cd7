"""How often the race of an automatic choice stops what a full run would take.

``python benchmarks/auto_race.py radon:5 mtr_enb:3``: on every split Auto is fitted without stops,
then with them on the same folds (those that are finished are read from a journal). The winner is
the candidate of the best score of the full run; the weight that was lost is what stopped
candidates have in the combination of the full run, mean over rows. Both runs are scored on the
held-out quarter as in ``auto.py``. ``--keep FILE`` goes on with a run that was stopped.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from _kept import Kept
from _sets import RealSet, load_table
from _tables import table
from auto import Plan
from real_data import score, splits, take

import polytask
from polytask import AutoMultiTaskClassifier, AutoMultiTaskRegressor
from polytask.selection.auto import race


@contextmanager
def without_stops() -> Iterator[None]:
    """Let no candidate be behind: the level of the test is 0."""
    level, race.LEVEL = race.LEVEL, 0.0
    try:
        yield
    finally:
        race.LEVEL = level


def measure(data: RealSet, pair: tuple[np.ndarray, np.ndarray]) -> tuple[float, ...]:
    """Return whether the winner was stopped, the weight lost, two scores and two CPU times."""
    train, test = pair
    labels = {} if data.task is None else {"task": data.task[train]}
    auto = AutoMultiTaskClassifier if data.classes else AutoMultiTaskRegressor
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = auto(journal=Path(folder) / "auto.journal")
        rows = take(data.X, train), data.y[train]
        with without_stops():
            made.fit(*rows, **labels)
        full, whole = made.leaderboard(), score(made, data, test)
        made.fit(*rows, **labels)
        raced, part = made.leaderboard(), score(made, data, test)
    lost = float(full.weight[full.model.isin(made.behind_.keys())].sum())
    stopped = float(full.model[0] in made.behind_)
    return stopped, lost, whole, part, float(full.seconds.sum()), float(raced.seconds.sum())


HEAD = ("set", "splits", "winner stopped", "weight lost", "full run", "race", "race minus full",
        "CPU s of folds, full", "race")  # fmt: skip


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of all that is kept, and what is below it."""
    found = {name: np.array(list(own["race"].values())) for name, own in kept.grouped().items()}
    rows = []
    for name, own in found.items():
        lost, whole, part, full, raced = own[:, 1:].mean(axis=0)
        scores = f"{lost:.3f}", f"{whole:.4f}", f"{part:.4f}", f"{part - whole:+.4f}"
        rows.append([name, len(own), int(own[:, 0].sum()), *scores, f"{full:.1f}", f"{raced:.1f}"])
    every = np.concatenate(list(found.values()))
    below = (
        f"Winner stopped in {int(every[:, 0].sum())} of {len(every)} runs; "
        f"median CPU of the folds, race over full run: {np.median(every[:, 5] / every[:, 4]):.2f}."
    )
    return {"all": f"{table(HEAD, rows)}\n\n{below}"}


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Plan.read)
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    chosen = parser.parse_args()
    print(
        f"`python benchmarks/auto_race.py {shlex.join(sys.argv[1:])}`, "
        f"polytask {polytask.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores\n"
    )
    kept = Kept(chosen.keep)
    for plan in chosen.sets:
        data, kept.title = load_table(plan.name), plan.name
        for k, pair in enumerate(splits(data, plan.n_splits)):
            kept.get("race", k, partial(measure, data, pair))
    print(tables(kept)["all"])


if __name__ == "__main__":
    main()
