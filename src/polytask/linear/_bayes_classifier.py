"""Classification of many tasks with a prior that the tasks teach."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from polytask._estimator import Outcomes, Query, classification
from polytask._estimator.base import label_array
from polytask._estimator.classes import ClassifierMixin, DecisionMixin, decisions
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.linear._bayes_laplace import LaplaceEstimator
from polytask.linear._bayes_laplace_fit import (
    LaplaceFit,
    against_the_rest,
    fit_laplace,
    given_priors,
)
from polytask.linear._bayes_shared import BayesSettings
from polytask.linear.adapted_coefficients import with_lines_of
from polytask.linear.bayes_laplace_tasks import check_classes, updated_state
from polytask.linear.fitting import blas_threads


@saveable("linear.bayes_classifier")
class BayesianMultiTaskClassifier(LaplaceEstimator, DecisionMixin, ClassifierMixin):
    """Logistic regression of many tasks with a normal prior that is learned from them.

    The log odds of task t are ``z . w_t`` with z = (1, scaled features) and
    ``w_t = mu + u_t``, ``u_t ~ N(0, Omega)`` in the columns that vary. Omega and the variance of
    a normal prior on mu maximise the marginal likelihood in the Laplace approximation, so there
    is nothing to tune: similar tasks give a small Omega and are pooled, unlike ones a large
    Omega and are left alone.

    Two classes at most over all tasks (per target in a target matrix): one prior, the second
    class in sorted order is the positive one. Otherwise one prior for each class, learned from
    that class against the others within each task that has it and another one; the
    probabilities of the classes that a task has are divided by their sum.

    Parameters
    ----------
    structure : {"auto", "none", "scalar", "diagonal", "low_rank", "full"} or Structure, \
default="auto"
        The covariances that Omega may have: only the intercept varies; one variance for the
        intercept and one for all features; a variance of each; correlated in a few directions;
        any. "auto" takes the largest evidence less half the log of the number of labels for each
        parameter of Omega.
    varying : "all" or sequence of str or int, default="all"
        The features whose coefficients vary between tasks, by name after encoding or position.
        The intercept always varies.
    mean_prior : {"auto", "flat", "gaussian"}, default="auto"
        Prior of the coefficients in mu: a standard deviation of 100 ("flat"), or one that is
        learned ("gaussian"); "auto" learns it from five features on. The intercept is flat. All
        of them, and weak half-normal priors (scale 5) on the learned standard deviations, are
        proper, so that separable classes have a finite answer.
    prior : BayesianMultiTaskClassifier, Prior, sequence of Prior or None, default=None
        A prior that is used instead of learning one: that of a fitted model, in its own units,
        or a Prior for the scaled features at hand (for several classes one for each).
        `structure`, `varying` and `mean_prior` are then not used.
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
        Evaluations of the evidence, per structure and class, after which it stops with a
        warning.
    n_jobs : int or None, default=None
        Threads of BLAS; None means 1, for most matrices are small, and -1 all cores.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    coef_ : ndarray of shape (n_columns, n_features)
        Posterior modes of the coefficients, one row per task, or per task and class.
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
    prior_ : Prior or list of Prior
        What was learned, for the scaled features, or with more features than rows for the
        coordinates of ``prior_.space``; a list in the order of the union of the classes if there
        are several.
    structure_ : Structure or None
        The structure of Omega; None for a given prior.
    evidence_ : tuple of Candidate
        The structures that were tried, with log-likelihood, price and score.
    log_marginal_likelihood_ : float
        Log evidence, summed over the classes if there are several.
    solution_ : Solution
        Minus the log evidence, the largest derivative per label as residual, status,
        evaluations and seconds.

    Notes
    -----
    With more features than rows (and 256 features or more), where all features vary alike, all
    work is done in the space of the rows, which is exact: no array has features in both
    directions, and the search costs Cholesky factors of the number of labels.

    References
    ----------
    Rasmussen, C. E. and Williams, C. K. I. (2006). Gaussian Processes for Machine Learning.
    MIT Press (sections 3.4 and 5.5). MacKay, D. J. C. (1992). The evidence framework applied
    to classification networks. Neural Computation 4, 720-736.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import BayesianMultiTaskClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, ward = rng.standard_normal((90, 4)), np.repeat(["north", "south", "west"], 30)
    >>> y = np.where(X[:, 0] + rng.logistic(size=90) > 0, "ill", "well")
    >>> model = BayesianMultiTaskClassifier().fit(X, y, task=ward)
    >>> model.predict_proba(X[:2], task=["west", "east"]).shape
    (2, 2)
    """

    def __init__(
        self,
        structure: Any = "auto",  # noqa: ANN401 - str or Structure, shown by get_params as given
        *,
        varying: Any = "all",  # noqa: ANN401
        mean_prior: str = "auto",
        prior: Any = None,  # noqa: ANN401
        standardize: bool = True,
        task_column: str | int | None = None,
        unseen_tasks: str = "shared",
        tol: float = 1e-6,
        max_iter: int = 500,
        n_jobs: int | None = None,
        date_features: bool = False,
    ) -> None:
        self.structure = structure
        self.varying = varying
        self.mean_prior = mean_prior
        self.prior = prior
        self.standardize = standardize
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def _outcomes(self, data: TaskData) -> Outcomes:
        return classification(data, "auto", type(self).__name__)

    def _fitted(self, data: TaskData, outcomes: Outcomes) -> tuple[LaplaceFit, None]:
        owner, settings = type(self).__name__, BayesSettings.of(self)
        given = given_priors(self.prior, owner)
        return fit_laplace(data, outcomes, settings, against_the_rest, given, owner), None

    def partial_fit(
        self,
        X: Any,  # noqa: ANN401
        y: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
        classes: Any = None,  # noqa: ANN401
    ) -> Self:
        """Learn from rows of known or new tasks, the prior held; a first call is ``fit``.

        Classes have no exact sufficient statistics. Rows of earlier calls count by the quadratic
        approximation of their likelihood at the posterior mode; the rows of this call count
        exactly, so a new task gets the Laplace posterior of its rows.

        Parameters
        ----------
        X, y, task, sample_weight
            As in :meth:`fit`; a new task of a target matrix is not possible.
        classes : array of shape (n_classes,) or None, default=None
            As scikit-learn passes it: the classes that may occur, checked against those of the
            model.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        DataError
            If a class is new, or one that the known task did not have.
        """
        if not hasattr(self, "_tasks"):
            self.fit(X, y, task, sample_weight)
            check_classes(classes, self._tasks, type(self).__name__)
            return self
        with blas_threads(self.n_jobs, type(self).__name__, usual=1):
            schema, tasks = updated_state(
                self._schema, self._tasks, (X, y, task, sample_weight), classes
            )
        linear, given = with_lines_of(tasks.linear, self._tasks.linear, self._tasks.given)
        self._schema = schema
        self.tasks_ = label_array(schema.index.labels)
        self._set_tasks(dataclasses.replace(tasks, linear=linear, given=given))
        return self

    def _class_decisions(self, query: Query) -> Any:  # noqa: ANN401
        return decisions(self._tasks, query)

    def __sklearn_clone__(self) -> Self:
        """Return a copy that is not fitted; a model whose prior it uses stays as it is."""
        copy: Self = super().__sklearn_clone__()
        copy.prior = self.prior
        return copy
