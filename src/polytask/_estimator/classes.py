"""Classes of an estimator: its attributes, probabilities and decision values in every form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from polytask._checks import truth
from polytask._estimator import conformal, outputs
from polytask._estimator.base import MultiTaskEstimator
from polytask._estimator.outputs import RowsFunction
from polytask._estimator.query import Query
from polytask.data import Form
from polytask.losses import LOSSES, Loss, Multinomial


class RegressorMixin(MultiTaskEstimator, ABC):
    """Tags of an estimator of numbers."""

    def __sklearn_tags__(self) -> Tags:
        """Say that this is a regressor."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags()
        return tags


class ProbabilityMixin(MultiTaskEstimator, ABC):
    """Class probabilities in every form of the data."""

    @abstractmethod
    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        """Return the class probabilities of the rows of a query."""

    def _has_probabilities(self) -> bool:
        """Say whether there are class probabilities: of some estimators parameters decide."""
        return True

    @available_if(lambda self: self._has_probabilities())  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return class probabilities.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n, n_classes), list of ndarray, or mapping
            In the order of ``classes_``, 0 for classes that a task lacks, NaN in rows of tasks
            of numbers; for a target matrix a list with one array per target, None for targets
            that are numbers; for a mapping a mapping.
        """
        return self._class_probabilities(self._read(X, task))

    @available_if(lambda self: self._has_probabilities())  # type: ignore[untyped-decorator]
    def predict_set(
        self,
        X: Any,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        level: float = 0.9,
        *,
        by_task: bool = False,
    ) -> Any:  # noqa: ANN401
        """Return a set of classes for every row that holds the true one with a probability.

        Parameters
        ----------
        X, task, level, by_task
            As in :meth:`predict_interval`.

        Returns
        -------
        ndarray of bool, shape (n, n_classes), list of ndarray, or mapping
            Whether a class belongs to the set, as :meth:`predict_proba` returns probabilities;
            never empty, but for rows of tasks of numbers.

        Raises
        ------
        ParameterError
            If `level` is no probability, or `by_task` no boolean.
        IncompatibleError
            If nothing was held out in fit; :func:`polytask.calibrate` does so.

        Notes
        -----
        A class belongs to the set if its probability is not smaller than that of the true
        classes of held-out rows, but for the share ``1 - level`` of them. What is guaranteed is
        what :meth:`predict_interval` says. The learned prior and boosting with it, where nothing
        was held out, take the fewest classes with `level` of the probability.

        References
        ----------
        M. Sadinle, J. Lei and L. Wasserman, "Least ambiguous set-valued classifiers with bounded
        error levels", Journal of the American Statistical Association 114 (2019).
        """
        check_is_fitted(self)
        owner = f"{type(self).__name__}.predict_set"
        value, by_task = conformal.checked_level(level, owner), truth(by_task, "by_task", owner)
        if self._interval_errors() is not None:
            return conformal.sets(self, X, task, value, by_task)
        if by_task or not self._knows_new_targets:
            self._refuse_intervals()
        return conformal.smallest_sets(self.predict_proba(X, task), value)


class DecisionMixin(ProbabilityMixin, ABC):
    """Class probabilities, and the values that they are computed from."""

    @abstractmethod
    def _class_decisions(self, query: Query) -> Any:  # noqa: ANN401
        """Return the decision values of the rows of a query."""

    def _has_decisions(self) -> bool:
        """Say whether there are decision values."""
        return True

    @available_if(lambda self: self._has_decisions())  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return decision values: what is turned into probabilities, such as log odds.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes), or mapping
            For two classes positive where the second is predicted; for several -inf for
            classes that a task lacks. For a target matrix of shape (n, columns): one column
            per target of two classes, and one per class of a target of several.
        """
        return self._class_decisions(self._read(X, task))


class ClassifierMixin(ProbabilityMixin, ABC):
    """Class probabilities, and the tags of a classifier."""

    def __sklearn_tags__(self) -> Tags:
        """Say that this is a classifier."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags()
        return tags


class KnownClasses(Protocol):
    """The classes of every task."""

    @property
    def classes(self) -> tuple[NDArray[Any] | None, ...]:
        """Those of each task, None for numbers."""
        ...

    @property
    def union(self) -> NDArray[Any] | None:
        """Those of all."""
        ...


def keep_classes(model: Any, outcomes: KnownClasses) -> None:  # noqa: ANN401 - a fitted estimator
    """Set ``classes_`` and ``task_classes_``, or remove those of an earlier fit."""
    if all(classes is None for classes in outcomes.classes):
        for name in ("classes_", "task_classes_"):
            if hasattr(model, name):
                delattr(model, name)
        return
    model.task_classes_ = dict(zip(model._schema.index.labels, outcomes.classes, strict=True))
    targets = model._schema.form is Form.TARGETS
    model.classes_ = list(outcomes.classes) if targets else outcomes.union


def has_classes(estimator: MultiTaskEstimator) -> bool:
    """Say whether some task has classes; before fit with loss="auto" nobody knows."""
    if hasattr(estimator, "data_card_"):
        return hasattr(estimator, "task_classes_")
    loss = estimator.get_params(deep=False)["loss"]
    given = loss.values() if isinstance(loss, Mapping) else [loss]
    known = [LOSSES[one]() if isinstance(one, str) and one in LOSSES else one for one in given]
    return any(isinstance(one, Loss) and one.is_classifier for one in known)


def target_columns(values: list[NDArray[Any]]) -> NDArray[Any]:
    """Join the decision values of targets: one column for two classes, one per class for more."""
    pairs = (value[:, 1:] - value[:, :1] if value.shape[1] == 2 else value for value in values)
    return np.hstack(list(pairs))


class ClassTasks(Protocol):
    """What predicts the classes of the rows of one task."""

    @property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each task."""
        ...

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The loss of each task."""
        ...

    @property
    def union(self) -> NDArray[Any] | None:
        """The union of the classes."""
        ...

    def classes_of(self, task: int) -> NDArray[Any] | None:
        """Return the classes of a task."""
        ...

    def eta(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        """Return the linear predictors, shape (n_rows, columns of the task)."""
        ...

    def probabilities(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401
        """Return the class probabilities, shape (n_rows, classes of the task)."""
        ...


def joint_probabilities(query: Query, function: RowsFunction, n_tasks: int) -> Any:  # noqa: ANN401
    """Return class probabilities where all tasks have the same classes."""
    if query.codes is None:
        n, X = query.n_rows, query.data.X
        return [function(X, np.full(n, t)) for t in range(n_tasks)]
    return outputs.split(query, outputs.by_row(query, function))


def probabilities(linear: ClassTasks, query: Query) -> Any:  # noqa: ANN401 - array, list, mapping
    """Return class probabilities. Shapes: result (n, n_classes)."""
    if query.codes is None:
        X = query.data.X
        return [
            linear.probabilities(X, t) if linear.classes_of(t) is not None else None
            for t in range(len(linear.slices))
        ]
    values = outputs.class_values(
        query, np.asarray(linear.union), linear.classes_of, linear.probabilities, absent=0.0
    )
    return outputs.split(query, values)


def decisions(linear: ClassTasks, query: Query) -> Any:  # noqa: ANN401 - array, list, mapping
    """Return linear predictors."""
    single = all(not isinstance(loss, Multinomial) for loss in linear.losses)
    if query.codes is None:
        return target_columns([linear.eta(query.data.X, t) for t in range(len(linear.slices))])
    if single:
        flat = outputs.by_row(query, outputs.one_by_one(lambda X, t: linear.eta(X, t)[:, 0]))
        return outputs.split(query, flat)
    values = outputs.class_values(
        query, np.asarray(linear.union), linear.classes_of, linear.eta, absent=-np.inf
    )
    # Two classes have one decision value, as in scikit-learn.
    return outputs.split(query, values[:, 1] - values[:, 0] if values.shape[1] == 2 else values)
