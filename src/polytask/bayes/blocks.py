"""What the rows of tasks say about their coefficients, in blocks of tasks of like size."""

from __future__ import annotations

import os
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Self, TypeVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from polytask._registry import saveable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# Fewer items are not worth starting threads for.
_FEW = 8
_MOST_THREADS = 4


def in_order(function: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
    """Yield the answers for the items, a few at a time so that few are held at once."""
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    if len(items) < _FEW or threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(items), threads):
            yield from pool.map(function, items[start : start + threads])


Array = NDArray[np.float64]

# Triangles inverted on the diagonal: all the rest of the work is products of stacks.
_SIZE = 8
# Beyond this width one call for each triangle is faster.
_STACKED_WIDTH = 128


def solve_lower(triangles: Array, right: Array) -> Array:
    """Return L^-1 B for lower triangles, several times faster than a general solve."""
    # Shapes: triangles (B, r, r), right (B, r, k), result (B, r, k).
    # Forward substitution by blocks of rows, with the triangles on the diagonal inverted: backward
    # stable as substitution is as long as those small triangles are no worse than the whole.
    r = triangles.shape[1]
    if r > _STACKED_WIDTH:
        pairs = zip(triangles, right, strict=True)
        return np.stack([scipy.linalg.solve_triangular(L, B, lower=True) for L, B in pairs])
    found = np.empty(right.shape)
    for start in range(0, r, _SIZE):
        own = slice(start, min(start + _SIZE, r))
        left = right[:, own]
        if start:
            left = left - triangles[:, own, :start] @ found[:, :start]
        found[:, own] = _inverses(triangles[:, own, own]) @ left
    return found


def _inverses(triangles: Array) -> Array:
    """Return the inverses of small lower triangles, row by row for all of them."""
    found = np.zeros(triangles.shape)
    scale = 1.0 / np.diagonal(triangles, axis1=1, axis2=2)
    for i in range(triangles.shape[1]):
        above = (triangles[:, i, None, :i] @ found[:, :i, :i])[:, 0]
        found[:, i, :i] = -scale[:, i, None] * above
        found[:, i, i] = scale[:, i]
    return found


Index = NDArray[np.intp]
# Column numbers; all columns as a slice, which copies nothing.
Chosen = Index | slice


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over tasks. Shapes: gram (p, p), cross (p,)."""

    gram: Array
    cross: Array
    log_determinant: float
    square: float = 0.0

    def __add__(self, other: Totals) -> Totals:
        """Return the sums over the tasks of both."""
        return Totals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class ReducedMoments:
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
            k * float(self.log_determinant.sum()),
            float(self.square.sum()),
        )

    def scores(self, beta: Array, varying: Chosen) -> Array:
        """Return ``a = Z'S^-1 (y - X beta)`` of every task, shape (g, q, k)."""
        misfit: Array = self.cross - (self.gram @ beta)[:, :, None]
        return misfit[:, varying]

    def product(self, W: Array) -> Array:
        """Return ``X'S^-1 X w`` for coefficients of every task, shapes (g, p)."""
        return np.asarray((self.gram @ W[:, :, None])[:, :, 0])

    def precisions(self, varying: Chosen) -> Array:
        """Return ``P = Z'S^-1 Z``, shape (g, q, q)."""
        inner: Array = self.gram[:, varying][:, :, varying]
        return inner

    def precision(self, varying: Chosen) -> Array:
        """Return the sum of P over the lines, shape (q, q)."""
        return np.asarray(self.precisions(varying).sum(axis=0))

    def precision_diagonal(self, varying: Chosen) -> Array:
        """Return the diagonal of the sum of P, shape (q,)."""
        return np.asarray(np.diagonal(self.gram, axis1=1, axis2=2).sum(axis=0)[varying])

    def information(self, varying: Chosen) -> Array:
        """Return the expected information about pairs of mirrored entries of the covariance."""
        # The sum over the lines of ``P_ii P_jj + P_ij^2``, shape (q, q).
        P = self.precisions(varying)
        own = np.diagonal(P, axis1=1, axis2=2)
        return np.asarray(own.T @ own + np.sum(P**2, axis=0))

    def couplings(self, root: Array, varying: Chosen) -> Array:
        """Return ``Z'S^-1 X root``, shape (g, q, columns of root)."""
        return np.asarray(self.gram[:, varying] @ root)

    def misfits(self, beta: Array) -> Array:
        """Return ``r'S^-1 r`` with ``r = y - X beta``, shape (g, k)."""
        bent = self.gram @ beta
        linear = np.einsum("gpk,p->gk", self.cross, beta)
        return np.asarray(np.maximum(self.square - 2.0 * linear + (bent @ beta)[:, None], 0.0))

    def traces(self, root: Array) -> Array:
        """Return ``tr(root' M root)``, shape (g,)."""
        return np.asarray(np.einsum("gpi,pi->g", self.gram @ root, root))


@dataclass(frozen=True, eq=False)
class ReducedRows:
    """Rows and targets times S^-1/2; its methods return what those of the moments do."""

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
            k * float(self.log_determinant.sum()),
            float(np.sum(self.y**2)),
        )

    def scores(self, beta: Array, varying: Chosen) -> Array:
        """Return a."""
        misfit = self.y - (self.rows @ beta)[:, :, None]
        return np.asarray(np.swapaxes(self.rows[:, :, varying], 1, 2) @ misfit)

    def product(self, W: Array) -> Array:
        """Return X'S^-1 X w."""
        return np.asarray(((self.rows @ W[:, :, None])[:, None, :, 0] @ self.rows)[:, 0])

    def precision(self, varying: Chosen) -> Array:
        """Return the sum of P."""
        Z = self.rows[:, :, varying]
        flat = Z.reshape(-1, Z.shape[2])
        return np.asarray(flat.T @ flat)

    def precision_diagonal(self, varying: Chosen) -> Array:
        """Return the diagonal of the sum of P."""
        Z = self.rows[:, :, varying]
        return np.asarray(np.einsum("gmp,gmp->p", Z, Z))

    def information(self, varying: Chosen) -> Array:
        """Return the information, task by task: P may be far larger than the rows."""
        Z = self.rows[:, :, varying]
        total = np.zeros((Z.shape[2], Z.shape[2]))
        for part in Z:
            P = part.T @ part
            own = np.diagonal(P)
            total += np.multiply.outer(own, own) + P**2
        return total

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


Reduced = ReducedMoments | ReducedRows


@dataclass(frozen=True, eq=False)
class _Lines(ABC):
    """Tasks of like size, `k` targets of one design on a line."""

    # Shapes: tasks (g, k), count (g,).

    tasks: Index
    count: Array

    def lines(self, which: Chosen) -> Self:
        """Return some of the lines."""
        return replace(self, **{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def apart(self) -> Self:
        """Return the same tasks with one task per line."""
        g, k = self.tasks.shape
        if k == 1:
            return self
        found = {}
        for name, values in ((f.name, getattr(self, f.name)) for f in fields(self)):
            if name in ("tasks", "square"):
                found[name] = values.reshape(-1, 1)
            elif name in ("cross", "y"):
                found[name] = np.moveaxis(values, 2, 1).reshape(g * k, -1, 1)
            else:
                found[name] = np.repeat(values, k, axis=0)
        return replace(self, **found)

    @property
    def entries(self) -> int:
        """Numbers held."""
        return int(sum(getattr(self, f.name).size for f in fields(self)))


@saveable("bayes.moments")
@dataclass(frozen=True, eq=False)
class Moments(_Lines):
    """Tasks kept as moments."""

    # Shapes: gram (g, p, p), cross (g, p, k), square (g, k).

    gram: Array
    cross: Array
    square: Array

    def reduce(self, factor: Array, varying: Chosen, precision: Array | None = None) -> Reduced:
        """Integrate out the random coefficients by the inversion lemma."""
        # Shapes: factor (q, r), varying (q,), precision (n_tasks,).
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
        """Return X'VX (g, p, p), X'Vy (g, p, k) and y'Vy (g, k)."""
        return self.gram, self.cross, self.square

    def weighted(self, factor: float) -> Moments:
        """Return the same with all weights times a factor."""
        parts = (factor * values for values in (self.count, *self.moments()))
        return Moments(self.tasks, *parts)


@saveable("bayes.rows")
@dataclass(frozen=True, eq=False)
class Rows(_Lines):
    """Tasks kept as rows, which are fewer than the columns."""

    # Shapes: rows (g, m, p), y (g, m, k).

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

    def weighted(self, factor: float) -> Rows:
        """Return the same with all weights times a factor."""
        root = np.sqrt(factor)
        return Rows(self.tasks, factor * self.count, root * self.rows, root * self.y)


Block = Moments | Rows


def block_of(tasks: Index, count: Array, rows: Array, y: Array) -> Block:
    """Return the smaller form of a block of rows."""
    block = Rows(tasks, count, rows, y)
    if rows.shape[1] <= rows.shape[2]:
        return block
    return Moments(tasks, count, *block.moments())


def renumbered(block: Block, tasks: Index) -> Block:
    """Return the block with other task numbers, shape (g, k)."""
    return replace(block, tasks=tasks)


# What is left of a row outside the space counts as rounding below this share of its length.
_ROUNDING = 1e-6
# Directions of new rows that are shorter than this share of the longest row add nothing.
_SHORT = 1e-10


@saveable("bayes.row_space")
@dataclass(frozen=True, eq=False)
class RowSpace:
    """An orthonormal basis of the space that rows span. Shapes: basis (d, r)."""

    basis: Array

    @classmethod
    def of(cls, X: Array) -> RowSpace:
        """Return the space of rows. Shapes: X (n, d)."""
        basis = scipy.linalg.qr(X.T, mode="economic", check_finite=False)[0]
        return cls(np.asarray(basis, dtype=np.float64))

    @property
    def n_features(self) -> int:
        """Number of features, d."""
        return len(self.basis)

    @property
    def width(self) -> int:
        """Number of coordinates of a row with a one in front, r + 2."""
        return int(self.basis.shape[1]) + 2

    def coordinates(self, Z: Array) -> Array:
        """Return rows in the coordinates of the space. Shapes: Z (n, 1 + d), result (n, r + 2)."""
        X = Z[:, 1:]
        inside = X @ self.basis
        square = np.einsum("ij,ij->i", X, X)
        left = square - np.einsum("ij,ij->i", inside, inside)
        outside = np.where(left > _ROUNDING**2 * square, left, 0.0)
        return np.column_stack([Z[:, :1], inside, np.sqrt(outside)])

    def lifted(self, W: Array) -> Array:
        """Return coefficients of the features, shape (k, 1 + d), of those of coordinates."""
        return np.column_stack([W[:, :1], W[:, 1:-1] @ self.basis.T])

    def lowered(self, W: Array) -> Array:
        """Return the coordinates of coefficients (k, 1 + d) that lie in the space."""
        return np.column_stack([W[:, :1], W[:, 1:] @ self.basis, np.zeros(len(W))])

    def extended(self, X: Array) -> RowSpace:
        """Return a space that holds further rows too; the first vectors stay. Shapes: X (m, d)."""
        left = X - (X @ self.basis) @ self.basis.T
        longest = float(np.sqrt(np.max(np.einsum("ij,ij->i", X, X), initial=0.0)))
        if np.linalg.norm(left) <= _SHORT * longest:
            return self
        vectors, lengths, _ = np.linalg.svd(left.T, full_matrices=False)
        new = vectors[:, lengths > _SHORT * longest]
        # Short directions are the rounding of long ones: they are made orthogonal once more.
        new = new - self.basis @ (self.basis.T @ new)
        return RowSpace(np.column_stack([self.basis, np.linalg.qr(new).Q]))


def opened_square(M: Array, more: int) -> Array:
    """Return a covariance with `more` coordinates before the last, which is like them."""
    # Shapes: M (k, k).
    k = len(M)
    out = np.zeros((k + more, k + more))
    out[: k - 1, : k - 1] = M[:-1, :-1]
    tail = np.arange(k - 1, k + more)
    out[tail, tail] = M[-1, -1]
    return out


def opened_rows(rows: Array, more: int) -> Array:
    """Return rows, or coefficients, with `more` zeros before the last column."""
    return np.insert(rows, [rows.shape[-1] - 1] * more, 0.0, axis=-1)


# Row numbers -> the rows as an array of float64, a column of ones in front, scaled.
RowSource = Callable[[Index], Array]

# A block is made from no more than this many numbers, if one task does not hold more.
_BLOCK_ENTRIES = 500_000
# Tasks of one block differ in size by no more than this factor, or this many rows.
_LIKE_SIZE = 1.25
_FEW_ROWS = 4


def collect_stacked(
    rows: RowSource, p: int, y: Array, weight: Array, offsets: NDArray[np.intp]
) -> tuple[Block, ...]:
    """Collect tasks that have their own rows. Shapes: y, weight (n,), offsets (n_tasks + 1,)."""
    blocks: list[Block] = []
    for tasks in _like_sized(np.diff(offsets), p):
        first, sizes = offsets[tasks], offsets[tasks + 1] - offsets[tasks]
        m = int(sizes.max())
        if len(tasks) == 1 and m * p > _BLOCK_ENTRIES and m > p:
            part = np.arange(first[0], first[0] + m)
            blocks.append(_large(rows, tasks[:, None], part, y[part, None], weight[part]))
            continue
        places = np.arange(m)
        inside = places < sizes[:, None]
        numbers = np.where(inside, first[:, None] + places, first[:, None])
        root = np.where(inside, np.sqrt(weight[numbers]), 0.0)[:, :, None]
        X = rows(numbers.ravel()).reshape(len(tasks), m, p) * root
        target = y[numbers][:, :, None] * root
        blocks.append(block_of(tasks[:, None], np.sum(root[:, :, 0] ** 2, axis=1), X, target))
    return tuple(blocks)


def collect_shared(rows: RowSource, p: int, Y: Array, weight: Array) -> tuple[Block, ...]:
    """Collect tasks that share one design. Shapes: Y, weight (n, n_tasks)."""
    blocks: list[Block] = []
    for tasks in _patterns(weight):
        own = weight[:, tasks[0]]
        part = np.flatnonzero(own > 0)
        if not len(part):
            continue
        target = Y[np.ix_(part, tasks)]
        if len(part) > p:
            blocks.append(_large(rows, tasks[None, :], part, target, own[part]))
            continue
        root = np.sqrt(own[part])[:, None]
        count = np.array([own[part].sum()])
        blocks.append(
            Rows(tasks[None, :], count, (rows(part) * root)[None], (target * root)[None])
        )
    return tuple(blocks)


def _like_sized(sizes: Index, p: int) -> Iterator[Index]:
    """Yield the tasks in groups of like size that are not too large together."""
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    start = 0
    while start < len(order):
        smallest = int(sizes[order[start]])
        bound = max(int(_LIKE_SIZE * smallest), smallest + _FEW_ROWS)
        stop = int(np.searchsorted(sizes[order], bound, side="right"))
        room = max(1, _BLOCK_ENTRIES // (int(sizes[order[stop - 1]]) * p))
        for first in range(start, stop, room):
            yield np.sort(order[first : min(first + room, stop)])
        start = stop


def _patterns(weight: Array) -> Iterator[Index]:
    """Yield the columns with the same weights together."""
    found: dict[bytes, list[int]] = {}
    for t in range(weight.shape[1]):
        found.setdefault(np.ascontiguousarray(weight[:, t]).tobytes(), []).append(t)
    for tasks in found.values():
        yield np.array(tasks, dtype=np.intp)


def _large(rows: RowSource, tasks: Index, part: Index, target: Array, weight: Array) -> Moments:
    """Sum the moments of one design over pieces of its rows."""
    root = np.sqrt(weight)[:, None]
    first = rows(part[:1])
    p, k = first.shape[1], target.shape[1]
    gram, cross, square = np.zeros((p, p)), np.zeros((p, k)), np.zeros(k)
    step = max(1, _BLOCK_ENTRIES // p)
    for start in range(0, len(part), step):
        piece = slice(start, start + step)
        X, y = rows(part[piece]) * root[piece], target[piece] * root[piece]
        gram += X.T @ X
        cross += X.T @ y
        square += np.sum(y**2, axis=0)
    return Moments(tasks, np.array([weight.sum()]), gram[None], cross[None], square[None])


def merged(old: tuple[Block, ...], new: tuple[Block, ...]) -> tuple[Block, ...]:
    """Add rows of known and of new tasks."""
    known = np.concatenate([np.zeros(0, dtype=np.intp), *[b.tasks.ravel() for b in old]])
    fresh = np.concatenate([np.zeros(0, dtype=np.intp), *[b.tasks.ravel() for b in new]])
    touched = np.intersect1d(known, fresh)
    kept_old, lines_old = _taken(old, touched)
    kept_new, lines_new = _taken(new, touched)
    sums = [_sum(lines_old[t], lines_new[t]) for t in touched.tolist()]
    return (*kept_old, *kept_new, *_packed(sums))


def _taken(blocks: tuple[Block, ...], touched: Index) -> tuple[list[Block], dict[int, Block]]:
    """Take some tasks out of blocks; return what is left, and a line for each of them."""
    kept: list[Block] = []
    lines: dict[int, Block] = {}
    for block in blocks:
        hit = np.isin(block.tasks, touched)
        if not hit.any():
            kept.append(block)
            continue
        single = block.apart()
        hit = hit.reshape(-1)
        if not hit.all():
            kept.append(single.lines(np.flatnonzero(~hit)))
        for i in np.flatnonzero(hit).tolist():
            lines[int(single.tasks[i, 0])] = single.lines(slice(i, i + 1))
    return kept, lines


def _sum(first: Block, second: Block) -> Block:
    """Join two lines of one task."""
    count = first.count + second.count
    if isinstance(first, Rows) and isinstance(second, Rows):
        X = np.concatenate([first.rows, second.rows], axis=1)
        return block_of(first.tasks, count, X, np.concatenate([first.y, second.y], axis=1))
    pairs = zip(first.moments(), second.moments(), strict=True)
    return Moments(first.tasks, count, *[a + b for a, b in pairs])


def _packed(lines: list[Block]) -> Iterator[Block]:
    """Join lines of one kind into blocks."""
    moments = [line for line in lines if isinstance(line, Moments)]
    rows = sorted((r for r in lines if isinstance(r, Rows)), key=lambda r: r.rows.shape[1])
    if moments:
        step = max(1, _BLOCK_ENTRIES // moments[0].entries)
        for start in range(0, len(moments), step):
            part = moments[start : start + step]
            names = [field.name for field in fields(Moments)]
            yield Moments(*[np.concatenate([getattr(b, name) for b in part]) for name in names])
    sizes = np.array([r.rows.shape[1] for r in rows], dtype=np.intp)
    for group in _like_sized(sizes, rows[0].rows.shape[2] if rows else 1):
        m = int(sizes[group].max())
        part_rows = [rows[i] for i in group]
        yield Rows(
            np.concatenate([r.tasks for r in part_rows]),
            np.concatenate([r.count for r in part_rows]),
            np.concatenate([_padded(r.rows, m) for r in part_rows]),
            np.concatenate([_padded(r.y, m) for r in part_rows]),
        )


def _padded(values: Array, m: int) -> Array:
    return np.pad(values, ((0, 0), (0, m - values.shape[1]), (0, 0)))


def opened_block(block: Block, more: int) -> Block:
    """Return a block with `more` columns of zeros before the last."""
    if isinstance(block, Rows):
        return replace(block, rows=opened_rows(block.rows, more))
    turned = np.swapaxes(opened_rows(block.gram, more), 1, 2)
    cross = np.swapaxes(opened_rows(np.swapaxes(block.cross, 1, 2), more), 1, 2)
    return replace(block, gram=opened_rows(turned, more), cross=cross)
