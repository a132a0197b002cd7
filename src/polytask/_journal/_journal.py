"""The journal itself: a dictionary on the disk that survives the death of its writer."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

from polytask._journal._file import AppendFile, flush_folder
from polytask._journal._lines import Contents, header_line, piece_line, read_all, read_piece
from polytask._journal._lock import WriterLock
from polytask._journal._settings import check_same
from polytask.exceptions import DataError


class Journal:
    """The finished pieces of a long piece of work, by key; made by :meth:`open`."""

    def __init__(
        self,
        path: str,
        owner: str,
        file: AppendFile,
        contents: Contents,
        held: contextlib.ExitStack,
    ) -> None:
        self.torn = contents.torn
        self._path = path
        self._owner = owner
        self._file = file
        self._places = contents.places
        self._held = held
        self._open = True
        self._process = os.getpid()
        self._turn = threading.Lock()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], header: Mapping[str, Any], *, owner: str
    ) -> Journal:
        """Make a journal, or read the one that is there to go on with it."""
        name, first = os.fspath(path), header_line(header)
        folder = os.path.dirname(os.path.abspath(name))
        if not os.path.isdir(folder):
            raise DataError(f"{owner} cannot write {name}: there is no folder {folder}.")
        with contextlib.ExitStack() as held:
            held.callback(WriterLock(name, owner).release)
            try:
                file = AppendFile(name)
                held.callback(file.close)
                contents = _begin(file, first, name, owner)
            except OSError as error:
                reason = error.strerror or error
                raise DataError(f"{owner} cannot write {name}: {reason}.") from error
            return cls(name, owner, file, contents, held.pop_all())

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever was stored
        """Return a finished piece."""
        with self._turn:
            self._check_own()
            if key not in self._places:
                return None
            try:
                line = self._file.read(*self._places[key])
            except OSError as error:
                raise self._failed("read", error) from error
        piece = read_piece(line)
        if piece is None or piece[0] != key:
            raise DataError(
                f"{self._path} was changed by something else while {self._owner} was running, and "
                f"its piece {key!r} is damaged; delete the file to start again."
            )
        return piece[1]

    def put(self, key: str, value: object) -> None:
        """Store a finished piece and wait until it is on the disk."""
        line = piece_line(key, value)
        with self._turn:
            self._check_own()
            try:
                start = self._file.append(line)
            except OSError as error:
                raise self._failed("write", error) from error
            self._places[key] = (start, len(line))

    def close(self) -> None:
        """Close the file and let the next writer in; a second call does nothing."""
        if self._open and self._process == os.getpid():
            self._open = False
            self._held.close()

    def _check_own(self) -> None:
        if not self._open:
            raise DataError(f"The journal {self._path} of {self._owner} is closed.")
        if self._process != os.getpid():
            raise DataError(
                f"The journal {self._path} of {self._owner} belongs to process {self._process}, "
                f"which opened it; this is process {os.getpid()}."
            )

    def _failed(self, what: str, error: OSError) -> DataError:
        return DataError(
            f"{self._owner} cannot {what} {self._path}: {error.strerror or error}; the pieces "
            f"finished before ({len(self)}) are kept, and once this is mended the same call goes "
            "on from them."
        )

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __bool__(self) -> bool:
        return True  # an empty journal is still one

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Journal cannot be sent to another process: its opener alone writes.")


def _begin(file: AppendFile, first: bytes, path: str, owner: str) -> Contents:
    """Read a file and check that it belongs to this run, or write the header of a new one."""
    with file.reader() as reader:
        contents = read_all(reader, path)
    if contents.header is None:
        file.cut(0)
        file.append(first)
        flush_folder(path)
    else:
        wanted = read_all(io.BytesIO(first), path).header
        check_same(contents.header, wanted, path, owner)
        file.cut(contents.end)
    return contents
