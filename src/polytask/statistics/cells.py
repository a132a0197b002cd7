"""Moments of some rows, how they are joined and subtracted, and rows that have these moments."""

from __future__ import annotations

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

    def joined(self, other: Cell) -> Cell:
        """Return the moments of these rows and of others together."""
        # Chan, Golub and LeVeque (1983), equations 1.5a and 1.5b: nothing is subtracted.
        weight = self.weight + other.weight
        share = other.weight / weight
        away = other.mean - self.mean
        second = (1 - share) * self.second + share * other.second
        second += share * (1 - share) * np.multiply.outer(away, away)
        rows = self.n_rows + other.n_rows
        return Cell(self.tasks, self.fold, rows, weight, self.mean + share * away, second)

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
