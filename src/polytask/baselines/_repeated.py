"""Dense columns that mostly repeat one number, such as scaled 0/1 columns, without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Array = NDArray[Any]

# Above it products with a dense matrix are about as fast.
_DENSEST = 0.1
# Rows that tell the number of a column; odd, so that their median is one of its entries.
_LOOKED_AT = 501


@dataclass(frozen=True, eq=False)
class Repeated:
    """A dense matrix as a sparse one and a row that is added to all of its rows."""

    # Shapes: rest (n, d), offsets (d,).

    rest: sp.csr_array
    offsets: Array

    @cached_property
    def _turned(self) -> sp.csc_array:
        # Made once: a transpose takes as long as a product of a few thousand rows.
        return self.rest.T

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape of the dense matrix."""
        n, d = self.rest.shape
        return int(n), int(d)

    def __getitem__(self, rows: NDArray[Any]) -> Repeated:
        """Return some of the rows."""
        return Repeated(self.rest[rows], self.offsets)

    def times(self, w: Array) -> Array:
        """Return the product with coefficients, shape (n,)."""
        return np.asarray(self.rest @ w + self.offsets @ w)

    def adjoint(self, r: Array) -> Array:
        """Return the product of the transpose with one number per row, shape (d,)."""
        return np.asarray(self._turned @ r + self.offsets * r.sum())

    def squares(self, weight: Array) -> Array:
        """Return the weighted sums of squares of the columns, shape (d,)."""
        rest, offsets = self.rest, self.offsets
        crossed = 2.0 * offsets * (rest.T @ weight)
        return np.asarray(rest.multiply(rest).T @ weight + crossed + offsets**2 * weight.sum())


def without_repeats(X: Array) -> Repeated | None:
    """Split a matrix into the number that each column mostly repeats, and the rest."""
    # Shapes: X (n, d).
    some = X[:: max(len(X) // _LOOKED_AT, 1)][:_LOOKED_AT]
    offsets = np.median(some[: len(some) - (len(some) + 1) % 2], axis=0).astype(X.dtype)
    # Most matrices are told apart by a few rows.
    if np.mean(some != offsets) > 2 * _DENSEST:
        return None
    differs = offsets != X
    counts = np.count_nonzero(differs, axis=1)
    if counts.sum() > _DENSEST * X.size:
        return None
    row, column = np.nonzero(differs)
    starts = np.concatenate([[0], np.cumsum(counts)])
    parts = (X[row, column] - offsets[column], column, starts)
    return Repeated(sp.csr_array(parts, shape=X.shape), offsets)
