"""Values of a journal as strict JSON and back, every float and every array bit for bit."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from polytask.exceptions import ParameterError

# JSON has no arrays and no NaN: these become {"$": [kind, ...]}, and so does a dictionary of the
# caller that has a key "$" itself.
_TAG = "$"
_ARRAYS = frozenset("?bhilqBHILQefdFD")
_ALLOWED = (
    "None, bool, int, float, str, a list, a dictionary with text as keys, or a NumPy array of "
    "booleans or numbers of at most 64 bits a part"
)


def to_text(value: object, name: str) -> str:
    """Return `value` as one line of ASCII text; `name` stands for it in an error."""
    return json.dumps(
        _encode(value, name), ensure_ascii=True, allow_nan=False, separators=(",", ":")
    )


def from_text(text: str | bytes) -> Any:  # noqa: ANN401 - whatever was stored
    """Return what :func:`to_text` was given; tuples come back as lists."""
    return _decode(json.loads(text))


def _encode(value: object, name: str) -> Any:  # noqa: ANN401 - JSON
    for types, encode in _ENCODERS:
        if isinstance(value, types):
            return encode(value, name)
    raise _refused(value, name)


def _refused(value: object, name: str) -> ParameterError:
    return ParameterError(
        f"{name} of a journal must be {_ALLOWED}; got {type(value).__module__}."
        f"{type(value).__qualname__}."
    )


def _itself(value: object, _: str) -> Any:  # noqa: ANN401 - JSON
    return value


def _scalar(value: np.generic, name: str) -> Any:  # noqa: ANN401 - JSON
    plain = value.item()
    if isinstance(plain, np.generic):  # long double: no Python number holds it
        raise _refused(value, name)
    return _encode(plain, name)


def _real(value: float, _: str) -> Any:  # noqa: ANN401 - JSON
    return value if math.isfinite(value) else {_TAG: ["float", struct.pack("<d", value).hex()]}


def _array(value: np.ndarray[Any, Any], name: str) -> Any:  # noqa: ANN401 - JSON
    # A subclass has more than its numbers: a mask, a unit. A memory map has not.
    if type(value) not in (np.ndarray, np.memmap) or value.dtype.char not in _ARRAYS:
        raise _refused(value, name)
    little = value.dtype.newbyteorder("<")
    # The order in memory is kept too: it decides the last bit of a sum.
    order: Literal["C", "F"] = "F" if value.flags.fnc else "C"
    data = value.astype(little, copy=False).tobytes(order=order)
    return {_TAG: ["array", little.str, order, list(value.shape), base64.b64encode(data).decode()]}


def _mapping(value: Mapping[Any, object], name: str) -> Any:  # noqa: ANN401 - JSON
    for key in value:
        if not isinstance(key, str):
            raise ParameterError(
                f"{name} of a journal must have text as keys; got the key {key!r}."
            )
    encoded = {key: _encode(item, f"{name}[{key!r}]") for key, item in value.items()}
    return {_TAG: ["dict", encoded]} if _TAG in encoded else encoded


def _sequence(value: list[object] | tuple[object, ...], name: str) -> Any:  # noqa: ANN401 - JSON
    return [_encode(item, f"{name}[{index}]") for index, item in enumerate(value)]


# NumPy's float64 is a float and takes the row of floats.
_ENCODERS: tuple[tuple[tuple[type, ...], Callable[[Any, str], Any]], ...] = (
    ((type(None), bool, int, str), _itself),
    ((float,), _real),
    ((np.generic,), _scalar),
    ((np.ndarray,), _array),
    ((Mapping,), _mapping),
    ((list, tuple), _sequence),
)


def _decode(value: Any) -> Any:  # noqa: ANN401 - JSON in, whatever was stored out
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG in value:
        kind, *parts = value[_TAG]
        return _DECODERS[kind](*parts)
    return _entries(value)


def _entries(value: dict[str, Any]) -> dict[str, Any]:
    return {key: _decode(item) for key, item in value.items()}


def _to_real(text: str) -> float:
    return float(struct.unpack("<d", bytes.fromhex(text))[0])


def _to_array(
    dtype: str, order: Literal["C", "F"], shape: list[int], data: str
) -> np.ndarray[Any, Any]:
    flat = np.frombuffer(base64.b64decode(data), dtype=dtype)
    # A copy in the order of this machine's bytes, which may be written to.
    native = flat.astype(flat.dtype.newbyteorder("="), copy=True)
    return native.reshape(shape, order=order)


_DECODERS: Mapping[str, Callable[..., Any]] = {
    "array": _to_array,
    "dict": _entries,
    "float": _to_real,
}
