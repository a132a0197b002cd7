"""A command with the content of the files that it reads: enough to run it again."""

from __future__ import annotations

import glob
import hashlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from polytask.cli._given import Given
from polytask.cli._sources import Source

# What may differ between two runs of one comparison: the numbers do not depend on it. Files are
# told apart by their content.
_FREE = frozenset(
    {
        "jobs",
        "lang",
        "time_budget",
        "data",
        "file_per_task",
        "learning_curve",
        "ablation",
        "allow_leak",
    }
)


@dataclass(frozen=True)
class Command:
    """A comparison as it was asked for."""

    given: Given
    files: Mapping[str, str]
    folder: str
    out: str

    def content(self, *, complete: bool) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "line": shlex.join(["polytask", "compare", *self.given.words, "--out", self.out]),
            "options": dict(self.given.values),
            "folder": self.folder,
            "files": dict(self.files),
            "complete": complete,
        }

    @staticmethod
    def is_content(value: object) -> TypeGuard[dict[str, Any]]:
        """Tell whether a JSON value looks like :meth:`content`."""
        if not isinstance(value, dict):
            return False
        kinds = {"line": str, "options": dict, "folder": str, "files": dict, "complete": bool}
        return all(isinstance(value.get(name), kind) for name, kind in kinds.items())


def command_of(given: Given, source: Source, out: str) -> Command:
    """Return the command that reads some files and writes a folder."""
    sums = {path: checksum(path) for path in files_of(source)}
    return Command(given, sums, _from(out), out)


def _from(out: str) -> str:
    here = os.getcwd()
    try:
        return os.path.relpath(here, os.path.abspath(out)).replace(os.sep, "/")
    except ValueError:
        # Two drives of Windows have no path between them.
        return here


def files_of(source: Source) -> list[str]:
    """Return the files of a source, sorted."""
    if source.data is not None:
        return [source.data]
    pattern = str(source.pattern)
    found = [pattern] if os.path.isfile(pattern) else glob.glob(pattern, recursive=True)
    return sorted(file for file in found if os.path.isfile(file))


def checksum(path: str) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def difference(held: Mapping[str, Any], command: Command) -> str:
    """Say in what a command differs from one that was run before."""
    before, now = held["options"], dict(command.given.values)
    for name in (*now, *before):
        if name not in _FREE and before.get(name) != now.get(name):
            return f"{name}: {_shown(before.get(name))} there, {_shown(now.get(name))} here"
    if _contents(held["files"]) != _contents(command.files):
        return f"of other data: {', '.join(held['files'])}"
    return ""


def _shown(value: object) -> str:
    return "not given" if value is None else repr(value)


def _contents(files: Mapping[str, str]) -> dict[str, str]:
    return {os.path.basename(path): digest for path, digest in files.items()}
