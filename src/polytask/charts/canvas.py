"""What charts are drawn on: colours, fonts, names of users, limits of axes."""

from __future__ import annotations

import functools
import io
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Common fonts for scripts that the usual one lacks; others are looked at after them.
_FIRST = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Noto Sans CJK JP",
    "Hiragino Sans",
    "Yu Gothic",
    "Noto Sans CJK KR",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Thai",
    "Noto Sans Devanagari",
    "Arial Unicode MS",
    "Arial",
    "Tahoma",
    "Segoe UI",
    "Noto Sans",
)
# Fonts of boxes, and mathematical fonts whose letters are not where Unicode has them.
_UNFIT = ("Last Resort", "cmb10", "cmex10", "cmmi10", "cmr10", "cmss10", "cmsy10", "cmti10",
          "cmtt10", "STIXNonUnicode", "STIXSize")  # fmt: skip
_USUAL_WEIGHT = 400
_WORST = True, 10_000
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_MARKS = frozenset({"Mn", "Mc"})


def families_for(text: str) -> tuple[list[str], frozenset[str]]:
    """Choose fonts for a text."""
    import matplotlib

    families = list(matplotlib.rcParams["font.family"])
    absent = set(text)
    for family in families:
        absent -= _characters(_usual_path(family))
    for family, path in _others().items() if absent else ():
        found = absent & _characters(path)
        if found:
            families.append(family)
            absent -= found
        if not absent:
            break
    return families, frozenset(absent)


def needs_shaping(text: str) -> bool:
    """Whether letters would come out of order or unjoined with this version of matplotlib."""
    from matplotlib import ft2font

    if hasattr(ft2font, "__libraqm_version__"):
        return False
    return any(
        unicodedata.bidirectional(c) in _RIGHT_TO_LEFT or unicodedata.category(c) in _MARKS
        for c in text
    )


@functools.lru_cache(maxsize=8)
def _usual_path(family: str) -> str:
    """Return the file of a font of the settings, also of a generic one such as sans-serif."""
    from matplotlib.font_manager import FontProperties, fontManager

    return str(fontManager.findfont(FontProperties(family=[family])))


def _others() -> dict[str, str]:
    """Return the other fonts with their upright files of usual weight, the likeliest first."""
    from matplotlib.font_manager import fontManager, weight_dict

    files: dict[str, tuple[tuple[bool, int], str]] = {}
    for entry in fontManager.ttflist:
        weight = weight_dict.get(str(entry.weight)) or entry.weight
        rank = entry.style != "normal", abs(int(weight) - _USUAL_WEIGHT)
        if not entry.name.startswith(_UNFIT) and rank < files.get(entry.name, (_WORST, ""))[0]:
            files[entry.name] = rank, entry.fname
    first = [name for name in _FIRST if name in files]
    return {name: files[name][1] for name in [*first, *sorted(set(files).difference(first))]}


@functools.lru_cache(maxsize=4096)
def _characters(path: str) -> frozenset[str]:
    """Return the characters of a font file; none of one that can only be drawn in colour."""
    from matplotlib import ft2font

    try:
        font = ft2font.FT2Font(path)
    except (OSError, RuntimeError):
        return frozenset()
    if not font.scalable or ft2font.FaceFlags.COLOR in font.face_flags:
        return frozenset()
    return frozenset(map(chr, font.get_charmap()))


# Under a chart in which a number stands for a name.
NOTE = "#n: row n of the table, from 0; no font here has the name"

_INVISIBLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_WIDEST = 32
_ELLIPSIS = "…"


class Labels(NamedTuple):
    """What is written in place of names."""

    texts: list[str]
    families: list[str]
    replaced: bool


def labels(names: Sequence[str], numbers: Sequence[int] | None = None) -> Labels:
    """Make names fit for the axis of a chart."""
    numbers = range(len(names)) if numbers is None else numbers
    texts = [shortened(_one_line(name)) for name in names]
    families, absent = families_for("".join(texts) + "#0123456789")
    unfit = [needs_shaping(text) or not absent.isdisjoint(text) for text in texts]
    shown = [
        f"#{number}" if bad else text
        for text, bad, number in zip(texts, unfit, numbers, strict=True)
    ]
    return Labels(shown, families, any(unfit))


def shortened(text: str, widest: int = _WIDEST) -> str:
    """Return a text that is at most so many letters wide, with its middle left out if not."""
    # The ends of names tell them apart: both are kept. East Asian letters count twice.
    if sum(_width(c) for c in text) <= widest:
        return text
    tail = _fitting(text[::-1], widest // 3)[::-1]
    head = _fitting(text, widest - 1 - widest // 3)
    # A mark without its letter would join the ellipsis.
    while tail and unicodedata.combining(tail[0]):
        tail = tail[1:]
    return head + _ELLIPSIS + tail


def _fitting(text: str, widest: int) -> str:
    used = 0
    for place, character in enumerate(text):
        used += _width(character)
        if used > widest:
            return text[:place]
    return text


def _width(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _one_line(text: str) -> str:
    kept = (c for c in " ".join(text.split()) if unicodedata.category(c) not in _INVISIBLE)
    return "".join(kept)


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
