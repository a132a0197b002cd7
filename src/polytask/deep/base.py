"""What the deep estimators share: outcomes, training, prediction."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._estimator import MultiTaskEstimator, Outcomes
from polytask._estimator.classes import keep_classes
from polytask.data import TaskData
from polytask.deep.fitting import Fitted, fit_tables
from polytask.deep.network import Network
from polytask.deep.prediction import DeepTasks
from polytask.deep.reading import Keeping

Labels = NDArray[Any]


class DeepEstimator(MultiTaskEstimator):
    """Base of the deep estimators: a leaf class reads its targets and scores."""

    _reading = Keeping()

    @abstractmethod
    def _outcomes(self, data: TaskData) -> Outcomes:
        """Return the targets as numbers."""

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        outcomes = self._outcomes(data)
        self._keep(outcomes, fit_tables(self, data, outcomes))

    def _keep(self, outcomes: Outcomes, fitted: Fitted) -> None:
        """Set the fitted attributes."""
        columns = fitted.prepared.layout.columns
        self.columns_ = tuple(zip(columns.tasks, columns.classes, strict=True))
        self.task_weight_sums_ = fitted.prepared.counts
        self.history_ = fitted.history
        self.solution_ = fitted.result
        self.n_iter_ = fitted.result.n_iter
        self._tasks = fitted.tasks
        keep_classes(self, outcomes)

    @property
    def network_(self) -> Network:
        """The trained module, in evaluation mode; it reads scaled features.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        """
        return self._fitted_tasks().network

    def _fitted_tasks(self) -> DeepTasks:
        check_is_fitted(self)
        return self._tasks

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - rows of a query
        return self._tasks.labels_of(X, task)
