"""Linear regression of many tasks with a prior that the tasks teach."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.special
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import number, sentence
from polytask._estimator import outputs, regression
from polytask._estimator.base import label_array
from polytask._estimator.classes import RegressorMixin
from polytask._estimator.export import own_features, stand_alone, task_position
from polytask._registry import saveable
from polytask.bayes.evidence import Evidence
from polytask.data import TaskData
from polytask.exceptions import ConvergenceWarning, ParameterError
from polytask.linear._bayes_evidence import evidence_of
from polytask.linear._bayes_fit import BayesFit, fit_bayes, given_prior
from polytask.linear._bayes_shared import BayesSettings
from polytask.linear._export import coefficient_table, plain_model
from polytask.linear.adapted_coefficients import AdaptedCoefficients, deviations, with_lines_of
from polytask.linear.bayes_tasks import BayesTasks, updated, updated_linear
from polytask.linear.fitting import blas_threads
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

    from polytask.linear.prediction import LinearTasks

Labels = NDArray[Any]


@saveable("linear.bayes_regressor")
class BayesianMultiTaskRegressor(RegressorMixin):
    """Linear regression of many tasks with a normal prior that is learned from them.

    A row of task t has the target ``z . w_t + e`` with z = (1, scaled features),
    ``w_t = mu + u_t``, ``u_t ~ N(0, Omega)`` in the columns that vary and
    ``e ~ N(0, sigma^2 / v)``, v the weight of the row. Omega and sigma^2 maximise the marginal
    likelihood, mu is the generalised least squares estimate, so there is nothing to tune:
    similar tasks give a small Omega and are pooled, unlike ones a large Omega and are left
    alone. This is the linear mixed model; tasks are its groups. Counts, amounts and tasks of
    several kinds have :class:`BayesianMultiTaskModel`.

    Parameters
    ----------
    structure : {"auto", "none", "scalar", "diagonal", "low_rank", "full"} or Structure, \
default="auto"
        The covariances that Omega may have: only the intercept varies; one variance for the
        intercept and one for all features; a variance of each; correlated in a few directions;
        any. "auto" takes the largest marginal likelihood less half the log of the number of
        rows for each parameter.
    varying : "all" or sequence of str or int, default="all"
        The features whose coefficients vary between tasks, by name after encoding or position;
        all tasks share the coefficients of the others exactly. The intercept always varies.
    mean_prior : {"auto", "flat", "gaussian"}, default="auto"
        "flat": mu is free. "gaussian": its coefficients but the intercept have a normal prior
        around zero, the variance of which is learned as well. "auto": gaussian with fewer than
        30 rows for each feature.
    method : {"reml", "ml"}, default="reml"
        Restricted likelihood, which integrates mu out, or plain likelihood.
    noise : {"common", "task", "correlated"}, default="common"
        One noise variance for all tasks; one for each, pulled to the common one by as much as
        they are alike; or, for a target matrix, these with correlations between the labels of a
        row, as residuals of separate regressions show them, pulled to zero as if further rows
        had uncorrelated noise: as many as the residuals say. With gaps in y no more than 2000
        coefficients may vary, tasks times columns, and patterns of gaps times tasks squared
        are 20 million at most.
    prior : BayesianMultiTaskRegressor, Prior or None, default=None
        A prior that is used instead of learning one: that of a fitted model, with its scaling,
        or a Prior for the scaled features and targets at hand. `structure`, `varying`,
        `mean_prior`, `method` and `noise` are then not used.
    standardize : bool, default=True
        Subtract the mean and divide by the standard deviation of each feature, the same for all
        tasks, before the prior is applied.
    scale_targets : {"task", "common", "auto", None}, default="auto"
        Scale the targets of each task, or of all tasks in common; "auto": "task" for a target
        matrix, "common" for rows with a task label.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="shared"
        What to do with unknown tasks in ``predict``: refuse them, or predict with mu and the
        spread of the prior.
    tol : float, default=1e-4
        About the relative error that may be left in the standard deviations of Omega.
    max_iter : int, default=500
        Evaluations of the likelihood, per structure, after which it stops with a warning.
    n_jobs : int or None, default=None
        Threads of BLAS; None means 1, for most matrices are small, and -1 all cores.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    coef_ : ndarray of shape (n_tasks, n_features)
        Posterior means of the coefficients in original units.
    intercept_ : ndarray of shape (n_tasks,)
        Intercepts.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    columns_ : tuple of (task, None)
        The owner of each row of ``coef_``.
    prior_ : Prior
        mu, Omega and sigma^2, for scaled features (or coordinates of its `space`) and targets.
    noise_ : ndarray of shape (n_tasks,)
        Standard deviation of the noise of each task in original units.
    noise_covariance_ : ndarray of shape (n_tasks, n_tasks) or None
        Covariance of the noise of one row in original units; None unless it is correlated.
    structure_ : Structure or None
        The structure of Omega; None for a given prior.
    evidence_ : tuple of Candidate
        The structures that were tried, with log-likelihood, price and score.
    log_marginal_likelihood_ : float
        Of the targets in original units; restricted if `method` is. NaN for a given prior.
    solution_ : Solution
        Minus the log marginal likelihood, the certificate as residual, status, evaluations and
        seconds.
    feature_scale_ : ndarray of shape (n_features,)
        What the features were divided by.

    References
    ----------
    Laird, N. M. and Ware, J. H. (1982). Random-effects models for longitudinal data.
    Biometrics 38, 963-974. Bates, D., Maechler, M., Bolker, B. and Walker, S. (2015). Fitting
    linear mixed-effects models using lme4. Journal of Statistical Software 67(1), section 3.
    Zellner, A. (1962). An efficient method of estimating seemingly unrelated regressions. JASA
    57, 348-368 (correlated noise).

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import BayesianMultiTaskRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((60, 3)), np.repeat(["a", "b", "c"], 20)
    >>> y = X[:, 0] + 0.1 * rng.standard_normal(60)
    >>> model = BayesianMultiTaskRegressor().fit(X, y, task=school)
    >>> mean, deviation = model.predict(X[:2], task=["a", "new"], return_std=True)
    >>> deviation.shape
    (2,)
    """

    def __init__(
        self,
        structure: Any = "auto",  # noqa: ANN401 - str or Structure, shown by get_params as given
        *,
        varying: Any = "all",  # noqa: ANN401
        mean_prior: str = "auto",
        method: str = "reml",
        noise: str = "common",
        prior: Any = None,  # noqa: ANN401
        standardize: bool = True,
        scale_targets: str | None = "auto",
        task_column: str | int | None = None,
        unseen_tasks: str = "shared",
        tol: float = 1e-4,
        max_iter: int = 500,
        n_jobs: int | None = None,
        date_features: bool = False,
    ) -> None:
        self.structure = structure
        self.varying = varying
        self.mean_prior = mean_prior
        self.method = method
        self.noise = noise
        self.prior = prior
        self.standardize = standardize
        self.scale_targets = scale_targets
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def _fits_moments(self) -> bool:
        return True

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        # Tasks whose coefficients were given by adapt, not learned; further rows end that.
        self._given_lines: tuple[AdaptedCoefficients, ...] = ()
        owner = type(self).__name__
        settings = BayesSettings.of(self)
        given = given_prior(self.prior, owner)
        outcomes = regression(data, "squared", owner)
        with blas_threads(self.n_jobs, owner, usual=1):
            found = fit_bayes(data, outcomes, settings, given, owner)
        self._keep(found)
        if not found.ended.converged:
            status = self.solution_.status.told
            fields = {"owner": owner, "n": self.n_iter_, "tol": f"{self.tol:g}"}
            fields |= {"value": f"{self.solution_.residual:.2e}", "status": status.node}
            warnings.warn(ConvergenceWarning(LazyMessage("warn.likelihood", fields)), stacklevel=4)

    def _keep(self, found: BayesFit) -> None:
        """Set the fitted attributes."""
        self._set_tasks(found.tasks)
        self.structure_ = None if found.learned is None else found.learned.model.structure
        self.evidence_ = found.candidates
        self._learned = found.learned
        self._densities = found.densities
        self.log_marginal_likelihood_ = found.ended.log_likelihood
        self.solution_ = found.ended.solution(self._linear, self.max_iter)
        self.n_iter_ = max(self.solution_.n_iter, 1)

    def _set_tasks(self, tasks: BayesTasks, linear: LinearTasks | None = None) -> None:
        self._tasks = tasks
        self._linear = tasks.linear() if linear is None else linear
        self.coef_, self.intercept_ = self._linear.coef, self._linear.intercept
        self.columns_ = tuple((label, None) for label in self._schema.index.labels)
        self.task_weight_sums_ = tasks.counts
        self.prior_ = tasks.prior
        self.noise_, self.noise_covariance_ = tasks.noise(), tasks.noise_covariance()
        self.feature_scale_ = tasks.scale

    def partial_fit(
        self,
        X: Any,  # noqa: ANN401
        y: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> Self:
        """Learn from rows of known or new tasks, the prior held; a first call is ``fit``.

        Exact: the posterior is that of all rows of a task, of this call and of earlier ones,
        under the same prior. Scaling is held too.

        Parameters
        ----------
        X, y, task, sample_weight
            As in :meth:`fit`; a new task of a target matrix is not possible.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        DataError
            If the rows do not fit the model.
        """
        if not hasattr(self, "_tasks"):
            return self.fit(X, y, task, sample_weight)
        with blas_threads(self.n_jobs, type(self).__name__, usual=1):
            schema, tasks, rows = updated(self._schema, self._tasks, (X, y, task, sample_weight))
            linear = updated_linear(self._linear, self._tasks, tasks)
            linear, self._given_lines = with_lines_of(linear, self._linear, self._given_lines)
        self._schema = schema
        self.tasks_ = label_array(schema.index.labels)
        self._set_tasks(tasks, linear)
        # A model of an earlier version kept none.
        if hasattr(self, "_baseline"):
            self._baseline = self._baseline.merged(self._scoring().baseline(rows))
        return self

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        if task >= 0:
            return self._linear.labels_of(X, task)
        coef, intercept = self._tasks.typical()
        precision = self._linear.coef.dtype
        return np.asarray(X @ coef.astype(precision) + precision.type(intercept))

    def predict(self, X: Any, task: Any = None, return_std: bool = False) -> Any:  # noqa: ANN401
        """Predict with the posterior mean, for unseen tasks with the prior mean.

        Parameters
        ----------
        X, task
            As for every estimator: rows, and a task for each.
        return_std : bool, default=False
            Also return the standard deviation of a new target: that of the noise and of what
            is not known about the task's coefficients; for an unseen task the spread of the
            prior. For a task that ``adapt(domain="new")`` left to the model as it was or to its
            own rows: as rows left out have shown.

        Returns
        -------
        ndarray of shape (n,) or (n, n_tasks), or mapping
            Predictions.
        deviation : the same kind
            Only with `return_std`.

        Raises
        ------
        DataError
            If the columns differ from those in fit, or a task is unknown and
            ``unseen_tasks="error"``.
        """
        query, n_tasks = self._read(X, task), len(self._schema.index.labels)
        mean = outputs.predictions(query, n_tasks, self._predict_rows)
        if not return_std:
            return mean
        deviation = partial(deviations, self._tasks, self._given_lines)
        return mean, outputs.predictions(query, n_tasks, outputs.one_by_one(deviation))

    def predict_interval(self, X: Any, task: Any = None, level: float = 0.9) -> tuple[Any, Any]:  # noqa: ANN401
        """Return an interval for the target of every row.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.
        level : float, default=0.9
            Probability that a new target lies inside, in (0, 1).

        Returns
        -------
        lower, upper
            As :meth:`predict` returns predictions.

        Raises
        ------
        ParameterError
            If `level` is no probability.
        """
        owner, allowed = f"{type(self).__name__}.predict_interval", "a number above 0 and below 1"
        value = number(level, "level", owner, allowed)
        if not 0 < value < 1:
            raise ParameterError(sentence("level", owner, allowed, repr(level)))
        half = float(scipy.special.ndtri(0.5 + value / 2.0))
        query, n_tasks = self._read(X, task), len(self._schema.index.labels)

        def bound(side: float, rows: Any, t: int) -> Labels:  # noqa: ANN401
            deviation = deviations(self._tasks, self._given_lines, rows, t)
            return self._predict_task(rows, t) + side * deviation

        lower, upper = (
            outputs.predictions(query, n_tasks, outputs.one_by_one(partial(bound, side)))
            for side in (-half, half)
        )
        return lower, upper

    def evidence(self, n_bootstrap: int = 99, random_state: Any = None) -> Evidence:  # noqa: ANN401
        """Say whether the tasks are better pooled, related or separate.

        Pooled against related: likelihood ratio with a parametric bootstrap p-value, for the
        chosen structure (scalar if no variation was chosen) over intercepts only. Separate
        against related: the mean log density of a row given all other rows of its task, under
        the learned prior and under one without a common mean; with correlated noise, given all
        rows but that of the label, other tasks included.

        Parameters
        ----------
        n_bootstrap : int, default=99
            Data sets drawn from the pooled model; each is fitted twice.
        random_state : int, Generator or None
            For the draws.

        Returns
        -------
        Evidence
            Figures, a verdict, and as text a plain sentence.

        Raises
        ------
        IncompatibleError
            If the prior was given.
        """
        check_is_fitted(self)
        found = (self._tasks, self._learned, self._densities)
        with blas_threads(self.n_jobs, type(self).__name__, usual=1):
            return evidence_of(*found, n_bootstrap, random_state, type(self).__name__)

    def to_sklearn(self, task: Any) -> Any:  # noqa: ANN401 - a label; an estimator
        """Return one task as a plain fitted scikit-learn model with its posterior mean.

        Parameters
        ----------
        task : label
            One of ``tasks_``.

        Returns
        -------
        LinearRegression or Pipeline
            The last, with the encoder in front, for a model that was fitted on a table.

        Raises
        ------
        DataError
            If there is no such task.
        """
        check_is_fitted(self)
        position = task_position(self._schema, task)
        model = plain_model(self._linear, position, own_features(self._schema, position))
        return stand_alone(self._schema, position, model)

    def coef_frame(self) -> pd.DataFrame:
        """Return the coefficients as a long table.

        Returns
        -------
        pandas.DataFrame
            Columns task, class, feature, coef; the intercept is the feature ``(intercept)``.
        """
        check_is_fitted(self)
        return coefficient_table(
            self.columns_, self.coef_feature_names_, self.coef_, self.intercept_
        )

    def __sklearn_clone__(self) -> Self:
        """Return a copy that is not fitted; a model whose prior it uses stays as it is."""
        copy: Self = super().__sklearn_clone__()
        copy.prior = self.prior
        return copy
