"""Regression of many tasks without a choice of model."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import one_of
from polytask._estimator import regression
from polytask._estimator.classes import RegressorMixin
from polytask._estimator.outcomes import loss_object
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.selection.auto.base import AutoEstimator
from polytask.selection.auto.scored import CombinedTasks
from polytask.selection.losses import name_of
from polytask.selection.members import numbers_of


@saveable("selection.auto_regressor")
class AutoMultiTaskRegressor(AutoEstimator, RegressorMixin):
    """Regression of many tasks by the best combination of candidates.

    Separate and pooled models, penalties that share, the learned prior, trees, and trees with a
    linear correction per task are tried on the same folds, everything tuned inside the training
    part. Their predictions for rows that they had not seen decide: one candidate, a convex
    combination, or one whose weights differ from task to task as far as the tasks' own rows
    say so. Learning tasks together is thus used where it helps, and nowhere else.

    Parameters
    ----------
    models : "default", "deep", or sequence, default="default"
        Names of ``polytask.selection.candidates.MODELS``, estimators, or pairs
        ``(name, estimator)``; "default" in a sequence stands for all that suit the data but
        networks, "deep" for networks, which need PyTorch; "deep" alone is both. An estimator of
        scikit-learn is tried per task and pooled with the task as a category.
    loss : {"squared", "poisson", "gamma"} or Loss, default="squared"
        What candidates minimise and are judged by: the squared error, or the deviance of counts
        and rates ("poisson") or of amounts above zero ("gamma").
    cv : int, splitter, or list of (train, test), default=5
        The folds; an integer splits the rows within every task, and of its folds only so many
        are fitted, two at least, as hold out 100,000 rows. A splitter that keeps groups together
        or time in order is used inside the candidates too, and a combination is preferred as far
        as groups, tasks or folds bear it out rather than rows. No row may be held out twice.
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
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``; "shared" leaves out models per task.
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
        Whether there was not time for all candidates.
    unfitted_ : tuple of str
        Models that were chosen but could not be fitted on all rows in time, so that others are
        used in their place.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    n_features_in_ : int
        Columns of X as given.

    Notes
    -----
    For quantiles and with outliers ``MultiTaskRegressorCV`` searches the strength under those
    losses; for numbers and classes at once there is :class:`AutoMultiTaskModel`.

    References
    ----------
    Breiman, "Stacked regressions", Machine Learning 24, 1996; van der Laan, Polley, Hubbard,
    "Super learner", Statistical Applications in Genetics and Molecular Biology 6, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import AutoMultiTaskRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((120, 3)), np.repeat(["a", "b", "c", "d"], 30)
    >>> y = X @ [1.0, 2.0, 0.0] + rng.standard_normal(120)
    >>> model = AutoMultiTaskRegressor(["pooled", "separate"]).fit(X, y, task=school)
    >>> sorted(model.leaderboard()["model"])
    ['pooled', 'separate']
    """

    _problem = "regression"

    def __init__(
        self,
        models: Any = "default",  # noqa: ANN401 - names and estimators
        *,
        loss: Any = "squared",  # noqa: ANN401 - str or Loss
        cv: Any = 5,  # noqa: ANN401 - as in scikit-learn
        time_budget: float | None = None,
        journal: str | os.PathLike[str] | None = None,
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        n_jobs: int | None = None,
        random_state: int = 0,
        verbose: bool = False,
        date_features: bool = False,
    ) -> None:
        self.models = models
        self.loss = loss
        self.cv = cv
        self.time_budget = time_budget
        self.journal = journal
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        self._refuse_mixed(data)
        owner, loss = type(self).__name__, name_of(self.loss)
        one_of(loss, "loss", owner, ("squared", "poisson", "gamma"))
        self._combine(data, raw, regression(data, loss, owner), loss)

    def _by_loss(self) -> CombinedTasks:
        n = len(self._schema.index.labels)
        loss = loss_object(self.loss, type(self).__name__)
        return CombinedTasks(self, (loss,) * n, (None,) * n, None)

    def _numbers(self, X: Any, task: int) -> NDArray[np.float64]:  # noqa: ANN401
        return np.asarray(self._predict_task(X, task))

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        return self._predict_rows(X, np.full(X.shape[0], task))

    def _predict_rows(self, X: Any, tasks: NDArray[np.intp]) -> NDArray[Any]:  # noqa: ANN401
        found = np.zeros(X.shape[0])
        for weights, rows, name in self._shares(tasks):
            found[rows] += weights * numbers_of(self.members_[name], X[rows], tasks[rows])
        return found
