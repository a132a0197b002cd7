"""Files that come in and go out, and a command with the content of its files."""

from __future__ import annotations

import glob
import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from polytask._checks import nearest_file
from polytask.cli.console import note
from polytask.cli.options import Given
from polytask.exceptions import DataError, ParameterError, PolytaskError, TimeBudgetError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def removed_if_refused(*files: str | Path) -> Iterator[None]:
    """Remove files that were not there before, if the work ends in a refusal."""
    # What was finished until then belongs to a command that cannot be; the mended one would find
    # files of another search. An interruption, and the end of a time budget, leave them, to go on
    # from.
    new = [Path(file) for file in files if not Path(file).exists()]
    try:
        yield
    except TimeBudgetError:
        raise
    except PolytaskError:
        for file in new:
            file.unlink(missing_ok=True)
        raise


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


MODEL_SUFFIX = ".polytask"


@dataclass(frozen=True)
class Style:
    """How text files are written; None is found out."""

    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the options that say the same."""
        words = [] if self.sep is None else ["--sep", self.sep]
        words += [] if self.decimal is None else ["--decimal", self.decimal]
        words += [] if self.encoding is None else ["--encoding", self.encoding]
        return words + [f"--missing-values={word}" for word in self.missing]

    def reading(self) -> dict[str, Any]:
        """Return the arguments of `read_table` and `read_tables`."""
        return {
            "sep": self.sep,
            "decimal": self.decimal or ".",
            "encoding": self.encoding,
            "missing_values": self.missing,
        }


@dataclass(frozen=True)
class Source:
    """Where the rows come from: one table, or one file per task."""

    data: str | None
    pattern: str | None
    style: Style

    def check(self, command: str) -> None:
        """Refuse both and neither."""
        if self.data is None and self.pattern is None:
            raise ParameterError(
                f"{command} needs DATA, a table, or --file-per-task 'folder/*.csv'. See "
                f"{command} --help."
            )
        if self.data is not None and self.pattern is not None:
            raise ParameterError(
                f"{command} takes DATA or --file-per-task, not both; got {self.data} and "
                f"{self.pattern}."
            )

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self.data or self.pattern)

    def table(self) -> pd.DataFrame:
        """Read the one table and say how."""
        from polytask.data.readers import read_table

        result = read_table(self.name, **self.style.reading())
        for line in result.notes:
            note(line)
        return result.table

    def tables(self) -> dict[str, pd.DataFrame]:
        """Read one table per task and say how."""
        from polytask.data.readers import read_tables

        result = read_tables(self.name, **self.style.reading())
        for line in result.notes:
            note(line)
        return result.tables


@dataclass(frozen=True)
class Output:
    """The file to write."""

    path: str | None
    force: bool

    def check(self, example: str, *inputs: str | None) -> str:
        """Refuse the file before any work is done."""
        path = self.path
        if path is None:
            raise ParameterError(f"Name the file to write with --out, such as --out {example}.")
        folder = os.path.dirname(os.path.abspath(path))
        if os.path.isdir(path):
            raise DataError(f"Cannot write {path}: it is a folder.")
        if not os.path.isdir(folder):
            raise DataError(f"Cannot write {path}: there is no folder {folder}.")
        _check_takes_files(folder, path)
        if os.path.exists(path):
            self._check_replaced(path, inputs)
        return path

    def _check_replaced(self, path: str, inputs: tuple[str | None, ...]) -> None:
        if any(name and os.path.exists(name) and os.path.samefile(path, name) for name in inputs):
            raise DataError(f"Cannot write {path}: it is a file that is read.")
        if not self.force:
            raise DataError(
                f"{path} exists already: choose another name for --out, or replace it with "
                "--force."
            )


def _check_takes_files(folder: str, path: str) -> None:
    """Refuse a folder that takes no new files: only trying tells, on some file systems."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"Cannot write {path}: the folder {folder} takes no new files.") from error


def require_file(path: str, what: str) -> None:
    """Refuse a file that is not there, naming the nearest."""
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder; name {what}.")
    if not os.path.exists(path):
        raise DataError(f"There is no file {path}.{nearest_file(path)}")
