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
# Products of sparse rows with the inverse of so many numbers are worth compiled code.
_COMPILED = 10_000_000
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
        if rows.nnz * len(self._lower) > _COMPILED:
            from polytask.bayes.sparse_gram import sparse_forms

            return sparse_forms(rows, self._inverse)
        return np.asarray(rows.multiply(rows @ self._inverse).sum(axis=1)).ravel()

    def traces(self) -> tuple[list[Array], Array]:
        """Return sums of the diagonal blocks of the inverse, and of that of what is eliminated."""
        parts, q, start = self.parts, self.parts.q, 0
        known = "_inverse" in vars(self)  # where the forms of rows were asked for
        lower = np.tril(self._inverse) if known else self._inverse_lower()
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


class IterativeSystem(LeftSystem):
    """Solved by conjugate gradients, the determinant estimated with probes that stay the same.

    Determinant and inverse are those of the block of every level, which is exact, and of what
    stochastic Lanczos quadrature finds beyond (Ubaru, Chen and Saad 2017).
    """

    def __init__(self, parts: LeftParts) -> None:
        super().__init__(parts)
        lower = np.linalg.cholesky(_level_blocks(parts))
        self._blocks = np.linalg.inv(lower)
        # In these coordinates the block of every level is one.
        half = self._half = sp.csr_array(block_diagonal(self._blocks))
        self._couplings = sp.csr_array(parts.couplings @ half.T)
        self._transposed = sp.csr_array(self._couplings.T)
        self._own = sp.csr_array(half @ half.T + half @ parts.own @ half.T)
        self.residual = 0.0
        draws = np.random.default_rng(_SEED).integers(0, 2, (parts.size, _PROBES))
        self._probes: Array = np.where(draws > 0, 1.0, -1.0)
        run = self._run(self._probes)
        logs = run.log_forms()
        self._beyond = run.solution - self._probes
        self.error = float(logs.std(ddof=1) / np.sqrt(_PROBES))
        blocks = 2.0 * float(np.log(np.diagonal(lower, axis1=1, axis2=2)).sum())
        self.log_determinant = blocks + float(logs.mean())

    def _run(self, right: Array) -> ConjugateGradients:
        run = ConjugateGradients(right)
        while run.goes_on:
            x = run.direction
            run.advance(self._own @ x - self._transposed @ (self._couplings @ x))
        self.residual = max(self.residual, run.residual)
        return run

    def solve(self, right: Array) -> Array:
        """Return the solutions of columns."""
        return np.asarray(self._half.T @ self._run(self._half @ right).solution)

    def forms(self, rows: sp.csr_array) -> Array:
        """Return x' inverse x of every row."""
        found, step = np.empty(rows.shape[0]), max(_DENSE_ENTRIES // max(rows.shape[1], 1), 1)
        for start in range(0, len(found), step):
            right: Array = (self._half @ rows[start : start + step].T).toarray()
            found[start : start + step] = np.sum(right * self._run(right).solution, axis=0)
        return found

    def traces(self) -> tuple[list[Array], Array]:
        """Return sums of the diagonal blocks of the inverse, and of that of what is eliminated."""
        parts, q = self.parts, self.parts.q
        left, right = self._half.T @ self._beyond / _PROBES, self._half.T @ self._probes
        found, start = [], 0
        for n, mine, theirs in zip(
            parts.levels, parts.by_grouping(left), parts.by_grouping(right), strict=True
        ):
            blocks = self._blocks[start : start + n]
            own = np.einsum("lai,lbi->ab", mine, theirs)
            found.append(np.einsum("lia,lib->ab", blocks, blocks) + 0.5 * (own + own.T))
            start += n
        turned = sp.csr_array(parts.turned @ self._half.T)
        shape = (-1, q, _PROBES)
        mine = (parts.turned @ left).reshape(shape)
        first = np.einsum("lai,lbi->ab", mine, (parts.turned @ right).reshape(shape))
        first = 0.5 * (first + first.T)
        for a in range(q):
            for b in range(q):
                first[a, b] += turned[a::q].multiply(turned[b::q]).sum()
        return found, first


class ConjugateGradients:
    """The method for several right sides at once, with the Lanczos matrix of each."""

    def __init__(self, right: Array) -> None:
        self.solution = np.zeros_like(right)
        self.direction, self._rest = right.copy(), right.copy()
        self._square = self._first = np.sum(right**2, axis=0)
        self._steps: list[Array] = []
        self._ratios: list[Array] = []

    @property
    def residual(self) -> float:
        """The largest residual of a column, relative to its right side."""
        first = np.where(self._first > 0, self._first, 1.0)
        return float(np.sqrt((self._square / first).max(initial=0.0)))

    @property
    def goes_on(self) -> bool:
        """Whether some column has not arrived."""
        return self.residual > _TOLERANCE and len(self._steps) < _STEPS

    def advance(self, product: Array) -> None:
        """Take a step, given the matrix times the direction; columns that arrived stay."""
        moving = self._square > (_TOLERANCE**2) * self._first
        bend = np.sum(self.direction * product, axis=0)
        step = np.where(moving, self._square, 0.0) / np.where(moving, bend, 1.0)
        self.solution += step * self.direction
        self._rest -= step * product
        square = np.where(moving, np.sum(self._rest**2, axis=0), self._square)
        ratio = np.where(moving, square, 0.0) / np.where(moving, self._square, 1.0)
        self.direction = self._rest + ratio * self.direction
        self._square = square
        self._steps.append(step)
        self._ratios.append(ratio)

    def log_forms(self) -> Array:
        """Return z' log(A) z of every right side z, by Gauss quadrature."""
        steps, ratios = np.array(self._steps), np.array(self._ratios)
        found = np.zeros(len(self._first))
        for k, size in enumerate(self._first):
            own = steps[steps[:, k] > 0, k]
            beta = ratios[: len(own), k]
            main = 1.0 / own
            main[1:] += beta[:-1] / own[:-1]
            values, vectors = scipy.linalg.eigh_tridiagonal(main, np.sqrt(beta[:-1]) / own[:-1])
            found[k] = size * float(vectors[0] ** 2 @ np.log(np.maximum(values, 1e-300)))
        return found


def _level_blocks(parts: LeftParts) -> Array:
    """Return the diagonal blocks of the matrix, shape (levels, q, q)."""
    q = parts.q
    blocks = np.empty((parts.size // q, q, q))
    columns = [sp.csc_array(parts.couplings[:, a::q]) for a in range(q)]
    for a in range(q):
        for b in range(q):
            taken = np.asarray(columns[a].multiply(columns[b]).sum(axis=0)).ravel()
            own = sp.csr_array(parts.own[a::q][:, b::q]).diagonal()
            blocks[:, a, b] = float(a == b) + own - taken
    return blocks


def block_diagonal(blocks: Array) -> sp.bsr_array:
    """Return a sparse matrix with these blocks. Shapes: blocks (n, q, q)."""
    n, q = blocks.shape[:2]
    return sp.bsr_array((blocks, np.arange(n), np.arange(n + 1)), shape=(n * q, n * q))


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
    return DenseSystem(parts) if parts.size <= LARGEST_DENSE else IterativeSystem(parts)
