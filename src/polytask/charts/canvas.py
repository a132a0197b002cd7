"""What charts are drawn on: colours, fonts, names of users, limits of axes."""

from __future__ import annotations

import functools
import io
import math
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

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
    "font.size": 9.0,
}
# What has no place in XML: control characters, such as marks around names, and half pairs.
_CONTROL = dict.fromkeys([*(c for c in range(32) if c not in b"\t\n\r"), *range(0xD800, 0xE000)])
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

# Fonts for scripts that the usual one lacks: matplotlib takes each letter from the first that has
# it.
_SCRIPTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB"),
    *("Microsoft YaHei", "SimHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Droid Sans Fallback", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic"),
    *("Noto Sans CJK KR", "Malgun Gothic", "Apple SD Gothic Neo", "Noto Sans Arabic"),
    *("Noto Sans Hebrew", "Noto Sans Thai", "Noto Sans Devanagari", "Arial Unicode MS", "Arial"),
    *("Tahoma", "Segoe UI", "Noto Sans"),
)


@functools.lru_cache(maxsize=8)
def fonts(usual: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the fonts to write names with, and the characters that they have."""
    from matplotlib import ft2font
    from matplotlib.font_manager import FontProperties, fontManager

    known = set(fontManager.get_font_names())
    families = (*usual, *(name for name in _SCRIPTS if name in known))
    characters: set[str] = set()
    for family in families:
        path = fontManager.findfont(FontProperties(family=[family]))
        characters.update(map(chr, ft2font.FT2Font(path).get_charmap()))
    return families, frozenset(characters)


def needs_shaping(text: str) -> bool:
    """Whether letters would come out of order or unjoined with this version of matplotlib."""
    from matplotlib import ft2font

    if hasattr(ft2font, "__libraqm_version__"):
        return False
    return any(
        unicodedata.bidirectional(c) in ("R", "AL", "AN")
        or unicodedata.category(c) in ("Mn", "Mc")
        for c in text
    )


# Under a chart in which a number stands for a name.
NOTE = "#n: name n in the table, counted from 0; no font of this machine has its letters"
_WIDEST = 32


class DisplayNames(NamedTuple):
    """What is written in place of names."""

    texts: list[str]
    families: list[str]
    replaced: bool


def labels(names: Sequence[str], numbers: Sequence[int] | None = None) -> DisplayNames:
    """Make names fit for the axis of a chart; a number stands for one that no font has."""
    import matplotlib

    families, characters = fonts(tuple(matplotlib.rcParams["font.family"]))
    texts = [shortened(" ".join(name.translate(_CONTROL).split())) for name in names]
    # In a drawing with text as text the fonts are those of the reader.
    kept = matplotlib.rcParams["svg.fonttype"] == "none"
    unfit = [not kept and (needs_shaping(t) or not characters.issuperset(t)) for t in texts]
    numbers = range(len(names)) if numbers is None else numbers
    shown = [f"#{k}" if bad else t for t, bad, k in zip(texts, unfit, numbers, strict=True)]
    return DisplayNames(shown, list(families), any(unfit))


def shortened(text: str, widest: int = _WIDEST) -> str:
    """Return a text that is at most so many letters wide, with its middle left out if not."""
    # The ends of names tell them apart: both are kept.
    if width(text) <= widest:
        return text
    tail = _fitting(text[::-1], widest // 3)[::-1]
    # A mark without its letter would join the ellipsis.
    while tail and unicodedata.combining(tail[0]):
        tail = tail[1:]
    return f"{_fitting(text, widest - 1 - widest // 3)}…{tail}"


def wrapped(text: str, widest: int = _WIDEST) -> str:
    """Return a text in lines of at most so many letters, broken at blanks where there are any."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}".strip()
        if width(joined) > widest and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
        while width(lines[-1]) > widest:
            head = _fitting(lines[-1], widest)
            lines[-1:] = [head, lines[-1][len(head) :]]
    return "\n".join(lines)


def _fitting(text: str, widest: int) -> str:
    used = 0
    for place, character in enumerate(text):
        used += width(character)
        if used > widest:
            return text[:place]
    return text


def width(text: str) -> int:
    """Return how many letters wide a text is; East Asian ones count twice, marks not at all."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Cf") for c in text)


# A point this many times farther from the middle than the others would squeeze them.
_FAR = 6.0
_MARGIN = 0.04


def axis_limits(
    mean: Sequence[float], low: Sequence[float], high: Sequence[float], *, around_zero: bool
) -> tuple[float, float]:
    """Return the ends of an axis for means with intervals."""
    found = [triple for triple in zip(mean, low, high, strict=True) if math.isfinite(triple[0])]
    if not found:
        return -1.0, 1.0
    kept = _near(found)
    points = [m for m, _, _ in kept] + [0.0] * around_zero
    seen = [(a, b) for _, a, b in kept if math.isfinite(b - a)]
    first, last = min(points), max(points)
    usual = median(b - a for a, b in seen) if seen else 0.0
    reach = max(last - first, 1.5 * usual)
    first, last = (
        max(min([first, *(a for a, _ in seen)]), first - reach),
        min(max([last, *(b for _, b in seen)]), last + reach),
    )
    spread = last - first or abs(last) or 1.0
    # The smallest numbers have no part.
    margin = _MARGIN * spread or 1.0
    return first - margin, last + margin


def _near(found: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Leave out points that are much farther from the median than those before them."""
    middle = median(m for m, _, _ in found)
    ordered = sorted(found, key=lambda triple: abs(triple[0] - middle))
    half = (len(ordered) + 1) // 2 + 1
    for place in range(half, len(ordered)):
        before, here = (abs(ordered[k][0] - middle) for k in (place - 1, place))
        if here > _FAR * before > 0:
            return ordered[:place]
    return ordered


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
        # Where letters are drawn here, fonts of this machine must have them.
        matplotlib.rcParams.update(_PAGE | {"svg.fonttype": "none" if form == "svg" else "path"})
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
    *,
    key: str,
    title: str,
    description: str,
) -> str:
    """Return a chart as an ``<svg>`` element of a page, in its colours and fonts."""
    # Colours become variables of the page, ``var(--gain)``, so that it can be dark; identifiers
    # begin with the key, for there are other drawings beside it.
    from xml.etree import ElementTree

    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings(), io.StringIO() as file:
        # The page has the fonts for names, this machine may not.
        warnings.filterwarnings("ignore", message="Glyph")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_PAGE)
        figure = Figure(figsize=(width, height))
        ax = figure.add_subplot()
        draw(ax)
        _make_room(ax, width, height)
        _anchor(ax)
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
        root = ElementTree.fromstring(file.getvalue().translate(_CONTROL))
    _strip(root, key)
    root.attrib = {"viewBox": root.get("viewBox", "")} | {
        "role": "img", "aria-labelledby": f"{key}-title {key}-desc"
    }  # fmt: skip
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        named = ElementTree.Element(tag, {"id": f"{key}-{tag}"})
        named.text = text
        root.insert(place, named)
    return ElementTree.tostring(root, encoding="unicode")


def _make_room(ax: Axes, width: float, height: float) -> None:
    """Leave room for names by their letters: the fonts of the reader are not known."""
    from matplotlib.ticker import FixedLocator

    named = isinstance(ax.yaxis.get_major_locator(), FixedLocator)
    beside = [label.get_text() for label in ax.get_yticklabels() if named] or ["-0.0000"]
    below = [label.get_text() for label in ax.get_xticklabels() if label.get_rotation()]
    left = 0.12 + _inches(beside) + (0.25 if ax.get_ylabel() else 0.0)
    after = [text.get_text() for text in ax.texts if text.get_horizontalalignment() == "left"]
    right = 0.15 + _inches(after)
    if ax.child_axes:
        # The scale of a map stands beside it, with its numbers.
        right += 0.05 * width + _inches(["-1"]) + 0.1
    bottom = (_inches(below) + 0.1 if below else 0.3) + (0.22 if ax.get_xlabel() else 0.0)
    top = 0.1 + 0.25 * bool(ax.get_title(loc="left")) + 0.16 * height * bool(ax.child_axes)
    ax.set_position(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    )


def _anchor(ax: Axes) -> None:
    """Let the page measure names: matplotlib knows the widths of its own fonts only."""
    # It leaves single lines that are anchored to the page, and places all others itself.
    for label in ax.get_xticklabels():
        if label.get_rotation():
            label.set(rotation_mode="anchor", ha="right", va="center")
    labels = ax.get_yticklabels()
    apart = [label.get_text().split("\n") for label in labels]
    if max(map(len, apart), default=1) < 2:
        return
    step, pad = 1.2 * float(_PAGE["font.size"]), ax.yaxis.get_tick_padding()
    for place, label, lines in zip(ax.get_yticks(), labels, apart, strict=True):
        for k, line in enumerate(lines):
            ax.annotate(
                line, (0.0, place), xycoords=ax.get_yaxis_transform(),
                xytext=(-pad, step * ((len(lines) - 1) / 2 - k)), textcoords="offset points",
                ha="right", va="center_baseline", color=label.get_color(), parse_math=False,
                fontsize=label.get_fontsize(), fontfamily=label.get_fontfamily(),
                annotation_clip=False,
            )  # fmt: skip
    ax.set_yticks(ax.get_yticks(), labels=[""] * len(apart))


def _inches(texts: Iterable[str]) -> float:
    """Return the width of the widest line, generously."""
    lines = [line for text in texts for line in text.split("\n")]
    letters = (sum(1.75 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in line)
               for line in lines)  # fmt: skip
    return 0.58 * float(_PAGE["font.size"]) / 72.0 * max(letters, default=0.0)


def _strip(element: Element, key: str) -> None:
    """Take out what a page has itself: fonts, styles, names of elements that nothing refers to."""
    element.tag = element.tag.rpartition("}")[2]
    named = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    element.attrib.clear()
    for name, value in named.items():
        if name != "id" or element.tag in ("clipPath", "path"):
            element.set(name, _of_page(name, value, key))
    element.text, element.tail = element.text if (element.text or "").strip() else "", ""
    for child in list(element):
        if child.tag.rpartition("}")[2] in ("metadata", "style"):
            element.remove(child)
        else:
            _strip(child, key)


def _of_page(name: str, value: str, key: str) -> str:
    """Return the value of an attribute in the colours of the page, with names of its own."""
    if name in ("id", "href", "clip-path"):
        start = {"id": "", "href": "#", "clip-path": "url(#"}[name]
        return f"{start}{key}_{value.removeprefix(start)}"
    for colour, code in COLOURS.items():
        value = value.replace(code, f"var(--{colour})")
    parts = [part.strip() for part in value.split(";")] if name == "style" else [value]
    return "; ".join(p for p in parts if p and not p.startswith(("font-family", "font:")))
