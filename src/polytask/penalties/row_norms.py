"""Norms of rows that join L1, L21 and norms of groups of features exactly.

All of them are positively homogeneous, and the prox of such a function plus a Euclidean norm
of the same entries is the prox of the norm after that of the function [1]_.

References
----------
.. [1] Yu, Y. (2013). On decomposing the proximal map. NeurIPS 26, Theorem 4.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, final

from polytask._linalg import (
    Array,
    namespace,
    rounding,
    row_norms,
    shrink_rows,
    soft_threshold,
    total,
)
from polytask.penalties.base import (
    CompiledRows,
    Conjugate,
    Mergeable,
    NullStrength,
    Penalty,
    RowKernel,
    Valued,
)
from polytask.penalties.rowwise import per_entry, per_row, sparse_and_group
from polytask.penalties.sums import Sum, merge
from polytask.penalties.terms import NormTerm

# Newton's method needs a few steps, or as many as the norm has kinks.
_MOST_STEPS = 1000

Gather = Callable[[Array], Array]


def each(values: Array) -> Array:
    """Return the values: every row is a piece of its own."""
    return values


def largest_dual_norm(
    Z: Array,
    prox: Callable[[Array, float], Array],
    sizes: Callable[[Array], Array],
    gather: Gather = each,
) -> float:
    """Return the largest dual norm of the pieces of Z, for a norm known by its prox."""
    # Shapes: Z (n_rows, n_columns).
    # The dual norm of a piece z is the smallest c at which the prox of c times the norm takes z
    # to zero. The distance of z to the dual ball of radius c is convex in c and has the slope
    # -norm(u) for the direction u of the prox, so Newton's method rises to c from below.
    if 0 in Z.shape:
        return 0.0
    xp = namespace(Z)
    noise = rounding(Z) ** 2 * gather(xp.sum(Z * Z, axis=1))
    image, found = Z, 0.0
    for _ in range(_MOST_STEPS):
        left = gather(xp.sum(image * image, axis=1)) > noise
        gained, size = gather(xp.sum(image * Z, axis=1)), sizes(image)
        if bool(xp.any(left & (size <= 0))):
            return float("inf")
        ratios = xp.where(left, gained, xp.zeros_like(gained))
        higher = float(xp.max(ratios / xp.where(left, size, xp.ones_like(size))))
        if not higher > found:
            break
        found = higher
        image = prox(Z, found)
    return found


class RowNorm(NormTerm, CompiledRows):
    """A strength times a sum over rows of one norm of the row."""

    @abstractmethod
    def row_values(self, W: Array) -> Array:
        """Return the norm of each row, of shape (n_rows,), without the strength."""

    @abstractmethod
    def nested_prox(
        self, rows: Array, amount: float | Array, entries: float | Array, length: float | Array
    ) -> Array:
        """Return the prox of the norm plus two more.

        Parameters
        ----------
        rows : array of shape (n_rows, n_columns)
            The rows.
        amount, entries, length : float or array of shape (n_rows,)
            What the norm, the sum of absolute values and the Euclidean norm are multiplied
            with.

        Returns
        -------
        array of shape (n_rows, n_columns)
        """

    @abstractmethod
    def nested_kernel(self, entries: float, length: float) -> RowKernel:
        """Return the compiled prox of one row, with L1 and L21 of the given strengths."""

    @final
    def norm(self, W: Array) -> float:
        """Return the sum of the norms of the rows."""
        return total(self.row_values(W))

    @final
    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of some rows."""
        return self.nested_prox(rows, per_row(step, rows) * self.weight, 0.0, 0.0)

    @final
    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        return self.nested_kernel(0.0, 0.0)

    @final
    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with L1, L21 or SparseGroup, or with the same norm."""
        if isinstance(other, Penalty) and sparse_and_group(other) is not None:
            return RowNest((self, other))
        return merged_alike(self, other)


def merged_alike(first: NormTerm, second: Valued) -> Mergeable | None:
    """Return the sum of two penalties that differ by their strength only, None for others."""
    if not isinstance(second, NormTerm) or type(first) is not type(second):
        return None
    if first.with_strength(1.0) != second.with_strength(1.0):
        return None
    whole: Any = first.with_strength(first.weight + second.weight)
    return whole if isinstance(whole, Mergeable) else None


def softened(rows: Array, amount: float | Array) -> Array:
    """Return the rows, every entry moved towards zero by an amount, or by one for each row."""
    if isinstance(amount, float) and amount == 0:
        return rows
    return soft_threshold(rows, per_entry(amount))


def shortened(rows: Array, amount: float | Array) -> Array:
    """Return the rows, each shortened by an amount, or by its own."""
    if isinstance(amount, float) and amount == 0:
        return rows
    return shrink_rows(rows, amount)


def values_by_row(penalty: Valued, W: Array) -> Array:
    """Return what each row adds to the value of a penalty of rows, of shape (n_rows,)."""
    if isinstance(penalty, RowNorm):
        return penalty.weight * penalty.row_values(W)
    if isinstance(penalty, RowNest):
        return values_by_row(penalty.norm, W) + values_by_row(penalty.sparse, W)
    entries, length = sparse_and_group(penalty) or (0.0, 0.0)
    xp = namespace(W)
    return entries * xp.sum(xp.abs(W), axis=1) + length * row_norms(W)


class ComposedNorm(Sum, NullStrength, Conjugate, Mergeable):
    """A sum of norms whose prox is a composition; made by ``merged``."""

    _smooth = False

    @abstractmethod
    def size(self, Z: Array) -> float:
        """Return the dual norm, relative to the present strengths."""

    @final
    def conjugate(self, Z: Array) -> float:
        """Return 0 if the dual norm of Z is at most 1 (up to rounding), else inf."""
        return 0.0 if self.size(Z) <= 1 + rounding(Z) else float("inf")

    @final
    def feasible_scale(self, Z: Array) -> float:
        """Return the inverse of the dual norm of Z."""
        size = self.size(Z)
        return 1.0 / size if size > 0 else float("inf")

    @final
    def null_strength(self, gradient: Array) -> float:
        """Return the strength of the reference at which every coefficient vanishes."""
        strength = self.strength
        return self.size(gradient) * (0.0 if strength is None else strength)

    @final
    def parts(self) -> tuple[Penalty, ...]:
        """Return the members."""
        return self.members


@final
class RowNest(ComposedNorm, CompiledRows):
    """A norm of rows plus L1, L21 or both."""

    @property
    def norm(self) -> RowNorm:
        """The norm."""
        norm = self.members[0]
        if not isinstance(norm, RowNorm):
            raise TypeError("the first member is a norm of rows")
        return norm

    @property
    def sparse(self) -> Penalty:
        """What is added to it."""
        return self.members[1]

    def _strengths(self) -> tuple[float, float]:
        """Return the strengths of the sum of absolute values and of the row norms."""
        return sparse_and_group(self.sparse) or (0.0, 0.0)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of some rows."""
        entries, length = self._strengths()
        steps = per_row(step, rows)
        return self.norm.nested_prox(
            rows, steps * self.norm.weight, steps * entries, steps * length
        )

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        return self.norm.nested_kernel(*self._strengths())

    def size(self, Z: Array) -> float:
        """Return the largest dual norm of a row."""
        return largest_dual_norm(Z, self.prox, lambda W: values_by_row(self, W))

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with L1, L21 or SparseGroup, or with the same norm."""
        if isinstance(other, RowNest):
            with_norm = self.merged(other.norm)
            return None if with_norm is None else merge((with_norm, other.sparse))
        if isinstance(other, RowNorm):
            norm = merge((self.norm, other))
            return RowNest((norm, self.sparse)) if isinstance(norm, RowNorm) else None
        sparse = merge((self.sparse, other))
        known = isinstance(sparse, Penalty) and sparse_and_group(sparse) is not None
        return RowNest((self.norm, sparse)) if known else None
