"""The one template of error messages, and the checks of parameters that use it."""

from __future__ import annotations

import difflib
import math
import numbers
import os
import re
from collections.abc import Iterable
from typing import TypeGuard

from polytask.exceptions import ParameterError

# Digits, whatever the script is.
_DIGITS = re.compile(r"\d+")
# How alike a name must be to be suggested, from 0 to 1.
_ALIKE = 0.6


def sentence(parameter: str, owner: str, allowed: str, got: object, where: str = "") -> str:
    """Say which parameter, of whom, what is allowed, what came, and where."""
    place = f" ({where})" if where else ""
    return f"{parameter} of {owner} must be {allowed}; got {got}{place}."


def number(value: object, parameter: str, owner: str, allowed: str = "a finite number") -> float:
    """Return `value` as a float, or raise :class:`ParameterError`."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(float(value)):  # type: ignore[arg-type]
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return float(value)  # type: ignore[arg-type]


def nonnegative(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it is a finite number >= 0, or raise."""
    allowed = "a finite number >= 0"
    checked = number(value, parameter, owner, allowed)
    if checked < 0:
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return checked


def positive(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it is a finite number > 0, or raise."""
    allowed = "a finite number > 0"
    checked = number(value, parameter, owner, allowed)
    if checked <= 0:
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return checked


def fraction(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it lies in (0, 1], or raise."""
    allowed = "a number in (0, 1]"
    checked = number(value, parameter, owner, allowed)
    if not 0 < checked <= 1:
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return checked


def unit_interval(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it lies in [0, 1], or raise."""
    allowed = "a number in [0, 1]"
    checked = number(value, parameter, owner, allowed)
    if not 0 <= checked <= 1:
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return checked


def below_one(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it lies in [0, 1), or raise."""
    allowed = "a number in [0, 1)"
    checked = number(value, parameter, owner, allowed)
    if not 0 <= checked < 1:
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return checked


def positive_integer(value: object, parameter: str, owner: str) -> int:
    """Return `value` as an int if it is an integer >= 1, or raise."""
    if not is_whole(value) or int(value) < 1:
        raise ParameterError(sentence(parameter, owner, "an integer >= 1", repr(value)))
    return int(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Say whether `value` is an integer of Python or NumPy, and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def one_of(value: object, parameter: str, owner: str, options: Iterable[object]) -> None:
    """Raise :class:`ParameterError` unless `value` is among `options`."""
    options = list(options)
    # Arrays compare entry by entry, and equal no option.
    plain = getattr(value, "ndim", 0) == 0
    if any(value is option or (plain and bool(value == option)) for option in options):
        return
    allowed = "one of " + ", ".join(repr(option) for option in options)
    raise ParameterError(sentence(parameter, owner, allowed, repr(value)))


def nearest(name: object, candidates: Iterable[object]) -> str:
    """Suggest the closest of `candidates` to `name`, as words, or nothing."""
    by_text = {str(candidate): candidate for candidate in candidates}
    close = _closest(str(name), by_text)
    return f" Did you mean {by_text[close]!r}?" if close is not None else ""


def nearest_file(path: str) -> str:
    """Suggest a file beside the missing `path`: closest by name, or the only one of its kind."""
    # Suffixes do not count: most files have the same, which would make any two names alike.
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    there = sorted(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else []
    files = [file for file in there if os.path.isfile(os.path.join(folder, file))]
    alike = {os.path.splitext(file)[0]: file for file in files if file.endswith(suffix)}
    if suffix and len(alike) == 1 and not _is_sibling(stem, next(iter(alike))):
        return f" Did you mean {next(iter(alike.values()))!r}?"
    stems = {os.path.splitext(file)[0]: file for file in files} | alike
    close = _closest(stem, stems)
    return f" Did you mean {stems[close]!r}?" if close is not None else ""


def _closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that may be meant: alike, or the same but for case."""
    possible = [text for text in candidates if not _is_sibling(name, text)]
    folded = [text for text in possible if text.lower() == name.lower()]
    close = folded or difflib.get_close_matches(name, possible, n=1, cutoff=_ALIKE)
    return close[0] if close else None


def _is_sibling(name: str, other: str) -> bool:
    """Say whether two names differ by their numbers alone, as store_11 and store_12 do."""
    numbers, others = _DIGITS.findall(name), _DIGITS.findall(other)
    if not numbers or _DIGITS.sub("0", name) != _DIGITS.sub("0", other):
        return False
    return list(map(int, numbers)) != list(map(int, others))
