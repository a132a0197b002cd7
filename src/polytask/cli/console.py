"""What is printed and where, and from what a command did to its exit status."""

from __future__ import annotations

import functools
import json
import os
import re
import select
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from polytask._checks import listed, nearest
from polytask.cli.options import command_line
from polytask.exceptions import ConvergenceWarning, DataError, DataWarning, PolytaskError
from polytask.messages import (
    LANGUAGES,
    LazyMessage,
    Text,
    Translator,
    message_of,
    speak_in,
    spoken,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console


# More than any table needs.
_WIDE = 10_000
# Scores from here on are written with a power of ten.
_READABLE = 1e5


def use_utf8() -> None:
    """Let both streams write UTF-8 whatever the locale says."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # File names may hold bytes that are no text.
            reconfigure(encoding="utf-8", errors="backslashreplace")


def _console(error: bool = False) -> Console:
    from rich.console import Console

    # Made anew each time, because the streams may have been replaced since.
    made = Console(file=sys.stderr if error else sys.stdout, highlight=False, emoji=False)
    made.on_broken_pipe = _raise_again  # type: ignore[method-assign]
    return made


def _raise_again() -> None:
    # rich would end the program here, whichever pipe is broken.
    raise  # noqa: PLE0704


def terminal_width() -> int | None:
    """Return how many letters a line of standard output has; None if it is no terminal."""
    console = _console()
    return console.width if console.is_terminal else None


def _print(text: str, error: bool) -> None:
    console = _console(error)
    # Lines are broken for readers only: a program gets each sentence whole.
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


def say(text: str = "") -> None:
    """Print a line of the result."""
    _print(text, error=False)


def say_pair(label: str, text: str, width: int = 13, *, error: bool = False) -> None:
    """Print a labelled line; if it is broken, the rest stands below the text."""
    from rich.cells import cell_len

    console = _console(error)
    if not console.is_terminal:
        # Some letters take the room of two.
        _print(f"{label}{' ' * max(width - cell_len(label), 1)}{text}", error)
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid()
    grid.add_column(width=width)
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, style="bold"), Text(text))
    console.print(grid)


def say_whole(text: str) -> None:
    """Print a line that is never broken, so that it can be copied."""
    print(text)


@dataclass
class FileRows:
    """Which rows of the file that was read messages are about; they count from 0 in the table."""

    header: int | None = None
    kept: NDArray[np.intp] | None = None
    # The one column of targets and its table, where the library says y.
    target: tuple[str, str] | None = None

    def counted(self, text: str) -> str:
        """Return a sentence with the numbers that its rows have in the file."""
        if self.header is None:
            return text
        how = "rows.header" if self.header else "rows.from_1"
        told = any(Translator(language)("rows.from_0") in text for language in LANGUAGES)
        text = _ROWS.sub(lambda found: _NUMBERS.sub(self._place, found[0]), text)
        for say in map(Translator, LANGUAGES):
            text = text.replace(say("rows.from_0"), say(how))
        return text if told else _ROWS.sub(functools.partial(_with_origin, how=how), text, count=1)

    def _place(self, found: re.Match[str]) -> str:
        row = int(found[0])
        row = row if self.kept is None or row >= len(self.kept) else int(self.kept[row])
        return str(row + 1 + (self.header or 0))


# Not a quoted label, and no values in brackets, such as dates.
_ROWS = re.compile(
    r"(?<!['\"])\brow \d+\b|\brows? \(\d+(?:, \d+)*(?:, \.\.\.)?\)|第 [\d、, .]+ 行"
)
_NUMBERS = re.compile(r"\d+")


def _with_origin(found: re.Match[str], how: str) -> str:
    """Say from where rows are counted, in the language in which they are named."""
    rows = found[0]
    if rows.startswith("第"):
        return f"{rows}，{Translator('zh')(how)}"
    said = Translator("en")(how)
    return f"{rows[:-1]}; {said})" if rows.endswith(")") else f"{rows} ({said})"


FILE_ROWS = FileRows()


def speak(text: str) -> None:
    """Print a line on standard error."""
    _print(FILE_ROWS.counted(text), error=True)


def note(text: str | LazyMessage) -> None:
    """Print what deserves a look, on standard error."""
    speak(spoken()("cli.note", {"text": in_options(text)}))


def refuse(text: str | LazyMessage) -> None:
    """Print why something cannot be done, on standard error."""
    speak(spoken()("cli.error", {"text": in_options(text)}))


def one_of_names(flag: str, got: str, known: Sequence[str]) -> LazyMessage:
    """Return that an option names something that is not known, and the nearest."""
    fields = {"parameter": flag, "allowed": listed(known), "got": repr(got)}
    return LazyMessage("refusal.option", fields) + nearest(got, known)


def lines_of(texts: Sequence[Text]) -> Text:
    """Return texts as lines, each behind a dash."""
    lines = (LazyMessage("list.line", {"text": text}) for text in texts)
    return functools.reduce(LazyMessage.__add__, lines)


def say_json(content: object) -> None:
    """Print JSON for programs."""
    print(json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False))


def say_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Print a table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for position, name in enumerate(header):
        table.add_column(
            Text(name), justify="right" if position in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = _console()
    if not console.is_terminal:
        # A program gets every row on one line.
        console.width = _WIDE
    console.print(Text(title, style="bold"))
    console.print(table)


def digits(value: float) -> str:
    """Return a score with four decimals; one that no table has room for with four digits."""
    return f"{value:.4f}" if abs(value) < _READABLE else f"{value:.4g}"


@contextmanager
def spoken_warnings() -> Iterator[None]:
    """Print the library's warnings as notes, each once, and no other warnings."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any) -> None:  # noqa: ANN401 - Python's signature
        if str(message) not in said:
            said.add(str(message))
            note(message_of(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for category in (DataWarning, ConvergenceWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


DONE, BUG, REFUSED, INTERRUPTED = 0, 1, 2, 130
# What a shell shows of a program whose output nobody reads any more.
UNREAD = 141

# Names that fields of a message bring, as the command line calls them.
SPOKEN = {
    r"\btime of TimeOrdered\b|\bTimeOrdered 的 time\b": "--time",
    r"\blevel of \w+\.predict_interval\b|\b\w+\.predict_interval 的 level\b": "--interval",
    r"\bX of \w+(?= must\b)": "The table",
    r"\b[A-Za-z]\w* 的 X\b ?": "表格",
}


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Ctrl-C stopped a command that has something to say about what it leaves behind."""


def status_of(
    run: Callable[[], object], arguments: Sequence[str], *, lang: str, debug: bool
) -> int:
    """Run a command; say what went wrong in one sentence, and the command that mends it."""
    FILE_ROWS.header, FILE_ROWS.kept, FILE_ROWS.target = None, None, None
    speak_in(lang)
    output, file = sys.stdout, _file_of(sys.stdout)
    try:
        with spoken_warnings():
            status = run()
            sys.stdout.flush()
    except SystemExit as ended:
        # So click ends the program where a pipe is broken.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        # Help is printed by rich, which has closed the output then.
        closed = _file_of(output) != file or _is_unread(output)
        return UNREAD if closed else _failed(ended.__context__, debug)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Interrupted as stopped:
        speak(str(stopped))
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_unread(output):
            return UNREAD
        status = _failed(error, debug)
        if isinstance(error, DataError) and error.answer:
            speak(spoken()("cli.repair"))
            # Never broken, so that it can be copied.
            print(f"  {command_line(*arguments, *error.answer)}", file=sys.stderr)
        return status
    if status == INTERRUPTED:
        speak(spoken()("cli.interrupted"))
    return status if isinstance(status, int) else DONE


def _file_of(stream: TextIO) -> tuple[int, int] | None:
    """Return what a stream writes to; None if that is no file."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, AttributeError):
        return None
    return found.st_dev, found.st_ino


def _is_unread(output: TextIO) -> bool:
    """Tell whether the reader of standard output, such as head, has closed it."""
    try:
        output.flush()
        poll = select.poll()
        poll.register(output.fileno(), 0)
        broken = any(event & select.POLLERR for _, event in poll.poll(0))
    except BrokenPipeError:
        broken = True
    except (OSError, AttributeError):  # no file, or Windows
        broken = False
    if broken:
        # Python would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
    return broken


# Parameters of these functions have options of the same name; an owner that is none of them may
# be a message, which has no hash.
_FUNCTIONS = ("read_table", "read_tables", "adapt", "compare")


def in_options(told: str | LazyMessage) -> str:
    """Return what the library says in the words of the command line."""
    if isinstance(told, LazyMessage):
        told = _of_option(told).text(spoken())
    for python, flag in SPOKEN.items():
        told = re.sub(python, flag, told)
    return told


# Options that are not called like the argument.
_OTHERWISE = {("compare", "cv"): "splits"}


def _of_option(told: LazyMessage) -> LazyMessage:
    """Return the refusal of an argument as that of its option, or of the column of targets."""
    fields = told.fields
    if told.key == "list.added" and isinstance(fields["before"], LazyMessage):
        return LazyMessage(told.key, fields | {"before": _of_option(fields["before"])})
    if told.key.startswith("refusal.parameter") and fields["parameter"] == "y":
        if FILE_ROWS.target is None:
            return told
        column, table = FILE_ROWS.target
        named = LazyMessage("what.column", {"column": repr(column)})
        return LazyMessage(told.key, fields | {"parameter": named, "owner": table})
    if told.key.startswith("refusal.parameter") and fields["owner"] in _FUNCTIONS:
        if fields["parameter"] == "X":
            # Tables are arguments of the library alone.
            return told
        name = fields["parameter"].replace("_", "-")
        flag = f"--{_OTHERWISE.get((fields['owner'], name), name)}"
        return LazyMessage(told.key.replace("parameter", "option"), fields | {"parameter": flag})
    return told


def _failed(error: Exception, debug: bool) -> int:
    """Say in one sentence why the input cannot be used, or that there is a bug."""
    if isinstance(error, PolytaskError):
        refuse(message_of(error))
    elif isinstance(error, MemoryError):
        refuse(LazyMessage("cli.error.memory"))
    elif isinstance(error, BrokenPipeError | BrokenExecutor):
        refuse(LazyMessage("cli.error.worker"))
    elif isinstance(error, OSError):
        reason = str(error.strerror or error)
        file = {"file": str(error.filename)} if error.filename else {}
        key = f"cli.error.system{'.file' if file else ''}"
        refuse(LazyMessage(key, {"reason": reason} | file))
    else:
        if debug:
            speak("".join(traceback.format_exception(error)).rstrip())
        fields = {"kind": type(error).__name__, "text": str(error)}
        speak(LazyMessage(f"cli.bug{'.shown' if debug else ''}", fields).text(spoken()))
        return BUG
    return REFUSED
