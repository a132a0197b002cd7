"""How a norm of rows shares each row with the L1 norm beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np

from polytask._linalg import (
    Array,
    clip,
    counting,
    index_like,
    namespace,
    per_entry,
    row_norms,
    soft_threshold,
)
from polytask.penalties.base import RowKernel


class SharedNorm(ABC):
    """What the norm of the shared part does to rows, beside the L1 norm of the own part."""

    @abstractmethod
    def dual(self, rows: Array) -> Array:
        """Return the dual norm of each row, of shape (n_rows,)."""

    @abstractmethod
    def shortened(self, rows: Array, size: Array, entry: Array) -> Array:
        """Return the nearest rows where cutting off at `entry` leaves more than `size`."""
        # Shapes: rows (n_rows, n_columns), size, entry (n_rows, 1).

    @abstractmethod
    def level(self, rows: Array, ratio: float) -> Array:
        """Return the size up to which entries are shared, of shape (n_rows,)."""
        # Shapes: rows (n_rows, n_columns).

    @abstractmethod
    def kernel(self, size: float, entry: float) -> RowKernel:
        """Return the compiled prox of a row, for both strengths."""

    @final
    def nearest(self, rows: Array, size: float | Array, entry: float | Array) -> Array:
        """Return the nearest rows of dual norm at most `size` with entries at most `entry`."""
        # Shapes: rows (n_rows, n_columns), size, entry (n_rows,).
        if 0 in rows.shape:
            return rows
        bounds = per_entry(size), per_entry(entry)
        cut = clip(rows, -bounds[1], bounds[1])
        long = self.dual(cut) > size
        if not isinstance(rows, np.ndarray):
            found = self.shortened(rows, *bounds)
            return namespace(rows).where(long[:, None], found, cut)
        # Most rows of a sparse W are short, and the others cost a sort.
        cut[long] = self.shortened(
            rows[long], *(b if isinstance(b, float) else b[long] for b in bounds)
        )
        return cut

    @final
    def shared(self, rows: Array, size: float, entry: float) -> Array:
        """Return the shared part of rows, for both strengths."""
        if size == 0 or 0 in rows.shape:
            return 1.0 * rows
        if entry == 0:
            return 0.0 * rows
        level = self.level(rows, size / entry)[:, None]
        return clip(rows, -level, level)


@final
class SharedLengths(SharedNorm):
    """The Euclidean norm of rows."""

    def dual(self, rows: Array) -> Array:
        """Return the Euclidean norm of each row."""
        return row_norms(rows)

    def shortened(self, rows: Array, size: Array, entry: Array) -> Array:
        """Return the rows multiplied until, cut off at `entry`, they are short enough."""
        xp = namespace(rows)
        free, taken = _above(rows, size**2, entry**2)
        left = clip(size**2 - taken[:, None] * entry**2, 0.0, None)
        gain = xp.sqrt(left / xp.where(free > 0, free, xp.ones_like(free))[:, None])
        return clip(gain * rows, -entry, entry)

    def level(self, rows: Array, ratio: float) -> Array:
        """Return the level at which ratio * level is the norm of the row cut off there."""
        xp = namespace(rows)
        free, taken = _above(rows, ratio**2, 1.0)
        gap = ratio**2 - taken
        return xp.sqrt(free / xp.where(gap > 0, gap, xp.ones_like(gap)))

    def kernel(self, size: float, entry: float) -> RowKernel:
        """Return the compiled prox of a row, for both strengths."""
        from polytask.penalties.parts_kernel import shared_length_row

        return RowKernel(shared_length_row, np.array([size, entry]))


def _above(rows: Array, size: Array, entry: Array) -> tuple[Array, Array]:
    """Tell which entries are cut off when a row, cut off at `entry`, gets the length `size`."""
    # Shapes: rows (n_rows, n_columns), size, entry (n_rows, 1), free (n_rows,), taken (n_rows,).
    # Cutting off at the i-th entry, the larger ones with it, leaves the square of the length at
    # (number cut off) + (squares of the smaller ones) / (its square), in units of `entry`. This
    # rises as the level falls.
    xp = namespace(rows)
    squares = xp.sort(xp.abs(rows), axis=1)
    squares = squares * squares
    below = xp.cumulative_sum(squares, axis=1) - squares
    count = float(rows.shape[1]) - counting(rows.shape[1], rows)
    over = entry * (count * squares + below) < size * squares
    free = xp.sum(xp.where(over, xp.zeros_like(squares), squares), axis=1)
    return free, xp.sum(xp.astype(over, squares.dtype), axis=1)


@final
class SharedMaxima(SharedNorm):
    """The largest absolute value of rows."""

    def dual(self, rows: Array) -> Array:
        """Return the sum of absolute values of each row."""
        xp = namespace(rows)
        return xp.sum(xp.abs(rows), axis=1)

    def shortened(self, rows: Array, size: Array, entry: Array) -> Array:
        """Return the rows thresholded until, cut off at `entry`, they add up to `size`."""
        threshold = _threshold(namespace(rows).abs(rows), entry, size)
        return clip(soft_threshold(rows, threshold[:, None]), -entry, entry)

    def level(self, rows: Array, ratio: float) -> Array:
        """Return the level that as many entries exceed as `ratio` allows."""
        xp = namespace(rows)
        sizes = xp.sort(xp.abs(rows), axis=1, descending=True)
        allowed = int(min(ratio, float(rows.shape[1])))
        return sizes[:, allowed] if allowed < rows.shape[1] else 0.0 * sizes[:, 0]

    def kernel(self, size: float, entry: float) -> RowKernel:
        """Return the compiled prox of a row, for both strengths."""
        from polytask.penalties.parts_kernel import shared_maximum_row

        return RowKernel(shared_maximum_row, np.array([size, entry]))


def _threshold(sizes: Array, bound: Any, wanted: Any) -> Array:  # noqa: ANN401 - float or column
    """Return the threshold t >= 0 at which sum of clip(size - t, 0, bound) is what is wanted."""
    # The sum is linear in t between the sizes and the sizes less the bound; in descending order
    # of these it rises.
    xp = namespace(sizes)
    ends = xp.concat([sizes, sizes - bound], axis=1)
    signs = xp.concat([xp.ones_like(sizes), -xp.ones_like(sizes)], axis=1)
    order = xp.argsort(ends, axis=1, descending=True)
    ends, signs = _ordered(ends, order), _ordered(signs, order)
    slopes = xp.cumulative_sum(signs, axis=1)
    beyond = xp.cumulative_sum(signs * ends, axis=1) - slopes * ends > wanted
    # Where the sum is level, rounding must not let it fall again.
    before = xp.cumulative_sum(xp.astype(beyond, signs.dtype), axis=1) == 0
    kept = xp.where(before, signs, xp.zeros_like(signs))
    count, total = xp.sum(kept, axis=1), xp.sum(kept * ends, axis=1)
    left = total - (wanted if isinstance(wanted, float) else wanted[:, 0])
    last = xp.min(xp.where(before, ends, ends[:, :1]), axis=1)
    root = xp.where(count > 0, left / xp.where(count > 0, count, xp.ones_like(count)), last)
    return clip(root, 0.0, None)


def _ordered(values: Array, order: Array) -> Array:
    """Return the entries of every row in an order of its own."""
    xp = namespace(values)
    n, width = values.shape
    start = index_like(np.arange(n) * width, values)
    flat = xp.reshape(xp.astype(order, start.dtype) + start[:, None], (-1,))
    return xp.reshape(xp.take(xp.reshape(values, (-1,)), flat, axis=0), (n, width))
