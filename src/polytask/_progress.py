"""How far long work is, on the error stream: a bar in a terminal, elsewhere lines."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

from polytask.messages import Translator, spoken

if TYPE_CHECKING:
    from rich.console import Console

_PAUSE = 30.0
# What a stream raises that is full, gone or closed.
_UNWRITABLE = (OSError, ValueError)
_LABEL = 40
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
# Seconds between the first lines of work whose pieces are not known beforehand.
_PAUSES = (5.0, 10.0)
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


def duration(seconds: float, say: Translator | None = None) -> str:
    """Say how long something takes, to the precision that a person plans with."""
    say = say or Translator()
    if not math.isfinite(seconds):
        return say("duration.unknown")
    if seconds < 1:
        return say("duration.short")
    if seconds < 59.5:
        return say("duration.seconds", {"count": f"{round(seconds)}"})
    unit, name, step = next(row[1:] for row in _UNITS if seconds < row[0])
    count = round(seconds / unit / step) * step
    return say(f"duration.{name}", {"count": f"{count:g}", "n": math.ceil(count)})


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
    description = spoken().word("progress", description)
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
        self._say = spoken()
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
                rest = (
                    self._say("progress.left", {"time": duration(left, self._say)}) if left else ""
                )
                fields = {"pieces": pieces, "time": self._elapsed(), "left": rest}
                self._print(self._say("progress.so_far", fields | {"label": _plain(label)}))

    def end(self) -> None:
        if self._stream is not None:
            pieces = f"{self._count}/{self._total}"
            end = "done" if self._count >= self._total else "stopped"
            self._print(self._say(f"progress.{end}", {"pieces": pieces, "time": self._elapsed()}))
            return
        self._bar.update(self._task.id, label="")
        with contextlib.suppress(*_UNWRITABLE):
            self._bar.stop()

    def _elapsed(self) -> str:
        return duration(self._clock() - (self._task.start_time or 0.0), self._say)

    def _print(self, text: str) -> None:
        self._printed = self._clock()
        with contextlib.suppress(*_UNWRITABLE):
            what = {"what": self._task.description, "text": text}
            print(self._say("progress.line", what), file=self._stream, flush=True)


@dataclass
class _Fits:
    """How many fits are finished of work whose pieces are not known beforehand."""

    count: int = 0


_FITS: ContextVar[_Fits | None] = ContextVar("fits", default=None)


def add_fits(count: int) -> None:
    """Tell whoever waits, in this thread, that some more fits are finished."""
    fits = _FITS.get()
    if fits is not None:
        fits.count += count


@contextlib.contextmanager
def waiting(text: str, enabled: bool = True) -> Iterator[None]:
    """Show that work goes on: a terminal gets a line that moves, elsewhere lines come at times."""
    if not enabled or sys.stderr is None:
        yield
        return
    fits, ended, started, say = _Fits(), threading.Event(), time.monotonic(), spoken()
    before = _FITS.set(fits)

    def so_far() -> str:
        key = "waiting.fits" if fits.count else "waiting.time"
        elapsed = duration(time.monotonic() - started, say)
        return say(key, {"text": text, "n": fits.count, "time": elapsed})

    try:
        with _moving(text) if _moves(sys.stderr) else contextlib.nullcontext(_line) as show:
            late = itertools.chain(_PAUSES, itertools.repeat(_PAUSE))
            steps = itertools.repeat(1.0) if _moves(sys.stderr) else late
            lines = threading.Thread(target=_tell, args=(ended, steps, so_far, show), daemon=True)
            lines.start()
            try:
                yield
            finally:
                ended.set()
                lines.join()
        if not _moves(sys.stderr) and time.monotonic() - started >= _PAUSES[0]:
            time_text = duration(time.monotonic() - started, say)
            _line(say("waiting.done", {"text": text, "time": time_text}))
    finally:
        _FITS.reset(before)


def _tell(
    ended: threading.Event,
    pauses: Iterator[float],
    so_far: Callable[[], str],
    show: Callable[[str], None],
) -> None:
    while not ended.wait(next(pauses)):
        show(so_far())


@contextlib.contextmanager
def _moving(text: str) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)) as status:
        yield lambda line: status.update(Text(line))


def _line(text: str) -> None:
    with contextlib.suppress(*_UNWRITABLE):
        print(text, file=sys.stderr, flush=True)


def _plain(text: str) -> str:
    """Return a text of one line without control characters, cut to a length."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= _LABEL else clean[: _LABEL - 3] + "..."


def _moves(stream: IO[str] | None) -> bool:
    """Tell whether a stream is a terminal; a program may have none, or have closed it."""
    return stream is not None and not stream.closed and stream.isatty()
