"""An append-only journal of finished pieces, so that long work resumes after a kill."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import os
import secrets
import socket
import stat
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NoReturn

import numpy as np

from polytask.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    from filelock import BaseFileLock


# JSON has no arrays and no NaN: these become {"$": [kind, ...]}, and so does a dictionary of the
# caller that has a key "$" itself.
_TAG = "$"
_ARRAYS = frozenset("?bhilqBHILQefdFD")
_ALLOWED = (
    "None, bool, int, float, str, a list, a dictionary with text as keys, or a NumPy array of "
    "booleans or numbers of at most 64 bits a part"
)


def to_text(value: object, name: str) -> str:
    """Return `value` as one line of ASCII text; `name` stands for it in an error."""
    return json.dumps(
        _encode(value, name), ensure_ascii=True, allow_nan=False, separators=(",", ":")
    )


def from_text(text: str | bytes) -> Any:  # noqa: ANN401 - whatever was stored
    """Return what :func:`to_text` was given; tuples come back as lists."""
    return _decode(json.loads(text))


def _encode(value: object, name: str) -> Any:  # noqa: ANN401 - JSON
    for types, encode in _ENCODERS:
        if isinstance(value, types):
            return encode(value, name)
    raise _refused(value, name)


def _refused(value: object, name: str) -> ParameterError:
    return ParameterError(
        f"{name} of a journal must be {_ALLOWED}; got {type(value).__module__}."
        f"{type(value).__qualname__}."
    )


def _itself(value: object, _: str) -> Any:  # noqa: ANN401 - JSON
    return value


def _scalar(value: np.generic, name: str) -> Any:  # noqa: ANN401 - JSON
    plain = value.item()
    if isinstance(plain, np.generic):  # long double: no Python number holds it
        raise _refused(value, name)
    return _encode(plain, name)


def _real(value: float, _: str) -> Any:  # noqa: ANN401 - JSON
    return value if math.isfinite(value) else {_TAG: ["float", struct.pack("<d", value).hex()]}


def _array(value: np.ndarray[Any, Any], name: str) -> Any:  # noqa: ANN401 - JSON
    # A subclass has more than its numbers: a mask, a unit. A memory map has not.
    if type(value) not in (np.ndarray, np.memmap) or value.dtype.char not in _ARRAYS:
        raise _refused(value, name)
    little = value.dtype.newbyteorder("<")
    # The order in memory is kept too: it decides the last bit of a sum.
    order: Literal["C", "F"] = "F" if value.flags.fnc else "C"
    data = value.astype(little, copy=False).tobytes(order=order)
    return {_TAG: ["array", little.str, order, list(value.shape), base64.b64encode(data).decode()]}


def _mapping(value: Mapping[Any, object], name: str) -> Any:  # noqa: ANN401 - JSON
    for key in value:
        if not isinstance(key, str):
            raise ParameterError(
                f"{name} of a journal must have text as keys; got the key {key!r}."
            )
    encoded = {key: _encode(item, f"{name}[{key!r}]") for key, item in value.items()}
    return {_TAG: ["dict", encoded]} if _TAG in encoded else encoded


def _sequence(value: list[object] | tuple[object, ...], name: str) -> Any:  # noqa: ANN401 - JSON
    return [_encode(item, f"{name}[{index}]") for index, item in enumerate(value)]


# NumPy's float64 is a float and takes the row of floats.
_ENCODERS: tuple[tuple[tuple[type, ...], Callable[[Any, str], Any]], ...] = (
    ((type(None), bool, int, str), _itself),
    ((float,), _real),
    ((np.generic,), _scalar),
    ((np.ndarray,), _array),
    ((Mapping,), _mapping),
    ((list, tuple), _sequence),
)


def _decode(value: Any) -> Any:  # noqa: ANN401 - JSON in, whatever was stored out
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG in value:
        kind, *parts = value[_TAG]
        return _DECODERS[kind](*parts)
    return _entries(value)


def _entries(value: dict[str, Any]) -> dict[str, Any]:
    return {key: _decode(item) for key, item in value.items()}


def _to_real(text: str) -> float:
    return float(struct.unpack("<d", bytes.fromhex(text))[0])


def _to_array(
    dtype: str, order: Literal["C", "F"], shape: list[int], data: str
) -> np.ndarray[Any, Any]:
    flat = np.frombuffer(base64.b64decode(data), dtype=dtype)
    # A copy in the order of this machine's bytes, which may be written to.
    native = flat.astype(flat.dtype.newbyteorder("="), copy=True)
    return native.reshape(shape, order=order)


_DECODERS: Mapping[str, Callable[..., Any]] = {
    "array": _to_array,
    "dict": _entries,
    "float": _to_real,
}


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


_NAMED = 3
_WIDTH = 60


def check_same(held: object, wanted: object, path: str | os.PathLike[str], owner: str) -> None:
    """Raise :class:`DataError` unless the header of a file is that of this run."""
    there, here = dict(_leaves(held)), dict(_leaves(wanted))
    names = [name for name in here | there if there.get(name) != here.get(name)]
    if not names:
        return
    first, *others = names
    old, new = _shown(there.get(first), here.get(first))
    raise DataError(
        f"{owner} cannot resume from {os.fspath(path)}: its entry {first!r} {old}, and this run's "
        f"{new}{_also(others)}; choose another place (--out), or delete the file to start again."
    )


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the text of every entry that is no dictionary, or an empty one."""
    if isinstance(value, Mapping) and (value or not name):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, to_text(value, name)


def _also(names: list[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(repr(name) for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f" (also different: {listed}{f' and {more} more' if more > 0 else ''})"


def _shown(old: str | None, new: str | None) -> tuple[str, str]:
    """Say what two entries are, long ones around the first letter that differs."""
    skipped = 0
    if old is not None and new is not None and max(len(old), len(new)) > _WIDTH:
        pairs = enumerate(zip(old, new, strict=False))
        same = next((at for at, (a, b) in pairs if a != b), min(len(old), len(new)))
        skipped = max(same - _WIDTH // 3, 0)
    return _excerpt(old, skipped), _excerpt(new, skipped)


def _excerpt(text: str | None, skipped: int) -> str:
    if text is None:
        return "is missing"
    before = "..." if skipped else ""
    after = "..." if len(text) > skipped + _WIDTH else ""
    return f"is {before}{text[skipped : skipped + _WIDTH]}{after}"


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
