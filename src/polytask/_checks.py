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
    if any(value is option or _equal(value, option) for option in options):
        return
    allowed = "one of " + ", ".join(repr(option) for option in options)
    raise ParameterError(sentence(parameter, owner, allowed, repr(value)))


def _equal(value: object, option: object) -> bool:
    """Compare; arrays compare entry by entry and equal no option."""
    return getattr(value, "ndim", 0) == 0 and bool(value == option)


def nearest(name: object, candidates: Iterable[object]) -> str:
    """Suggest the closest of `candidates` to `name`, as words, or nothing."""
    by_text = {str(candidate): candidate for candidate in candidates}
    close = _close(str(name), by_text)
    return f" Did you mean {by_text[close[0]]!r}?" if close else ""


def _close(name: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidate that is closest; one with another number is another thing."""
    letters, numbers = _parted(name)
    parted = {each: _parted(each) for each in candidates}
    others = [each for each, (a, b) in parted.items() if a != letters or b == numbers]
    return difflib.get_close_matches(name, others, n=1, cutoff=_ALIKE)


def _parted(name: str) -> tuple[str, list[int]]:
    """Return a name without its numbers, and these."""
    return re.sub(r"[0-9]+", "", name), [int(digits) for digits in re.findall(r"[0-9]+", name)]


def nearest_file(path: str) -> str:
    """Suggest a file beside the missing `path`: closest by name, or the only one of its kind."""
    # Suffixes do not count: most files have the same, which would make any two names alike.
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    inside = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    there = [file for file in inside if os.path.isfile(os.path.join(folder, file))]
    alike = {os.path.splitext(file)[0]: file for file in sorted(there) if file.endswith(suffix)}
    if len(alike) == 1:
        return f" Did you mean {next(iter(alike.values()))!r}?"
    stems = {os.path.splitext(file)[0]: file for file in sorted(there)} | alike
    close = _close(stem, stems)
    return f" Did you mean {stems[close[0]]!r}?" if close else ""
