"""Rows of one design whose labels have correlated noise, grouped by which labels they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._registry import saveable
from polytask.bayes.blocks import Array, Index, RowSource
from polytask.exceptions import DataError

Mask = NDArray[np.bool_]

# Rows are read and reduced so many numbers at a time.
_PIECE = 500_000


@saveable("bayes.joint_rows")
@dataclass(frozen=True, eq=False)
class JointRows:
    """Rows of all tasks, times the roots of their weights, sorted by pattern."""

    # Shapes: X (m, p), Y (m, T), starts (P + 1,), labelled (P, T), count (P,).
    # A pattern is a set of tasks; its rows have the labels of these and of no other task. What m
    # rows of one pattern say about coefficients and noise is in the triangle of their QR factors,
    # so no pattern keeps more rows than it has columns and labels.

    X: Array
    Y: Array
    starts: Index
    labelled: Mask
    count: Array

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return int(self.Y.shape[1])

    @property
    def pattern(self) -> Index:
        """The pattern of every row kept, shape (m,)."""
        return np.repeat(np.arange(len(self.count)), np.diff(self.starts))

    @property
    def active(self) -> Index:
        """The tasks with labels."""
        return np.flatnonzero(self.labelled.any(axis=0))

    @property
    def together(self) -> Array:
        """Sums of the weights of the rows with the labels of two tasks, shape (T, T)."""
        seen = self.labelled.astype(float)
        return np.asarray(seen.T @ (self.count[:, None] * seen))

    def of(self, tasks: Index) -> JointRows:
        """Return the same rows with the labels of some tasks; these include all with labels."""
        return replace(self, Y=self.Y[:, tasks], labelled=self.labelled[:, tasks])

    def parts(self) -> Iterator[tuple[slice, Mask]]:
        """Yield the rows of every pattern and its tasks."""
        for k, tasks in enumerate(self.labelled):
            yield slice(int(self.starts[k]), int(self.starts[k + 1])), tasks


def collect_joint(rows: RowSource, p: int, Y: Array, weight: Array) -> JointRows:
    """Collect rows of one design. Shapes: Y, weight (n, T)."""
    own = weight.max(axis=1, initial=0.0)
    labelled = weight > 0
    differs = np.flatnonzero((labelled & (weight != own[:, None])).any(axis=1))
    if len(differs):
        allowed = "the same for all labels of a row where their noise is correlated"
        at = int(differs[0])
        got = f"{weight[at][labelled[at]].min():g} and {own[at]:g}"
        raise DataError(sentence("weight", "collect_joint", allowed, got, f"row {at}"))
    used = np.flatnonzero(own > 0)
    patterns, which = np.unique(labelled[used], axis=0, return_inverse=True)
    found = [
        _reduced(rows, p, Y, np.sqrt(own), (used[which.ravel() == k], tasks))
        for k, tasks in enumerate(patterns)
    ]
    count: Array = np.bincount(which.ravel(), own[used], len(patterns)).astype(float)
    return _stacked(found, patterns, count, p, Y.shape[1])


def joined(first: JointRows, second: JointRows) -> JointRows:
    """Return the rows of both."""
    p = first.X.shape[1]
    kept: dict[bytes, list[Array]] = {}
    count: dict[bytes, float] = {}
    for own in (first, second):
        for (part, tasks), weight in zip(own.parts(), own.count.tolist(), strict=True):
            key = tasks.tobytes()
            kept.setdefault(key, []).append(np.column_stack([own.X[part], own.Y[part]]))
            count[key] = count.get(key, 0.0) + weight
    patterns = [np.frombuffer(key, dtype=bool) for key in kept]
    found = [
        _triangle(np.concatenate(parts), p, tasks)
        for parts, tasks in zip(kept.values(), patterns, strict=True)
    ]
    labelled = np.array(patterns, dtype=bool).reshape(-1, first.n_tasks)
    return _stacked(found, labelled, np.array([*count.values()], dtype=float), p, first.n_tasks)


def _reduced(rows: RowSource, p: int, Y: Array, root: Array, pattern: tuple[Index, Mask]) -> Array:
    """Return the rows of a pattern, or their triangle where that is smaller."""
    numbers, tasks = pattern
    step = max(1, _PIECE // (p + Y.shape[1]))
    kept = np.zeros((0, p + Y.shape[1]))
    for start in range(0, len(numbers), step):
        part = numbers[start : start + step]
        targets = np.where(tasks, Y[part], 0.0)
        piece = np.column_stack([rows(part), targets]) * root[part, None]
        kept = _triangle(np.concatenate([kept, piece]), p, tasks)
    return kept


def _triangle(rows: Array, p: int, tasks: Mask) -> Array:
    """Return rows of the same moments, no more than columns that are not zero."""
    columns = np.concatenate([np.arange(p), p + np.flatnonzero(tasks)])
    if len(rows) <= len(columns):
        return rows
    reduced = np.zeros((len(columns), rows.shape[1]))
    reduced[:, columns] = np.linalg.qr(rows[:, columns], mode="r")
    return reduced


def _stacked(found: list[Array], labelled: Mask, count: Array, p: int, n_tasks: int) -> JointRows:
    rows = np.concatenate([np.zeros((0, p + n_tasks)), *found])
    starts = np.cumsum([0, *[len(part) for part in found]]).astype(np.intp)
    return JointRows(rows[:, :p], rows[:, p:], starts, labelled, count)
