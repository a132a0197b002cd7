"""Pooled: one estimator for the rows of all tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from polytask._checks import one_of
from polytask._estimator import UNSEEN, Query, outputs
from polytask._estimator.export import stand_alone, task_position
from polytask._registry import saveable
from polytask.baselines._base import Baseline, ClassFunction, class_columns
from polytask.baselines._effects import (
    EFFECTS,
    NoEffect,
    Prepared,
    Tasks,
    as_matrix,
    no_effect,
)
from polytask.baselines._fitting import check_estimator_object, fit_copy, fit_steps
from polytask.baselines._folds import for_all_rows, without_folds
from polytask.baselines._rows import Rows, stacked_rows
from polytask.data import Form, TaskData
from polytask.exceptions import IncompatibleError

Labels = NDArray[Any]
Floats = NDArray[np.float64]

# Numbers of X that are predicted at a time.
_AT_ONCE = 10_000_000


@saveable("baseline.pooled")
class Pooled(Baseline):
    """Fit one estimator on the rows of all tasks, with or without knowing the task.

    Parameters
    ----------
    estimator : regressor or classifier
        Copied before it is fitted.
    task_effect : {"none", "intercept", "category"}, default="none"
        What the estimator is told about the task of a row.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

        - "none": nothing.
        - "intercept": every task has an intercept of its own that no penalty acts on. For
          linear regression with squared loss (``Ridge``, ``Lasso``, ...) this is exact: X and
          y are centred within each task, which gives the same coefficients. For other linear
          models (and for sparse X) a column of 0 and a large number per task is added, so
          that the penalty on the intercepts is negligible; the estimator's own intercept is
          then left out, and the solver "lbfgs" replaced by the exact "newton-cholesky". Any
          other estimator gets plain 0/1 columns.
        - "category": the task is one more feature: a category of histogram gradient boosting
          up to 255 tasks, beyond that the mean target of the task (cross-fitted
          ``TargetEncoder``); 0/1 columns for any other estimator. Linear models that take
          sparse rows get the columns of many tasks (ten million numbers) without their zeros,
          as does "intercept" where their solver bears long columns.

        In a pipeline this concerns the last step; the steps before it see the features only.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``; "shared" uses the mean intercept of the
        tasks, weighted by their rows (for a category: as a missing one).

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator; with a task effect, the last step of a pipeline, which takes the
        features and what `task_effect_` says.
    steps_ : Pipeline or None
        The fitted transformers before `estimator_`, if it was taken out of a pipeline.
    task_effect_ : str
        A sentence that says how the task effect was put into practice.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes of all tasks; for a target matrix a list that holds
        it once per target. Classifiers only.
    task_classes_ : dict of task to ndarray
        The classes that can be predicted for each task. Classifiers only.
    n_features_in_ : int
        Columns of X as given.

    Notes
    -----
    The rows of a target matrix are stacked, one per label. Sample weights reach the estimator
    as in :class:`SingleTask`, and so does a splitter that a search is given as `cv`. With
    "intercept", a classifier gives a task of one class a
    large but finite intercept.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from polytask import Pooled
    >>> X, school = np.arange(6.0).reshape(6, 1), ["a", "a", "a", "b", "b", "b"]
    >>> y = [0.0, 1.0, 2.0, 9.0, 10.0, 11.0]
    >>> model = Pooled(Ridge(alpha=1e-9), "intercept").fit(X, y, task=school)
    >>> model.predict([[3.0], [3.0]], task=["a", "b"]).round(3).tolist()
    [3.0, 9.0]
    """

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401 - any scikit-learn estimator
        task_effect: str = "none",
        *,
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        date_features: bool = False,
    ) -> None:
        self.estimator = estimator
        self.task_effect = task_effect
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        one_of(self.task_effect, "task_effect", owner, EFFECTS)
        outcomes = self._read_targets(data)
        rows = stacked_rows(data, outcomes)
        self.steps_, prepared = self._prepare(rows, data)
        ready = dataclasses.replace(rows, X=prepared.X, y=prepared.y)
        fitted = fit_copy(prepared.estimator, ready, owner, "")
        self.estimator_ = without_folds(fitted, self.estimator)
        self._effect = prepared.effect
        self._known = rows.task_shares() > 0
        self.task_effect_ = prepared.effect.sentence
        if is_classifier(self.estimator):
            # One model, so every task can get every class.
            union = np.asarray(outcomes.union)
            self.task_classes_ = dict.fromkeys(data.tasks, union)
            self.classes_ = [union] * data.n_tasks if data.form is Form.TARGETS else union

    def to_sklearn(self, task: Any) -> Any:  # noqa: ANN401 - a label; an estimator
        """Return the fitted estimator, which is that of every task.

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
        IncompatibleError
            If there is a task effect, which the estimator alone does not know.
        """
        check_is_fitted(self)
        position = task_position(self._schema, task)
        if not isinstance(self._effect, NoEffect):
            raise IncompatibleError(
                f"to_sklearn of Pooled needs task_effect='none'; got {self.task_effect!r}, "
                "which is more than one plain model can say."
            )
        schema = dataclasses.replace(self._schema, present=None)
        return stand_alone(schema, position, self.estimator_)

    def _prepare(self, rows: Rows, data: TaskData) -> tuple[Pipeline | None, Prepared]:
        """Add the task effect to the rows that the last step of the estimator sees."""
        owner = type(self).__name__
        check_estimator_object(self.estimator, owner)
        estimator = for_all_rows(self.estimator, data)
        effect = EFFECTS[self.task_effect]
        if effect is no_effect or not isinstance(estimator, Pipeline):
            return None, effect(estimator, rows)
        steps, last = estimator[:-1], estimator[-1]
        if not steps.steps:
            return None, effect(last, rows)
        fitted, Z = fit_steps(steps, rows, owner)
        return fitted, effect(last, dataclasses.replace(rows, X=as_matrix(Z)))

    def _inputs(self, X: Any, tasks: Tasks) -> Any:  # noqa: ANN401 - dense or sparse
        if self.steps_ is not None:
            X = as_matrix(self.steps_.transform(X))
        return self._effect.apply(X, self._learned(tasks))

    def _learned(self, tasks: Tasks) -> Tasks:
        """Return the tasks, -1 where nothing was learned about one."""
        return np.where(self._known[tasks] & (tasks != UNSEEN), tasks, UNSEEN)

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        return self._predict_rows(X, np.full(X.shape[0], task))

    def _predict_rows(self, X: Any, tasks: Tasks) -> Labels:  # noqa: ANN401 - dense or sparse
        values = self._asked(self.estimator_.predict, X, tasks).reshape(X.shape[0])
        return self._effect.restore(values, self._learned(tasks))

    def _asked(self, method: Callable[[Any], Any], X: Any, tasks: Tasks) -> Labels:  # noqa: ANN401
        """Return what the estimator says of rows, so many at a time that copies stay small."""
        width = self._effect.width(self._learned(tasks))
        step = max(_AT_ONCE // max(X.shape[1] + width, 1), 1)
        parts = [slice(first, first + step) for first in range(0, X.shape[0], step)]
        found = [np.asarray(method(self._inputs(X[part], tasks[part]))) for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _classes_of(self, task: int) -> Labels:
        return np.asarray(self.estimator_.classes_)

    def _class_values(self, query: Query, function: ClassFunction, absent: float) -> Floats:
        """Ask the one estimator once."""
        classes = np.asarray(self.estimator_.classes_)
        return outputs.joint_class_values(query, self.classes_, classes, function, absent)

    def _probabilities(self, X: Any, task: int | Tasks) -> Floats:  # noqa: ANN401
        tasks = np.broadcast_to(task, X.shape[0])
        return self._asked(self.estimator_.predict_proba, X, tasks)

    def _decisions(self, X: Any, task: int | Tasks) -> Floats:  # noqa: ANN401
        tasks = np.broadcast_to(task, X.shape[0])
        values = self._asked(self.estimator_.decision_function, X, tasks)
        n_classes = len(self.estimator_.classes_)
        return class_columns(values, n_classes, self.estimator, type(self).__name__)
