"""What the two automatic estimators share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import SEED, sentence
from polytask._estimator import UNSEEN, MultiTaskEstimator, Outcomes
from polytask._estimator.conformal import learned_errors
from polytask._estimator.groupings import GroupedRows, LevelColumns, of_first_grouping
from polytask._estimator.scaling import refuse_huge
from polytask._estimator.training import TaskColumns
from polytask.data import Form, TaskData
from polytask.data.missing import is_missing
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Translator
from polytask.selection.auto.explaining import explain
from polytask.selection.auto.fitting import AutoSettings, Combination, combine
from polytask.selection.held import Study, reads_groupings

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Tasks = NDArray[np.intp]


@dataclass(eq=False, repr=False)
class AutoEstimator(MultiTaskEstimator):
    """Base of the automatic estimators: a leaf class reads targets and mixes predictions.

    Parameters
    ----------
    models : "default", "deep", or sequence, default="default"
        Names that ``polytask models`` lists, such as "near the mean", estimators, or pairs
        ``(name, estimator)``; "default" in a sequence stands for all that suit the data but
        networks, "deep" for networks, which need PyTorch; "deep" alone is both. An estimator of
        scikit-learn is tried per task and pooled with the task as a category.
    cv : int, splitter, or list of (train, test), default=5
        The folds; an integer splits the rows within every task, and of its folds no more than
        three are fitted if these hold out 1,500 rows and 20 of the average task, and two if
        these hold out 100,000. A splitter that keeps groups together or time in order is used
        inside the candidates too, and a combination is preferred as far as groups, tasks or
        folds bear it out rather than rows. No row may be held out twice.
    time_budget : float or None, default=None
        Seconds for all of it. What takes least is tried first, and time is kept for fitting
        on all rows what would have weight; a candidate that is not expected to end before
        that is left out. A fit that outlasts it is ended, so that all of it takes a quarter
        more at most. If a chosen model could not be fitted on all rows in time, the best of
        those that were is used and ``unfitted_`` names the others. If no model was finished,
        ``fit`` raises ``TimeBudgetError``; with a journal the next call gets further.
    journal : path or None, default=None
        A file that keeps finished fits. A choice that was killed goes on from it, with the
        same result.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    n_jobs : int or None, default=None
        Folds fitted at the same time, as in joblib.
    random_state : int, default=0
        Seed of the candidates that draw at random.
    verbose : bool, default=False
        Show progress on stderr.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    members_ : dict of str to estimator
        The models that have weight, fitted on all rows.
    shared_weights_ : ndarray of shape (n_members,)
        Their weights for an average or an unseen task.
    task_weights_ : ndarray of shape (n_tasks, n_members)
        Their weights for every task, at least 0 with sum 1.
    score_ : float
        What the way of combining explains on folds that had no part in its weights.
    pull_ : float
        Average rows that the rows of a task were weighed against; infinite if all tasks have
        the same weights.
    stopped_ : bool
        Whether there was not time for all folds of all candidates.
    unfitted_ : tuple of str
        Models that were chosen but could not be fitted on all rows in time, so that others are
        used in their place.
    behind_ : dict of str to int
        Candidates that were stopped because they were behind the best on the same held-out rows
        by more than chance explains, and after how many folds.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    n_features_in_ : int
        Columns of X as given.
    """

    _problem: ClassVar[str]

    models: Any = "default"  # names and estimators
    _: KW_ONLY
    cv: Any = 5  # as in scikit-learn
    time_budget: float | None = None
    journal: str | os.PathLike[str] | None = None
    task_column: TaskColumns = None
    n_jobs: int | None = None
    random_state: Any = 0
    verbose: bool = False
    date_features: bool = False

    def fit(
        self,
        X: Any,  # noqa: ANN401
        y: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> Self:
        """Learn all tasks; see :meth:`MultiTaskEstimator.fit`."""
        # The time budget is that of reading and encoding, too.
        self._started = time.monotonic()
        try:
            return super().fit(X, y, task, sample_weight)
        finally:
            del self._started

    fit.__doc__ = MultiTaskEstimator.fit.__doc__

    def _refuse_mixed(self, data: TaskData) -> None:
        """Refuse a target matrix of numbers and labels, and say what takes both."""
        y = np.asarray(data.y)
        if data.form is not Form.TARGETS or y.dtype.kind != "O":
            return
        kinds: dict[bool, Hashable] = {}
        for name, column in zip(data.tasks, y.T, strict=True):
            seen = [cell for cell in column.tolist() if not is_missing(cell)]
            kinds.setdefault(any(isinstance(cell, str | bool) for cell in seen), name)
        if len(kinds) > 1:
            fields = {"owner": type(self).__name__}
            fields |= {"numbers": repr(kinds[False]), "labels": repr(kinds[True])}
            raise DataError(LazyMessage("selection.refusal.two_kinds", fields))

    def _combine(self, data: TaskData, raw: TaskData, outcomes: Outcomes, losses: Any) -> None:  # noqa: ANN401
        """Learn and keep the combination, of models with these losses."""
        owner = type(self).__name__
        seed = self.random_state
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ParameterError(sentence("random_state", owner, SEED, repr(seed)))
        settings = AutoSettings(
            models=self.models,
            cv=self.cv,
            unseen=self.unseen_tasks == "shared",
            time_budget=self.time_budget,
            spent=time.monotonic() - self._started,
            journal=self.journal,
            n_jobs=self.n_jobs,
            seed=int(seed),
            verbose=self.verbose,
        )
        before, study = Study(raw, outcomes), Study(data, outcomes)
        if raw.groupings is not None:
            before = Study(of_first_grouping(raw, owner), outcomes, grouped=raw)
            self._levels = LevelColumns.of(data)
            first = self._levels.of_first_grouping(data)
            study = Study(first, outcomes, grouped=data)
        refuse_huge(study.data, outcomes, owner)
        found = combine(study, before, self._problem, losses, settings, owner)
        self.members_ = found.members
        self.shared_weights_, self.task_weights_ = found.shared, found.by_task
        self.score_, self.pull_ = found.score, found.pull
        self.stopped_, self.unfitted_ = found.stopped, found.unfitted
        self._rows = found.rows
        if found.errors is not None:
            self._held_out = learned_errors(found.errors, self, before.data)
        self.behind_ = {row.name: row.stopped for row in found.rows if row.stopped}

    def _shares(self, tasks: Tasks) -> Iterator[tuple[Array, Tasks, str]]:
        """Yield (weights, their rows, name): the rows of tasks that a member has weight for."""
        self._refuse_strangers(tasks)
        # The last row is that of task -1, an unseen one.
        of_rows = np.vstack([self.task_weights_, self.shared_weights_])[tasks]
        for weights, name in zip(of_rows.T, self.members_, strict=True):
            rows = np.flatnonzero(weights > 0)
            if rows.size:
                yield weights[rows], rows, name

    def _rows_of(self, X: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - dense or sparse
        """Return what gives the rows as a member reads them."""
        grouped = isinstance(X, GroupedRows)
        # Those of one grouping read the levels of the others as categories.
        first = self._levels.beside(X.values, X.codes) if grouped else X
        return lambda member: X if reads_groupings(member) else first

    def _refuse_strangers(self, tasks: Tasks) -> None:
        """Refuse unseen tasks if models per task have weight: they were not allowed in fit."""
        if not np.any(tasks == UNSEEN):
            return
        apart = {row.name for row in self._rows if row.kind == "separate"}
        for name, weight in zip(self.members_, self.shared_weights_, strict=True):
            if weight > 0 and name in apart:
                fields = {"owner": type(self).__name__, "name": repr(name)}
                raise DataError(LazyMessage("selection.refusal.strangers", fields))

    def leaderboard(self) -> pd.DataFrame:
        """Return all candidates, the best first, those scored on fewer folds last.

        Returns
        -------
        pandas.DataFrame
            ``model``, ``kind``, ``family``; ``score``, the share of the loss of the training
            mean that it explains on rows that it had not seen (squared loss: R2, with several
            targets their mean), for one that was stopped that of the candidate it was behind,
            less what it was behind on the same rows; ``standard_error`` of the difference to the
            best candidate over the folds; ``weight`` in the combination; ``seconds`` of
            processor time on the folds; ``folds``, how many these are; ``note``, why it was not
            tried, was stopped or failed.
        """
        import pandas as pd

        check_is_fitted(self)
        columns = ["model", "kind", "family", "score", "standard_error", "weight", "seconds"]
        rows = [
            (row.name, row.kind, row.family, row.score, row.error, row.weight, row.seconds)
            for row in self._rows
        ]
        table = pd.DataFrame(rows, columns=columns)
        folds, notes = zip(*((row.folds, row.note) for row in self._rows), strict=True)
        return table.assign(folds=folds, note=notes)

    def weights(self) -> pd.DataFrame:
        """Return the weight of every model for every task.

        Returns
        -------
        pandas.DataFrame
            A row per task, a column per model; rows sum to 1.
        """
        import pandas as pd

        check_is_fitted(self)
        index = pd.Index(list(self.tasks_), name="task", tupleize_cols=False)
        return pd.DataFrame(self.task_weights_, index=index, columns=list(self.members_))

    def explain(self, lang: str = "en") -> str:
        """Say in sentences what was chosen and why.

        Parameters
        ----------
        lang : {"en", "zh"}, default="en"
            English or Chinese.

        Returns
        -------
        str
        """
        check_is_fitted(self)
        found = Combination(
            members=self.members_,
            shared=self.shared_weights_,
            by_task=self.task_weights_,
            rows=self._rows,
            score=self.score_,
            pull=self.pull_,
            stopped=self.stopped_,
            unfitted=getattr(self, "unfitted_", ()),  # earlier versions had none
            groupings=tuple(name for name, _ in self._schema.groupings),
        )
        speech = Translator(lang)
        return speech.joined(explain(found, speech))
