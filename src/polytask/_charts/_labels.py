"""Names of users on charts: short, of one line, and in fonts that have their characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from polytask._charts import _fonts

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
    families, absent = _fonts.families_for("".join(texts) + "#0123456789")
    unfit = [_fonts.needs_shaping(text) or not absent.isdisjoint(text) for text in texts]
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
