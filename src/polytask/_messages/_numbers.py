"""How numbers are written: as many digits as their uncertainty leaves them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

# Of a half-width these digits are shown; of a number without one, those.
_OF_SPREAD, _ALONE = 2, 3
# A number with more digits after the point is written with an exponent.
_MOST = 6


def decimals(spreads: Iterable[float], values: Iterable[float] = ()) -> int:
    """Return how many digits after the point tell numbers of some uncertainty."""
    for numbers, digits in ((spreads, _OF_SPREAD), (values, _ALONE)):
        sizes = [abs(v) for v in numbers if math.isfinite(v) and v != 0]
        if sizes:
            places = digits - 1 - math.floor(math.log10(median(sizes)))
            return min(max(places, 0), _MOST)
    return _ALONE


def fixed(value: float, places: int, *, signed: bool = False) -> str:
    """Return a number with a fixed number of digits after the point."""
    text = f"{value:,.{places}f}"
    if not any(digit in text for digit in "123456789"):
        return text.lstrip("-")
    if len(text) > 16:
        text = f"{value:.2e}"
    return f"+{text}" if signed and value > 0 else text


def plain_number(value: float) -> str:
    """Return a finite number with three digits that count, or all digits before the point."""
    if value == 0:
        return "0"
    places = _ALONE - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.2e}" if places > _MOST else fixed(value, max(places, 0))
