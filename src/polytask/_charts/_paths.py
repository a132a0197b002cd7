"""Charts along a scale: error and coefficients against strength, scores against rows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask._charts._canvas import COLOURS, MARKERS
from polytask._charts._labels import Labels
from polytask._charts._labels import labels as labels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

# Above a chart in which a number stands for a name.
_NOTE = "#n: line n, from 0; no font here has its name"
# Lines that are named; of more, names would cover one another.
_NAMED = 8
# Names keep this share of the height apart.
_APART = 0.07
# An error this many times farther from the best than the usual one is beyond the axis.
_FAR = 6.0
# The first mark is what is used.
_DASHES = ("-", "--", ":")


def error_curve(
    ax: Axes,
    strengths: ArrayLike,
    mean: ArrayLike,
    spread: ArrayLike,
    marks: Mapping[str, float],
    *,
    labels: tuple[str, str] = ("Strength", "Held-out error"),
    greater_is_better: bool = False,
    named: bool = True,
) -> Axes:
    """Draw a held-out error with its standard error against the strength of a penalty."""
    # Shapes: strengths (n,), mean, spread (n,).
    x, y, error = _floats(strengths), _floats(mean), _floats(spread)
    order = np.argsort(x)
    x, y, error = x[order], y[order], np.nan_to_num(error[order])
    ax.set_xscale("log")
    ax.fill_between(x, y - error, y + error, color=COLOURS["unclear"], alpha=0.2, linewidth=0)
    ax.plot(x, y, color=COLOURS["ink"], linewidth=1.2, marker="o", markersize=2.5)
    _limit_upward(ax, y, error, -1.0 if greater_is_better else 1.0)
    _point_at_infinite(ax, x, y)
    _mark(ax, marks, named=named)
    _falling(ax, x)
    return _finished(ax, *labels)


def coefficient_lines(
    ax: Axes,
    strengths: ArrayLike,
    sizes: ArrayLike,
    names: Sequence[str],
    marks: Mapping[str, float],
    *,
    labels: tuple[str, str] = ("Strength", "Size of the coefficients"),
) -> Axes:
    """Draw one line per coefficient, or per row of them, against the strength of a penalty."""
    # Shapes: strengths (n,), sizes (n, m).
    x, lines = _floats(strengths), _floats(sizes)
    order = np.argsort(x)
    x, lines = x[order], lines[order]
    reach = np.abs(lines).max(axis=0, initial=0.0)
    top = [int(k) for k in np.argsort(-reach, kind="stable")[:_NAMED] if reach[k] > 0]
    ax.set_xscale("log")
    rest = [k for k in range(lines.shape[1]) if k not in set(top) and reach[k] > 0]
    ax.plot(x, lines[:, rest], color=COLOURS["line"], linewidth=0.7, zorder=1)
    ax.plot(x, lines[:, top], color=COLOURS["gain"], linewidth=1.1, zorder=2)
    _mark(ax, marks, named=False)
    _falling(ax, x)
    _name_ends(ax, x[0], lines[0, top], labels_of([names[k] for k in top], top))
    return _finished(ax, *labels)


def learning_curves(
    ax: Axes,
    rows: ArrayLike,
    scores: Mapping[str, ArrayLike],
    *,
    marked: str | None = None,
    labels: tuple[str, str] = ("Rows per task", "Score"),
    named: bool = True,
) -> Axes:
    """Draw scores against the rows that were learned from, one line per model."""
    # Shapes: rows (n,), scores (n,).
    x = _floats(rows)
    ax.set_xscale("log")
    ends, others = [], itertools.cycle(_DASHES[1:])
    for name, values in scores.items():
        y = _floats(values)
        group = "gain" if name == marked else "unclear"
        style = "-" if name == marked else next(others)
        ax.plot(x, y, style, color=COLOURS[group], marker=MARKERS[group], markersize=4,
                linewidth=1.4, zorder=3 if name == marked else 2)  # fmt: skip
        ends.append(_last(y))
    if named:
        _name_ends(ax, x[-1], np.array(ends), labels_of(list(scores)))
    _count_ticks(ax, x)
    return _finished(ax, *labels)


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def _falling(ax: Axes, x: Array) -> None:
    """Put strong penalties to the left, as paths begin there, with a little room."""
    room = (x[-1] / x[0]) ** 0.02 if x[-1] > x[0] else 2.0
    ax.set_xlim(x[-1] * room, x[0] / room)


def _last(values: Array) -> float:
    seen = values[np.isfinite(values)]
    return float(seen[-1]) if len(seen) else float("nan")


def _limit_upward(ax: Axes, mean: Array, spread: Array, sign: float) -> None:
    """End the axis before the errors of weak penalties that grew beyond all others."""
    seen = np.isfinite(mean)
    if not seen.any():
        return
    mean, spread = sign * mean[seen], spread[seen]
    best = int(np.argmin(mean))
    low, high = float(np.min(mean - spread)), float(np.max(mean + spread))
    usual = float(np.median(mean) - mean[best])
    reach = max(_FAR * usual, 4.0 * float(spread[best]))
    top = min(high, float(mean[best]) + reach) if reach > 0 else high
    margin = 0.06 * (top - low) or 1.0
    ax.set_ylim(*sorted((sign * (low - margin), sign * (top + margin))))


def _point_at_infinite(ax: Axes, x: Array, y: Array) -> None:
    """Put arrows where the axis ends, so that nobody takes what is infinite for missing."""
    for sign, edge, arrow in ((1.0, 1.0, "^"), (-1.0, 0.0, "v")):
        at = x[np.isinf(y) & (np.sign(y) == sign)]
        if len(at):
            edges = np.full(len(at), edge)
            ax.plot(at, edges, arrow, transform=ax.get_xaxis_transform(), color=COLOURS["ink"],
                    markersize=4, clip_on=False, label="infinite")  # fmt: skip


def _mark(ax: Axes, marks: Mapping[str, float], *, named: bool) -> None:
    for place, (text, strength) in enumerate(marks.items()):
        style = _DASHES[place % len(_DASHES)]
        ax.axvline(strength, color=COLOURS["lose"], linewidth=1.1, linestyle=style, zorder=4,
                   label=text)  # fmt: skip
    if named and marks:
        ax.legend(loc="best", frameon=False, fontsize="small", handlelength=1.6)


def _name_ends(ax: Axes, at: float, heights: Array, shown: Labels) -> None:
    """Write names beside the right ends of lines, apart where they would cover one another."""
    low, high = ax.get_ylim()
    places = _apart((heights - low) / (high - low))
    for place, height, text in zip(places, heights, shown.texts, strict=True):
        if np.isfinite(height):
            ax.annotate(
                text,
                (at, height),
                xytext=(1.03, place),
                textcoords="axes fraction",
                va="center",
                fontsize="small",
                color=COLOURS["ink"],
                parse_math=False,
                fontfamily=shown.families,
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "color": COLOURS["line"],
                    "linewidth": 0.6,
                    "relpos": (0.0, 0.5),
                    "shrinkA": 1.0,
                },
            )
    if shown.replaced:
        ax.set_title(_NOTE, fontsize="small", loc="left", color=COLOURS["ink"])


def _apart(heights: Array) -> Array:
    """Move heights as little as need be for them to be some way apart; their order stays."""
    from scipy.optimize import isotonic_regression

    moved = heights.copy()
    order = np.argsort(heights)[: int(np.isfinite(heights).sum())]
    steps = _APART * np.arange(len(order))
    if len(order):
        moved[order] = isotonic_regression(heights[order] - steps).x + steps
    return moved


def _count_ticks(ax: Axes, rows: Array) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    ax.xaxis.set_major_locator(FixedLocator([float(v) for v in rows]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.3g}")


def _finished(ax: Axes, across: str, upward: str) -> Axes:
    ax.set_xlabel(across, color=COLOURS["ink"], parse_math=False)
    ax.set_ylabel(upward, color=COLOURS["ink"], parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(COLOURS["line"])
    ax.tick_params(colors=COLOURS["ink"])
    return ax
