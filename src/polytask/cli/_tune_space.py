"""What ``polytask tune`` searches: ranges and lists of values, as they are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from polytask._checks import nearest
from polytask.exceptions import ParameterError
from polytask.selection import Between

Space = dict[str, Any]

# From hardly any penalty to little but the penalty, on scaled features and targets.
_STRENGTHS = (1e-3, 100.0)
# Of the strength at which all coefficients vanish.
_FRACTIONS = (1e-3, 1.0)
# Where the ends are so far apart, factors matter.
_FACTOR = 10.0
_WORDS: Mapping[str, Any] = {"none": None, "true": True, "false": False}
_OWN = "penalty__"


def space_of(estimator: Any, ranges: Sequence[str], choices: Sequence[str]) -> Space:  # noqa: ANN401
    """Return what is searched, by the names of the estimator's parameters."""
    known = estimator.get_params()
    usual = _usual(estimator)
    found: Space = {}
    for text in ranges:
        name, rest = _named(text, "--range", "NAME=LOW..HIGH", known, usual)
        found[name] = _between(rest, text, known[name])
    for text in choices:
        name, rest = _named(text, "--choice", "NAME=A,B", known, usual)
        if name in found:
            raise ParameterError(f"--choice {text} names what another option searches already.")
        found[name] = [_value(word.strip()) for word in rest.split(",")]
    return found or usual


def _usual(estimator: Any) -> Space:  # noqa: ANN401 - any estimator
    if hasattr(estimator, "search_space"):
        offered: Space = estimator.search_space()
        return offered
    return _strengths(estimator.penalty.get_params())


def said(name: str, given: Any) -> str:  # noqa: ANN401 - a range or a list
    """Return a parameter and what is searched of it, as words."""
    if isinstance(given, Between):
        return f"{short(name)} {given.low:g} to {given.high:g}"
    return f"{short(name)} {' or '.join(map(str, given))}"


def short(name: str) -> str:
    """Return the name of a parameter as it is written in options."""
    return name.removeprefix(_OWN).replace("__", ".")


def _named(
    text: str, option: str, form: str, known: Mapping[str, Any], usual: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the full name of a parameter, and what stands behind the equals sign."""
    given, equals, rest = text.partition("=")
    if not equals or not rest.strip():
        raise ParameterError(f"{option} is written {form}; got {text!r}.")
    plain = given.strip().replace(".", "__")
    for name in (_OWN + plain, plain):
        if name in known:
            return name, rest
    own = [name for name in known if name.startswith(_OWN)] or list(usual)
    names = [*map(short, own), "task_weight"]
    raise ParameterError(
        f"{option} must name a parameter of the penalty or the model, such as "
        f"{', '.join(names[:6])}; got {given!r}.{nearest(given, map(short, known))}"
    )


def _between(rest: str, text: str, present: object) -> Between:
    low, dots, high = rest.partition("..")
    ends = [_value(end.strip()) for end in (low, high)]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if not dots or not numbers:
        raise ParameterError(f"--range is written NAME=LOW..HIGH; got {text!r}.")
    whole = isinstance(present, int) and not isinstance(present, bool)
    least, most = float(ends[0]), float(ends[1])
    factors = least > 0 and most >= _FACTOR * least and math.isfinite(most)
    try:
        return Between(least, most, log=factors, integer=whole)
    except ParameterError as error:
        raise ParameterError(f"--range {text} cannot be searched. {error}") from None


def _value(word: str) -> Any:  # noqa: ANN401 - a number, a word, or what it stands for
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _strengths(params: Mapping[str, Any]) -> Space:
    """Return the ranges of all strengths of a penalty: as fractions where there is a whole."""
    found: Space = {}
    for name in params:
        head, _, last = name.rpartition("__")
        fraction = f"{head}__fraction" if head else "fraction"
        if last == "alpha":
            relative = fraction in params
            ends = _FRACTIONS if relative else _STRENGTHS
            found[_OWN + (fraction if relative else name)] = Between(*ends)
    return found
