"""A base that all tasks share, and a linear correction that each task has of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.utils import ClassifierTags, RegressorTags, Tags

from polytask._checks import sentence
from polytask._estimator import (
    MultiTaskEstimator,
    Outcomes,
    Query,
    classification,
    regression,
)
from polytask._estimator.classes import ProbabilityMixin, joint_probabilities
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.baselines import Pooled
from polytask.data import Form, TaskData, as_splits
from polytask.data.splits import Split
from polytask.exceptions import DataError, IncompatibleError, ParameterError, PolytaskError
from polytask.linear import BayesianMultiTaskClassifier, BayesianMultiTaskRegressor
from polytask.messages import LazyMessage
from polytask.selection.members import numbers_of, probabilities_of

Array = NDArray[np.float64]
Labels = NDArray[Any]
Tasks = NDArray[np.intp]

# Beyond it the correction sees the prediction of the base only.
_MOST_FEATURES = 300
# Log odds of a base that is sure of itself are kept finite.
_LEAST_PROBABILITY = 1e-4


def _classifies(model: SharedBase) -> bool:
    return bool(is_classifier(model.base))


@saveable("selection.shared_base")
class SharedBase(ProbabilityMixin):
    """One base for all tasks, corrected for each by a regularised linear model."""

    # Shapes: tasks_ (n_tasks,).
    # What a shared layer and task layers are to a network, for trees: the base (boosted trees,
    # say) is fitted on all rows, and a multi-task linear model of its predictions and of the
    # features says what each task has of its own. The correction learns from predictions for rows
    # that the base had not seen, so that it corrects what the base gets wrong on new rows.

    classes_: Any  # an array, or a list with one per target

    def __init__(
        self,
        base: Any,  # noqa: ANN401 - any estimator
        correction: Any = None,  # noqa: ANN401 - any multi-task estimator
        *,
        cv: Any = 5,  # noqa: ANN401 - as in scikit-learn
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        date_features: bool = False,
    ) -> None:
        self.date_features = date_features
        self.base = base
        self.correction = correction
        self.cv = cv
        self.task_column = task_column
        self.unseen_tasks = unseen_tasks

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        self._check_parts()
        outcomes = self._targets(data)
        self._wide = data.n_features > _MOST_FEATURES
        values = self._unseen_values(data, outcomes)
        self.base_ = self._base("shared").fit(data)
        long = data.to_long()
        # Every task has the values of the base.
        known = None if self._wide else long.present
        everywhere = np.ones((long.n_tasks, values.shape[1]), dtype=bool)
        present = None if known is None else np.column_stack([known, everywhere])
        joined = long.with_X(self._joined(long.X, values), None, present)
        self.correction_ = self._correction().fit(joined)

    def _check_parts(self) -> None:
        owner = type(self).__name__
        learns = hasattr(self.base, "fit") and not isinstance(self.base, type)
        if not learns or (_classifies(self) and not hasattr(self.base, "predict_proba")):
            allowed = LazyMessage("allowed.base")
            raise ParameterError(sentence("base", owner, allowed, repr(self.base)))
        if not isinstance(self.correction, MultiTaskEstimator | None):
            allowed = LazyMessage("allowed.correction")
            raise ParameterError(sentence("correction", owner, allowed, repr(self.correction)))
        if self.correction is not None and is_classifier(self.correction) != _classifies(self):
            kind = "classifier" if _classifies(self) else "regressor"
            allowed = LazyMessage(f"allowed.{kind}_as_base")
            raise ParameterError(sentence("correction", owner, allowed, repr(self.correction)))

    def _targets(self, data: TaskData) -> Outcomes:
        owner = type(self).__name__
        if not _classifies(self):
            return regression(data, "squared", owner)
        outcomes = classification(data, "auto", owner)
        targets = data.form is Form.TARGETS
        union = np.asarray(outcomes.union)
        if targets and any(len(np.asarray(c)) != len(union) for c in outcomes.classes):
            fields = {"owner": owner}
            raise IncompatibleError(LazyMessage("selection.refusal.unlike_classes", fields))
        self.classes_ = [union] * data.n_tasks if targets else union
        self.task_classes_ = dict.fromkeys(data.tasks, union)
        return outcomes

    def _base(self, unseen: str) -> Any:  # noqa: ANN401 - a multi-task estimator
        if isinstance(self.base, MultiTaskEstimator):
            return clone(self.base)
        return Pooled(clone(self.base), "category", unseen_tasks=unseen)

    def _correction(self) -> Any:  # noqa: ANN401 - a multi-task estimator
        if self.correction is not None:
            return clone(self.correction)
        kind = BayesianMultiTaskClassifier if _classifies(self) else BayesianMultiTaskRegressor
        return kind(unseen_tasks=self.unseen_tasks)

    def _unseen_values(self, data: TaskData, outcomes: Outcomes) -> Array:
        """Return what bases predict for labels that they had not seen, in the long order."""
        masks = _labels_of(data)
        rows = np.concatenate(masks)
        tasks = np.repeat(np.arange(data.n_tasks), [len(own) for own in masks])
        width = len(np.asarray(outcomes.union)) - 1 if _classifies(self) else 1
        found = np.zeros((len(rows), width))
        for train, test in _covering(as_splits(self.cv, data, unlabelled=True), data.n_rows):
            part = data.rows(train)
            base = self._base("shared").fit(part)
            held = np.zeros(data.n_rows, dtype=bool)
            held[test] = True
            own = np.flatnonzero(held[rows])
            if own.size:
                found[own] = self._held_values(base, part, data.X[rows[own]], tasks[own])
        return found

    def _held_values(self, base: Any, part: TaskData, X: Any, tasks: Tasks) -> Array:  # noqa: ANN401
        """Return the values for held-out rows of a base that may not know their task."""
        try:
            return self._values(base, X, tasks)
        except PolytaskError as error:
            seen = [len(rows) > 0 for rows in _labels_of(part)]
            strange = next((part.tasks[t] for t in np.unique(tasks) if not seen[t]), None)
            if strange is None:
                raise
            fields = {"task": repr(strange), "base": repr(self.base)}
            raise DataError(LazyMessage("selection.refusal.base_strangers", fields)) from error

    def _values(self, base: Any, X: Any, tasks: Tasks) -> Array:  # noqa: ANN401
        """Return numbers, or the log odds of every class but the first against it."""
        if not _classifies(self):
            return numbers_of(base, X, tasks)[:, None]
        targets = isinstance(self.classes_, list)
        classes = np.asarray(self.classes_[0] if targets else self.classes_)
        labels = None if targets else self._schema.index.labels
        logs = np.log(
            np.maximum(probabilities_of(base, X, tasks, classes, labels), _LEAST_PROBABILITY)
        )
        return np.asarray(logs[:, 1:] - logs[:, :1])

    def _joined(self, X: Any, values: Array) -> Any:  # noqa: ANN401 - dense or sparse
        if self._wide:
            return values
        if is_sparse(X):
            return sp.csr_array(sp.hstack([X, sp.csr_array(values)]))
        return np.concatenate([np.asarray(X), values], axis=1)

    def _inputs(self, X: Any, tasks: Tasks) -> Any:  # noqa: ANN401 - dense or sparse
        return self._joined(X, self._values(self.base_, X, tasks))

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        return self._predict_rows(X, np.full(X.shape[0], task))

    def _predict_rows(self, X: Any, tasks: Tasks) -> Labels:  # noqa: ANN401 - dense or sparse
        return np.asarray(self.correction_._predict_rows(self._inputs(X, tasks), tasks))

    def _classes_of(self, task: int) -> Labels:
        return np.asarray(self.classes_[0] if isinstance(self.classes_, list) else self.classes_)

    def _probabilities(self, X: Any, tasks: Tasks) -> Array:  # noqa: ANN401 - dense or sparse
        # The correction is fitted on the long form, with targets as tasks.
        labels, classes = self._schema.index.labels, self._classes_of(0)
        return probabilities_of(self.correction_, self._inputs(X, tasks), tasks, classes, labels)

    def _has_probabilities(self) -> bool:
        corrects = self.correction is None or hasattr(self.correction, "predict_proba")
        return _classifies(self) and corrects

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        return joint_probabilities(query, self._probabilities, len(self.tasks_))

    def __sklearn_tags__(self) -> Tags:
        """Say what the base is."""
        tags = super().__sklearn_tags__()
        if _classifies(self):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        return tags


def _labels_of(data: TaskData) -> list[NDArray[np.intp]]:
    """Return the rows of the labels of every task, in the order of the long form."""
    if data.form is Form.TARGETS:
        return [np.flatnonzero(own) for own in data.labelled().T]
    parts = [data.task_slice(t) for t in range(data.n_tasks)]
    return [np.arange(part.start, part.stop) for part in parts]


def _covering(splits: list[Split], n_rows: int) -> list[Split]:
    """Hold out every row once: those that no fold holds out are spread over the folds."""
    seen = np.zeros(n_rows, dtype=bool)
    found: list[Split] = []
    for _, test in splits:
        own = test[~seen[test]]
        seen[own] = True
        found.append((own, own))
    if len(splits) < 2:
        allowed = LazyMessage("allowed.two_folds")
        raise ParameterError(sentence("cv", "SharedBase", allowed, str(len(splits))))
    spare = np.flatnonzero(~seen)
    pairs = []
    for k, (_, test) in enumerate(found):
        held = np.sort(np.concatenate([test, spare[k :: len(found)]]))
        if len(held):
            pairs.append((np.setdiff1d(splits[k][0], held), held))
    return pairs
