"""The poster: ``python tools/draw_readme.py`` writes ``docs/images/wages.png``.

README.md, README.zh.md and docs/index.md show it. Lines are fitted to four interviews of each
woman, drawn at random, and judged on all her other ones.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.linear_model import LinearRegression

from polytask import BayesianMultiTaskRegressor, Pooled, SingleTask
from polytask.charts import COLOURS
from polytask.datasets import load_wages


def main() -> None:
    """Fit a line per woman alone, one for all and joint ones, and draw those of 40 women."""
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
        errors[name] = np.sqrt(np.mean(residual**2))
        print(f"{name}: root mean squared error {errors[name]:.3f}")

    plt.rcParams["font.size"] = 13
    figure, axes = plt.subplots(1, 2, figsize=(6, 4.2), sharey=True, layout="constrained")
    ends, shown = np.array([[0.0], [12.0]]), rng.choice(women, 40, replace=False)
    titles = {"separate": "one model per woman", "joint": "learning together"}
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        colour = COLOURS["gain"] if name == "joint" else COLOURS["unclear"]
        for woman in shown:
            ax.plot(
                ends, models[name].predict(ends, task=[woman] * 2), color=colour, lw=1, alpha=0.7
            )
        ax.plot(ends, models["pooled"].predict(ends, task=women[:2]), color="black", lw=3)
        ax.set_title(f"{title}\nerror {errors[name]:.2f}", fontsize=14, fontweight="bold")
        ax.set(xlim=(0, 12), ylim=(0, 4), xlabel="years of work", xticks=(0, 5, 10))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("log of hourly wage")
    black = f"black: one model for all women, error {errors['pooled']:.2f}"
    figure.supxlabel(f"{black}\n4 interviews per woman, errors on the others", fontsize=13)
    figure.savefig(drawn := BytesIO(), dpi=130, facecolor="white")
    # The page loads faster with a palette.
    target = Path(__file__).parents[1] / "docs" / "images" / "wages.png"
    Image.open(drawn).convert("RGB").quantize(64).save(target, optimize=True)


if __name__ == "__main__":
    main()
