"""What every penalty does to W, as one picture: ``python tools/draw_penalties.py``.

The data term is 1/2 ||W - Z||^2 with one noisy matrix Z, so that what is seen is the
penalty alone.
Writes ``docs/images/penalties.png``, which docs/penalties.md shows.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from polytask import MultiTaskRegressor
from polytask.charts.canvas import COLOURS
from polytask.penalties import (
    L1,
    L2,
    L21,
    Clustered,
    ElasticNet,
    FusedTasks,
    GroupNorm,
    L1Inf,
    LearnedCovariance,
    OutlierTasks,
    SparseGroup,
    TraceNorm,
    TreeGroup,
    along_graph,
    along_time,
    dirty,
    robust,
    sparse_low_rank,
    toward_mean,
)

FEATURES, TASKS = 16, 12
HALVES = [list(range(TASKS)), list(range(6)), list(range(6, TASKS))]
BLOCKS = [list(range(start, start + 4)) for start in range(0, FEATURES, 4)]
RING = {(t, t + 1): 1.0 for t in range(5)} | {(t, t + 1): 1.0 for t in range(6, TASKS - 1)}

PENALTIES: dict[str, Any] = {
    "L1(0.5)": L1(0.5),
    "L2(1)": L2(1.0),
    "ElasticNet(0.7)": ElasticNet(0.7),
    "L21(1.9)": L21(1.9),
    "L1Inf(3)": L1Inf(3.0),
    "SparseGroup(1)": SparseGroup(1.0),
    "GroupNorm(0.5)\nrows in fours": GroupNorm(0.5, groups=BLOCKS),
    "TreeGroup(0.6)\nall, halves": TreeGroup(0.6, groups=HALVES),
    "TraceNorm(2)": TraceNorm(2.0),
    "LearnedCovariance(0.2)": LearnedCovariance(0.2),
    "Clustered(3, k=2), also\nAlternatingStructure": Clustered(3.0, n_clusters=2),
    "OutlierTasks(2.4)": OutlierTasks(2.4),
    "toward_mean(2)": toward_mean(2.0),
    "along_graph(2)\ntwo chains": along_graph(2.0, RING),
    "along_time(2)": along_time(2.0),
    "FusedTasks(0.6, l1=0.1)": FusedTasks(0.6, l1=0.1),
    "dirty(1.6, 0.8)": dirty(1.6, 0.8),
    "robust(2.5, 1.8)": robust(2.5, 1.8),
    "sparse_low_rank(0.7, 2.5)": sparse_low_rank(0.7, 2.5),
}


def planted() -> np.ndarray:
    """Return W: rows that all tasks use, two groups of tasks, entries of one task, one outlier."""
    W = np.zeros((FEATURES, TASKS))
    W[0], W[1] = 1.5, -1.2
    W[2, :6], W[2, 6:] = 1.4, -1.0
    W[3, 6:] = 1.2
    W[[5, 8, 13], [2, 9, 4]] = 2.0, -2.0, 1.8
    W[4:, 10] += np.where(np.arange(FEATURES - 4) % 2, 1.3, -1.3)
    return W


def main() -> None:
    """Fit and draw."""
    W = planted()
    noisy = W + 0.35 * np.random.default_rng(0).standard_normal(W.shape)
    shown = {"planted": W, "with noise": noisy}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, penalty in PENALTIES.items():
            # 1/(2n) ||Y - X W||^2 with X = sqrt(n) I is 1/2 ||W - Z||^2.
            X = np.sqrt(FEATURES) * np.eye(FEATURES)
            model = MultiTaskRegressor(penalty, intercept=None, task_weight="equal", tol=1e-8)
            shown[name] = model.fit(X, np.sqrt(FEATURES) * noisy).coef_.T
    colours = LinearSegmentedColormap.from_list(
        "polytask", [COLOURS["lose"], "#ffffff", COLOURS["gain"]]
    )
    figure, axes = plt.subplots(3, 7, figsize=(14, 8.2), layout="constrained")
    for ax, (name, matrix) in zip(axes.flat, shown.items(), strict=True):
        ax.imshow(matrix, cmap=colours, vmin=-2, vmax=2, aspect="auto", interpolation="nearest")
        zeros = np.argwhere(matrix == 0)
        ax.plot(zeros[:, 1], zeros[:, 0], ".", color="#b0b0b0", markersize=2)
        ax.set_title(name, fontsize=10)
        ax.set_xticks([])
        ax.set_yticks([])
    axes[0, 0].set_ylabel("features")
    axes[0, 0].set_xlabel("tasks")
    place = Path(__file__).parents[1] / "docs" / "images" / "penalties.png"
    figure.savefig(place, dpi=90)


if __name__ == "__main__":
    main()
