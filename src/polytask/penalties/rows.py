"""Penalties that are sums over the rows of W: a feature is a row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from polytask._checks import unit_interval
from polytask._linalg import (
    Array,
    clip,
    counting,
    inner,
    largest,
    like,
    namespace,
    rounding,
    row_norms,
    shrink_rows,
    soft_threshold,
    total,
)
from polytask._registry import saveable
from polytask.penalties.base import (
    CompiledRows,
    Conjugate,
    Mergeable,
    NullStrength,
    Penalty,
    Quadratic,
    RowKernel,
    RowSeparable,
    Valued,
)
from polytask.penalties.sums import Sum, merge
from polytask.penalties.terms import (
    ALPHA,
    FRACTION,
    AbsoluteTerm,
    Norm,
    NormTerm,
    RelativeTerm,
    Unbound,
    checked_by,
)


class ByRow(Valued):
    """A penalty of rows that knows what each of them adds."""

    @abstractmethod
    def value_by_row(self, W: Array) -> Array:
        """Return what each row adds to the value, of shape (n_rows,)."""


def entry_terms(penalty: object) -> tuple[float, float] | None:
    """Return the strengths of sum |W| and of the ridge, None for penalties not of entries."""
    match penalty:
        case L1():
            return penalty.weight, 0.0
        case L2():
            return 0.0, penalty.weight
        case ElasticNet():
            return penalty.weight * penalty.l1_ratio, penalty.weight * (1 - penalty.l1_ratio)
    return None


def row_values(penalty: Any, W: Array) -> Array:  # noqa: ANN401 - any penalty of rows
    """Return what each row of W adds to the value of a penalty, of shape (n_rows,)."""
    if isinstance(penalty, ByRow):
        return penalty.value_by_row(W)
    terms = entry_terms(penalty)
    if terms is not None:
        xp = namespace(W)
        sparse, ridge = terms
        return sparse * xp.sum(xp.abs(W), axis=1) + 0.5 * ridge * row_norms(W) ** 2
    if isinstance(penalty, RowNorm | RowNest) or sparse_and_group(penalty) is not None:
        return values_by_row(penalty, W)
    return like(np.array([penalty.value(W[j : j + 1, :]) for j in range(W.shape[0])]), W)


def row_conjugates(penalty: Any, Z: Array, weight: Array) -> float:  # noqa: ANN401
    """Return the sum over rows of weight times the conjugate at a row of Z."""
    # Shapes: Z (n_rows, n_columns), weight (n_rows,).
    xp = namespace(Z)
    usual = xp.where(xp.isinf(weight), xp.zeros_like(weight), weight)
    terms = entry_terms(penalty)
    if terms is None or terms[1] == 0:
        used = [j for j in range(Z.shape[0]) if float(usual[j]) > 0]
        return float(sum(float(usual[j]) * penalty.conjugate(Z[j : j + 1, :]) for j in used))
    excess = soft_threshold(Z, terms[0])
    return float(xp.sum(usual * xp.sum(excess * excess, axis=1)) / (2 * terms[1]))


def per_row(step: float | Array, rows: Array) -> Array:
    """Return a step as a float, or as one value for each row, in the dtype of `rows`."""
    # A NumPy scalar would turn float32 rows into float64.
    return float(step) if getattr(step, "ndim", 0) == 0 else like(step, rows)


def per_entry(amount: Array) -> Array:
    """Return a float as it is, one value per row as a column."""
    return amount if isinstance(amount, float) else amount[:, None]


def _absolute_sum(W: Array) -> float:
    """Return the sum of absolute values."""
    return total(namespace(W).abs(W))


def _kernel(entries: float, length: float, square: float) -> RowKernel:
    """Return the kernel of entries * sum |w| + length * ||w|| + square / 2 * ||w||^2."""
    from polytask.penalties.row_kernels import shrink_row

    return RowKernel(shrink_row, np.array([entries, length, square]))


@final
@saveable("penalty.l1")
@dataclass(frozen=True, eq=False, repr=False)
class L1(Norm, CompiledRows):
    """alpha * sum |W|: any coefficient may vanish.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.
    """

    label = "L1"

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def norm(self, W: Array) -> float:
        """Return the sum of absolute values."""
        return _absolute_sum(W)

    def dual_norm(self, Z: Array) -> float:
        """Return the largest absolute value."""
        return largest(Z)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows with every entry moved towards zero by step * alpha."""
        return soft_threshold(rows, per_entry(per_row(step, rows) * self.weight))

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        return _kernel(self.weight, 0.0, 0.0)

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another L1, L21 or SparseGroup."""
        return _merged(self, other)


@final
@saveable("penalty.l2")
@dataclass(frozen=True, eq=False, repr=False)
class L2(AbsoluteTerm, Unbound, Quadratic, Conjugate, RowSeparable):
    """alpha / 2 * ||W||_F^2: every coefficient is shrunk.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0; None means 1.0.
    """

    label = "L2"

    alpha: float | None = field(default=None, metadata=ALPHA)

    def value(self, W: Array) -> float:
        """Return alpha / 2 times the sum of squares."""
        return 0.5 * self.weight * inner(W, W)

    def gradient(self, W: Array) -> Array:
        """Return alpha W."""
        return self.weight * W

    def curvature(self) -> float:
        """Return alpha."""
        return self.weight

    def apply(self, W: Array) -> Array:
        """Return alpha W."""
        return self.weight * W

    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return alpha for every column, of shape (n_columns,)."""
        return np.full(n_columns, self.weight)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows divided by 1 + step * alpha."""
        return rows / per_entry(1.0 + per_row(step, rows) * self.weight)

    def conjugate(self, Z: Array) -> float:
        """Return ||Z||_F^2 / (2 alpha); for alpha = 0, inf unless Z = 0."""
        return _quadratic_conjugate(inner(Z, Z), self.weight)

    def feasible_scale(self, Z: Array) -> float:
        """Return inf; for alpha = 0 and Z other than 0, 0."""
        return float("inf") if self.weight > 0 or largest(Z) == 0 else 0.0


def _quadratic_conjugate(square: float, weight: float) -> float:
    """Return square / (2 weight), with the limits at weight = 0."""
    if weight == 0:
        return 0.0 if square == 0 else float("inf")
    return 0.5 * square / weight


@final
@saveable("penalty.elastic_net")
@dataclass(frozen=True, eq=False, repr=False)
class ElasticNet(RelativeTerm, Unbound, Conjugate, Mergeable, CompiledRows):
    """alpha * l1_ratio * sum |W| + alpha * (1 - l1_ratio) / 2 * ||W||_F^2.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    l1_ratio : float, default=0.5
        The share of the first term, in [0, 1].
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes; it needs l1_ratio > 0. Without alpha and fraction it is 0.1.
    """

    label = "ElasticNet"

    alpha: float | None = field(default=None, metadata=ALPHA)
    l1_ratio: float = field(default=0.5, metadata=checked_by(unit_interval))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    @property
    def _weights(self) -> tuple[float, float]:
        """The strengths of the two terms."""
        return self.weight * self.l1_ratio, self.weight * (1 - self.l1_ratio)

    def value(self, W: Array) -> float:
        """Return the sum of the two terms at W."""
        sparse, ridge = self._weights
        return sparse * _absolute_sum(W) + 0.5 * ridge * inner(W, W)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows, thresholded, then divided by 1 + step * alpha (1 - l1_ratio)."""
        (sparse, ridge), step = self._weights, per_row(step, rows)
        return soft_threshold(rows, per_entry(step * sparse)) / per_entry(1.0 + step * ridge)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        sparse, ridge = self._weights
        return _kernel(sparse, 0.0, ridge)

    def conjugate(self, Z: Array) -> float:
        """Return the squared excess of Z over the threshold, over twice the ridge."""
        sparse, ridge = self._weights
        slack = rounding(Z) if ridge == 0 else 0.0
        excess = soft_threshold(Z, sparse * (1 + slack))
        return _quadratic_conjugate(inner(excess, excess), ridge)

    def feasible_scale(self, Z: Array) -> float:
        """Return inf if there is a ridge, else the strength over the largest |Z|."""
        (sparse, ridge), size = self._weights, largest(Z)
        return float("inf") if ridge > 0 or size == 0 else sparse / size

    def null_strength(self, gradient: Array) -> float:
        """Return the largest absolute gradient over l1_ratio; inf if l1_ratio = 0."""
        size = largest(gradient)
        return size / self.l1_ratio if self.l1_ratio > 0 else (float("inf") if size else 0.0)

    def parts(self) -> tuple[Penalty, ...]:
        """Return the L1 and the L2 term."""
        sparse, ridge = self._weights
        return (L1(sparse), L2(ridge))

    def merged(self, other: Valued) -> Mergeable | None:
        """Return None: its parts are what merges."""
        return None


@final
@saveable("penalty.l21")
@dataclass(frozen=True, eq=False, repr=False)
class L21(Norm, CompiledRows):
    """alpha * sum over features of ||W_j||_2: a feature is used by all columns or by none.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.
    """

    label = "L21"

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def norm(self, W: Array) -> float:
        """Return the sum of the row norms."""
        return total(row_norms(W))

    def dual_norm(self, Z: Array) -> float:
        """Return the largest row norm."""
        return largest(row_norms(Z))

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows, each shortened by step * alpha."""
        return shrink_rows(rows, per_row(step, rows) * self.weight)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        return _kernel(0.0, self.weight, 0.0)

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another L1, L21 or SparseGroup."""
        return _merged(self, other)


@final
@saveable("penalty.sparse_group")
@dataclass(frozen=True, eq=False, repr=False)
class SparseGroup(Norm, CompiledRows):
    """alpha * (l1_ratio * sum |W| + (1 - l1_ratio) * sum over features of ||W_j||_2).

    A feature may be dropped for all columns, and within a kept one for some [1]_.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    l1_ratio : float, default=0.5
        The share of the first term, in [0, 1].
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.

    References
    ----------
    .. [1] Simon, N., Friedman, J., Hastie, T. and Tibshirani, R. (2013). A sparse-group
       lasso. Journal of Computational and Graphical Statistics 22, 231-245, Equation 3.
    """

    label = "SparseGroup"

    alpha: float | None = field(default=None, metadata=ALPHA)
    l1_ratio: float = field(default=0.5, metadata=checked_by(unit_interval))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def norm(self, W: Array) -> float:
        """Return the weighted sum of absolute values and row norms."""
        ratio = self.l1_ratio
        return ratio * _absolute_sum(W) + (1 - ratio) * total(row_norms(W))

    def dual_norm(self, Z: Array) -> float:
        """Return the largest of the dual norms of the rows."""
        return largest(_row_dual_norms(Z, self.l1_ratio))

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows, first thresholded by entry, then shortened."""
        amount = per_row(step, rows) * self.weight
        entries = soft_threshold(rows, per_entry(amount * self.l1_ratio))
        return shrink_rows(entries, amount * (1 - self.l1_ratio))

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        ratio = self.l1_ratio
        return _kernel(self.weight * ratio, self.weight * (1 - ratio), 0.0)

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another L1, L21 or SparseGroup."""
        return _merged(self, other)


def _row_dual_norms(Z: Array, ratio: float) -> Array:
    """Return for each row z the root c of ||soft(z, c ratio)||_2 = c (1 - ratio)."""
    # Between two entries of z in descending order the equation is quadratic in c. The
    # entries above c * ratio are a prefix of them, found by the sign at each entry.
    xp = namespace(Z)
    if ratio == 0 or 0 in Z.shape:
        return row_norms(Z)
    z = xp.sort(xp.abs(Z), axis=1, descending=True)
    if ratio == 1:
        return z[:, 0]
    count = 1 + counting(z.shape[1], z)
    sums, squares = xp.cumulative_sum(z, axis=1), xp.cumulative_sum(z * z, axis=1)
    excess = squares - 2 * z * sums + count * z * z
    above = excess < (z * ((1 - ratio) / ratio)) ** 2
    kept = xp.where(above, z, xp.zeros_like(z))
    n_kept = xp.sum(xp.astype(above, z.dtype), axis=1)
    linear, square = ratio * xp.sum(kept, axis=1), xp.sum(kept * kept, axis=1)
    leading = (1 - ratio) ** 2 - n_kept * ratio**2
    root = xp.sqrt(clip(linear**2 + leading * square, 0.0, None))
    bottom = linear + root
    return square / xp.where(bottom > 0, bottom, xp.ones_like(bottom))


def sparse_and_group(penalty: Valued) -> tuple[float, float] | None:
    """Return the strengths of sum |W| and of the row norms, None for other penalties."""
    match penalty:
        case L1():
            return penalty.weight, 0.0
        case L21():
            return 0.0, penalty.weight
        case SparseGroup():
            return penalty.weight * penalty.l1_ratio, penalty.weight * (1 - penalty.l1_ratio)
    return None


def _merged(first: Valued, second: Valued) -> Mergeable | None:
    """Return the sum of two penalties that are both L1, L21 or of both kinds."""
    # The prox of the sum is that of the row norms after that of the entries [1]_.
    pairs = (sparse_and_group(first), sparse_and_group(second))
    if pairs[0] is None or pairs[1] is None:
        return None
    sparse, group = (pairs[0][i] + pairs[1][i] for i in range(2))
    if group == 0:
        return L1(sparse)
    return L21(group) if sparse == 0 else SparseGroup(sparse + group, sparse / (sparse + group))


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
