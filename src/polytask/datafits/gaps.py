"""Moments of tasks that share most rows: those of all rows, less the rows that a task lacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.datafits.base import Array
from polytask.datafits.designs import Features, Index
from polytask.datafits.sums import Sums, weighted_sums

# What is left must be this share at least of what it is a difference of.
_KEPT = 1e-2
# All rows are gone by where that costs no more than this share.
_CHEAPER = 0.7


def pays(weight: Array, patterns: list[Index]) -> bool:
    """Say whether to go by all rows is cheaper than to collect each pattern of labels."""
    # Shapes: weight (n_rows, n_columns).
    n = len(weight)
    base = weight.max(axis=1)
    # A row has one weight, whatever its labels.
    if not np.all((weight == 0) | (weight == base[:, None])):
        return False
    seen = np.array([np.count_nonzero(weight[:, columns[0]]) for columns in patterns])
    return bool(n + np.minimum(seen, n - seen).sum() < _CHEAPER * seen.sum())


@dataclass(frozen=True, eq=False)
class AllRows:
    """Moments of all rows, from which those of tasks with a few missing labels follow."""

    # Shapes: share (n_chosen,), rows (n_chosen,), y_zero (n_columns,).

    features: Features
    share: Array
    rows: Index
    y_zero: Array
    sums: Sums

    @classmethod
    def of(cls, features: Features, Y: Array, weight: Array, rows: Index | None) -> AllRows:
        """Collect the moments of all rows."""
        # Shapes: Y (n_rows, n_columns), weight (n_chosen, n_columns), rows (n_chosen,).
        base = weight.max(axis=1)
        share, chosen = base / base.sum(), np.arange(len(Y)) if rows is None else rows
        total = np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
        y_zero = np.einsum("ij,ij->j", weight, Y[chosen]) / total
        away = np.zeros(Y.shape)
        away[chosen] = np.where(weight > 0, Y[chosen] - y_zero, 0.0)
        return cls(features, share, chosen, y_zero, weighted_sums(features, away, share, rows))

    def less(self, missing: Index, columns: Index) -> Sums | None:
        """Return the moments of some columns, None where the difference lost digits."""
        missing = missing[self.share[missing] > 0]
        gone = float(self.share[missing].sum())
        s, left = self.sums, 1.0 - gone
        second, shift = s.second, np.zeros(len(s.x_mean))
        if len(missing):
            own, gaps = self.share[missing] / gone, self.rows[missing]
            none = np.zeros((int(self.rows.max()) + 1, 0))
            lost = weighted_sums(self.features, none, own, gaps)
            away = lost.x_mean - s.x_mean
            second = second - gone * (lost.second + np.multiply.outer(away, away))
            shift = -gone * away / left
        own = np.diagonal(second)
        centred = second / left - np.multiply.outer(shift, shift)
        kept = np.minimum(own, np.diagonal(centred) * left)
        if not np.all(kept >= _KEPT * np.diagonal(s.second)):
            return None
        level = s.y_mean[columns] / left
        square = (s.spread[columns] + s.y_mean[columns] ** 2) / left
        return Sums(
            second=centred,
            cross=s.cross[:, columns] / left - np.multiply.outer(shift, level),
            spread=np.maximum(square - level**2, 0.0),
            x_mean=s.x_mean + shift,
            y_mean=self.y_zero[columns] + level,
        )
