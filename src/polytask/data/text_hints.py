"""What a column of text really is: dates, numbers with commas, numbers with placeholders."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from shlex import quote
from typing import Any

from polytask.data.dates import is_date
from polytask.data.written_numbers import parse_number, read_words
from polytask.messages import LazyMessage, with_and

MOSTLY = 0.9
# Among numbers, dates or true/false these words can only mean "missing".
MISSING_MARKERS = (
    *("NA", "N/A", "n/a", "na", "n.a.", "#N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "-NaN"),
    *("NULL", "Null", "null", "None", "none", "?", "-", "."),
)
MANY_NUMBERS = 10
_LOOKED_AT = 1000

NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[. ]\d{3})+),\d+")
SHORT_DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{2}(?: .*)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")


def share(pattern: re.Pattern[str], labels: Sequence[str]) -> float:
    """Return the share of the labels that match as a whole."""
    if not labels:
        return 0.0
    return sum(pattern.fullmatch(label.strip()) is not None for label in labels) / len(labels)


def odd_ones(labels: Sequence[str]) -> list[int]:
    """Return the positions of what is no number in text of which the larger part is numbers."""
    odd = [k for k, label in enumerate(labels) if NUMBER.fullmatch(label.strip()) is None]
    return odd if 2 * len(odd) < len(labels) else []


def numeric_hint(
    name: str, labels: Sequence[str], decimal: str | None = None
) -> LazyMessage | None:
    """Return a sentence if the text is nearly all numbers, or dates that are not read."""
    if dates := _dates_hint(name, labels):
        return dates
    commas = [x for x in labels if DECIMAL_COMMA.fullmatch(x.strip())]
    plain = [x for x in labels if NUMBER.fullmatch(x.strip())]
    if decimal != "," and commas and _most(commas + plain, labels):
        if decimal is None and share(THOUSANDS, commas) == 1:
            return _two_ways(name, commas[0].strip())
        # One comma among full stops is a slip.
        if len(commas) > sum("." in x for x in plain):
            fields = {"column": name, "example": repr(commas[0])}
            return LazyMessage("hint.decimal_commas", fields)
    written = _written_hint(name, labels, decimal)
    if written is not None:
        return written
    if len(plain) > MANY_NUMBERS and _most(plain, labels):
        return _plain_hint(name, plain, labels)
    return None


def _dates_hint(name: str, labels: Sequence[str]) -> LazyMessage | None:
    """Return a sentence if most of the text is dates, but some in no way that is read."""
    if share(SHORT_DATE, labels) >= MOSTLY:
        return LazyMessage("hint.short_dates", {"column": name, "example": repr(labels[0])})
    some = labels[:: len(labels) // _LOOKED_AT + 1]
    dates = [label for label in some if is_date(label)]
    others = [label for label in some if not is_date(label)]
    short = [label for label in others if SHORT_DATE.fullmatch(label.strip())]
    if not dates or not others or len(dates + short) <= len(some) / 2:
        return None
    fields = {"column": name, "example": repr(dates[0]), "other": repr((short or others)[0])}
    return LazyMessage("hint.mixed_dates", fields)


def _two_ways(name: str, word: str) -> LazyMessage:
    """Say how a number is read with either decimal mark."""
    fields: dict[str, Any] = {"column": name, "example": repr(word)}
    for key, mark in (("thousands", "."), ("decimals", ",")):
        number = parse_number(word, mark)
        fields[key] = "?" if number is None else f"{number.value:.15g}"
    return LazyMessage("hint.commas", fields)


def _written_hint(name: str, labels: Sequence[str], decimal: str | None) -> LazyMessage | None:
    """Return a sentence if nearly all labels are numbers with signs, else None."""
    for part in (labels[:100], labels):
        found = read_words(Counter(part), decimal)
        if not _most([label for label in part if label in found.numbers], part):
            return None
    if not any(n.sign or n.group or n.brackets for n in found.numbers.values()):
        return None
    if len(found.signs()) == 1 and len(found.numbers) < len(labels):
        return _plain_hint(name, list(found.numbers), labels)
    return LazyMessage("hint.written", {"column": name, "how": found.how().node})


def _most(some: Sequence[str], labels: Sequence[str]) -> bool:
    return len(some) >= MOSTLY * len(labels)


def _plain_hint(name: str, plain: Sequence[str], labels: Sequence[str]) -> LazyMessage:
    numbers = set(plain)
    others = [label for label in labels if label not in numbers]
    if not others:
        return LazyMessage("hint.numbers_as_text", {"column": name, "example": repr(plain[0])})
    fields: dict[str, Any] = {"column": name, "others": [repr(label) for label in others[:3]]}
    return LazyMessage("hint.numbers_but", fields | {"option": missing_option(others[:3])})


def counted_words(met: dict[str, int]) -> list[dict[str, Any]]:
    """Return words with how many cells hold them, as parts of a message; blanks are left out."""
    found = sorted((word.strip(), n) for word, n in met.items() if word.strip())
    return [LazyMessage("read.cells", {"word": repr(word), "n": n}).node for word, n in found]


def missing_option(words: Sequence[str]) -> str:
    """Return the options of a command that read words as missing, as a shell takes them."""
    # A word like -x would be taken for an option.
    texts = [quote(word.strip()) for word in words]
    return " ".join(
        f"--missing-values{'=' if text.startswith('-') else ' '}{text}" for text in texts
    )


def spelling_hint(name: str, labels: Sequence[str]) -> LazyMessage | None:
    """Return a sentence if two levels differ in case or spaces only, else None."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        groups[" ".join(label.casefold().split())].append(label)
    twins = [group for group in groups.values() if len(group) > 1]
    if not twins:
        return None
    key = "hint.spelling" if len(twins) == 1 else "hint.spelling.more"
    levels = with_and([repr(label) for label in twins[0]])
    others = ", ".join(repr(group[0]) for group in twins[1:4]) + ", ..." * (len(twins) > 4)
    fields = {"column": name, "levels": levels, "n": len(twins) - 1, "others": others}
    return LazyMessage(key, fields)
