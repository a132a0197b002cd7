"""The poster: ``python tools/draw_readme.py`` writes wages.png and wages_zh.png in docs/images.

The READMEs and the first pages of the site show them. Lines are fitted to four interviews of each
woman, drawn at random, and judged on all her other ones. The Chinese one needs a font that has
its characters: Noto Sans CJK.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.linear_model import LinearRegression

from polytask import BayesianMultiTaskRegressor, Pooled, SingleTask
from polytask.charts import COLOURS
from polytask.datasets import load_wages

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SHOWN = 40
# Titles of both sides, of the errors, and of the axes, and what is below.
ENGLISH = (
    "one model per woman", "learning together", "error", "years of work", "log of hourly wage",
    "black: one model for all women", "4 interviews per woman, errors on the others",
)  # fmt: skip
CHINESE = (
    "每位女性一个模型", "联合学习", "误差", "工作年数", "小时工资的对数",
    "黑线：全体女性共用一个模型", "每位女性用 4 次访谈，误差在其余访谈上计算",
)  # fmt: skip


def fitted() -> tuple[dict[str, Any], dict[str, float], np.ndarray]:
    """Return lines per woman, one for all and joint ones, their errors, and women to draw."""
    wages, rng = load_wages(), np.random.default_rng(0)
    years, y, task = wages.X[["experience"]].to_numpy(), wages.y, wages.task
    women = np.unique(task)
    four = [rng.choice(np.flatnonzero(task == woman), 4, replace=False) for woman in women]
    train = np.isin(np.arange(len(y)), np.concatenate(four))
    models = {
        "separate": SingleTask(LinearRegression()),
        "pooled": Pooled(LinearRegression()),
        "joint": BayesianMultiTaskRegressor(),
    }
    errors = {}
    for name, model in models.items():
        model.fit(years[train], y[train], task=task[train])
        residual = y[~train] - model.predict(years[~train], task=task[~train])
        errors[name] = float(np.sqrt(np.mean(residual**2)))
    return models, errors, rng.choice(women, SHOWN, replace=False)


def draw(
    models: dict[str, Any],
    errors: dict[str, float],
    women: np.ndarray,
    words: tuple[str, ...],
    name: str,
) -> None:
    """Draw a poster."""
    alone, joint, error, x, y, pooled, below = words
    figure, axes = plt.subplots(1, 2, figsize=(6, 4.2), sharey=True, layout="constrained")
    ends = np.array([[0.0], [12.0]])
    for ax, (key, title) in zip(axes, {"separate": alone, "joint": joint}.items(), strict=True):
        colour = COLOURS["gain"] if key == "joint" else COLOURS["unclear"]
        for woman in women:
            line = models[key].predict(ends, task=[woman] * 2)
            ax.plot(ends, line, color=colour, lw=1, alpha=0.7)
        ax.plot(ends, models["pooled"].predict(ends, task=women[:2]), color="black", lw=3)
        ax.set_title(f"{title}\n{error} {errors[key]:.2f}", fontsize=14, fontweight="bold")
        ax.set(xlim=(0, 12), ylim=(0, 4), xlabel=x, xticks=(0, 5, 10))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(y)
    comma = "，" if words is CHINESE else ", "
    figure.supxlabel(f"{pooled}{comma}{error} {errors['pooled']:.2f}\n{below}", fontsize=13)
    figure.savefig(drawn := BytesIO(), dpi=130, facecolor="white")
    # The page loads faster with a palette.
    Image.open(drawn).convert("RGB").quantize(64).save(IMAGES / name, optimize=True)


def main() -> None:
    """Draw both."""
    plt.rcParams |= {"font.size": 13, "font.family": ["DejaVu Sans", "Noto Sans CJK SC"]}
    found = fitted()
    draw(*found, ENGLISH, "wages.png")
    draw(*found, CHINESE, "wages_zh.png")


if __name__ == "__main__":
    main()
