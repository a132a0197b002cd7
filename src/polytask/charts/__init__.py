"""Charts: arrays and strings in, matplotlib Axes out. matplotlib is imported when one is drawn."""

from typing import TYPE_CHECKING

from polytask.charts import figures
from polytask.charts.canvas import COLOURS, axis_limits, image, new_axes, new_panels, svg, width

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes

__all__ = ["COLOURS", "axis_limits", "figures", "image", "new_axes", "new_panels", "svg", "width"]
