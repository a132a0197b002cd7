"""Penalties from text, as in ``polytask fit --penalty "L21(fraction=0.1) + L2(1.0)"``."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, get_type_hints

from polytask._checks import nearest
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage, with_and
from polytask.penalties.base import Penalty
from polytask.penalties.spectral import TraceNorm
from polytask.penalties.sums import Sum

Maker = Callable[..., Penalty]


def _trace_ball(radius: float) -> Penalty:
    """Return what was written TraceBall before TraceNorm had a radius."""
    return TraceNorm(radius=radius)


# What can be made from numbers alone, and all that can be written: the package fills both with
# what it exports.
PENALTIES: dict[str, Maker] = {}
_MAKERS: dict[str, Maker] = {"TraceBall": _trace_ball}
# Parameters that are a word, and those that are a class of penalties.
_WORDS = ("row_norm",)
_CLASSES = ("shared",)
# Set when a penalty meets its data, and made by multiplying: neither is named in advice.
_BOUND, _SILENT = ("columns",), ("factor",)


def register(exported: Mapping[str, Any]) -> None:
    """Take what makes penalties among the names that the package exports."""
    functions = {name: made for name, made in exported.items() if inspect.isfunction(made)}
    # A class that has a function, as TowardMean has toward_mean, is written by it.
    written = {name.replace("_", "") for name in functions}
    for name, made in exported.items():
        kind = get_type_hints(made).get("return") if name in functions else made
        if not inspect.isclass(kind) or not issubclass(kind, Penalty) or made is parse:
            continue
        if inspect.isabstract(made) or made is Sum:
            continue  # a sum is written with +
        if kind is made and name.lower() in written:
            continue
        _MAKERS[name] = made
        with suppress(TypeError, ParameterError):
            made(alpha=1.0)
            PENALTIES[name] = made


def parse(text: str) -> Penalty:
    """Return the penalty that a text names; nothing in the text is run.

    Parameters
    ----------
    text : str
        Such as ``"L21"``, ``"L21(0.5)"`` or ``"toward_mean + 2 * L2(alpha=0.1)"``: the names and
        parameters are those of :mod:`polytask.penalties`.

    Returns
    -------
    Penalty
        As if the text had been written in Python.

    Raises
    ------
    ParameterError
        If the text is no penalty, naming the piece that was not understood.

    Examples
    --------
    >>> from polytask.penalties import parse
    >>> parse("L21 + L2(0.1)")
    L21() + L2(alpha=0.1)
    """
    try:
        return _penalty(ast.parse(text.strip(), mode="eval").body, text)
    except (ParameterError, IncompatibleError):
        raise
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ParameterError(_refusal(text, text)) from None


def _refusal(piece: str, text: str, names: Iterable[str] = PENALTIES) -> LazyMessage:
    """Return that a piece of text is no penalty."""
    fields = {"names": list(names), "piece": repr(piece), "text": repr(text)}
    return LazyMessage("penalty.refusal.text", fields)


def _penalty(node: ast.expr, text: str) -> Penalty:
    """Return the penalty of a node."""
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _penalty(left, text) + _penalty(right, text)
        case ast.BinOp(left=ast.Constant() as left, op=ast.Mult(), right=right):
            return _penalty(right, text).scaled(_factor(left, text))
        case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant() as right):
            return _penalty(left, text).scaled(_factor(right, text))
        case ast.Name(id=name):
            return _made(name, (), (), text)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            if any(k.arg is None for k in keywords):
                raise ParameterError(_refusal(ast.unparse(node), text))
            named = [(str(k.arg), _named(k, text)) for k in keywords]
            return _made(name, tuple(_value(arg, text) for arg in args), named, text)
    raise ParameterError(_refusal(ast.unparse(node), text))


def _factor(node: ast.expr, text: str) -> float:
    """Return the number that multiplies a penalty."""
    number = _number(node, text)
    if number is None:
        raise ParameterError(_refusal(ast.unparse(node), text))
    return number


def _number(node: ast.expr, text: str) -> float | None:
    """Return the number, or the None, that a node is."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id="inf"):
            return float("inf")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            size = _number(operand, text)
            if size is not None:
                return -size
    raise ParameterError(_refusal(ast.unparse(node), text))


def _value(node: ast.expr, text: str) -> Any:  # noqa: ANN401 - what a parameter may be
    """Return the number, the None, or the numbers and task labels that a node is."""
    match node:
        case ast.Tuple(elts=entries) | ast.List(elts=entries):
            return tuple(_entry(entry, text) for entry in entries)
        case ast.Dict(keys=keys, values=values):
            pairs = zip((key or node for key in keys), values, strict=True)
            return {_entry(key, text): _entry(value, text) for key, value in pairs}
        case ast.Name(id=name) if name != "inf":
            return _penalty(node, text)
        case ast.Call() | ast.BinOp():
            return _penalty(node, text)
    return _number(node, text)


def _named(keyword: ast.keyword, text: str) -> Any:  # noqa: ANN401
    """Return the value of a parameter given by name: a few are words or classes."""
    match keyword:
        case ast.keyword(arg=name, value=ast.Constant(value=word) | ast.Name(id=word)) if (
            name in _CLASSES and word in PENALTIES
        ):
            return PENALTIES[str(word)]
        case ast.keyword(arg=name, value=ast.Constant(value=str() as word)) if name in _WORDS:
            return word
    return _value(keyword.value, text)


def _entry(node: ast.expr, text: str) -> Any:  # noqa: ANN401
    """Return an entry of a sequence or mapping: a task label, a penalty, or another value."""
    match node:
        case ast.Constant(value=str() as label):
            return label
    return _value(node, text)


def _made(
    name: str, args: tuple[Any, ...], named: Sequence[tuple[str, Any]], text: str
) -> Penalty:
    """Return the penalty of a name and parameters."""
    if name not in _MAKERS:
        raise ParameterError(_refusal(name, text, _MAKERS) + nearest(name, _MAKERS))
    found = inspect.signature(_MAKERS[name]).parameters
    known = {k: own for k, own in found.items() if k not in _BOUND}
    takes = with_and([k for k in known if k not in _SILENT])
    fields = {"penalty": name, "text": repr(text), "takes": takes}
    if wrong := _misfit(known, len(args), [k for k, _ in named]):
        key, more = wrong
        raise ParameterError(LazyMessage(f"penalty.refusal.text.{key}", fields | more))
    try:
        return _MAKERS[name](*args, **dict(named))
    except TypeError:
        raise ParameterError(LazyMessage("penalty.refusal.text.kinds", fields)) from None


def _misfit(
    known: Mapping[str, inspect.Parameter], n_values: int, named: Sequence[str]
) -> tuple[str, dict[str, Any]] | None:
    """Return in what way so many values and such names do not fit the parameters, if any."""
    places = [k for k, own in known.items() if own.kind is not inspect.Parameter.KEYWORD_ONLY]
    if n_values > len(places):
        return "many", {"given": n_values, "places": len(places)}
    strange = [k for k in named if k not in known]
    if strange:
        return "strange", {"parameter": repr(strange[0])}
    given = [*places[:n_values], *named]
    twice = [k for k in given if given.count(k) > 1]
    if twice:
        return "twice", {"parameter": twice[0]}
    empty = inspect.Parameter.empty
    lacking = [k for k, own in known.items() if own.default is empty and k not in given]
    return ("lacking", {"lacking": with_and(lacking)}) if lacking else None
