"""Penalties on rows whose prox is known in any diagonal metric."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.penalties import CompiledRows, Penalty, Quadratic, Smooth, Sum
from polytask.penalties.adapted import Term
from polytask.penalties.base import NO_LIMITS, RowLimits, once
from polytask.penalties.decomposition import Ridged, Split, decompose

# Share of the largest entry that is rounding in another.
_ROUNDING = 1e-14


@dataclass(frozen=True)
class RowTerms:
    """entry * sum |W| + group * sum of row norms + ridge / 2 * ||W||^2."""

    entry: float
    group: float
    ridge: float = 0.0

    @cached_property
    def array(self) -> Array:
        """The three numbers."""
        return np.array([self.entry, self.group, self.ridge])

    @property
    def strength(self) -> float:
        """The strength of what is not smooth."""
        return self.entry + self.group

    def value(self, W: Array, norms: Array) -> float:
        """Return the value at W, whose row norms are given."""
        size = self.group * float(norms.sum()) + 0.5 * self.ridge * float(norms @ norms)
        return size + (self.entry * float(np.abs(W).sum()) if self.entry > 0 else 0.0)


@dataclass(frozen=True, eq=False)
class LimitedTerms:
    """A weight of the row times :class:`RowTerms`, plus a ridge, with bounds of the entries."""

    # Shapes: coupling (n_columns, n_columns).
    # With bounds other than 0 there is no norm of rows.

    terms: RowTerms
    ridge: float = 0.0
    limits: RowLimits = NO_LIMITS
    coupling: Array = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def strength(self) -> float:
        """The strength of what is not smooth, for a row of the least weight above 0."""
        weight = self.limits.weight
        some = weight[(weight > 0) & (weight < np.inf)]
        return self.terms.strength * float(some.min(initial=1.0) if some.size else 1.0)

    def spectral_bound(self, n_columns: int) -> Array:
        """Return a diagonal that is no smaller than the coupling, shape (n_columns,)."""
        if not self.coupling.size:
            return np.zeros(n_columns)
        top = float(np.linalg.eigvalsh(self.coupling)[-1])
        return np.asarray(np.minimum(np.abs(self.coupling).sum(axis=1), top))

    def coupled(self, W: Array) -> Array:
        """Return W A, 0 without a coupling."""
        return W @ self.coupling if self.coupling.size else np.zeros_like(W)

    @cached_property
    def barred(self) -> NDArray[np.bool_]:
        """The rows that have to be zero, (n_features,) or (1,)."""
        weight = self.limits.weight
        return np.isinf(weight) if weight.size else np.zeros(1, dtype=np.bool_)

    @cached_property
    def strengths(self) -> Array:
        """Those of entries, norms, ridges; shape (n_features, 3), or (1, 3) if all are alike."""
        # 0 for rows that are barred, which nothing visits.
        plain = np.array([self.terms.entry, self.terms.group, self.terms.ridge])
        weight = self.limits.weight if self.limits.weight.size else np.ones(1)
        found = np.multiply.outer(np.where(self.barred, 0.0, weight), plain)
        found[:, 2] += self.ridge
        return np.asarray(found)

    def of(self, index: NDArray[np.intp], k: int) -> Array:
        """Return a strength, by its place in `strengths`, for some rows, or for all alike."""
        column = self.strengths[:, k]
        return np.asarray(column[index] if len(column) > 1 else column)

    def value(self, W: Array, norms: Array, index: NDArray[np.intp]) -> float:
        """Return the value at some rows of W, whose norms are given; inf outside the bounds."""
        if self._outside(W, index):
            return float("inf")
        entry, group, ridge = (self.of(index, k) for k in range(3))
        size = float(np.sum((group + 0.5 * ridge * norms) * norms))
        if self.terms.entry > 0:
            size += float(np.sum(entry * np.abs(W).sum(axis=1)))
        return size + (0.5 * float(np.vdot(self.coupled(W), W)) if self.coupling.size else 0.0)

    def _outside(self, W: Array, index: NDArray[np.intp]) -> bool:
        """Say whether some entry is beyond its bounds by more than rounding."""
        _, lower, upper = self.limits.of_rows(index).arrays
        if not lower.size:
            return False
        slack = _ROUNDING * float(np.abs(W).max(initial=0.0))
        beyond = np.maximum(lower - W, W - upper)
        return bool(beyond.max(initial=0.0) > slack)

    def excess(self, gradient: Array) -> Array:
        """Return by how much the gradient of each row that is zero is too long to keep it so."""
        # In units of the strength of the row; -inf for rows that are barred.
        entry, group, _ = self.strengths.T
        left = self._admitted(gradient)
        if self.terms.entry > 0:
            left = np.maximum(np.abs(left) - entry[:, None], 0.0)
        excess = np.sqrt(np.einsum("ij,ij->i", left, left)) - group
        size = entry + group
        return np.asarray(np.where(self.barred, -np.inf, excess / np.where(size > 0, size, 1.0)))

    def _admitted(self, gradient: Array) -> Array:
        """Return the gradient, 0 where a bound holds what it pushes."""
        _, lower, upper = self.limits.arrays
        if not lower.size:
            return gradient
        blocked = ((gradient > 0) & (lower == 0)) | ((gradient < 0) & (upper == 0))
        return np.where(blocked, 0.0, gradient)


def coupling_of(smooth: Smooth | None, n_columns: int) -> Array | None:
    """Return the A of a term ``tr(W A W') / 2``, (0, 0) for no term, None for another kind."""
    if smooth is None:
        return np.zeros((0, 0))
    matrix = np.zeros((n_columns, n_columns))
    for member in smooth.members if isinstance(smooth, Sum) else (smooth,):
        if member.by_feature or not isinstance(member, Quadratic):
            return None
        if isinstance(member, Penalty) and member.null_point is not None:
            return None
        matrix += member.apply(np.eye(n_columns))
    return np.asarray((matrix + matrix.T) / 2)


def terms_of(split: Split, n_columns: int) -> LimitedTerms | None:
    """Return the terms of the parts of a penalty, None for those of another kind."""
    found, coupling = limited_terms(split.proximable), coupling_of(split.smooth, n_columns)
    return None if found is None or coupling is None else replace(found, coupling=coupling)


def limited_terms(penalty: Any) -> LimitedTerms | None:  # noqa: ANN401 - the part with a prox
    """Return the terms of a penalty whose rows may differ, None for one of another kind."""
    if isinstance(penalty, Ridged):
        found = limited_terms(penalty.penalty) if penalty.ridge.centre is None else None
        if found is None:
            return None
        return replace(found, ridge=found.ridge + penalty.ridge.weight)
    terms = plain_terms(penalty)
    if terms is None:
        return None
    return LimitedTerms(terms, 0.0, penalty.limits if isinstance(penalty, Term) else NO_LIMITS)


@dataclass(frozen=True, eq=False)
class Coupling:
    """A penalty ``tr(W A W') / 2`` that contains ridge / 2 * ||W||^2 with a ridge above 0."""

    # Shapes: A (n_columns, n_columns). The curvature is a bound on that of the penalty.

    A: Array
    ridge: float
    curvature: float
    couples: bool


def strong_coupling(penalty: Penalty, n_columns: int) -> Coupling | None:
    """Return a whole penalty as one matrix, None for one of another kind."""
    return once(penalty, (strong_coupling, n_columns), partial(_strong, n_columns=n_columns))


def _strong(penalty: Penalty, n_columns: int) -> Coupling | None:
    split = _split_about_zero(penalty)
    if split is None:
        return None
    ridge = split.proximable
    if not isinstance(ridge, Penalty) or ridge.shares != (0.0, 0.0, 1.0) or not ridge.strength:
        return None
    A = coupling_of(split.smooth, n_columns)
    if A is None or ridge.null_point is not None:
        return None
    curvature = ridge.strength + (0.0 if split.smooth is None else split.smooth.curvature())
    whole = ridge.strength * np.eye(n_columns) + (A if A.size else 0.0)
    return Coupling(whole, ridge.strength, curvature, bool(A.size))


def _split_about_zero(penalty: Penalty) -> Split | None:
    """Return the parts of a penalty about zero, None where it has none."""
    try:
        split = decompose(penalty)
    except IncompatibleError:
        return None
    return None if penalty.null_point is not None else split


def whole_terms(penalty: Penalty) -> RowTerms | None:
    """Return the strengths of a whole penalty whose rows are alike, None for another kind."""
    return once(penalty, whole_terms, _whole_terms)


def _whole_terms(penalty: Penalty) -> RowTerms | None:
    split = _split_about_zero(penalty)
    return None if split is None or split.smooth is not None else row_terms(split.proximable)


def row_terms(penalty: Any) -> RowTerms | None:  # noqa: ANN401
    """Return the strengths of a penalty whose rows are alike, None for one of another kind."""
    found = limited_terms(penalty)
    if found is None or found.limits is not NO_LIMITS:
        return None
    return replace(found.terms, ridge=found.terms.ridge + found.ridge)


def plain_terms(penalty: Any) -> RowTerms | None:  # noqa: ANN401 - the part with a prox
    """Return the strengths of a row of weight 1, whatever the bounds; None for another kind."""
    if isinstance(penalty, Ridged):
        return plain_terms(penalty.penalty) if penalty.ridge.centre is None else None
    if not isinstance(penalty, CompiledRows):
        return None
    function: Any = penalty.function if isinstance(penalty, Term) else penalty
    if function.shares is None:
        return None
    return RowTerms(*(function.strength * share for share in function.shares))
