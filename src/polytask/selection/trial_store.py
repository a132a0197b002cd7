"""Where the trials of a search are kept, so that a killed one goes on as if nothing had been."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from polytask.exceptions import DataError
from polytask.io import AppendFile, WriterLock

_BLOCK = 1 << 16


class _Held:
    """The lock that Optuna asks for: this run has the file for itself from first to last."""

    # Optuna's own is a file, which a killed run leaves behind and the next one waits for.

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


@contextmanager
def stored(optuna: Any, storage: str | None) -> Iterator[Any]:  # noqa: ANN401 - a module
    """Open the storage of a search."""
    if storage is None or "://" in storage:
        yield storage
        return
    folder = os.path.dirname(os.path.abspath(storage))
    if not os.path.isdir(folder):
        raise DataError(f"tune cannot write {storage}: there is no folder {folder}.")
    with ExitStack() as held:
        held.callback(WriterLock(storage, "tune").release)
        yield _opened(optuna, storage)


def _opened(optuna: Any, path: str) -> Any:  # noqa: ANN401 - a storage of Optuna
    try:
        _check_kind(path)
        _drop_torn_line(path)
        backend = optuna.storages.journal.JournalFileBackend(path, _Held())
        return optuna.storages.JournalStorage(backend)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"tune cannot write {path}: {reason}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no trials of a search, or was damaged after it was written: name "
            "another file as the storage, or delete it."
        ) from error


def _check_kind(path: str) -> None:
    """Refuse a file of something else before a byte of it is changed."""
    if os.path.exists(path):
        with open(path, "rb") as file:
            first = file.readline()
        if first.endswith(b"\n"):
            json.loads(first)["op_code"]


def _drop_torn_line(path: str) -> None:
    """Cut away a last line that a killed run left without its end, lest it spoil the next."""
    with closing(AppendFile(path)) as file:
        end = os.path.getsize(path)
        kept = _whole_lines(file, end)
        if kept < end:
            file.cut(kept)


def _whole_lines(file: AppendFile, end: int) -> int:
    """Return where the last whole line ends."""
    stop = end
    while stop:
        start = max(stop - _BLOCK, 0)
        found = file.read(start, stop - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0
