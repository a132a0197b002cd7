"""Numbers of rows that belong to one level of each of several groupings: sums and equations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.linalg.lapack
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._registry import State, fields_of, saveable
from polytask.bayes.blocks import Array
from polytask.bayes.normal import ridge_of

Index = NDArray[np.intp]

# Rows that are summed up at a time.
_PIECE = 65_536
# No variance, relative to the noise and for effects on columns of unit size, is below this.
_LEAST_VARIANCE = 1e-10
# A product of sparse matrices takes so many times as long per pair as a dense one.
_SPARSE_COST = 200.0
# Numbers of a dense piece of a sparse matrix.
_DENSE_ENTRIES = 8_000_000


@saveable("bayes.crossed_sums")
@dataclass(frozen=True, eq=False)
class CrossedSums:
    """Weighted products of the rows' columns: effects of every level, mean, and target."""

    # K = q * sum(levels) effects, those of a grouping together, in it those of a level. Shapes:
    # gram (K, K) sparse, mixed (K, p), fixed (p, p), cross (K,), mean_cross (p,).

    levels: tuple[int, ...]
    q: int
    gram: sp.csr_array
    mixed: Array
    fixed: Array
    cross: Array
    mean_cross: Array
    square: float
    count: float

    @classmethod
    def of(
        cls,
        rows: Callable[[Index], Array],
        labels: tuple[Array, Array],
        codes: Index,
        levels: tuple[int, ...],
        varying: Index,
    ) -> CrossedSums:
        """Sum up rows. Shapes: labels (n,) each, targets and weights; codes (n, groupings)."""
        (y, weight), q = labels, len(varying)
        p, size = rows(np.arange(0)).shape[1], q * sum(levels)
        gram, square = sp.csr_array((size, size)), 0.0
        mixed, fixed = np.zeros((size, p)), np.zeros((p, p))
        cross, mean_cross = np.zeros(size), np.zeros(p)
        for start in range(0, len(y), _PIECE):
            part = np.arange(start, min(start + _PIECE, len(y)))
            Z, own, v = rows(part), y[part], weight[part]
            effects = effect_columns(Z[:, varying], codes[part], levels)
            weighted = Z * v[:, None]
            gram = gram + effects.T @ (sp.diags_array(v) @ effects)
            mixed += effects.T @ weighted
            cross += effects.T @ (v * own)
            fixed += Z.T @ weighted
            mean_cross += weighted.T @ own
            square += float(v @ own**2)
        gram = sp.csr_array(gram)
        return cls(levels, q, gram, mixed, fixed, cross, mean_cross, square, float(weight.sum()))

    def of_columns(self, columns: Index) -> CrossedSums:
        """Return the sums for effects on some of the q columns."""
        every = np.arange(len(self.cross)).reshape(-1, self.q)[:, columns].ravel()
        return replace(
            self,
            q=len(columns),
            gram=sp.csr_array(self.gram[every][:, every]),
            mixed=self.mixed[every],
            cross=self.cross[every],
        )

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where the effects of every grouping are."""
        ends = (self.q * np.cumsum([0, *self.levels])).tolist()
        return tuple(slice(*pair) for pair in itertools.pairwise(ends))

    @property
    def first(self) -> int:
        """The grouping with the most levels, which is eliminated."""
        return int(np.argmax(self.levels))

    @property
    def others(self) -> tuple[int, ...]:
        """The groupings that are left."""
        return tuple(g for g in range(len(self.levels)) if g != self.first)

    @cached_property
    def rest(self) -> Index:
        """Where the effects of the groupings that are left are."""
        every, eliminated = np.arange(len(self.cross)), self.slices[self.first]
        return np.concatenate([every[: eliminated.start], every[eliminated.stop :]])

    @cached_property
    def moments(self) -> Array:
        """Mean squares of the q columns."""
        own = self.gram.diagonal()[self.slices[0]].reshape(-1, self.q).sum(axis=0)
        mean = np.asarray(own / max(self.count, np.finfo(float).tiny))
        return np.where(mean > 0, mean, 1.0)

    @cached_property
    def blocks(self) -> Array:
        """Products of the eliminated effects of a level, shape (levels, q, q)."""
        part, q = self.slices[self.first], self.q
        entries = self.gram[part, part].tocoo()
        found = np.zeros((self.levels[self.first], q, q))
        rows, columns = entries.coords
        found[rows // q, rows % q, columns % q] = entries.data
        return found

    @cached_property
    def couplings(self) -> sp.csr_array:
        """Products of the eliminated effects with those that are left."""
        return sp.csr_array(self.gram[self.slices[self.first]][:, self.rest])

    @cached_property
    def is_dense(self) -> bool:
        """Whether products of the couplings are worked out faster densely."""
        pairs = float(np.sum(np.diff(self.couplings.indptr).astype(float) ** 2))
        return _SPARSE_COST * pairs > float(self.couplings.shape[0]) * len(self.rest) ** 2

    def to_state(self) -> State:
        """Return the fields by name, the sparse products as three arrays."""
        gram = [self.gram.data, self.gram.indices, self.gram.indptr]
        return fields_of(self) | {"gram": gram}

    @classmethod
    def from_state(cls, state: State) -> CrossedSums:
        """Rebuild the object from :meth:`to_state`."""
        size = len(state["cross"])
        return cls(**state | {"gram": sp.csr_array(tuple(state["gram"]), shape=(size, size))})


def effect_columns(Z: Array, codes: Index, levels: Sequence[int]) -> sp.csr_array:
    """Return rows with their columns at the places of their levels; -1 is no level."""
    # Shapes: Z (n, q), codes (n, groupings), result (n, q * sum(levels)).
    (n, q), G = Z.shape, codes.shape[1]
    places = q * (codes + np.cumsum([0, *levels])[:-1])
    columns = np.repeat(np.where(codes < 0, 0, places), q, axis=1) + np.tile(np.arange(q), G)
    values = np.tile(Z, (1, G)) * np.repeat(codes >= 0, q, axis=1)
    starts = G * q * np.arange(n + 1)
    found = sp.csr_array((values.ravel(), columns.ravel(), starts), shape=(n, q * sum(levels)))
    found.sum_duplicates()
    return found


class MixedEquations:
    """Henderson's mixed model equations for covariances relative to the noise.

    The effects of the grouping with the most levels are eliminated: given the others they are
    independent. What is left, with the mean coefficients, is one dense matrix.
    """

    # Effects are b = root u with u of unit covariance, so that a variance may be zero. Shapes:
    # roots (q, q) each.

    def __init__(self, sums: CrossedSums, covariances: Sequence[Array]) -> None:
        self.sums = sums
        least = np.diag(_LEAST_VARIANCE / sums.moments)
        self.roots = [np.linalg.cholesky(own + least) for own in covariances]
        root, q = self.roots[sums.first], sums.q
        A = root.T @ sums.blocks @ root + np.eye(q)
        lower = np.linalg.cholesky(A)
        self._inverse = np.linalg.inv(lower)
        whitened = self._inverse @ root.T
        self.log_determinant = 2.0 * float(np.log(np.diagonal(lower, axis1=1, axis2=2)).sum())
        self._whitened = _block_diagonal(whitened)
        self._couplings = sp.csr_array(self._whitened @ sums.couplings)
        self._mixed = np.asarray(self._whitened @ sums.mixed[sums.slices[sums.first]])
        # Transposed, the symmetric matrix has the order of LAPACK and needs no copy.
        self._lower = scipy.linalg.cholesky(
            self._reduced().T, lower=True, overwrite_a=True, check_finite=False
        )
        own = 2.0 * np.log(np.diagonal(self._lower))
        self.log_determinant += float(own[: self.n_left].sum())
        self.mean_log_determinant = float(own[self.n_left :].sum())

    @property
    def n_left(self) -> int:
        """Number of effects that are not eliminated."""
        return len(self.sums.rest)

    def _reduced(self) -> Array:
        """Return the matrix of the effects that are left and of the mean coefficients."""
        sums, k = self.sums, self.n_left
        S = np.empty((k + len(sums.fixed),) * 2)
        square = S[:k, :k]
        square[:] = sums.gram[sums.rest][:, sums.rest].toarray()
        for found in _products(self._couplings, self._couplings, sums.is_dense):
            _add(square, found, -1.0)
        square[:] = self._by_root(self._by_root(square).T)
        square[np.diag_indices(k)] += 1.0
        S[:k, k:] = self._by_root(sums.mixed[sums.rest] - self._couplings.T @ self._mixed)
        S[k:, :k] = S[:k, k:].T
        S[k:, k:] = sums.fixed - self._mixed.T @ self._mixed + np.diag(ridge_of(sums.fixed))
        return S

    def _by_root(self, values: Array, transpose: bool = True) -> Array:
        """Multiply the effects that are left by their roots, transposed or not."""
        out, q, start = np.array(values, order="C"), self.sums.q, 0
        for g in self.sums.others:
            stop = start + q * self.sums.levels[g]
            root = self.roots[g].T if transpose else self.roots[g]
            part = out[start:stop].reshape(-1, q, *out.shape[1:])
            out[start:stop] = np.einsum("ij,lj...->li...", root, part).reshape(
                out[start:stop].shape
            )
            start = stop
        return out

    def solve(self, random: Array, fixed: Array) -> tuple[Array, Array]:
        """Return effects and mean coefficients. Shapes: random (K, m), fixed (p, m)."""
        sums, k = self.sums, self.n_left
        part = sums.slices[sums.first]
        own = np.asarray(self._whitened @ random[part])
        left = self._by_root(random[sums.rest] - self._couplings.T @ own)
        right = np.concatenate([left, fixed - self._mixed.T @ own])
        found = scipy.linalg.cho_solve((self._lower, True), right, check_finite=False)
        effects, beta = np.empty_like(random), found[k:]
        effects[sums.rest] = self._by_root(found[:k], transpose=False)
        own -= self._couplings @ effects[sums.rest] + self._mixed @ beta
        effects[part] = self._whitened.T @ own
        return effects, beta

    def traces(self, restricted: bool) -> list[Array]:
        """Return the sum over the levels of a grouping of Z' P Z, shape (q, q) each."""
        # P is the inverse covariance of the rows, relative to the noise; the restricted one is
        # without what the mean coefficients fit.
        sums, q = self.sums, self.sums.q
        inverse = self._inverted(restricted)
        found: list[Array] = [np.zeros((q, q))] * len(sums.levels)
        start = 0
        for g in sums.others:
            stop = start + q * sums.levels[g]
            held = inverse[start:stop, start:stop].reshape(sums.levels[g], q, sums.levels[g], q)
            found[g] = np.einsum("lalb->ab", held)
            start = stop
        found[sums.first] = self._eliminated_trace(inverse)
        for g, n in enumerate(sums.levels):
            shrunk = n * np.eye(q) - found[g]
            half = scipy.linalg.solve_triangular(self.roots[g].T, shrunk, lower=False)
            found[g] = scipy.linalg.solve_triangular(self.roots[g].T, half.T, lower=False)
        return found

    def _eliminated_trace(self, inverse: Array) -> Array:
        """Return the sum of the blocks of the whole inverse of the eliminated grouping."""
        sums, k, q = self.sums, self.n_left, self.sums.q
        total = np.einsum("lia,lib->ab", self._inverse, self._inverse)
        turned = sp.csr_array(_block_diagonal(np.swapaxes(self._inverse, 1, 2)) @ self._couplings)
        inner = self._in_effects(inverse[:k, :k])
        rows = [sp.csr_array(turned[a::q]) for a in range(q)]
        for a in range(q):
            for b in range(a + 1):
                share = sum(_inner(inner, f) for f in _products(rows[a], rows[b], sums.is_dense))
                total[a, b] += share
                total[b, a] += share if a != b else 0.0
        if len(inverse) > k:
            mixed = np.swapaxes(self._inverse, 1, 2) @ self._mixed.reshape(-1, q, len(sums.fixed))
            flat = mixed.reshape(len(self._mixed), -1)
            both = turned @ self._by_root(inverse[:k, k:], transpose=False)
            through = np.einsum("lai,lbi->ab", both.reshape(mixed.shape), mixed)
            ends = np.einsum("lai,lbi->ab", (flat @ inverse[k:, k:]).reshape(mixed.shape), mixed)
            total += through + through.T + ends
        return total

    def _inverted(self, with_mean: bool) -> Array:
        """Return the inverse of what is left, with or without the mean coefficients."""
        lower = self._lower if with_mean else self._lower[: self.n_left, : self.n_left]
        if not len(lower):
            return np.zeros((0, 0))
        found: Array = scipy.linalg.lapack.dpotri(lower, lower=1)[0]
        return np.asarray(found + np.tril(found, -1).T)

    @cached_property
    def covariance(self) -> tuple[Array, Array, Array]:
        """Covariance, relative to the noise, of the effects that are left and of the mean."""
        # Shapes: (k, k), (k, p), (p, p).
        inverse, k = self._inverted(with_mean=True), self.n_left
        mixed = self._by_root(inverse[:k, k:], transpose=False)
        return self._in_effects(inverse[:k, :k]), mixed, inverse[k:, k:]

    def _in_effects(self, inverse: Array) -> Array:
        half = self._by_root(inverse, transpose=False)
        return self._by_root(half.T, transpose=False)

    def variances(self, Z: Array, varying: Index, codes: Index) -> Array:
        """Return the variance of what is known of rows, relative to the noise, shape (n,)."""
        # Levels with the code -1 are left out: their prior is for the caller to add.
        sums, first, others = self.sums, self.sums.first, list(self.sums.others)
        own, columns = codes[:, first], Z[:, varying]
        a = columns @ self.roots[first] * (own >= 0)[:, None]
        a = np.einsum("nj,nij->ni", a, self._inverse[np.maximum(own, 0)])
        placed = effect_columns(a, own[:, None], (sums.levels[first],))
        levels = tuple(sums.levels[g] for g in others)
        left = effect_columns(columns, codes[:, others], levels) - placed @ self._couplings
        mean = Z - placed @ self._mixed
        effects, mixed, fixed = self.covariance
        spread = np.asarray((left.multiply(left @ effects)).sum(axis=1)).ravel()
        spread += 2.0 * np.einsum("ni,ni->n", left @ mixed, mean)
        spread += np.einsum("ni,ij,nj->n", mean, fixed, mean)
        return np.asarray(np.maximum(np.sum(a**2, axis=1) + spread, 0.0))


def _block_diagonal(blocks: Array) -> sp.bsr_array:
    """Return a sparse matrix with these blocks. Shapes: blocks (n, q, q)."""
    n, q = blocks.shape[:2]
    return sp.bsr_array((blocks, np.arange(n), np.arange(n + 1)), shape=(n * q, n * q))


def _products(
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


def _add(total: Array, found: Array | sp.coo_array, factor: float) -> None:
    if isinstance(found, np.ndarray):
        total += factor * found
    else:
        total[found.coords] += factor * found.data


def _inner(values: Array, found: Array | sp.coo_array) -> float:
    if isinstance(found, np.ndarray):
        return float(np.vdot(values, found))
    return float(values[found.coords] @ found.data)
