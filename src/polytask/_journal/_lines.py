"""The lines of a journal file: one header, then one line for each finished piece."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from polytask._journal._encoding import from_text, to_text
from polytask.exceptions import DataError

VERSION = 1
# The first version of polytask that reads this format: a later format says so to earlier versions.
READABLE_FROM = "0.1.0"
_MAGIC = b"polytask-journal "


@dataclass
class Contents:
    """What a journal file holds."""

    header: Any = None
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    end: int = 0
    torn: int = 0


def header_line(header: object) -> bytes:
    """Return the first line of a file."""
    text = to_text(header, "header").encode()
    start = f"{VERSION} {READABLE_FROM}".encode()
    return b"%b%b %08x %b\n" % (_MAGIC, start, zlib.crc32(start + text), text)


def piece_line(key: str, value: object) -> bytes:
    """Return the line of one finished piece."""
    text = to_text([key, value], "value").encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def read_piece(line: bytes) -> tuple[str, Any] | None:
    """Return the key and the value of a line; None if it is cut short or damaged."""
    checksum, _, text = line[:-1].partition(b" ")
    if line[-1:] != b"\n" or checksum != b"%08x" % zlib.crc32(text):
        return None
    key, value = from_text(text)
    return key, value


def read_all(file: BinaryIO, path: str | os.PathLike[str]) -> Contents:
    """Read and check every line of a file."""
    contents = _read_header(file, path)
    if contents.header is None:
        return contents
    for number, line in enumerate(file, start=2):
        piece = read_piece(line)
        if piece is None:
            if file.read(1):
                raise _damaged(path, number, "delete that line to repeat its piece alone, or")
            contents.torn = 1
            break
        contents.places[piece[0]] = (contents.end, len(line))
        contents.end += len(line)
    return contents


def _read_header(file: BinaryIO, path: str | os.PathLike[str]) -> Contents:
    begin = file.read(len(_MAGIC))
    if not _MAGIC.startswith(begin):
        raise DataError(
            f"{os.fspath(path)} is not a journal of polytask and was left as it is; choose "
            "another place (--out) for the journal."
        )
    line = file.readline()
    if line[-1:] != b"\n":  # killed while it made the file: no piece is lost
        return Contents(torn=int(bool(begin)))
    version, readable_from, checksum, text = _fields(line)
    if version.isdigit() and int(version) > VERSION:
        raise DataError(
            f"{os.fspath(path)} is a journal of format version {int(version)}, and this polytask "
            f"reads version {VERSION}: polytask {readable_from.decode(errors='replace')} or newer "
            "resumes from it; choose another place (--out) or delete it to start again."
        )
    if checksum != b"%08x" % zlib.crc32(version + b" " + readable_from + text):
        raise _damaged(path, 1, "restore it from a copy or")
    return Contents(from_text(text), end=len(begin) + len(line))


def _fields(line: bytes) -> list[bytes]:
    """Return version, version of polytask, checksum and text; empty ones if there are fewer."""
    fields = line[:-1].split(b" ", 3)
    return fields + [b""] * (4 - len(fields))


def _damaged(path: str | os.PathLike[str], number: int, advice: str) -> DataError:
    return DataError(
        f"Line {number} of the journal {os.fspath(path)} was damaged after it was written (its "
        f"checksum does not fit); {advice} delete the file to start again."
    )
