"""The parts of a statement on relatedness: plain frozen records of numbers and names."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

# Above this p-value it is not said that tasks are related, and below this share of what they
# do no groups are suggested.
LEVEL = 0.05


@dataclass(frozen=True)
class Shares:
    """Whose the effects of the features are; in sum 1, NaN where nothing is explained.

    Attributes
    ----------
    common : float
        Alike in all tasks.
    clustered : float
        Beyond it, alike in clear groups of tasks, and not by chance.
    own : float
        The rest.
    """

    common: float
    clustered: float
    own: float


@dataclass(frozen=True)
class Kinship:
    """What a comparison keeps of the relatedness of its tasks.

    Attributes
    ----------
    n_tasks : int
        Tasks that say anything about their coefficients.
    p_value : float
        That the tasks have nothing to do with each other; NaN if not tested.
    shares : Shares
        Common, clustered, own.
    effective_tasks : float
        The number of unrelated tasks that they are worth.
    """

    n_tasks: int
    p_value: float
    shares: Shares
    effective_tasks: float


@dataclass(frozen=True)
class TaskKin:
    """One task among the others.

    Attributes
    ----------
    task : hashable
        The task.
    rows : int
        Its labelled rows; 0 where a model does not say.
    closeness : float
        Its mean correlation with the others, NaN if it says nothing about its coefficients.
    nearest : hashable or None
        The task that is most like it.
    similarity : float
        Its correlation with that one.
    group : int or None
        Its suggested group, from 0 in the order of the tree; None if there are no groups.
    """

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
    """What a feature does in the tasks.

    Attributes
    ----------
    feature : str
        Its name.
    mean : float
        Its mean coefficient.
    spread : float
        Standard deviation of its coefficients between tasks, without noise.
    shared : bool
        Whether what is common is more than what varies.
    """

    feature: str
    mean: float
    spread: float
    shared: bool
