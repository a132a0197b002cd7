"""The parts of a statement on relatedness: plain frozen records of numbers and names."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

# Above this p-value it is not said that tasks are related, and below this share of what they
# do no groups are suggested.
LEVEL = 0.05


# Sources of a statement that a network recorded while it was trained.
RECORDED = ("gradients", "affinity")


@dataclass(frozen=True)
class Shares:
    """Whose the effects of the features are; in sum 1, NaN where nothing is explained."""

    common: float
    clustered: float
    own: float


@dataclass(frozen=True)
class RelatednessSummary:
    """What a comparison keeps of the relatedness of its tasks."""

    n_tasks: int
    p_value: float
    shares: Shares
    effective_tasks: float


@dataclass(frozen=True)
class TaskSimilarity:
    """One task among the others."""

    task: Hashable
    rows: int
    closeness: float
    nearest: Hashable | None
    similarity: float
    group: int | None


@dataclass(frozen=True)
class Pair:
    """Two tasks and the correlation of their effects."""

    first: Hashable
    second: Hashable
    similarity: float


@dataclass(frozen=True)
class FeatureEffect:
    """What a feature does in the tasks."""

    feature: str
    mean: float
    spread: float
    shared: bool
