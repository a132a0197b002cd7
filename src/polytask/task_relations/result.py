"""What relatedness answers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from polytask.task_relations.records import (
    FeatureEffect,
    Pair,
    RelatednessSummary,
    Shares,
    TaskSimilarity,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class Relatedness:
    """The answer of :func:`polytask.relatedness`.

    Attributes
    ----------
    source : {"data", "model", "gradients", "affinity"}
        What was looked at; the last two are what a network recorded in training.
    n_informative : int
        Tasks that say anything: their rows differ, in features and target; in a model, their
        coefficients are not all 0.
    n_features : int
        Features after encoding.
    units : {"standardised", "given"}
        Whether coefficients are of features of equal spread, or of features as given (a model
        that was fitted without ``standardize=True``). "given" for a network, where it means
        nothing.
    p_value : float
        That the tasks have nothing to do with each other; NaN for a model, and where fewer
        than two tasks say anything.
    p_values : dict
        The p-value of each aspect alone: "direction", "structure", "features".
    n_permutations : int
        Random choices of signs behind them; 0 for a model.
    shares : Shares
        What is common to all tasks, to clear groups of them, and their own.
    effective_tasks : float
        The number of unrelated tasks that they are worth: 1 if all are the same up to size and
        sign, their number if they are unrelated.
    level_share : float
        Share of the variance of the target that lies between the tasks' means. It is no part of
        the relatedness, which is about effects of features. NaN where tasks have no target in
        common, and for a model.
    tasks : tuple of TaskSimilarity
        Every task, as in the data.
    order : tuple of int
        The tasks on the map, as positions in `tasks`, neighbours being alike. Of more than
        1,000 those with the most rows; without those that say nothing.
    similarity : tuple of tuple of float
        The map: correlations of their effects, -1 to 1, in that order; of a network the cosines
        of their gradients, or how much of what their own steps do those for the other did.
    tree : tuple of (int, int, float, int)
        The dendrogram: average linkage of 1 - correlation, in the form of SciPy, whose leaf i
        is the i-th task of `order`.
    most_alike, least_alike : tuple of Pair
        The extreme pairs.
    features : tuple of FeatureEffect
        Those with the largest effects, the largest first.
    seed : int
        Of the test.
    """

    source: str
    n_informative: int
    n_features: int
    units: str
    p_value: float
    p_values: dict[str, float]
    n_permutations: int
    shares: Shares
    effective_tasks: float
    level_share: float
    tasks: tuple[TaskSimilarity, ...]
    order: tuple[int, ...]
    similarity: tuple[tuple[float, ...], ...]
    tree: tuple[tuple[int, int, float, int], ...]
    most_alike: tuple[Pair, ...]
    least_alike: tuple[Pair, ...]
    features: tuple[FeatureEffect, ...]
    seed: int

    @property
    def sentence(self) -> str:
        """The answer in one or two English sentences."""
        from polytask.task_relations import presenting as _related_presenting

        return _related_presenting.opening(self)

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

    def to_frame(self) -> pd.DataFrame:
        """Return one row per task: rows, closeness, nearest, similarity, group."""
        from polytask.task_relations import presenting as _related_presenting

        return _related_presenting.task_table(self)

    def summary(self, lang: str = "en") -> str:
        """Return what was found, in sentences.

        Parameters
        ----------
        lang : {"en", "zh"}, default="en"
            English or Chinese.

        Returns
        -------
        str
            One line for each.
        """
        from polytask.task_relations import presenting as _related_presenting

        return _related_presenting.summary(self, lang)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the map of the tasks with its tree above it.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        Axes

        Raises
        ------
        DataError
            If no task says anything about its coefficients.
        """
        from polytask.task_relations import presenting as _related_presenting

        return _related_presenting.plot(self, ax)

    def to_json(self) -> str:
        """Return everything as JSON text."""
        from polytask.io import records as _plain

        return _plain.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild from :meth:`to_json`.

        Raises
        ------
        DataError
            If the text is something else, or of a newer version.
        """
        from polytask.io import records as _plain

        rebuilt: Self = _plain.from_json(text, cls)
        return rebuilt

    def __repr__(self) -> str:
        """Return the answer in a line: all fields would be a number for every pair of tasks."""
        return (
            f"Relatedness(source={self.source!r}, p_value={self.p_value:.3g}, "
            f"effective_tasks={self.effective_tasks:.3g}, {len(self.tasks)} tasks)"
        )

    def __str__(self) -> str:
        """Return :meth:`summary`."""
        return self.summary()

    def _repr_html_(self) -> str:
        """Return the tasks as a plain table, for notebooks."""
        from polytask.task_relations import presenting as _related_presenting

        return _related_presenting.html_table(self)
