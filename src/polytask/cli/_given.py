"""The options of a command as they were given: to print, to keep, and to repeat."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

# What says where and how a command runs, not what it does.
_PASSING = frozenset({"out", "config", "resume", "force"})


@dataclass(frozen=True)
class Given:
    """The options of one run that were given, on the command line or in a file."""

    values: Mapping[str, Any]
    words: tuple[str, ...]


def given_options(context: typer.Context) -> Given:
    """Return what was given to a command, but for what decides nothing about its result."""
    values: dict[str, Any] = {}
    first: list[str] = []
    words: list[str] = []
    for option in context.command.params:
        name = str(option.name)
        source = context.get_parameter_source(name)
        if name in _PASSING or source is None or source.name == "DEFAULT":
            continue
        value = context.params[name]
        values[name] = list(value) if isinstance(value, list | tuple) else value
        if option.param_type_name == "argument":
            first.append(str(value))
        else:
            words += _words(option, value)
    return Given(values, (*first, *words))


def _words(option: Any, value: object) -> list[str]:  # noqa: ANN401 - an option of typer
    spoken = max(option.opts, key=len)
    if isinstance(value, bool):
        return [spoken] if value else list(option.secondary_opts[:1])
    listed = value if isinstance(value, list | tuple) else [value]
    pairs = [(spoken, str(item)) for item in listed]
    # A value like -x would be read as an option.
    parted = [[f"{a}={b}"] if b.startswith("-") else [a, b] for a, b in pairs]
    return [word for words in parted for word in words]


def command_line(*words: str) -> str:
    """Return words as a line that a shell reads as they are."""
    return shlex.join([program(), *words])


def program() -> str:
    """Return how this program is called here: by its path where it is not on the search path."""
    called = sys.argv[0]
    own = Path(called).stem == "polytask" and Path(called).is_file()
    return called if own and shutil.which("polytask") is None else "polytask"
