"""What the linear estimators share: outcomes, coefficients in original units, kinds of targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._estimator import (
    MultiTaskEstimator,
    Outcomes,
    Query,
    classification,
    mixed,
    regression,
)
from polytask._estimator.classes import (
    ClassifierMixin,
    DecisionMixin,
    ProbabilityMixin,
    RegressorMixin,
    decisions,
    has_classes,
    keep_classes,
    probabilities,
)
from polytask._estimator.export import own_features, stand_alone, task_position
from polytask._estimator.outcomes import loss_object
from polytask.data import TaskData
from polytask.linear._export import coefficient_table, plain_model
from polytask.linear.fitting import keep_parts, original_parts
from polytask.linear.prediction import LinearTasks
from polytask.linear.problem import Problem, Settings, keep_noise, tasks_of
from polytask.linear.pull import Pull, pull_of
from polytask.linear.source import source_of
from polytask.losses import Squared
from polytask.solvers import Solution

if TYPE_CHECKING:
    import pandas as pd


Labels = NDArray[Any]


class LinearModel(MultiTaskEstimator, ABC):
    """An estimator whose tasks have coefficients: as a table, and as models of scikit-learn."""

    _linear: LinearTasks

    def _linear_model(self) -> LinearTasks:
        check_is_fitted(self)
        return self._linear

    def _plain(self, position: int, features: NDArray[np.intp] | None) -> Any:  # noqa: ANN401
        """Return the scikit-learn model of one task."""
        return plain_model(self._linear_model(), position, features)

    def __sklearn_clone__(self) -> Self:
        """Return a copy that is not fitted; a model that it learns from stays as it is."""
        copy: Self = super().__sklearn_clone__()
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, MultiTaskEstimator):
                setattr(copy, name, value)
        return copy

    def to_sklearn(self, task: Any) -> Any:  # noqa: ANN401 - a label; an estimator
        """Return one task as a plain fitted scikit-learn model.

        It has the coefficients in ``coef_``. Where these are the mode of a posterior of classes,
        counts or amounts, labels are the same, but probabilities are those at the mode, further
        from one half than the averaged ones of ``predict_proba``, and expected counts and
        amounts are smaller than those of ``predict``.

        Parameters
        ----------
        task : label
            One of ``tasks_``.

        Returns
        -------
        LinearRegression, LogisticRegression, DummyClassifier, another model or Pipeline
            DummyClassifier for a task of one class; Pipeline, with the encoder in front, for a
            model that was fitted on a table.

        Raises
        ------
        DataError
            If there is no such task.
        """
        check_is_fitted(self)
        position = task_position(self._schema, task)
        model = self._plain(position, own_features(self._schema, position))
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


class LinearEstimator(LinearModel, ABC):
    """Base of the linear estimators: a leaf class has parameters and fits."""

    loss: Any
    standardize: bool
    transfer_from: Any

    @abstractmethod
    def _outcomes(self, data: TaskData) -> Outcomes:
        """Return the targets as numbers."""

    def _settings(self) -> Settings:
        """Return the choices about the data term."""
        owner = type(self).__name__
        # `get_params` would read the signature again, which takes as long as a step of a fit.
        known = self.transfer_from
        source = None if known is None else source_of(known, owner)
        settings = Settings(**self._choices(), source=source)
        settings.check(owner)
        return settings

    def _choices(self) -> dict[str, Any]:
        """Return the parameters, by name, that are settings of the data term."""
        names = (field.name for field in fields(Settings))
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def _keep(
        self, data: TaskData, outcomes: Outcomes, problem: Problem, solution: Solution
    ) -> None:
        """Set the fitted attributes, in original units and in the precision of X."""
        coef, intercept = problem.original_units(solution.W, _filled(solution.intercept, problem))
        precision = np.float32 if data.X.dtype == np.float32 else np.float64
        columns = problem.layout.columns
        parts = original_parts(problem, solution, precision)
        keep_parts(self, parts, problem.layout)
        # Parts sum to the coefficients exactly.
        self.coef_ = sum(parts[1:], start=parts[0]) if parts else coef.astype(precision)
        self.intercept_ = intercept.astype(precision)
        self.columns_ = tuple(zip(columns.tasks, columns.classes, strict=True))
        # The units in which features are alike; known only where they were scaled.
        self.feature_scale_ = problem.features.scale if self.standardize else None
        self.task_weight_sums_ = problem.counts
        self.solution_ = solution
        self.n_iter_ = max(solution.n_iter, 1)
        keep_classes(self, outcomes)
        keep_noise(self, problem, solution)
        self._linear = tasks_of(problem, outcomes, self.coef_, self.intercept_)
        self._pull = pull_of(data, problem, solution)

    def _largest_cell(self, data: TaskData) -> float:
        pull: Pull | None = getattr(self, "_pull", None)
        complete = self.task_weight_sums_.sum() == np.asarray(data.y).size and (
            data.sample_weight is None
        )
        if pull is None or not complete:
            return super()._largest_cell(data)
        # None of n numbers is farther from their mean than sqrt(n) standard deviations.
        return float(np.max(np.abs(pull.mean) + np.sqrt(data.n_rows) * pull.scale))

    def _by_loss(self) -> LinearTasks:
        return self._linear

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        return self._linear.labels_of(X, task)

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        return probabilities(self._linear, query)


class LinearNumbers(LinearEstimator, RegressorMixin, ABC):
    """A linear estimator of targets that are numbers."""

    def _outcomes(self, data: TaskData) -> Outcomes:
        return regression(data, self.loss, type(self).__name__)

    def _fits_moments(self) -> bool:
        loss = loss_object(self.loss, type(self).__name__)
        # A score of the user's own looks at rows.
        own = callable(getattr(self, "scoring", None))
        return (isinstance(loss, Squared) or loss.takes_root) and not own


class LinearClasses(LinearEstimator, DecisionMixin, ClassifierMixin, ABC):
    """A linear estimator of targets that are classes."""

    def _outcomes(self, data: TaskData) -> Outcomes:
        return classification(data, self.loss, type(self).__name__)

    def _class_decisions(self, query: Query) -> Any:  # noqa: ANN401
        return decisions(self._linear, query)


class LinearMixed(LinearEstimator, ProbabilityMixin, ABC):
    """A linear estimator of tasks that have a loss each."""

    def _outcomes(self, data: TaskData) -> Outcomes:
        return mixed(data, self.loss, type(self).__name__)

    def _has_probabilities(self) -> bool:
        return has_classes(self)


def _filled(intercept: NDArray[np.float64], problem: Problem) -> NDArray[np.float64]:
    """Give a task without rows the mean intercept of the others, where nothing set its own."""
    widths = [s.stop - s.start for s in problem.layout.slices]
    weight = np.repeat(problem.counts, widths)
    lacking = (weight <= 0) & (intercept == 0.0)
    if not lacking.any() or not weight.any():
        return intercept
    return np.where(lacking, np.average(intercept, weights=weight), intercept)
