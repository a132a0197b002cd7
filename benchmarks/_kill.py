"""Programs that are killed at random moments and go on, and what is the same at the end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import polytask

# How many of the kills come before the first fit of a run is kept.
_EARLY = 0.3
# Share of the time of an undisturbed run that all kills after a first fit may take.
_LATE = 0.7
_POLYTASK = ("-c", "import sys; from polytask.cli import main; sys.exit(main())")


def table(n_tasks: int = 6, n: int = 40) -> pd.DataFrame:
    """Draw related tasks: features a to d, target y, task school."""
    rng = np.random.default_rng(0)
    school = np.repeat(np.arange(n_tasks), n)
    frame = pd.DataFrame(rng.standard_normal((n_tasks * n, 4)), columns=list("abcd"))
    coef = np.array([1.0, -1.0, 0.5, 0]) + 0.3 * rng.standard_normal((n_tasks, 4))
    frame["y"] = (frame.to_numpy() * coef[school]).sum(axis=1) + rng.standard_normal(len(school))
    frame["school"] = [f"school {t}" for t in school]
    return frame


@dataclass(frozen=True)
class Work:
    """A program that keeps finished pieces in a file.

    Attributes
    ----------
    words : sequence of str
        What Python is started with, in the folder of the run.
    journal : str
        The file of finished pieces, in that folder.
    """

    words: Sequence[str]
    journal: str

    def started(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start it in a process group of its own."""
        source = Path(polytask.__file__).parents[1]
        return subprocess.Popen(
            [sys.executable, *self.words],
            cwd=folder,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(source)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def size(self, folder: Path) -> int:
        """Return the bytes of the journal, what was written last included."""
        files = [folder / f"{self.journal}{end}" for end in ("", "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def kept(self, folder: Path) -> int:
        """Return how many pieces the journal has."""
        journal = folder / self.journal
        if not journal.exists():
            return 0
        with tempfile.TemporaryDirectory() as other:
            copy = Path(other) / "copy"
            for end in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copy(f"{journal}{end}", f"{copy}{end}")
            if copy.read_bytes()[:6] not in (b"SQLite", b""):  # lines of Optuna
                return copy.read_bytes().count(b"\n")
            with closing(sqlite3.connect(copy)) as database, suppress(sqlite3.Error):
                return int(database.execute("SELECT count(*) FROM pieces").fetchone()[0])
        return 0

    def wait(self, process: subprocess.Popen[bytes], folder: Path) -> float:
        """Wait until the journal has a new piece or the process ends; return the seconds."""
        before, began = self.kept(folder), time.perf_counter()
        while process.poll() is None and self.kept(folder) <= before:
            time.sleep(0.02)
        return time.perf_counter() - began

    def whole(self, folder: Path) -> tuple[float, float, bytes]:
        """Run to the end; return seconds to the first kept fit and from there, and its words."""
        process = self.started(folder)
        first = self.wait(process, folder)
        began = time.perf_counter()
        said, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"{folder}: status {process.returncode}\n{errors.decode()}")
        return first, time.perf_counter() - began, said

    def killed(self, folder: Path, early: float | None, late: float) -> str:
        """Kill a run before or after it keeps its first fit, and say when.

        Parameters
        ----------
        folder : Path
            Where.
        early : float or None
            Seconds after the start; None: after it has kept a fit.
        late : float
            Seconds after that.
        """
        process = self.started(folder)
        if early is None:
            self.wait(process, folder)
            said = f"{late:.1f} s after its first fit"
        else:
            said, late = f"{early:.1f} s after its start", early
        try:
            process.wait(late)
            said = "had ended before"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        if process.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"{folder}: status {process.returncode}\n{errors.decode()}")
        return said

    def disturbed(
        self, folder: Path, kills: int, moments: random.Random, times: tuple[float, float]
    ) -> bytes:
        """Kill it again and again, print a table of the kills, then let it finish.

        Parameters
        ----------
        folder : Path
            Where.
        kills : int
            How often.
        moments : random.Random
            Draws the moments.
        times : tuple of float
            Seconds of an undisturbed run to its first kept fit, and from there on.

        Returns
        -------
        bytes
            What the last run said.
        """
        start, rest = times
        print("| kill | when | pieces kept | journal bytes |\n|---|---|---|---|")
        for count in range(1, kills + 1):
            early = moments.uniform(0, start) if moments.random() < _EARLY else None
            when = self.killed(folder, early, moments.uniform(0, _LATE * rest / kills))
            print(f"| {count} | {when} | {self.kept(folder)} | {self.size(folder)} |", flush=True)
        return self.whole(folder)[2]


def command(*words: str) -> tuple[str, ...]:
    """Return what Python is started with to run ``polytask`` with arguments."""
    return (*_POLYTASK, *words)


def tell(title: str, found: Mapping[str, str]) -> None:
    """Print what became of every file."""
    print(f"\n## {title}\n\n| file | |\n|---|---|")
    for name, words in found.items():
        print(f"| {name} | {words} |")
