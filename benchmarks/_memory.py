"""The most memory that a computation takes, in a process of its own (Linux)."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any


def memory(reset: bool = False) -> float:
    """Return the most memory of this process since it was last asked to begin anew, in MB."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def apart(compute: Callable[[], Any]) -> Any:
    """Return what is computed in a process of its own, whose memory no other run has touched."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(compute()))
    child.start()
    theirs.close()
    found = ours.recv()
    child.join()
    return found
