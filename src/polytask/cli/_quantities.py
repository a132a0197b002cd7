"""Amounts of time and of processes, as they are written in options."""

from __future__ import annotations

import re

from polytask.exceptions import ParameterError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"(\d+(?:[.]\d+)?)"
_PARTS = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m(?:in)?)?(?:{_NUMBER}s)?", re.ASCII)


def seconds(text: str) -> float:
    """Return how many seconds a time budget is."""
    words = "".join(text.lower().split())
    bare = re.fullmatch(_NUMBER, words, re.ASCII)
    parts = _PARTS.fullmatch(words)
    found = 0.0
    if bare:
        found = float(words)
    elif parts:
        pairs = zip(parts.groups(), _UNITS.values(), strict=True)
        found = sum(float(part) * unit for part, unit in pairs if part is not None)
    if not 0 < found < float("inf"):
        raise ParameterError(
            "--time-budget must be a time above 0, in seconds or with units, such as 600, 90s, "
            f"10m or 1h30m; got {text!r}."
        )
    return found


def processes(jobs: int | None) -> int:
    """Return how many processes to use: as many as asked for, or as this one may use."""
    if jobs is not None:
        return jobs
    from joblib import cpu_count

    return int(cpu_count())


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as "1 row" or "2,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
