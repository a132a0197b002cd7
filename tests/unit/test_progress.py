"""The bar, the plain lines, the silence, and how a time is said."""

from __future__ import annotations

import errno
import io
import re
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console

from polytask import _progress
from polytask._progress import add_fits, duration, progress, waiting
from polytask.messages import speak_in


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def _pipe() -> Console:
    return Console(file=io.StringIO(), width=120)


def _terminal(monkeypatch) -> Console:
    monkeypatch.setenv("TERM", "xterm-256color")
    return Console(file=io.StringIO(), width=120, force_terminal=True)


def _text(console: Console) -> str:
    """Return what a console shows, without the sequences that colour and move."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def _last(console: Console) -> str:
    """Return the last state of a bar."""
    return re.split(r"[\r\n]+", _text(console).strip())[-1].strip()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "under 1 s"),
        (0.99, "under 1 s"),
        (1, "1 s"),
        (40.4, "40 s"),
        (59.4, "59 s"),
        (59.6, "about 1 minute"),
        (89, "about 1 minute"),
        (170, "about 3 minutes"),
        (89 * 60, "about 89 minutes"),
        (90 * 60, "about 1.5 hours"),
        (2 * 3600, "about 2 hours"),
        (9.7 * 3600, "about 9.5 hours"),
        (9.8 * 3600, "about 10 hours"),
        (35 * 3600, "about 35 hours"),
        (36 * 3600, "about 2 days"),
        (86400 * 10.2, "about 10 days"),
        (float("inf"), "an unknown time"),
        (float("nan"), "an unknown time"),
    ],
)
def test_a_time_is_said_as_a_person_would(seconds, said):
    assert duration(seconds) == said


def test_lines_come_at_the_start_at_the_end_and_after_a_pause(clock):
    console = _pipe()
    with progress(10, "compare", True, console=console, clock=clock) as told:
        assert _text(console) == "compare: 0/10\n"
        for number in range(10):
            clock.now += 8
            told.advance(f"ridge {number}")
    assert _text(console).splitlines() == [
        "compare: 0/10",
        "compare: 4/10, 32 s so far, 48 s left (ridge 3)",
        "compare: 8/10, about 1 minute so far, 16 s left (ridge 7)",
        "compare: 10/10, done in about 1 minute",
    ]


def test_a_last_piece_after_a_pause_has_one_line(clock):
    console = _pipe()
    with progress(1, "compare", True, console=console, clock=clock) as told:
        clock.now += 31
        told.advance("ridge")
    assert _text(console).splitlines() == ["compare: 0/1", "compare: 1/1, done in 31 s"]


def test_time_left_follows_the_weights(clock):
    console = _pipe()
    with progress(3, "compare", True, cost=100, console=console, clock=clock) as told:
        clock.now += 40
        told.advance("heavy", 80)
    assert "1/3, 40 s so far, 10 s left (heavy)" in _text(console)


def test_pieces_of_an_earlier_run_say_nothing_about_the_speed(clock):
    console = _pipe()
    with progress(10, "compare", True, console=console, clock=clock) as told:
        for _ in range(8):
            told.skip("finished before")
        clock.now += 50
        told.advance("ridge")
    assert "9/10, 50 s so far, 50 s left (ridge)" in _text(console)


def test_no_time_left_is_said_before_a_piece_is_finished(clock):
    console = _pipe()
    with progress(3, "compare", True, console=console, clock=clock) as told:
        clock.now += 50
        told.skip("finished before")
    assert "1/3, 50 s so far (finished before)\n" in _text(console)


@pytest.mark.parametrize("where", ["pipe", "terminal"])
def test_work_that_ends_early_says_where(clock, monkeypatch, where):
    console = _pipe() if where == "pipe" else _terminal(monkeypatch)

    def work():
        with progress(4, "compare", True, console=console, clock=clock) as told:
            clock.now += 12
            told.advance("ridge")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    said = {"pipe": "1/4, ended after 12 s", "terminal": "1/4 0:00:12 0:00:36"}
    assert _last(console).endswith(said[where])


def test_a_terminal_shows_a_bar(clock, monkeypatch):
    console = _terminal(monkeypatch)
    with progress(4, "compare", True, console=console, clock=clock) as told:
        for number in range(4):
            clock.now += 10
            told.advance(f"ridge {number}")
    shown = _last(console)
    assert shown.startswith("compare ")
    assert "━" * 24 in shown
    assert shown.endswith("4/4 0:00:40 0:00:00")
    assert "\x1b[" in console.file.getvalue()


@pytest.mark.parametrize("where", ["pipe", "terminal"])
def test_names_are_shown_as_text_on_one_line(clock, monkeypatch, where):
    console = _pipe() if where == "pipe" else _terminal(monkeypatch)
    with progress(9, "[b]x[/b]\n", True, console=console, clock=clock) as told:
        clock.now += 31
        told.advance("[red]任务\n\x1b[31m[/red]" + "y" * 300)
        give_up = time.monotonic() + 20
        while "yyy" not in _text(console) and time.monotonic() < give_up:
            time.sleep(0.02)  # the bar is drawn by a thread
    shown = _text(console)
    assert "[b]x[/b]" in shown
    assert "[red]任务  [31m[/red]yyyy" in shown
    assert "\x1b[31m" not in console.file.getvalue()
    assert "y" * 40 not in shown
    if where == "pipe":
        assert len(shown.splitlines()) == 3


def test_a_terminal_that_cannot_move_gets_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with progress(1, "compare", True, console=console, clock=clock) as told:
        told.advance("ridge")
    assert console.file.getvalue() == "compare: 0/1\ncompare: 1/1, done in under 1 s\n"


def test_nothing_is_shown_of_work_without_pieces(clock, monkeypatch):
    for console in (_pipe(), _terminal(monkeypatch)):
        with progress(0, "compare", True, console=console, clock=clock):
            pass
        assert console.file.getvalue() == ""


@pytest.mark.parametrize("where", ["pipe", "terminal"])
def test_weights_that_do_not_add_up_do_no_harm(clock, monkeypatch, where):
    console = _pipe() if where == "pipe" else _terminal(monkeypatch)
    with progress(4, "compare", True, cost=0, console=console, clock=clock) as told:
        for weight in (0, 5, 1e9):
            clock.now += 40
            told.advance("ridge", weight)
    said = {"pipe": "3/4, ended after about 2 minutes", "terminal": " 3/4 "}
    assert said[where] in _last(console)


def test_disabled_shows_nothing(clock, monkeypatch, capsys):
    for console in (_pipe(), _terminal(monkeypatch), None):
        with progress(2, "compare", False, console=console, clock=clock) as told:
            told.advance("ridge")
            told.skip("ridge")
        assert console is None or console.file.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_the_error_stream_is_the_default(capsys):
    with progress(1, "compare", True) as told:
        told.advance("ridge")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "compare: 0/1\ncompare: 1/1, done in under 1 s\n"


def test_a_stream_that_cannot_be_written_never_stops_the_work(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (None, io.StringIO(), closed):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress(1, "compare", True) as told:
            if stream is not None:
                stream.close()
            told.advance("ridge")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("writes", [0, 1, 5])
def test_a_terminal_that_goes_away_never_stops_the_work(clock, monkeypatch, writes):
    class Going(io.StringIO):
        left = writes

        def write(self, text):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.EIO, "gone")
            return super().write(text)

    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=Going(), width=120, force_terminal=True)
    before = sys.stdout, sys.stderr
    with progress(2, "compare", True, console=console, clock=clock) as told:
        told.advance("ridge")
        told.advance("ridge")
    assert (sys.stdout, sys.stderr) == before


def test_rich_is_imported_when_something_is_shown():
    code = (
        "import sys\n"
        "from polytask._progress import progress\n"
        "with progress(1, 'compare', False) as told:\n"
        "    told.advance('ridge')\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _waited(pieces: int, monkeypatch, capsys) -> list[str]:
    monkeypatch.setattr(_progress, "_PAUSES", (0.05, 0.1))
    with waiting("Fitting ..."):
        add_fits(pieces)
        time.sleep(0.12)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_waiting_says_how_many_fits_are_finished_and_when_it_ends(monkeypatch, capsys):
    assert _waited(3, monkeypatch, capsys) == [
        "Fitting ... 3 fits, under 1 s so far",
        "Fitting ... done in under 1 s",
    ]
    assert _waited(0, monkeypatch, capsys)[0] == "Fitting ... under 1 s so far"


def test_short_work_and_quiet_work_print_nothing(monkeypatch, capsys):
    with waiting("Fitting ..."):
        add_fits(1)
    monkeypatch.setattr(_progress, "_PAUSES", (0.01, 0.01))
    with waiting("Fitting ...", enabled=False):
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


def test_work_that_fails_ends_its_lines(monkeypatch, capsys):
    monkeypatch.setattr(_progress, "_PAUSES", (0.02, 9.0))

    def work():
        with waiting("Fitting ..."):
            time.sleep(0.06)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err == "Fitting ... under 1 s so far\n"
    assert not [each for each in threading.enumerate() if each.name.endswith("(_tell)")]


def test_progress_speaks_the_language_that_was_chosen(monkeypatch, capsys):
    speak_in("zh")
    try:
        assert _waited(2, monkeypatch, capsys)[0] == "Fitting ... 已拟合 2 次，用时不到 1 秒"
        with progress(1, "Comparing", True) as told:
            told.advance("ridge")
    finally:
        speak_in("en")
    assert capsys.readouterr().err == "比较的步骤：0/1\n比较的步骤：1/1，用时不到 1 秒完成\n"
