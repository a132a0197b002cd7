"""Missing values of any kind, and how rows are named in messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import DataError
from polytask.messages import LazyMessage

SHOWN = 5


class CellError(DataError):
    """A cell that cannot be used; whoever ordered the rows can say which one was given."""

    def told(self, place: Callable[[int], LazyMessage]) -> LazyMessage:
        """Return the message, each row named by a function."""
        message: LazyMessage = self.args[0]
        fields = {
            name: place(int(value.fields["row"]))
            for name, value in message.fields.items()
            if isinstance(value, LazyMessage) and value.key == "place.row"
        }
        return LazyMessage(message.key, message.fields | fields)


def is_missing(value: Hashable) -> bool:
    """Say whether `value` is None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ == "NAType":
        return True
    return bool(value != value)


def distinct_values(values: Iterable[Hashable]) -> dict[Hashable, None]:
    """Return the distinct `values` in the order of their first appearance."""
    try:
        return dict.fromkeys(values)
    except TypeError as error:
        raise DataError(LazyMessage("data.refusal.labels", {"error": str(error)})) from None


def missing_among(values: Iterable[Hashable]) -> dict[Hashable, None]:
    """Return the distinct missing values among `values` (each NaN object counts)."""
    return dict.fromkeys(value for value in distinct_values(values) if is_missing(value))


def member_mask(values: Collection[Hashable], members: dict[Hashable, None]) -> NDArray[np.bool_]:
    """Mark the `values` that are among `members`."""
    return np.fromiter(map(members.__contains__, values), np.bool_, len(values))


def missing_mask(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mark the missing entries of an array of any dtype and shape."""
    if values.dtype.kind in "fcmM":
        unequal: NDArray[np.bool_] = np.not_equal(values, values)
        return unequal
    if values.dtype.kind != "O":
        return np.zeros(values.shape, dtype=np.bool_)
    entries = values.ravel().tolist()
    return member_mask(entries, missing_among(entries)).reshape(values.shape)


def surely_finite(values: NDArray[np.generic]) -> bool:
    """Say whether no entry is missing or infinite; False where one pass cannot tell."""
    if values.dtype.kind != "f":
        return False
    # A finite sum proves it, without an array of answers.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))


def row_of_table(row: int) -> LazyMessage:
    """Name a row of a table, counted from 0."""
    return LazyMessage("place.row", {"row": str(row)})


def rows_text(mask: NDArray[np.bool_]) -> LazyMessage:
    """Name the marked rows: how many, and the numbers of the first five."""
    fields = {"n": int(np.count_nonzero(mask)), "rows": row_numbers(mask)}
    return LazyMessage("rows.some", fields)


def row_numbers(mask: NDArray[np.bool_]) -> str:
    """Return the numbers of the first five marked rows."""
    rows = np.flatnonzero(mask)
    return ", ".join(map(str, rows[:SHOWN])) + (", ..." if len(rows) > SHOWN else "")
