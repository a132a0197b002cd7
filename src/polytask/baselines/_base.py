"""What the baselines share: targets of either kind, classes, scores, tags of the inner one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if

from polytask._checks import sentence
from polytask._estimator import (
    MultiTaskEstimator,
    Outcomes,
    Query,
    classification,
    outputs,
    regression,
)
from polytask.baselines._fitting import check_estimator_object
from polytask.data import Form, TaskData
from polytask.exceptions import ParameterError
from polytask.losses import Squared

Labels = NDArray[Any]
Floats = NDArray[np.float64]
# (rows of X, their task) -> (n, classes of the task); Pooled takes the task of each row too
ClassFunction = Callable[[Any, Any], Floats]


def inner_has(method: str) -> Callable[[Baseline], bool]:
    """Say whether the wrapped estimator has a method."""

    def check(baseline: Baseline) -> bool:
        return hasattr(baseline.estimator, method)

    return check


class Baseline(MultiTaskEstimator):
    """Base of the baselines: a leaf class fits, and gives the values of one task."""

    estimator: Any
    classes_: Any  # an array, or a list with one per target

    @abstractmethod
    def _classes_of(self, task: int) -> Labels:
        """Return the classes that the values of a task belong to."""

    @abstractmethod
    def _probabilities(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        """Return class probabilities, shape (n, classes of the task)."""

    @abstractmethod
    def _decisions(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        """Return decision values, shape (n, classes of the task)."""

    def _read_targets(self, data: TaskData) -> Outcomes:
        """Return the targets as the wrapped estimator takes them, and keep the classes."""
        owner = type(self).__name__
        check_estimator_object(self.estimator, owner)
        if is_classifier(self.estimator):
            outcomes = classification(data, "auto", owner)
            targets = data.form is Form.TARGETS
            self.classes_ = list(outcomes.classes) if targets else outcomes.union
            return outcomes
        if is_regressor(self.estimator):
            return regression(data, Squared(), owner)
        allowed = "a scikit-learn regressor or classifier"
        raise ParameterError(sentence("estimator", owner, allowed, repr(self.estimator)))

    @available_if(inner_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return class probabilities, if the estimator has them.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n, n_classes), list of ndarray, or mapping
            In the order of ``classes_``, 0 for classes that a task lacks; for a target
            matrix a list with one array per target; for a mapping a mapping.
        """
        query = self._read(X, task)
        if query.codes is None:
            function, tasks = self._probabilities, range(len(self.tasks_))
            return [self._target_values(query.data.X, t, function, 0.0) for t in tasks]
        return outputs.split(query, self._class_values(query, self._probabilities, 0.0))

    def _class_values(self, query: Query, function: ClassFunction, absent: float) -> Floats:
        """Return what the classes of every row are worth, over all classes."""
        return outputs.class_values(query, self.classes_, self._classes_of, function, absent)

    def _target_values(self, X: Any, task: int, function: ClassFunction, absent: float) -> Floats:  # noqa: ANN401
        position = {label: k for k, label in enumerate(self.classes_[task].tolist())}
        at = [position[label] for label in self._classes_of(task).tolist()]
        values = np.full((X.shape[0], len(position)), absent)
        values[:, at] = function(X, task)
        return values

    @available_if(inner_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return decision values, if the estimator has them.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes), or mapping
            For two classes positive where the second is predicted; for several -inf for
            classes that a task lacks. A task of one class has the constant 1 or -1. For a
            target matrix of shape (n, columns): one column per target of two classes, and one
            per class of a target of several.
        """
        query = self._read(X, task)
        if query.codes is None:
            every = [
                self._target_values(query.data.X, t, self._decisions, -np.inf)
                for t in range(len(self.tasks_))
            ]
            return np.hstack([_one_column(v)[:, None] if v.shape[1] == 2 else v for v in every])
        values = self._class_values(query, self._decisions, -np.inf)
        if len(self.classes_) == 2:
            values = _one_column(values)
        return outputs.split(query, values)

    def __sklearn_tags__(self) -> Tags:
        """Say what the wrapped estimator is."""
        tags = super().__sklearn_tags__()
        if not hasattr(self.estimator, "__sklearn_tags__"):
            return tags
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.positive_only = inner.input_tags.positive_only
        tags.target_tags.positive_only = inner.target_tags.positive_only
        tags.non_deterministic = inner.non_deterministic
        return tags


def class_columns(values: Floats, n_classes: int, estimator: object, owner: str) -> Floats:
    """Return decision values as one column per class."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        # Half to each side: a softmax over the two is the logistic function of the value.
        return np.column_stack([-values, values]) / 2
    if values.shape[1] != n_classes:
        got = f"{type(estimator).__name__} with {values.shape[1]} for {n_classes} classes"
        raise ParameterError(
            sentence("estimator", owner, "one with a decision value per class", got)
        )
    return values


def _one_column(values: Floats) -> Floats:
    """Join the two columns of two classes; infinite where a task lacks a class."""
    lacking = np.isneginf(values)
    flat: Floats = np.where(lacking, 0.0, values) @ np.array([-1.0, 1.0])
    flat[lacking[:, 0]], flat[lacking[:, 1]] = 1.0, -1.0
    return flat
