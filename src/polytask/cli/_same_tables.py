"""Whether two tables of a comparison hold the same numbers."""

from __future__ import annotations

import csv

from polytask.exceptions import DataError

# What depends on the machine and on how busy it is.
COSTS = frozenset({"fit_seconds", "predict_seconds", "file_bytes"})

Rows = list[list[str]]


def first_difference(old: str, new: str) -> str:
    """Say where two CSV files differ first, costs left out."""
    before, now = _read(old), _read(new)
    if before[0] != now[0]:
        return f"the columns of {old} are {', '.join(before[0])}, now {', '.join(now[0])}"
    if len(before) != len(now):
        return f"the rows of {old} are {len(before) - 1}, now {len(now) - 1}"
    for first, second in zip(before[1:], now[1:], strict=True):
        for column, a, b in zip(before[0], first, second, strict=True):
            if a != b and column not in COSTS:
                return f"{column} of {first[0]!r} was {a} and is {b}"
    return ""


def _read(path: str) -> Rows:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(f"{path} is not a table that polytask compare has written.")
    return rows
