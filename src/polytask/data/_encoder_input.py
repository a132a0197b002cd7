"""What TableEncoder is given: the table, its column names, the weights, the existing cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from polytask._checks import sentence
from polytask.data._cells import Mask
from polytask.exceptions import DataError, ParameterError

Frame = nw.DataFrame[Any]


def open_table(table: object) -> Frame:
    """Return the narwhals view of a data frame in memory."""
    try:
        return nw.from_native(table, eager_only=True)
    except nw.exceptions.DuplicateError:
        names = [str(name) for name in _raw_names(table)]
        raise _twice(names) from None
    except TypeError:
        lazy = " Collect it first." if hasattr(table, "collect") else ""
        raise DataError(
            "TableEncoder encodes data frames (pandas, polars or pyarrow, in memory); "
            f"got {type(table).__name__}.{lazy}"
        ) from None


def _raw_names(table: object) -> Sequence[object]:
    names = getattr(table, "column_names", None)
    return list(getattr(table, "columns", ())) if names is None else list(names)


def names_of(frame: Frame) -> tuple[str, ...]:
    """Return the column names as text; refuse names that occur twice."""
    names = tuple(map(str, frame.columns))
    if len(set(names)) < len(names):
        raise _twice(names)
    return names


def _twice(names: Sequence[str]) -> DataError:
    name, count = Counter(names).most_common(1)[0]
    return DataError(f"The table has {count} columns named {name!r}; names must be unique.")


def at_least_two(value: object) -> int:
    """Return `max_levels` as an int if it is an integer >= 2, or raise."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 2:
        return int(value)
    raise ParameterError(sentence("max_levels", "TableEncoder", "an integer >= 2", repr(value)))


def column_weights(
    sample_weight: npt.ArrayLike | None, present: npt.ArrayLike | None, n: int, d: int
) -> list[npt.NDArray[np.float64] | None]:
    """Return the weights of the rows for each column; None means that all weigh the same."""
    exists = presence(present, n, d)
    if sample_weight is None:
        return [None] * d if exists is None else [exists[:, j].astype(float) for j in range(d)]
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n,):
        raise DataError(f"sample_weight must have shape ({n},); got {weight.shape}.")
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        raise DataError(
            "sample_weight must hold finite numbers >= 0; "
            f"got {weight[bad[0]]} in row {bad[0]}, counting from 0."
        )
    if not weight.any():
        raise DataError("sample_weight must be positive in at least one row; all are 0.")
    return [weight] * d if exists is None else [weight * exists[:, j] for j in range(d)]


def presence(present: npt.ArrayLike | None, n: int, d: int) -> Mask | None:
    """Return the mask of the cells that exist, of shape (n, d), None if all do."""
    if present is None:
        return None
    mask = np.asarray(present, dtype=bool)
    if mask.shape != (n, d):
        raise DataError(f"present must have shape ({n}, {d}); got {mask.shape}.")
    return mask
