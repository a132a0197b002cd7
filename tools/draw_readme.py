"""The picture of the README: ``python tools/draw_readme.py`` writes ``docs/images/wages.png``."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from polytask import compare
from polytask.charts import COLOURS
from polytask.datasets import load_wages

WORDS = {
    "pooled": "one model for all women",
    "separate": "one model per woman",
    "pooled + intercepts": "one model, an intercept per woman",
    "separate, one strength": "one model per woman, one penalty strength for all",
    "learned prior": "one model per woman that learns from the others",
}


def main() -> None:
    """Compare models of wages, and draw their scores with intervals."""
    wages = load_wages()
    result = compare(wages.X, wages.y, task=wages.task, quick=True)
    rows = sorted(result.models, key=lambda row: row.score.mean)
    figure, ax = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
    for place, row in enumerate(rows):
        mean, low, high = row.score
        colour = COLOURS["gain"] if row.kind == "shared" else COLOURS["unclear"]
        ax.barh(place, mean, color=colour, height=0.6)
        ax.plot([low, high], [place, place], color="black", linewidth=1)
        ax.text(high + 0.01, place, f"{mean:.2f}", va="center")
    ax.set_yticks(range(len(rows)), [WORDS[row.name] for row in rows])
    ax.set_xlabel("R2 on held-out interviews, with 95% intervals")
    ax.set_xlim(0, 0.8)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).parents[1] / "docs" / "images" / "wages.png", dpi=150)
    print(result.verdict, result.gain)


if __name__ == "__main__":
    main()
