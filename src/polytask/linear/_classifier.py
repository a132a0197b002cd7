"""Linear classification of many tasks."""

from __future__ import annotations

from typing import Any

from sklearn.utils import ClassifierTags, Tags

from polytask._estimator import Outcomes, classification
from polytask._estimator.classes import decisions, probabilities
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.linear.base import LinearEstimator
from polytask.linear.fitting import check_solver_settings, fit_penalised
from polytask.linear.problem import Settings
from polytask.linear.transfer import source_of
from polytask.penalties import Penalty
from polytask.solvers import Solver


@saveable("linear.classifier")
class MultiTaskClassifier(LinearEstimator):
    """Logistic or multinomial regression of many tasks with a penalty that ties them.

    Two classes at most over all tasks (per target in a target matrix): logistic loss, one
    column of coefficients per task, the second class in sorted order is the positive one.
    Otherwise the multinomial loss, one column per class that a task has.

    Parameters
    ----------
    penalty : Penalty or None, default=None
        What the tasks share; None means ``L21(fraction=0.1)``. Penalties that compare
        tasks act on the same class across tasks.
    loss : {"auto", "logistic", "multinomial", "squared_hinge"} or Loss, default="auto"
        The loss of every row.
    solver : "auto" or Solver, default="auto"
        "auto" chooses by loss and penalty.
    task_weight : {"size", "equal"}, mapping or array of shape (n_tasks,), default="size"
        As in :class:`MultiTaskRegressor`.
    intercept : {"auto", "task", "toward_mean", "shared", None}, default="auto"
        As in :class:`MultiTaskRegressor`, within each class; "auto" pulls in every form,
        which keeps a task of one class finite.
    intercept_strength : float, default=1.0
        Strength of the pull of "toward_mean", divided by the mean number of rows per task.
    standardize : bool, default=False
        As in :class:`MultiTaskRegressor`.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights; "balanced" within each task.
    transfer_from : estimator or None, default=None
        As in :class:`MultiTaskRegressor`.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``.
    tol : float, default=1e-6
        As in :class:`MultiTaskRegressor`.
    max_iter : int, default=10000
        Iterations after which the solver stops with a warning.
    warm_start : bool, default=False
        Start from the last solution.
    n_jobs : int or None, default=None
        Threads of BLAS while fitting; None: all there are for sums over rows, one for iterations.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    coef_ : ndarray of shape (n_columns, n_features)
        Coefficients, one row per task, or per task and class.
    intercept_ : ndarray of shape (n_columns,)
        Intercepts.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    columns_ : tuple of (task, class)
        The owner of each row of ``coef_``.
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
    task_classes_ : dict of task to ndarray
        The classes of each task.
    solution_ : Solution
        Objective, duality gap or residual, status, iterations and seconds.
    coef_parts_, outlier_tasks_
        As in :class:`MultiTaskRegressor`, for a penalty of parts.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, ward = rng.standard_normal((90, 4)), np.repeat(["north", "south", "west"], 30)
    >>> y = np.where(X[:, 0] + X[:, 1] > 0, "ill", "well")
    >>> MultiTaskClassifier().fit(X, y, task=ward).classes_.tolist()
    ['ill', 'well']
    """

    def __init__(
        self,
        penalty: Penalty | None = None,
        *,
        loss: Any = "auto",  # noqa: ANN401 - str or Loss, shown by get_params as given
        solver: str | Solver = "auto",
        task_weight: Any = "size",  # noqa: ANN401
        intercept: str | None = "auto",
        intercept_strength: float = 1.0,
        standardize: bool = False,
        class_weight: Any = None,  # noqa: ANN401
        transfer_from: Any = None,  # noqa: ANN401 - a fitted estimator
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        tol: float = 1e-6,
        max_iter: int = 10000,
        warm_start: bool = False,
        n_jobs: int | None = None,
        date_features: bool = False,
    ) -> None:
        self.penalty = penalty
        self.loss = loss
        self.solver = solver
        self.task_weight = task_weight
        self.intercept = intercept
        self.intercept_strength = intercept_strength
        self.standardize = standardize
        self.class_weight = class_weight
        self.transfer_from = transfer_from
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs

    def _settings(self) -> Settings:
        settings = Settings(
            task_weight=self.task_weight,
            intercept=self.intercept,
            intercept_strength=self.intercept_strength,
            standardize=self.standardize,
            class_weight=self.class_weight,
            source=source_of(self.transfer_from, type(self).__name__),
        )
        settings.check(type(self).__name__)
        return settings

    def _outcomes(self, data: TaskData) -> Outcomes:
        return classification(data, self.loss, type(self).__name__)

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        check_solver_settings(self.solver, self.tol, self.max_iter, type(self).__name__)
        self._keep(data, *fit_penalised(self, data))

    def predict_proba(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return class probabilities.

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
        return probabilities(self._linear_model(), self._read(X, task))

    def decision_function(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return linear predictors.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes), or mapping
            -inf for classes that a task lacks. For a target matrix of shape (n, columns): one
            column per target of two classes, and one per class of a target of several.
        """
        return decisions(self._linear_model(), self._read(X, task))

    def __sklearn_tags__(self) -> Tags:
        """Say that this is a classifier."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags(multi_class=True, multi_label=False)
        return tags
