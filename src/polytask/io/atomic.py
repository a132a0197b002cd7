"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from polytask.exceptions import DataError
from polytask.messages import LazyMessage


def write_whole(path: str | os.PathLike[str], content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write bytes, or what a function writes, under another name, then put it in place."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise DataError(LazyMessage("io.refusal.write.folder", {"path": os.fspath(path)}))
    if not target.parent.is_dir():
        fields = {"path": os.fspath(path), "folder": str(target.parent)}
        raise DataError(LazyMessage("io.refusal.write.no_folder", fields))
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    # A device or a pipe is written to: replacing it would take it from all programs.
    replaced = target.is_file() or not target.exists()
    try:
        with part.open("xb") if replaced else target.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            if replaced:
                os.fsync(file.fileno())
        if replaced:
            os.replace(part, target)
    except BaseException as error:
        # An interrupt leaves nothing behind either.
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            fields = {"path": os.fspath(path), "reason": str(error.strerror or error)}
            raise DataError(LazyMessage("io.refusal.write.system", fields)) from error
        raise
