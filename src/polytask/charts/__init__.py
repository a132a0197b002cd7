"""Charts: arrays and strings in, matplotlib Axes out. matplotlib is imported when one is drawn."""

from typing import TYPE_CHECKING

from polytask.charts.canvas import COLOURS, axis_limits, image, new_axes, new_panels, svg, width
from polytask.charts.figures import (
    brackets,
    coefficient_lines,
    error_curve,
    gain_against_size,
    heat_map,
    interval_lines,
    learning_curves,
    loss_curves,
    task_map,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes

__all__ = [
    "COLOURS",
    "axis_limits",
    "brackets",
    "coefficient_lines",
    "error_curve",
    "gain_against_size",
    "heat_map",
    "image",
    "interval_lines",
    "learning_curves",
    "loss_curves",
    "new_axes",
    "new_panels",
    "svg",
    "task_map",
    "width",
]
