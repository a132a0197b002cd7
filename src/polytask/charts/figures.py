"""The charts: arrays and strings in, matplotlib Axes out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask.charts.canvas import (
    COLOURS,
    MARKERS,
    NOTE,
    DisplayNames,
    axis_limits,
    labels,
    wrapped,
)
from polytask.charts.canvas import labels as labels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
# Columns up to which their names fit.
_NAMED = 60
# Above it, points and their lines would hide one another.
CROWD = 150


def heat_map(
    ax: Axes,
    values: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    limit: float | None = None,
    label: str = "",
) -> Axes:
    """Draw a matrix: blue above 0, orange below, the paper's colour at 0, hatched where NaN."""
    # Shapes: values (n, m). Colours differ in opacity, so that they fit a dark page too.
    from matplotlib.colors import to_rgba_array

    matrix = np.asarray(values, dtype=np.float64)
    limit = limit or float(np.nanmax(np.abs(matrix), initial=0.0)) or 1.0
    colours = to_rgba_array([COLOURS["gain"] if v > 0 else COLOURS["lose"] for v in matrix.flat])
    colours[:, 3] = np.minimum(np.nan_to_num(np.abs(matrix.ravel())) / limit, 1.0)
    ax.pcolormesh(colours.reshape(*matrix.shape, 4), linewidth=0.0)
    for row, column in np.argwhere(np.isnan(matrix)):
        ax.text(column + 0.5, row + 0.5, "×", color=COLOURS["unclear"], ha="center", va="center")
    across, down = labels(columns if len(columns) <= _NAMED else []), labels(rows)
    for axis, shown, rotation in ((ax.xaxis, across, 90), (ax.yaxis, down, 0)):
        places = np.arange(len(shown.texts)) + 0.5
        axis.set_ticks(
            places, labels=shown.texts, parse_math=False, fontfamily=shown.families,
            rotation=rotation,
        )  # fmt: skip
    if len(matrix) > _NAMED // 2:
        ax.tick_params(axis="y", labelsize=7.0)
    ax.set_ylim(max(len(matrix), 1), 0)
    ax.set_xlabel(label, color=COLOURS["ink"])
    if across.replaced or down.replaced:
        ax.set_title(NOTE, fontsize="small", loc="left", color=COLOURS["ink"])
    ax.tick_params(length=0, colors=COLOURS["ink"])
    ax.spines[:].set_color(COLOURS["line"])
    return ax


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
    """Draw a matrix of correlations, -1 orange to 1 blue, with a tree above it and their scale."""
    # Shapes: values (k, k). The names stand at the rows already.
    from matplotlib.collections import LineCollection

    heat_map(ax, values, names, [], limit=1.0)
    scale, shades = ax.inset_axes((1.02, 0.0, 0.03, 1.0)), np.linspace(1.0, -1.0, 41)
    heat_map(scale, shades[:, None], [], [], limit=1.0)
    scale.set_yticks([0.0, 20.5, 41.0], labels=["1", "0", "-1"])
    scale.tick_params(axis="y", left=False, labelleft=False, labelright=True, labelsize=8.0)
    if tree:
        above = ax.inset_axes((0.0, 1.01, 1.0, 0.16))
        lines = [np.array(bracket) for bracket in brackets(tree)]
        above.add_collection(LineCollection(lines, colors=COLOURS["ink"], linewidths=0.8))
        top = max(height for _, _, height, _ in tree) or 1.0
        above.set_xlim(-0.5, len(names) - 0.5)
        above.set_ylim(0.0, 1.05 * top)
        above.set_axis_off()
    return ax


def interval_lines(
    ax: Axes,
    names: Sequence[str],
    mean: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    groups: Sequence[str],
    *,
    around_zero: bool = True,
    numbers: Sequence[int] | None = None,
    label: str = "",
    sentences: bool = False,
    gap: str = "",
) -> Axes:
    """Draw a mean with its interval per line, the first on top; a gap stands in the middle."""
    # Shapes: mean, low, high (n,). A group chooses colour and shape; names that are sentences are
    # written on several lines.
    mean, low, high = _floats(mean), _floats(low), _floats(high)
    places = np.arange(len(mean)) + (np.arange(len(mean)) >= len(mean) // 2) * 1.0 * bool(gap)
    if around_zero:
        ax.axvline(0.0, color=COLOURS["ink"], linewidth=0.8, zorder=1)
    for group in ("unclear", "lose", "gain"):
        mine = np.array([g == group for g in groups], dtype=bool)
        _points(ax, mean[mine], places[mine], _arms(mean, low, high)[:, mine], group, across=True)
    shown = labels(names, numbers)
    if sentences:
        shown = shown._replace(texts=[wrapped(name) for name in names])
    ax.set_yticks(places, labels=shown.texts, parse_math=False, fontfamily=shown.families)
    ax.set_ylim(places[-1] + 0.5 if len(places) else 0.5, -0.5)
    _limit(ax, mean, low, high, places, around_zero=around_zero)
    if gap:
        ax.annotate(
            gap, (0.5, len(mean) // 2), xycoords=("axes fraction", "data"), ha="center",
            va="center", color=COLOURS["unclear"], annotation_clip=False,
        )  # fmt: skip
    return _finished(ax, label, "", note=shown.replaced, left=False)


def paired_bars(
    ax: Axes,
    names: Sequence[str],
    first: ArrayLike,
    second: ArrayLike,
    *,
    words: tuple[str, str],
    label: str = "",
) -> Axes:
    """Draw two bars per name, one below the other, the first name on top."""
    # Shapes: first, second (n,).
    places = np.arange(len(names))
    for values, word, group, away in (
        (first, words[0], "gain", -0.2),
        (second, words[1], "lose", 0.2),
    ):
        ax.barh(places + away, _floats(values), height=0.36, color=COLOURS[group], label=word)
    ax.axvline(0.0, color=COLOURS["ink"], linewidth=0.8)
    shown = labels(names)
    ax.set_yticks(places, labels=shown.texts, parse_math=False, fontfamily=shown.families)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.legend(frameon=False, labelcolor=COLOURS["ink"], prop={"family": labels(words).families})
    return _finished(ax, label, "", note=shown.replaced, left=False)


def gain_against_size(
    ax: Axes,
    rows: ArrayLike,
    mean: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    groups: Sequence[str],
    *,
    labels: tuple[str, str] = ("", ""),
) -> Axes:
    """Draw the gain of every task against its rows, of many without their intervals."""
    # Shapes: rows (n,), mean, low, high (n,).
    rows, mean, low, high = _floats(rows), _floats(mean), _floats(low), _floats(high)
    ax.axhline(0.0, color=COLOURS["ink"], linewidth=0.8, zorder=1)
    arms = _arms(mean, low, high) if len(rows) <= CROWD else np.zeros((2, len(rows)))
    for group in ("unclear", "lose", "gain"):
        mine = np.array([g == group for g in groups], dtype=bool)
        _points(ax, rows[mine], mean[mine], arms[:, mine], group, across=False)
    positive = rows[rows > 0]
    if len(positive) == len(rows) > 0 and positive.max() > 10 * positive.min():
        _logarithmic(ax, float(positive.min()), float(positive.max()))
    return _finished(ax, *labels)


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
        markersize=4.5 if len(x) <= CROWD else 3.0,
        elinewidth=1.2 if len(x) <= CROWD else 0.4,
        color=COLOURS[group],
        markerfacecolor=COLOURS["paper" if group == "unclear" else group],
        zorder=2 if group == "unclear" else 3,
    )


def _limit(
    ax: Axes, mean: Array, low: Array, high: Array, places: Array, *, around_zero: bool
) -> None:
    """End the axis before outliers; an arrow says that there is more."""
    first, last = axis_limits(mean.tolist(), low.tolist(), high.tolist(), around_zero=around_zero)
    ax.set_xlim(first, last)
    ax.locator_params(axis="x", nbins=6)
    for edge, beyond, arrow in ((first, mean < first, "<"), (last, mean > last, ">")):
        for place in places[beyond]:
            ax.plot(edge, place, arrow, color=COLOURS["unclear"], clip_on=False)


def _logarithmic(ax: Axes, smallest: float, largest: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    ax.set_xscale("log")
    powers = range(int(np.floor(np.log10(smallest))), int(np.ceil(np.log10(largest))) + 1)
    steps = (1,) if largest > 1000 * smallest else (1, 2, 5)
    ticks = [step * 10.0**power for power in powers for step in steps]
    ax.xaxis.set_major_locator(FixedLocator([t for t in ticks if smallest <= t <= largest]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _finished(
    ax: Axes, across: str, upward: str, *, note: bool = False, left: bool = True
) -> Axes:
    """Give Axes the common style."""
    ax.set_xlabel(across, color=COLOURS["ink"], parse_math=False)
    ax.set_ylabel(upward, color=COLOURS["ink"], parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines["left"].set_visible(left)
    ax.spines[["left", "bottom"]].set_color(COLOURS["line"])
    ax.grid(visible=True, color=COLOURS["line"], linewidth=0.5, zorder=0)
    ax.set_axisbelow(True)
    ax.tick_params(colors=COLOURS["ink"], length=3 if left else 0)
    ax.tick_params(axis="y", pad=3 if left else 7)
    if note:
        ax.set_title(NOTE, fontsize="small", loc="left", color=COLOURS["ink"])
    return ax


# Lines that are named; of more, names would cover one another.
NAMED_LINES = 8
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
    labels: tuple[str, str] = ("", ""),
    greater_is_better: bool = False,
    band: str = "",
) -> Axes:
    """Draw a held-out error with its standard error against the strength of a penalty."""
    # Shapes: strengths (n,), mean, spread (n,).
    x, y, error = _floats(strengths), _floats(mean), _floats(spread)
    order = np.argsort(x)
    x, y, error = x[order], y[order], np.nan_to_num(error[order])
    ax.set_xscale("log")
    ax.fill_between(x, y - error, y + error, color=COLOURS["unclear"], alpha=0.2, linewidth=0,
                    label=band if error.any() else "")  # fmt: skip
    ax.plot(x, y, color=COLOURS["ink"], linewidth=1.2, marker="o", markersize=2.5)
    _limit_upward(ax, y, error, -1.0 if greater_is_better else 1.0)
    _point_at_infinite(ax, x, y)
    _mark(ax, marks, named=True)
    _falling(ax, x)
    return _finished(ax, *labels)


def coefficient_lines(
    ax: Axes,
    strengths: ArrayLike,
    sizes: ArrayLike,
    names: Sequence[str],
    marks: Mapping[str, float],
    *,
    labels: tuple[str, str] = ("", ""),
) -> Axes:
    """Draw one line per coefficient, or per row of them, against the strength of a penalty."""
    # Shapes: strengths (n,), sizes (n, m).
    x, lines = _floats(strengths), _floats(sizes)
    order = np.argsort(x)
    x, lines = x[order], lines[order]
    reach = np.abs(lines).max(axis=0, initial=0.0)
    top = [int(k) for k in np.argsort(-reach, kind="stable")[:NAMED_LINES] if reach[k] > 0]
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
    labels: tuple[str, str] = ("", ""),
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
        seen = y[np.isfinite(y)]
        ends.append(seen[-1] if len(seen) else np.nan)
    _name_ends(ax, x[-1], np.array(ends), labels_of(list(scores)))
    _count_ticks(ax, x)
    return _finished(ax, *labels)


def _falling(ax: Axes, x: Array) -> None:
    """Put strong penalties to the left, as paths begin there, with a little room and few ticks."""
    from matplotlib.ticker import FixedLocator, LogFormatterMathtext, NullLocator

    room = (x[-1] / x[0]) ** 0.02 if x[-1] > x[0] else 2.0
    ax.set_xlim(x[-1] * room, x[0] / room)
    ticks = _few_strengths(float(x[0]), float(x[-1]))
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    if ticks[0] > 1e-4 and ticks[-1] < 1e4:
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:.3g}" if v < 1000.0 else f"{v:,.0f}")
    else:
        ax.xaxis.set_major_formatter(LogFormatterMathtext())


# Ticks of strengths at most: names of lines leave the axis less than half of the width.
_STRENGTHS = 4


def _few_strengths(low: float, high: float) -> list[float]:
    """Return round numbers between two strengths, so few that their labels stay apart."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**power for power in powers for step in steps]
        found = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(found) <= _STRENGTHS:
            break
    found = found[:: -(-len(found) // _STRENGTHS)] if found else []
    return found if len(found) > 1 else [low, high] if high > 1.001 * low else [high]


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
        ax.legend(loc="best", frameon=False, handlelength=1.6, labelcolor=COLOURS["ink"])


def _name_ends(ax: Axes, at: float, heights: Array, shown: DisplayNames) -> None:
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
        ax.set_title(NOTE, fontsize="small", loc="left", color=COLOURS["ink"])


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


def loss_curves(
    ax: Axes,
    training: ArrayLike,
    held_out: ArrayLike | None = None,
    *,
    kept: int | None = None,
    words: tuple[str, str, str, str],
) -> Axes:
    """Draw losses by epoch: thin lines for tasks, thick ones for their mean."""
    # Shapes: training (n_epochs, n_tasks), held_out (n_epochs, n_tasks).
    for values, name, group in ((training, words[2], "unclear"), (held_out, words[3], "gain")):
        if values is None:
            continue
        losses = np.asarray(values, dtype=np.float64)
        epochs = np.arange(1, len(losses) + 1)
        if losses.shape[1] > 1:
            ax.plot(epochs, losses, color=COLOURS[group], linewidth=0.6, alpha=0.35)
        seen = losses[:, ~np.isnan(losses).all(axis=0)]
        ax.plot(epochs, np.nanmean(seen, axis=1), color=COLOURS[group], linewidth=1.8, label=name)
    if kept is not None:
        ax.axvline(kept, color=COLOURS["line"], linewidth=1.0, zorder=0)
    ax.legend(frameon=False, labelcolor=COLOURS["ink"])
    return _finished(ax, *words[:2])
