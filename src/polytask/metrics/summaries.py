"""Ways to make one number of the rows of a task, and one of the rows of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask.metrics.held_out import HeldOut, squares
from polytask.metrics.scores import TaskScores

Array = NDArray[np.float64]
RowValues = Callable[[HeldOut], Array]


class Summary(Protocol):
    """One number of a task, and one of all tasks."""

    def of_task(self, held: HeldOut) -> float:
        """Return the score of one task, NaN where it is undefined."""

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the score of all tasks, NaN where it is undefined."""


class Columns(NamedTuple):
    """Rows of one task or of several, one below the other."""

    y: NDArray[Any]
    prediction: NDArray[Any]
    probabilities: NDArray[Any]
    weight: Array | None


@dataclass(frozen=True)
class RowMean:
    """The weighted mean over rows, of one task or of all together.

    Attributes
    ----------
    rows : callable
        Takes held-out rows, returns one value for each.
    """

    rows: RowValues

    def of_task(self, held: HeldOut) -> float:
        """Return the mean over the rows of one task."""
        return weighted_sum(self.rows(held), held.weight) / held.total

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the mean over the rows of all tasks together."""
        values = sum(weighted_sum(self.rows(held), held.weight) for held in parts)
        return values / sum(held.total for held in parts)


@dataclass(frozen=True)
class TaskMean:
    """A score of one task, and the mean over the tasks that have it.

    Attributes
    ----------
    score : callable
        Takes the held-out rows of a task.
    """

    score: Callable[[HeldOut], float]

    def of_task(self, held: HeldOut) -> float:
        """Return the score of one task."""
        return self.score(held)

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the mean over tasks."""
        return mean_over_tasks(self, parts)


@dataclass(frozen=True)
class Joined:
    """A score that compares rows with each other: of one task, or of all as one sample.

    Tasks whose classes differ make no sample: their scores are averaged.

    Attributes
    ----------
    score : callable
        Takes :class:`Columns`.
    """

    score: Callable[[Columns], float]

    def of_task(self, held: HeldOut) -> float:
        """Return the score of one task."""
        return self.score(joined([held]))

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the score of all rows as one sample, if their classes are the same."""
        if all(_same_classes(held, parts[0]) for held in parts[1:]):
            return self.score(joined(parts))
        return mean_over_tasks(self, parts)


@dataclass(frozen=True)
class Explained:
    """1 - the sum of losses / the sum of losses of the constant model."""

    def of_task(self, held: HeldOut) -> float:
        """Return the share explained in one task."""
        return _share([held])

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the share explained over the rows of all tasks together."""
        return _share(parts)


def mean_over_tasks(summary: Summary, parts: Sequence[HeldOut]) -> float:
    """Return the mean of the scores of the tasks, those left out that have none."""
    return TaskScores(tuple(summary.of_task(held) for held in parts)).mean


def weighted_sum(values: Array, weight: Array | None) -> float:
    """Return the sum over rows; rows of weight zero do not count, whatever their value is."""
    with np.errstate(over="ignore", invalid="ignore"):
        if weight is None:
            return float(values.sum())
        seen = weight > 0
        return float(values[seen] @ weight[seen])


def joined(parts: Sequence[HeldOut]) -> Columns:
    """Put the rows of several tasks one below the other."""
    weight = None
    if any(held.weight is not None for held in parts):
        weight = np.concatenate([_weight(held) for held in parts])
    return Columns(
        np.concatenate([held.y for held in parts]),
        np.concatenate([held.prediction for held in parts]),
        np.concatenate([_table(held) for held in parts]),
        weight,
    )


def explained_rows(held: HeldOut) -> Array:
    """Return one value per row, whose weighted mean is the share explained in the task."""
    null = weighted_sum(held.baseline_losses(), held.weight)
    if null <= _rounding(held):
        return np.full(len(held.y), np.nan)
    return 1.0 - held.losses() * (held.total / null)


def _share(parts: Sequence[HeldOut]) -> float:
    null = sum(weighted_sum(held.baseline_losses(), held.weight) for held in parts)
    if null <= sum(_rounding(held) for held in parts):
        return float("nan")
    return 1.0 - sum(weighted_sum(held.losses(), held.weight) for held in parts) / null


def _rounding(held: HeldOut) -> float:
    """Return the loss of a constant that is right in every row, but for rounding.

    Without this a task with one class, or whose rows are all 0.1, would get a score in the
    minus millions: a training mean of 0.1s is not 0.1, and clipped probabilities are not 1.
    """
    if held.classes is not None:
        return 8.0 * held.precision * held.total
    unit = 32.0 * float(np.finfo(np.float64).eps)
    if held.loss is not None:
        return unit**2 * max(float(held.baseline), 1.0) * held.total
    width = unit * np.asarray(held.baseline)
    return float(squares(width)) * held.total


def _same_classes(one: HeldOut, other: HeldOut) -> bool:
    if one.classes is other.classes:
        return True
    if one.classes is None or other.classes is None:
        return False
    return bool(one.classes.tolist() == other.classes.tolist())


def _weight(held: HeldOut) -> Array:
    return np.ones(len(held.y)) if held.weight is None else held.weight


def _table(held: HeldOut) -> NDArray[Any]:
    """Return the probabilities, without columns if there are none."""
    return np.empty((len(held.y), 0)) if held.probabilities is None else held.probabilities
