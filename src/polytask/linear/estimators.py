"""The linear estimators: numbers, classes, and tasks that have a loss each."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.utils.metaestimators import available_if

from polytask._checks import below_one, one_of
from polytask._estimator.documentation import documented
from polytask._estimator.outcomes import loss_object
from polytask._estimator.query import check_columns
from polytask._estimator.training import TaskColumn, is_wide, refuse_beside_statistics
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.exceptions import DataError, IncompatibleError
from polytask.linear.base import LinearClasses, LinearEstimator, LinearMixed, LinearNumbers
from polytask.linear.fitting import (
    blas_threads,
    check_penalty_object,
    check_solver_settings,
    fit_problem,
)
from polytask.linear.problem import build_problem, parts_term
from polytask.losses import PiecewiseLinear
from polytask.messages import LazyMessage
from polytask.penalties import Penalty, decompose
from polytask.solvers import Solution, Solver
from polytask.statistics import TaskStatistics
from polytask.statistics.one_part import collect_part, of_all_parts


@dataclass(eq=False, repr=False)
class PenalisedEstimator(LinearEstimator, ABC):
    """Base of the linear estimators with a given penalty; its sections are part of their docs.

    Parameters
    ----------
    penalty : Penalty or None, default=None
        What the tasks share; None means ``L21(fraction=0.1)``, the same features for all
        tasks at a tenth of the strength at which every coefficient vanishes. Penalties that
        compare tasks act on the same class across tasks.
    solver : "auto" or Solver, default="auto"
        "auto" chooses by loss and penalty.
    task_weight : {"size", "equal"}, mapping or array of shape (n_tasks,), default="size"
        The weights s_t. "size": n_t over the mean n, so that every row counts the same;
        "equal": 1.
    intercept : {"auto", "task", "toward_mean", "shared", None}, default="auto"
        "task": one free intercept per task; "toward_mean": each pulled to their mean;
        "shared": one for all; None: none. "auto": "task" for a target matrix, whose columns
        are different quantities; for rows with a task label as "toward_mean", but it is the
        intercepts at the mean of the features that are pulled, so that moving a feature by a
        constant changes nothing.
    intercept_strength : float, default=1.0
        Strength of the pull of "toward_mean", divided by the mean number of rows per task.
    standardize : bool, default=False
        Subtract one mean and divide by one standard deviation per feature, over all rows;
        the penalty then acts on the scaled coefficients. ``coef_`` is in original units.
    transfer_from : estimator or None, default=None
        A fitted linear estimator of polytask. The penalty then acts on what differs from its
        coefficients: from its own for tasks that it knows, from their mean for others.
        Features are matched by name between tables, by position between arrays; classes by
        label. Intercepts that are pulled are pulled to its intercepts instead of their mean,
        all others are as without it.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``: refuse, or predict with the mean
        coefficients of all tasks. May be changed after fit.
    tol : float, default=1e-6
        The objective is within ``tol`` times the objective at W = 0 of its minimum; for
        penalties without a duality gap, the relative fixed-point residual is below it.
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
        Coefficients in original units, one row per task, or per task and class.
    intercept_ : ndarray of shape (n_columns,)
        Intercepts in original units.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    columns_ : tuple of (task, class)
        The owner of each row of ``coef_``; the class is None for numbers and for two classes.
    solution_ : Solution
        Objective, duality gap or residual, status, iterations and seconds. Its ``W`` is of
        the scaled features and targets.
    n_features_in_ : int
        Columns of X as given.
    coef_feature_names_ : ndarray of shape (n_features,)
        Names of the columns of ``coef_``, such as ``colour=red``.
    coef_parts_ : tuple of ndarray of shape (n_columns, n_features)
        For a penalty of parts: what ``coef_`` is the sum of, in its units, in the order of the
        members.
    outlier_tasks_ : ndarray of shape (n_outliers,)
        For parts with an ``OutlierTasks``: the tasks whose coefficients in that part are not
        all zero.
    """

    penalty: Penalty | None = None
    _: KW_ONLY
    loss: Any = "auto"  # name, Loss or mapping, shown by get_params as given
    solver: str | Solver = "auto"
    task_weight: Any = "size"
    intercept: str | None = "auto"
    intercept_strength: float = 1.0
    standardize: bool = False
    transfer_from: Any = None  # a fitted estimator
    task_column: str | int | None = None
    unseen_tasks: str = "error"
    tol: float = 1e-6
    max_iter: int = 10000
    warm_start: bool = False
    n_jobs: int | None = None
    date_features: bool = False

    def _refuse_parts(self) -> None:
        owner = type(self).__name__
        if isinstance(self, LinearMixed):
            super()._refuse_parts()
        loss = None if self.loss == "auto" else loss_object(self.loss, owner)
        if isinstance(loss, PiecewiseLinear):
            fields = {"owner": owner, "loss": repr(loss.name)}
            raise IncompatibleError(LazyMessage("linear.refusal.in_parts", fields))
        if self._needs_gradients_only() and isinstance(self.penalty, Penalty):
            # Refuse what has no prox before anything is read.
            decompose(self.penalty)

    def _needs_gradients_only(self) -> bool:
        return isinstance(self.solver, Solver) and self.solver.only_gradients

    def _collects(self) -> bool:
        # A mean square under a root has no gradient where it is 0.
        root = self._fits_moments() and loss_object(self.loss, type(self).__name__).takes_root
        return root or (self._fits_moments() and not self._needs_gradients_only())

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        one_of(self.warm_start, "warm_start", type(self).__name__, (True, False))
        self.__dict__.pop("statistics_", None)
        self._solve(data, getattr(self, "solution_", None) if self.warm_start else None)

    def _solve(self, data: TaskData, start: Solution | None) -> None:
        """Fit encoded data from a solution of data like these, or from nothing."""
        owner = type(self).__name__
        check_solver_settings(self.solver, self.tol, self.max_iter, owner)
        penalty = check_penalty_object(self.penalty, owner)
        settings, outcomes = self._settings(), self._outcomes(data)
        with blas_threads(self.n_jobs, owner):
            term = None
            if data.parts is not None:
                term = parts_term(data, outcomes, settings, owner, self._needs_gradients_only())
            problem = build_problem(data, outcomes, settings, owner, term)
            solution = fit_problem(self, problem, penalty, start, data.parts)
        self._keep(data, outcomes, problem, solution)


@saveable("linear.regressor")
@documented(PenalisedEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskRegressor(PenalisedEstimator, LinearNumbers):
    """Linear regression of many tasks with a penalty that ties them together.

    Minimises over coefficients W and intercepts b ::

        sum_t s_t * (mean over the rows of t of 1/2 (y - x . w_t - b_t)^2)
        + penalty(W)

    Parameters
    ----------
    loss : {"squared", "huber", "poisson", "gamma", "quantile", "square_root"} or Loss, \
            default="squared"
        The loss of every row; "huber" where some targets may be wrong; "poisson" for counts
        and rates >= 0 and "gamma" for amounts > 0, whose mean is ``exp(x . w_t + b_t)``:
        ``predict`` then gives means, ``score`` the share of deviance explained, and targets
        are not scaled. "quantile", the median, or ``Quantile(0.9)``, as text "quantile(0.9)":
        what nine in ten stay below, scored by the share of that loss explained. "square_root":
        the root of a task's mean square, for tasks with unlike noise and for strengths that need
        no noise level.
    scale_targets : {"task", "common", "auto", None}, default=None
        Scale the targets of each task, or of all tasks in common; "auto": "task" for a
        target matrix, "common" for rows with a task label.

    Attributes
    ----------
    noise_ : ndarray of shape (n_tasks,)
        For loss="square_root": the root mean square that is left of every task, in the units of
        its targets.
    statistics_ : TaskStatistics
        After :meth:`partial_fit`: means and products of all rows, from which it goes on. They
        are saved with the model.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((60, 5)), np.repeat(["a", "b", "c"], 20)
    >>> y = X[:, 0] + 0.1 * rng.standard_normal(60)
    >>> model = MultiTaskRegressor().fit(X, y, task=school)
    >>> model.coef_.shape
    (3, 5)
    """

    loss: Any = "squared"
    scale_targets: str | None = None

    def _goes_on(self) -> bool:
        """Raise an error unless there are statistics to go on from, or none are needed yet."""
        owner = f"{type(self).__name__}.partial_fit"
        if not self._fits_moments():
            fields = {"owner": owner, "loss": repr(self.loss)}
            raise IncompatibleError(LazyMessage("linear.refusal.further_loss", fields))
        if hasattr(self, "_schema") and not hasattr(self, "statistics_"):
            raise IncompatibleError(LazyMessage("linear.refusal.further_rows", {"owner": owner}))
        return True

    @available_if(lambda self: self._goes_on())  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,  # noqa: ANN401
        y: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
        *,
        forget: float = 0.0,
    ) -> Self:
        """Learn from further rows, or statistics of them, beside those of earlier calls.

        The answer is that of ``fit`` on all of these rows. No row is kept: their means and
        products are added up in ``statistics_``, whose size does not depend on their number, and
        the solver starts from the last coefficients. Tasks and levels of categories may be new.

        Parameters
        ----------
        X, y, task, sample_weight
            As in :meth:`fit`. Where columns of a table would become features in another way
            than before, as where several calls have missing cells, the rows are refused: give
            statistics of them that were all collected with one encoder.
        forget : float, default=0.0
            For data that drift: before these rows are added, the weights of all earlier ones are
            multiplied by ``1 - forget``, a number in (0, 1]. With 0.1 a row counts as 0.9 rows
            after the next call and as 0.35 after ten. Weights decide scaling and the strength of
            a ``fraction`` too; folds and ``n_rows`` of ``statistics_`` stay as they were.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        DataError
            If the rows cannot be used.
        IncompatibleError
            If their columns are others than those of earlier calls, or become other features, or
            are dates.
        AttributeError
            If the loss needs all rows at once, or the model was fitted by ``fit`` or comes from
            ``adapt``, which keep no statistics; its cause says which.
        ParameterError
            If `forget` is not in [0, 1).

        Examples
        --------
        >>> import numpy as np
        >>> from polytask import MultiTaskRegressor
        >>> from polytask.penalties import toward_mean
        >>> rng = np.random.default_rng(0)
        >>> model = MultiTaskRegressor(toward_mean(1.0))
        >>> for week in range(20):
        ...     X, shop = rng.normal(size=(30, 2)), np.repeat(["a", "b", "c"], 10)
        ...     y = X[:, 0] * (1 if week < 10 else 3) + 0.1 * rng.normal(size=30)
        ...     model = model.partial_fit(X, y, task=shop, forget=0.5)
        >>> model.coef_[:, 0].round(1).tolist()
        [3.0, 3.0, 3.0]
        """
        owner = f"{type(self).__name__}.partial_fit"
        kept = 1.0 - below_one(forget, "forget", owner)
        self._check_reading()
        earlier: TaskStatistics | None = getattr(self, "statistics_", None)
        if not isinstance(X, TaskStatistics):
            if self.date_features:
                raise IncompatibleError(
                    LazyMessage("linear.refusal.further_dates", {"owner": owner})
                )
            if earlier is not None:
                check_columns(self._schema, X, task)
                _refuse_nameless(earlier, X, y, task, self.task_column, owner)
        total = _further_statistics(X, y, task, sample_weight, self.task_column, owner)
        start = None
        if earlier is not None:
            total = kept * earlier + total
            start = placed(self.solution_, earlier, total)
        read = self._read_collected(of_all_parts(total, owner))
        self._keep_columns(read)
        self._solve(read.data, start)
        self._keep_training(read, total)
        self.statistics_ = total
        return self


@saveable("linear.classifier")
@documented(PenalisedEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskClassifier(PenalisedEstimator, LinearClasses):
    """Logistic or multinomial regression of many tasks with a penalty that ties them.

    Two classes at most over all tasks (per target in a target matrix): logistic loss, one
    column of coefficients per task, the second class in sorted order is the positive one.
    Otherwise the multinomial loss, one column per class that a task has.

    Parameters
    ----------
    loss : {"auto", "logistic", "multinomial", "squared_hinge"} or Loss, default="auto"
        The loss of every row.
    intercept : {"auto", "task", "toward_mean", "shared", None}, default="auto"
        As in :class:`MultiTaskRegressor`, within each class; "auto" pulls in every form,
        which keeps a task of one class finite.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights; "balanced" within each task.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
    task_classes_ : dict of task to ndarray
        The classes of each task.

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

    class_weight: Any = None


@saveable("linear.model")
@documented(PenalisedEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskModel(PenalisedEstimator, LinearMixed):
    """Linear models of tasks with a loss each, tied by one penalty.

    A click (two classes), a purchase amount (a number) and a rating (several classes) of one
    visit are learned together.

    Parameters
    ----------
    loss : "auto", str, Loss, or mapping of task to these, default="auto"
        The loss of each task. "auto": text, booleans and whole numbers with two distinct values
        are classes, all other numbers are numbers.
    intercept : {"auto", "task", "toward_mean", "shared", None}, default="auto"
        "auto": pulled, at the mean of the features, among the classification tasks of one
        loss and class, and among rows with a task label where all tasks have one loss; "task"
        for the others.
    scale_targets : {"task", "common", "auto", None}, default=None
        As in :class:`MultiTaskRegressor`, for the tasks of numbers.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights of the classification tasks.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``; "shared" needs one loss for all tasks.

    Attributes
    ----------
    classes_, task_classes_
        As in :class:`MultiTaskClassifier`, where there are classification tasks.
    noise_
        As in :class:`MultiTaskRegressor`.

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

    scale_targets: str | None = None
    class_weight: Any = None


def _further_statistics(
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    task: Any,  # noqa: ANN401
    sample_weight: Any,  # noqa: ANN401
    task_column: TaskColumn,
    owner: str,
) -> TaskStatistics:
    """Return the statistics of rows, or those that were given."""
    if isinstance(X, TaskStatistics):
        refuse_beside_statistics(owner, y, task, sample_weight)
        return X
    found = collect_part(X, y, task, sample_weight, None, task_column, None)
    if found is None:
        raise DataError(LazyMessage("statistics.refusal.no_rows", {"owner": owner}))
    return found


def _refuse_nameless(
    earlier: TaskStatistics,
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    task: Any,  # noqa: ANN401
    task_column: TaskColumn,
    owner: str,
) -> None:
    """Refuse rows of which it is not said which of several tasks they belong to."""
    named = task is not None or task_column is not None or isinstance(X, TaskData | Mapping)
    if named or is_wide(y) or len(earlier.tasks) < 2:
        return
    fields = {"owner": owner, "n": len(earlier.tasks)}
    raise DataError(LazyMessage("estimator.refusal.which_task", fields))


def placed(solution: Solution, before: TaskStatistics, now: TaskStatistics) -> Solution:
    """Return a solution for statistics that may know more tasks and features than it does."""
    if (before.tasks, before.feature_names) == (now.tasks, now.feature_names):
        return solution
    columns = [now.tasks.index(task) for task in before.tasks]
    names = now.feature_names
    rows = [*range(now.n_features)]
    if names is not None and before.feature_names is not None:
        rows = [names.index(name) for name in before.feature_names]
    W, b = np.zeros((now.n_features, len(now.tasks))), np.zeros(len(now.tasks))
    W[np.ix_(rows, columns)], b[columns] = solution.W, solution.intercept
    return replace(solution, W=W, intercept=b, memory=(), parts=None, factors=None)
