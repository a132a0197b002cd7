"""Intercepts: absent, tied in groups, or pulled to the mean of their group or to given values.

A free intercept per task is a tie of groups with one member.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array

Groups = NDArray[np.intp]


class Intercepts(ABC):
    """The set that b may lie in and the quadratic penalty on it.

    Every Newton step on b solves ``(H + K) x = r`` restricted to that set, where H is
    the curvature of the losses in b (diagonal, or one block per task) and K that of the
    penalty.
    """

    @abstractmethod
    def solve(self, curvature: Array, right: Array) -> Array:
        """Solve for a diagonal H given as `curvature` of shape (n_columns,)."""

    @abstractmethod
    def solve_blocks(self, blocks: list[tuple[Groups, Array]], right: Array) -> Array:
        """Solve for a block-diagonal H: a list of (columns, block)."""

    @abstractmethod
    def penalty(self, b: Array) -> float:
        """Value of the penalty on b."""

    @abstractmethod
    def gradient(self, b: Array) -> Array:
        """Gradient of the penalty on b."""

    @abstractmethod
    def conjugate(self, gradient: Array) -> float:
        """Conjugate of the penalty at minus `gradient`, that of the losses in b."""

    @abstractmethod
    def project(self, b: Array) -> Array:
        """Nearest b that the ties allow."""

    @property
    @abstractmethod
    def centres(self) -> bool:
        """Whether each task's features are centred by its own intercept."""

    @property
    @abstractmethod
    def held(self) -> float:
        """Curvature that holds each column's own intercept: 0 if free, inf if it has none."""


@dataclass(frozen=True, eq=False)
class NoIntercepts(Intercepts):
    """All intercepts are zero."""

    centres = False
    held = float("inf")

    def solve(self, curvature: Array, right: Array) -> Array:
        """Return zeros."""
        return np.zeros_like(right)

    def solve_blocks(self, blocks: list[tuple[Groups, Array]], right: Array) -> Array:
        """Return zeros."""
        return np.zeros_like(right)

    def penalty(self, b: Array) -> float:
        """Return 0."""
        return 0.0

    def gradient(self, b: Array) -> Array:
        """Return zeros."""
        return np.zeros_like(b)

    def conjugate(self, gradient: Array) -> float:
        """Return 0."""
        return 0.0

    def project(self, b: Array) -> Array:
        """Return zeros."""
        return np.zeros_like(b)


@dataclass(frozen=True, eq=False)
class TiedIntercepts(Intercepts):
    """One free intercept per group of columns.

    Parameters
    ----------
    groups : ndarray of int of shape (n_columns,)
        Group of each column, numbered from 0.
    """

    groups: Groups

    @property
    def centres(self) -> bool:
        """Whether every group has one member."""
        return int(self.groups.max(initial=-1)) + 1 == self.groups.size

    @property
    def held(self) -> float:
        """Zero for intercepts that are free, inf for tied ones."""
        return 0.0 if self.centres else float("inf")

    def solve(self, curvature: Array, right: Array) -> Array:
        """Solve one equation per group."""
        total = np.bincount(self.groups, curvature)
        needed = np.bincount(self.groups, right)
        # A group without curvature carries no data: it stays where it is.
        step = np.divide(needed, total, out=np.zeros_like(needed), where=total > 0)
        return np.asarray(step[self.groups])

    def solve_blocks(self, blocks: list[tuple[Groups, Array]], right: Array) -> Array:
        """Solve per task when all groups are single, else one dense system."""
        if self.centres:
            return _solve_each(blocks, right)
        size = int(self.groups.max(initial=-1)) + 1
        total = np.zeros((size, size))
        for columns, block in blocks:
            index = self.groups[columns]
            np.add.at(total, (index[:, None], index[None, :]), block)
        needed: Array = np.bincount(self.groups, right, minlength=size).astype(float)
        return np.asarray(_least_squares(total, needed)[self.groups])

    def penalty(self, b: Array) -> float:
        """Return 0."""
        return 0.0

    def gradient(self, b: Array) -> Array:
        """Return zeros."""
        return np.zeros_like(b)

    def conjugate(self, gradient: Array) -> float:
        """Return 0: at the optimum the gradient sums to zero in every group."""
        return 0.0

    def project(self, b: Array) -> Array:
        """Average within each group."""
        return _group_means(b, self.groups)


@dataclass(frozen=True, eq=False)
class PulledIntercepts(Intercepts):
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
    def centres(self) -> bool:
        """Whether every group has one member, which nothing pulls."""
        return int(self.groups.max(initial=-1)) + 1 == self.groups.size

    @property
    def held(self) -> float:
        """The strength, or zero if nothing is pulled."""
        return 0.0 if self.centres else self.strength

    def solve(self, curvature: Array, right: Array) -> Array:
        """Solve a diagonal plus one rank-one term per group (Sherman-Morrison)."""
        count = np.bincount(self.groups).astype(float)
        # Eliminate the group mean: b = (r + k m) / (h + k), m = mean of b.
        single = count[self.groups] == 1
        pull = np.where(single, 0.0, self.strength)
        base = curvature + pull
        inverse = np.divide(1.0, base, out=np.zeros_like(base), where=base > 0)
        own = right * inverse
        # 1 - (1/n) sum k / (h + k) written without cancellation.
        lack = np.bincount(self.groups, np.where(single, 1.0, curvature * inverse)) / count
        mean_own = np.bincount(self.groups, own) / count
        mean = np.divide(mean_own, lack, out=np.zeros_like(lack), where=lack > 0)
        return np.asarray(own + pull * inverse * mean[self.groups])

    def solve_blocks(self, blocks: list[tuple[Groups, Array]], right: Array) -> Array:
        """Solve blocks plus one rank-one term per group, eliminating the group means."""
        size = int(self.groups.max(initial=-1)) + 1
        own, response = np.zeros_like(right), []
        middle = np.zeros((size, size))
        for columns, matrices in _same_size(blocks):
            values, vectors = _clean_eigh(matrices)
            inverse = 1.0 / (values + self.strength)
            turned = np.swapaxes(vectors, 1, 2)
            inner = inverse[:, :, None] * (turned @ right[columns][:, :, None])
            own[columns] = (vectors @ inner)[:, :, 0]
            # I - strength (H + strength)^-1, written without cancellation.
            lack = (vectors * (values * inverse)[:, None, :]) @ turned
            index = self.groups[columns]
            np.add.at(middle, (index[:, :, None], index[:, None, :]), lack)
            pulled = (vectors * (self.strength * inverse)[:, None, :]) @ turned
            response.append((columns, pulled))
        sums: Array = np.bincount(self.groups, own, minlength=size).astype(float)
        means = _least_squares(middle, sums)
        for columns, matrices in response:
            own[columns] += (matrices @ means[self.groups[columns]][:, :, None])[:, :, 0]
        return own

    def penalty(self, b: Array) -> float:
        """Return half the strength times the squared distances to the group means."""
        away = b - _group_means(b, self.groups)
        return 0.5 * self.strength * float(away @ away)

    def gradient(self, b: Array) -> Array:
        """Return the strength times the distances to the group means."""
        return self.strength * (b - _group_means(b, self.groups))

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
    def held(self) -> float:
        """The strength."""
        return self.strength

    def solve(self, curvature: Array, right: Array) -> Array:
        """Divide by the curvature and the strength."""
        return np.asarray(right / (curvature + self.strength))

    def solve_blocks(self, blocks: list[tuple[Groups, Array]], right: Array) -> Array:
        """Solve every block by itself."""
        solved = right / self.strength
        for columns, matrices in _same_size(blocks):
            values, vectors = _clean_eigh(matrices)
            turned = np.swapaxes(vectors, 1, 2)
            inner = (turned @ right[columns][:, :, None]) / (values + self.strength)[:, :, None]
            solved[columns] = (vectors @ inner)[:, :, 0]
        return np.asarray(solved)

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


def _group_means(b: Array, groups: Groups) -> Array:
    if not b.size:
        return b
    return np.asarray((np.bincount(groups, b) / np.bincount(groups))[groups])


def _same_size(blocks: list[tuple[Groups, Array]]) -> list[tuple[Groups, Array]]:
    """Stack the blocks of each size: columns of shape (m, k), matrices of shape (m, k, k)."""
    by_size: dict[int, list[tuple[Groups, Array]]] = {}
    for columns, block in blocks:
        by_size.setdefault(len(columns), []).append((columns, block))
    return [
        (np.stack([c for c, _ in same]), np.stack([h for _, h in same]))
        for size, same in by_size.items()
        if size
    ]


def _solve_each(blocks: list[tuple[Groups, Array]], right: Array) -> Array:
    solved = np.zeros_like(right)
    for columns, matrices in _same_size(blocks):
        solved[columns] = _shortest(matrices, right[columns])
    return solved


def _clean_eigh(matrices: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of each matrix; eigenvalues that are rounding become 0."""
    values, vectors = np.linalg.eigh(matrices)
    size = values.shape[-1]
    floor = np.maximum(values[..., -1:], 0.0) * size * np.finfo(float).eps * 10
    return np.where(values > floor, values, 0.0), vectors


def _shortest(matrices: Array, right: Array) -> Array:
    """Solve positive semi-definite systems, the shortest solution of each if singular."""
    values, vectors = _clean_eigh(matrices)
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
    turned = np.swapaxes(vectors, -1, -2)
    inner = inverse[..., None] * (turned @ right[..., None])
    return np.asarray((vectors @ inner)[..., 0])


def _least_squares(matrix: Array, right: Array) -> Array:
    return _shortest(matrix, right) if len(matrix) else right
