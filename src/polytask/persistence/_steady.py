"""The same bytes for the same estimator: skops names objects by their place in memory."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Iterator, MutableMapping
from typing import Any

_SCHEMA = "schema.json"
# Objects with this loader are plain values; whether two of them are one object is chance.
_PLAIN = "JsonNode"
# The earliest moment that the format knows.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def steady(content: bytes) -> bytes:
    """Give objects and files of a skops archive numbers in the order in which they appear."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = json.loads(members.pop(_SCHEMA))
    _number(schema)
    names = _rename(schema, members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for old, new in names.items():
            archive.writestr(_entry(new), members[old])
        archive.writestr(_entry(_SCHEMA), json.dumps(schema))
    return out.getvalue()


def _nodes(value: Any) -> Iterator[MutableMapping[str, Any]]:  # noqa: ANN401 - any JSON value
    """Yield every mapping inside, each before what it holds."""
    if isinstance(value, dict):
        yield value
    parts = value.values() if isinstance(value, dict) else value
    for part in parts if isinstance(value, dict | list) else ():
        yield from _nodes(part)


def _number(schema: Any) -> None:  # noqa: ANN401
    numbers: dict[int, int] = {}
    count = itertools.count(1)
    for node in _nodes(schema):
        if "__id__" not in node:
            continue
        if node.get("__loader__") == _PLAIN:
            node["__id__"] = next(count)
            continue
        if node["__id__"] not in numbers:
            numbers[node["__id__"]] = next(count)
        node["__id__"] = numbers[node["__id__"]]


def _rename(schema: Any, members: MutableMapping[str, bytes]) -> dict[str, str]:  # noqa: ANN401
    names: dict[str, str] = {}
    for node in _nodes(schema):
        old = node.get("file")
        if isinstance(old, str) and old in members:
            ending = old.rpartition(".")[2]
            node["file"] = names.setdefault(old, f"{len(names)}.{ending}")
    return names


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _MOMENT)
    entry.create_system = _UNIX
    return entry
