"""Linear regression of many tasks with a normal prior that the tasks teach."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import scipy.special
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import below_one
from polytask._estimator import outputs, regression
from polytask._estimator.base import label_array
from polytask._estimator.classes import (
    RegressorMixin,
)
from polytask._estimator.documentation import documented
from polytask._estimator.groupings import READING_GROUPINGS, refuse_grouped
from polytask._estimator.intervals import IntervalMixin
from polytask._estimator.scored import Reading
from polytask._estimator.training import (
    Collected,
    refuse_beside_statistics,
    refuse_other_features,
)
from polytask._registry import saveable
from polytask.bayes.evidence import Evidence
from polytask.bayes.prior import Prior
from polytask.data import TaskData
from polytask.linear._bayes_base import LearnedPriorEstimator
from polytask.linear._bayes_evidence import evidence_of
from polytask.linear._bayes_fit import fit_bayes, given_prior
from polytask.linear.adapted_coefficients import (
    AdaptedCoefficients,
    deviations,
    line_given,
    with_lines_of,
)
from polytask.linear.bayes_groupings import GroupedTasks, fit_groupings
from polytask.linear.bayes_settings import BayesSettings
from polytask.linear.bayes_tasks import BayesTasks, updated, updated_linear
from polytask.linear.fitting import blas_threads
from polytask.linear.prediction import LinearTasks
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Labels = NDArray[Any]


@saveable("linear.bayes_regressor")
@documented(LearnedPriorEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class BayesianMultiTaskRegressor(LearnedPriorEstimator, IntervalMixin, RegressorMixin):
    """Linear regression of many tasks with a normal prior that is learned from them.

    A row of task t has the target ``z . w_t + e`` with z = (1, scaled features),
    ``w_t = mu + u_t``, ``u_t ~ N(0, Omega)`` in the columns that vary and
    ``e ~ N(0, sigma^2 / v)``, v the weight of the row. Omega and sigma^2 maximise the marginal
    likelihood, mu is the generalised least squares estimate, so there is nothing to tune:
    similar tasks give a small Omega and are pooled, unlike ones a large Omega and are left
    alone. This is the linear mixed model; tasks are its groups. Counts, amounts and tasks of
    several kinds have :class:`BayesianMultiTaskModel`.

    Rows may belong to a level of each of several groupings, crossed or nested, such as store and
    product: ``task_column=["store", "product"]``, or a table or 2-D array as `task`. Coefficients
    are then mu plus a deviation of each of the row's levels, every grouping with an Omega of its
    own, and the first grouping is what ``tasks_`` and ``coef_`` are about.

    Parameters
    ----------
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
        are 20 million at most. With "common" the intervals of :meth:`predict_interval` still have
        a noise of each task, from its residuals, pulled to the common one as far as chance
        explains their differences; what is predicted does not depend on it.
    task_column : str, int, list of these, or None, default=None
        The column of X that holds the task labels, or those of several groupings. With several
        groupings `mean_prior` is "flat", `noise` "common" and targets are scaled in common;
        "auto" tries intercepts and, with up to 6000 effects beside those of the grouping with the
        most levels, one variance of all slopes, one of each, correlated ones for a few columns,
        and the best of these without slopes in one grouping after the other. With more effects
        the log determinant is estimated by conjugate gradients with probes that stay the same.
    prior : BayesianMultiTaskRegressor, Prior or None, default=None
        A prior that is used instead of learning one: that of a fitted model, with its scaling,
        or a Prior for the scaled features and targets at hand. `structure`, `varying`,
        `mean_prior`, `method` and `noise` are then not used.
    scale_targets : {"task", "common", "auto", None}, default="auto"
        Scale the targets of each task, or of all tasks in common; "auto": "task" for a target
        matrix, "common" for rows with a task label.
    tol : float, default=1e-4
        About the relative error that may be left in the standard deviations of Omega.

    Attributes
    ----------
    coef_ : ndarray of shape (n_tasks, n_features)
        Posterior means of the coefficients in original units.
    columns_ : tuple of (task, None)
        The owner of each row of ``coef_``.
    effects_ : dict of ndarray of shape (n_levels, 1 + n_features), or None
        With several groupings, by name: posterior means of the deviations of every level in
        original units, the intercept first. The levels of the first one are ``tasks_``.
    levels_ : dict of ndarray of shape (n_levels,), or None
        The levels of every grouping, by name.
    prior_ : Prior, or dict of Prior
        mu, Omega and sigma^2, for scaled features (or coordinates of its `space`) and targets;
        of several groupings that of each, by name.
    variance_shares_ : dict of (share, low, high), or None
        With several groupings, by name: the share of a grouping in the variance of the targets
        around the mean coefficients, of rows like those of training, with its 95% interval (delta
        method; NaN where the share is 0). The rest is noise.
    noise_ : ndarray of shape (n_tasks,)
        Standard deviation of the noise of each task in original units.
    noise_covariance_ : ndarray of shape (n_tasks, n_tasks) or None
        Covariance of the noise of one row in original units; None unless it is correlated.
    log_marginal_likelihood_ : float
        Of the targets in original units; restricted if `method` is. NaN for a given prior.
    log_marginal_likelihood_error_ : float
        Its standard error, with several groupings of many levels; 0 where it is exact.
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

    method: str = "reml"
    noise: str = "common"
    prior: Any = None  # a fitted model or a Prior
    scale_targets: str | None = "auto"
    tol: float = 1e-4

    _not_converged: ClassVar[str] = "warn.likelihood"
    _reading: ClassVar[Reading] = READING_GROUPINGS

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        if data.groupings is not None:
            self._fit_groupings(data)
            return
        self._grouped: GroupedTasks | None = None
        self.effects_: dict[Hashable, Array] | None = None
        self.levels_: dict[Hashable, Labels] | None = None
        self.variance_shares_: dict[Hashable, tuple[float, ...]] | None = None
        self.log_marginal_likelihood_error_ = 0.0
        # Tasks whose coefficients were given by adapt, not learned; further rows end that.
        self._given_lines: tuple[AdaptedCoefficients, ...] = ()
        owner = type(self).__name__
        settings = BayesSettings.of(self)
        given = given_prior(self.prior, owner)
        outcomes = regression(data, "squared", owner)
        with blas_threads(self.n_jobs, owner, usual=1):
            found = fit_bayes(data, outcomes, settings, given, owner)
        self._set_tasks(found.tasks)
        self._learned, self._densities = found.learned, found.densities
        structure = None if found.learned is None else found.learned.model.structure
        self._keep_search(structure, found.candidates, found.ended, self._linear)

    def _fit_groupings(self, data: TaskData) -> None:
        """Learn the prior of each of several groupings."""
        self._given_lines, self._learned, self._densities = (), None, None
        owner, settings = type(self).__name__, BayesSettings.of(self)
        outcomes = regression(data, "squared", owner)
        with blas_threads(self.n_jobs, owner, usual=1):
            found = fit_groupings(data, outcomes, settings, self.prior, owner)
        self._show_groupings(found.tasks)
        self._keep_search(found.structure, found.candidates, found.ended, self._linear)
        self.log_marginal_likelihood_error_ = found.error
        self.variance_shares_ = found.shares

    def _show_groupings(self, tasks: GroupedTasks) -> None:
        """Show what is known of the levels of several groupings."""
        self._grouped = tasks
        # What is for tasks of one grouping is refused.
        if hasattr(self, "_tasks"):
            del self._tasks
        self._linear = tasks.linear()
        self.coef_, self.intercept_ = self._linear.coef, self._linear.intercept
        self.columns_ = tuple((label, None) for label in self._schema.index.labels)
        self.task_weight_sums_ = tasks.counts
        self.prior_: Prior | dict[Hashable, Prior] = tasks.priors()
        noise = float(np.sqrt(tasks.noise)) * tasks.target_scale
        self.noise_ = np.full(len(tasks.counts), noise)
        self.noise_covariance_: Array | None = None
        self.feature_scale_, self.effects_ = tasks.scale, tasks.effects_by_name()
        self.levels_ = {n: label_array(index.labels) for n, index in self._schema.groupings}

    @property
    def _groups(self) -> GroupedTasks | None:
        # A model of an earlier version knows of none.
        return getattr(self, "_grouped", None)

    def _linear_model(self) -> LinearTasks:
        refuse_grouped(self, LazyMessage("what.one_grouping"))
        return super()._linear_model()

    def _fits_moments(self) -> bool:
        return True

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
        *,
        forget: float = 0.0,
    ) -> Self:
        """Learn from rows of known or new tasks, the prior held; a first call is ``fit``.

        Exact: the posterior is that of all rows of a task, of this call and of earlier ones,
        under the same prior. Scaling is held too.

        Parameters
        ----------
        X, y, task, sample_weight
            As in :meth:`fit`; a new task of a target matrix is not possible. Statistics must
            have the features of the model.
        forget : float, default=0.0
            For data that drift: before these rows are added, the weights of all earlier ones are
            multiplied by ``1 - forget``, a number in (0, 1]. With 0.1 a row counts as 0.9 rows
            after the next call and as 0.35 after ten. The prior, with the noise, stays as it was
            learned; a task without new rows goes back to it, and its uncertainty grows.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        DataError
            If the rows do not fit the model.
        ParameterError
            If `forget` is not in [0, 1).
        """
        kept = 1.0 - below_one(forget, "forget", f"{type(self).__name__}.partial_fit")
        refuse_grouped(self, "partial_fit")
        if not hasattr(self, "_tasks"):
            return self.fit(X, y, task, sample_weight)
        known = self._tasks if kept == 1.0 else self._tasks.weighted(kept)
        with blas_threads(self.n_jobs, type(self).__name__, usual=1):
            schema, tasks, rows = self._updated(known, X, y, task, sample_weight)
            linear = updated_linear(self._linear, self._tasks, tasks)
            before = replace(self._linear, counts=known.counts)
            linear, self._given_lines = with_lines_of(linear, before, self._given_lines)
        self._forget_held_out()
        self._schema = schema
        self.tasks_ = label_array(schema.index.labels)
        self._set_tasks(tasks, linear)
        # A model of an earlier version kept none.
        if hasattr(self, "_baseline"):
            new = self._scoring().baseline(rows)
            self._baseline = self._baseline.weighted(kept).merged(new)
        return self

    def _updated(self, known: BayesTasks, X: object, *held: Any) -> Any:  # noqa: ANN401
        """Return what is known after further rows, or statistics of them."""
        schema = self._schema
        if not isinstance(X, Collected):
            return updated(schema, known, (X, *held))
        refuse_beside_statistics(schema.owner, *held)
        refuse_other_features(X, schema.encoder, len(self.coef_feature_names_), schema.owner)
        data = replace(X.to_task_data(), feature_names=None, fold=None)
        # The rows that stand for statistics are encoded already.
        given = replace(
            schema,
            n_features=data.n_features,
            names=None,
            encoder=None,
            task_column=None,
            dates={},
        )
        new, tasks, rows = updated(given, known, (data, None, None, None))
        return replace(schema, index=new.index, present=new.present), tasks, rows

    def _predict_rows(self, X: Any, tasks: NDArray[np.intp]) -> Labels:  # noqa: ANN401
        if self._groups is not None:
            return self._groups.predict(X)
        return super()._predict_rows(X, tasks)

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
        return mean, outputs.predictions(query, n_tasks, self._deviations)

    def _deviations(self, X: Any, tasks: NDArray[np.intp]) -> Labels:  # noqa: ANN401
        """Return the standard deviation of new targets of rows of several tasks."""
        if self._groups is not None:
            return self._groups.deviation(X)
        return outputs.one_by_one(partial(deviations, self._tasks, self._given_lines))(X, tasks)

    def _quantiles_of_rows(self, p: float) -> outputs.RowsFunction:
        if self._groups is None:
            return super()._quantiles_of_rows(p)

        def quantiles_of(X: Any, tasks: NDArray[np.intp]) -> Labels:  # noqa: ANN401
            spread = float(scipy.special.ndtri(p)) * self._deviations(X, tasks)
            return np.asarray(self._predict_rows(X, tasks) + spread)

        return quantiles_of

    def _quantiles(self, p: float, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        deviation = deviations(self._tasks, self._given_lines, X, task)
        if line_given(self._given_lines, task) is None:
            deviation = self._tasks.interval_deviation(deviation, task)
        return self._predict_task(X, task) + float(scipy.special.ndtri(p)) * deviation

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
        refuse_grouped(self, "evidence")
        found = (self._tasks, self._learned, self._densities)
        with blas_threads(self.n_jobs, type(self).__name__, usual=1):
            return evidence_of(*found, n_bootstrap, random_state, type(self).__name__)
