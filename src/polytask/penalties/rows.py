"""Penalties that are sums over the rows of W: a feature is a row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any, final

import numpy as np

from polytask._checks import unit_interval
from polytask._linalg import (
    Array,
    clip,
    counting,
    inner,
    largest,
    namespace,
    per_entry,
    per_row,
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
    Proximable,
    Quadratic,
    RowKernel,
    RowSeparable,
    Valued,
)
from polytask.penalties.shared_rows import SharedLengths
from polytask.penalties.sums import Summed, add, merge
from polytask.penalties.terms import (
    ALPHA,
    FRACTION,
    RADIUS,
    AbsoluteTerm,
    Norm,
    NormTerm,
    RelativeTerm,
    Single,
    Unbound,
    checked_by,
    merged_alike,
)


class Shrinkage(Single, RowSeparable):
    """alpha times ``a ||w||_1 + b ||w||_2 + c/2 ||w||_2^2`` of rows w, a to c being `mixture`."""

    ignores_signs = True

    @property
    @abstractmethod
    def mixture(self) -> tuple[float, float, float]:
        """The numbers a, b and c."""

    @final
    @property
    def shares(self) -> tuple[float, float, float] | None:
        """The same, unless a radius adds something else."""
        return self.mixture if self.radius is None else None

    @cached_property
    def strengths(self) -> tuple[float, float, float]:
        """The numbers a, b and c times alpha."""
        a, b, c = self.mixture
        return self.weight * a, self.weight * b, self.weight * c

    def without_terms(self) -> Mapping[str, Penalty]:
        """Return what is left without each of the terms."""
        terms: dict[str, Penalty] = {"L1": L1(1.0), "L21": L21(1.0), "L2": L2(1.0)}
        kept = [name for name, share in zip(terms, self.mixture, strict=True) if share]
        rests = {name: [terms[other] for other in kept if other != name] for name in kept}
        return {name: add(rest) for name, rest in rests.items() if rest}

    def sizes(self, W: Array) -> Array:
        """Return the sum of each row at strength 1, of shape (n_rows,)."""
        xp, (a, b, c) = namespace(W), self.mixture
        terms = [a * xp.sum(xp.abs(W), axis=1)] if a else []
        terms += [b * row_norms(W)] if b else []
        terms += [0.5 * c * xp.sum(W * W, axis=1)] if c else []
        return reduce(lambda first, second: first + second, terms)

    def value_by_row(self, W: Array) -> Array:
        """Return what each row of W adds to the value, of shape (n_rows,)."""
        return self.weight * self.sizes(W)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows thresholded by entry, then shortened, then divided."""
        (a, b, c), step = self.strengths, per_row(step, rows)
        if a:
            rows = soft_threshold(rows, per_entry(step * a))
        if b:
            rows = shrink_rows(rows, step * b)
        return rows / per_entry(1.0 + step * c) if c else 1.0 * rows

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.row_kernels import shrink_row

        return RowKernel(shrink_row, np.array(self.strengths))


class ShrinkageNorm(Norm, Shrinkage, CompiledRows):
    """The same without a square; a + b = 1."""

    def norm(self, W: Array) -> float:
        """Return the weighted sum of absolute values and row norms."""
        return total(self.sizes(W))

    def dual_norm(self, Z: Array) -> float:
        """Return the largest of the dual norms of the rows."""
        ratio = self.mixture[0]
        return largest(Z) if ratio == 1 else largest(_row_dual_norms(Z, ratio))

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another one."""
        # The prox of the sum is that of the row norms after that of the entries.
        theirs = sparse_and_group(other)
        if theirs is None:
            return None
        sparse, group = (self.strengths[i] + theirs[i] for i in range(2))
        if group == 0:
            return L1(sparse)
        return (
            L21(group) if sparse == 0 else SparseGroup(sparse + group, sparse / (sparse + group))
        )


class SquaredShrinkage(Shrinkage, Conjugate):
    """The same without row norms; with c > 0 the conjugate is finite everywhere."""

    def value(self, W: Array) -> float:
        """Return the value at W."""
        return self.weight * total(self.sizes(W))

    def conjugate(self, Z: Array) -> float:
        """Return the squared excess of Z over the threshold a, over 2 c."""
        a, _, c = self.strengths
        excess = soft_threshold(Z, a * (1 + (rounding(Z) if c == 0 else 0.0))) if a else Z
        square = inner(excess, excess)
        if c == 0:
            return 0.0 if square == 0 else float("inf")
        return 0.5 * square / c

    def conjugate_by_row(self, Z: Array) -> Array:
        """Return the conjugate at each row of Z, of shape (n_rows,)."""
        a, _, c = self.strengths
        if c == 0:
            return super().conjugate_by_row(Z)
        excess = soft_threshold(Z, a) if a else Z
        return 0.5 * namespace(Z).sum(excess * excess, axis=1) / c

    def feasible_scale(self, Z: Array) -> float:
        """Return inf if there is a square, else the threshold over the largest ``|Z|``."""
        (a, _, c), size = self.strengths, largest(Z)
        return float("inf") if c > 0 or size == 0 else a / size


@final
@saveable("penalty.l1")
@dataclass(frozen=True, eq=False, repr=False)
class L1(ShrinkageNorm):
    """``alpha * sum |W|``: any coefficient may vanish.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.
    """

    label = "L1"
    mixture = (1.0, 0.0, 0.0)

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)


@final
@saveable("penalty.l2")
@dataclass(frozen=True, eq=False, repr=False)
class L2(AbsoluteTerm, SquaredShrinkage, Unbound, Quadratic):
    """alpha / 2 * ||W||_F^2: every coefficient is shrunk.

    With a radius, ``||W||_F <= radius`` as well, or instead: the constrained form, which says how
    large W may be rather than what its size costs. For every radius below the size of the fit
    without it there is an alpha with the same answer, which depends on the data.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0; None means 1.0, and 0 with a radius.
    radius : float, default=None
        The largest ||W||_F, > 0; None for no limit. Multiples of the penalty, and paths of a
        search, keep it.
    """

    label = "L2"
    mixture = (0.0, 0.0, 1.0)

    alpha: float | None = field(default=None, metadata=ALPHA)
    radius: float | None = field(default=None, kw_only=True, metadata=RADIUS)

    @cached_property
    def capabilities(self) -> frozenset[type] | None:
        """All, or with a radius a prox and a conjugate."""
        return None if self.radius is None else frozenset({Proximable, Conjugate})

    def value(self, W: Array) -> float:
        """Return the value at W; inf beyond the radius."""
        square = inner(W, W)
        if self.radius is not None and square > (self.radius * (1 + rounding(W))) ** 2:
            return float("inf")
        return 0.5 * self.weight * square

    def allowed_share(self, W: Array) -> float:
        """Return the radius over the size of W, at most 1."""
        return 1.0 if self.radius is None else min(1.0, self.radius / (inner(W, W) ** 0.5 or 1.0))

    def prox(self, W: Array, step: float) -> Array:
        """Return W divided, and then shortened to the radius: both keep its direction."""
        moved = self.prox_rows(W, slice(None), step)
        return moved if self.radius is None else moved * self.allowed_share(moved)

    def conjugate(self, Z: Array) -> float:
        """Return ||Z||_F^2 / (2 alpha), linear where the maximiser is on the border."""
        if self.radius is not None:
            size, border = float(inner(Z, Z) ** 0.5), self.weight * self.radius
            if size > border:
                return self.radius * (size - 0.5 * border)
        return super().conjugate(Z)

    def feasible_scale(self, Z: Array) -> float:
        """Return inf if there is a square or a radius."""
        return super().feasible_scale(Z) if self.radius is None else float("inf")

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


@final
@saveable("penalty.elastic_net")
@dataclass(frozen=True, eq=False, repr=False)
class ElasticNet(RelativeTerm, SquaredShrinkage, Unbound, Mergeable, CompiledRows):
    """``alpha * l1_ratio * sum |W| + alpha * (1 - l1_ratio) / 2 * ||W||_F^2``.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    l1_ratio : float, default=0.5
        The share of the first term, in [0, 1].
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes; it needs l1_ratio > 0. Without alpha and fraction it is 0.1. In a fit, the second
        term is the same fraction of the mean curvature of the loss, times (1 - l1_ratio) /
        l1_ratio, so that neither the unit of the target nor that of the features decides.
    """

    label = "ElasticNet"

    alpha: float | None = field(default=None, metadata=ALPHA)
    l1_ratio: float = field(default=0.5, metadata=checked_by(unit_interval))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    @property
    def mixture(self) -> tuple[float, float, float]:
        """Those of the two terms."""
        return self.l1_ratio, 0.0, 1 - self.l1_ratio

    def null_strength(self, gradient: Array) -> float:
        """Return the largest absolute gradient over l1_ratio; inf if l1_ratio = 0."""
        size = largest(gradient)
        return size / self.l1_ratio if self.l1_ratio > 0 else (float("inf") if size else 0.0)

    def at_curvature(self, curvature: float, gradient: Array) -> Penalty:
        """Return a fraction of the null strength for the L1 term, and of the curvature for L2."""
        # Both terms in one unit would let the squares win where targets are large.
        if self.alpha is not None or not 0 < self.l1_ratio < 1:
            return self
        squares = self.share * curvature * (1 - self.l1_ratio) / self.l1_ratio
        absolutes = self.share * largest(gradient)
        return ElasticNet(absolutes + squares, absolutes / (absolutes + squares))

    def parts(self) -> tuple[Penalty, ...]:
        """Return the L1 and the L2 term."""
        return (L1(self.strengths[0]), L2(self.strengths[2]))

    def merged(self, other: Valued) -> Mergeable | None:
        """Return None: its parts are what merges."""
        return None


@final
@saveable("penalty.l21")
@dataclass(frozen=True, eq=False, repr=False)
class L21(ShrinkageNorm):
    """alpha * sum over features of ||W_j||_2: a feature is used by all columns or by none.

    With a radius, the sum is bounded as well, or instead: the constrained form.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1, and alpha is 0 with a radius.
    radius : float, default=None
        The largest sum over features of ||W_j||_2, > 0; None for no limit. Multiples of the
        penalty, and paths of a search, keep it.

    References
    ----------
    .. [1] Obozinski, G., Taskar, B. and Jordan, M. I. (2010). Joint covariate selection and
       joint subspace selection for multiple classification problems. Statistics and Computing
       20, 231-252.
    .. [2] Duchi, J., Shalev-Shwartz, S., Singer, Y. and Chandra, T. (2008). Efficient
       projections onto the l1-ball for learning in high dimensions. ICML, Figure 1.
    """

    label = "L21"
    mixture = (0.0, 1.0, 0.0)
    division_with_l1 = SharedLengths()

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)
    radius: float | None = field(default=None, kw_only=True, metadata=RADIUS)

    def prox(self, W: Array, step: float) -> Array:
        """Return the rows shortened, with a radius until their lengths add up to no more [2]_."""
        if self.radius is None:
            return self.prox_rows(W, slice(None), step)
        return shrink_rows(W, self.lowered_by(row_norms(W), step))


@final
@saveable("penalty.sparse_group")
@dataclass(frozen=True, eq=False, repr=False)
class SparseGroup(ShrinkageNorm):
    """``alpha * (l1_ratio * sum |W| + (1 - l1_ratio) * sum_j ||W_j||_2)``, j a feature.

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

    @property
    def mixture(self) -> tuple[float, float, float]:
        """Those of absolute values and of row norms."""
        return self.l1_ratio, 1 - self.l1_ratio, 0.0


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
    if not penalty.is_norm or penalty.shares is None or not isinstance(penalty, Penalty):
        return None
    strength = penalty.strength or 0.0
    return strength * penalty.shares[0], strength * penalty.shares[1]


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
    def value_by_row(self, W: Array) -> Array:
        """Return what each row of W adds to the value, of shape (n_rows,)."""
        return self.weight * self.row_values(W)

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
            return RowNormSum((self, other))
        return merged_alike(self, other)


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


@dataclass(frozen=True, eq=False, repr=False)
class ComposedNorm(Summed, NullStrength, Conjugate, Mergeable):
    """Two norms of which the prox of the sum is a composition; made by ``merged``."""

    members: tuple[Any, Any]
    is_norm = True

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
class RowNormSum(ComposedNorm, CompiledRows):
    """A norm of rows plus L1, L21 or SparseGroup."""

    @property
    def ignores_signs(self) -> bool:
        """Whether the norm does."""
        return all(member.ignores_signs for member in self.members)

    def value_by_row(self, W: Array) -> Array:
        """Return what each row of W adds to the value, of shape (n_rows,)."""
        norm, sparse = self.members
        return norm.value_by_row(W) + sparse.value_by_row(W)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of some rows."""
        norm, (entries, length, _) = self.members[0], self.members[1].strengths
        steps = per_row(step, rows)
        found: Array = norm.nested_prox(rows, steps * norm.weight, steps * entries, steps * length)
        return found

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        kernel: RowKernel = self.members[0].nested_kernel(*self.members[1].strengths[:2])
        return kernel

    def size(self, Z: Array) -> float:
        """Return the largest dual norm of a row."""
        return largest_dual_norm(Z, self.prox, self.value_by_row)

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with L1, L21 or SparseGroup, or with the same norm."""
        norm, sparse = self.members
        if isinstance(other, RowNormSum):
            with_norm = self.merged(other.members[0])
            return None if with_norm is None else merge((with_norm, other.members[1]))
        if isinstance(other, RowNorm):
            whole = merge((norm, other))
            return RowNormSum((whole, sparse)) if isinstance(whole, RowNorm) else None
        together = merge((sparse, other))
        known = together is not None and sparse_and_group(together) is not None
        return RowNormSum((norm, together)) if known else None
