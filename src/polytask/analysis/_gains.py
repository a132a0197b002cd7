"""Paired differences of two chosen models: by split, by row and by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._choosing import Board
from polytask.analysis._unit import Record

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowDifferences:
    """Gains of the held-out labels of one split, on the scale of the metric.

    Attributes
    ----------
    values : ndarray of shape (m,)
        Gain of every label, more is better.
    weights : ndarray of shape (m,)
        What each label counts in the score of the split.
    tasks : ndarray of int of shape (m,)
        Its task.
    """

    values: Array
    weights: Array
    tasks: NDArray[np.intp]


def row_differences(
    first: Record, second: Record, by_task: bool, relative: bool
) -> RowDifferences | None:
    """Return by how much `first` is better than `second` on every held-out label.

    Parameters
    ----------
    first, second : dict
        Records of the same split.
    by_task : bool
        Whether the score is the mean over tasks rather than over rows.
    relative : bool
        Whether the metric is 1 - loss / loss of the constant.

    Returns
    -------
    RowDifferences or None
        None if the losses of the metric do not add up over rows.
    """
    if "losses" not in first or "losses" not in second:
        return None
    counts = first["counts"]
    tasks = np.repeat(np.arange(len(counts)), counts)
    weights = first["row_weights"]
    weights = np.ones(len(tasks)) if weights is None else weights
    scale = _scale(first, by_task) if relative else np.ones(len(counts))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (second["losses"] - first["losses"]) / scale[tasks]
    usable = np.isfinite(values)
    if by_task:
        # Every task with a score counts the same.
        totals = np.bincount(tasks[usable], weights[usable], len(counts))
        weights = weights / np.maximum(totals, np.finfo(float).tiny)[tasks]
    owners = np.asarray(first["tasks"], dtype=np.intp)[tasks]
    return RowDifferences(values[usable], weights[usable], owners[usable])


def _scale(record: Record, by_task: bool) -> Array:
    """Return the loss of the constant: of each task, or of all rows together."""
    null, weights = record["null"], record["weights"]
    if by_task:
        return np.asarray(null)
    return np.full(len(null), float(np.average(null, weights=weights)))


@dataclass(frozen=True, eq=False)
class TaskTable:
    """Gains by split and task.

    Attributes
    ----------
    values : ndarray of shape (n_splits, n_tasks)
        NaN where a task was not held out or its score is undefined.
    variance : ndarray of shape (n_splits, n_tasks) or None
        Variance of each of them as its rows tell; None if the metric does not add up.
    """

    values: Array
    variance: Array | None


def task_table(
    board: Board,
    first: Sequence[str | None],
    second: Sequence[str | None],
    metric: str,
    n_tasks: int,
    by_task: bool,
    relative: bool,
) -> TaskTable:
    """Return the gain of the first model over the second for every task in every split."""
    shape = (len(board.splits), n_tasks)
    values, variance = np.full(shape, np.nan), np.full(shape, np.nan)
    additive = True
    for j, split in enumerate(board.splits):
        pair = _pair(board, split, first[j], second[j])
        if pair is None:
            continue
        rows = row_differences(pair[0], pair[1], by_task, relative)
        if rows is None:
            additive = False
            held = np.asarray(pair[0]["tasks"], dtype=np.intp)
            mine, theirs = (np.asarray(r["by_task"][metric], dtype=float) for r in pair)
            values[j, held] = board.sign * (mine - theirs)
        else:
            values[j], variance[j] = _moments(rows, n_tasks)
    return TaskTable(values, variance if additive else None)


def _pair(board: Board, split: int, first: str | None, second: str | None) -> Any:  # noqa: ANN401
    if first is None or second is None:
        return None
    records = board.record(split, first), board.record(split, second)
    return None if None in records else records


def _moments(rows: RowDifferences, n_tasks: int) -> tuple[Array, Array]:
    """Return weighted means by task, and the variances of these means."""
    w, t = rows.weights, rows.tasks
    total = np.bincount(t, w, n_tasks)
    squares = np.bincount(t, w**2, n_tasks)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(t, w * rows.values, n_tasks) / total
        spread = np.bincount(t, w * (rows.values - mean[t]) ** 2, n_tasks) / total
        # Kish's effective number of rows, less one for the mean.
        effective = total**2 / squares
        # One row tells nothing about the spread.
        variance = np.where(effective > 1.5, spread / (effective - 1), np.nan)
    return mean, variance
