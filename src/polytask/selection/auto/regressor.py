"""Regression of many tasks without a choice of model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polytask._checks import one_of
from polytask._estimator import regression
from polytask._estimator.classes import RegressorMixin
from polytask._estimator.documentation import documented
from polytask._estimator.groupings import READING_GROUPINGS
from polytask._estimator.outcomes import loss_object
from polytask._estimator.scored import Reading
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.selection.auto.base import AutoEstimator
from polytask.selection.auto.scored import CombinedTasks
from polytask.selection.losses import name_of
from polytask.selection.members import numbers_of


@saveable("selection.auto_regressor")
@documented(AutoEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class AutoMultiTaskRegressor(AutoEstimator, RegressorMixin):
    """Regression of many tasks by the best combination of candidates.

    Separate and pooled models, penalties that share, the learned prior, trees, and trees with a
    linear correction per task are tried on the same folds, tuned inside the training part (in
    later folds among the strengths around the choice of the first). Their predictions for rows
    that they were not fitted on decide: one candidate, a convex combination, or one whose weights
    differ from task to task as far as the tasks' own rows say so. Learning tasks together is thus
    used where it helps, and nowhere else.

    Parameters
    ----------
    loss : {"squared", "poisson", "gamma"} or Loss, default="squared"
        What candidates minimise and are judged by: the squared error, or the deviance of counts
        and rates ("poisson") or of amounts above zero ("gamma").
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``; "shared" leaves out models per task.
    task_column : str, int, list of these, or None, default=None
        The column of X that holds the task labels; a list of columns for several groupings.

    Notes
    -----
    Rows may belong to a level of each of several groupings, such as store and product:
    ``task_column=["store", "product"]``, or a table or 2-D array as `task`. The first is the
    task; "learned prior of all groupings" is tried too, "boosting, learned prior" has a prior of
    each, and all other models read the levels of the others as categories.

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
    _reading: ClassVar[Reading] = READING_GROUPINGS

    loss: Any = "squared"  # str or Loss
    unseen_tasks: str = "error"

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
        found, rows_of = np.zeros(X.shape[0]), self._rows_of(X)
        for weights, rows, name in self._shares(tasks):
            member = self.members_[name]
            found[rows] += weights * numbers_of(member, rows_of(member)[rows], tasks[rows])
        return found
