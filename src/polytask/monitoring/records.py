"""What is found in new rows: plain frozen records of numbers and names."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

NAN = float("nan")


@dataclass(frozen=True)
class Shift:
    """A column that is distributed otherwise than in training.

    Attributes
    ----------
    task : object or None
        The task; None for all tasks together.
    column : str
        A feature after encoding, such as "colour=red"; a target where `is_target`.
    kind : {"location", "spread", "share", "missing"}
        Whether its middle moved, its spread changed, or the share of rows that have the value or
        that lack one.
    before, after : float
        In training and in the new rows: the median (the mean where the model keeps means), the
        distance between the quartiles (the standard deviation), or the share. For all tasks
        together the means over tasks, weighted by the new rows.
    chance : float
        Of "location" the chance that a new row has a larger value than a training row of its
        task, 0.5 without a shift, pulled to that of the other tasks by as much as chance explains
        their differences; NaN otherwise.
    p_value : float
        By Holm's method for all columns and tasks.
    is_target : bool
        Whether it is a target.
    """

    task: Hashable
    column: str
    kind: str
    before: float
    after: float
    chance: float
    p_value: float
    is_target: bool


@dataclass(frozen=True)
class NewLevels:
    """Levels of a column that were not in training, in how many rows, and up to five of them.

    Attributes
    ----------
    column : str
        The column.
    rows : int
        How many rows have such a level.
    levels : tuple of str
        Up to five of them.
    """

    column: str
    rows: int
    levels: tuple[str, ...]


@dataclass(frozen=True)
class TaskState:
    """One task of the new rows.

    Attributes
    ----------
    task : object
        Its label.
    known : bool
        Whether it was in training.
    rows, labelled : int
        New rows, and those whose target is known.
    action : {"refit", "adapt", "fit", "label", "watch", "none", "too_few"}
        What to do: refit, as its errors have grown; adapt, as it is new; fit all rows again, as
        it is new and :func:`polytask.adapt` cannot extend the model; get targets, as its
        columns have moved and its errors are not known; nothing now, as they have moved and its
        errors have not grown; nothing; or nothing can be told of so few rows.
    outside : int
        Rows whose prediction lies outside of all targets of training.
    error, usual_error : float
        Mean absolute error of the new rows, and of the rows that folds of training held out; of
        classes 1 less the probability of the right one. Those of counts and amounts are in the
        units of :meth:`predict_interval`.
    growth : float
        The error over the usual one, pulled to that of the other tasks by as much as chance
        explains their differences.
    coverage, usual_coverage : float
        Share of targets inside their intervals, or sets, and the same of the held-out rows.
    p_value : float
        Of errors that are not larger and intervals that cover as usual, by Holm's method.
    """

    task: Hashable
    known: bool
    rows: int
    labelled: int
    action: str
    outside: int = 0
    error: float = NAN
    usual_error: float = NAN
    growth: float = NAN
    coverage: float = NAN
    usual_coverage: float = NAN
    p_value: float = NAN


@dataclass(frozen=True)
class Gain:
    """By which share the model errs less than a rival, with an interval.

    Attributes
    ----------
    rival : {"mean", "separate"}
        The mean of the task, or a model of its own, both learned on other new rows of the task.
    gain, low, high : float
        1 less the squared error of the model over that of the rival (of classes squares of 1
        less the probability of the right one); negative where the rival is better.
    level : float
        Of the interval.
    rows, tasks : int
        The rows that both predict, and their tasks.
    """

    rival: str
    gain: float
    low: float
    high: float
    level: float
    rows: int
    tasks: int
