"""Files that come in and go out, and the tables that are read from them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask._checks import nearest_file, suggested
from polytask._options import argument, option
from polytask.cli.columns import ColumnOptions, SplitOptions
from polytask.cli.console import FILE_ROWS, lines_of, note
from polytask.cli.options import in_bytes, spoken_flags, spoken_words
from polytask.exceptions import (
    DataError,
    IncompatibleError,
    ParameterError,
    PolytaskError,
    TimeBudgetError,
)
from polytask.messages import LazyMessage, with_and

if TYPE_CHECKING:
    import pandas as pd

    from polytask.data.file_parts import FileParts

MODEL_SUFFIX = ".polytask"
STATISTICS_SUFFIX = ".stats"
IsFeature = Callable[[str], bool]
# Rows of a large table that are in memory at a time, at most, and how often they are: as they are
# read, as a table, as features in two orders, and as what is made of these.
PART_ROWS = 200_000
_COPIES = 8
FIRST_ROWS = 20_000
# Different values of a column that are counted one by one, and the bytes that each takes.
MOST_VALUES, _FEWEST_VALUES, _OF_A_VALUE = 100_000, 1000, 400


@dataclass(frozen=True)
class TextFormat:
    """How files are written, where None is found out, and how much is read at once."""

    PANEL = "help.panel.reading"

    sep: str | None = option(
        "help.sep",
        metavar="CHAR",
    )
    decimal: str | None = option(
        "help.decimal",
        metavar="CHAR",
    )
    encoding: str | None = option(
        "help.encoding",
        metavar="NAME",
    )
    missing_values: tuple[str, ...] = option(
        "help.missing_values",
        "--missing-values",
        "--na",
        metavar="WORD",
        default=(),
    )
    sheet: str | None = option("help.sheet", metavar="NAME")
    day_first: bool | None = option("help.day_first", "--day-first/--month-first")
    memory: str | None = option("help.memory", metavar="SIZE")

    def reading(self) -> dict[str, Any]:
        """Return the arguments of `read_table` and `read_tables`."""
        others = ("day_first", "memory")
        return {name: value for name, value in asdict(self).items() if name not in others}


@dataclass(frozen=True)
class RowSource:
    """Where the rows come from: one table, or one file per task."""

    PANEL = TextFormat.PANEL

    data: str | None = argument("help.data", "DATA")
    file_per_task: str | None = option(
        "help.file_per_task",
        metavar="PATTERN",
    )
    text: TextFormat = TextFormat()

    def check(self, command: str) -> None:
        """Refuse both and neither."""
        if self.data is None and self.file_per_task is None:
            raise ParameterError(LazyMessage("cli.refusal.needs_data", {"command": command}))
        if self.data is not None and self.file_per_task is not None:
            raise ParameterError(
                LazyMessage(
                    "cli.refusal.data_twice",
                    {"command": command, "data": self.data, "file_per_task": self.file_per_task},
                )
            )

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self.data or self.file_per_task)

    @property
    def is_statistics(self) -> bool:
        """Whether the file holds statistics of rows in place of rows."""
        return self.data is not None and self.data.lower().endswith(STATISTICS_SUFFIX)

    def words(self) -> list[str]:
        """Return the words that name the same files and how they are written."""
        files = [self.data] if self.data is not None else ["--file-per-task", self.name]
        return [*files, *spoken_words(self.text)]

    @property
    def new(self) -> str:
        """What stands for the name of new files."""
        stem, suffix = os.path.splitext(self.name)
        suffix = ".csv" if self.is_statistics else suffix
        suffix = os.path.splitext(stem)[1] + suffix if suffix == ".gz" else suffix
        return f"NEW{suffix}" if self.data is not None else f"NEW/*{suffix}"

    def new_words(self) -> list[str]:
        """Return the words for new files that are written in the same way."""
        if self.data is not None:
            return replace(self, data=self.new).words()
        return replace(self, file_per_task=self.new).words()

    @property
    def too_large(self) -> dict[str, str]:
        """How much memory the table needs and may take, in GB, if it needs more than it may."""
        from polytask.data.file_parts import bytes_needed

        if self.data is None or self.is_statistics:
            return {}
        limit, needed = self.memory, bytes_needed(self.data)
        if limit is None or needed <= limit:
            return {}
        sizes = {"needed": needed, "limit": limit}
        return {"source": self.data} | {name: f"{size / 1e9:.2g}" for name, size in sizes.items()}

    @property
    def memory(self) -> float | None:
        """How many bytes the table may take, None where that is not known."""
        return free_memory() if self.text.memory is None else in_bytes(self.text.memory)

    @property
    def _bytes_at_a_time(self) -> float:
        return float("inf") if self.memory is None else self.memory / _COPIES

    def first_rows(self, n_columns: int) -> int:
        """Return on how many rows of a large table is tried what needs rows."""
        from polytask.data.readers import rows_within

        # What is looked for in them takes more than to sum them up.
        return rows_within(FIRST_ROWS, self._bytes_at_a_time / 2, n_columns)

    def most_values(self, n_columns: int) -> int:
        """Return how many different values of a column of a large table are counted."""
        room = (self.memory or float("inf")) / (_OF_A_VALUE * n_columns)
        return int(min(MOST_VALUES, max(room, _FEWEST_VALUES)))

    def parts(self, is_feature: IsFeature = bool) -> FileParts:
        """Return what yields the one table in parts, and say how it is read."""
        from polytask.data.file_parts import file_parts
        from polytask.data.readers import Style

        text = self.text
        if text.sheet is not None:
            fields = {"source": self.name, "sheet": repr(text.sheet)}
            raise ParameterError(LazyMessage("read.refusal.sheetless", fields))
        style = Style(text.sep, text.decimal, text.encoding)
        missing = tuple(word.strip() for word in text.missing_values)
        found = file_parts(self.name, PART_ROWS, style, missing, self._bytes_at_a_time)
        self._say(found.messages, is_feature)
        return found

    def table(self, is_feature: IsFeature = bool) -> pd.DataFrame:
        """Read the one table and say how, also what its columns mean as features."""
        from polytask.data.file_parts import whole_table
        from polytask.data.readers import frame_of, read_table

        sizes = self.too_large
        if sizes:
            raise DataError(LazyMessage("cli.refusal.too_large", sizes))
        if os.path.isdir(self.name):
            return frame_of(whole_table(self.parts(is_feature)(), self.name))
        result = read_table(self.name, **self.text.reading())
        self._say(result.messages, is_feature)
        return result.table

    def tables(self, is_feature: IsFeature = bool) -> dict[str, pd.DataFrame]:
        """Read one table per task and say how, also what their columns mean as features."""
        from polytask.data.readers import read_tables

        result = read_tables(self.name, **self.text.reading())
        self._say(result.messages, is_feature)
        return result.tables

    def _say(self, messages: Iterable[LazyMessage], is_feature: IsFeature) -> None:
        from polytask.data.readers import ARROW_SUFFIXES, PARQUET_SUFFIXES

        # Parquet and Arrow have no row of names, and a folder has one in every file.
        nameless = self.name.lower().endswith((*ARROW_SUFFIXES, *PARQUET_SUFFIXES))
        nameless |= os.path.isdir(self.name)
        FILE_ROWS.header, FILE_ROWS.kept = int(not nameless), None
        for message in messages:
            of_feature = message.key == "read.dates" or message.key.startswith("hint.")
            if not of_feature or is_feature(message.fields["column"]):
                note(message)


@dataclass(frozen=True)
class Tables:
    """The rows to learn from, as the user asked for them."""

    columns: ColumnOptions
    splitting: SplitOptions
    source: RowSource

    def check(self, command: str, out: str | None = "", example: str = "") -> None:
        """Refuse what needs no data to be refused; `out` is what to write, such as `example`."""
        self.source.check(command)
        if self.source.is_statistics:
            self._check_statistics(command)
            return
        refuse_several(self.columns.tasks, command)
        if example:
            self._check_lacking(command, out, example)
        if not (self.columns.target or self.columns.targets):
            raise ParameterError(
                LazyMessage(
                    "cli.refusal.needs_target", {"command": command, "source": self.source.name}
                )
            )
        self.splitting.check()

    def _check_lacking(self, command: str, out: str | None, example: str) -> None:
        """Name several options that are lacking at once."""
        columns, files = self.columns, self.source.file_per_task is not None
        one = len(columns.target) < 2 and not columns.targets
        lacks = {
            "target": not columns.target and not columns.targets,
            "task": one and columns.task is None and not files,
            "out": out is None,
        }
        refuse_lacking(command, lacks, example, self.source.name)

    def _check_statistics(self, command: str) -> None:
        """Refuse what needs rows, and what statistics know."""
        if command not in ("fit", "compare"):
            fields = {"command": command, "source": self.source.name}
            raise IncompatibleError(LazyMessage("cli.refusal.needs_rows", fields))
        columns = replace(self.columns, allow_leak=False)
        for flag in (*spoken_flags(columns), *spoken_flags(self.splitting)):
            fields = {"flag": flag, "source": self.source.name}
            raise ParameterError(LazyMessage("cli.refusal.statistics_know", fields))

    def check_unseen(self, unseen: bool) -> None:
        """Refuse to hold out whole tasks where that has no meaning."""
        if self.source.is_statistics:
            return
        ways = {"--group": self.splitting.group, "--time": self.splitting.time, "--unseen": unseen}
        chosen = [flag for flag, value in ways.items() if value]
        if len(chosen) > 1:
            raise ParameterError(
                LazyMessage("cli.refusal.held_out_ways", {"flags": with_and(chosen)})
            )
        if unseen and self.columns.task is None and self.source.file_per_task is None:
            raise ParameterError(LazyMessage("cli.refusal.unseen_needs_task"))


def refuse_lacking(
    command: str, lacks: Mapping[str, bool], example: str, source: str | None = None
) -> None:
    """Name all that a command lacks, if it is more than one thing; `source` was given."""
    named = [
        LazyMessage(f"cli.lacks.{name}", {"out": example} if name == "out" else {})
        for name, lacking in lacks.items()
        if lacking
    ]
    if len(named) > 1:
        fields: dict[str, Any] = {"command": command, "lines": lines_of(named)}
        key = "lacks_more" if source is None else "lacks"
        fields |= {} if source is None else {"source": source}
        raise ParameterError(LazyMessage(f"cli.refusal.{key}", fields))


# Commands that learn from rows of several groupings.
_SEVERAL = ("fit", "auto", "compare")


def refuse_several(tasks: Sequence[str], command: str) -> None:
    """Refuse the columns of several groupings for a command that takes one."""
    if len(tasks) > 1 and command not in _SEVERAL:
        fields = {
            "command": command,
            "others": with_and([f"polytask {name}" for name in _SEVERAL]),
        }
        fields |= {"first": tasks[0], "n": len(tasks)}
        raise ParameterError(LazyMessage("cli.refusal.several_tasks", fields))


def free_memory() -> float | None:
    """Return the bytes that are free on this machine, None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = {line.split(":")[0]: float(line.split()[1]) for line in lines}["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return None
    return free * 1024


def writable(
    path: str | None, *, force: bool, example: str, inputs: tuple[str | None, ...]
) -> str:
    """Return the file to write, refused before any work is done."""
    if path is None:
        raise ParameterError(LazyMessage("cli.refusal.needs_out", {"example": example}))
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise DataError(LazyMessage("cli.refusal.write.folder", {"path": path}))
    if not os.path.isdir(folder):
        raise DataError(
            LazyMessage("cli.refusal.write.no_folder", {"path": path, "folder": folder})
        )
    try:
        # Only trying tells, on some file systems.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            LazyMessage("cli.refusal.write.closed", {"path": path, "folder": folder})
        ) from error
    if os.path.exists(path):
        if any(name and os.path.exists(name) and os.path.samefile(path, name) for name in inputs):
            raise DataError(LazyMessage("cli.refusal.write.read", {"path": path}))
        if not force:
            raise DataError(LazyMessage("cli.refusal.exists", {"path": path}))
    return path


def require_file(path: str, what: LazyMessage) -> None:
    """Refuse a file that is not there, naming the nearest."""
    if os.path.isdir(path):
        # A folder of compare has its model in another.
        names = (f"*{MODEL_SUFFIX}", f"*/*{MODEL_SUFFIX}")
        models = [file for name in names for file in Path(path).glob(name)]
        hint = suggested(str(models[0])) if len(models) == 1 else ""
        raise DataError(
            LazyMessage("cli.refusal.is_folder", {"path": path, "what": what, "hint": hint})
        )
    if not os.path.exists(path):
        raise DataError(LazyMessage("refusal.no_file", {"path": path, "hint": nearest_file(path)}))


@contextmanager
def cleanup_on_error(*files: str | Path) -> Iterator[None]:
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
