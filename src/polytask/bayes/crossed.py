"""Numbers of rows that belong to one level of each of several groupings: sums and equations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._registry import State, fields_of, saveable
from polytask.bayes.blocks import Array
from polytask.bayes.crossed_left import LeftParts, block_diagonal, left_system
from polytask.bayes.normal import ridge_of

Index = NDArray[np.intp]

# Rows that are summed up at a time.
_PIECE = 65_536
# No variance, relative to the noise and for effects on columns of unit size, is below this.
_LEAST_VARIANCE = 1e-10
# A product of sparse matrices takes so many times as long per pair as a dense one.
_SPARSE_COST = 200.0


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

    def with_levels(self, g: int, blocks: Array, cross: Array) -> CrossedSums:
        """Return the sums with further levels of a grouping, which have no rows with others."""
        # Shapes: blocks (n, q, q), cross (n, q).
        n, stop = len(blocks), self.slices[g].stop
        size, more = len(self.cross), n * self.q
        order = np.insert(np.arange(size), stop, np.arange(size, size + more))
        gram = sp.csr_array(sp.block_diag([self.gram, block_diagonal(blocks)]))
        return replace(
            self,
            levels=tuple(count + n * (k == g) for k, count in enumerate(self.levels)),
            gram=sp.csr_array(gram[order][:, order]),
            mixed=np.insert(self.mixed, [stop] * more, 0.0, axis=0),
            cross=np.insert(self.cross, stop, cross.ravel()),
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


@dataclass(frozen=True, eq=False)
class CrossedRows:
    """Rows that are at hand, with their columns at the places of their levels."""

    # Shapes: Z (n, p), codes (n, groupings), varying (q,).

    Z: Array
    codes: Index
    levels: tuple[int, ...]
    varying: Index

    @cached_property
    def effects(self) -> sp.csr_array:
        """The columns of the effects, shape (n, K)."""
        return effect_columns(self.Z[:, self.varying], self.codes, self.levels)

    @cached_property
    def _transposed(self) -> sp.csr_array:
        return sp.csr_array(self.effects.T)

    def of_columns(self, columns: Index) -> CrossedRows:
        """Return the rows with effects on some of the q columns."""
        return replace(self, varying=self.varying[columns])

    def sums(self, weight: Array, right: Array) -> CrossedSums:
        """Return sums of rows of these weights. Shapes: right (n,), weights times targets."""
        random, fixed = self.project(right)
        return CrossedSums(
            levels=self.levels,
            q=len(self.varying),
            gram=sp.csr_array(self._transposed @ (sp.diags_array(weight) @ self.effects)),
            mixed=np.asarray(self._transposed @ (self.Z * weight[:, None])),
            fixed=(self.Z * weight[:, None]).T @ self.Z,
            cross=random,
            mean_cross=fixed,
            square=0.0,
            count=float(weight.sum()),
        )

    def project(self, values: Array) -> tuple[Array, Array]:
        """Return the products of the columns of effects and mean with values of the rows."""
        return np.asarray(self._transposed @ values), np.asarray(self.Z.T @ values)

    def predictors(self, effects: Array, beta: Array) -> Array:
        """Return the linear predictors of the rows. Shapes: effects (K,), beta (p,)."""
        return np.asarray(self.effects @ effects + self.Z @ beta)


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


def roots_of(covariances: Sequence[Array], moments: Array) -> list[Array]:
    """Return lower triangles of covariances, which may be zero, shape (q, q) each."""
    # Shapes: moments (q,), the mean squares of the columns.
    least = np.diag(_LEAST_VARIANCE / moments)
    return [np.asarray(np.linalg.cholesky(own + least), dtype=float) for own in covariances]


def effects_of(unit: Array, roots: Sequence[Array], levels: Sequence[int]) -> Array:
    """Return the effects b = root u of all levels. Shapes: unit and result (K, m)."""
    m, found, start = unit.shape[1], [], 0
    for root, n in zip(roots, levels, strict=True):
        stop = start + n * len(root)
        found.append((root @ unit[start:stop].reshape(n, len(root), m)).reshape(-1, m))
        start = stop
    return np.concatenate(found)


class MixedEquations:
    """Henderson's mixed model equations for covariances relative to the noise.

    The effects of the grouping with the most levels are eliminated: given the others they are
    independent. The others are solved for densely, or by conjugate gradients where they are
    many, and the mean coefficients by what these leave.
    """

    # Effects are b = root u with u of unit covariance, so that a variance may be zero. Shapes:
    # roots (q, q) each, precision (p,) that of the prior of the mean coefficients, None: flat,
    # moments (q,) the mean squares of columns, None: those of the sums.

    def __init__(
        self,
        sums: CrossedSums,
        covariances: Sequence[Array],
        precision: Array | None = None,
        moments: Array | None = None,
    ) -> None:
        self.sums, self.covariances = sums, tuple(covariances)
        self.roots = roots_of(covariances, sums.moments if moments is None else moments)
        root, q = self.roots[sums.first], sums.q
        lower = np.linalg.cholesky(root.T @ sums.blocks @ root + np.eye(q))
        self._inverse = np.linalg.inv(lower)
        self._whitened = block_diagonal(self._inverse @ root.T)
        repeated = [np.broadcast_to(self.roots[g], (sums.levels[g], q, q)) for g in sums.others]
        self._root = block_diagonal(np.concatenate([np.zeros((0, q, q)), *repeated]))
        couplings = sp.csr_array(self._whitened @ sums.couplings @ self._root)
        own = sp.csr_array(self._root.T @ sums.gram[sums.rest][:, sums.rest] @ self._root)
        turned = sp.csr_array(block_diagonal(np.swapaxes(self._inverse, 1, 2)) @ couplings)
        levels = [sums.levels[g] for g in sums.others]
        self.left = left_system(LeftParts(own, couplings, turned, levels, q, sums.is_dense))
        self._couplings = couplings
        self._mixed = np.asarray(self._whitened @ sums.mixed[sums.slices[sums.first]])
        self._left_mixed = self._root.T @ sums.mixed[sums.rest] - couplings.T @ self._mixed
        self._through = self.left.solve(self._left_mixed)
        own_precision = ridge_of(sums.fixed) if precision is None else precision
        S = sums.fixed + np.diag(own_precision) - self._mixed.T @ self._mixed
        S -= self._left_mixed.T @ self._through
        self._mean_lower = np.linalg.cholesky(0.5 * (S + S.T))
        logs = np.log(np.diagonal(lower, axis1=1, axis2=2))
        self.log_determinant = 2.0 * float(logs.sum()) + self.left.log_determinant
        self.mean_log_determinant = 2.0 * float(np.log(np.diagonal(self._mean_lower)).sum())

    def solve(self, random: Array, fixed: Array) -> tuple[Array, Array]:
        """Return effects and mean coefficients. Shapes: random (K, m), fixed (p, m)."""
        effects, beta = self.solve_for_unit(random, fixed)
        return self.effects_of(effects), beta

    def effects_of(self, unit: Array) -> Array:
        """Return b = root u. Shapes: unit and result (K, m)."""
        return effects_of(unit, self.roots, self.sums.levels)

    def solve_for_unit(self, random: Array, fixed: Array) -> tuple[Array, Array]:
        """Return u and mean coefficients. Shapes: random (K, m), fixed (p, m)."""
        sums, q = self.sums, self.sums.q
        part = sums.slices[sums.first]
        own = np.asarray(self._whitened @ random[part])
        left = self.left.solve(self._root.T @ random[sums.rest] - self._couplings.T @ own)
        rest = fixed - self._mixed.T @ own - self._left_mixed.T @ left
        beta = scipy.linalg.cho_solve((self._mean_lower, True), rest)
        left -= self._through @ beta
        unit = np.empty_like(random)
        unit[sums.rest] = left
        eliminated = (own - self._couplings @ left - self._mixed @ beta).reshape(
            -1, q, random.shape[1]
        )
        first = np.swapaxes(self._inverse, 1, 2) @ eliminated
        unit[part] = first.reshape(-1, random.shape[1])
        return unit, np.asarray(beta)

    @property
    def mean_covariance(self) -> Array:
        """Posterior covariance of the mean coefficients, relative to the noise, shape (p, p)."""
        eye = np.eye(len(self._mean_lower))
        return np.asarray(scipy.linalg.cho_solve((self._mean_lower, True), eye))

    def traces(self, restricted: bool) -> list[Array]:
        """Return the sum over the levels of a grouping of Z' P Z, shape (q, q) each."""
        # P is the inverse covariance of the rows, relative to the noise; the restricted one is
        # without what the mean coefficients fit.
        sums, q = self.sums, self.sums.q
        others, first = self.left.traces()
        first = first + np.einsum("lia,lib->ab", self._inverse, self._inverse)
        if restricted:
            half = np.linalg.inv(self._mean_lower).T
            left = self._through @ half
            eliminated = np.swapaxes(self._inverse, 1, 2) @ (
                self._mixed @ half - self._couplings @ left
            ).reshape(-1, q, half.shape[1])
            first += np.einsum("lai,lbi->ab", eliminated, eliminated)
            others = [a + b for a, b in zip(others, self.left.squares(left), strict=True)]
        found = [np.zeros((q, q))] * len(sums.levels)
        for g, inverse in zip((sums.first, *sums.others), (first, *others), strict=True):
            # The posterior covariance of u says what of its unit prior the rows have taken.
            shrunk = sums.levels[g] * np.eye(q) - inverse
            turned = scipy.linalg.solve_triangular(self.roots[g].T, shrunk)
            found[g] = np.asarray(scipy.linalg.solve_triangular(self.roots[g].T, turned.T))
        return found

    def covariance(self, Z: Array, varying: Index, codes: Index) -> Array:
        """Return the covariance of what is known of a few rows, relative to the noise, (n, n)."""
        # Levels with the code -1 are left out.
        own = effect_columns(Z[:, varying], codes, self.sums.levels)
        effects, beta = self.solve(own.T.toarray(), Z.T)
        return np.asarray(own @ effects + Z @ beta)

    def variances(self, Z: Array, varying: Index, codes: Index) -> Array:
        """Return the variance of what is known of rows, relative to the noise, shape (n,)."""
        # Levels with the code -1 are left out: their prior is for the caller to add.
        sums, first, others = self.sums, self.sums.first, list(self.sums.others)
        own, columns = codes[:, first], Z[:, varying]
        a = columns @ self.roots[first] * (own >= 0)[:, None]
        a = np.einsum("nj,nij->ni", a, self._inverse[np.maximum(own, 0)])
        placed = effect_columns(a, own[:, None], (sums.levels[first],))
        levels = tuple(sums.levels[g] for g in others)
        direct = effect_columns(columns, codes[:, others], levels) @ self._root
        left = sp.csr_array(direct - placed @ self._couplings)
        mean = Z - placed @ self._mixed - left @ self._through
        fixed = scipy.linalg.solve_triangular(self._mean_lower, mean.T, lower=True)
        spread = self.left.forms(left) + np.sum(a**2, axis=1) + np.sum(fixed**2, axis=0)
        return np.asarray(np.maximum(spread, 0.0))
