"""When balancing the tasks of a network does not matter, and when it does.

Simulations in which tasks are alike, of unlike noise, of unlike units, or at odds in a narrow
trunk, and two real sets (mtr_enb, mtr_wq, from the folder POLYTASK_DATA); every balancer, the same
network, epochs and five seeds. All keep the epoch that is best on the rows held out, by the plain
sum of the losses.

Run: python benchmarks/balancing_matters.py [--keep FILE] [--out FILE] [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from _kept import Kept
from _nets import (
    PALETTE,
    SEEDS,
    Problem,
    Trained,
    against,
    picture,
    table,
    told,
    trained,
    versions,
)
from _sets import load_set

from polytask.deep import MLP, DeepMultiTaskRegressor, balancing

TASKS, FEATURES, ROWS, TEST_ROWS, NOISE = 6, 12, 500, 1000, 0.3
EQUAL = "equal"
BALANCERS = {
    EQUAL: None,
    "GeometricMean": balancing.GeometricMean(),
    "RandomWeights": balancing.RandomWeights(),
    "STCH": balancing.STCH(),
    "Uncertainty": balancing.Uncertainty(),
    "IMTLL": balancing.IMTLL(),
    "DWA": balancing.DWA(),
    "FAMO": balancing.FAMO(),
    "GradNorm": balancing.GradNorm(),
    "MGDA": balancing.MGDA(),
    "PCGrad": balancing.PCGrad(),
    "CAGrad": balancing.CAGrad(),
    "IMTLG": balancing.IMTLG(),
    "Nash": balancing.Nash(),
    "Aligned": balancing.Aligned(),
    "UPGrad": balancing.UPGrad(),
}


def _relations(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return targets that are mixtures of a few bent directions, (n, TASKS)."""
    hidden = np.tanh(x @ rng.standard_normal((FEATURES, 6)) / np.sqrt(FEATURES) * 2.0)
    mixed = hidden @ rng.standard_normal((6, TASKS))
    return mixed / mixed.std(axis=0)


def _problem(x: np.ndarray, y: np.ndarray) -> Problem:
    return Problem(x[:ROWS], y[:ROWS], None, x[ROWS:], y[ROWS:], None)


def simulated(seed: int, noise: np.ndarray, units: np.ndarray) -> Problem:
    """Return tasks that are mixtures of the same directions."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((ROWS + TEST_ROWS, FEATURES))
    y = _relations(x, rng) + noise * rng.standard_normal((len(x), TASKS))
    return _problem(x, units * y)


def at_odds(seed: int) -> Problem:
    """Return tasks of which the last has nothing in common with the others, which are alike."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((ROWS + TEST_ROWS, FEATURES))
    common = x @ rng.standard_normal((FEATURES, 2)) / np.sqrt(FEATURES)
    y = np.tanh(common) @ rng.standard_normal((2, TASKS))
    y[:, -1] = np.tanh(x @ rng.standard_normal(FEATURES) / np.sqrt(FEATURES))
    y /= y.std(axis=0)
    return _problem(x, y + NOISE * rng.standard_normal(y.shape))


def real(name: str, seed: int) -> Problem:
    """Return a set, half of its rows for the test."""
    found = load_set(name)
    order = np.random.default_rng(seed).permutation(len(found.y))
    fit, test = order[: len(order) // 2], order[len(order) // 2 :]
    return Problem(found.X[fit], found.y[fit], None, found.X[test], found.y[test], None)


class Case(NamedTuple):
    """A problem for every seed, the trunk, and how targets are scaled."""

    make: Callable[[int], Problem]
    widths: tuple[int, ...] = (64, 64)
    scale: str | None = "task"
    epochs: int = 150


EVEN, ONES = np.full(TASKS, NOISE), np.ones(TASKS)
LOUD = np.array([NOISE] * (TASKS - 2) + [3.0, 3.0])
UNITS = np.geomspace(1.0, 100.0, TASKS)
# The same as "alike", which is what scaling is for: of equal weights alone, for the picture.
SCALED = "unlike units, scaled"
CASES = {
    "alike": Case(lambda seed: simulated(seed, EVEN, ONES)),
    "unlike noise": Case(lambda seed: simulated(seed, LOUD, ONES), epochs=60),
    "unlike units": Case(lambda seed: simulated(seed, EVEN, UNITS), scale=None),
    SCALED: Case(lambda seed: simulated(seed, EVEN, UNITS)),
    "at odds": Case(at_odds, widths=(2,)),
    "at odds, wide": Case(at_odds),
    "mtr_enb": Case(lambda seed: real("mtr_enb", seed), epochs=200),
    "mtr_wq": Case(lambda seed: real("mtr_wq", seed), epochs=30),
}
# How far the axes of gains go, of the mean over tasks and of the worst task.
WIDEST = (0.15, 0.45)
# The lines of the picture of training: the case and the balancer.
TRAINING = (("unlike units", EQUAL), ("unlike units", "Nash"), (SCALED, EQUAL))


class Results:
    """The networks of one case, trained when they are asked for."""

    def __init__(self, title: str, keep: str | None) -> None:
        self.title, self.case = title, CASES[title]
        self.kept = Kept(keep, title)

    def of(self, name: str, seed: int) -> Trained:
        """Return one network."""
        return Trained(*self.kept.get(name, seed, lambda: self._train(name, seed)))

    def _train(self, name: str, seed: int) -> Trained:
        case = self.case
        model = DeepMultiTaskRegressor(
            MLP(case.widths),
            balancer=BALANCERS[name],
            learning_rate=3e-3,
            batch_size=64,
            max_epochs=case.epochs,
            patience=None,
            scale_targets=case.scale,
            device="cpu",
            random_state=seed,
        )
        return trained(model, case.make(seed))

    def scores(self, name: str) -> np.ndarray:
        """Return test R2, (seeds, tasks)."""
        return np.array([self.of(name, seed).scores for seed in range(SEEDS)])

    def run(self) -> None:
        """Train every network."""
        for name in BALANCERS if self.title != SCALED else [EQUAL]:
            self.scores(name)
            print(f"{self.title}, {name}: done", flush=True)


def report(results: list[Results]) -> str:
    """Return the tables."""
    head = ["balancer", *(of.title for of in results)]
    base = {of.title: of.scores(EQUAL) for of in results}
    tables = []
    for what, over in (("mean over tasks", np.mean), ("the worst task", np.min)):
        rows = {
            name: [
                f"{over(of.scores(name), axis=1).mean():.3f}"
                if name == EQUAL
                else told(*against(over(of.scores(name), axis=1), over(base[of.title], axis=1)))
                for of in results
            ]
            for name in BALANCERS
        }
        tables.append(f"## Test R2, {what}: equal weights, and the others less that")
        tables.append(table(head, rows))
    return "\n\n".join(tables)


def gains(results: list[Results], panels: Any) -> None:
    """Draw for every balancer the gain over equal weights and its interval."""
    names = [name for name in BALANCERS if name != EQUAL]
    places = -np.arange(len(names), dtype=float)
    for column, of in enumerate(results):
        for row, over in enumerate((np.mean, np.min)):
            ax, base = panels[row, column], over(of.scores(EQUAL), axis=1)
            found = [against(over(of.scores(name), axis=1), base) for name in names]
            for place, (mean, half) in zip(places, found, strict=True):
                clear = abs(mean) > half
                colour = PALETTE[1] if clear and mean > 0 else PALETTE[2] if clear else "0.55"
                ax.errorbar(mean, place, xerr=half, fmt="o", color=colour, markersize=3)
            ax.axvline(0.0, color="0.7", linewidth=0.8, zorder=0)
            ax.set_yticks(places, names if column == 0 else [])
            ax.set_xlim(-WIDEST[row], WIDEST[row])
        panels[0, column].set_title(of.title)
        panels[1, column].set_xlabel("gain in test R2")
    for ax, what in zip(panels[:, 0], ("mean over tasks", "worst task"), strict=True):
        ax.set_ylabel(what)


def training(results: list[Results], panels: Any) -> None:
    """Draw held-out losses by epoch and task, as shares of what a constant leaves."""
    by_title = {of.title: of for of in results}
    colours = [str(shade) for shade in np.linspace(0.75, 0.0, TASKS)]
    for ax, (title, name) in zip(panels.flat, TRAINING, strict=True):
        of = by_title[title]
        runs = []
        for seed in range(SEEDS):
            variance = of.case.make(seed).y.var(axis=0) if of.case.scale is None else 1.0
            runs.append(2.0 * np.array(of.of(name, seed).by_task) / variance)
        for losses, colour in zip(np.mean(runs, axis=0).T, colours, strict=True):
            ax.plot(np.arange(1, len(losses) + 1), losses, color=colour, linewidth=1.2)
        ax.set_ylim(0.0, 1.5)
        ax.set_title(f"{title}: {name}")
        ax.set_xlabel("epoch")
    panels.flat[0].set_ylabel("held-out squared error\n(1: a constant)")


def main() -> None:
    """Train, print the tables, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--keep", help="results of an earlier run, to go on from")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = [Results(title, given.keep) for title in given.cases]
    for of in results:
        of.run()
    text = report([of for of in results if of.title != SCALED])
    print(f"\n{versions()}\n\n{text}")
    if given.out:
        given.out.write_text(f"{versions()}\n\n{text}\n", encoding="utf-8")
    if given.pictures:
        drawn = [
            of for of in results if of.title in ("alike", "unlike units", "at odds", "mtr_enb")
        ]
        picture(
            given.pictures / "balancing_gains.png",
            (2, len(drawn)),
            (1.9 * len(drawn) + 0.8, 4.6),
            lambda panels: gains(drawn, panels),
        )
        picture(
            given.pictures / "balancing_training.png",
            (1, len(TRAINING)),
            (7.5, 2.5),
            lambda panels: training(results, panels),
        )


if __name__ == "__main__":
    main()
