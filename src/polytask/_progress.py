"""How far long work is, on the error stream: a bar in a terminal, elsewhere lines."""

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
    """Show how far a piece of work is while the block runs; `cost` is the sum of all weights."""
    # A stream that cannot be written never stops the work.
    stream = sys.stderr if console is None else console.file
    if not enabled or not total or stream is None:  # None: a program without streams
        yield _Silent()
        return
    from rich.console import Console as RichConsole

    moves = console is not None or _moves(stream)
    shown = RichConsole(stderr=True) if console is None else console
    pieces = _Pieces(
        total, _plain(description), cost, shown, moves and shown.is_interactive, clock
    )
    pieces.begin()
    try:
        yield pieces
    finally:
        pieces.end()


class _Silent:
    def advance(self, label: str, weight: float = 1.0) -> None:
        pass

    def skip(self, label: str, weight: float = 1.0) -> None:
        pass


class _Pieces:
    """Pieces of work as a task of Rich, which draws it or only keeps its times."""

    def __init__(
        self,
        total: int,
        description: str,
        cost: float | None,
        console: Console,
        drawn: bool,
        clock: Callable[[], float],
    ) -> None:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        # Names of models and tasks are shown as they are, never read as markup.
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[pieces]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[label]}", markup=False, style="dim"),
            console=console,
            disable=not drawn,
            # What is printed to a file or a pipe meanwhile must arrive there, not above the bar.
            redirect_stdout=_moves(sys.stdout),
            speed_estimate_period=math.inf,
            get_time=clock,
        )
        self._total, self._count = total, 0
        self._stream = None if drawn else console.file
        self._clock = clock
        self._printed = -math.inf
        self._turn = threading.Lock()
        whole = cost or float(total)
        task = self._bar.add_task(description, total=whole, pieces=f"0/{total}", label="")
        self._task = next(one for one in self._bar.tasks if one.id == task)

    def begin(self) -> None:
        self._bar.advance(self._task.id, 0.0)  # speed is measured from here
        if self._stream is not None:
            self._print(f"0/{self._total}")
            return
        with contextlib.suppress(*_UNWRITABLE):
            self._bar.start()

    def advance(self, label: str, weight: float = 1.0) -> None:
        self._bar.advance(self._task.id, weight)
        self._counted(label)

    def skip(self, label: str, weight: float = 1.0) -> None:
        with self._turn:
            self._task.completed += weight
        self._counted(label)

    def _counted(self, label: str) -> None:
        with self._turn:
            self._count += 1
            pieces = f"{self._count}/{self._total}"
            self._bar.update(self._task.id, pieces=pieces, label=_plain(label))
            late = self._clock() - self._printed >= _PAUSE
            if self._stream is not None and late and self._count < self._total:
                left = self._task.time_remaining
                rest = "" if left is None else f", {duration(left)} left"
                self._print(f"{pieces}, {self._elapsed()} so far{rest} ({_plain(label)})")

    def end(self) -> None:
        if self._stream is not None:
            pieces = f"{self._count}/{self._total}"
            whole = self._count >= self._total
            said = f"{pieces}, done in" if whole else f"stopped at {pieces} after"
            self._print(f"{said} {self._elapsed()}")
            return
        self._bar.update(self._task.id, label="")
        with contextlib.suppress(*_UNWRITABLE):
            self._bar.stop()

    def _elapsed(self) -> str:
        return duration(self._clock() - (self._task.start_time or 0.0))

    def _print(self, text: str) -> None:
        self._printed = self._clock()
        with contextlib.suppress(*_UNWRITABLE):
            print(f"{self._task.description}: {text}", file=self._stream, flush=True)


def _plain(text: str) -> str:
    """Return a text of one line without control characters, cut to a length."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= _LABEL else clean[: _LABEL - 3] + "..."


def _moves(stream: IO[str] | None) -> bool:
    """Tell whether a stream is a terminal; a program may have none, or have closed it."""
    return stream is not None and not stream.closed and stream.isatty()
