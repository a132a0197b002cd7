"""Counts, amounts, numbers and classes with a prior that the tasks teach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import number, sentence
from polytask._estimator import Outcomes, mixed, outputs
from polytask._estimator.classes import has_classes
from polytask._estimator.weights import label_weights
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.linear._bayes_intervals import quantiles
from polytask.linear._bayes_laplace import LaplaceEstimator
from polytask.linear._bayes_laplace_fit import LaplaceFit, LinkedUnits, fit_laplace
from polytask.linear._bayes_shared import BayesSettings
from polytask.linear.bayes_laplace_tasks import LaplaceTasks
from polytask.losses import Gamma, Logistic, Loss, Multinomial, Poisson, Squared

Array = NDArray[np.float64]

_LOSSES = (Squared, Logistic, Multinomial, Poisson, Gamma)


@saveable("linear.bayes_model")
class BayesianMultiTaskModel(LaplaceEstimator):
    """Linear models of tasks with a loss each, with a normal prior that is learned from them.

    For counts, for amounts, and for tasks of several kinds: numbers, classes and counts side by
    side. The linear predictor of task t is ``z . w_t`` with z = (1, scaled features) and
    ``w_t = mu + u_t``, ``u_t ~ N(0, Omega)`` in the columns that vary: the mean of numbers,
    scaled to a variance of 1; the log odds of two classes, or of each of several against the
    others; the logarithm of the mean of counts and amounts, less its level. Omega, the variance
    of a normal prior on mu and the dispersions of the noise maximise the marginal likelihood in
    the Laplace approximation, so there is nothing to tune.

    Tasks of one loss share mu and Omega, as in :class:`BayesianMultiTaskRegressor` and
    :class:`BayesianMultiTaskClassifier`. So do tasks of several losses: mu is then of use if
    features act on them with the same sign, and Omega says in any case which features matter.

    Parameters
    ----------
    structure : {"auto", "none", "scalar", "diagonal", "low_rank", "full"} or Structure, \
default="auto"
        The covariances that Omega may have, as in :class:`BayesianMultiTaskClassifier`.
    loss : "auto", str, Loss, or mapping of task to these, default="auto"
        The loss of each task: "squared", "poisson" (counts and rates), "gamma" (amounts above
        zero), "logistic" or "multinomial". "auto": text, booleans and numbers with two distinct
        values are classes, all other numbers are numbers.
    varying : "all" or sequence of str or int, default="all"
        The features whose coefficients vary between tasks, by name after encoding or position.
        The intercept always varies.
    mean_prior : {"auto", "flat", "gaussian"}, default="auto"
        Prior of the coefficients in mu, as in :class:`BayesianMultiTaskClassifier`.
    standardize : bool, default=True
        Subtract the mean and divide by the standard deviation of each feature, the same for all
        tasks, before the prior is applied.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="shared"
        What to do with unknown tasks in ``predict``: refuse them, or predict with mu and the
        spread of the prior, which needs one loss for all tasks.
    tol : float, default=1e-6
        Largest derivative of the log evidence with respect to a parameter of the prior, divided
        by the number of labels, at which the search stops.
    max_iter : int, default=500
        Evaluations of the evidence, per structure, after which it stops with a warning.
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
    classes_, task_classes_
        As in :class:`MultiTaskClassifier`, where there are classification tasks.
    dispersion_ : ndarray of shape (n_tasks,)
        The noise that is left: the variance of numbers; of amounts the squared ratio of their
        deviation to their mean; of counts the ratio of their variance to their mean, 1 (Poisson)
        or more. NaN for classes. One for all tasks where rows have a task label and one loss,
        else one for each task.
    prior_ : Prior
        mu and Omega, for the scaled features, or with more features than rows for the
        coordinates of ``prior_.space``.
    structure_ : Structure
        The structure of Omega.
    evidence_ : tuple of Candidate
        The structures that were tried, with log-likelihood, price and score.
    log_marginal_likelihood_ : float
        Log evidence, of scaled numbers, and of counts and amounts up to a number that depends
        on these alone.
    solution_ : Solution
        Minus the log evidence, the largest derivative per label as residual, status,
        evaluations and seconds.

    Notes
    -----
    ``predict`` gives the expected count or amount, averaged over the posterior, so that it is a
    little more than the exponential of ``coef_ @ x + intercept_``. Counts over unequal
    exposures are given as rates, with the exposures as ``sample_weight``.

    References
    ----------
    Rasmussen, C. E. and Williams, C. K. I. (2006). Gaussian Processes for Machine Learning,
    sections 3.4 and 5.5.1 (the Laplace approximation and its gradient). Nelder, J. A. and
    Pregibon, D. (1987). An extended quasi-likelihood function. Biometrika 74, 221-232 (the
    dispersion of counts).

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import BayesianMultiTaskModel
    >>> rng = np.random.default_rng(0)
    >>> X, shop = rng.standard_normal((90, 2)), np.repeat(["a", "b", "c"], 30)
    >>> sold = rng.poisson(np.exp(1 + 0.5 * X[:, 0]))
    >>> model = BayesianMultiTaskModel(loss="poisson").fit(X, sold, task=shop)
    >>> lower, upper = model.predict_interval(X[:2], task=["a", "new"])
    >>> bool(np.all(lower < upper))
    True
    """

    def __init__(
        self,
        structure: Any = "auto",  # noqa: ANN401 - str or Structure, shown by get_params as given
        *,
        loss: Any = "auto",  # noqa: ANN401 - str, Loss or mapping
        varying: Any = "all",  # noqa: ANN401
        mean_prior: str = "auto",
        standardize: bool = True,
        task_column: str | int | None = None,
        unseen_tasks: str = "shared",
        tol: float = 1e-6,
        max_iter: int = 500,
        n_jobs: int | None = None,
        date_features: bool = False,
    ) -> None:
        self.structure = structure
        self.loss = loss
        self.varying = varying
        self.mean_prior = mean_prior
        self.standardize = standardize
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def _outcomes(self, data: TaskData) -> Outcomes:
        owner = type(self).__name__
        found = mixed(data, self.loss, owner)
        for label, loss in zip(data.tasks, found.losses, strict=True):
            if not isinstance(loss, _LOSSES):
                names = ", ".join(repr(known().name) for known in _LOSSES)
                raise IncompatibleError(
                    f"loss of {owner} must be one of {names}; got {loss.name!r} for task "
                    f"{label!r}: use MultiTaskModel, which has other losses."
                )
        return found

    def _fitted(self, data: TaskData, outcomes: Outcomes) -> tuple[LaplaceFit, LinkedUnits]:
        owner, settings = type(self).__name__, BayesSettings.of(self)
        units = LinkedUnits.of(data, outcomes, label_weights(data, outcomes, None, owner))
        return fit_laplace(data, outcomes, settings, units.one_problem, None, owner), units

    def _set_tasks(self, tasks: LaplaceTasks) -> None:
        super()._set_tasks(tasks)
        assert tasks.units is not None
        numbers = [isinstance(loss, Squared) for loss in tasks.losses]
        self.dispersion_ = tasks.units.dispersion * np.where(numbers, tasks.units.scale**2, 1.0)

    def _has_probabilities(self) -> bool:
        return has_classes(self)

    def _by_loss(self) -> _ScoredTasks:
        return _ScoredTasks(self._tasks)

    def predict_interval(self, X: Any, task: Any = None, level: float = 0.9) -> tuple[Any, Any]:  # noqa: ANN401
        """Return an interval for the target of every row.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.
        level : float, default=0.9
            Probability that a new target lies inside, in (0, 1); of counts, which are whole
            numbers, at least this.

        Returns
        -------
        lower, upper
            As :meth:`predict` returns predictions; NaN for tasks of classes.

        Raises
        ------
        ParameterError
            If `level` is no probability.
        """
        owner, allowed = f"{type(self).__name__}.predict_interval", "a number above 0 and below 1"
        value = number(level, "level", owner, allowed)
        if not 0 < value < 1:
            raise ParameterError(sentence("level", owner, allowed, repr(level)))
        query, n_tasks = self._read(X, task), len(self._schema.index.labels)

        def bound(p: float) -> Any:  # noqa: ANN401
            found = outputs.one_by_one(lambda rows, t: quantiles(self._tasks, rows, t, p))
            return outputs.predictions(query, n_tasks, found)

        return bound(0.5 - value / 2.0), bound(0.5 + value / 2.0)


@dataclass(frozen=True, eq=False)
class _ScoredTasks:
    """Tasks whose classes have predictors of which the softmax gives the probabilities."""

    tasks: LaplaceTasks

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task."""
        return self.tasks.loss_of(task)

    def classes_of(self, task: int) -> NDArray[Any] | None:
        """Return the classes of a task, None for numbers."""
        return self.tasks.classes_of(task)

    def eta(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the linear predictors, shape (n_rows, columns of the task)."""
        eta = self.tasks.eta(X, task)
        several = isinstance(self.loss_of(task), Multinomial)
        return np.asarray(-np.logaddexp(0.0, -eta)) if several else eta
