"""A file that only grows by whole lines, each on the disk before the next."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import BinaryIO

# Windows translates line ends otherwise.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class AppendFile:
    """An open file; every fault is an ``OSError``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = os.open(path, _FLAGS, 0o666)
        self._end = 0
        # True while there may be bytes behind the last whole line.
        self._loose = False
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise OSError(None, "it is not a regular file")

    def reader(self) -> BinaryIO:
        """Return a file at the first byte; closing it leaves this one open."""
        file = open(self._fd, "rb", closefd=False)  # noqa: SIM115 - the caller closes it
        file.seek(0)
        return file

    def read(self, start: int, length: int) -> bytes:
        """Return some bytes."""
        with self.reader() as file:
            file.seek(start)
            return file.read(length)

    def cut(self, end: int) -> None:
        """Drop everything behind `end`."""
        self._end = end
        self._loose = True
        os.ftruncate(self._fd, end)
        os.fsync(self._fd)
        self._loose = False

    def append(self, line: bytes) -> int:
        """Add a line and wait until it is on the disk; return where it begins."""
        # If that fails, or is interrupted, what was written of the line is cut away: at once, or
        # before the next line.
        start = self._end
        if self._loose:
            self.cut(start)
        self._loose = True
        try:
            _write(self._fd, line)
            os.fsync(self._fd)
        except BaseException:
            self._settle()
            raise
        self._end = start + len(line)
        self._loose = False
        return start

    def close(self) -> None:
        """Close the file, without a line that was cut short."""
        if self._loose:
            self._settle()
        with contextlib.suppress(OSError):  # every whole line is on the disk already
            os.close(self._fd)

    def _settle(self) -> None:
        with contextlib.suppress(OSError):
            self.cut(self._end)


def _write(fd: int, data: bytes) -> None:
    """Write everything; the system takes it in one piece unless the disk is almost full."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def flush_folder(path: str | os.PathLike[str]) -> None:
    """Put the name of a new file on the disk too, where folders can be flushed."""
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
