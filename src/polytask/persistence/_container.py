"""The file: one safetensors container whose metadata holds the JSON document.

A checksum over the whole file stands at a fixed place near its start, so that a change of any
byte is noticed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import DataError

FORMAT = "polytask-model"
VERSION = 1
READABLE_FROM = "0.1.0"

_KEY = "polytask"
_BLANK = "0" * 64
# How every file of this format goes on after the eight bytes that hold the header's length.
_BEGIN = (
    '{"__metadata__":{' + json.dumps(_KEY) + ":"
    + json.dumps(f'{{"format": "{FORMAT}", "sha256": "')[:-1]
).encode()  # fmt: skip
_SUM = slice(8 + len(_BEGIN), 8 + len(_BEGIN) + len(_BLANK))

Document = dict[str, Any]
Tensors = dict[str, NDArray[Any]]


def pack(content: Document, tensors: Tensors) -> bytes:
    """Return the bytes of a file."""
    from safetensors.numpy import save

    head = {
        "format": FORMAT,
        "sha256": _BLANK,
        "format_version": VERSION,
        "readable_from": READABLE_FROM,
    }
    text = json.dumps(head | content, allow_nan=False)
    data = bytearray(save(tensors, metadata={_KEY: text}))
    data[_SUM] = _checksum(data)
    return bytes(data)


def unpack(data: bytes, name: str) -> tuple[Document, Tensors]:
    """Check the bytes of a file and take it apart."""
    from safetensors.numpy import load

    header = _header(data, name)
    document = _document(header)
    _refuse_newer(document, name)
    if len(data) != _length(header, data) or _checksum(data) != data[_SUM] or document is None:
        raise DataError(f"{name} was altered or damaged after it was written; it is not loaded.")
    return document, {key: np.array(value) for key, value in load(data).items()}


def _checksum(data: bytes | bytearray) -> bytes:
    digest = hashlib.sha256(memoryview(data)[: _SUM.start])
    digest.update(_BLANK.encode())
    digest.update(memoryview(data)[_SUM.stop :])
    return digest.hexdigest().encode()


def _header(data: bytes, name: str) -> Any:  # noqa: ANN401 - JSON, None if it cannot be read
    """Return the header; refuse what is not a whole file of this format."""
    if len(data) <= 8:
        raise DataError(f"{name} has {len(data)} bytes: it is not a polytask model, or cut short.")
    if data[8 : _SUM.start] != _BEGIN[: max(len(data) - 8, 0)]:
        raise DataError(f"{name} is not a polytask model{_what(data)}.")
    end = 8 + int.from_bytes(data[:8], "little")
    if len(data) < max(end, _SUM.stop):
        raise DataError(_cut_short(name, len(data)))
    header = _parsed(data[8:end])
    if header is not None and len(data) < _length(header, data):
        raise DataError(_cut_short(name, len(data)))
    return header


def _parsed(text: bytes | str) -> Any:  # noqa: ANN401 - JSON, None if it is none
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _length(header: Any, data: bytes) -> int:  # noqa: ANN401 - JSON
    """Return how long the file must be by its header; -1 if the header makes no sense."""
    try:
        ends = [item["data_offsets"][1] for key, item in header.items() if key != "__metadata__"]
        return 8 + int.from_bytes(data[:8], "little") + int(max(ends, default=0))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError):
        return -1


def _document(header: Any) -> Document | None:  # noqa: ANN401 - JSON
    try:
        document = _parsed(header["__metadata__"][_KEY])
    except (KeyError, TypeError):
        return None
    return document if isinstance(document, dict) else None


def _refuse_newer(document: Document | None, name: str) -> None:
    version = (document or {}).get("format_version", VERSION)
    if isinstance(version, int) and version > VERSION:
        needed = (document or {}).get("readable_from")
        raise DataError(
            f"{name} has format version {version}, and this polytask reads versions up to "
            f"{VERSION}: polytask {needed} or newer reads it."
        )


def _cut_short(name: str, size: int) -> str:
    return f"{name} is cut short after {size} bytes: copy or save it again."


def _what(data: bytes) -> str:
    """Say what a file seems to be instead."""
    if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "; it looks like a pickle, which load never opens because it can run any code"
    if data[:4] == b"PK\x03\x04":
        return "; it looks like a zip archive"
    if data[8:9] == b"{":
        return "; it looks like a safetensors file of another program"
    return ""
