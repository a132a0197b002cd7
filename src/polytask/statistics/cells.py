"""Moments of some rows, how they are joined and subtracted, and rows that have these moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.designs import Features
from polytask.datafits.moments import weighted_sums
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Key = tuple[tuple[int, ...], int]

# What is left of a variance below this share of what it was is rounding ...
_ROUNDING = 1e-11
# ... and below this share of the largest a direction of correlated columns is.
_FLAT = 1e-14
# Numbers of cells that are joined at a time.
_TOGETHER = 2**20


@dataclass(frozen=True, eq=False)
class Cell:
    """Weighted moments of the rows of one fold that hold the labels of the same tasks."""

    # The columns of the moments are the features, then the targets of `tasks`.
    # Shapes: mean (n_features + len(tasks),), second that twice.

    tasks: tuple[int, ...]
    fold: int
    n_rows: int
    weight: float
    mean: Array
    second: Array

    @property
    def key(self) -> Key:
        """Which rows these are."""
        return self.tasks, self.fold

    def less(self, other: Cell) -> Cell | None:
        """Return the moments of these rows without some of them; None if none is left."""
        rows, weight = self.n_rows - other.n_rows, self.weight - other.weight
        if rows == 0 and abs(weight) <= _ROUNDING * self.weight:
            return None
        if rows < 0 or weight <= 0:
            fields = {"n_rows": str(self.n_rows), "n_rows2": str(other.n_rows)}
            fields |= {"weight": f"{self.weight:g}", "weight2": f"{other.weight:g}"}
            raise DataError(LazyMessage("statistics.refusal.more_rows", fields))
        away = (other.mean - self.mean) * (self.weight / weight)
        share = other.weight / self.weight
        second = (self.second - share * other.second) / (1 - share)
        second -= share * np.multiply.outer(away, away)
        left, before = np.diagonal(second), np.diagonal(self.second) / (1 - share)
        if np.any(left < -np.sqrt(_ROUNDING) * before):
            raise DataError(LazyMessage("statistics.refusal.varies_more"))
        kept = left > _ROUNDING * before
        second[~kept] = 0.0
        second[:, ~kept] = 0.0
        mean = self.mean - (other.weight / weight) * (other.mean - self.mean)
        return Cell(self.tasks, self.fold, rows, weight, mean, second)

    def spread_to(self, columns: NDArray[np.intp], n_features: int) -> Cell:
        """Return the moments where the features are some of many, the others of which are 0."""
        targets = np.arange(n_features, n_features + len(self.tasks))
        place = np.concatenate([columns, targets])
        mean = np.zeros(n_features + len(self.tasks))
        second = np.zeros((len(mean), len(mean)))
        mean[place], second[np.ix_(place, place)] = self.mean, self.second
        return replace(self, mean=mean, second=second)

    def rows(self) -> Array:
        """Return rows that have, with equal weights, exactly these moments; as few as they can."""
        spread = np.sqrt(np.diagonal(self.second))
        varies = np.flatnonzero(spread > 0)
        if not len(varies):
            return self.mean[None]
        unit = spread[varies]
        values, vectors = np.linalg.eigh(
            self.second[np.ix_(varies, varies)] / np.outer(unit, unit)
        )
        used = values > _FLAT * values[-1]
        n = int(used.sum()) + 1
        # The cosines of all frequencies but 0 are orthogonal to a constant and to each other, and
        # no row is far from the others, as one would be in most other bases.
        angle = np.pi / n * np.outer(np.arange(n) + 0.5, np.arange(1, n))
        away = np.sqrt(2.0) * np.cos(angle) * np.sqrt(values[used]) @ vectors[:, used].T
        found = np.repeat(self.mean[None], n, axis=0)
        found[:, varies] += away * unit
        return found


def joined(ones: Iterable[Cell], others: Iterable[Cell]) -> dict[Key, Cell]:
    """Return the moments of rows and of others, those of the same tasks and fold together."""
    cells = {cell.key: cell for cell in ones}
    pairs: dict[int, list[tuple[Cell, Cell]]] = {}
    for other in others:
        held = cells.setdefault(other.key, other)
        if held is not other:
            pairs.setdefault(len(held.mean), []).append((held, other))
    for width, alike in pairs.items():
        # Few enough at a time that the copies are small.
        step = max(_TOGETHER // width**2, 1)
        for start in range(0, len(alike), step):
            cells.update((cell.key, cell) for cell in _pairs_joined(alike[start : start + step]))
    return cells


def _pairs_joined(pairs: Sequence[tuple[Cell, Cell]]) -> Iterator[Cell]:
    """Yield the moments of both of each pair; all have as many columns."""
    # Chan, Golub and LeVeque (1983), equations 1.5a and 1.5b: nothing is subtracted.
    ones, others = zip(*pairs, strict=True)
    weights, means, seconds = (
        [np.array([getattr(cell, name) for cell in side]) for side in (ones, others)]
        for name in ("weight", "mean", "second")
    )
    total = weights[0] + weights[1]
    share = weights[1] / total
    away = means[1] - means[0]
    mean = means[0] + share[:, None] * away
    share = share[:, None, None]
    second = (1 - share) * seconds[0] + share * seconds[1]
    second += share * (1 - share) * (away[:, :, None] * away[:, None, :])
    for k, (one, other) in enumerate(pairs):
        rows = one.n_rows + other.n_rows
        yield Cell(one.tasks, one.fold, rows, float(total[k]), mean[k], second[k])


def cell_of(
    tasks: tuple[int, ...],
    fold: int,
    values: Any,  # noqa: ANN401 - dense or sparse
    weight: Array,
) -> Cell:
    """Return the moments of rows. Shapes: values (n, n_features + len(tasks)), weight (n,)."""
    total = float(weight.sum())
    sums = weighted_sums(Features(values), np.empty((len(weight), 0)), weight / total)
    return Cell(tasks, fold, len(weight), total, sums.x_mean, sums.second)
