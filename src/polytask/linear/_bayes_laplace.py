"""What the estimators share whose evidence is that of the Laplace approximation."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._estimator import Outcomes, Query
from polytask._estimator.classes import ProbabilityMixin, keep_classes, probabilities
from polytask._estimator.export import own_features, stand_alone, task_position
from polytask._estimator.weights import label_weights, sum_by_task
from polytask.data import TaskData
from polytask.exceptions import ConvergenceWarning
from polytask.linear._bayes_laplace_fit import LaplaceFit, LinkedUnits
from polytask.linear._export import coefficient_table
from polytask.linear.bayes_laplace_tasks import LaplaceTasks, TaskFrame, plain_task, tasks_of
from polytask.linear.fitting import blas_threads
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd


class LaplaceEstimator(ProbabilityMixin, ABC):
    """Base of the estimators: a leaf class reads the targets and says which priors there are."""

    tol: float
    max_iter: int
    n_jobs: int | None

    @abstractmethod
    def _outcomes(self, data: TaskData) -> Outcomes:
        """Return the targets as numbers."""

    @abstractmethod
    def _fitted(self, data: TaskData, outcomes: Outcomes) -> tuple[LaplaceFit, LinkedUnits | None]:
        """Learn the priors, and return the units of the predictors, None for those of classes."""

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        outcomes = self._outcomes(data)
        with blas_threads(self.n_jobs, owner, usual=1):
            found, units = self._fitted(data, outcomes)
        weight = label_weights(data, outcomes, None, owner)
        precision = np.dtype(np.float32 if data.X.dtype == np.float32 else np.float64)
        frame = TaskFrame(data.tasks, data.present, precision)
        counts = sum_by_task(weight, data)
        linked = None if units is None else units.found(found)
        tasks = tasks_of(frame, outcomes, found.posteriors, found.scaling, counts, linked)
        self._set_tasks(tasks)
        self.structure_ = found.structure
        self.evidence_ = found.candidates
        self.log_marginal_likelihood_ = found.ended.log_likelihood
        self.solution_ = found.ended.solution(tasks.linear, self.max_iter)
        self.n_iter_ = max(found.ended.n_iter, 1)
        if not found.ended.converged:
            status = self.solution_.status.told
            fields = {"owner": owner, "n": found.ended.n_iter, "tol": f"{self.tol:g}"}
            fields |= {"value": f"{found.ended.residual:.2e}", "status": status.node}
            warnings.warn(ConvergenceWarning(LazyMessage("warn.evidence", fields)), stacklevel=4)

    def _set_tasks(self, tasks: LaplaceTasks) -> None:
        """Set the fitted attributes, in original units and in the precision of X."""
        linear = tasks.linear
        labels = self._schema.index.labels
        self._tasks = tasks
        self.coef_, self.intercept_ = linear.coef, linear.intercept
        self.columns_ = tuple(
            (task, label)
            for task, part in zip(labels, linear.slices, strict=True)
            for label in linear.labels[part]
        )
        self.task_weight_sums_ = linear.counts
        keep_classes(self, linear)
        priors = [posterior.prior for posterior in tasks.posteriors]
        self.prior_ = priors[0] if len(priors) == 1 else priors

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        return self._tasks.labels_of(X, task)

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        return probabilities(self._tasks, query)

    def to_sklearn(self, task: Any) -> Any:  # noqa: ANN401 - a label; an estimator
        """Return one task as a plain fitted scikit-learn model with its posterior mode.

        Labels of two classes are the same. Probabilities are those at the mode, which are
        further from one half than the averaged ones of ``predict_proba``; expected counts and
        amounts are those at the mode, which are smaller than those of ``predict``.

        Parameters
        ----------
        task : label
            One of ``tasks_``.

        Returns
        -------
        LogisticRegression, OneVsRestClassifier, DummyClassifier, a regressor or Pipeline
            The second for several classes, the third for a task of one class; the last, with
            the encoder in front, for a model that was fitted on a table.

        Raises
        ------
        DataError
            If there is no such task.
        """
        check_is_fitted(self)
        position = task_position(self._schema, task)
        features = own_features(self._schema, position)
        model = plain_task(self._tasks.linear, position, features)
        return stand_alone(self._schema, position, model)

    def coef_frame(self) -> pd.DataFrame:
        """Return the coefficients as a long table.

        Returns
        -------
        pandas.DataFrame
            Columns task, class, feature, coef; the intercept is the feature ``(intercept)``.
        """
        check_is_fitted(self)
        return coefficient_table(
            self.columns_, self.coef_feature_names_, self.coef_, self.intercept_
        )
