"""Charts of means with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask._charts._canvas import COLOURS, MARKERS
from polytask._charts._labels import NOTE, Labels, labels
from polytask._charts._limits import axis_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

# Above it, points would hide one another.
_CROWD = 150


def gain_forest(
    ax: Axes,
    names: Sequence[str],
    mean: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    groups: Sequence[str],
    *,
    numbers: Sequence[int] | None = None,
    label: str = "Gain",
) -> Axes:
    """Draw one gain with its interval per line, the first on top. Shapes: mean, low, high (n,)."""
    mean, low, high = _floats(mean), _floats(low), _floats(high)
    places = np.arange(len(mean))
    ax.axvline(0.0, color=COLOURS["ink"], linewidth=0.8, zorder=1)
    for group in ("unclear", "lose", "gain"):
        mine = np.array([g == group for g in groups], dtype=bool)
        _points(ax, mean[mine], places[mine], _arms(mean, low, high)[:, mine], group, across=True)
    _name_lines(ax, labels(names, numbers))
    _limit(ax, mean, low, high, around_zero=True)
    return _finished(ax, label, "")


def gain_against_size(
    ax: Axes,
    rows: ArrayLike,
    mean: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    groups: Sequence[str],
    *,
    labels: tuple[str, str] = ("Rows of the task", "Gain"),
) -> Axes:
    """Draw the gain of every task against its rows. Shapes: rows (n,), mean, low, high (n,)."""
    rows, mean, low, high = _floats(rows), _floats(mean), _floats(low), _floats(high)
    ax.axhline(0.0, color=COLOURS["ink"], linewidth=0.8, zorder=1)
    for group in ("unclear", "lose", "gain"):
        mine = np.array([g == group for g in groups], dtype=bool)
        _points(ax, rows[mine], mean[mine], _arms(mean, low, high)[:, mine], group, across=False)
    positive = rows[rows > 0]
    if len(positive) == len(rows) > 0 and positive.max() > 10 * positive.min():
        _logarithmic(ax, float(positive.min()), float(positive.max()))
    return _finished(ax, *labels)


def leaderboard_intervals(
    ax: Axes,
    names: Sequence[str],
    mean: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    marked: str | None = None,
    label: str = "Score",
) -> Axes:
    """Draw one score with its interval per line, the first on top."""
    # Shapes: mean, low, high (n,).
    mean, low, high = _floats(mean), _floats(low), _floats(high)
    arms, places = _arms(mean, low, high), np.arange(len(mean))
    chosen = np.array([name == marked for name in names], dtype=bool)
    _points(ax, mean[~chosen], places[~chosen], arms[:, ~chosen], "unclear", across=True)
    _points(ax, mean[chosen], places[chosen], arms[:, chosen], "gain", across=True)
    _name_lines(ax, labels(names))
    _limit(ax, mean, low, high, around_zero=False)
    return _finished(ax, label, "")


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def _arms(mean: Array, low: Array, high: Array) -> Array:
    """Return the lengths to both sides, 0 where there is no interval."""
    arms = np.nan_to_num(np.stack([mean - low, high - mean]), nan=0.0, posinf=0.0, neginf=0.0)
    return np.maximum(arms, 0.0)


def _points(ax: Axes, x: Array, y: Any, arms: Array, group: str, across: bool) -> None:  # noqa: ANN401
    if not len(x):
        return
    ax.errorbar(
        x,
        y,
        xerr=arms if across else None,
        yerr=None if across else arms,
        fmt=MARKERS[group],
        markersize=4.5 if len(x) <= _CROWD else 3.0,
        elinewidth=1.2 if len(x) <= _CROWD else 0.4,
        color=COLOURS[group],
        markerfacecolor=COLOURS["paper" if group == "unclear" else group],
        zorder=2 if group == "unclear" else 3,
    )


def _limit(ax: Axes, mean: Array, low: Array, high: Array, *, around_zero: bool) -> None:
    """End the axis before outliers; an arrow says that there is more."""
    first, last = axis_limits(mean.tolist(), low.tolist(), high.tolist(), around_zero=around_zero)
    ax.set_xlim(first, last)
    ax.locator_params(axis="x", nbins=6)
    for place in np.flatnonzero(mean < first):
        ax.plot(first, place, "<", color=COLOURS["unclear"], clip_on=False)
    for place in np.flatnonzero(mean > last):
        ax.plot(last, place, ">", color=COLOURS["unclear"], clip_on=False)


def _name_lines(ax: Axes, shown: Labels) -> None:
    places = range(len(shown.texts))
    ax.set_yticks(places, labels=shown.texts, parse_math=False, fontfamily=shown.families)
    ax.set_ylim(max(len(shown.texts), 1) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    if shown.replaced:
        ax.set_title(NOTE, fontsize="small", loc="left", color=COLOURS["ink"])


def _logarithmic(ax: Axes, smallest: float, largest: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    ax.set_xscale("log")
    powers = range(int(np.floor(np.log10(smallest))), int(np.ceil(np.log10(largest))) + 1)
    steps = (1,) if largest > 1000 * smallest else (1, 2, 5)
    ticks = [step * 10.0**power for power in powers for step in steps]
    ax.xaxis.set_major_locator(FixedLocator([t for t in ticks if smallest <= t <= largest]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _finished(ax: Axes, across: str, upward: str) -> Axes:
    ax.set_xlabel(across, color=COLOURS["ink"], parse_math=False)
    ax.set_ylabel(upward, color=COLOURS["ink"], parse_math=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(COLOURS["line"])
    ax.grid(visible=True, color=COLOURS["line"], linewidth=0.5, zorder=0)
    ax.set_axisbelow(True)
    ax.tick_params(colors=COLOURS["ink"])
    return ax
