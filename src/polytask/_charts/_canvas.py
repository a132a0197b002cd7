"""What charts are drawn on, and with which colours."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Blue and vermilion of Okabe and Ito's palette, told apart with any kind of colour vision;
# shapes (a dot, a diamond, a ring) say the same again.
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "gain": "#0072b2",
        "lose": "#d55e00",
        "unclear": "#6f767d",
        "ink": "#24292f",
        "line": "#c9ced4",
        "paper": "#ffffff",
    }
)
MARKERS: Mapping[str, str] = MappingProxyType({"gain": "o", "lose": "D", "unclear": "o"})

# A drawing for a page: text stays text, ids are the same each time, styles of the user are
# left out, and no colour is that of a background.
_PAGE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "polytask",
    "text.usetex": False,
    "axes.unicode_minus": True,
    "font.family": ["sans-serif"],
    "font.size": 10.0,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def new_axes(width: float, height: float) -> Axes:
    """Return Axes that a notebook shows by itself."""
    from matplotlib import pyplot

    _, ax = pyplot.subplots(figsize=(width, height), layout="constrained")
    return ax


def new_panels(width: float, height: float, n: int) -> list[Axes]:
    """Return Axes below each other, with one axis across, that a notebook shows by itself."""
    from matplotlib import pyplot

    _, panels = pyplot.subplots(
        n, figsize=(width, height), layout="constrained", sharex=True, squeeze=False
    )
    return list(panels[:, 0])


def image(
    draw: Callable[[list[Axes]], object], width: float, height: float, n: int, form: str
) -> bytes:
    """Return panels below each other as the content of a file."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), io.BytesIO() as file:
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_PAGE)
        figure = Figure(figsize=(width, height), layout="constrained", facecolor=COLOURS["paper"])
        panels = figure.subplots(n, sharex=True, squeeze=False)
        draw(list(panels[:, 0]))
        metadata = _NO_METADATA if form == "svg" else {"Software": None}
        figure.savefig(file, format=form, dpi=150, metadata=metadata)
        return file.getvalue()


def svg(
    draw: Callable[[Axes], object],
    width: float,
    height: float,
    box: tuple[float, float, float, float] | None = None,
) -> str:
    """Return a chart as an ``<svg>`` element to be put into a page."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), io.StringIO() as file:
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_PAGE)
        figure = Figure(figsize=(width, height), layout=None if box else "constrained")
        draw(figure.add_axes(box) if box else figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
        text = file.getvalue()
    return _bare(text[text.index("<svg") :])


def _bare(text: str) -> str:
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', text, count=1)
    text = re.sub(r"xlink:href", "href", text)
    text = re.sub(r" *font-family: [^;\"]*;?", "", text)
    text = re.sub(r"font: (\d+(?:\.\d+)?)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    return re.sub(r"\n\s*", "\n", text).strip()
