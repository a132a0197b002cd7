"""Charts: arrays and strings in, matplotlib Axes out. matplotlib is imported when one is drawn."""

from polytask._charts._canvas import COLOURS, image, new_axes, new_panels, svg
from polytask._charts._heat import heat_map
from polytask._charts._intervals import gain_against_size, gain_forest, leaderboard_intervals
from polytask._charts._limits import axis_limits
from polytask._charts._losses import loss_curves
from polytask._charts._paths import coefficient_lines, error_curve, learning_curves
from polytask._charts._tree import brackets, task_map

__all__ = [
    "COLOURS",
    "axis_limits",
    "brackets",
    "coefficient_lines",
    "error_curve",
    "gain_against_size",
    "gain_forest",
    "heat_map",
    "image",
    "leaderboard_intervals",
    "learning_curves",
    "loss_curves",
    "new_axes",
    "new_panels",
    "svg",
    "task_map",
]
