"""Where the trials of a search are kept, so that a killed one goes on as if nothing had been."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Text

# Long enough for a run that is just ending, short enough to be told at once.
_PATIENCE = 0.5


class _Held:
    """The lock that Optuna asks for: this run has the file for itself from first to last."""

    # Optuna's own is a file, which a killed run leaves behind and the next one waits for.

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


@contextmanager
def stored(optuna: Any, storage: str | None) -> Iterator[Any]:  # noqa: ANN401 - a module
    """Open the storage of a search: a file of Optuna's journal, or what a URL names."""
    if storage is None or "://" in storage:
        yield storage
        return
    from filelock import FileLock, Timeout

    folder = os.path.dirname(os.path.abspath(storage))
    if not os.path.isdir(folder):
        raise _cannot_write(storage, LazyMessage("journal.refusal.no_folder", {"folder": folder}))
    lock = FileLock(f"{storage}.lock", timeout=_PATIENCE)
    with ExitStack() as held:
        try:
            held.enter_context(lock)
            place = _opened(optuna, Path(storage))
        except Timeout as error:
            raise _cannot_write(storage, LazyMessage("selection.refusal.storage_busy")) from error
        except OSError as error:
            raise _cannot_write(storage, str(error.strerror or error)) from error
        except (ValueError, KeyError, TypeError) as error:
            fields = {"storage": str(storage)}
            raise DataError(LazyMessage("selection.refusal.no_trials_within", fields)) from error
        try:
            yield place
        finally:
            with suppress(OSError):  # Windows keeps the file while it is locked
                os.unlink(lock.lock_file)


def _opened(optuna: Any, path: Path) -> Any:  # noqa: ANN401 - a storage of Optuna
    if path.exists():
        content = path.read_bytes()
        first, end, _ = content.partition(b"\n")
        if end:  # a file of something else is refused before a byte of it is changed
            json.loads(first)["op_code"]
        # Optuna would go on in a last line that a killed run left without its end.
        os.truncate(path, content.rfind(b"\n") + 1)
    backend = optuna.storages.journal.JournalFileBackend(os.fspath(path), _Held())
    return optuna.storages.JournalStorage(backend)


def _cannot_write(storage: str, reason: Text) -> DataError:
    fields = {"owner": "tune", "path": storage, "reason": reason}
    return DataError(LazyMessage("journal.refusal.write", fields))
