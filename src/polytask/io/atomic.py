"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from polytask.exceptions import DataError


def write_whole(path: str | os.PathLike[str], content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write bytes, or what a function writes, under another name, then put it in place."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise DataError(f"Cannot write {os.fspath(path)}: it is a folder.")
    if not target.parent.is_dir():
        raise DataError(f"Cannot write {os.fspath(path)}: there is no folder {target.parent}.")
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
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
