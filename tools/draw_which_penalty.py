"""The pictures of docs/which_penalty.md: ``python tools/draw_which_penalty.py``.

For each kind of relation between tasks a true W, what separate ridge regressions make of 24 noisy
rows per task, and what the penalty for that relation makes of the same rows. All strengths are
chosen by cross-validation. Writes ``docs/images/which_NAME.png``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from sklearn.linear_model import RidgeCV

from polytask import MultiTaskRegressorCV, SingleTask
from polytask.charts import COLOURS
from polytask.penalties import (
    L1,
    L2,
    L21,
    Clustered,
    FusedTasks,
    GroupNorm,
    TraceNorm,
    along_time,
    dirty,
    robust,
    toward_mean,
)

FEATURES, TASKS, ROWS = 16, 12, 24
BLOCKS = [list(range(start, start + 4)) for start in range(0, FEATURES, 4)]
NOISE = 2.0
Rng = np.random.Generator


class Case(NamedTuple):
    """A relation between tasks, the penalty for it, and how it is written."""

    planted: Callable[[Rng], np.ndarray]
    penalty: Any
    written: str


def same_features(rng: Rng) -> np.ndarray:
    """Return W with four rows that are not zero."""
    W = np.zeros((FEATURES, TASKS))
    W[[1, 4, 9, 12]] = 1.2 * rng.standard_normal((4, TASKS))
    return W


def some_of_their_own(rng: Rng) -> np.ndarray:
    """Return W with three such rows, and a strong entry in every other task."""
    W = np.zeros((FEATURES, TASKS))
    W[[1, 4, 9]] = rng.choice([-1.0, 1.0], (3, 1)) * (1.0 + 0.2 * rng.standard_normal((3, TASKS)))
    W[rng.choice(np.arange(10, FEATURES), TASKS // 2), np.arange(0, TASKS, 2)] = 2.0
    return W


def own_features(rng: Rng) -> np.ndarray:
    """Return W with three entries in every task."""
    W = np.zeros((FEATURES, TASKS))
    for t in range(TASKS):
        W[rng.choice(FEATURES, 3, replace=False), t] = rng.choice([-1.5, 1.5], 3)
    return W


def one_model(rng: Rng) -> np.ndarray:
    """Return W with columns that vary around one."""
    return rng.standard_normal((FEATURES, 1)) + 0.3 * rng.standard_normal((FEATURES, TASKS))


def groups(rng: Rng) -> np.ndarray:
    """Return W with columns that vary around three."""
    centres = rng.standard_normal((FEATURES, 3))
    noise = 0.15 * rng.standard_normal((FEATURES, TASKS))
    return np.repeat(centres, TASKS // 3, axis=1) + noise


def directions(rng: Rng) -> np.ndarray:
    """Return W of rank 2."""
    return 0.9 * rng.standard_normal((FEATURES, 2)) @ rng.standard_normal((2, TASKS))


def outliers(rng: Rng) -> np.ndarray:
    """Return W of rank 1, but for two columns."""
    W = 1.3 * rng.standard_normal((FEATURES, 1)) @ rng.choice([0.6, 1.0, -1.0], (1, TASKS))
    W[:, [3, 8]] = 1.5 * rng.standard_normal((FEATURES, 2))
    return W


def slow_change(rng: Rng) -> np.ndarray:
    """Return W whose columns drift."""
    start = rng.standard_normal((FEATURES, 1))
    return start + np.cumsum(0.35 * rng.standard_normal((FEATURES, TASKS)), axis=1)


def jumps(rng: Rng) -> np.ndarray:
    """Return W whose columns stay, jump and stay; half of the rows are zero."""
    levels = rng.standard_normal((FEATURES, 3)) * 1.2
    levels[::2] = 0.0
    return np.repeat(levels, (5, 4, 3), axis=1)


def blocks(rng: Rng) -> np.ndarray:
    """Return W with one block of rows that is not zero."""
    W = np.zeros((FEATURES, TASKS))
    W[BLOCKS[1]] = rng.standard_normal((4, TASKS))
    return W


CASES: dict[str, Case] = {
    "same_features": Case(same_features, L21(), "L21()"),
    "some_of_their_own": Case(some_of_their_own, dirty(1.0, 0.7), "dirty(1.0, 0.7)"),
    "own_features": Case(own_features, L1(), "L1()"),
    "blocks": Case(blocks, GroupNorm(groups=BLOCKS), "GroupNorm(groups=...)"),
    "one_model": Case(one_model, toward_mean(1.0) + L2(0.1), "toward_mean(1.0) + L2(0.1)"),
    "groups": Case(groups, Clustered(1.0, n_clusters=3), "Clustered(1.0, n_clusters=3)"),
    "directions": Case(directions, TraceNorm(), "TraceNorm()"),
    "outliers": Case(outliers, robust(1.0, 0.8), "robust(1.0, 0.8)"),
    "slow_change": Case(slow_change, along_time(1.0) + L2(0.01), "along_time(1.0) + L2(0.01)"),
    "jumps": Case(jumps, FusedTasks(1.0, l1=0.3), "FusedTasks(1.0, l1=0.3)"),
}


def estimates(case: Case, rng: Rng) -> dict[str, np.ndarray]:
    """Return W by what is written above it: true, of separate models, and with the penalty."""
    W = case.planted(rng)
    tasks = {}
    for t in range(TASKS):
        X = rng.standard_normal((ROWS, FEATURES))
        tasks[t] = (X, X @ W[:, t] + NOISE * rng.standard_normal(ROWS))
    alone = SingleTask(RidgeCV(np.geomspace(0.01, 1000, 31))).fit(tasks)
    shared = MultiTaskRegressorCV(case.penalty, alphas=20).fit(tasks)
    separate = np.column_stack([alone.estimators_[t].coef_ for t in tasks])
    found = {"each task alone": separate, case.written: shared.coef_.T}
    size = np.sum(W**2)
    named = {f"{k}\nerror {np.sum((v - W) ** 2) / size:.2f}": v for k, v in found.items()}
    return {"true\n": W} | named


def draw(name: str, case: Case, folder: Path) -> None:
    """Write one picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = estimates(case, np.random.default_rng(3))
    colours = LinearSegmentedColormap.from_list(
        "polytask", [COLOURS["lose"], COLOURS["paper"], COLOURS["gain"]]
    )
    figure, axes = plt.subplots(1, 3, figsize=(6.6, 2.5), layout="constrained")
    for ax, (title, matrix) in zip(axes, shown.items(), strict=True):
        ax.imshow(matrix, cmap=colours, vmin=-2, vmax=2, aspect="auto", interpolation="nearest")
        zeros = np.argwhere(matrix == 0)
        ax.plot(zeros[:, 1], zeros[:, 0], ".", color="#b0b0b0", markersize=1.5)
        ax.set_title(title, fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
    axes[0].set_ylabel("features")
    axes[0].set_xlabel("tasks")
    figure.savefig(folder / f"which_{name}.png", dpi=80)
    plt.close(figure)
    print(name, "; ".join(title.replace("\n", ", ") for title in shown))


def main() -> None:
    """Draw all."""
    folder = Path(__file__).parents[1] / "docs" / "images"
    for name, case in CASES.items():
        draw(name, case, folder)


if __name__ == "__main__":
    main()
