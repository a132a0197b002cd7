"""Moments of the data in their own units: what every choice of scaling and weights is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.scaling import FAR, FeatureScaling, TargetScaling, safe_limit
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import count_labels, sum_by_task
from polytask._linalg import is_sparse
from polytask.data import Form, TaskData
from polytask.datafits import (
    Counted,
    Features,
    Shared,
    Stacked,
    TaskStatistics,
    Units,
    collect_shared,
    collect_stacked,
    in_units,
    weights_of,
)
from polytask.linear._parts import suits_statistics

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Moments:
    """What some rows say about the squared loss, whatever the settings."""

    counted: Counted
    labels: float

    @property
    def statistics(self) -> TaskStatistics:
        """The moments."""
        return self.counted.statistics

    @property
    def counts(self) -> Array:
        """Sums of the weights of the labels of each task."""
        return self.counted.counts

    def feature_moments(self) -> tuple[Array, Array]:
        """Return mean and variance of each feature over the labels of all tasks."""
        return pooled_moments(self.statistics, self.counts)

    def scaled(
        self, features: FeatureScaling, targets: TargetScaling, scale: Array
    ) -> TaskStatistics:
        """Return the moments of scaled features and targets. Shapes: scale (n_tasks,)."""
        units = Units(features.mean, features.scale, targets.mean, targets.scale)
        held = np.where(self.counts > 0, scale, 0.0)
        return in_units(self.statistics, units, held)


def pooled_moments(s: TaskStatistics, counts: Array) -> tuple[Array, Array]:
    """Return mean and variance of each feature over all tasks."""
    # Shapes: counts (n_tasks,), mean, variance (n_features,).
    share = counts / max(float(counts.sum()), np.finfo(float).tiny)
    mean = s.x_mean @ share
    own = np.diagonal(s.second, axis1=1, axis2=2).T
    within = own @ (share if own.shape[1] == len(share) else np.ones(1))
    return mean, within + ((s.x_mean - mean[:, None]) ** 2) @ share


def collectable(data: TaskData, outcomes: Outcomes, weight: Array) -> bool:
    """Say whether moments of rows as they are do for the squared loss, and are cheaper."""
    return cell_mask(data) is None and suits_statistics(data, outcomes, count_labels(weight))


def collect(data: TaskData, y: Array, weight: Array, rows: Index | None = None) -> Moments:
    """Collect the moments of some rows. Shapes: y, weight (n_rows,)."""
    features, ones = Features(data.X), np.ones(data.n_tasks)
    columns = np.arange(data.n_tasks)
    if data.form is Form.TARGETS:
        complete = not weight.strides[1]
        Y = y if complete else np.where(np.isnan(y), 0.0, y)
        found = collect_shared(Shared(features, columns), Y, weight, ones, rows)
        chosen = weight if rows is None else weights_of(weight, rows)
        return Moments(Counted(found, sum_by_task(chosen, data)), count_labels(chosen))
    offsets = np.asarray(data.offsets)
    if rows is not None:
        offsets = np.searchsorted(rows, offsets).astype(np.intp)
        features, y, weight = features.rows(rows), y[rows], weight[rows]
    stacked = Stacked(features, offsets, columns)
    counts = stacked.collect(weight)
    found = collect_stacked(stacked, y, weight, ones)
    return Moments(Counted(found, counts), count_labels(weight))


def within_reach(moments: Moments, data: TaskData) -> bool:
    """Say whether the moments prove that no value is too large to be squared and summed."""
    s = moments.statistics
    lightest = 1.0 if data.sample_weight is None else float(data.sample_weight.min())
    # A mean of squares is at least the square of each row, times its share.
    rows = float(moments.counts.max(initial=0.0)) / max(lightest, np.finfo(float).tiny)
    with np.errstate(over="ignore", invalid="ignore"):
        own = np.diagonal(s.second, axis1=1, axis2=2)
        x_largest = np.sqrt(rows * (own.max(initial=0.0) + _largest_square(s.x_mean)))
        y_largest = np.sqrt(rows * (s.spread.max(initial=0.0) + _largest_square(s.y_mean)))
    kind = data.X.data.dtype if is_sparse(data.X) else data.X.dtype
    return bool(x_largest <= safe_limit(kind) and y_largest <= safe_limit(np.dtype(float)))


def _largest_square(values: Array) -> float:
    """Return the square of the largest number, NaN if there is one, without a copy of them."""
    return float(np.square(np.maximum(values.max(initial=0.0), -values.min(initial=0.0))))


def far_apart(moments: Moments, data: TaskData) -> bool:
    """Say whether the mean of some dense feature dwarfs what it varies by."""
    if is_sparse(data.X) or data.present is not None:
        return False
    mean, variance = moments.feature_moments()
    return bool(np.any((variance > 0) & (mean**2 > FAR**2 * variance)))
