"""Scaling of features and targets, and the way back to original units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator.far_cells import place_of_largest
from polytask._estimator.feature_moments import dense_moments, sparse_moments
from polytask._estimator.outcomes import Outcomes
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import sum_by_task
from polytask._linalg import is_sparse
from polytask.data import Form, TaskData
from polytask.datafits import Features
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Array = NDArray[np.float64]

# Values up to this power of the largest number have finite squares and sums of them.
_SAFE_POWER = 0.4
# A design of float32 up to this size is solved in float64 (a quarter of a gigabyte).
_COPIED_ENTRIES = 3e7
# A mean beyond this many standard deviations costs products with the features their digits ...
FAR = 1e3
# ... as so many rows tell.
_LOOKED_AT = 200


@dataclass(frozen=True, eq=False)
class FeatureScaling:
    """Subtract `mean` and divide by `scale`, per feature, the same for all tasks."""

    # Shapes: mean, scale (n_features,).

    mean: Array
    scale: Array
    active: bool

    def features(self, X: Any, exists: NDArray[np.bool_] | None) -> Features:  # noqa: ANN401
        """Return the scaled rows; a sparse X carries its means as an offset."""
        # Shapes: X (n_rows, n_features), exists (n_rows, n_features).
        if is_sparse(X):
            if not self.active:
                return Features(X)
            inverse = (1.0 / self.scale).astype(X.dtype)
            offset = self.mean / self.scale
            scaled = sp.csr_array(X.multiply(inverse[None, :]))
            return Features(scaled, offset if self.mean.any() else None)
        if self.active:
            X = ((X - self.mean) / self.scale).astype(X.dtype, copy=False)
        if exists is not None:
            X = np.where(exists, X, 0.0).astype(X.dtype, copy=False)
        return Features(X)

    def restore(
        self, W: Array, intercept: Array, present: NDArray[np.bool_] | None
    ) -> tuple[Array, Array]:
        """Return coefficients and intercepts in original units."""
        # Shapes: W (n_features, n_columns), intercept (n_columns,), present (n_columns,
        # n_features).
        coef = W / self.scale[:, None]
        if present is not None:
            coef = np.where(present.T, coef, 0.0)
        return coef, intercept - self.mean @ coef


def scaled_point(
    point: tuple[Array, Array],
    features: FeatureScaling,
    targets: TargetScaling,
    owners: NDArray[np.intp],
    present: NDArray[np.bool_] | None,
) -> tuple[Array, Array]:
    """Return the scaled coefficients and intercepts that predict as given ones do."""
    # Shapes: owners (n_columns,), present (n_columns, n_features), W (n_features, n_columns),
    # intercept (n_columns,).
    coef, intercept = point
    if present is not None:
        coef = np.where(present, coef, 0.0)
    scale = targets.scale[owners]
    coef = coef / scale[:, None]
    intercept = (intercept - targets.mean[owners]) / scale + coef @ features.mean
    return coef.T * features.scale[:, None], intercept


def wide_enough(X: Any) -> Any:  # noqa: ANN401 - ndarray or CSR
    """Return rows in which the default tolerance can be reached."""
    # Sums in float32 are good to six digits, about what ``tol`` asks for, so rows are solved
    # in float64 unless they are too many to be copied; answers come back in float32.
    entries = X.nnz if is_sparse(X) else X.size
    return X.astype(np.float64, copy=False) if entries <= _COPIED_ENTRIES else X


def refuse_huge(data: TaskData, outcomes: Outcomes, owner: str) -> None:
    """Refuse values whose squares, summed over the rows, would overflow."""
    refuse_huge_values(data.X, "X", owner, data)
    refuse_huge_values(outcomes.y, "y", owner, data)


def safe_limit(kind: np.dtype[Any]) -> float:
    """Return the largest value whose squares can be summed in a precision."""
    largest = float(np.finfo(kind).max)
    return float(largest**_SAFE_POWER)


def refuse_huge_values(values: Any, name: str, owner: str, data: TaskData | None = None) -> None:  # noqa: ANN401
    """Refuse values whose squares, summed over the rows, would overflow."""
    stored = values.data if is_sparse(values) else np.asarray(values)
    limit = safe_limit(stored.dtype)
    largest = max(float(np.nanmax(stored, initial=0.0)), -float(np.nanmin(stored, initial=0.0)))
    if largest > limit:
        fields = {"limit": f"{limit:.0e}", "dtype": str(stored.dtype)}
        allowed = LazyMessage("allowed.summable", fields)
        where = "" if data is None else place_of_largest(values, data)
        raise DataError(sentence(name, owner, allowed, format(largest, ".3g"), where))


def feature_scaling(
    data: TaskData, weight: Array, standardize: bool, centre: bool, level: bool = False
) -> FeatureScaling:
    """Learn one mean and one standard deviation per feature over all training rows."""
    # Shapes: weight (n_rows,).
    d = data.n_features
    if not standardize and not level:
        return FeatureScaling(np.zeros(d), np.ones(d), active=False)
    rows = weight if weight.ndim == 1 else weight.sum(axis=1)
    if is_sparse(data.X):
        mean, variance = sparse_moments(data.X, rows)
    else:
        mean, variance = dense_moments(np.asarray(data.X), rows, cell_mask(data))
    return scaling_of(mean, variance, standardize, centre)


def scaling_of(mean: Array, variance: Array, standardize: bool, centre: bool) -> FeatureScaling:
    """Return the scaling of features with these moments. Shapes: mean, variance (n_features,)."""
    d = len(mean)
    if not standardize:
        return FeatureScaling(mean, np.ones(d), active=True)
    deviation = np.sqrt(variance)
    # Rounding leaves a trace of variance on a constant feature.
    constant = deviation <= 10 * np.finfo(float).eps * np.abs(mean)
    return FeatureScaling(
        mean if centre else np.zeros(d), np.where(constant, 1.0, deviation), active=True
    )


def far_from_zero(data: TaskData) -> bool:
    """Say whether the mean of some dense feature dwarfs what it varies by."""
    # Intercepts of their own that are free make up for any shift of the features, so that taking
    # the means off such features changes no answer, and keeps its digits.
    if is_sparse(data.X) or data.present is not None:
        return False
    rows = np.asarray(data.X)
    few = np.asarray(rows[:: max(len(rows) // _LOOKED_AT, 1)], dtype=float)
    mean, deviation = few.mean(axis=0), few.std(axis=0)
    # A constant feature is told apart by its mean alone.
    return bool(np.any((deviation > 0) & (np.abs(mean) > FAR * deviation)))


@dataclass(frozen=True, eq=False)
class TargetScaling:
    """Subtract `mean` and divide by `scale`, per task; classes are left alone."""

    # Shapes: mean, scale (n_tasks,).

    mean: Array
    scale: Array

    def apply(self, y: Array, data: TaskData) -> Array:
        """Return scaled targets, shaped as `y`; `y` itself where nothing is scaled."""
        if not self.mean.any() and np.all(self.scale == 1.0):
            return y
        if data.form is Form.TARGETS:
            return (y - self.mean) / self.scale
        counts = np.diff(np.asarray(data.offsets))
        return (y - np.repeat(self.mean, counts)) / np.repeat(self.scale, counts)


def unscaled_targets(n_tasks: int) -> TargetScaling:
    """Return a scaling that changes nothing."""
    return TargetScaling(np.zeros(n_tasks), np.ones(n_tasks))


def scaled_by_task(y: Array, weight: Array, data: TaskData, centre: bool) -> TargetScaling:
    """Scale every task by its own mean and standard deviation."""
    return each_alone(*task_moments(y, weight, data), sum_by_task(weight, data), centre)


def scaled_in_common(y: Array, weight: Array, data: TaskData, centre: bool) -> TargetScaling:
    """Scale all tasks by one mean and one standard deviation over all labels."""
    return all_alike(*task_moments(y, weight, data), sum_by_task(weight, data), centre)


def each_alone(mean: Array, variance: Array, counts: Array, centre: bool) -> TargetScaling:
    """Scale tasks, given by their moments and weights, each by its own."""
    common = all_alike(mean, variance, counts, centre=True)
    # A task without rows is predicted in the units that the tasks have in common.
    empty = counts <= 0
    mean = np.where(empty, common.mean, mean)
    variance = np.where(empty, common.scale**2, variance)
    return _target_scaling(mean, variance, centre)


def all_alike(mean: Array, variance: Array, counts: Array, centre: bool) -> TargetScaling:
    """Scale tasks, given by their moments and weights, by what they have in common."""
    share = counts / counts.sum()
    level = float(share @ mean)
    width = float(share @ (variance + (mean - level) ** 2))
    n = len(counts)
    return _target_scaling(np.full(n, level), np.full(n, width), centre)


TARGET_SCALES = {"task": scaled_by_task, "common": scaled_in_common}
# The same for tasks that are given by their moments.
MOMENT_SCALES = {"task": each_alone, "common": all_alike}


def target_scaling(
    data: TaskData, outcomes: Outcomes, weight: Array, choice: str | None, centre: bool
) -> TargetScaling:
    """Return the scaling that a user chose; of several losses, only numbers are scaled."""
    counts = sum_by_task(weight, data)

    def moments() -> tuple[Array, Array]:
        return centre_and_spread(data, outcomes, weight)

    return scaling_by_choice(outcomes, counts, moments, choice, data.form, centre)


def scaling_by_choice(
    outcomes: Outcomes,
    counts: Array,
    moments: Callable[[], tuple[Array, Array]],
    choice: str | None,
    form: Form,
    centre: bool,
) -> TargetScaling:
    """Return the scaling that a user chose, from the weight, centre and spread of every task."""
    # Shapes: counts (n_tasks,).
    # Counts and amounts with a logarithmic link are not scaled: they keep their units.
    pairs = zip(outcomes.losses, outcomes.classes, strict=True)
    numeric = np.array([classes is None and loss.follows_units for loss, classes in pairs])
    mixed = numeric.any() and not numeric.all()
    if choice == "auto":
        choice = "task" if form is Form.TARGETS or mixed else "common"
    # What is not scaled has no say in what numbers have in common.
    counts = np.where(numeric, counts, 0.0)
    if choice is None or not counts.any():
        return unscaled_targets(len(counts))
    scaling = MOMENT_SCALES[choice](*moments(), counts, centre)
    return TargetScaling(
        np.where(numeric, scaling.mean, 0.0), np.where(numeric, scaling.scale, 1.0)
    )


def centre_and_spread(data: TaskData, outcomes: Outcomes, weight: Array) -> tuple[Array, Array]:
    """Return the centre and the squared spread of the targets of every task."""
    # Tasks of a robust loss are scaled by the median and its distances: a few wrong targets must
    # not decide what counts as far off.
    mean, variance = task_moments(outcomes.y, weight, data)
    for t, loss in enumerate(outcomes.losses):
        if loss.has_linear_parts:
            own = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
            mean[t], variance[t] = robust_moments(outcomes.y[own], weight[own])
    return mean, variance


def _target_scaling(mean: Array, variance: Array, centre: bool) -> TargetScaling:
    deviation = np.sqrt(variance)
    constant = deviation <= 10 * np.finfo(float).eps * np.abs(mean)
    # A constant has no unit of its own: among others it has what is typical of them.
    others = np.log(deviation[~constant])
    scale = np.where(constant, np.exp(others.mean()) if others.size else 1.0, deviation)
    return TargetScaling(mean if centre else np.zeros_like(mean), scale)


def task_moments(y: Array, weight: Array, data: TaskData) -> tuple[Array, Array]:
    """Return mean and variance of the targets of every task, (n_tasks,) each."""
    seen = np.nan_to_num(y)
    if data.form is Form.TARGETS:
        total = np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
        mean = (weight * seen).sum(axis=0) / total
        return mean, (weight * (seen - mean) ** 2).sum(axis=0) / total
    task, n = data.row_tasks(), data.n_tasks
    total = np.maximum(np.bincount(task, weight, minlength=n), np.finfo(float).tiny)
    mean = np.bincount(task, weight * seen, minlength=n) / total
    away = weight * (seen - mean[task]) ** 2
    return mean, np.bincount(task, away, minlength=n) / total


# Of normal data, the standard deviation over the median, and over the mean, distance.
_OF_MEDIAN = 1.4826022185056018
_OF_MEAN = 1.2533141373155001


def robust_moments(y: Array, weight: Array) -> tuple[float, float]:
    """Return the median, and the squared spread that a few targets cannot change."""
    # Shapes: y, weight (n,).
    seen = weight > 0
    y, weight = y[seen], weight[seen]
    if not len(y):
        return 0.0, 0.0
    centre = _median(y, weight)
    away = np.abs(y - centre)
    spread = _OF_MEDIAN * _median(away, weight)
    if spread <= 10 * np.finfo(float).eps * abs(centre):
        spread = _OF_MEAN * float(np.average(away, weights=weight))
    return centre, spread**2


def _median(values: Array, weight: Array) -> float:
    """Return the weighted median, the mean of the middle two where the weights tie."""
    order = np.argsort(values, kind="stable")
    values, reached = values[order], np.cumsum(weight[order])
    half = 0.5 * reached[-1]
    low = int(np.searchsorted(reached, half * (1 - 1e-12)))
    high = int(np.searchsorted(reached, half * (1 + 1e-12), side="right"))
    return float(0.5 * (values[low] + values[min(high, len(values) - 1)]))
