"""Drawings of a page, in its colours, and charts that a page draws with boxes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polytask import charts
from polytask.charts import axis_limits
from polytask.comparison.records import Interval
from polytask.messages import fixed

if TYPE_CHECKING:
    from markupsafe import Markup


_NAMES = re.compile(r'((?: id="|url\(#|href="#))([^")]+)')


def dressed(drawing: str, key: str, title: str, description: str) -> Markup:
    """Give a drawing its name, and colours that follow the page."""
    from markupsafe import Markup, escape

    for name, colour in charts.COLOURS.items():
        drawing = drawing.replace(colour, f"var(--{name})")
    # What is named within a drawing is its own: there are others on the page.
    drawing = _NAMES.sub(rf"\g<1>{key}_\g<2>", drawing)
    head, _, rest = drawing.partition(">")
    named = Markup(
        ' role="img" aria-labelledby="{key}-title {key}-desc"><title id="{key}-title">{title}'
        '</title><desc id="{key}-desc">{description}</desc>'
    ).format(key=key, title=escape(title), description=escape(description))
    return Markup(head + str(named) + rest)


_TICKS = 4


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, the interval and what kind it is of."""

    name: str
    interval: Interval
    group: str
    text: str
    own: bool = True
    marked: bool = False


@dataclass(frozen=True)
class Bar:
    """A line with its places, in percent; None where there is nothing to draw."""

    line: Line
    start: float | None
    width: float | None
    point: float | None
    cut_low: bool
    cut_high: bool


@dataclass(frozen=True)
class Tick:
    """A place on the axis and its number."""

    place: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Lines on a common axis."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    zero: float | None


def chart(lines: Sequence[Line], *, around_zero: bool) -> Chart:
    """Place intervals on an axis that outliers do not spoil."""
    low, high = axis_limits(*_ends(lines), around_zero=around_zero)
    places = _Scale(low, high)
    bars = tuple(_bar(line, places) for line in lines)
    return Chart(bars, places.ticks(), places.of(0.0) if low <= 0.0 <= high else None)


def _ends(lines: Sequence[Line]) -> tuple[list[float], list[float], list[float]]:
    intervals = [line.interval for line in lines]
    return [i.mean for i in intervals], [i.low for i in intervals], [i.high for i in intervals]


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float

    def of(self, value: float) -> float:
        """Return a place in percent, kept on the axis."""
        share = (value - self.low) / (self.high - self.low)
        return round(100.0 * min(max(share, 0.0), 1.0), 3)

    def ticks(self) -> tuple[Tick, ...]:
        """Return a few round numbers."""
        rough = 0.7 * (self.high - self.low) / _TICKS
        power = math.floor(math.log10(rough))
        step = next(s * 10.0**power for s in (1, 2, 5, 10) if s * 10.0**power >= rough * 0.999)
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        values = [k * step for k in range(first, last + 1)]
        return tuple(Tick(self.of(value), fixed(value, places)) for value in values)


def _bar(line: Line, places: _Scale) -> Bar:
    mean, low, high = line.interval
    point = places.of(mean) if places.low <= mean <= places.high else None
    if not math.isfinite(high - low):
        return Bar(line, None, None, point, mean < places.low, mean > places.high)
    start, end = places.of(low), places.of(high)
    outside = high < places.low or low > places.high
    width = None if outside else round(end - start, 3)
    cut = low < places.low, high > places.high
    return Bar(line, None if outside else start, width, point, *cut)
