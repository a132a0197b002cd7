"""What the deep estimators share: outcomes, training, prediction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._estimator import MultiTaskEstimator, Outcomes
from polytask._estimator.classes import keep_classes
from polytask._estimator.ranges import Between
from polytask.data import TaskData
from polytask.deep.fitting import Fitted, fit_tables
from polytask.deep.network import Network
from polytask.deep.prediction import DeepTasks
from polytask.deep.rows import Keeping
from polytask.deep.searching import space_of

Labels = NDArray[Any]


class DeepEstimator(MultiTaskEstimator):
    """Base of the deep estimators: a leaf class reads its targets and scores."""

    _reading = Keeping()
    _is_network = True

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

    def search_space(self) -> dict[str, Between | Sequence[Any]]:
        """Return what is worth searching, for :func:`polytask.selection.tune`.

        Learning rate and weight decay unless an optimiser is given; width and dropout of an
        :class:`MLP`; ways of sharing, or the number of experts if that is how tasks share; the
        strengths of penalties that are given, a hundred times down and up.

        Returns
        -------
        dict of str to Between or list
            By names of parameters as in ``set_params``. To search less, delete from it.

        Examples
        --------
        >>> from polytask.deep import MLP, DeepMultiTaskRegressor
        >>> from polytask.penalties import L21
        >>> model = DeepMultiTaskRegressor(MLP((64,)), penalties={"input": L21(0.01)})
        >>> sorted(model.search_space())  # doctest: +NORMALIZE_WHITESPACE
        ['learning_rate', 'penalties__input__alpha', 'sharing', 'trunk__dropout',
         'trunk__widths', 'weight_decay']
        """
        return space_of(self)

    @property
    def network_(self) -> Network:
        """The trained module, in evaluation mode; it reads scaled features.

        Tasks that :func:`polytask.adapt` has added have no head in it.

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
