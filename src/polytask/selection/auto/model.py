"""Tasks of several kinds without a choice of model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.classes import ProbabilityMixin, keep_classes, probabilities
from polytask._estimator.documentation import documented
from polytask._estimator.problem import read_outcomes
from polytask._estimator.query import Query
from polytask._registry import saveable
from polytask.data import Form, TaskData
from polytask.exceptions import DataError
from polytask.messages import LazyMessage
from polytask.selection.auto.base import AutoEstimator
from polytask.selection.auto.scored import CombinedTasks
from polytask.selection.members import numbers_of, probabilities_of

Array = NDArray[np.float64]


@saveable("selection.auto_model")
@documented(AutoEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class AutoMultiTaskModel(AutoEstimator, ProbabilityMixin):
    """Numbers, counts and classes side by side by the best combination of candidates.

    The candidates and the choice are those of :class:`AutoMultiTaskRegressor`, as far as they
    take tasks of several kinds: means, separate models, penalties that share, the learned prior
    and, if asked for, networks; trees do not. Each row is judged by the loss of its task (squared
    error, deviance, log loss) and each task counts alike; weights differ from task to task as far
    as its own rows say so.

    Parameters
    ----------
    models : "default", "deep", or sequence, default="default"
        As in :class:`AutoMultiTaskRegressor`; estimators have to take targets of several kinds.
    loss : "auto" or mapping of task to str or Loss, default="auto"
        The loss of each task: "squared", "poisson", "gamma", "logistic" or "multinomial". "auto":
        text, booleans and whole numbers with two distinct values are classes, all other numbers
        are numbers.

    Attributes
    ----------
    classes_, task_classes_
        As in :class:`MultiTaskClassifier`, where there are classification tasks.
    losses_ : tuple of Loss
        The loss of each task.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import AutoMultiTaskModel
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 3))
    >>> Y = np.column_stack([X[:, 0] > 0, X[:, 0] + X[:, 1]])
    >>> model = AutoMultiTaskModel(["separate"], cv=2).fit(X, Y)
    >>> [loss.name for loss in model.losses_]
    ['logistic', 'squared']
    """

    _problem = "mixed"
    # Tasks of several kinds have no prediction in common.
    unseen_tasks = "error"

    loss: Any = "auto"  # str or mapping

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        problem, outcomes, losses = read_outcomes(data, self.loss, owner)
        if problem != "mixed":
            one = {"regression": "Regressor", "classification": "Classifier"}[problem]
            fields = {"owner": owner, "other": f"AutoMultiTask{one}"}
            raise DataError(LazyMessage("selection.refusal.one_kind", fields))
        self.losses_ = outcomes.losses
        keep_classes(self, outcomes)
        self._union = outcomes.union
        self._combine(data, raw, outcomes, losses)

    def _combined(self) -> CombinedTasks:
        known = tuple(getattr(self, "task_classes_", {}).get(task) for task in self._labels())
        return CombinedTasks(self, self.losses_, known, self._union)

    def _labels(self) -> tuple[Any, ...]:
        return self._schema.index.labels

    def _by_loss(self) -> CombinedTasks:
        return self._combined()

    def _numbers(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        tasks = np.full(X.shape[0], task)
        found = np.zeros(X.shape[0])
        for weights, rows, name in self._shares(tasks):
            found[rows] += weights * numbers_of(self.members_[name], X[rows], tasks[rows])
        return found

    def _probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        classes = np.asarray(self.task_classes_[self._labels()[task]])
        labels = None if self._schema.form is Form.TARGETS else self._labels()
        tasks = np.full(X.shape[0], task)
        found = np.zeros((X.shape[0], len(classes)))
        for weights, rows, name in self._shares(tasks):
            own = probabilities_of(self.members_[name], X[rows], tasks[rows], classes, labels)
            found[rows] += weights[:, None] * own
        return found

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        classes = self._combined().classes_of(task)
        if classes is None:
            return self._numbers(X, task)
        return np.asarray(classes[np.argmax(self._probabilities(X, task), axis=1)])

    def _has_probabilities(self) -> bool:
        return not hasattr(self, "losses_") or hasattr(self, "task_classes_")

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        return probabilities(self._combined(), query)
