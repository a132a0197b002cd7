"""The parts of a comparison: plain frozen records of numbers and names."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from polytask._messages import Said


class Interval(NamedTuple):
    """A mean and its 95% interval; the ends are NaN where nothing tells them.

    Attributes
    ----------
    mean, low, high : float
        In units of the metric.
    """

    mean: float
    low: float
    high: float

    @property
    def above(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0

    @property
    def below(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high < 0


UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class ModelRow:
    """One model of the leaderboard.

    Attributes
    ----------
    name : str
        Unique name.
    kind : {"separate", "pooled", "shared", "other"}
        What it does with the tasks; "other" is an estimator that the user added.
    family : {"linear", "trees", "deep", "reference", "user"}
        What it is made of. Only linear models take part in the verdict's rule (networks, "deep",
        where there are no others); "reference" models have no penalty to speak of and are never
        recommended.
    score : Interval
        The verdict's metric over all held-out rows; NaN if the model failed in one of the splits,
        for then it was not scored on the same rows as the others.
    splits : tuple of float
        Its value in every outer split, NaN where the model failed or was not run.
    inner : tuple of float
        The same inside the training part of every outer split: what the rule chooses by.
    picked : int
        In how many outer splits the rule chose it.
    metrics : dict
        Further metrics by name, means over the outer splits.
    undefined : dict
        How many scores of tasks each metric could not define, where any.
    fit_seconds : float
        CPU seconds of a fit, mean.
    predict_seconds : float
        Seconds to predict 1,000 rows, mean.
    nonzero : int or None
        Parameters that are not zero, of the last fit; None where they cannot be counted.
    file_bytes : int or None
        Size of the saved model of the first split; None where it cannot be saved.
    note : str
        Why it was left out or failed, or what it warned of; empty if nothing.
    left_out : Said or None
        Why it was left out, for any language; None if it was not.
    """

    name: str
    kind: str
    family: str
    score: Interval
    splits: tuple[float, ...]
    inner: tuple[float, ...] = ()
    picked: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, int] = field(default_factory=dict)
    fit_seconds: float = float("nan")
    predict_seconds: float = float("nan")
    nonzero: int | None = None
    file_bytes: int | None = None
    note: str = ""
    left_out: Said | None = None


@dataclass(frozen=True)
class TaskGain:
    """What sharing does for one task.

    Attributes
    ----------
    task : hashable
        The task.
    rows : int
        Its labelled rows.
    gain, low, high : float
        Shrunken gain of the sharing rule over the plain one, with its 95% interval.
    raw : float
        The gain before shrinkage.
    group : {"gain", "lose", "unclear"}
        Whether the interval is above 0 or below 0 and the gain larger than the margin, or not.
    action : {"share", "separate", "pool", "collect", "any"}
        What to do; "any": its own rows ask for nothing beside what is said of all tasks.
    more_rows : int or None
        How many more rows would tell, where it is unclear and they would.
    """

    task: Hashable
    rows: int
    gain: float
    low: float
    high: float
    raw: float
    group: str
    action: str
    more_rows: int | None = None


@dataclass(frozen=True)
class TwoByTwo:
    """Shrinkage and sharing told apart.

    Attributes
    ----------
    separate_none, separate_tuned, joint_none, joint_tuned : Interval
        The verdict's metric of one model per task and of joint models, without and with a
        tuned penalty.
    shrinkage_gain, sharing_gain : Interval
        separate_tuned - separate_none, and joint_tuned - separate_tuned.
    """

    separate_none: Interval
    separate_tuned: Interval
    joint_none: Interval
    joint_tuned: Interval
    shrinkage_gain: Interval
    sharing_gain: Interval


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of a sharing model of all rows on standardised features, for the heat map.

    Attributes
    ----------
    model : str
        Its name: the recommended model if that shares, else the sharing model that was chosen
        most often.
    features : tuple of str
        Those with the largest coefficients, largest first.
    columns : tuple of str
        The tasks (and classes).
    values : tuple of tuple of float
        One row per feature.
    n_features, n_columns : int
        How many there are in all.
    """

    features: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    n_features: int
    n_columns: int
    model: str = ""


@dataclass(frozen=True)
class Setup:
    """What was compared, on what, and how.

    Attributes
    ----------
    form : {"long", "targets", "separate"}
        The form of the data.
    n_rows, n_tasks, n_features : int
        Their size as given.
    problem : {"regression", "classification", "mixed"}
        What the targets are.
    metric : str
        Name of the verdict's metric.
    greater_is_better : bool
        Its direction; gains are always oriented so that more is better.
    splits : str
        "within", "grouped", "time", "unseen" or "given".
    n_splits : int
        How many outer splits there were.
    planned : int
        How many there were to be.
    seed : int
        Of splits and models.
    rows_per_task : tuple of (int, float, int)
        Smallest, median and largest.
    weighted : bool
        Whether rows have weights.
    of_deviance : bool
        Whether numbers are counts or amounts that are judged by their deviance.
    quick : bool
        Whether few models were compared instead of all.
    times : int
        How many distinct times there are, where rows are held out by time; else 0.
    time_gap : float
        Usual seconds between consecutive times; 0 if they are no dates.
    """

    form: str
    n_rows: int
    n_tasks: int
    n_features: int
    problem: str
    metric: str
    greater_is_better: bool
    splits: str
    n_splits: int
    planned: int
    seed: int
    rows_per_task: tuple[int, float, int]
    weighted: bool = False
    of_deviance: bool = False
    quick: bool = False
    times: int = 0
    time_gap: float = 0.0
