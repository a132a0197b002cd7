"""Intercepts: absent, tied in groups, or pulled; and those that minimise the losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array
from polytask.datafits.designs import Shared, Stacked
from polytask.losses import LogLink

Groups = NDArray[np.intp]


def same_size(blocks: list[tuple[Groups, Array]]) -> list[tuple[Groups, Array]]:
    """Stack the blocks of each size: columns of shape (m, k), matrices of shape (m, k, k)."""
    by_size: dict[int, list[tuple[Groups, Array]]] = {}
    for columns, block in blocks:
        by_size.setdefault(len(columns), []).append((columns, block))
    return [
        (np.array([c for c, _ in same]), np.array([h for _, h in same]))
        for size, same in by_size.items()
        if size
    ]


def solve_each(blocks: list[tuple[Groups, Array]], right: Array) -> Array:
    """Solve every block by itself."""
    solved = np.zeros_like(right)
    for columns, matrices in same_size(blocks):
        solved[columns] = shortest(matrices, right[columns])
    return solved


def clean_eigh(matrices: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of each matrix; eigenvalues that are rounding become 0."""
    values, vectors = np.linalg.eigh(matrices)
    size = values.shape[-1]
    floor = np.maximum(values[..., -1:], 0.0) * size * np.finfo(float).eps * 10
    return np.where(values > floor, values, 0.0), vectors


def shortest(matrices: Array, right: Array) -> Array:
    """Solve positive semi-definite systems, the shortest solution of each if singular."""
    return shortest_solver(matrices)(right)


def shortest_solver(matrices: Array) -> Callable[[Array], Array]:
    """Return what solves positive semi-definite systems, which may be empty, for right sides."""
    if not matrices.shape[-1]:
        return lambda right: right
    values, vectors = clean_eigh(matrices)
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
    turned = np.swapaxes(vectors, -1, -2)

    def solve(right: Array) -> Array:
        inner = inverse[..., None] * (turned @ right[..., None])
        return np.asarray((vectors @ inner)[..., 0])

    return solve


# What stands for the sum of all counts where each is zero, per unit of weight: their best
# level is minus infinity.
_ALMOST_NONE = 1e-3


def log_sums(
    design: Stacked | Shared, loss: LogLink, y: Array, weight: Array, eta: Array
) -> tuple[Array, Array]:
    """Return the logarithms of the two sums whose ratio is the best constant."""
    # Shapes: linear, exponential (columns of the design,).
    exponent = np.where(weight > 0, loss.side * eta + loss.log_factor(y), -np.inf)
    top = _largest(design, exponent)
    top = np.where(np.isfinite(top), top, 0.0)
    whole = np.zeros(int(design.columns.max(initial=-1)) + 1)
    whole[design.columns] = top
    sums = design.collect(weight * np.exp(exponent - design.spread(whole)))
    total = design.collect(weight)
    multiple = np.maximum(design.collect(weight * loss.multiple(y)), _ALMOST_NONE * total)
    return _log(multiple), top + _log(sums)


def _largest(design: Stacked | Shared, values: Array) -> Array:
    """Return the largest value of each column, -inf without rows."""
    if isinstance(design, Shared):
        return np.asarray(values.max(axis=0, initial=-np.inf))
    filled = np.diff(design.offsets) > 0
    out = np.full(len(filled), -np.inf)
    if filled.any():
        out[filled] = np.maximum.reduceat(values, design.offsets[:-1][filled])
    return out


def _log(sums: Array) -> Array:
    """Return logarithms, NaN of sums over nothing."""
    return np.log(sums, out=np.full_like(sums, np.nan), where=sums > 0)


def joined_sums(sums: Array, groups: NDArray[np.intp]) -> Array:
    """Return logarithms of sums over the columns of each group, one for every column."""
    # Shapes: sums (n_columns,), groups (n_columns,).
    total = np.full(int(groups.max(initial=-1)) + 1, -np.inf)
    seen = ~np.isnan(sums)
    np.logaddexp.at(total, groups[seen], sums[seen])
    total = np.where(np.isneginf(total), np.nan, total)
    return np.asarray(total[groups])


class LevelArrays(NamedTuple):
    """A Newton step on b as arrays, for compiled loops."""

    # Shapes: groups (n_columns,), direct, spread, gather, anchor, share (n_columns,).
    # The step from b is ``direct * r + spread * sums(gather * r)`` with ``r = right - pull`` and
    # ``pull = strength * (b - anchor - share * sums(b))``, where ``sums`` gives every column the
    # sum over its group.

    groups: Groups
    direct: Array
    spread: Array
    gather: Array
    anchor: Array
    share: Array
    strength: float


class Intercepts(ABC):
    """The set that b may lie in and the quadratic penalty on it.

    Every Newton step on b solves ``(H + K) x = r`` restricted to that set, where H is
    the curvature of the losses in b (diagonal, or one block per task) and K that of the
    penalty.
    """

    @abstractmethod
    def solver(self, curvature: Array) -> Callable[[Array], Array]:
        """Return what solves for a diagonal H, given as `curvature` of shape (n_columns,)."""

    @abstractmethod
    def arrays(self, curvature: Array) -> LevelArrays:
        """Return the step for a diagonal H as arrays."""

    def solve(self, curvature: Array, right: Array) -> Array:
        """Solve for a diagonal H once."""
        return self.solver(curvature)(right)

    @abstractmethod
    def block_solver(self, blocks: list[tuple[Groups, Array]]) -> Callable[[Array], Array]:
        """Return what solves for a block-diagonal H: a list of (columns, block)."""

    def penalty(self, b: Array) -> float:
        """Value of the penalty on b; 0 where nothing pulls."""
        return 0.0

    def gradient(self, b: Array) -> Array:
        """Gradient of the penalty on b."""
        return np.zeros_like(b)

    def conjugate(self, gradient: Array) -> float:
        """Conjugate of the penalty at minus `gradient`, that of the losses in b."""
        # Where nothing pulls the gradient sums to zero in every group at the optimum.
        return 0.0

    @abstractmethod
    def project(self, b: Array) -> Array:
        """Nearest b that the ties allow."""

    @property
    @abstractmethod
    def centres(self) -> bool:
        """Whether each task's features are centred by its own intercept."""

    @property
    def couples(self) -> bool:
        """Whether the intercept of a column depends on other columns."""
        return False

    @property
    @abstractmethod
    def own_curvature(self) -> float:
        """Curvature that holds each column's own intercept: 0 if free, inf if it has none."""


@dataclass(frozen=True, eq=False)
class NoIntercepts(Intercepts):
    """All intercepts are zero."""

    centres = False
    own_curvature = float("inf")

    def solver(self, curvature: Array) -> Callable[[Array], Array]:
        """Return what gives zeros."""
        return np.zeros_like

    def arrays(self, curvature: Array) -> LevelArrays:
        """Return a step of zeros."""
        zero = np.zeros_like(curvature)
        groups = np.zeros(len(curvature), dtype=np.intp)
        return LevelArrays(groups, zero, zero, zero, zero, zero, 0.0)

    def block_solver(self, blocks: list[tuple[Groups, Array]]) -> Callable[[Array], Array]:
        """Return what gives zeros."""
        return np.zeros_like

    def project(self, b: Array) -> Array:
        """Return zeros."""
        return np.zeros_like(b)


class GroupedIntercepts(Intercepts):
    """Intercepts of columns in groups. Shapes: groups (n_columns,), numbered from 0."""

    groups: Groups

    @final
    @property
    def centres(self) -> bool:
        """Whether every group has one member."""
        return int(self.groups.max(initial=-1)) + 1 == self.groups.size

    @final
    @property
    def couples(self) -> bool:
        """Whether a group has several members."""
        return not self.centres


@dataclass(frozen=True, eq=False)
class TiedIntercepts(GroupedIntercepts):
    """One free intercept per group of columns.

    Parameters
    ----------
    groups : ndarray of int of shape (n_columns,)
        Group of each column, numbered from 0.
    """

    groups: Groups

    @property
    def own_curvature(self) -> float:
        """Zero for intercepts that are free, inf for tied ones."""
        return 0.0 if self.centres else float("inf")

    def solver(self, curvature: Array) -> Callable[[Array], Array]:
        """Return what solves one equation per group."""
        total = np.bincount(self.groups, curvature)
        # A group without curvature carries no data: it stays where it is.
        inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)

        def solve(right: Array) -> Array:
            return np.asarray((np.bincount(self.groups, right) * inverse)[self.groups])

        return solve

    def arrays(self, curvature: Array) -> LevelArrays:
        """Return the mean misfit of every group."""
        zero, total = np.zeros_like(curvature), np.bincount(self.groups, curvature)[self.groups]
        inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        ones = np.ones_like(zero)
        return LevelArrays(self.groups, zero, ones, inverse, zero, zero, 0.0)

    def block_solver(self, blocks: list[tuple[Groups, Array]]) -> Callable[[Array], Array]:
        """Return what solves per task when all groups are single, else one dense system."""
        if self.centres:
            return partial(solve_each, blocks)
        size = int(self.groups.max(initial=-1)) + 1
        total = np.zeros((size, size))
        for columns, block in blocks:
            index = self.groups[columns]
            np.add.at(total, (index[:, None], index[None, :]), block)

        def solve(right: Array) -> Array:
            needed: Array = np.bincount(self.groups, right, minlength=size).astype(float)
            return np.asarray(shortest(total, needed)[self.groups])

        return solve

    def project(self, b: Array) -> Array:
        """Average within each group."""
        if not b.size:
            return b
        means = np.bincount(self.groups, b) / np.bincount(self.groups)
        return np.asarray(means[self.groups])


@dataclass(frozen=True, eq=False)
class PulledIntercepts(GroupedIntercepts):
    """Intercepts pulled to the unpenalised mean of their group.

    The penalty is ``strength / 2 * sum over groups of sum_c (b_c - mean)^2``.

    Parameters
    ----------
    groups : ndarray of int of shape (n_columns,)
        Group of each column, numbered from 0.
    strength : float
        Positive.
    """

    groups: Groups
    strength: float

    @property
    def own_curvature(self) -> float:
        """The strength, or zero if nothing is pulled."""
        return 0.0 if self.centres else self.strength

    def solver(self, curvature: Array) -> Callable[[Array], Array]:
        """Return what solves a diagonal plus one rank-one term per group (Sherman-Morrison)."""
        inverse, pulled, share = self._factors(curvature)

        def solve(right: Array) -> Array:
            own = right * inverse
            mean = np.bincount(self.groups, own) * share
            return np.asarray(own + pulled * mean[self.groups])

        return solve

    def _factors(self, curvature: Array) -> tuple[Array, Array, Array]:
        """Return 1 / (h + k), k / (h + k), and what makes sums over groups the means of b."""
        # Eliminate the group mean: b = (r + k m) / (h + k), m = mean of b.
        single = self._count[self.groups] == 1
        pull = np.where(single, 0.0, self.strength)
        base = curvature + pull
        inverse = np.divide(1.0, base, out=np.zeros_like(base), where=base > 0)
        # n - sum k / (h + k) written without cancellation.
        lack = np.bincount(self.groups, np.where(single, 1.0, curvature * inverse))
        share = np.divide(1.0, lack, out=np.zeros_like(lack), where=lack > 0)
        return inverse, pull * inverse, share

    def arrays(self, curvature: Array) -> LevelArrays:
        """Return the step as arrays."""
        inverse, pulled, share = self._factors(curvature)
        gather, mean = inverse * share[self.groups], 1.0 / self._count[self.groups]
        zero = np.zeros_like(inverse)
        return LevelArrays(self.groups, inverse, pulled, gather, zero, mean, self.strength)

    def block_solver(self, blocks: list[tuple[Groups, Array]]) -> Callable[[Array], Array]:
        """Return what solves blocks plus one rank-one term per group, by way of group means."""
        size = int(self.groups.max(initial=-1)) + 1
        middle, factors = np.zeros((size, size)), []
        for columns, matrices in same_size(blocks):
            values, vectors = clean_eigh(matrices)
            inverse = 1.0 / (values + self.strength)
            turned = np.swapaxes(vectors, 1, 2)
            # I - strength (H + strength)^-1, written without cancellation.
            lack = (vectors * (values * inverse)[:, None, :]) @ turned
            index = self.groups[columns]
            np.add.at(middle, (index[:, :, None], index[:, None, :]), lack)
            pulled = (vectors * (self.strength * inverse)[:, None, :]) @ turned
            factors.append((columns, inverse, vectors, turned, pulled))

        means_of = shortest_solver(middle)

        def solve(right: Array) -> Array:
            own = np.zeros_like(right)
            for columns, inverse, vectors, turned, _ in factors:
                inner = inverse[:, :, None] * (turned @ right[columns][:, :, None])
                own[columns] = (vectors @ inner)[:, :, 0]
            sums: Array = np.bincount(self.groups, own, minlength=size).astype(float)
            means = means_of(sums)
            for columns, *_, pulled in factors:
                own[columns] += (pulled @ means[self.groups[columns]][:, :, None])[:, :, 0]
            return own

        return solve

    def penalty(self, b: Array) -> float:
        """Return half the strength times the squared distances to the group means."""
        away = self._away(b)
        return 0.5 * self.strength * float(away @ away)

    def gradient(self, b: Array) -> Array:
        """Return the strength times the distances to the group means."""
        return self.strength * self._away(b)

    @cached_property
    def _count(self) -> Array:
        return np.bincount(self.groups).astype(float)

    def _away(self, b: Array) -> Array:
        """Return the distances to the group means."""
        if not b.size:
            return b
        return np.asarray(b - (np.bincount(self.groups, b) / self._count)[self.groups])

    def conjugate(self, gradient: Array) -> float:
        """Return the squared norm over twice the strength."""
        return float(gradient @ gradient) / (2.0 * self.strength)

    def project(self, b: Array) -> Array:
        """Return b: nothing is tied."""
        return b


@dataclass(frozen=True, eq=False)
class AnchoredIntercepts(Intercepts):
    """Intercepts pulled to given values.

    The penalty is ``strength / 2 * sum_c (b_c - anchor_c)^2``.

    Parameters
    ----------
    anchor : ndarray of shape (n_columns,)
        What each intercept is pulled to.
    strength : float
        Positive.
    """

    anchor: Array
    strength: float
    centres = False

    @property
    def own_curvature(self) -> float:
        """The strength."""
        return self.strength

    def solver(self, curvature: Array) -> Callable[[Array], Array]:
        """Return what divides by the curvature and the strength."""
        total = curvature + self.strength
        return lambda right: np.asarray(right / total)

    def arrays(self, curvature: Array) -> LevelArrays:
        """Return the step as arrays."""
        zero, direct = np.zeros_like(curvature), 1.0 / (curvature + self.strength)
        groups = np.zeros(len(curvature), dtype=np.intp)
        return LevelArrays(groups, direct, zero, zero, self.anchor, zero, self.strength)

    def block_solver(self, blocks: list[tuple[Groups, Array]]) -> Callable[[Array], Array]:
        """Return what solves every block by itself."""

        def solve(right: Array) -> Array:
            solved = right / self.strength
            for columns, matrices in same_size(blocks):
                values, vectors = clean_eigh(matrices)
                turned = np.swapaxes(vectors, 1, 2)
                scale = (values + self.strength)[:, :, None]
                inner = (turned @ right[columns][:, :, None]) / scale
                solved[columns] = (vectors @ inner)[:, :, 0]
            return np.asarray(solved)

        return solve

    def penalty(self, b: Array) -> float:
        """Return half the strength times the squared distance to the anchor."""
        away = b - self.anchor
        return 0.5 * self.strength * float(away @ away)

    def gradient(self, b: Array) -> Array:
        """Return the strength times the distance to the anchor."""
        return self.strength * (b - self.anchor)

    def conjugate(self, gradient: Array) -> float:
        """Return the squared norm over twice the strength, less the product with the anchor."""
        return float(gradient @ gradient) / (2.0 * self.strength) - float(gradient @ self.anchor)

    def project(self, b: Array) -> Array:
        """Return b: nothing is tied."""
        return b
