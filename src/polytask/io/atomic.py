"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from polytask.exceptions import DataError


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], None]) -> None:
    """Write a file under another name in the same folder, then put it in place."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise DataError(f"Cannot write {os.fspath(path)}: it is a folder.")
    if not target.parent.is_dir():
        raise DataError(f"Cannot write {os.fspath(path)}: there is no folder {target.parent}.")
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        _fill(part, write)
        os.replace(part, target)
    except BaseException as error:
        # An interrupt leaves nothing behind either.
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise DataError(
                f"Cannot write {os.fspath(path)}: {error.strerror or error}. Nothing was changed."
            ) from error
        raise


def _fill(part: Path, write: Callable[[BinaryIO], None]) -> None:
    with part.open("xb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
