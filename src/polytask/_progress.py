"""How far long work is, on the error stream: a bar in a terminal, a plain line now and then else.

Rich is used here and in the command line only, and imported when a bar is shown.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

_PAUSE = 30.0
# What a stream raises that is full, gone or closed.
_UNWRITABLE = (OSError, ValueError)
_LABEL = 40
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
# Below how many seconds a unit is used, the unit, and the steps in which it is counted.
_UNITS = (
    (89.5 * _MINUTE, _MINUTE, "minute", 1.0),
    (9.75 * _HOUR, _HOUR, "hour", 0.5),
    (1.5 * _DAY, _HOUR, "hour", 1.0),
    (math.inf, _DAY, "day", 1.0),
)


class Progress(Protocol):
    """What long work tells of its pieces; threads may share it."""

    def advance(self, label: str, weight: float = 1.0) -> None:
        """Tell that a piece is finished."""
        ...

    def skip(self, label: str, weight: float = 1.0) -> None:
        """Tell that a piece was finished by an earlier run: it says nothing about the speed."""
        ...


@contextlib.contextmanager
def progress(
    total: int,
    description: str,
    enabled: bool,
    *,
    cost: float | None = None,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Show how far a piece of work is while the block runs."""
    # In a terminal it is a bar with the pieces finished, the time so far and the time left.
    # Elsewhere it is a plain line when the work begins, when it ends, and at most every 30 seconds
    # in between. A stream that cannot be written never stops the work.
    tally = _Tally(total, float(total) if cost is None else cost, clock)
    shown: contextlib.AbstractContextManager[Progress]
    if not enabled or not total:
        shown = contextlib.nullcontext(_Pieces(tally, _silent))
    elif (terminal := _terminal(console)) is not None:
        shown = _bar(tally, _plain(description), terminal)
    elif (stream := sys.stderr if console is None else console.file) is not None:
        shown = _lines(tally, _plain(description), stream)
    else:  # a program without streams
        shown = contextlib.nullcontext(_Pieces(tally, _silent))
    with shown as told:
        yield told


def duration(seconds: float) -> str:
    """Say how long something takes, to the precision that a person plans with."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 1:
        return "under 1 s"
    if seconds < 59.5:
        return f"{round(seconds)} s"
    unit, name, step = next(row[1:] for row in _UNITS if seconds < row[0])
    count = round(seconds / unit / step) * step
    return f"about {count:g} {name}{'' if count == 1 else 's'}"


def _silent(_: str) -> None:
    """Show nothing."""


def _plain(text: str) -> str:
    """Return a text of one line without control characters, cut to a length."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= _LABEL else clean[: _LABEL - 3] + "..."


class _Tally:
    """What is finished; its text is how far the work is at that moment."""

    def __init__(self, total: int, cost: float, clock: Callable[[], float]) -> None:
        self.total = total
        self.now = clock
        self._cost = cost
        self._start = self._last = clock()
        self._count = 0
        self._done = self._worked = 0.0
        self._ended = False
        self._turn = threading.Lock()

    def add(self, weight: float, *, worked: bool) -> None:
        with self._turn:
            self._count += 1
            self._done += weight
            if worked:
                self._worked += weight
                self._last = self.now()

    def end(self) -> None:
        self._ended = True

    @property
    def complete(self) -> bool:
        return self._count >= self.total

    @property
    def share(self) -> float:
        """The part of the expected cost that is done, from 0 to 1."""
        if self.complete:
            return 1.0
        return min(max(self._done / self._cost, 0.0), 1.0) if self._cost > 0 else 0.0

    def left(self) -> float | None:
        """Return the seconds still to go; None before the first piece is finished."""
        if self._worked <= 0:
            return None
        pace = (self._last - self._start) / self._worked
        since = self.now() - self._last
        return max(pace * (self._cost - self._done) - since, 0.0)

    def __str__(self) -> str:
        elapsed = duration(self.now() - self._start)
        pieces = f"{self._count}/{self.total}"
        if self._ended and not self.complete:
            return f"stopped at {pieces} after {elapsed}"
        if self.complete:
            return f"{pieces}, done in {elapsed}"
        left = self.left()
        rest = "" if left is None else f", {duration(left)} left"
        return f"{pieces}, {elapsed} so far{rest}"


class _Pieces:
    """Counts the pieces, and shows each count."""

    def __init__(self, tally: _Tally, show: Callable[[str], object]) -> None:
        self._tally = tally
        self._show = show

    def advance(self, label: str, weight: float = 1.0) -> None:
        self._tally.add(weight, worked=True)
        self._show(_plain(label))

    def skip(self, label: str, weight: float = 1.0) -> None:
        self._tally.add(weight, worked=False)
        self._show(_plain(label))


class _Lines:
    """Plain lines, at most one in a pause."""

    def __init__(self, tally: _Tally, description: str, stream: IO[str]) -> None:
        self._tally = tally
        self._description = description
        self._stream = stream
        self._printed = -math.inf
        self._turn = threading.Lock()

    def show(self, label: str) -> None:
        with self._turn:
            late = self._tally.now() - self._printed >= _PAUSE
            if late and not self._tally.complete:  # the end has a line of its own
                self.write(f"{self._tally} ({label})")

    def write(self, text: str) -> None:
        self._printed = self._tally.now()
        with contextlib.suppress(*_UNWRITABLE):
            print(f"{self._description}: {text}", file=self._stream, flush=True)


@contextlib.contextmanager
def _lines(tally: _Tally, description: str, stream: IO[str]) -> Iterator[Progress]:
    lines = _Lines(tally, description, stream)
    lines.write(f"0/{tally.total}")
    try:
        yield _Pieces(tally, lines.show)
    finally:
        tally.end()
        lines.write(str(tally))


@contextlib.contextmanager
def _bar(tally: _Tally, description: str, console: Console) -> Iterator[Progress]:
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    # Rich draws the bar anew a few times a second and asks the tally for its text each time. Names
    # of models and tasks are shown as they are, never read as markup.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[tally]}", markup=False),
        TextColumn("{task.fields[label]}", markup=False, style="dim"),
    )
    # What is printed to a file or a pipe meanwhile must arrive there, not above the bar.
    above = _moves(sys.stdout)
    shown = RichProgress(*columns, console=console, redirect_stdout=above)
    task = shown.add_task(description, total=1.0, tally=tally, label="")

    def show(label: str) -> None:
        shown.update(task, completed=tally.share, label=label)

    with contextlib.suppress(*_UNWRITABLE):
        shown.start()
    try:
        yield _Pieces(tally, show)
    finally:
        tally.end()
        show("")
        with contextlib.suppress(*_UNWRITABLE):
            shown.stop()


def _terminal(console: Console | None) -> Console | None:
    """Return the console to draw a bar on; None if there is no terminal that can."""
    if console is None and not _moves(sys.stderr):
        return None
    from rich.console import Console as RichConsole

    found = RichConsole(stderr=True) if console is None else console
    return found if found.is_interactive else None


def _moves(stream: IO[str] | None) -> bool:
    """Tell whether a stream is a terminal; a program may have none, or have closed it."""
    return stream is not None and not stream.closed and stream.isatty()
