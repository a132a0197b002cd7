"""Ways to make one number of the rows of a task, and one of the rows of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask.losses import LogLink
from polytask.metrics.held_out import HeldOut, squares
from polytask.metrics.scores import TaskScores, r2

Array = NDArray[np.float64]
RowValues = Callable[[HeldOut], Array]


class Summary(Protocol):
    """One number of a task, and one of all tasks."""

    def of_task(self, held: HeldOut) -> float:
        """Return the score of one task, NaN where it is undefined."""

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the score of all tasks, NaN where it is undefined."""


class ScoredColumns(NamedTuple):
    """Rows of one task or of several, one below the other."""

    y: NDArray[Any]
    prediction: NDArray[Any]
    probabilities: NDArray[Any]
    weight: Array | None


@dataclass(frozen=True)
class RowMean:
    """The weighted mean over rows, of one task or of all together."""

    rows: RowValues

    def of_task(self, held: HeldOut) -> float:
        """Return the mean over the rows of one task."""
        return weighted_sum(self.rows(held), held.weight) / held.total

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the mean over the rows of all tasks together."""
        values = sum(weighted_sum(self.rows(held), held.weight) for held in parts)
        return values / sum(held.total for held in parts)


@dataclass(frozen=True)
class RootMean:
    """The root of the weighted mean over rows, of one task or of all together."""

    rows: RowValues

    def of_task(self, held: HeldOut) -> float:
        """Return the root of the mean over the rows of one task."""
        return self.of_tasks([held])

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the root of the mean over the rows of all tasks together."""
        return float(np.sqrt(RowMean(self.rows).of_tasks(parts)))


@dataclass(frozen=True)
class Within:
    """R2 around the mean of the task's own held-out rows, of one task or pooled over tasks."""

    # Pooled, the squared errors of all rows are divided by all squares around the means of their
    # tasks: of a few rows a ratio of its own is mostly chance.

    def of_task(self, held: HeldOut) -> float:
        """Return the R2 of one task; NaN with under two rows or a constant outcome."""
        return r2(held.y, held.prediction, held.weight)

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the R2 within tasks; a task of one row has nothing around its mean."""
        errors = around = 0.0
        for held in parts:
            y = held.y if held.weight is None else held.y[held.weight > 0]
            if len(y) < 2:
                continue
            errors += weighted_sum(squares(held.y - held.prediction), held.weight)
            # The mean of three 0.1s is not 0.1.
            if not np.all(y == y[0]):
                mean = np.average(held.y, weights=held.weight)
                around += weighted_sum(squares(held.y - mean), held.weight)
        return 1.0 - errors / around if around > 0 else float("nan")


@dataclass(frozen=True)
class JoinedScore:
    """A score that compares rows with each other: of one task, or of all as one sample."""

    # Tasks whose classes differ make no sample: their scores are averaged.

    score: Callable[[ScoredColumns], float]

    def of_task(self, held: HeldOut) -> float:
        """Return the score of one task."""
        return self.score(joined([held]))

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the score of all rows as one sample, if their classes are the same."""
        if all(_same_classes(held, parts[0]) for held in parts[1:]):
            return self.score(joined(parts))
        return mean_over_tasks(self, parts)


class LossSums(NamedTuple):
    """Sums over rows, which are added for rows of several tasks or places."""

    loss: float
    # That of the constant model, and how much of it may be rounding.
    null: float
    rounding: float

    @classmethod
    def of(cls, held: HeldOut) -> LossSums:
        """Return the sums of the rows of one task."""
        loss, null = (weighted_sum(f(), held.weight) for f in (held.losses, held.baseline_losses))
        return cls(loss, null, rounding(held))

    def joined(self, other: LossSums) -> LossSums:
        """Return the sums of these rows and others."""
        return LossSums(*map(sum, zip(self, other, strict=True)))

    @property
    def explained(self) -> float:
        """1 - loss / loss of the constant model, NaN where that is right in every row."""
        return float("nan") if self.null <= self.rounding else 1.0 - self.loss / self.null


@dataclass(frozen=True)
class Explained:
    """1 - the sum of losses / the sum of losses of the constant model."""

    def of_task(self, held: HeldOut) -> float:
        """Return the share explained in one task."""
        return LossSums.of(held).explained

    def of_tasks(self, parts: Sequence[HeldOut]) -> float:
        """Return the share explained over the rows of all tasks together."""
        return reduce(LossSums.joined, map(LossSums.of, parts)).explained


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


def joined(parts: Sequence[HeldOut]) -> ScoredColumns:
    """Put the rows of several tasks one below the other."""
    weight = None
    if any(held.weight is not None for held in parts):
        each = [np.ones(len(h.y)) if h.weight is None else h.weight for h in parts]
        weight = np.concatenate(each)
    # Without columns where there are no probabilities.
    shares = [
        np.empty((len(held.y), 0)) if held.probabilities is None else held.probabilities
        for held in parts
    ]
    return ScoredColumns(
        np.concatenate([held.y for held in parts]),
        np.concatenate([held.prediction for held in parts]),
        np.concatenate(shares),
        weight,
    )


def explained_rows(held: HeldOut) -> Array:
    """Return one value per row, whose weighted mean is the share explained in the task."""
    null = weighted_sum(held.baseline_losses(), held.weight)
    if null <= rounding(held):
        return np.full(len(held.y), np.nan)
    return 1.0 - held.losses() * (held.total / null)


def rounding(held: HeldOut) -> float:
    """Return the loss of a constant that is right in every row, but for rounding."""
    # Without this a task with one class, or whose rows are all 0.1, would get a score in the
    # minus millions: a training mean of 0.1s is not 0.1, and clipped probabilities are not 1.
    if held.classes is not None:
        return 8.0 * held.precision * held.total
    unit = 32.0 * float(np.finfo(np.float64).eps)
    if isinstance(held.loss, LogLink):
        return unit**2 * max(float(held.baseline), 1.0) * held.total
    if held.loss is not None:
        return unit * abs(float(held.baseline)) * held.total
    width = unit * np.asarray(held.baseline)
    return float(squares(width)) * held.total


def _same_classes(one: HeldOut, other: HeldOut) -> bool:
    if one.classes is other.classes:
        return True
    if one.classes is None or other.classes is None:
        return False
    return bool(one.classes.tolist() == other.classes.tolist())
