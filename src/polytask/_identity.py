"""Parameters as text that is the same in another process, and differs where they do."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_PLACE = re.compile(r" at 0x[0-9a-fA-F]+")
_DIGITS = 16
# By place, kept alive (the place of what is gone goes to something else), and what was found.
_Seen = dict[int, tuple[object, list[bytes]]]
# What its text tells whole.
_PLAIN = (str, bytes, bool, int, float, complex)


def steady(value: object, *, weights: bool = True) -> str:
    """Return a value as text, without places in memory, with a digest of what its text hides.

    Arrays are shortened by their text, and functions that stand in no module, what they hold on
    to, and modules of networks do not tell their content at all.

    Parameters
    ----------
    value : object
        A parameter, or a mapping of them.
    weights : bool, default=True
        Whether the weights of modules count.

    Returns
    -------
    str
        The text; the digest behind a number sign, if something is hidden.
    """
    inside = _hidden(value, weights, {})
    text = _PLACE.sub("", repr(value))
    return f"{text} #{_digest(inside)}" if inside else text


def weights_of(value: object) -> str:
    """Return a digest of the weights of the modules in a value, empty if there are none."""
    found = [piece for piece in _hidden(value, True, {}) if piece.startswith(b"weights ")]
    return _digest(found) if found else ""


def _digest(pieces: list[bytes]) -> str:
    return hashlib.sha256(b"\0".join(pieces)).hexdigest()[:_DIGITS]


def _hidden(value: Any, weights: bool, seen: _Seen) -> list[bytes]:  # noqa: ANN401
    """Return what the text of a value does not tell; nothing where it holds itself."""
    if value is None or isinstance(value, (*_PLAIN, type)):
        return []
    if id(value) not in seen:
        found: list[bytes] = []
        seen[id(value)] = value, found
        found.extend(list(_told(value, weights, seen)))
    return seen[id(value)][1]


def _told(value: Any, weights: bool, seen: _Seen) -> Iterator[bytes]:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        yield from _array(value, weights, seen)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, weights, seen)
    elif _can(value, "detach"):
        yield _numbers(value).tobytes()
    elif _can(value, "state_dict"):
        yield from _weights(value) if weights else ()
    else:
        yield from _object(value, weights, seen)


def _can(value: object, method: str) -> bool:
    return callable(getattr(value, method, None))


def _object(value: Any, weights: bool, seen: _Seen) -> Iterator[bytes]:  # noqa: ANN401
    if _can(value, "get_params"):
        # The text of an estimator of scikit-learn ends after 700 characters.
        yield _text(sorted(value.get_params(deep=False).items()))
    elif _text(value) == _text(object.__repr__(value)):
        yield _text(sorted(getattr(value, "__dict__", {}).items()))
    for part in _parts(value):
        yield from _hidden(part, weights, seen)


def _array(array: np.ndarray[Any, Any], weights: bool, seen: _Seen) -> Iterator[bytes]:
    if array.dtype.hasobject:
        yield from _hidden(array.tolist(), weights, seen)
        yield _text(array.tolist())
    else:
        yield f"{array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes()


def _function(function: types.FunctionType, weights: bool, seen: _Seen) -> Iterator[bytes]:
    """Yield code and what is held on to; a function of a module is told by its name."""
    if "<" in function.__qualname__:
        yield from _code(function.__code__, function.__globals__)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    held = [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for part in held:
        yield _text(part)
        yield from _hidden(part, weights, seen)


def _code(code: types.CodeType, known: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield instructions, constants and the numbers and words of the module that are named."""
    plain = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
    named = {name: known.get(name) for name in code.co_names}
    used = [(name, v) for name, v in named.items() if v is None or isinstance(v, _PLAIN)]
    yield code.co_code + _text((plain, used))
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _code(inner, known)


def _text(value: object) -> bytes:
    return _PLACE.sub("", repr(value)).encode("utf-8", "surrogatepass")


def _weights(module: Any) -> Iterator[bytes]:  # noqa: ANN401 - whatever has a state
    for name, tensor in module.state_dict().items():
        yield b"weights " + str(name).encode() + b" " + _numbers(tensor).tobytes()


def _numbers(tensor: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401 - a tensor or an array
    if _can(tensor, "detach"):
        # NumPy has no bfloat16; double holds every smaller type.
        tensor = tensor.detach().cpu().double().numpy()
    return np.ascontiguousarray(tensor)


def _parts(value: Any) -> Iterator[Any]:  # noqa: ANN401 - any object
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif dataclasses.is_dataclass(value):
        yield from (getattr(value, field.name, None) for field in dataclasses.fields(value))
    elif _can(value, "to_numpy"):
        yield value.to_numpy()
    elif _can(value, "get_params"):
        yield value.get_params(deep=False)
    elif not isinstance(value, types.ModuleType | types.BuiltinFunctionType):
        yield getattr(value, "__dict__", None)
