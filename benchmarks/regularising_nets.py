"""What L1, L2, dropout and two kinds of batch norm do to a network, alone and together.

Two simulations and two real sets (school, mtr_atp1d, from the folder POLYTASK_DATA), five seeds.
A fifth of the training rows of every task is held out; each strength is chosen by the loss on
them, under a norm anew; other networks with two regularisers take the strengths chosen for each
alone. All networks keep the epoch that is best on the rows held out, but for "last epoch".

Run: python benchmarks/regularising_nets.py [--keep FILE] [--out FILE] [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
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

from polytask.deep import MLP, DeepMultiTaskRegressor
from polytask.penalties import L1, L2

TASKS, FEATURES, ROWS, TEST_ROWS, NOISE = 4, 30, 300, 500, 0.5
OFFSET, GAIN = 4.0, 0.7
HIDDEN = (128, 128)
PLAIN = "nothing"
LAST = "nothing, last epoch"
CHOSEN = "chosen among all of these"


class Plan(NamedTuple):
    """The problem of a seed, and how long and in what batches networks are trained on it."""

    make: Callable[[int], Problem]
    epochs: int
    batch_size: int | str = "auto"
    own_norms: bool = True


@dataclass(frozen=True)
class Net:
    """A network: strengths are per task, as the loss is a sum over tasks."""

    l1: float = 0.0
    l2: float = 0.0
    dropout: float = 0.0
    norm: str | None = None
    early: bool = True

    def estimator(self, n_tasks: int, plan: Plan, seed: int) -> DeepMultiTaskRegressor:
        """Return the estimator."""
        penalties: dict[str, Any] = {}
        if self.l1:
            penalties["input"] = L1(n_tasks * self.l1)
        if self.l2:
            penalties["*"] = L2(n_tasks * self.l2)
        return DeepMultiTaskRegressor(
            MLP(HIDDEN, dropout=self.dropout, norm=self.norm),
            penalties=penalties,
            learning_rate=2e-3,
            batch_size=plan.batch_size,
            max_epochs=plan.epochs,
            patience=None,
            early_stopping=self.early,
            validation=0.2,
            device="cpu",
            random_state=seed,
        )


L1_STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2)
L2_STRENGTHS = (1e-3, 1e-2, 1e-1)
DROPOUTS = (0.1, 0.25, 0.5)


def with_norm(norm: str | None) -> dict[str, list[Net]]:
    """Return networks by the regulariser that they have beside a norm."""
    return {
        "L1": [Net(l1=s, norm=norm) for s in L1_STRENGTHS],
        "L2": [Net(l2=s, norm=norm) for s in L2_STRENGTHS],
        "dropout": [Net(dropout=s, norm=norm) for s in DROPOUTS],
    }


FREE = with_norm(None)
SEARCHED = {
    PLAIN: [Net()],
    LAST: [Net(early=False)],
    **FREE,
    "batch norm": [Net(norm="batch")],
    **{f"batch norm + {name}": nets for name, nets in with_norm("batch").items()},
}
OWN_NORMS = {
    "task batch norm": [Net(norm="task_batch")],
    "task batch norm + L1": with_norm("task_batch")["L1"],
}
TOGETHER = (("L1", "L2"), ("L1", "dropout"), ("L2", "dropout"), ("L1", "L2", "dropout"))
SHOWN = (PLAIN, "L1", "L2", "dropout", "batch norm", "task batch norm")
FIELDS = {"L1": "l1", "L2": "l2", "dropout": "dropout"}


def simulated(seed: int, own_instruments: bool) -> Problem:
    """Return rows of tasks that are variations of one relation of five of thirty features.

    With instruments of their own, each task reads its features with an offset for each and a
    gain for all of them.
    """
    rng = np.random.default_rng(seed)
    size = (TASKS, ROWS + TEST_ROWS)
    x = rng.standard_normal((*size, FEATURES))
    slopes = 1.0 + 0.3 * rng.standard_normal((TASKS, 1, 3))
    y = slopes[..., 0] * np.tanh(2.0 * x[..., 0] * x[..., 1]) + slopes[..., 1] * x[..., 2]
    y += slopes[..., 2] * np.abs(x[..., 3] - x[..., 4]) + NOISE * rng.standard_normal(size)
    if own_instruments:
        offset = OFFSET * rng.standard_normal((TASKS, 1, FEATURES))
        x = np.exp(GAIN * rng.standard_normal((TASKS, 1, 1))) * (x + offset)
    task = np.repeat(np.arange(TASKS), ROWS), np.repeat(np.arange(TASKS), TEST_ROWS)
    fit, test = (slice(None), slice(ROWS)), (slice(None), slice(ROWS, None))
    flat = (-1, FEATURES)
    return Problem(
        x[fit].reshape(flat),
        y[fit].ravel(),
        task[0],
        x[test].reshape(flat),
        y[test].ravel(),
        task[1],
    )


def real(name: str, seed: int, share: float) -> Problem:
    """Return a set split at random; of a set with a task for each row every task is split."""
    found = load_set(name)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(found.y))
    if found.task is not None:
        order = order[np.argsort(found.task[order], kind="stable")]
        _, first, count = np.unique(found.task[order], return_index=True, return_counts=True)
        place = (np.arange(len(order)) - np.repeat(first, count)) / np.repeat(count, count)
        inside = place < share
    else:
        inside = np.arange(len(order)) < share * len(order)
    fit, test = order[inside], order[~inside]
    if found.task is None:
        return Problem(found.X[fit], found.y[fit], None, found.X[test], found.y[test], None)
    whole = (found.X, found.y, found.task)
    return Problem(*[part[fit] for part in whole], *[part[test] for part in whole])


SETS = {
    "one instrument": Plan(lambda seed: simulated(seed, own_instruments=False), 80, 128),
    "own instruments": Plan(lambda seed: simulated(seed, own_instruments=True), 80, 128),
    "mtr_atp1d": Plan(lambda seed: real("mtr_atp1d", seed, 0.75), 80, own_norms=False),
    "school": Plan(lambda seed: real("school", seed, 0.25), 40),
}


class Results:
    """The networks of one set, trained when they are asked for."""

    def __init__(self, title: str, keep: str | None) -> None:
        self.title = title
        self.plan = SETS[title]
        self.searched = SEARCHED | (OWN_NORMS if self.plan.own_norms else {})
        self.kept = Kept(keep, title)
        self.problems: dict[int, Problem] = {}

    def of(self, net: Net, seed: int) -> Trained:
        """Return one network."""
        return Trained(*self.kept.get(repr(net), seed, lambda: self._train(net, seed)))

    def _train(self, net: Net, seed: int) -> Trained:
        if seed not in self.problems:
            self.problems[seed] = self.plan.make(seed)
        problem = self.problems[seed]
        n_tasks = problem.y.shape[1] if problem.task is None else len(np.unique(problem.task))
        return trained(net.estimator(n_tasks, self.plan, seed), problem)

    def best(self, nets: list[Net], seed: int) -> Net:
        """Return the network with the smallest held-out loss."""
        return min(nets, key=lambda net: self.of(net, seed).held_out) if len(nets) > 1 else nets[0]

    def together(self, names: tuple[str, ...], seed: int) -> Net:
        """Return the network with several regularisers, each as chosen alone."""
        chosen = {FIELDS[name]: self.best(FREE[name], seed) for name in names}
        return replace(Net(), **{field: getattr(net, field) for field, net in chosen.items()})

    def rows(self, seed: int) -> dict[str, Net]:
        """Return the network of every row of the table."""
        named = {name: self.best(nets, seed) for name, nets in self.searched.items()}
        for names in TOGETHER:
            named[" + ".join(names)] = self.together(names, seed)
        judged = [net for net in named.values() if net.early]
        return named | {CHOSEN: self.best(judged, seed)}


def scores(results: Results) -> dict[str, list[float]]:
    """Return the test scores of every row, one for each seed."""
    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        for name, net in results.rows(seed).items():
            found.setdefault(name, []).append(results.of(net, seed).score)
        print(f"{results.title}, seed {seed}: done", flush=True)
    return found


def report(every: dict[str, dict[str, list[float]]]) -> str:
    """Return the tables."""
    names = list(dict.fromkeys(name for of in every.values() for name in of))
    means = {name: [_mean(of.get(name)) for of in every.values()] for name in names}
    gains = {name: [_gain(of.get(name), of[PLAIN]) for of in every.values()] for name in names}
    head = ["network", *every]
    return "\n\n".join(
        [
            "## Test R2, mean over tasks and seeds (standard deviation over seeds)",
            table(head, means),
            f'## Less that of "{PLAIN}" (paired; 95% interval of five seeds, bold without 0)',
            table(head, {name: cells for name, cells in gains.items() if name != PLAIN}),
        ]
    )


def _mean(found: list[float] | None) -> str:
    return "" if found is None else f"{np.mean(found):.3f} ({np.std(found, ddof=1):.3f})"


def _gain(found: list[float] | None, base: list[float]) -> str:
    return "" if found is None else told(*against(found, base))


def curves(results: list[Results], panels: Any) -> None:
    """Draw held-out losses by epoch, mean over seeds, each network at its chosen strength."""
    for ax, of in zip(panels.flat, results, strict=True):
        for name, colour in zip(SHOWN, PALETTE, strict=False):
            if name not in of.searched:
                continue
            runs = [of.of(of.best(of.searched[name], seed), seed).curve for seed in range(SEEDS)]
            mean = _calm(np.mean(runs, axis=0))
            ax.plot(np.arange(1, len(mean) + 1), mean, color=colour, linewidth=1.3, label=name)
        heights = np.array([line.get_ydata() for line in ax.lines])
        lowest, highest = heights.min(), heights[:, len(heights[0]) // 4 :].max()
        edge = 0.1 * (highest - lowest)
        ax.set_ylim(lowest - edge, highest + edge)
        ax.set_title(of.title)
        ax.set_xlabel("epoch")
    panels.flat[0].set_ylabel("held-out loss")
    _legend(panels.flat[0])


def _legend(ax: Any) -> None:
    """Name the lines of a panel below all of them."""
    lines, labels = ax.get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": len(labels), "frameon": False}
    ax.figure.legend(lines, labels, **place)


def _calm(losses: np.ndarray) -> np.ndarray:
    """Return the median of seven epochs around each."""
    padded = np.pad(losses, 3, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 7), axis=1)


def by_strength(results: list[Results], panels: Any) -> None:
    """Draw test scores by strength, mean over seeds and its standard error."""
    kinds = {None: "no norm", "batch": "batch norm", "task_batch": "task batch norm"}
    for row, of in zip(panels, results, strict=True):
        for ax, (name, field) in zip(row, FIELDS.items(), strict=True):
            for (norm, called), colour in zip(kinds.items(), PALETTE, strict=False):
                nets = with_norm(norm)[name]
                if nets not in of.searched.values():
                    continue
                places = [getattr(net, field) for net in nets]
                every = np.array([[of.of(net, s).score for s in range(SEEDS)] for net in nets])
                error = every.std(axis=1, ddof=1) / np.sqrt(SEEDS)
                style = {"color": colour, "capsize": 2, "linewidth": 1.2, "label": called}
                ax.errorbar(places, every.mean(axis=1), error, **style)
                base = np.mean([of.of(Net(norm=norm), s).score for s in range(SEEDS)])
                ax.axhline(base, color=colour, linewidth=0.8, linestyle=":")
            if name != "dropout":
                ax.set_xscale("log")
        heights = np.concatenate([np.ravel(line.get_ydata()) for ax in row for line in ax.lines])
        top = heights.max(initial=0.0)
        for ax in row:
            ax.set_ylim(max(top - 0.6, heights.min(initial=1.0) - 0.05), top + 0.05)
        row[0].set_ylabel(f"{of.title}\ntest R2")
    for ax, name in zip(panels[-1], FIELDS, strict=True):
        ax.set_xlabel(name if name == "dropout" else f"{name}, strength for each task")
    _legend(panels[0, 0])


def main() -> None:
    """Train, print the tables, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--keep", help="results of an earlier run, to go on from")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = [Results(title, given.keep) for title in given.sets]
    text = report({of.title: scores(of) for of in results})
    print(f"\n{versions()}\n\n{text}")
    if given.out:
        given.out.write_text(f"{versions()}\n\n{text}\n", encoding="utf-8")
    if given.pictures:
        columns = len(results)
        place = given.pictures
        picture(
            place / "regularising_curves.png",
            (1, columns),
            (2.5 * columns, 2.6),
            lambda panels: curves(results, panels),
        )
        picture(
            place / "regularising_strengths.png",
            (columns, 3),
            (7.5, 1.6 * columns),
            lambda panels: by_strength(results, panels),
        )


if __name__ == "__main__":
    main()
