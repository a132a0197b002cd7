"""Classification of many tasks without a choice of model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Query, classification
from polytask._estimator.classes import ClassifierMixin, joint_probabilities
from polytask._estimator.documentation import documented
from polytask._estimator.groupings import READING_GROUPINGS
from polytask._estimator.scored import Reading
from polytask._registry import saveable
from polytask.data import Form, TaskData
from polytask.selection.auto.base import AutoEstimator
from polytask.selection.held import Study
from polytask.selection.members import probabilities_of

Array = NDArray[np.float64]
Tasks = NDArray[np.intp]


@saveable("selection.auto_classifier")
@documented(AutoEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class AutoMultiTaskClassifier(AutoEstimator, ClassifierMixin):
    """Classification of many tasks by the best combination of candidates.

    The candidates and the choice are those of :class:`AutoMultiTaskRegressor`, with the log
    loss of the combined probabilities in place of the squared error. Before they are combined,
    the probabilities of a candidate are made bolder or more careful, in proportion to
    ``p ** boldness * share ** base`` with the shares of the classes among all rows, where that
    predicts held-out rows better by more than one standard error, and where the combination,
    too, loses less on folds that had no part in it than one of probabilities as they were given.

    Parameters
    ----------
    models : "default", "deep", or sequence, default="default"
        As in :class:`AutoMultiTaskRegressor`; every candidate needs ``predict_proba``.
    cv : int, splitter, or list of (train, test), default=5
        The folds; an integer splits the rows within every task, by class. Else as in
        :class:`AutoMultiTaskRegressor`.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``; "shared" leaves out models per task.
    task_column : str, int, list of these, or None, default=None
        The column of X that holds the task labels; a list of columns for several groupings.

    Attributes
    ----------
    calibrations_ : dict of str to Calibration
        How the probabilities of every member are scaled: ``boldness`` above 1 makes them
        bolder, below 1 more careful; 1 with a ``base`` of 0 leaves them as they are.
    class_prior_ : ndarray of shape (n_classes,), or list of ndarray
        The shares of the classes among all rows; for a target matrix a list with one array
        each.
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
    task_classes_ : dict of task to ndarray
        The classes that can be predicted for each task.

    Notes
    -----
    Rows of several groupings are read as by :class:`AutoMultiTaskRegressor`.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", 1999; and those of
    :class:`AutoMultiTaskRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import AutoMultiTaskClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, ward = rng.standard_normal((160, 2)), np.repeat(["a", "b"], 80)
    >>> y = np.where(X[:, 0] + rng.standard_normal(160) > 0, "ill", "well")
    >>> model = AutoMultiTaskClassifier(["pooled", "separate"]).fit(X, y, task=ward)
    >>> model.predict_proba(X, task=ward).shape
    (160, 2)
    """

    _problem = "classification"
    _reading: ClassVar[Reading] = READING_GROUPINGS

    unseen_tasks: str = "error"

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        self._refuse_mixed(data)
        outcomes = classification(data, "auto", type(self).__name__)
        targets = data.form is Form.TARGETS
        known = list(outcomes.classes) if targets else [outcomes.union] * data.n_tasks
        classes: Any = known if targets else outcomes.union
        self.classes_ = classes
        self.task_classes_ = dict(zip(data.tasks, known, strict=True))
        self._combine(data, raw, outcomes, "auto")
        shares = Study(raw, outcomes).constants(np.arange(raw.n_rows))
        prior: Any = shares if targets else shares[0]
        self.class_prior_ = prior
        self.calibrations_ = {
            row.name: row.calibration for row in self._rows if row.name in self.members_
        }

    def _classes_of(self, task: int) -> NDArray[Any]:
        targets = isinstance(self.classes_, list)
        return np.asarray(self.classes_[task] if targets else self.classes_)

    def _probabilities(self, X: Any, tasks: Tasks) -> Array:  # noqa: ANN401 - dense or sparse
        """Return probabilities of rows of several tasks, or of one target."""
        targets = isinstance(self.classes_, list)
        classes = self._classes_of(int(tasks[0]) if targets else 0)
        labels = None if targets else self._schema.index.labels
        prior = self.class_prior_[tasks[0]] if targets else self.class_prior_
        found, rows_of = np.zeros((X.shape[0], len(classes))), self._rows_of(X)
        for weights, rows, name in self._shares(tasks):
            member = self.members_[name]
            given = rows_of(member)[rows]
            own = probabilities_of(member, given, tasks[rows], classes, labels)
            found[rows] += weights[:, None] * self.calibrations_[name].applied(own, prior)
        return found

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        best = np.argmax(self._probabilities(X, np.full(X.shape[0], task)), axis=1)
        return np.asarray(self._classes_of(task)[best])

    def _predict_rows(self, X: Any, tasks: Tasks) -> NDArray[Any]:  # noqa: ANN401
        if isinstance(self.classes_, list):
            return super()._predict_rows(X, tasks)
        best = np.argmax(self._probabilities(X, tasks), axis=1)
        return np.asarray(self.classes_[best])

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        return joint_probabilities(query, self._probabilities, len(self.tasks_))
