"""Files that come in and go out."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polytask._checks import nearest_file
from polytask.cli._console import note
from polytask.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

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
