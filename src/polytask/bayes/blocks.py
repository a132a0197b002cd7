"""What the rows of tasks say about their coefficients, in blocks of tasks of like size.

A task with more rows than columns is kept as its moments (X'VX, X'Vy, y'Vy); one with fewer as
the rows themselves, times the roots of their weights, padded with rows of zeros. Both answer
the same questions for a covariance L L' of the coefficients (all relative to the noise):
with S the covariance of the task's targets,

    M = X'S^-1 X,   b = X'S^-1 y,   y'S^-1 y,   log|S|,

at the cost of a Cholesky factor as small as the smaller of rows and columns. Tasks whose
targets were observed in the same rows of one design share one matrix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.bayes.triangular import solve_lower

Array = NDArray[np.float64]
Index = NDArray[np.intp]
# Column numbers; all columns as a slice, which copies nothing.
Chosen = Index | slice


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over tasks. Shapes: gram (p, p), cross (p,)."""

    gram: Array
    cross: Array
    square: float
    log_determinant: float

    def __add__(self, other: Totals) -> Totals:
        """Return the sums over the tasks of both."""
        return Totals(
            self.gram + other.gram,
            self.cross + other.cross,
            self.square + other.square,
            self.log_determinant + other.log_determinant,
        )


class Reduced(ABC):
    """A block of tasks with the random coefficients integrated out."""

    @abstractmethod
    def totals(self) -> Totals:
        """Sum over the tasks of the block."""

    @abstractmethod
    def scores(self, beta: Array, varying: Chosen) -> Array:
        """Return ``a = Z'S^-1 (y - X beta)`` of every task, shape (g, q, k)."""

    @abstractmethod
    def precisions(self, varying: Chosen) -> Array:
        """Return ``P = Z'S^-1 Z``, shape (g, q, q)."""

    @abstractmethod
    def couplings(self, root: Array, varying: Chosen) -> Array:
        """Return ``Z'S^-1 X root``, shape (g, q, columns of root)."""

    @abstractmethod
    def misfits(self, beta: Array) -> Array:
        """Return ``r'S^-1 r`` with ``r = y - X beta``, shape (g, k)."""

    @abstractmethod
    def traces(self, root: Array) -> Array:
        """Return ``tr(root' M root)``, shape (g,)."""


@dataclass(frozen=True, eq=False)
class ReducedMoments(Reduced):
    """Moments with the random coefficients integrated out; `sharing` targets per matrix."""

    gram: Array
    cross: Array
    square: Array
    log_determinant: Array

    def totals(self) -> Totals:
        """Sum over the tasks of the block."""
        k = self.cross.shape[2]
        return Totals(
            k * self.gram.sum(axis=0),
            self.cross.sum(axis=(0, 2)),
            float(self.square.sum()),
            k * float(self.log_determinant.sum()),
        )

    def scores(self, beta: Array, varying: Chosen) -> Array:
        """Return a."""
        misfit: Array = self.cross - (self.gram @ beta)[:, :, None]
        return misfit[:, varying]

    def precisions(self, varying: Chosen) -> Array:
        """Return P."""
        inner: Array = self.gram[:, varying][:, :, varying]
        return inner

    def couplings(self, root: Array, varying: Chosen) -> Array:
        """Return Z'S^-1 X root."""
        return np.asarray(self.gram[:, varying] @ root)

    def misfits(self, beta: Array) -> Array:
        """Return r'S^-1 r."""
        bent = self.gram @ beta
        linear = np.einsum("gpk,p->gk", self.cross, beta)
        return np.asarray(np.maximum(self.square - 2.0 * linear + (bent @ beta)[:, None], 0.0))

    def traces(self, root: Array) -> Array:
        """Return tr(root' M root)."""
        return np.asarray(np.einsum("gpi,pi->g", self.gram @ root, root))


@dataclass(frozen=True, eq=False)
class ReducedRows(Reduced):
    """Rows and targets times S^-1/2."""

    rows: Array
    y: Array
    log_determinant: Array

    def totals(self) -> Totals:
        """Sum over the tasks of the block."""
        g, m, p = self.rows.shape
        k = self.y.shape[2]
        flat = self.rows.reshape(g * m, p)
        return Totals(
            k * (flat.T @ flat),
            flat.T @ self.y.sum(axis=2).reshape(g * m),
            float(np.sum(self.y**2)),
            k * float(self.log_determinant.sum()),
        )

    def scores(self, beta: Array, varying: Chosen) -> Array:
        """Return a."""
        misfit = self.y - (self.rows @ beta)[:, :, None]
        return np.asarray(np.swapaxes(self.rows[:, :, varying], 1, 2) @ misfit)

    def precisions(self, varying: Chosen) -> Array:
        """Return P."""
        Z = self.rows[:, :, varying]
        return np.asarray(np.swapaxes(Z, 1, 2) @ Z)

    def couplings(self, root: Array, varying: Chosen) -> Array:
        """Return Z'S^-1 X root."""
        return np.asarray(np.swapaxes(self.rows[:, :, varying], 1, 2) @ (self.rows @ root))

    def misfits(self, beta: Array) -> Array:
        """Return r'S^-1 r."""
        return np.asarray(np.sum((self.y - (self.rows @ beta)[:, :, None]) ** 2, axis=1))

    def traces(self, root: Array) -> Array:
        """Return tr(root' M root)."""
        return np.asarray(np.sum((self.rows @ root) ** 2, axis=(1, 2)))


class Block(ABC):
    """Tasks of like size. Shapes: tasks (g, k), count (g,)."""

    tasks: Index
    count: Array

    @abstractmethod
    def reduce(self, factor: Array, varying: Chosen, precision: Array | None = None) -> Reduced:
        """Integrate out the random coefficients."""
        # Shapes: factor (q, r), varying (q,), precision (n_tasks,).

    @abstractmethod
    def moments(self) -> tuple[Array, Array, Array]:
        """Return X'VX (g, p, p), X'Vy (g, p, k) and y'Vy (g, k)."""

    @abstractmethod
    def apart(self) -> Block:
        """Return the same tasks with one task per line."""

    @abstractmethod
    def lines(self, which: Chosen) -> Block:
        """Return some of the lines."""

    @property
    @abstractmethod
    def entries(self) -> int:
        """Numbers held."""


@saveable("bayes.moments")
@dataclass(frozen=True, eq=False)
class Moments(Block):
    """Tasks kept as moments."""

    # Shapes: tasks (g, k), count (g,), gram (g, p, p), cross (g, p, k), square (g, k).

    tasks: Index
    count: Array
    gram: Array
    cross: Array
    square: Array

    def reduce(self, factor: Array, varying: Chosen, precision: Array | None = None) -> Reduced:
        """Integrate out the random coefficients by the inversion lemma."""
        gram, cross, square = self.gram, self.cross, self.square
        if precision is not None:
            own = precision[self.tasks[:, 0]]
            gram, cross = gram * own[:, None, None], cross * own[:, None, None]
            square = square * own[:, None]
        p = gram.shape[1]
        seen = factor.T @ np.concatenate([gram[:, varying], cross[:, varying]], axis=2)
        K = seen[:, :, :p][:, :, varying] @ factor
        np.einsum("gii->gi", K)[...] += 1.0
        root = np.linalg.cholesky(K)
        seen = solve_lower(root, seen)
        turned = np.swapaxes(seen[:, :, :p], 1, 2)
        diagonal = np.diagonal(root, axis1=1, axis2=2)
        known = turned @ seen[:, :, :p]
        return ReducedMoments(
            np.subtract(gram, known, out=known),
            cross - turned @ seen[:, :, p:],
            square - np.sum(seen[:, :, p:] ** 2, axis=1),
            2.0 * np.log(diagonal).sum(axis=1),
        )

    def moments(self) -> tuple[Array, Array, Array]:
        """Return the moments."""
        return self.gram, self.cross, self.square

    def apart(self) -> Moments:
        """Return the same tasks with one task per line."""
        g, k = self.tasks.shape
        if k == 1:
            return self
        cross = np.swapaxes(self.cross, 1, 2).reshape(g * k, -1, 1)
        return Moments(
            self.tasks.reshape(-1, 1),
            np.repeat(self.count, k),
            np.repeat(self.gram, k, axis=0),
            cross,
            self.square.reshape(-1, 1),
        )

    def lines(self, which: Chosen) -> Moments:
        """Return some of the lines."""
        parts = (self.count[which], self.gram[which], self.cross[which], self.square[which])
        return Moments(self.tasks[which], *parts)

    @property
    def entries(self) -> int:
        """Numbers held."""
        return self.gram.size + self.cross.size


@saveable("bayes.rows")
@dataclass(frozen=True, eq=False)
class Rows(Block):
    """Tasks kept as rows, which are fewer than the columns."""

    # Shapes: tasks (g, k), count (g,), rows (g, m, p), y (g, m, k).

    tasks: Index
    count: Array
    rows: Array
    y: Array

    def reduce(self, factor: Array, varying: Chosen, precision: Array | None = None) -> Reduced:
        """Integrate out the random coefficients in the space of the rows."""
        joined = np.concatenate([self.rows, self.y], axis=2)
        if precision is not None:
            joined *= np.sqrt(precision[self.tasks[:, 0]])[:, None, None]
        p = self.rows.shape[2]
        seen = joined[:, :, :p][:, :, varying] @ factor
        S = np.eye(seen.shape[1]) + seen @ np.swapaxes(seen, 1, 2)
        root = np.asarray(np.linalg.cholesky(S), dtype=float)
        joined = solve_lower(root, joined)
        diagonal = np.diagonal(root, axis1=1, axis2=2)
        return ReducedRows(joined[:, :, :p], joined[:, :, p:], 2.0 * np.log(diagonal).sum(axis=1))

    def moments(self) -> tuple[Array, Array, Array]:
        """Return the moments."""
        turned = np.swapaxes(self.rows, 1, 2)
        return turned @ self.rows, turned @ self.y, np.sum(self.y**2, axis=1)

    def apart(self) -> Rows:
        """Return the same tasks with one task per line."""
        g, k = self.tasks.shape
        if k == 1:
            return self
        y = np.moveaxis(self.y, 2, 1).reshape(g * k, -1, 1)
        rows = np.repeat(self.rows, k, axis=0)
        return Rows(self.tasks.reshape(-1, 1), np.repeat(self.count, k), rows, y)

    def lines(self, which: Chosen) -> Rows:
        """Return some of the lines."""
        return Rows(self.tasks[which], self.count[which], self.rows[which], self.y[which])

    @property
    def entries(self) -> int:
        """Numbers held."""
        return self.rows.size + self.y.size


def block_of(tasks: Index, count: Array, rows: Array, y: Array) -> Block:
    """Return the smaller form of a block of rows."""
    block = Rows(tasks, count, rows, y)
    if rows.shape[1] <= rows.shape[2]:
        return block
    return Moments(tasks, count, *block.moments())


def renumbered(block: Block, tasks: Index) -> Block:
    """Return the block with other task numbers, shape (g, k)."""
    return replace(block, tasks=tasks)  # type: ignore[type-var]
