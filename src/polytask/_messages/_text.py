"""Strings of users made fit for one line of text."""

from __future__ import annotations

import unicodedata

# Other, control and surrogate: they break lines, drive terminals or cannot be encoded.
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Marks that turn the direction of whatever follows, also outside of the string.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """Return a string without line breaks, control characters and direction overrides."""
    joined = " ".join(text.split())
    kept = "".join(_fit(character) for character in joined)
    return kept or '""'


def _fit(character: str) -> str:
    if character in _TURNING:
        return ""
    return "\ufffd" if unicodedata.category(character) in _UNFIT else character


def shortened(text: str, longest: int) -> str:
    """Return a text with its middle left out if it has more than so many characters."""
    if len(text) <= longest:
        return text
    tail = text[-(longest // 3) :].lstrip()
    # A mark without its letter would join the ellipsis.
    while tail and unicodedata.combining(tail[0]):
        tail = tail[1:]
    return f"{text[: longest - 1 - longest // 3].rstrip()}…{tail}"
