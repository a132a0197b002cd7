"""Regression of many tasks without a choice of model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import regression
from polytask._estimator.classes import RegressorMixin
from polytask._estimator.documentation import documented
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.selection.auto.base import AutoEstimator
from polytask.selection.members import numbers_of


@saveable("selection.auto_regressor")
@documented(AutoEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class AutoMultiTaskRegressor(AutoEstimator, RegressorMixin):
    """Regression of many tasks by the best combination of candidates.

    Separate and pooled models, penalties that share, the learned prior, trees, and trees with a
    linear correction per task are tried on the same folds, everything tuned inside the training
    part. Their predictions for rows that they had not seen decide: one candidate, a convex
    combination, or one whose weights differ from task to task as far as the tasks' own rows
    say so. Learning tasks together is thus used where it helps, and nowhere else.

    Notes
    -----
    The loss is the squared one. For counts, or amounts above zero,
    ``MultiTaskRegressorCV(loss="poisson")`` or ``"gamma"`` searches the strength under their own
    loss; for numbers and classes at once there is :class:`MultiTaskModelCV`.

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

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        self._refuse_mixed(data)
        outcomes = regression(data, "squared", type(self).__name__)
        self._combine(data, raw, outcomes)

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        return self._predict_rows(X, np.full(X.shape[0], task))

    def _predict_rows(self, X: Any, tasks: NDArray[np.intp]) -> NDArray[Any]:  # noqa: ANN401
        found = np.zeros(X.shape[0])
        for weights, rows, name in self._shares(tasks):
            found[rows] += weights * numbers_of(self.members_[name], X[rows], tasks[rows])
        return found
