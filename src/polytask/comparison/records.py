"""The parts of a comparison: plain frozen records of numbers and names."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from polytask.messages import LazyMessage
from polytask.task_relations import RelatednessSummary


@dataclass(frozen=True)
class StrengthPath:
    """Held-out error and coefficients of a penalty against its strength."""

    # It is the search of a model on all rows; the strongest comes first.

    model: str
    penalty: str
    measure: str
    alphas: tuple[float, ...]
    scores: tuple[float, ...]
    standard_errors: tuple[float, ...]
    features: tuple[int, ...]
    ranks: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[tuple[float, ...], ...]
    n_features: int
    best: int
    one_se: int
    chosen: int


@dataclass(frozen=True)
class SparsitySummary:
    """What is left of the coefficients of a linear model of all rows."""

    model: str
    penalty: str
    features: float
    coefficients: float
    rank: int | None


@dataclass(frozen=True)
class ParameterImportance:
    """A hyper-parameter of the searched model, and how far it decided about the score."""

    parameter: str
    share: float
    spread: float
    tried: int


@dataclass(frozen=True)
class LearningPoint:
    """Scores and gains with a share of the training rows."""

    share: float
    rows: float
    separate: Interval
    pooled: Interval
    shared: Interval
    over_separate: Interval
    over_pooled: Interval
    #: `rows` is the median over the splits of the median over the tasks; these are its ends.
    least_rows: float = 0.0
    most_rows: float = 0.0


@dataclass(frozen=True)
class Ablated:
    """What one term of a penalty adds."""

    model: str
    term: str
    without: Interval
    gain: Interval


class Interval(NamedTuple):
    """A mean and its 95% interval; the ends are NaN where nothing tells them."""

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
    """One model of the leaderboard."""

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
    left_out: LazyMessage | None = None
    #: What `note` says, in every language.
    said: LazyMessage | None = None
    #: Of targets, which have units of their own, the root mean squared error of each.
    target_errors: tuple[tuple[Any, float], ...] = ()
    #: By how much the recommended model is better than this one.
    behind: Interval | None = None


@dataclass(frozen=True)
class TaskGain:
    """What sharing does for one task."""

    task: Hashable
    rows: int
    gain: float
    low: float
    high: float
    raw: float
    group: str
    action: str
    more_rows: int | None = None
    #: What the gain is shrunk to: the mean gain of tasks with as many rows.
    centre: float | None = None
    #: Which share of its held-out rows lie in 90% intervals of the recommended model.
    coverage: float | None = None


@dataclass(frozen=True)
class SplitGain:
    """The gain of joint over plain models, and of pooled over separate ones, in one split."""

    train_rows: int
    gain: float
    pooling_gain: float


@dataclass(frozen=True)
class TwoByTwo:
    """Shrinkage and sharing told apart."""

    separate_none: Interval
    separate_tuned: Interval
    joint_none: Interval
    joint_tuned: Interval
    shrinkage_gain: Interval
    sharing_gain: Interval


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of a sharing model of all rows on standardised features, for the heat map."""

    features: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    n_features: int
    n_columns: int
    model: str = ""
    # Of two classes that are the same in all tasks, the one that numbers above 0 make likelier.
    positive: str = ""


@dataclass(frozen=True)
class Description:
    """What a model of all rows shows."""

    coefficients: Coefficients | None = None
    path: StrengthPath | None = None
    sparsity: SparsitySummary | None = None
    importance: tuple[ParameterImportance, ...] = ()
    variance_shares: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Grouping:
    """One of several groupings of the rows."""

    name: str
    levels: int
    #: Its share of the variance around the mean coefficients; NaN where no model says.
    share: Interval = UNKNOWN
    #: How many of its levels the models of one grouping tell apart; of the first all.
    told: int = 0


@dataclass(frozen=True)
class Setup:
    """What was compared, on what, and how."""

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
    #: How many rows are held out and scored; 0 where that is not known.
    n_scored: int = 0
    #: What was asked for beyond the verdict: learning_curve, ablation.
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Findings:
    """All that a comparison found; :class:`polytask.comparison.Comparison` says what each is."""

    verdict: str
    gain: Interval
    plain: str
    pooling_gain: Interval
    recommended: str
    trees_gain: Interval | None
    setup: Setup
    models: tuple[ModelRow, ...]
    tasks: tuple[TaskGain, ...]
    two_by_two: TwoByTwo | None
    dominance: tuple[tuple[Any, float], ...]
    coefficients: Coefficients | None
    diagnostics: tuple[str, ...]
    complete: bool
    seconds: float
    lock: dict[str, Any]
    stopped: str = ""
    relatedness: RelatednessSummary | None = None
    path: StrengthPath | None = None
    sparsity: tuple[SparsitySummary, ...] = ()
    parameter_importance: tuple[ParameterImportance, ...] = ()
    learning: tuple[LearningPoint, ...] = ()
    ablation: tuple[Ablated, ...] = ()
    networks_gain: Interval | None = None
    networks_sharing: Interval | None = None
    gain_90: Interval = UNKNOWN
    margin: float = 0.0
    times_more: float | None = None
    perfect: bool = False
    far_cells: bool = False
    repeated_rows: int = 0
    copies: tuple[str, ...] = ()
    doubts: tuple[LazyMessage, ...] = ()
    split_gains: tuple[SplitGain, ...] = ()
    groupings: tuple[Grouping, ...] = ()
