"""What the estimators with a learned prior share: parameters, results, intervals."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polytask._checks import one_of
from polytask._estimator import Outcomes, Query, outputs
from polytask._estimator.base import label_array
from polytask._estimator.classes import ProbabilityMixin, keep_classes, probabilities
from polytask._estimator.groupings import READING_GROUPINGS, GroupedRows, refuse_grouped
from polytask._estimator.scored import Reading
from polytask._estimator.training import TaskColumns
from polytask._estimator.weights import label_weights, sum_by_task
from polytask.bayes.choose import Candidate
from polytask.bayes.prior import Structure
from polytask.data import TaskData
from polytask.exceptions import ConvergenceWarning
from polytask.linear._bayes_grouped_labels import (
    GroupedLabelTasks,
    Problems,
    fit_grouped_labels,
    of_all_classes,
)
from polytask.linear.base import LinearModel
from polytask.linear.bayes_laplace_fit import GivenPriors, fit_laplace
from polytask.linear.bayes_laplace_tasks import LaplaceTasks, TaskFrame, plain_task, tasks_of
from polytask.linear.bayes_settings import BayesSettings, Ended
from polytask.linear.fitting import blas_threads
from polytask.linear.prediction import LinearTasks
from polytask.messages import LazyMessage


@dataclass(eq=False, repr=False)
class LearnedPriorEstimator(LinearModel, ABC):
    """Base of the linear estimators with a learned prior; its sections are part of their docs.

    Parameters
    ----------
    structure : {"auto", "none", "scalar", "diagonal", "low_rank", "full"} or Structure, \
default="auto"
        The covariances that Omega may have: only the intercept varies; one variance for the
        intercept and one for all features; a variance of each; correlated in a few directions;
        any. "auto" takes the largest marginal likelihood less half the log of the number of
        labels for each parameter of Omega.
    varying : "all" or sequence of str or int, default="all"
        The features whose coefficients vary between tasks, by name after encoding or position;
        all tasks share the coefficients of the others exactly. The intercept always varies.
    mean_prior : {"auto", "flat", "gaussian"}, default="auto"
        Prior of the coefficients in mu: a standard deviation of 100 ("flat"), or one that is
        learned ("gaussian"); "auto" learns it from five features on. The intercept is flat. All
        of them, and weak half-normal priors (scale 5) on the learned standard deviations, are
        proper, so that separable classes have a finite answer.
    standardize : bool, default=True
        Subtract the mean and divide by the standard deviation of each feature, the same for all
        tasks, before the prior is applied.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="shared"
        What to do with unknown tasks in ``predict``: refuse them, or predict with mu and the
        spread of the prior.
    tol : float, default=1e-6
        Largest derivative of the log evidence with respect to a parameter of the prior, divided
        by the number of labels, at which the search stops.
    max_iter : int, default=500
        Evaluations of the evidence, per structure (and per class where each has a prior), after
        which the search stops with a warning.
    n_jobs : int or None, default=None
        Threads of BLAS; None means 1, for most matrices are small, and -1 all cores.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    coef_ : ndarray of shape (n_columns, n_features)
        Posterior modes of the coefficients, one row per task, or per task and class of several.
    intercept_ : ndarray of shape (n_columns,)
        Intercepts.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    columns_ : tuple of (task, class)
        The owner of each row of ``coef_``; the class is None but for tasks of several.
    structure_ : Structure or None
        The structure of Omega; None for a given prior.
    evidence_ : tuple of Candidate
        The structures that were tried, with log-likelihood, price and score.
    solution_ : Solution
        Minus the log evidence, the certificate as residual, status, evaluations and seconds.
    """

    structure: Any = "auto"  # str or Structure, shown by get_params as given
    _: KW_ONLY
    varying: Any = "all"
    mean_prior: str = "auto"
    standardize: bool = True
    task_column: TaskColumns = None
    unseen_tasks: str = "shared"
    tol: float = 1e-6
    max_iter: int = 500
    n_jobs: int | None = None
    date_features: bool = False

    _not_converged: ClassVar[str] = "warn.evidence"

    def _keep_search(
        self,
        structure: Structure | None,
        candidates: tuple[Candidate, ...],
        ended: Ended,
        linear: LinearTasks,
    ) -> None:
        """Set the attributes that say how the search ended, and warn if it did not converge."""
        self.structure_, self.evidence_ = structure, candidates
        self.log_marginal_likelihood_ = ended.log_likelihood
        self.solution_ = ended.solution(linear, self.max_iter)
        self.n_iter_ = max(ended.n_iter, 1)
        if not ended.converged:
            status = self.solution_.status.told
            fields = {"owner": type(self).__name__, "n": ended.n_iter, "tol": f"{self.tol:g}"}
            fields |= {"value": f"{ended.residual:.2e}", "status": status.node}
            message = LazyMessage(self._not_converged, fields)
            warnings.warn(ConvergenceWarning(message), stacklevel=5)


class LaplaceEstimator(LearnedPriorEstimator, ProbabilityMixin, ABC):
    """Base of those with a Laplace approximation: a leaf reads targets and poses problems."""

    _reading: ClassVar[Reading] = READING_GROUPINGS

    @abstractmethod
    def _outcomes(self, data: TaskData) -> Outcomes:
        """Return the targets as numbers."""

    @abstractmethod
    def _problems(self, data: TaskData, outcomes: Outcomes) -> Problems:
        """Return what makes the problems, and the units of the predictors, None for classes."""

    def _given(self) -> GivenPriors | None:
        """Return priors that are used instead of learning some."""
        return None

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner, settings = type(self).__name__, BayesSettings.of(self)
        outcomes = self._outcomes(data)
        if data.groupings is not None:
            self._fit_groupings(data, outcomes, settings)
            return
        self._grouped: GroupedLabelTasks | None = None
        self.effects_: dict[Hashable, NDArray[Any]] | None = None
        self.levels_: dict[Hashable, NDArray[Any]] | None = None
        self.variance_shares_: dict[Hashable, tuple[float, ...]] | None = None
        with blas_threads(self.n_jobs, owner, usual=1):
            problems_of, units = self._problems(data, outcomes)
            given = self._given()
            found = fit_laplace(data, outcomes, settings, problems_of, given, owner)
        weight = label_weights(data, outcomes, None, owner)
        precision = np.dtype(np.float32 if data.X.dtype == np.float32 else np.float64)
        frame = TaskFrame(data.tasks, data.present, precision)
        counts = sum_by_task(weight, data)
        linked = None if units is None else units.found(found)
        tasks = tasks_of(frame, outcomes, found.posteriors, found.scaling, counts, linked)
        self._set_tasks(tasks)
        self._keep_search(found.structure, found.candidates, found.ended, tasks.linear)

    def _fit_groupings(self, data: TaskData, outcomes: Outcomes, settings: BayesSettings) -> None:
        """Learn the prior of each of several groupings."""
        owner = type(self).__name__
        one_of(getattr(self, "prior", None), "prior", owner, (None,), "allowed.with_groupings")
        outcomes = of_all_classes(data, outcomes)
        with blas_threads(self.n_jobs, owner, usual=1):
            problems = self._problems(data, outcomes)
            found = fit_grouped_labels(data, outcomes, settings, problems, owner)
        tasks = found.tasks
        self._grouped = tasks
        # What is for tasks of one grouping is refused.
        if hasattr(self, "_tasks"):
            del self._tasks
        self._show(tasks.linear)
        self.prior_: Any = tasks.priors()
        self.effects_ = tasks.effects_by_name()
        self.levels_ = {n: label_array(index.labels) for n, index in self._schema.groupings}
        self.variance_shares_ = found.shares or None
        self._keep_search(found.structure, found.candidates, found.ended, tasks.linear)

    def _set_tasks(self, tasks: LaplaceTasks) -> None:
        """Set the fitted attributes, in original units and in the precision of X."""
        self._tasks = tasks
        self._show(tasks.linear)
        priors = [posterior.prior for posterior in tasks.posteriors]
        self.prior_ = priors[0] if len(priors) == 1 else priors

    def _show(self, linear: LinearTasks) -> None:
        """Show coefficients and classes of the tasks."""
        labels = self._schema.index.labels
        self.coef_, self.intercept_ = linear.coef, linear.intercept
        self.columns_ = tuple(
            (task, label)
            for task, part in zip(labels, linear.slices, strict=True)
            for label in linear.labels[part]
        )
        self.task_weight_sums_ = linear.counts
        keep_classes(self, linear)

    @property
    def _groups(self) -> GroupedLabelTasks | None:
        # A model of an earlier version knows of none.
        return getattr(self, "_grouped", None)

    def _predict_rows(self, X: Any, tasks: NDArray[np.intp]) -> NDArray[Any]:  # noqa: ANN401
        if self._groups is not None:
            return self._groups.labels(X)
        return super()._predict_rows(X, tasks)

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        return self._tasks.labels_of(X, task)

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        if self._groups is None:
            return probabilities(self._tasks, query)
        found = outputs.by_row(query, lambda X, _: self._row_probabilities(X))
        return outputs.split(query, found)

    def _row_probabilities(self, X: GroupedRows) -> NDArray[np.float64]:
        """Return the class probabilities of rows of several groupings, shape (n, n_classes)."""
        assert self._groups is not None
        return self._groups.probabilities(X)

    def _linear_model(self) -> LinearTasks:
        refuse_grouped(self, LazyMessage("what.one_grouping"))
        return self._tasks.linear

    def _plain(self, position: int, features: NDArray[np.intp] | None) -> Any:  # noqa: ANN401
        return plain_task(self._linear_model(), position, features)
