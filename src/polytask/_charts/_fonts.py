"""Which installed fonts have which characters."""

from __future__ import annotations

import functools
import unicodedata

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
