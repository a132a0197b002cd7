"""Run ``polytask`` in a folder that several tests share."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from polytask.cli import main


def run_in(folder: Path, *words: str) -> tuple[int, str, str]:
    """Return the exit status, and what was printed and said."""
    out, err = io.StringIO(), io.StringIO()
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(folder), streams[0], streams[1]:
        status = main(list(words))
    return status, out.getvalue(), err.getvalue()
