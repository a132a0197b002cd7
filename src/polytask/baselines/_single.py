"""SingleTask: every task on its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from polytask._checks import sentence
from polytask._estimator.export import stand_alone, task_position
from polytask._registry import saveable
from polytask.baselines._base import (
    Baseline,
    TrainingRows,
    class_columns,
    fit_copy,
    fits_moments,
    for_every_task,
    rows_by_task,
    without_folds,
)
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

Labels = NDArray[Any]
Floats = NDArray[np.float64]


@saveable("baseline.single_task")
class SingleTask(Baseline):
    """Fit one copy of an estimator per task; nothing is shared.

    The baseline that multi-task learning has to beat, and a way to give any scikit-learn
    estimator the three data forms.

    Parameters
    ----------
    estimator : regressor or classifier
        Copied for every task.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error"}, default="error"
        Unknown tasks are refused: no model knows anything about them.
    n_jobs : int or None, default=None
        Tasks fitted at the same time, as in joblib.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    estimators_ : dict of task to estimator
        The fitted estimators. A task of one class has a ``DummyClassifier`` that predicts it;
        a task without rows of positive weight has none and cannot be predicted. Each takes
        the features that its task has.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
        Classifiers only.
    task_classes_ : dict of task to ndarray
        The classes of each task. Classifiers only.
    n_features_in_ : int
        Columns of X as given.

    Notes
    -----
    Sample weights reach the estimator if its ``fit`` takes them, in a pipeline every step
    that takes them; otherwise weights other than 0 and 1 are refused.

    A search (``GridSearchCV``, ``RidgeCV``, ...) whose `cv` is one of polytask's splitters is
    divided by it within every task, with as many folds as the task allows; a task that it
    cannot divide, such as one whose rows are all of one group, is searched with its default.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from polytask import SingleTask
    >>> X, school = np.arange(6.0).reshape(6, 1), ["a", "a", "a", "b", "b", "b"]
    >>> y = [0.0, 1.0, 2.0, 9.0, 8.0, 7.0]
    >>> model = SingleTask(Ridge(alpha=1e-9)).fit(X, y, task=school)
    >>> model.predict([[3.0], [3.0]], task=["a", "b"]).round(3).tolist()
    [3.0, 9.0]
    """

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401 - any scikit-learn estimator
        *,
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        n_jobs: int | None = None,
        date_features: bool = False,
    ) -> None:
        self.estimator = estimator
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.n_jobs = n_jobs

    def _fits_moments(self) -> bool:
        return fits_moments(self.estimator)

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        self._refuse_sharing()
        outcomes = self._read_targets(data)
        parts = rows_by_task(data, outcomes)
        if data.form is Form.TARGETS:
            _refuse_empty(parts, data, type(self).__name__)
        self._columns: list[NDArray[np.intp]] | None = None
        if data.present is not None and not data.present.all():
            self._columns = [np.flatnonzero(has) for has in data.present]
            cut = zip(parts, self._columns, strict=True)
            parts = [replace(rows, X=rows.X[:, columns]) for rows, columns in cut]
        owner, classes = type(self).__name__, is_classifier(self.estimator)
        given = [(t, rows) for t, rows in enumerate(parts) if rows.n_rows]
        labels = [data.tasks[t] for t, _ in given]
        fit = delayed(_fit_task)
        own = for_every_task(self.estimator, data)
        jobs = [
            fit(own[t], rows, classes, owner, label)
            for label, (t, rows) in zip(labels, given, strict=True)
        ]
        fitted = [without_folds(e, self.estimator) for e in Parallel(n_jobs=self.n_jobs)(jobs)]
        self.estimators_ = dict(zip(labels, fitted, strict=True))
        if classes:
            self.task_classes_ = dict(zip(data.tasks, outcomes.classes, strict=True))

    def _refuse_sharing(self) -> None:
        if self.unseen_tasks == "shared":
            allowed = LazyMessage("allowed.unseen_error")
            raise ParameterError(
                sentence("unseen_tasks", type(self).__name__, allowed, "'shared'")
            )

    def _estimator_of(self, task: int) -> Any:  # noqa: ANN401 - an estimator
        if task < 0:
            self._refuse_sharing()
            fields = {"owner": type(self).__name__}
            raise DataError(LazyMessage("baselines.refusal.unseen", fields))
        label = self._schema.index.labels[task]
        if label not in self.estimators_:
            fields = {"task": repr(label), "owner": type(self).__name__}
            raise DataError(LazyMessage("baselines.refusal.no_rows_in_fit", fields))
        return self.estimators_[label]

    def to_sklearn(self, task: Any) -> Any:  # noqa: ANN401 - a label; an estimator
        """Return the fitted estimator of one task.

        Parameters
        ----------
        task : label
            One of ``tasks_``.

        Returns
        -------
        estimator or Pipeline
            With the encoder in front if the model was fitted on a table.

        Raises
        ------
        DataError
            If there is no such task.
        """
        check_is_fitted(self)
        position = task_position(self._schema, task)
        return stand_alone(self._schema, position, self._estimator_of(position))

    def _features(self, X: Any, task: int) -> Any:  # noqa: ANN401 - dense or sparse
        return X if self._columns is None else X[:, self._columns[task]]

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        fitted = self._estimator_of(task)
        return np.asarray(fitted.predict(self._features(X, task))).reshape(X.shape[0])

    def _classes_of(self, task: int) -> Labels:
        return np.asarray(self._estimator_of(task).classes_)

    def _probabilities(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        fitted = self._estimator_of(task)
        return np.asarray(fitted.predict_proba(self._features(X, task)))

    def _decisions(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        fitted = self._estimator_of(task)
        n_classes = len(fitted.classes_)
        if n_classes == 1:
            return np.ones((X.shape[0], 1))
        values = fitted.decision_function(self._features(X, task))
        return class_columns(values, n_classes, self.estimator, type(self).__name__)


def _fit_task(estimator: Any, rows: TrainingRows, classes: bool, owner: str, label: object) -> Any:  # noqa: ANN401
    """Fit one task; one of a single class gets the constant, which few classifiers accept."""
    if classes and np.all(rows.y == rows.y[0]):
        return DummyClassifier(strategy="most_frequent").fit(rows.X, rows.y)
    return fit_copy(estimator, rows, owner, repr(label))


def _refuse_empty(parts: list[TrainingRows], data: TaskData, owner: str) -> None:
    for label, rows in zip(data.tasks, parts, strict=True):
        if rows.n_rows == 0:
            fields = {"task": repr(label), "owner": owner}
            raise DataError(LazyMessage("baselines.refusal.no_label", fields))
