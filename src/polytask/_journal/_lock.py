"""One writer at a time: a lock that the operating system drops when its holder dies."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from typing import TYPE_CHECKING

from polytask.exceptions import DataError

if TYPE_CHECKING:
    from filelock import BaseFileLock

# Who holds the lock is written into the lock file behind its first bytes, because on Windows the
# byte that is locked cannot be read; a fixed length, because it cannot be cut there either.
_OFFSET = 64
_LENGTH = 192
# Long enough for a holder that is just ending, short enough to be told at once.
_PATIENCE = 0.5


class WriterLock:
    """The lock of one file."""

    def __init__(self, path: str | os.PathLike[str], owner: str) -> None:
        # Of filelock before 3.30, release removes the file on POSIX, and a contender empties it.
        from filelock import FileLock, SoftFileLock, Timeout

        self._file = f"{os.fspath(path)}.lock"
        self._lock: BaseFileLock = FileLock(self._file, timeout=_PATIENCE, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout as error:
            _refuse_closed_folder(path, owner)
            raise DataError(
                f"{owner} cannot write {os.fspath(path)}: another run writes to it"
                f"{_holder(self._file)}; wait until it ends, or choose another place (--out)."
            ) from error
        except OSError as error:
            _refuse_closed_folder(path, owner)
            reason = error.strerror or error
            raise DataError(f"{owner} cannot lock {os.fspath(path)}: {reason}.") from error
        # Where files cannot be locked, filelock takes a file that exists as the lock.
        self._native = not isinstance(self._lock, SoftFileLock)
        if self._native:
            _sign(self._file)

    def release(self) -> None:
        """Let the next writer in, and remove the lock file where that is possible."""
        if self._native and os.name == "posix":
            # While it is still held: a contender sees that its file has no name any more and
            # makes another, so that two never hold files of the same name.
            self._remove()
        with contextlib.suppress(OSError):
            self._lock.release()
        if self._native and os.name != "posix":
            self._remove()  # Windows refuses if the next writer has it open

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._file)


def _refuse_closed_folder(path: str | os.PathLike[str], owner: str) -> None:
    """Say so if the folder takes no new file: a lock that cannot be made is held by nobody."""
    folder = os.path.dirname(os.path.abspath(path))
    probe = os.path.join(folder, f".{secrets.token_hex(8)}.probe")
    try:
        with open(probe, "xb"):
            pass
        os.unlink(probe)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{owner} cannot write {os.fspath(path)}: no file can be made in the folder {folder} "
            f"({reason}); choose another place (--out)."
        ) from error


def _sign(path: str) -> None:
    """Write into the lock file who holds it; a disk without room leaves the holder unnamed."""
    note = f"{os.getpid()} {socket.gethostname()}".encode()[: _LENGTH - 1] + b"\n"
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        file.seek(_OFFSET)
        file.write(note.ljust(_LENGTH))


def _holder(path: str) -> str:
    """Say who holds the lock, if that can be read."""
    try:
        with open(path, "rb") as file:
            file.seek(_OFFSET)
            note = file.read(_LENGTH).decode(errors="replace")
    except OSError:
        return ""
    process, _, host = note.partition("\n")[0].partition(" ")
    return f" (process {process} on {host})" if process.isdigit() and host else ""
