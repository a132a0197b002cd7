"""A result as JSON, and back, exactly.

Records become objects with the names of their fields, as other programs expect; a number that
is not finite becomes null where the record holds numbers. Values of any kind (labels of tasks,
the lock) become objects of one key with a ``$`` where JSON has nothing like them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from polytask.exceptions import DataError
from polytask.io.codec import from_node, plain, to_node
from polytask.messages import LazyMessage

R = TypeVar("R")

# Name of the format by class, and its version.
FORMATS: Mapping[str, str] = {
    "Comparison": "polytask.comparison",
    "Monitoring": "polytask.monitoring",
    "Relatedness": "polytask.relatedness",
}
VERSION = 1
# Fields that were added since, which older files lack.
_LATER: Mapping[str, frozenset[str]] = {
    "Comparison": frozenset(
        {"relatedness", "path", "sparsity", "parameter_importance", "learning", "ablation"}
        | {"networks_gain", "networks_sharing", "gain_90", "margin", "times_more", "perfect"}
        | {"doubts", "far_cells", "repeated_rows", "copies", "split_gains", "groupings"}
    ),
    "Coefficients": frozenset({"model", "positive"}),
    "Monitoring": frozenset({"lock"}),
    "Relatedness": frozenset({"groupings"}),
    "Description": frozenset({"variance_shares"}),
    "Setup": frozenset({"quick", "times", "time_gap", "n_scored", "extras"}),
    "LearningPoint": frozenset({"least_rows", "most_rows"}),
    "TaskGain": frozenset({"centre"}),
    "ModelRow": frozenset({"left_out", "behind", "said", "target_errors"}),
}
# What a program reads beside the fields; it follows from them and is not read back.
_DERIVED: Mapping[str, tuple[str, ...]] = {"Comparison": ("predicts",)}
# Fields of files of 0.1 that have another name now.
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "Comparison": {"kept": "sparsity", "mattered": "parameter_importance"},
    "Relatedness": {"n_telling": "n_informative"},
}


def to_json(result: object) -> str:
    """Return a result as JSON text."""
    kind = type(result)
    head = {"format": FORMATS[kind.__name__], "version": VERSION}
    derived = {name: getattr(result, name) for name in _DERIVED.get(kind.__name__, ())}
    content = head | derived | _codec_of(kind).write(result)
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)
    # Half a surrogate pair has no place in a file of UTF-8.
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def from_json(text: str, kind: type[R]) -> R:
    """Rebuild a result from :func:`to_json`; it can do all but refit its model."""
    wanted, word = FORMATS[kind.__name__], kind.__name__.lower()
    try:
        content = json.loads(text)
    except ValueError as error:
        fields = {"word": word, "reason": str(error)}
        raise DataError(LazyMessage("io.refusal.no_json", fields)) from error
    if not isinstance(content, dict) or content.get("format") != wanted:
        raise DataError(LazyMessage("io.refusal.no_format", {"word": word, "wanted": wanted}))
    version = content.get("version")
    if version != VERSION:
        fields = {"word": word, "version": repr(version), "known": str(VERSION)}
        raise DataError(LazyMessage("io.refusal.result_version", fields))
    # Before there was a margin, "no practical difference" was not told from "inconclusive".
    if content.get("verdict") == "unclear":
        content["verdict"] = "inconclusive"
    try:
        rebuilt: R = _codec_of(kind).read(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        fields = {"word": word, "reason": repr(error)}
        raise DataError(LazyMessage("io.refusal.result_damaged", fields)) from error
    return rebuilt


def record_node(record: object) -> dict[str, Any]:
    """Return a record as JSON values."""
    node: dict[str, Any] = _codec_of(type(record)).write(record)
    return node


def read_record(node: Mapping[str, Any], kind: type[R]) -> R:
    """Rebuild a record from :func:`record_node`."""
    rebuilt: R = _codec_of(kind).read(node)
    return rebuilt


@dataclasses.dataclass(frozen=True)
class _Codec:
    """How values of one type become JSON, and come back."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _codec_of(kind: Any) -> Any:  # noqa: ANN401 - a class, which mypy does not know as hashable
    return _codec(kind)


@functools.cache
def _codec(hint: Any) -> _Codec:  # noqa: ANN401 - a type hint
    """Return how a field of a record is written."""
    if hasattr(hint, "_fields") or dataclasses.is_dataclass(hint):
        return _record(hint)
    if hint is float:
        # NaN is null, and an infinity its name, which ``float`` reads.
        return _Codec(
            lambda value: (
                float(value)
                if math.isfinite(value)
                else (None if math.isnan(value) else repr(float(value)))
            ),
            lambda node: float("nan") if node is None else float(node),
        )
    if hint in (int, bool, str):
        return _Codec(hint, hint)
    make = _GENERIC.get(get_origin(hint))
    return (
        _Codec(free_node, lambda node: from_node(node, {}))
        if make is None
        else make(*get_args(hint))
    )


def _record(kind: Any) -> _Codec:  # noqa: ANN401 - a record class
    hints = get_type_hints(kind)
    fields = getattr(kind, "_fields", None)
    names = fields or [f.name for f in dataclasses.fields(kind)]
    parts = {name: _codec(hints[name]) for name in names if not name.startswith("_")}
    later = _LATER.get(kind.__name__, frozenset())
    renamed = _RENAMED.get(kind.__name__, {})

    def read(node: Any) -> Any:  # noqa: ANN401 - a JSON value
        node = {renamed.get(name, name): value for name, value in node.items()}
        held = {name: part for name, part in parts.items() if name in node or name not in later}
        return kind(**{name: part.read(node[name]) for name, part in held.items()})

    return _Codec(
        lambda value: {name: part.write(getattr(value, name)) for name, part in parts.items()},
        read,
    )


def _optional(*hints: Any) -> _Codec:  # noqa: ANN401 - type hints
    (inner,) = [_codec(hint) for hint in hints if hint is not type(None)]
    return _Codec(
        lambda value: None if value is None else inner.write(value),
        lambda node: None if node is None else inner.read(node),
    )


def _tuple(*hints: Any) -> _Codec:  # noqa: ANN401 - type hints
    if hints[-1] is Ellipsis:
        every = _codec(hints[0])
        return _Codec(
            lambda value: [every.write(item) for item in value],
            lambda node: tuple(every.read(item) for item in node),
        )
    each = [_codec(hint) for hint in hints]
    return _Codec(
        lambda value: [part.write(item) for part, item in zip(each, value, strict=True)],
        lambda node: tuple(part.read(item) for part, item in zip(each, node, strict=True)),
    )


def _dict(_: Any, hint: Any) -> _Codec:  # noqa: ANN401 - type hints
    if hint is Any:
        return _ANY
    inner = _codec(hint)
    return _Codec(
        lambda value: {name: inner.write(item) for name, item in value.items()},
        lambda node: {name: inner.read(item) for name, item in node.items()},
    )


def free_node(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return a value of any kind as JSON values, those that JSON lacks under a ``$``."""
    return to_node(value, _plain_node)


def _plain_node(value: Any) -> Any:  # noqa: ANN401 - any value
    base = value.item() if isinstance(value, np.generic) else plain(value)
    if base is not value:
        return free_node(base)
    fields = {"value": repr(value), "kind": type(value).__name__}
    raise DataError(LazyMessage("io.refusal.not_json", fields))


_ANY = _Codec(free_node, lambda node: from_node(node, {}))
_GENERIC: Mapping[Any, Callable[..., _Codec]] = {
    Union: _optional,
    types.UnionType: _optional,
    tuple: _tuple,
    dict: _dict,
}
