"""Charts: arrays and strings in, matplotlib Axes out. matplotlib is imported when one is drawn."""

from polytask._charts._canvas import COLOURS, new_axes, svg
from polytask._charts._heat import heat_map
from polytask._charts._intervals import gain_against_size, gain_forest, leaderboard_intervals
from polytask._charts._limits import axis_limits
from polytask._charts._tree import brackets, task_map

__all__ = [
    "COLOURS",
    "axis_limits",
    "brackets",
    "gain_against_size",
    "gain_forest",
    "heat_map",
    "leaderboard_intervals",
    "new_axes",
    "svg",
    "task_map",
]
