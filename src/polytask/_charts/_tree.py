"""The map of tasks with its tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from polytask._charts._canvas import COLOURS
from polytask._charts._heat import heat_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Merge = tuple[int, int, float, int]
Bracket = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]


def brackets(tree: Sequence[Merge]) -> list[Bracket]:
    """Return the lines of a tree: for every merge four points, up, across and down."""
    places = {leaf: (float(leaf), 0.0) for leaf in range(len(tree) + 1)}
    found: list[Bracket] = []
    for number, (first, second, height, _) in enumerate(tree):
        (x1, y1), (x2, y2) = sorted((places[first], places[second]))
        found.append(((x1, y1), (x1, height), (x2, height), (x2, y2)))
        places[len(tree) + 1 + number] = ((x1 + x2) / 2, height)
    return found


def task_map(
    ax: Axes, values: ArrayLike, names: Sequence[str], tree: Sequence[Merge] = ()
) -> Axes:
    """Draw a matrix of correlations, -1 orange to 1 blue, with a tree above it."""
    # Shapes: values (k, k).
    heat_map(ax, values, names, names)
    ax.images[0].set_clim(-1.0, 1.0)
    if len(names) > 1:
        # The names stand at the rows already.
        ax.set_xticks([])
        ax.set_xlabel("")
    if tree:
        _draw_tree(ax, tree, len(names))
    return ax


def _draw_tree(ax: Axes, tree: Sequence[Merge], n: int) -> None:
    from matplotlib.collections import LineCollection

    above = ax.inset_axes((0.0, 1.01, 1.0, 0.16))
    lines = [np.array(bracket) for bracket in brackets(tree)]
    above.add_collection(LineCollection(lines, colors=COLOURS["ink"], linewidths=0.8))
    top = max(height for _, _, height, _ in tree) or 1.0
    above.set_xlim(-0.5, n - 0.5)
    above.set_ylim(0.0, 1.05 * top)
    above.set_axis_off()
