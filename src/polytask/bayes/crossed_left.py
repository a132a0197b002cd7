"""Effects of the groupings that are not eliminated: one dense matrix, or conjugate gradients."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.linalg.lapack
import scipy.sparse as sp

from polytask.bayes.blocks import Array

# More effects than these are not solved for densely.
LARGEST_DENSE = 6000
# Numbers of a dense piece of a sparse matrix.
_DENSE_ENTRIES = 8_000_000
# Vectors that estimate the determinant and its derivatives, and where they come from.
_PROBES, _SEED = 64, 0
# Conjugate gradients stop at this residual, relative to that of zero, or after so many steps.
_TOLERANCE, _STEPS = 1e-9, 1000


@dataclass(frozen=True, eq=False)
class LeftParts:
    """What the matrix ``I + own - couplings' couplings`` of k effects is made of."""

    # Shapes: own (k, k), couplings, turned (eliminated effects, k), all sparse. The inverse of
    # the whole has the block ``turned inverse turned'`` for the eliminated effects, beside their
    # own. Levels are those of every grouping that is left, with q effects each.

    own: sp.csr_array
    couplings: sp.csr_array
    turned: sp.csr_array
    levels: Sequence[int]
    q: int
    is_dense: bool

    @property
    def size(self) -> int:
        """Number of effects, k."""
        return int(self.own.shape[0])

    def by_grouping(self, values: Array) -> list[Array]:
        """Return the values of the effects of every grouping, shape (levels, q, ...) each."""
        ends = np.cumsum([0, *(self.q * n for n in self.levels)]).tolist()
        parts = [values[slice(*pair)] for pair in itertools.pairwise(ends)]
        return [part.reshape(-1, self.q, *part.shape[1:]) for part in parts]


class LeftSystem(ABC):
    """The equations of the effects that are left."""

    def __init__(self, parts: LeftParts) -> None:
        self.parts = parts

    log_determinant: float
    # Standard error of the log determinant, and the largest residual of a solution.
    error: float
    residual: float

    @abstractmethod
    def solve(self, right: Array) -> Array:
        """Return the solutions of columns, shape (k, m)."""

    @abstractmethod
    def traces(self) -> tuple[list[Array], Array]:
        """Return sums of the diagonal blocks of the inverse, and of that of what is eliminated."""

    @abstractmethod
    def forms(self, rows: sp.csr_array) -> Array:
        """Return x' inverse x of every row, shape (n,)."""

    def squares(self, columns: Array) -> list[Array]:
        """Return the sum over levels of the blocks of columns times their transpose."""
        parts = self.parts.by_grouping(columns)
        return [np.einsum("lai,lbi->ab", part, part) for part in parts]


class DenseSystem(LeftSystem):
    """Solved with a Cholesky factor."""

    error = residual = 0.0

    def __init__(self, parts: LeftParts) -> None:
        super().__init__(parts)
        S = parts.own.toarray(order="F")
        S[np.diag_indices(len(S))] += 1.0
        for found in products(parts.couplings, parts.couplings, parts.is_dense):
            if isinstance(found, np.ndarray):
                S -= found
            else:
                S[found.coords] -= found.data
        self._lower = scipy.linalg.cholesky(S, lower=True, overwrite_a=True, check_finite=False)
        self.log_determinant = 2.0 * float(np.log(np.diagonal(self._lower)).sum())

    def _inverse_lower(self) -> Array:
        """Return the lower triangle of the inverse."""
        if not len(self._lower):
            return self._lower
        return np.asarray(scipy.linalg.lapack.dpotri(self._lower, lower=1)[0])

    @cached_property
    def _inverse(self) -> Array:
        lower = self._inverse_lower()
        return np.asarray(lower + np.tril(lower, -1).T)

    def solve(self, right: Array) -> Array:
        """Return the solutions of columns."""
        return np.asarray(scipy.linalg.cho_solve((self._lower, True), right, check_finite=False))

    def forms(self, rows: sp.csr_array) -> Array:
        """Return x' inverse x of every row."""
        return np.asarray(rows.multiply(rows @ self._inverse).sum(axis=1)).ravel()

    def traces(self) -> tuple[list[Array], Array]:
        """Return sums of the diagonal blocks of the inverse, and of that of what is eliminated."""
        parts, q = self.parts, self.parts.q
        lower, start = self._inverse_lower(), 0
        found, first = [], np.zeros((q, q))
        for n in parts.levels:
            stop = start + n * q
            own = np.zeros((q, q))
            for a in range(q):
                for b in range(a + 1):
                    rows, columns = np.arange(start + a, stop, q), np.arange(start + b, stop, q)
                    own[a, b] = own[b, a] = lower[rows, columns].sum()
            found.append(own)
            start = stop
        # The inverse is the sum of this and its transpose.
        lower[np.diag_indices(len(lower))] *= 0.5
        pieces = [sp.csr_array(parts.turned[a::q]) for a in range(q)]
        for a in range(q):
            for b in range(a + 1):
                found_of = products(pieces[a], pieces[b], parts.is_dense)
                share = sum(_inner(lower, one) + _inner(lower, one.T) for one in found_of)
                first[a, b] = first[b, a] = share
        return found, first


def products(
    left: sp.csr_array, right: sp.csr_array, dense: bool
) -> Iterator[Array | sp.coo_array]:
    """Yield matrices that sum up to left' right."""
    if not dense:
        yield sp.coo_array(left.T @ right)
        return
    step = max(_DENSE_ENTRIES // max(left.shape[1], 1), 1)
    for start in range(0, left.shape[0], step):
        part = left[start : start + step].toarray()
        yield part.T @ (part if right is left else right[start : start + step].toarray())


def _inner(values: Array, found: Array | sp.coo_array) -> float:
    if isinstance(found, np.ndarray):
        return float(np.vdot(values, found))
    return float(values[found.coords] @ found.data)


def left_system(parts: LeftParts) -> LeftSystem:
    """Return the equations, dense where that is possible."""
    return DenseSystem(parts)
