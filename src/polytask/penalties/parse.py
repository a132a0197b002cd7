"""Penalties from text, as in ``polytask fit --penalty "L21(fraction=0.1) + L2(1.0)"``."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from polytask._checks import nearest
from polytask.exceptions import ParameterError
from polytask.penalties.base import Penalty
from polytask.penalties.couplings import toward_mean
from polytask.penalties.rowwise import L1, L2, L21, ElasticNet, SparseGroup
from polytask.penalties.spectral import TraceNorm

# What can be made from numbers alone.
PENALTIES: dict[str, Callable[..., Penalty]] = {
    "L1": L1,
    "L2": L2,
    "ElasticNet": ElasticNet,
    "L21": L21,
    "SparseGroup": SparseGroup,
    "TraceNorm": TraceNorm,
    "toward_mean": toward_mean,
}


def parse(text: str) -> Penalty:
    """Return the penalty that a text names; nothing in the text is run.

    Parameters
    ----------
    text : str
        Names of `PENALTIES` with numbers as parameters, joined by ``+`` and multiplied
        by numbers: ``"L21"``, ``"L21(0.5)"``, ``"toward_mean(2) + 0.1 * L2"``.

    Returns
    -------
    Penalty
        The penalty.

    Raises
    ------
    ParameterError
        If the text is something else, or a parameter has a value that is not allowed.
    """
    try:
        return _penalty(ast.parse(text.strip(), mode="eval").body, text)
    except ParameterError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refusal(text, text) from None


def _refusal(piece: str, text: str) -> ParameterError:
    """Return the error for a piece of text that is no penalty."""
    return ParameterError(
        f"penalty must be a text such as 'L21', 'L21(0.5)' or 'toward_mean + L2(alpha=0.1)', "
        f"made of {', '.join(PENALTIES)}; got {piece!r} in {text!r}."
    )


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
            return _made(name, (), {}, text)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            named = {k.arg or "**": _number(k.value, text) for k in keywords}
            return _made(name, tuple(_number(arg, text) for arg in args), named, text)
    raise _refusal(ast.unparse(node), text)


def _factor(node: ast.expr, text: str) -> float:
    """Return the number that multiplies a penalty."""
    number = _number(node, text)
    if number is None:
        raise _refusal(ast.unparse(node), text)
    return number


def _number(node: ast.expr, text: str) -> float | None:
    """Return the number, or the None, that a node is."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    raise _refusal(ast.unparse(node), text)


def _made(name: str, args: tuple[float | None, ...], named: dict[str, Any], text: str) -> Penalty:
    """Return the penalty of a name and parameters."""
    if name not in PENALTIES:
        known = ", ".join(PENALTIES)
        raise ParameterError(
            f"penalty must be made of {known}; got {name!r} in {text!r}."
            + nearest(name, PENALTIES)
        )
    try:
        return PENALTIES[name](*args, **named)
    except TypeError as error:
        raise ParameterError(
            f"The parameters of {name} in {text!r} do not fit: {error}."
        ) from None
