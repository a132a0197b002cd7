"""What relatedness answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polytask import charts
from polytask.messages import Translator
from polytask.reporting import Document, Report
from polytask.task_relations import document as documents
from polytask.task_relations import sentences
from polytask.task_relations.records import RelatednessFindings

if TYPE_CHECKING:
    import pandas as pd

    from polytask.charts import Axes


@dataclass(frozen=True, repr=False)
class Relatedness(RelatednessFindings, Report):
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
        The extreme pairs. Of data only pairs of tasks whose rows tell more than half of the
        variance of their effects from noise; of other tasks a correlation is mostly noise.
    features : tuple of FeatureEffect
        Those with the largest effects, the largest first; of data those whose effects are at
        least two standard errors from nothing.
    seed : int
        Of the test.
    groupings : dict
        Of a model of several groupings, by name: the share of each in the variance around the
        mean coefficients, with its 95% interval. The tasks are the levels of the first.
    """

    @property
    def sentence(self) -> str:
        """The answer in one or two English sentences."""
        return sentences.opening(self, Translator())

    def to_frame(self) -> pd.DataFrame:
        """Return one row per task: rows, closeness, nearest, similarity, group."""
        return documents.task_frame(self)

    def document(self, lang: str = "en") -> Document:
        """See :meth:`polytask.reporting.Report.document`."""
        return documents.document(self, lang)

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
        figure = documents.map_figure(self, Translator())
        ax = charts.new_axes(figure.width + 0.8, figure.height) if ax is None else ax
        figure.draw(ax)
        return ax

    def __repr__(self) -> str:
        """Return the answer in a line: all fields would be a number for every pair of tasks."""
        return (
            f"Relatedness(source={self.source!r}, p_value={self.p_value:.3g}, "
            f"effective_tasks={self.effective_tasks:.3g}, {len(self.tasks)} tasks)"
        )
