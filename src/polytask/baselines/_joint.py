"""Joint: one estimator of several outputs for all columns of a target matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from polytask._registry import saveable
from polytask.baselines._base import Baseline, TrainingRows, class_columns, fit_copy
from polytask.data import Form, TaskData
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

Labels = NDArray[Any]
Floats = NDArray[np.float64]


@saveable("baseline.joint")
class Joint(Baseline):
    """Fit one estimator of several outputs, such as a random forest, on a target matrix.

    Every split of a joint tree serves all targets, which is how forests share.

    Parameters
    ----------
    estimator : regressor or classifier
        One that takes y with several columns; copied before it is fitted.
    task_column : str, int or None, default=None
        Not used: a target matrix has no task column.
    unseen_tasks : {"error"}, default="error"
        Unknown tasks are refused: there is no output for them.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    tasks_ : ndarray of shape (n_tasks,)
        The targets.
    classes_ : list of ndarray
        The classes of each target. Classifiers only.
    task_classes_ : dict of task to ndarray
        The same by target. Classifiers only.
    n_features_in_ : int
        Columns of X.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from polytask.baselines import Joint
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 3))
    >>> Joint(RandomForestRegressor(5, random_state=0)).fit(X, X[:, :2]).predict(X).shape
    (50, 2)
    """

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401 - any scikit-learn estimator
        *,
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        date_features: bool = False,
    ) -> None:
        self.estimator = estimator
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        outcomes = self._read_targets(data)
        if data.form is not Form.TARGETS:
            raise DataError(LazyMessage("baselines.refusal.no_matrix", {"owner": owner}))
        gaps = int((~data.labelled()).sum())
        if gaps:
            fields = {"owner": owner, "n": gaps}
            raise DataError(LazyMessage("baselines.refusal.gaps", fields))
        y: Labels = outcomes.y
        if is_classifier(self.estimator):
            # As numbers, for the columns may be of several types.
            y = y.astype(np.intp)
            self.task_classes_ = dict(zip(data.tasks, outcomes.classes, strict=True))
        rows = TrainingRows(data.X, y, data.sample_weight, np.zeros(len(y), dtype=np.intp), 1)
        self.estimator_ = fit_copy(self.estimator, rows, owner, "")

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        values = np.asarray(self.estimator_.predict(X)).reshape(X.shape[0], -1)[:, task]
        if is_classifier(self.estimator):
            return np.asarray(self._classes_of(task)[values.astype(np.intp)])
        return np.asarray(values)

    def _classes_of(self, task: int) -> Labels:
        return np.asarray(self.classes_[task])

    def _probabilities(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        values = self.estimator_.predict_proba(X)
        if isinstance(values, list):
            return np.asarray(values[task])
        if len(self.tasks_) == 1:
            return np.asarray(values)
        # Estimators of several labels give the probability of the second class of each.
        return np.column_stack([1.0 - values[:, task], values[:, task]])

    def _decisions(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        values = self.estimator_.decision_function(X)
        several = not isinstance(values, list) and len(self.tasks_) > 1
        own = values[:, task] if several else values[task] if isinstance(values, list) else values
        return class_columns(own, len(self._classes_of(task)), self.estimator, "Joint")
