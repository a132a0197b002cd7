"""Parameters as text that is the same in another process, and differs where they do."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_PLACE = re.compile(r" at 0x[0-9a-fA-F]+")
_DIGITS = 16
# What its text tells whole.
_PLAIN = (str, bytes, bool, int, float, complex)
# What a name tells whole.
_NAMED = (type, types.BuiltinFunctionType, types.ModuleType)
# Inside of these a set may be, whose order is not that of another process.
_NESTED = (list, tuple, dict, set, frozenset)
_PLAIN_TEXT = (list.__repr__, tuple.__repr__, dict.__repr__)
_DEEP = 8
_WEIGHTS = b"weights "


def fingerprint(value: object, *, weights: bool = True) -> str:
    """Return a value as text, without places in memory, with a digest of what its text hides."""
    # Arrays are shortened by their text; functions of no module, what they hold on to, objects
    # without a text of their own, and modules of networks do not tell their content at all.
    inside = _Hidden(weights).within(value)
    return f"{_shown(value)} #{_digest(inside)}" if inside else _shown(value)


def weights_of(value: object) -> str:
    """Return a digest of the weights of the modules in a value, empty if there are none."""
    inside = _Hidden(weights=True).within(value)
    found = [piece for piece in inside if piece.startswith(_WEIGHTS)]
    return _digest(found) if found else ""


def fingerprints(
    values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return values and defaults as text, what objects in them were made of by dotted names."""
    texts: dict[str, str] = {}
    usual = {name: fingerprint(value, weights=False) for name, value in defaults.items()}
    for name, value in values.items():
        settings = _settings(value)
        if settings is None:
            texts[name] = fingerprint(value, weights=False)
            continue
        texts[name] = type(value).__name__
        held, known = ({f"{name}.{key}": part for key, part in own.items()} for own in settings)
        inner, inner_usual = fingerprints(held, known)
        texts, usual = texts | inner, usual | inner_usual
    return texts, usual


def _settings(value: Any) -> tuple[dict[Any, Any], dict[Any, Any]] | None:  # noqa: ANN401
    """Return what an object was made of and the defaults of that; None if it does not tell."""
    if isinstance(value, Mapping):
        return dict(value), {}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
        for field in fields:
            if field.default_factory is not dataclasses.MISSING:
                defaults[field.name] = field.default_factory()
        return {f.name: getattr(value, f.name, None) for f in fields}, defaults
    if not _has(value, "get_params"):
        return None
    known = inspect.signature(type(value)).parameters.values()
    return value.get_params(deep=False), {found.name: found.default for found in known}


def _digest(pieces: list[bytes]) -> str:
    return hashlib.sha256(b"\0".join(pieces)).hexdigest()[:_DIGITS]


class _Hidden:
    """What the text of values does not tell."""

    def __init__(self, weights: bool) -> None:
        self._weights = weights
        # By place, kept alive: the place of what is gone goes to something else.
        self._seen: dict[int, tuple[object, list[bytes]]] = {}

    def within(self, value: Any) -> list[bytes]:  # noqa: ANN401 - any object
        """Return what the text of a value does not tell; nothing where it holds itself."""
        if value is None or isinstance(value, (*_PLAIN, *_NAMED)):
            return []
        if id(value) not in self._seen:
            found: list[bytes] = []
            self._seen[id(value)] = value, found
            found.extend(list(self._told(value)))
        return self._seen[id(value)][1]

    def _told(self, value: Any) -> Iterator[bytes]:  # noqa: ANN401
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            yield from self.within(value.tolist())
            yield _text(value.tolist())
        elif isinstance(value, np.ndarray):
            numbers = np.ascontiguousarray(value).tobytes()
            yield f"{value.dtype} {value.shape} ".encode() + numbers
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif _is_torch(value, "Tensor"):
            yield _numbers(value)
        elif _is_torch(value, "nn", "Module"):
            yield from self._module(value)
        elif _has(value, "state_dict"):
            # What such an object has learned is in its state; its settings are what is plain.
            settings = [
                (name, held)
                for name, held in _fields(value).items()
                if isinstance(held, _PLAIN) or dataclasses.is_dataclass(held)
            ]
            yield _text(sorted(settings))
        else:
            if _has(value, "get_params"):
                # The text of an estimator of scikit-learn ends after 700 characters.
                yield _text(sorted(value.get_params(deep=False).items()))
            elif repr(value) == object.__repr__(value):
                yield _text(sorted(_fields(value).items()))
            for part in _parts(value):
                yield from self.within(part)

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        """Yield code and what is held on to; a function of a module is told by its name."""
        if "<" in function.__qualname__:
            yield from self._code(function.__code__, function.__globals__)
        held: list[Any] = []
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # not filled yet
                held.append(cell.cell_contents)
        held += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        for part in held:
            yield _text(part)
            yield from self.within(part)

    def _code(self, code: types.CodeType, known: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield instructions, constants and what the names of the module stand for."""
        plain = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
        yield code.co_code + _text((plain, code.co_names))
        for name in code.co_names:
            value = known.get(name)
            if isinstance(value, (*_PLAIN, *_NAMED, types.FunctionType)):
                yield _text((name, value))
                yield from self.within(value)
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                yield from self._code(inner, known)

    def _module(self, module: Any) -> Iterator[bytes]:  # noqa: ANN401 - a module of torch
        """Yield what a network and its layers are, their settings and their weights."""
        for name, inner in module.named_modules():
            own = {
                key: value
                for key, value in vars(inner).items()
                if isinstance(value, _PLAIN) and not key.startswith("_") and key != "training"
            }
            yield _text((name, _shown(type(inner)), sorted(own.items())))
        for name, entry in module.state_dict().items() if self._weights else ():
            told = _numbers(entry) if _is_torch(entry, "Tensor") else _text(entry)
            inside = [told, *self.within(entry)]
            yield _WEIGHTS + str(name).encode() + b" " + b" ".join(inside)


def _is_torch(value: object, *place: str) -> bool:
    """Tell whether a value is of a class of torch, which need not be installed."""
    kind: Any = sys.modules.get("torch")
    for name in place:
        kind = getattr(kind, name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _has(value: object, method: str) -> bool:
    """Tell whether a class has a method; objects may pretend to have any."""
    return callable(getattr(type(value), method, None))


def _fields(value: object) -> dict[str, Any]:
    """Return what an object holds."""
    slots = [getattr(kind, "__slots__", ()) for kind in type(value).__mro__]
    names = [name for own in slots for name in ([own] if isinstance(own, str) else own)]
    held = {name: getattr(value, name) for name in names if hasattr(value, name)}
    return held | getattr(value, "__dict__", {})


def _text(value: object) -> bytes:
    return _shown(value).encode("utf-8", "surrogatepass")


def _shown(value: object, depth: int = 0) -> str:
    """Return the text of a value without places in memory, sets in order."""
    inner = functools.partial(_shown, depth=depth + 1)
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({{{', '.join(sorted(map(inner, value)))}}})"
    # Of what holds itself, text goes no deeper.
    if (
        isinstance(value, list | tuple | dict)
        and depth < _DEEP
        and type(value).__repr__ in _PLAIN_TEXT
    ):
        parts = value.values() if isinstance(value, dict) else value
        nests = any(isinstance(part, _NESTED) for part in parts)
        if nests and isinstance(value, dict):
            return f"{{{', '.join(f'{inner(k)}: {inner(v)}' for k, v in value.items())}}}"
        if nests:
            inside = ", ".join(map(inner, value))
            return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, (*_NAMED, types.FunctionType)):
        module = getattr(value, "__module__", None)
        return f"{module}.{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"
    return _PLACE.sub("", repr(value))


def _numbers(tensor: Any) -> bytes:  # noqa: ANN401 - a tensor
    if _is_torch(tensor, "nn", "parameter", "UninitializedTensorMixin"):
        return b"not yet known"
    # NumPy has no bfloat16; double holds every smaller type.
    values = np.asarray(tensor.detach().cpu().double().numpy())
    return f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + values.tobytes()


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
    elif _has(value, "to_numpy"):
        yield value.to_numpy()
    elif _has(value, "get_params"):
        yield value.get_params(deep=False)
    else:
        yield _fields(value)
