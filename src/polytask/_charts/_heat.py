"""The chart of a matrix of numbers around 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from polytask._charts._canvas import COLOURS
from polytask._charts._labels import NOTE, Labels, labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Columns up to which their names fit.
_NAMED = 40


def heat_map(ax: Axes, values: ArrayLike, rows: Sequence[str], columns: Sequence[str]) -> Axes:
    """Draw a matrix: blue above 0, orange below, white at 0, grey where it is NaN."""
    # Shapes: values (n, m).
    from matplotlib.colors import LinearSegmentedColormap

    matrix = np.ma.masked_invalid(np.asarray(values, dtype=np.float64))
    largest = float(np.abs(matrix).max()) if matrix.count() else 0.0
    colours = LinearSegmentedColormap.from_list(
        "polytask", [COLOURS["lose"], "#ffffff", COLOURS["gain"]]
    ).with_extremes(bad=COLOURS["line"])
    limit = largest or 1.0
    image = ax.imshow(
        matrix, cmap=colours, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    across = labels(columns if len(columns) <= _NAMED else [])
    down = labels(rows)
    _name(ax.xaxis, across, rotation=90)
    _name(ax.yaxis, down, rotation=0)
    if len(columns) > _NAMED:
        ax.set_xlabel(f"{len(columns):,} columns", color=COLOURS["ink"])
    if across.replaced or down.replaced:
        ax.set_title(NOTE, fontsize="small", loc="left", color=COLOURS["ink"])
    ax.tick_params(length=0, colors=COLOURS["ink"])
    ax.spines[:].set_visible(False)
    if ax.figure is not None:
        ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def _name(axis: Axis, shown: Labels, rotation: int) -> None:
    axis.set_ticks(
        range(len(shown.texts)),
        labels=shown.texts,
        parse_math=False,
        fontfamily=shown.families,
        rotation=rotation,
    )
