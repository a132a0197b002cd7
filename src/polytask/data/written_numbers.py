"""Numbers as people write them: with signs of money, units, thousands and brackets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from polytask.messages import LazyMessage, with_and

CURRENCIES = (
    *("US$", "$", "€", "£", "¥", "￥", "₹"),
    *("USD", "EUR", "GBP", "JPY", "CNY", "CHF", "CAD", "AUD", "INR", "SEK", "NOK", "DKK"),
)
# Units that stand behind a number. Single letters that are codes as often are left out.
UNITS = (
    *("mg", "kg", "g", "lbs", "lb", "oz", "mm", "cm", "km", "m", "m²", "m2", "m³", "m3"),
    *("ft", "mi", "ml", "mL", "cl", "l", "L", "ms", "min", "mins", "h", "hrs", "s", "sec"),
    *("days", "years", "°C", "°F", "kWh", "MWh", "kW", "MW", "W", "kV", "V", "Hz", "kHz"),
    *("MHz", "GHz", "kB", "MB", "GB", "TB", "km/h", "mph", "m/s", "bpm", "mmHg", "hPa"),
    *("kPa", "Pa", "bar", "psi", "ppm", "kcal", "kJ", "J", "px", "pcs", "mg/l", "mg/L"),
    *("mg/dl", "mg/dL", "mmol/l", "mmol/L"),
)
# Behind an amount of money: thousands, millions, billions.
SCALES = {
    **dict.fromkeys(("k", "K"), 1e3),
    **dict.fromkeys(("m", "M", "mn", "Mn", "mio", "Mio"), 1e6),
    **dict.fromkeys(("b", "B", "bn", "Bn"), 1e9),
}
# Of the cells that a full stop and a comma read differently, so many must be readable in one way
# only: a single slip of the pen does not decide about a column.
SETTLING = 0.1

_BLANKS = " \u00a0\u2007\u2009\u202f"
_NAMES = {**dict.fromkeys(_BLANKS, "space"), ",": "comma", ".": "stop", "'": "apostrophe"}
_MINUS = "-\u2212"  # first in a set of letters, for "-" means a range elsewhere


def _pattern(decimal: str) -> re.Pattern[str]:
    mark, thousands = re.escape(decimal), "." if decimal == "," else ","
    blanks = f"[{_BLANKS}]*"
    money = "|".join(re.escape(sign) for sign in CURRENCIES)
    units = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
    scales = "|".join(sorted(SCALES, key=len, reverse=True))
    grouped = (
        rf"[1-9]\d{{0,2}}(?:(?P<group>[{thousands}'’{_BLANKS}])\d{{3}})(?:(?P=group)\d{{3}})*"
    )
    plain = rf"(?:(?:0|[1-9]\d*)(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
    return re.compile(
        rf"(?P<open>\()?{blanks}(?P<sign>[{_MINUS}+])?{blanks}(?P<before>{money})?{blanks}"
        rf"(?P<inner>\()?(?P<late>[{_MINUS}+])?{blanks}(?P<digits>{grouped}(?:{mark}\d*)?|{plain})"
        rf"(?P<end>[{_MINUS}])?"
        rf"{blanks}(?:(?P<after>%|{units})|(?P<scale>{scales})?{blanks}(?P<behind>{money})?)"
        rf"{blanks}(?P<close>\))?",
        re.ASCII,
    )


_PATTERNS = {".": _pattern("."), ",": _pattern(",")}


@dataclass(frozen=True)
class WrittenNumber:
    """A number and how it is written."""

    value: float
    sign: str
    group: str
    brackets: bool


def parse_number(word: str, decimal: str) -> WrittenNumber | None:
    """Return the number that a word is with this decimal mark, None if it is none."""
    found = _PATTERNS[decimal].fullmatch(word.strip())
    if found is None:
        return None
    part = found.groupdict(default="")
    n_open = len(part["open"] + part["inner"])
    # A minus behind an amount, as SAP writes it; "2-" is a mark of schools.
    signs = part["sign"] + part["late"] + part["end"]
    if part["end"] and decimal not in part["digits"]:
        return None
    if n_open != len(part["close"]) or len(signs) + n_open > 1:
        return None
    money = part["before"] or part["behind"]
    scale, unit = part["scale"], part["after"]
    if money and unit in SCALES:
        scale, unit = unit, ""  # $5m
    both = (part["before"] and part["behind"]) or (money and unit)
    if both or (scale and not money):
        return None
    digits = part["digits"].replace(part["group"], "") if part["group"] else part["digits"]
    # One rounding: 1.2 million is 1200000 exactly.
    value = float(Decimal(digits.replace(decimal, ".")) * Decimal(SCALES.get(scale, 1)))
    negative = bool(n_open) or (signs != "" and signs in _MINUS)
    return WrittenNumber(-value if negative else value, money or unit, part["group"], bool(n_open))


@dataclass(frozen=True)
class WrittenColumn:
    """The words of a column that are numbers, under one decimal mark."""

    decimal: str
    numbers: Mapping[str, WrittenNumber] = field(default_factory=dict)
    unsettled: str = ""

    def signs(self) -> dict[str, str]:
        """Return each sign in use with a word that has it, those without a sign under ""."""
        first: dict[str, str] = {}
        for word, number in self.numbers.items():
            first.setdefault(number.sign, word)
        return first

    def how(self) -> LazyMessage:
        """Return how the numbers are written, with an example and what it is read as."""
        numbers = self.numbers.values()
        signs = sorted({n.sign for n in numbers if n.sign})
        ways = [LazyMessage("written.sign", {"sign": repr(sign)}) for sign in signs]
        groups = {_NAMES.get(n.group, "apostrophe") for n in numbers if n.group}
        ways += [LazyMessage(f"written.thousands.{name}") for name in sorted(groups)]
        if self.decimal == "," and any("," in word for word in self.numbers):
            ways.append(LazyMessage("written.decimal_commas"))
        if any(n.brackets for n in numbers):
            ways.append(LazyMessage("written.brackets"))
        # The example shows as much as one word can.
        marks = {w: {sign for sign in w.strip() if not sign.isdigit()} for w in self.numbers}
        word = max(self.numbers, key=lambda w: (len(marks[w]), self.numbers[w].brackets))
        example = {"word": repr(word.strip()), "value": f"{self.numbers[word].value:.15g}"}
        if not ways:
            return LazyMessage("written.text", example)
        return LazyMessage(
            "written.with", example | {"ways": with_and([way.node for way in ways])}
        )


def read_words(counts: Mapping[str, int], decimal: str | None) -> WrittenColumn:
    """Find the numbers among words."""
    found = {mark: _numbers(counts, mark) for mark in (".", ",")}
    if decimal is not None:
        return WrittenColumn(decimal, found[decimal])
    point, comma = found["."], found[","]
    cells = {
        ".": sum(counts[word] for word in point if word not in comma),
        ",": sum(counts[word] for word in comma if word not in point),
    }
    mark = "," if cells[","] > cells["."] else "."
    both = [word for word in point if word in comma and point[word].value != comma[word].value]
    plain = not any(n.sign or n.group or n.brackets or "," in word for word, n in point.items())
    open_cells = sum(counts[word] for word in both)
    # Digits with a full stop and nothing else are numbers in every program.
    settled = (plain and mark == ".") or cells[mark] > SETTLING * open_cells or not both
    return WrittenColumn(mark, found[mark], "" if settled else both[0])


def _numbers(words: Mapping[str, int], mark: str) -> dict[str, WrittenNumber]:
    parsed = {word: parse_number(word, mark) for word in words}
    return {word: number for word, number in parsed.items() if number is not None}
