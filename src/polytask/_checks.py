"""The one template of error messages, and the checks of parameters that use it."""

from __future__ import annotations

import difflib
import glob
import math
import numbers
import os
import re
from collections.abc import Callable, Iterable
from typing import TypeGuard

from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage, Text

# Digits, whatever the script is.
_DIGITS = re.compile(r"\d+")
# How alike a name must be to be suggested, from 0 to 1.
_ALIKE = 0.65
_SHORT = 3


# What a number must be, as often as it is asked for.
FINITE, NONNEGATIVE, POSITIVE, SHARE, IN_UNIT, BELOW_ONE, FROM_ONE, SEED = (
    LazyMessage(f"allowed.{name}")
    for name in (
        *("finite", "nonnegative", "positive", "share", "in_unit", "below_one", "from_one"),
        "seed",
    )
)


def sentence(
    parameter: Text,
    owner: Text,
    allowed: Text,
    got: object,
    where: Text = "",
) -> LazyMessage:
    """Say which parameter, of whom, what is allowed, what came, and where."""
    came = got if isinstance(got, LazyMessage) else str(got)
    fields = {"parameter": parameter, "owner": owner, "allowed": allowed, "got": came}
    if where:
        return LazyMessage("refusal.parameter.at", fields | {"where": where})
    return LazyMessage("refusal.parameter", fields)


def number(value: object, parameter: str, owner: str, allowed: Text = FINITE) -> float:
    """Return `value` as a float, or raise :class:`ParameterError`."""
    return _within(value, parameter, owner, allowed, lambda _: True)


def nonnegative(value: object, parameter: str, owner: Text) -> float:
    """Return `value` as a float if it is a finite number >= 0, or raise."""
    return _within(value, parameter, owner, NONNEGATIVE, lambda x: x >= 0)


def positive(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it is a finite number > 0, or raise."""
    return _within(value, parameter, owner, POSITIVE, lambda x: x > 0)


def fraction(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it lies in (0, 1], or raise."""
    return _within(value, parameter, owner, SHARE, lambda x: 0 < x <= 1)


def unit_interval(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it lies in [0, 1], or raise."""
    return _within(value, parameter, owner, IN_UNIT, lambda x: 0 <= x <= 1)


def below_one(value: object, parameter: str, owner: str) -> float:
    """Return `value` as a float if it lies in [0, 1), or raise."""
    return _within(value, parameter, owner, BELOW_ONE, lambda x: 0 <= x < 1)


def _within(
    value: object,
    parameter: str,
    owner: Text,
    allowed: Text,
    holds: Callable[[float], bool],
) -> float:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    found = float(value) if real else math.nan  # type: ignore[arg-type]
    if not math.isfinite(found) or not holds(found):
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return found


def positive_integer(value: object, parameter: str, owner: str) -> int:
    """Return `value` as an int if it is an integer >= 1, or raise."""
    if not is_whole(value) or int(value) < 1:
        raise ParameterError(sentence(parameter, owner, FROM_ONE, repr(value)))
    return int(value)


def truth(value: object, parameter: str, owner: str) -> bool:
    """Return `value` as a bool if it is a boolean of Python or NumPy, or raise."""
    # NumPy, whose booleans go by either name, is not imported for this.
    if type(value).__name__ not in ("bool", "bool_"):
        raise ParameterError(sentence(parameter, owner, LazyMessage("allowed.truth"), repr(value)))
    return bool(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Say whether `value` is an integer of Python or NumPy, and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def one_of(
    value: object, parameter: str, owner: str, options: Iterable[object], key: str = ""
) -> None:
    """Raise :class:`ParameterError` unless `value` is among `options`; `key` is for others."""
    options = list(options)
    # Arrays compare entry by entry, and equal no option.
    plain = getattr(value, "ndim", 0) == 0
    if any(value is option or (plain and bool(value == option)) for option in options):
        return
    allowed = listed(options)
    allowed = LazyMessage(key, {"options": allowed}) if key else allowed
    raise ParameterError(sentence(parameter, owner, allowed, repr(value)))


def listed(options: Iterable[object]) -> LazyMessage:
    """Return what is allowed where it is one of some values."""
    return LazyMessage("allowed.one_of", {"options": [repr(option) for option in options]})


def got_shape(shape: Iterable[int]) -> LazyMessage:
    """Return that an array of some shape came."""
    return LazyMessage("got.shape", {"shape": str(tuple(shape))})


def of_system(what: str, path: object, error: OSError) -> LazyMessage:
    """Return that the system does not let a file be read or written, and why."""
    fields = {"path": str(path), "reason": str(error.strerror or error)}
    return LazyMessage(f"refusal.{what}.system", fields)


def nearest(name: object, candidates: Iterable[object]) -> Text:
    """Suggest the closest of `candidates` to `name`, as words, or nothing."""
    by_text = {str(candidate): candidate for candidate in candidates}
    close = _closest(str(name), by_text)
    return "" if close is None else suggested(by_text[close])


def suggested(name: object) -> LazyMessage:
    """Return the question whether a name was meant."""
    return LazyMessage("hint.nearest", {"name": repr(name)})


def nearest_file(path: str) -> Text:
    """Suggest a file for a missing one: alike, the only one of its kind, or further down."""
    # Suffixes do not count: most files have the same, which would make any two names alike.
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    there = sorted(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else []
    files = [file for file in there if os.path.isfile(os.path.join(folder, file))]
    alike = {os.path.splitext(file)[0]: file for file in files if file.endswith(suffix)}
    if suffix and len(alike) == 1 and not _is_sibling(stem, next(iter(alike))):
        return suggested(next(iter(alike.values())))
    # A short name of another kind is alike by chance, unless it is the same.
    short = suffix and len(stem) <= _SHORT
    others = [file for file in files if not short or os.path.splitext(file)[0] == stem]
    stems = {os.path.splitext(file)[0]: file for file in others} | alike
    close = _closest(stem, stems)
    if close is not None:
        return suggested(stems[close])
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    # A whole disk is not searched.
    if not name or (folder and os.path.dirname(folder) == folder):
        return ""
    # compare writes its model two folders down.
    base, last = glob.escape(folder), glob.escape(name)
    below = [f for down in ("*", "*/*") for f in glob.glob(os.path.join(base, down, last))]
    below.sort(key=lambda file: (-difflib.SequenceMatcher(None, path, file).ratio(), file))
    return suggested(below[0]) if below else ""


def _closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that may be meant: alike, or the same but for case."""
    possible = [text for text in candidates if not _is_sibling(name, text)]
    if len(name) <= _SHORT:
        # Two of three letters in common are a likeness of many words; a slip keeps the first.
        possible = [text for text in possible if text[:1].lower() == name[:1].lower()]
    folded = [text for text in possible if text.lower() == name.lower()]
    close = folded or _alike(name, possible)
    longer = [text for text in possible if text.lower().startswith(name.lower())]
    if not close and len(name) >= _SHORT and len(longer) == 1:
        close = longer
    return close[0] if close else None


def _alike(name: str, possible: list[str]) -> list[str]:
    """Return the name that is most alike, if any is, by what does not stand in all of them."""
    head = _beginning(possible)
    tail = _beginning([text[::-1] for text in possible])[::-1]
    ends = len(head) + len(tail)
    told = name.startswith(head) and name.endswith(tail)
    if len(possible) < 2 or not told or min(map(len, [name, *possible])) <= ends:
        head = tail = ""
    parts = {text[len(head) : len(text) - len(tail)]: text for text in possible}
    part = name[len(head) : len(name) - len(tail)]
    return [parts[one] for one in difflib.get_close_matches(part, parts, n=1, cutoff=_ALIKE)]


def _beginning(names: list[str]) -> str:
    """Return what all names begin with."""
    # The first and the last in order differ the soonest.
    first, last = min(names, default=""), max(names, default="")
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((k for k, (a, b) in pairs if a != b), min(len(first), len(last)))]


def _is_sibling(name: str, other: str) -> bool:
    """Say whether two names differ by their numbers alone, as store_11 and store_12 do."""
    numbers, others = _DIGITS.findall(name), _DIGITS.findall(other)
    if not numbers or _DIGITS.sub("0", name) != _DIGITS.sub("0", other):
        return False
    return list(map(int, numbers)) != list(map(int, others))
