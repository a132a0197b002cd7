"""Features that block descent has worked with, and their inner products."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.datafits.base import Array
from polytask.penalties import RowKernel
from polytask.solvers._block_data import Index, MomentData, SharedData
from polytask.solvers._block_engines import (
    Beside,
    Engine,
    GramEngine,
    Rows,
    residual_engine,
    selected,
)

# Numbers in a Gram matrix (200 MB) ...
_LARGEST_GRAM = 2.5e7
# ... and in copied features, unless the data themselves hold more.
_LARGEST_COPY = 2.5e7
# A pool that is larger than a working set by this factor is cut down to it.
_SLACK = 2.0


class Pool:
    """Features and their inner products, kept between rounds and along a path."""

    # It belongs to one datafit. Features enter with the working sets that ask for them; where
    # they grow beyond memory, those that the present working set does not need are dropped.

    def __init__(self, data: SharedData) -> None:
        self.data = data
        self._forget()

    def _forget(self) -> None:
        self.index: Index = np.zeros(0, dtype=np.intp)
        self.where = np.full(len(self.data.own), -1, dtype=np.intp)
        self.columns: Any = None
        self.gram: Array | None = np.zeros((0, 0))

    def in_gram_domain(self, size: int) -> bool:
        """Say whether updates through the Gram matrix are the cheaper ones, and it fits."""
        if isinstance(self.data, MomentData):
            return True
        return size <= 2 * self.data.n_rows and size**2 <= _LARGEST_GRAM

    def _prepare(self, index: Index) -> None:
        """Hold the features of a working set."""
        missing = index[self.where[index] < 0]
        size = len(self.index) + len(missing)
        room = max(_LARGEST_COPY, self.data.entries) / min(self.data.n_rows, size)
        if size > room or (size > _SLACK * len(index) and len(missing)):
            self._forget()
            missing = index
        if len(missing):
            self._append(missing)

    def _append(self, missing: Index) -> None:
        new = self.data.columns(missing)
        old, count = self.columns, len(self.index)
        self.where[missing] = count + np.arange(len(missing))
        self.index = np.concatenate([self.index, missing])
        if not self.in_gram_domain(len(self.index)):
            self.gram = None
        elif self.gram is not None:
            grown = np.empty((len(self.index), len(self.index)))
            grown[count:, count:] = self.data.gram(new, new)
            if count:
                grown[:count, :count] = self.gram
                cross = self.data.gram(new, old)
                grown[count:, :count] = cross
                grown[:count, count:] = cross.T
            self.gram = grown
        self.columns = new if old is None else self.data.joined(old, new)

    def engine(
        self, index: Index, W: Array, slope: Array, beside: Beside, kernel: RowKernel
    ) -> Engine:
        """Return the engine of a working set. Shapes: W, slope (n_rows, n_columns)."""
        data = self.data
        own = data.curvature[index], data.mean[index]
        rows = Rows(*own, data.scale, data.pull, beside, kernel.of_rows(index))
        if isinstance(data, MomentData):
            return GramEngine(data.gram(index, index), rows, W, slope)
        self._prepare(index)
        positions = self.where[index]
        if self.gram is not None and self.in_gram_domain(len(index)):
            return GramEngine(self._gram_of(positions), rows, W, slope)
        return residual_engine(data, selected(data, self.columns, positions), rows, index, W)

    def _gram_of(self, positions: Index) -> Array:
        """Return the inner products of some features, the matrix itself if they are all."""
        if self.gram is None:
            raise ValueError("There is no Gram matrix.")
        whole = len(positions) == len(self.gram)
        if whole and np.array_equal(positions, np.arange(len(positions))):
            return self.gram
        return np.ascontiguousarray(self.gram[np.ix_(positions, positions)])
