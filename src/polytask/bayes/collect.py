"""From rows to blocks of tasks, in one pass and with bounded temporaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polytask.bayes.blocks import Array, Block, Index, Moments, Rows, block_of
from polytask.bayes.row_space import opened_rows

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
            names = ("tasks", "count", "gram", "cross", "square")
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
    if not isinstance(block, Moments):
        raise TypeError(type(block).__name__)
    turned = np.swapaxes(opened_rows(block.gram, more), 1, 2)
    cross = np.swapaxes(opened_rows(np.swapaxes(block.cross, 1, 2), more), 1, 2)
    return replace(block, gram=opened_rows(turned, more), cross=cross)
