"""Linear models of tasks that have losses of their own."""

from __future__ import annotations

from typing import Any

from sklearn.utils.metaestimators import available_if

from polytask._estimator import Outcomes, mixed
from polytask._estimator.classes import has_classes, probabilities
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.linear.base import LinearEstimator
from polytask.linear.fitting import check_solver_settings, fit_penalised
from polytask.linear.problem import Settings
from polytask.linear.transfer import source_of
from polytask.penalties import Penalty
from polytask.solvers import Solver


@saveable("linear.model")
class MultiTaskModel(LinearEstimator):
    """Linear models of tasks with a loss each, tied by one penalty.

    A click (two classes), a purchase amount (a number) and a rating (several classes) of one
    visit are learned together.

    Parameters
    ----------
    penalty : Penalty or None, default=None
        What the tasks share; None means ``L21(fraction=0.1)``.
    loss : "auto", str, Loss, or mapping of task to these, default="auto"
        The loss of each task. "auto": text, booleans and numbers with two distinct values
        are classes, all other numbers are numbers.
    solver : "auto" or Solver, default="auto"
        "auto" chooses by loss and penalty.
    task_weight : {"size", "equal"}, mapping or array of shape (n_tasks,), default="size"
        As in :class:`MultiTaskRegressor`.
    intercept : {"auto", "task", "toward_mean", "shared", None}, default="auto"
        "auto": pulled, at the mean of the features, among the classification tasks of one
        loss and class, and among rows with a task label where all tasks have one loss; "task"
        for the others.
    intercept_strength : float, default=1.0
        Strength of the pull of "toward_mean", divided by the mean number of rows per task.
    standardize : bool, default=False
        As in :class:`MultiTaskRegressor`.
    scale_targets : {"task", "common", "auto", None}, default=None
        As in :class:`MultiTaskRegressor`, for the tasks of numbers.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights of the classification tasks.
    transfer_from : estimator or None, default=None
        As in :class:`MultiTaskRegressor`.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``; "shared" needs one loss for all tasks.
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
    coef_, intercept_, tasks_, columns_, solution_, coef_parts_, outlier_tasks_
        As in :class:`MultiTaskRegressor`.
    classes_, task_classes_
        As in :class:`MultiTaskClassifier`, where there are classification tasks.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskModel
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 3))
    >>> Y = np.column_stack([X[:, 0] > 0, X[:, 0] + X[:, 1]])
    >>> model = MultiTaskModel(loss={0: "logistic", 1: "squared"}).fit(X, Y)
    >>> model.predict(X).shape
    (80, 2)
    """

    def __init__(
        self,
        penalty: Penalty | None = None,
        *,
        loss: Any = "auto",  # noqa: ANN401 - str, Loss or mapping
        solver: str | Solver = "auto",
        task_weight: Any = "size",  # noqa: ANN401
        intercept: str | None = "auto",
        intercept_strength: float = 1.0,
        standardize: bool = False,
        scale_targets: str | None = None,
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
        self.scale_targets = scale_targets
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
            scale_targets=self.scale_targets,
            class_weight=self.class_weight,
            source=source_of(self.transfer_from, type(self).__name__),
        )
        settings.check(type(self).__name__)
        return settings

    def _outcomes(self, data: TaskData) -> Outcomes:
        return mixed(data, self.loss, type(self).__name__)

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        check_solver_settings(self.solver, self.tol, self.max_iter, type(self).__name__)
        self._keep(data, *fit_penalised(self, data))

    @available_if(has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return class probabilities of the classification tasks.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n, n_classes), list, or mapping
            Rows of tasks of numbers are NaN; for a target matrix a list with None for
            them.
        """
        return probabilities(self._linear_model(), self._read(X, task))
