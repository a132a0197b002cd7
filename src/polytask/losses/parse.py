"""Losses from text, as in ``polytask fit --loss "quantile(0.9)"``."""

from __future__ import annotations

import ast

from polytask.exceptions import ParameterError
from polytask.losses.base import Loss
from polytask.messages import LazyMessage


def parse(text: str, losses: dict[str, type[Loss]]) -> Loss | None:
    """Return the loss that a text names; nothing in the text is run."""
    name, bracket, _ = text.strip().partition("(")
    if name.strip() not in losses:
        return None
    made = losses[name.strip()]
    if not bracket:
        return made()
    try:
        args, named = _numbers(text)
        return made(*args, **named)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(LazyMessage("loss.refusal.text", {"got": repr(text)})) from None


def _numbers(text: str) -> tuple[list[float], dict[str, float]]:
    """Return the parameters of a call as numbers."""
    call = ast.parse(text.strip(), mode="eval").body
    if not isinstance(call, ast.Call):
        raise ValueError(text)
    named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    if len(named) < len(call.keywords):
        raise ValueError(text)
    args = [ast.literal_eval(arg) for arg in call.args]
    if not all(isinstance(value, int | float) for value in (*args, *named.values())):
        raise ValueError(text)
    return args, named
