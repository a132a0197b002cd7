"""What `compare` returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polytask import charts
from polytask.comparison import document as documents
from polytask.comparison import frames
from polytask.comparison import sentences as says
from polytask.comparison.records import Findings, Interval
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Translator
from polytask.reporting import Document, Report

if TYPE_CHECKING:
    import pandas as pd

    from polytask.charts import Axes


@dataclass(frozen=True, repr=False)
class Comparison(Findings, Report):
    """The answer of :func:`polytask.compare`.

    Attributes
    ----------
    verdict : {"share", "pool", "separate", "no practical difference", "inconclusive"}
        By the rule that was fixed beforehand.
    gain : Interval
        The chosen sharing model against the chosen one without, on the held-out rows.
    plain : {"separate", "pooled"}
        What the rule without sharing chose most often.
    pooling_gain : Interval
        The chosen pooled model against the separate one; NaN if there is but one kind of them.
    recommended : str
        The model to use, a name of the leaderboard; empty if none predicts better than a mean.
    trees_gain : Interval or None
        The best tree model (chosen inside the training parts) against the linear model that
        the verdict recommends; None if no trees were compared.
    networks_gain : Interval or None
        The same of networks; None if none were compared, or the verdict is about them.
    networks_sharing : Interval or None
        The best network that shares against the best one that does not, both chosen inside the
        training parts; None as for `networks_gain`, or if one of the two is missing.
    setup : Setup
        What was compared, on what, how.
    models : tuple of ModelRow
        The leaderboard, best first.
    tasks : tuple of TaskGain
        By gain, largest first.
    two_by_two : TwoByTwo or None
        None where a part of it could not be fitted.
    dominance : tuple of (task, share)
        The share of each task in the gradient of the objective, largest first.
    coefficients : Coefficients or None
        Of the recommended or else the chosen sharing model, fitted to all rows; None if that is
        not linear, or was not reached.
    diagnostics : tuple of str
        Warnings and certificates in sentences.
    complete : bool
        False after an interruption or when the time budget ran out.
    seconds : float
        Wall time; of a comparison that was resumed from a journal, that of all its runs.
    lock : dict
        Seed, data hash, versions, threads and the exact call: what ``polytask rerun`` reads.
    stopped : {"", "time", "interrupt"}
        Why it is not complete.
    relatedness : RelatednessSummary or None
        Whether the tasks are related at all, by a test that knows no models; None where it was
        not tested.
    path : StrengthPath or None
        Error and coefficients against strength of the model of `coefficients`, or of the best
        sharing one that is searched, on all rows; None if none is.
    sparsity : tuple of SparsitySummary
        What is left of the coefficients of every linear sharing model of all rows.
    parameter_importance : tuple of ParameterImportance
        How far each hyper-parameter of the model of `path` decided, largest first.
    learning : tuple of LearningPoint
        Scores and gains against rows per task, fewest first; empty unless it was asked for.
    ablation : tuple of Ablated
        What every term of a penalty adds, the most first; empty unless it was asked for.
    gain_90 : Interval
        The 90% interval of `gain`: within the margin, sharing makes no practical difference.
    margin : float
        A difference in the metric that is too small to matter.
    times_more : float or None
        With how many times the present data an inconclusive comparison would be decided if the
        differences stay as they are; None if it is decided, if ten times would not do, or if the
        comparison was quick.
    perfect : bool
        Whether the best model without sharing predicts the held-out rows without error, so that
        the target has no variation left to explain.
    far_cells : bool
        Whether a few cells of the target make up most of its variation or hold a number such as
        -999 for missing cells, or cells of a feature drown all others of it, and so decide the
        result.
    repeated_rows : int
        How many rows repeat the features and the target of others, where chance does not make
        them so many: copies make models look better, and the verdict surer, than they are.
    copies : tuple of str
        The columns that look like copies of the target and were learned from all the same.
    doubts : tuple of LazyMessage
        Those of `diagnostics` that are about the data, in every language.
    split_gains : tuple of SplitGain
        With `time`, the gains of every split and how many rows it was trained on, the first in
        time first: models that share may gain with little history only. Empty otherwise.
    groupings : tuple of Grouping
        With several groupings their levels, shares of the variance with intervals, and how many
        levels models of one grouping tell apart. Empty otherwise.
    """

    _refit: Callable[[str], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def predicts(self) -> bool:
        """Whether any model predicts better than the mean of all training rows or of each task.

        False means: use none of the models; `recommended` is empty then.
        """
        return not says.as_good_as_all(self)

    @property
    def sharing_gain(self) -> Interval | None:
        """What sharing adds to shrinkage, None where the 2 x 2 table is missing."""
        return None if self.two_by_two is None else self.two_by_two.sharing_gain

    @property
    def shrinkage_gain(self) -> Interval | None:
        """What shrinkage alone gives, None where the 2 x 2 table is missing."""
        return None if self.two_by_two is None else self.two_by_two.shrinkage_gain

    @property
    def task_gains(self) -> pd.DataFrame:
        """The table of tasks with rows, gains and what to do, the largest gain first."""
        return frames.task_frame(self)

    @property
    def scores(self) -> pd.DataFrame:
        """The verdict's metric by model and outer split."""
        return frames.split_scores(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the leaderboard, best model first."""
        return frames.leaderboard(self)

    def document(self, lang: str = "en") -> Document:
        """See :meth:`polytask.reporting.Report.document`."""
        return documents.document(self, lang)

    def plot(self, ax: Axes | None = None, kind: str = "tasks") -> Axes:
        """Draw a picture of the result.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        kind : str, default="tasks"
            "tasks": the gain of every task with its interval; the other kinds are named by
            the message that refuses an unknown one.

        Returns
        -------
        Axes
        """
        figure = documents.figure(self, kind, Translator())
        ax = charts.new_axes(figure.width + 1.4, figure.height + 0.6) if ax is None else ax
        figure.draw(ax)
        return ax

    def best_model(self, name: str | None = None) -> Any:  # noqa: ANN401 - a fitted estimator
        """Return the recommended model, or one by its name, refitted on all rows (once).

        Parameters
        ----------
        name : str or None, default=None
            A name of the leaderboard; None is the recommended one.

        Returns
        -------
        MultiTaskEstimator
            The fitted model.

        Raises
        ------
        ParameterError
            If there is no model of this name, or it was left out.
        DataError
            If this comparison was read from a file, which holds neither data nor models,
            nothing was finished, or none is recommended.
        """
        if self._refit is None or not self.models:
            raise DataError(LazyMessage("comparison.refusal.best_model"))
        fitted = [row.name for row in self.models if row.left_out is None]
        if name is not None and name not in fitted:
            known = ", ".join(map(repr, fitted))
            raise ParameterError(
                LazyMessage("comparison.refusal.model_name", {"known": known, "got": repr(name)})
            )
        if not (name or self.recommended):
            raise DataError(LazyMessage("comparison.refusal.none_recommended"))
        return self._refit(name or self.recommended)

    def __repr__(self) -> str:
        """Return the verdict in a line: all fields would be a number for every task and more."""
        sizes = f"{len(self.models)} models, {len(self.tasks)} tasks"
        return (
            f"Comparison(verdict={self.verdict!r}, recommended={self.recommended!r}, "
            f"gain={self.gain!r}, {sizes})"
        )
