"""Rows that repeat others: copies on both sides of a split make results look better and surer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.number_columns import NumberColumns
from polytask.data import Form, TaskData, tables
from polytask.messages import LazyMessage

# Rows are said to be copies if so many repeat others; so many columns are compared; one of them
# has so many values.
_COPIES, _COMPARED, _FEW_VALUES = 0.1, 20, 20
# What rows repeat beyond chance, as a share of what they could.
_BEYOND_CHANCE = 0.5
Codes = NDArray[np.uint64]


def repeats_of(doubts: Sequence[LazyMessage]) -> int:
    """Return how many rows repeat others by what is said of the data; 0 if nothing is said."""
    said = (int(one.fields["repeats"]) for one in doubts if one.key == "doubt.repeats")
    return next(said, 0)


def repeated_rows(data: TaskData, columns: NumberColumns) -> list[LazyMessage]:
    """Say that many rows are copies of others, where chance does not make them so."""
    if not len(columns) or columns.stored() is not None:
        return []
    n = data.n_rows
    x = [_bits(columns.column(j)) for j in range(min(len(columns), _COMPARED))]
    y = [_codes(column) for column in np.asarray(data.y).reshape(n, -1).T[:_COMPARED]]
    if n - _distinct(x + y) < _COPIES * n:
        return []
    cells = x + [_codes(values) for values in _not_numbers(data)[:_COMPARED]]
    found = _copies(cells, y)
    if not found and data.form is not Form.TARGETS:
        found = _copies([*cells, data.row_tasks().astype(np.uint64)], y)
    varied = max(len(np.unique(values)) for values in x) >= min(_FEW_VALUES, n - found)
    if not (found and varied):
        return []
    return [LazyMessage("doubt.repeats", {"repeats": found, "rows": n})]


def _copies(x: list[Codes], y: list[Codes]) -> int:
    """Return how many rows repeat others, 0 where these are few or chance may explain them."""
    n = len(y[0])
    repeats, alike = n - _distinct(x + y), n - _distinct(x)
    if repeats < _COPIES * n:
        return 0
    # Few columns of few values repeat by chance, and so do targets of few values.
    rng = np.random.default_rng(0)
    by_chance = n - _distinct([rng.permutation(cells) for cells in x + y])
    order = rng.permutation(n)
    level = n - _distinct(x + [cells[order] for cells in y])
    beyond = by_chance < _BEYOND_CHANCE * repeats
    beyond &= repeats - level > _BEYOND_CHANCE * (alike - level)
    return repeats if beyond else 0


def _bits(cells: NDArray[Any]) -> Codes:
    """Return numbers as codes, which are equal where these are, or both missing."""
    numbers = cells.astype(np.float64) + 0.0  # -0.0 is 0.0
    return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)


def _codes(values: NDArray[Any]) -> Codes:
    """Return any values as codes."""
    if values.dtype.kind in "fiub":
        return _bits(values)
    return np.unique(values.astype(str), return_inverse=True)[1].astype(np.uint64)


def _not_numbers(data: TaskData) -> list[NDArray[Any]]:
    """Return the columns of a table that are no numbers."""
    if not tables.is_table(data.X):
        return []
    frame = tables.open_frame(data.X)
    kinds = enumerate(frame.schema.values())
    return [np.asarray(tables.column_values(frame[:, j])) for j, k in kinds if not k.is_numeric()]


def _distinct(cells: Sequence[Codes]) -> int:
    """Return how many rows are different."""
    # Rows with the same hash have the same cells; a sum would lose small cells beside large ones.
    hashes = np.zeros(len(cells[0]), dtype=np.uint64)
    for bits in cells:
        hashes = (hashes ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return len(np.unique(hashes))
