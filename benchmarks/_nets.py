"""What the programs about networks share: seeds, runs that are kept, intervals and pictures."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import polytask

SEEDS = 5
# Of Student's t with 4 degrees of freedom: 95% intervals of the mean of five.
T_FOUR = 2.776
# Okabe and Ito's colours, told apart with any kind of colour vision, and black.
PALETTE = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


class Problem(NamedTuple):
    """Rows to learn from and rows to judge by; `task` is None for a target matrix."""

    X: np.ndarray
    y: np.ndarray
    task: np.ndarray | None
    X_test: np.ndarray
    y_test: np.ndarray
    task_test: np.ndarray | None


class Trained(NamedTuple):
    """One network: its best held-out loss, its test score by task, held-out losses by epoch."""

    held_out: float
    scores: list[float]
    curve: list[float]
    by_task: list[list[float]]
    zeros: float

    @property
    def score(self) -> float:
        """The mean over tasks."""
        return float(np.nanmean(self.scores))


def r2(y: np.ndarray, predicted: np.ndarray) -> float:
    """Return 1 less the squared error as a share of that of the mean."""
    return float(1.0 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2))


def scores_of(model: Any, problem: Problem) -> list[float]:
    """Return R2 on the test rows of every task."""
    predicted = model.predict(problem.X_test, task=problem.task_test)
    if problem.task_test is None:
        pairs = zip(problem.y_test.T, predicted.T, strict=True)
        return [r2(y, p) for y, p in pairs]
    rows = [problem.task_test == task for task in model.tasks_]
    return [r2(problem.y_test[own], predicted[own]) for own in rows]


def trained(model: Any, problem: Problem) -> Trained:
    """Fit a model; return what is kept of it."""
    model.fit(problem.X, problem.y, task=problem.task)
    history = model.history_
    held = history.held_out_objective
    first = next(p for p in model.network_.parameters() if p.ndim == 2)
    return Trained(
        held_out=float("nan") if held is None else float(held.min()),
        scores=scores_of(model, problem),
        curve=[] if held is None else held.tolist(),
        by_task=[] if history.held_out is None else history.held_out.tolist(),
        zeros=float((first == 0).float().mean()),
    )


def against(ours: Sequence[float], base: Sequence[float]) -> tuple[float, float]:
    """Return the mean of paired differences, and half the length of its 95% interval."""
    differences = np.subtract(ours, base)
    return float(differences.mean()), T_FOUR * float(differences.std(ddof=1)) / np.sqrt(SEEDS)


def told(mean: float, half: float) -> str:
    """Return a difference with its interval, bold where that leaves out 0."""
    text = f"{mean:+.3f} ± {half:.3f}"
    return f"**{text}**" if abs(mean) > half else text


def table(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join([name, *cells]) + " |" for name, cells in rows.items()]
    return "\n".join(lines)


def versions() -> str:
    """Return what the figures were made with."""
    return (
        f"polytask {polytask.__version__}, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}; 2 cores, one thread"
    )


def picture(
    path: Path, shape: tuple[int, int], size: tuple[float, float], draw: Callable[[Any], object]
) -> None:
    """Write a picture of panels, which `draw` gets as an array of Axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**mpl.rcParamsDefault, "font.size": 8.0}):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        panels = figure.subplots(*shape, squeeze=False)
        for ax in panels.flat:
            ax.spines[["top", "right"]].set_visible(False)
        draw(panels)
        figure.savefig(path, dpi=100, metadata={"Software": None})
    print(f"wrote {path.name}", flush=True)
