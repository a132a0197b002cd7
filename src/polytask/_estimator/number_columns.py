"""The columns of numbers of raw data, read block by block whatever holds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask.data import TaskData, tables

Array = NDArray[np.float64]

# Cells that are turned into floats at a time.
_BLOCK = 2**22


class NumberColumns:
    """Columns of numbers, by position, with infinite cells as missing ones."""

    # `labels` are their names in messages, `position` their places in X.

    def __init__(self, data: TaskData) -> None:
        X = data.X
        self.n_rows = data.n_rows
        self._cells: list[NDArray[Any]] | None = None
        self._X: Any = None
        if tables.is_table(X):
            frame = tables.open_frame(X)
            numeric = [j for j, kind in enumerate(frame.schema.values()) if kind.is_numeric()]
            self._cells = [tables.column_values(frame[:, j]) for j in numeric]
            self.labels = [repr(frame.columns[j]) for j in numeric]
        else:
            self._X = sp.csc_array(X) if is_sparse(X) else X
            names = data.feature_names
            self.labels = [str(j) if names is None else repr(names[j]) for j in range(X.shape[1])]

    def __len__(self) -> int:
        return len(self.labels)

    def stored(self) -> NDArray[np.intp] | None:
        """Return how many cells of every column are stored, None unless X is sparse."""
        return np.diff(self._X.indptr) if is_sparse(self._X) else None

    def largest_share(self) -> Array:
        """Return the largest square of each sparse column over the sum of its squares."""
        stored, largest = self.stored(), np.zeros(len(self))
        assert stored is not None
        full, sizes = stored > 0, np.abs(self._X.data)
        starts = self._X.indptr[:-1][full]
        if len(starts):
            largest[full] = np.maximum.reduceat(sizes, starts)
            scaled = sizes / np.repeat(np.where(largest > 0, largest, 1.0), stored)
            sums = np.add.reduceat(scaled**2, starts)
            largest[full] = (largest[full] > 0) / np.maximum(sums, 1.0)
        return largest

    def block(self, chosen: NDArray[np.intp], rows: NDArray[np.intp] | None = None) -> Array:
        """Return some columns as the rows of an array, at all rows or at some."""
        kept: Any = slice(None) if rows is None else rows
        if self._cells is not None:
            parts = [self._cells[j][kept] for j in chosen]
            n = self.n_rows if rows is None else len(rows)
            block = np.empty((len(parts), n))
            for place, part in enumerate(parts):
                block[place] = part
        elif is_sparse(self._X):
            block = np.ascontiguousarray(self._X[:, chosen][kept].toarray().T, dtype=np.float64)
        else:
            whole = len(chosen) > 0 and int(chosen[-1] - chosen[0]) == len(chosen) - 1
            run = slice(int(chosen[0]), int(chosen[-1]) + 1) if whole else chosen
            block = np.array(self._X[:, run][kept].T, dtype=np.float64, order="C")
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(block.sum()):
                block[~np.isfinite(block)] = np.nan
        return block

    def column(self, j: int) -> Array:
        """Return one column."""
        found: Array = self.block(np.array([j]))[0]
        return found

    def blocks(
        self, among: NDArray[np.intp], rows: NDArray[np.intp] | None = None
    ) -> Iterator[tuple[NDArray[np.intp], Array]]:
        """Go through some columns in blocks that fit into memory."""
        n = self.n_rows if rows is None else len(rows)
        width = max(1, _BLOCK // max(n, 1))
        for start in range(0, len(among), width):
            chosen = among[start : start + width]
            yield chosen, self.block(chosen, rows)
