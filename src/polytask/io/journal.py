"""Finished pieces of long work in a SQLite file, so that the work goes on after a kill."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

import numpy as np

from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.io.codec import from_node, to_node
from polytask.messages import LazyMessage, Text

# 1 was a file of lines.
VERSION = 2
# The first version of polytask that reads this format: a later format says so to earlier versions.
READABLE_FROM = "0.1.0"
_APPLICATION = int.from_bytes(b"poly", "big")
_LINES = b"polytask-journal "
# Long enough for a holder that is just ending, short enough to be told at once.
_PATIENCE = 0.5
_TABLES = f"""
BEGIN;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE run (header TEXT NOT NULL, readable_from TEXT NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE pieces (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum TEXT NOT NULL);
"""
# Damaged text need not be UTF-8.
_SUM = "checksum_of(CAST(key AS BLOB), CAST(value AS BLOB))"

# What values raise that a program has written which knows the checksums, but not the kinds.
_NOT_OURS = (AttributeError, LookupError, RecursionError, TypeError, ValueError)

_ARRAYS = frozenset("?bhilqBHILQefdFD")


def to_text(value: object) -> str:
    """Return a piece as JSON of ASCII letters, in which arrays keep every bit."""
    return json.dumps(to_node(value, _other), allow_nan=False, separators=(",", ":"))


def from_text(text: str | bytes) -> Any:  # noqa: ANN401 - whatever was stored
    """Return what :func:`to_text` was given; NumPy's numbers come back as plain ones."""
    return from_node(json.loads(text), {"$array": lambda node: _array(*node["$array"])})


def _other(value: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return to_node(value.item(), _other)
    # A subclass has more than its numbers: a mask, a unit. A memory map has not.
    if type(value) not in (np.ndarray, np.memmap) or value.dtype.char not in _ARRAYS:  # type: ignore[attr-defined]
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise ParameterError(LazyMessage("journal.refusal.piece", {"got": kind}))
    array: np.ndarray[Any, Any] = value  # type: ignore[assignment]
    little = array.dtype.newbyteorder("<")
    # The order in memory is kept too: it decides the last bit of a sum.
    order: Literal["C", "F"] = "F" if array.flags.fnc else "C"
    data = base64.b64encode(array.astype(little, copy=False).tobytes(order=order))
    return {"$array": [little.str, order, list(array.shape), data.decode()]}


def _array(
    dtype: str, order: Literal["C", "F"], shape: list[int], data: str
) -> np.ndarray[Any, Any]:
    flat = np.frombuffer(base64.b64decode(data), dtype=dtype)
    # A copy in the order of this machine's bytes, which may be written to.
    return flat.astype(flat.dtype.newbyteorder("="), copy=True).reshape(shape, order=order)


def _checksum(*parts: bytes | None) -> str:
    return hashlib.sha256(b"\0".join(part or b"" for part in parts)).hexdigest()


class Store(Protocol):
    """Where finished pieces are kept: a journal, or the memory of this run."""

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever was stored
        """Return a finished piece, None if there is no such one."""
        ...

    def put(self, key: str, value: Any) -> None:  # noqa: ANN401 - anything
        """Keep a finished piece."""
        ...

    def __contains__(self, key: object) -> bool: ...


class _MemoryStore(dict[str, Any]):
    def put(self, key: str, value: Any) -> None:  # noqa: ANN401
        self[key] = value


def open_store(
    path: str | os.PathLike[str] | None, header: Callable[[], Mapping[str, Any]], *, owner: str
) -> contextlib.AbstractContextManager[Store]:
    """Open the journal of a run, or keep its pieces in memory where there is no path.

    Parameters
    ----------
    path : path or None
        The file; None keeps pieces in memory.
    header : callable
        What the run is; a journal of another run is refused.
    owner : str
        What the work is called in errors.
    """
    if path is None:
        return contextlib.nullcontext(_MemoryStore())
    return Journal.open(path, header(), owner=owner)


class Journal:
    """The finished pieces of a long piece of work, by key; made by :meth:`open`.

    Parameters
    ----------
    path : path
        The file.
    owner : str
        What the work is called in errors.
    """

    # The file belongs to this run until it is closed: SQLite keeps its lock, and the system frees
    # it when the process is killed. Pieces go into a second file (path-wal) first, which SQLite
    # reads after a kill and removes when the journal is closed.

    def __init__(self, path: str | os.PathLike[str], owner: str) -> None:
        self._path = os.fspath(path)
        self._owner = owner
        self._process = os.getpid()
        self._turn = threading.Lock()
        self._database: sqlite3.Connection | None = None
        folder = os.path.dirname(os.path.abspath(self._path))
        if not os.path.isdir(folder):
            raise self._cannot_write(LazyMessage("journal.refusal.no_folder", {"folder": folder}))
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            raise self._cannot_write(LazyMessage("journal.refusal.not_a_file"))

    def _cannot_write(self, reason: LazyMessage) -> DataError:
        fields = {"owner": self._owner, "path": self._path, "reason": reason}
        return DataError(LazyMessage("journal.refusal.write", fields))

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], header: Mapping[str, Any], *, owner: str
    ) -> Journal:
        """Make a journal, or read the one that is there to go on with it."""
        text = to_text(header)
        journal = cls(path, owner)
        try:
            journal._lock()
            journal._begin(text)
        except sqlite3.Error as error:
            journal.close()
            raise journal._refusal(error) from error
        except BaseException:
            journal.close()
            raise
        return journal

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever was stored
        """Return a finished piece, None if there is no such one."""
        found = self._ask(
            f"SELECT CAST(value AS BLOB), checksum IS {_SUM} FROM pieces WHERE key = ?",
            json.dumps(key),
        )
        if found and not found[0][1]:
            fields = {"path": self._path, "owner": self._owner, "key": repr(key)}
            raise DataError(LazyMessage("journal.refusal.changed", fields))
        try:
            return from_text(found[0][0]) if found else None
        except _NOT_OURS as error:
            raise self._damaged() from error

    def put(self, key: str, value: object) -> None:
        """Store a finished piece and wait until it is on the disk."""
        name, text = json.dumps(key), to_text(value)
        checksum = _checksum(name.encode(), text.encode())
        self._ask("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?)", name, text, checksum)

    def close(self) -> None:
        """Let the next writer in; a second call does nothing."""
        if self._database is not None and self._process == os.getpid():
            self._database.close()
            self._database = None

    def _lock(self) -> None:
        """Take the file for this run alone, and begin a transaction."""
        give_up = time.monotonic() + _PATIENCE
        while True:
            self._database = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._database.execute("BEGIN EXCLUSIVE")
                return
            except sqlite3.Error as error:
                self._database.close()
                if not _is_busy(error) or time.monotonic() > give_up:
                    raise
            # Two that begin at once have half a lock each, which keeps both from the whole.
            time.sleep(random.uniform(0.01, 0.05))

    def _begin(self, header: str) -> None:
        """Write the tables of a new file, or check that they are whole and of this run."""
        assert self._database is not None
        database = self._database
        database.create_function("checksum_of", 2, _checksum, deterministic=True)
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        tables = dict(database.execute("SELECT name, type FROM sqlite_master").fetchall())
        # What is no table computes what it holds, which need not end.
        if tables and (application != _APPLICATION or tables.get("run") != "table"):
            raise self._foreign()
        if version > VERSION:
            (reader,) = database.execute("SELECT readable_from FROM run").fetchone()
            fields = {"path": self._path, "version": version, "known": VERSION, "reader": reader}
            raise DataError(LazyMessage("journal.refusal.newer", fields))
        database.execute("COMMIT")  # the lock stays
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if not tables:
            database.executescript(_TABLES)
            row = header, READABLE_FROM, _checksum(header.encode())
            database.execute("INSERT INTO run VALUES (?, ?, ?)", row)
            database.execute("COMMIT")
            return
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        runs = database.execute("SELECT CAST(header AS BLOB), checksum FROM run").fetchall()
        if found != "ok" or len(runs) != 1 or runs[0][1] != _checksum(runs[0][0]):
            raise self._damaged()
        self._refuse_another_run(runs[0][0], header)
        query = f"DELETE FROM pieces WHERE checksum IS NOT {_SUM}"
        if lost := database.execute(query).rowcount:
            fields = {"n": lost, "path": str(self._path), "owner": self._owner}
            warnings.warn(DataWarning(LazyMessage("warn.damaged", fields)), stacklevel=2)

    def _refuse_another_run(self, held: bytes, wanted: str) -> None:
        try:
            there, here = (dict(_leaves(json.loads(text))) for text in (held, wanted))
        except _NOT_OURS as error:
            raise self._damaged() from error
        names = [name for name in here | there if there.get(name) != here.get(name)]
        if not names:
            return
        first, *others = names
        also: Text = ", ".join(repr(name) for name in others[:_NAMED])
        if len(others) > _NAMED:
            also = LazyMessage("list.more", {"names": also, "n": len(others) - _NAMED})
        old, new = _shown(there.get(first), here.get(first))
        fields: dict[str, Any] = {"owner": self._owner, "path": self._path, "entry": repr(first)}
        fields |= {"old": old, "new": new}
        fields["also"] = LazyMessage("journal.refusal.also", {"names": also}) if others else ""
        raise DataError(LazyMessage("journal.refusal.other_run", fields))

    def _ask(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        if self._process != os.getpid():
            fields = {"path": self._path, "owner": self._owner}
            fields |= {"process": str(self._process), "own": str(os.getpid())}
            raise DataError(LazyMessage("journal.refusal.process", fields))
        with self._turn:
            if self._database is None:
                fields = {"path": self._path, "owner": self._owner}
                raise DataError(LazyMessage("journal.refusal.closed", fields))
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.Error) -> DataError:
        """Return the sentence for what SQLite says."""
        name = getattr(error, "sqlite_errorname", "")
        folder = os.path.dirname(os.path.abspath(self._path))
        if name.startswith("SQLITE_NOTADB"):
            return self._foreign()
        if name.startswith("SQLITE_CORRUPT"):
            return self._damaged()
        if _is_busy(error):
            said = LazyMessage("journal.refusal.busy")
        elif name.startswith("SQLITE_CANTOPEN") or not os.access(folder, os.W_OK):
            said = LazyMessage("journal.refusal.folder", {"folder": folder})
        else:
            said = LazyMessage("journal.refusal.other", {"reason": str(error)})
        return self._cannot_write(said)

    def _foreign(self) -> DataError:
        with open(self._path, "rb") as file:
            lines = file.read(len(_LINES)) == _LINES
        what = "earlier" if lines else "foreign"
        return DataError(LazyMessage(f"journal.refusal.{what}", {"path": self._path}))

    def _damaged(self) -> DataError:
        return DataError(LazyMessage("journal.refusal.damaged", {"path": self._path}))

    def __contains__(self, key: object) -> bool:
        return bool(self._ask("SELECT 1 FROM pieces WHERE key = ?", json.dumps(key)))

    def __len__(self) -> int:
        return int(self._ask("SELECT count(*) FROM pieces")[0][0])

    def __bool__(self) -> bool:
        return True  # an empty journal is still one

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def move_journal(
    path: str | os.PathLike[str], target: str | os.PathLike[str], *, owner: str
) -> None:
    """Give a journal another name, also a damaged one, unless another run is writing to it.

    Parameters
    ----------
    path, target : path
        The file, and its new name.
    owner : str
        What the work is called in errors.
    """
    journal = Journal(path, owner)
    try:
        journal._lock()
    except sqlite3.Error as error:
        if _is_busy(error):
            raise journal._refusal(error) from error
    finally:
        journal.close()
    os.replace(path, target)
    # What a kill has left, if SQLite could not read it.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{os.fspath(path)}-wal")


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


_NAMED = 3
_WIDTH = 60


def _leaves(node: Any, name: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """Yield the dotted name and the text of every entry that is no dictionary, or an empty one."""
    if not name or (isinstance(node, dict) and not next(iter(node), "$").startswith("$")):
        for key, item in node.items():
            yield from _leaves(item, f"{name}.{key}" if name else key)
    else:
        yield name, json.dumps(node, separators=(",", ":"))


def _shown(old: str | None, new: str | None) -> tuple[LazyMessage, LazyMessage]:
    """Say what two entries are, long ones around the first letter that differs."""
    skipped = 0
    if old is not None and new is not None and max(len(old), len(new)) > _WIDTH:
        pairs = enumerate(zip(old, new, strict=False))
        same = next((at for at, (a, b) in pairs if a != b), min(len(old), len(new)))
        skipped = max(same - _WIDTH // 3, 0)

    def part(text: str | None) -> LazyMessage:
        if text is None:
            return LazyMessage("journal.entry.missing")
        after = "..." if len(text) > skipped + _WIDTH else ""
        shown = f"{'...' if skipped else ''}{text[skipped : skipped + _WIDTH]}{after}"
        return LazyMessage("journal.entry.is", {"value": shown})

    return part(old), part(new)
