"""The parts of a statement on relatedness: plain frozen records of numbers and names."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Above this p-value it is not said that tasks are related, and below this share of what they
# do no groups are suggested. So near to it, another choice of random signs could say otherwise.
LEVEL = 0.05
_NEAR = 0.015
# Random choices of signs, in a comparison as elsewhere: the same data have the same p-value.
CHOICES = 999


# Sources of a statement that a network recorded while it was trained.
RECORDED = ("gradients", "affinity")


def is_related(p_value: float) -> bool:
    """Whether a p-value says that tasks are related."""
    return p_value <= LEVEL


def is_borderline(p_value: float) -> bool:
    """Whether a p-value is so near the level that neither is said."""
    return abs(p_value - LEVEL) <= _NEAR


@dataclass(frozen=True)
class Shares:
    """Whose the effects of the features are; in sum 1, NaN where nothing is explained."""

    common: float
    clustered: float
    own: float


UNKNOWN = Shares(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class RelatednessSummary:
    """What a comparison keeps of the relatedness of its tasks.

    Attributes
    ----------
    n_tasks : int
        Number of tasks.
    p_value : float
        Of the test of no relation between the tasks.
    shares : Shares
        Of the explained variance: common, of groups, of single tasks.
    effective_tasks : float
        Effective number of tasks.
    """

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


@dataclass(frozen=True, repr=False)
class RelatednessFindings:
    """All that was found; :class:`polytask.task_relations.Relatedness` says what each is."""

    source: str
    n_informative: int
    n_features: int
    units: str
    tasks: tuple[TaskSimilarity, ...]
    order: tuple[int, ...]
    similarity: tuple[tuple[float, ...], ...]
    tree: tuple[tuple[int, int, float, int], ...]
    most_alike: tuple[Pair, ...]
    least_alike: tuple[Pair, ...]
    seed: int
    features: tuple[FeatureEffect, ...] = ()
    p_value: float = float("nan")
    p_values: dict[str, float] = field(default_factory=dict)
    n_permutations: int = 0
    shares: Shares = UNKNOWN
    effective_tasks: float = float("nan")
    level_share: float = float("nan")
    groupings: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def key_figures(self) -> RelatednessSummary:
        """What a comparison keeps of it."""
        return RelatednessSummary(
            self.n_informative, self.p_value, self.shares, self.effective_tasks
        )

    @property
    def groups(self) -> tuple[tuple[Hashable, ...], ...]:
        """The suggested groups of tasks, largest first; empty if there are no clear ones."""
        found: dict[int, list[Hashable]] = {}
        for place in self.order:
            line = self.tasks[place]
            if line.group is not None:
                found.setdefault(line.group, []).append(line.task)
        return tuple(tuple(group) for group in sorted(found.values(), key=len, reverse=True))

    @property
    def most_related(self) -> tuple[Hashable, ...]:
        """The tasks on the map by their mean correlation with the others, closest first."""
        lines = [self.tasks[place] for place in self.order]
        return tuple(line.task for line in sorted(lines, key=lambda line: -line.closeness))

    @property
    def least_related(self) -> tuple[Hashable, ...]:
        """The same, farthest first."""
        return self.most_related[::-1]

    @property
    def features_shared(self) -> tuple[str, ...]:
        """Features that work alike in the tasks, largest effect first."""
        return tuple(one.feature for one in self.features if one.shared)

    @property
    def features_varying(self) -> tuple[str, ...]:
        """Features whose effect differs more between tasks than it is common to them."""
        return tuple(one.feature for one in self.features if not one.shared)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """`similarity` as an array of shape (k, k)."""
        k = len(self.order)
        return np.array(self.similarity, dtype=np.float64).reshape(k, k)
