"""Features that are the target in another unit, as far as sums over rows tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.data_checks import moment_warnings
from polytask._estimator.leaks import FEWEST, Leak
from polytask.data import Form
from polytask.messages import LazyMessage
from polytask.statistics.cells import Array, Cell
from polytask.statistics.task_statistics import TaskStatistics

# The share of the target's variance that rounding leaves of an exact line. Digits cannot be seen
# in sums, so that a copy which was rounded is known to the rows alone.
_ROUNDING = 1e-12
# Rows that remain when a factor and a constant are taken off; rows of a task that tell anything,
# and that tell of it alone.
_SPARE, _OF_A_TASK, _ALONE = 10, 3, 12
_BINARY = 1e-9


def leak_warnings(
    found: TaskStatistics, owner: str, *, allow_leak: bool
) -> tuple[LazyMessage, ...]:
    """Refuse statistics of copies of the target among the features, or say which there may be."""
    return moment_warnings(list(_leaks(found)), owner, allow_leak=allow_leak)


@dataclass(frozen=True, eq=False)
class _Lines:
    """Sums about the means of groups of rows, of every feature and one target."""

    # Shapes: rows (g,), weight (g,), x, y (g, d), (g,), xx, xy (g, d), yy (g,).

    rows: NDArray[np.intp]
    weight: Array
    x: Array
    y: Array
    xx: Array
    xy: Array
    yy: Array

    @classmethod
    def of(cls, cells: Sequence[Cell], task: int, d: int) -> _Lines:
        """Take the sums of one target from the cells that have it."""
        at = [d + cell.tasks.index(task) for cell in cells]
        pairs = list(zip(cells, at, strict=True))
        weight = np.array([cell.weight for cell in cells])
        return cls(
            np.array([cell.n_rows for cell in cells]),
            weight,
            np.stack([cell.mean[:d] for cell in cells]),
            np.array([cell.mean[j] for cell, j in pairs]),
            weight[:, None] * np.stack([np.diagonal(cell.second)[:d] for cell in cells]),
            weight[:, None] * np.stack([cell.second[j, :d] for cell, j in pairs]),
            weight * np.array([cell.second[j, j] for cell, j in pairs]),
        )

    def together(self, groups: NDArray[np.intp]) -> _Lines:
        """Return the sums of larger groups. Shapes: groups (g,)."""

        def total(values: Array) -> Array:
            out = np.zeros((int(groups.max()) + 1, *values.shape[1:]))
            np.add.at(out, groups, values)
            return out

        weight = total(self.weight)
        x = total(self.weight[:, None] * self.x) / weight[:, None]
        y = total(self.weight * self.y) / weight
        dx, dy = self.x - x[groups], self.y - y[groups]
        rows = total(self.rows.astype(float)).astype(np.intp)
        w = self.weight
        return _Lines(
            rows, weight, x, y,
            total(self.xx + w[:, None] * dx**2), total(self.xy + (w * dy)[:, None] * dx),
            total(self.yy + w * dy**2),
        )  # fmt: skip

    def left(self) -> Array:
        """Return what the line through each group leaves of the target's squares, (g, d)."""
        explained = np.divide(self.xy**2, self.xx, out=np.zeros_like(self.xx), where=self.xx > 0)
        return np.asarray(self.yy[:, None] - explained)

    def binary(self) -> tuple[NDArray[np.bool_], bool]:
        """Say of every feature, and of the target, whether all rows hold 0 or 1."""
        sums = (self.x, self.xx / self.weight[:, None]), (self.y, self.yy / self.weight)
        x, y = (np.abs(v + m**2 - m) <= _BINARY * np.maximum(np.abs(m), v) for m, v in sums)
        return np.asarray(x.all(axis=0)), bool(y.all())


def _leaks(found: TaskStatistics) -> Iterator[Leak]:
    if found.form is not Form.TARGETS:
        cells = [c for c in found.cells if c.weight > 0]
        if cells:
            parts = [_Lines.of([cell], cell.tasks[0], found.n_features) for cell in cells]
            stacked = _Lines(*(np.concatenate(v) for v in zip(*map(_fields, parts), strict=True)))
            yield from _of_target(found, stacked, np.array([c.tasks[0] for c in cells]), "")
        return
    for t, name in enumerate(found.tasks):
        cells = [cell for cell in found.cells if t in cell.tasks]
        if cells:
            lines = _Lines.of(cells, t, found.n_features)
            yield from _of_target(found, lines, np.zeros(len(cells), dtype=np.intp), repr(name))


def _fields(lines: _Lines) -> tuple[Array, ...]:
    return tuple(vars(lines).values())


def _of_target(
    found: TaskStatistics, lines: _Lines, tasks: NDArray[np.intp], target: str
) -> Iterator[Leak]:
    """Yield the features that are a target, over all rows, within all tasks or in some."""
    seen, own = np.unique(tasks, return_inverse=True)
    by_task = lines.together(own)
    whole = lines.together(np.zeros(len(tasks), dtype=np.intp))
    n = int(whole.rows[0])
    x_binary, y_binary = lines.binary()
    told = (by_task.rows >= _OF_A_TASK) & (by_task.yy > 1e-24 * by_task.weight)
    counted = int(by_task.rows[told].sum())
    enough = counted - 2 * told.sum() >= _SPARE and 2 * counted >= n
    yy, left, left_of_all = by_task.yy[told].sum(), by_task.left(), whole.left()[0]
    several = n >= _SPARE + 2 and whole.yy[0] > 0
    alone = told & (by_task.rows >= _ALONE)
    for j in range(found.n_features):
        name = str(j) if found.feature_names is None else repr(found.feature_names[j])
        few = bool(x_binary[j] or y_binary)
        of, values = (n, n), 2 if few else FEWEST
        if several and left_of_all[j] <= _ROUNDING * whole.yy[0]:
            yield Leak(name, target, False, *of, values)
        elif few or len(seen) < 2:
            continue
        elif enough and left[told, j].sum() <= _ROUNDING * yy:
            yield Leak(name, target, True, *of, values)
        else:
            copied = np.flatnonzero(alone & (left[:, j] <= _ROUNDING * by_task.yy))
            if len(copied):
                names = tuple(str(found.tasks[seen[k]]) for k in copied)
                yield Leak(name, target, True, *of, values, tasks=(names, len(found.tasks)))
