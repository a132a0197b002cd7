"""Scaling of features and targets, and the way back to original units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator import Outcomes
from polytask._linalg import is_sparse
from polytask.data import Form, TaskData
from polytask.datafits import Features
from polytask.exceptions import DataError
from polytask.linear._weights import sum_by_task

Array = NDArray[np.float64]

# Values up to this power of the largest number have finite squares and sums of them.
_SAFE_POWER = 0.4
# A design of float32 up to this size is solved in float64 (a quarter of a gigabyte).
_COPIED_ENTRIES = 3e7
# Numbers of a design that are taken at a time.
_CHUNK = 2**17


@dataclass(frozen=True, eq=False)
class FeatureScaling:
    """Subtract `mean` and divide by `scale`, per feature, the same for all tasks.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_features,)
        Zeros and ones where nothing is scaled.
    active : bool
        Whether anything is scaled.
    """

    mean: Array
    scale: Array
    active: bool

    def features(self, X: Any, exists: NDArray[np.bool_] | None) -> Features:  # noqa: ANN401
        """Return the scaled rows; a sparse X carries its means as an offset.

        Parameters
        ----------
        X : ndarray or CSR of shape (n_rows, n_features)
            Original units.
        exists : ndarray of bool of shape (n_rows, n_features) or None
            Cells that do not exist become 0 after scaling.
        """
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
        """Return coefficients and intercepts in original units.

        Parameters
        ----------
        W : ndarray of shape (n_features, n_columns)
            Of the scaled features.
        intercept : ndarray of shape (n_columns,)
            Of the scaled features.
        present : ndarray of bool of shape (n_columns, n_features) or None
            Which features each column's task has.
        """
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
    """Return the scaled coefficients and intercepts that predict as given ones do.

    Parameters
    ----------
    point : tuple of ndarray
        Coefficients of shape (n_columns, n_features) and intercepts, in original units.
    features, targets
        The scaling.
    owners : ndarray of int of shape (n_columns,)
        The task of each column.
    present : ndarray of bool of shape (n_columns, n_features) or None
        Which features each column's task has.

    Returns
    -------
    W : ndarray of shape (n_features, n_columns)
        Scaled.
    intercept : ndarray of shape (n_columns,)
        Scaled.
    """
    coef, intercept = point
    if present is not None:
        coef = np.where(present, coef, 0.0)
    scale = targets.scale[owners]
    coef = coef / scale[:, None]
    intercept = (intercept - targets.mean[owners]) / scale + coef @ features.mean
    return coef.T * features.scale[:, None], intercept


def wide_enough(X: Any) -> Any:  # noqa: ANN401 - ndarray or CSR
    """Return rows in which the default tolerance can be reached.

    Sums in float32 are good to six digits, about what ``tol`` asks for, so rows are solved
    in float64 unless they are too many to be copied; answers come back in float32.
    """
    entries = X.nnz if is_sparse(X) else X.size
    return X.astype(np.float64, copy=False) if entries <= _COPIED_ENTRIES else X


def refuse_huge(data: TaskData, outcomes: Outcomes, owner: str) -> None:
    """Refuse values whose squares, summed over the rows, would overflow.

    Raises
    ------
    DataError
        Naming the largest value and what is allowed.
    """
    refuse_huge_values(data.X, "X", owner)
    refuse_huge_values(outcomes.y, "y", owner)


def refuse_huge_values(values: Any, name: str, owner: str) -> None:  # noqa: ANN401
    """Refuse values whose squares, summed over the rows, would overflow.

    Parameters
    ----------
    values : ndarray or CSR
        Features or targets.
    name, owner : str
        The parameter and whose it is, for the message.

    Raises
    ------
    DataError
        Naming the largest value and what is allowed.
    """
    stored = values.data if is_sparse(values) else np.asarray(values)
    limit = float(np.finfo(stored.dtype).max) ** _SAFE_POWER
    largest = max(float(np.nanmax(stored, initial=0.0)), -float(np.nanmin(stored, initial=0.0)))
    if largest > limit:
        allowed = f"of size up to {limit:.0e} in {stored.dtype}, so that sums stay finite"
        raise DataError(sentence(name, owner, allowed, f"{largest:.3g}"))


def feature_scaling(
    data: TaskData, weight: Array, standardize: bool, centre: bool, level: bool = False
) -> FeatureScaling:
    """Learn one mean and one standard deviation per feature over all training rows.

    Parameters
    ----------
    data : TaskData
        Encoded.
    weight : ndarray of shape (n_rows,) or (n_rows, n_tasks)
        Weights of the labels; a row counts with the sum of its labels' weights.
    standardize : bool
        False keeps the features as they are.
    centre : bool
        False divides only.
    level : bool, default=False
        Subtract the means also where nothing is divided.

    Returns
    -------
    FeatureScaling
    """
    d = data.n_features
    if not standardize and not level:
        return FeatureScaling(np.zeros(d), np.ones(d), active=False)
    rows = weight if weight.ndim == 1 else weight.sum(axis=1)
    if is_sparse(data.X):
        mean, variance = _sparse_moments(data.X, rows)
    else:
        mean, variance = _dense_moments(np.asarray(data.X), rows, _exists(data))
    if not standardize:
        return FeatureScaling(mean, np.ones(d), active=True)
    deviation = np.sqrt(variance)
    # Rounding leaves a trace of variance on a constant feature.
    constant = deviation <= 10 * np.finfo(float).eps * np.abs(mean)
    return FeatureScaling(
        mean if centre else np.zeros(d), np.where(constant, 1.0, deviation), active=True
    )


def _exists(data: TaskData) -> NDArray[np.bool_] | None:
    if data.present is None or data.form is Form.TARGETS:
        return None
    return np.asarray(data.present[data.row_tasks()])


def _dense_moments(
    X: NDArray[Any], rows: Array, exists: NDArray[np.bool_] | None
) -> tuple[Array, Array]:
    """Return weighted means and variances of the columns, a few rows at a time."""
    step = max(_CHUNK // max(X.shape[1], 1), 1)
    parts = [slice(first, first + step) for first in range(0, len(X), step)]
    total = np.full(X.shape[1], rows.sum())
    if exists is not None:
        total = sum((rows[p] @ exists[p] for p in parts), np.zeros(X.shape[1]))
    total = np.maximum(total, np.finfo(float).tiny)
    first, second = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for p in parts:
        cells = np.asarray(X[p], dtype=float)
        first += rows[p] @ (cells if exists is None else cells * exists[p])
    mean = first / total
    for p in parts:
        away = np.asarray(X[p], dtype=float) - mean
        away *= away
        second += rows[p] @ (away if exists is None else away * exists[p])
    return mean, second / total


def _sparse_moments(X: Any, rows: Array) -> tuple[Array, Array]:  # noqa: ANN401 - CSR
    total = rows.sum()
    mean = np.asarray(X.T @ rows, dtype=float) / total
    # Stored entries about the mean, plus the zeros about it.
    wide = X.tocsc().astype(float)
    deviations = wide.copy()
    counts = np.diff(wide.indptr)
    deviations.data = (wide.data - np.repeat(mean, counts)) ** 2
    stored = wide.copy()
    stored.data = np.ones_like(wide.data)
    zeros = np.maximum(total - np.asarray(stored.T @ rows), 0.0)
    variance = (np.asarray(deviations.T @ rows) + zeros * mean**2) / total
    return mean, variance


@dataclass(frozen=True, eq=False)
class TargetScaling:
    """Subtract `mean` and divide by `scale`, per task; classes are left alone.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_tasks,)
        Zeros and ones where nothing is scaled.
    """

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
    mean, variance = _target_moments(y, weight, data)
    common = scaled_in_common(y, weight, data, centre=True)
    # A task without rows is predicted in the units that the tasks have in common.
    empty = sum_by_task(weight, data) <= 0
    mean = np.where(empty, common.mean, mean)
    variance = np.where(empty, common.scale**2, variance)
    return _target_scaling(mean, variance, centre)


def scaled_in_common(y: Array, weight: Array, data: TaskData, centre: bool) -> TargetScaling:
    """Scale all tasks by one mean and one standard deviation over all labels."""
    seen = np.nan_to_num(y)
    total = weight.sum()
    mean = float((weight * seen).sum() / total)
    variance = float((weight * (seen - mean) ** 2).sum() / total)
    n = data.n_tasks
    return _target_scaling(np.full(n, mean), np.full(n, variance), centre)


def _target_scaling(mean: Array, variance: Array, centre: bool) -> TargetScaling:
    deviation = np.sqrt(variance)
    constant = deviation <= 10 * np.finfo(float).eps * np.abs(mean)
    scale = np.where(constant, 1.0, deviation)
    return TargetScaling(mean if centre else np.zeros_like(mean), scale)


def _target_moments(y: Array, weight: Array, data: TaskData) -> tuple[Array, Array]:
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
