"""Linear models of classes, counts and amounts of many tasks with a learned normal prior."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes, Query, classification, mixed, outputs
from polytask._estimator.base import label_array
from polytask._estimator.classes import (
    ClassifierMixin,
    DecisionMixin,
    decisions,
    has_classes,
)
from polytask._estimator.documentation import documented
from polytask._estimator.groupings import refuse_grouped
from polytask._estimator.intervals import IntervalMixin
from polytask._estimator.outcomes import loss_object
from polytask._estimator.scoring import LossTasks
from polytask._estimator.weights import label_weights
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.exceptions import IncompatibleError
from polytask.linear._bayes_base import LaplaceEstimator, LearnedPriorEstimator
from polytask.linear._bayes_grouped_labels import Problems
from polytask.linear.adapted_coefficients import with_lines_of
from polytask.linear.bayes_intervals import quantiles
from polytask.linear.bayes_laplace_fit import (
    GivenPriors,
    LinkedUnits,
    against_the_rest,
    given_priors,
)
from polytask.linear.bayes_laplace_tasks import (
    LaplaceTasks,
    TaskUnits,
    check_classes,
    updated_state,
)
from polytask.linear.bayes_settings import BayesSettings
from polytask.linear.fitting import blas_threads
from polytask.losses import Gamma, Logistic, LogLink, Loss, Multinomial, Poisson, Squared
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Labels = NDArray[Any]


@saveable("linear.bayes_classifier")
@documented(LearnedPriorEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
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

    Rows may belong to a level of each of several groupings, crossed or nested, such as store and
    product: ``task_column=["store", "product"]``, or a table or 2-D array as `task`. Log odds are
    then those of mu plus a deviation of each of the row's levels, every grouping with an Omega
    of its own, the first grouping is what ``tasks_`` and ``coef_`` are about, and every task has
    all classes.

    Parameters
    ----------
    task_column : str, int, list of these, or None, default=None
        The column of X that holds the task labels, or those of several groupings. With several
        groupings at most 6000 effects are solved for beside those of the grouping with the most
        levels; "auto" tries intercepts, one variance of all slopes, one of each, correlated ones
        for a few columns, and the best of these without slopes in one grouping after the other.
    prior : BayesianMultiTaskClassifier, Prior, sequence of Prior or None, default=None
        A prior that is used instead of learning one: that of a fitted model, in its own units,
        or a Prior for the scaled features at hand (for several classes one for each).
        `structure`, `varying` and `mean_prior` are then not used. Not with several groupings.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
    task_classes_ : dict of task to ndarray
        The classes of each task.
    prior_ : Prior or list of Prior
        What was learned, for the scaled features, or with more features than rows for the
        coordinates of ``prior_.space``; a list in the order of the union of the classes if there
        are several.
    effects_ : dict of ndarray of shape (n_levels, 1 + n_features), or None
        With several groupings, by name: posterior modes of the deviations of every level in
        original units, the intercept first; with several classes of shape (n_levels,
        1 + n_features, n_classes). The levels of the first one are ``tasks_``.
    levels_ : dict of ndarray of shape (n_levels,), or None
        The levels of every grouping, by name.
    variance_shares_ : dict of (share, low, high), or None
        With several groupings and two classes, by name: the share of a grouping in the variance
        of the log odds around mu and of a logistic variable beside them (pi^2 / 3), of rows like
        those of training, with its 95% interval (delta method; NaN where the share is 0).
    log_marginal_likelihood_ : float
        Log evidence, summed over the classes if there are several.

    Notes
    -----
    Of levels with few rows of classes each the Laplace approximation makes variances too small.
    Of a true standard deviation of 0.8 it finds about 0.71 with five rows for each of many
    levels, 0.75 with ten and 0.78 with thirty (measured in the results on several groupings).

    With more features than rows (and 256 features or more), where all features vary alike, all
    work is done in the space of the rows, which is exact: no array has features in both
    directions, and the search costs Cholesky factors of the number of labels.

    References
    ----------
    Rasmussen, C. E. and Williams, C. K. I. (2006). Gaussian Processes for Machine Learning.
    MIT Press (sections 3.4 and 5.5). MacKay, D. J. C. (1992). The evidence framework applied
    to classification networks. Neural Computation 4, 720-736. Breslow, N. E. and Clayton, D. G.
    (1993). Approximate inference in generalized linear mixed models. JASA 88, 9-25 (several
    groupings).

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

    _knows_new_targets: ClassVar[bool] = True

    prior: Any = None  # a fitted model, a Prior or several

    def _outcomes(self, data: TaskData) -> Outcomes:
        return classification(data, "auto", type(self).__name__)

    def _refuse_parts(self) -> None:
        if self.prior is not None:
            fields = {"owner": type(self).__name__}
            raise IncompatibleError(LazyMessage("linear.refusal.prior_in_parts", fields))

    def _problems(self, data: TaskData, outcomes: Outcomes) -> Problems:
        return against_the_rest, None

    def _given(self) -> GivenPriors | None:
        return given_priors(self.prior, type(self).__name__)

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
        refuse_grouped(self, "partial_fit")
        if not hasattr(self, "_tasks"):
            self.fit(X, y, task, sample_weight)
            check_classes(classes, self._tasks, type(self).__name__)
            return self
        with blas_threads(self.n_jobs, type(self).__name__, usual=1):
            schema, tasks = updated_state(
                self._schema, self._tasks, (X, y, task, sample_weight), classes
            )
        linear, given = with_lines_of(tasks.linear, self._tasks.linear, self._tasks.given)
        self._forget_held_out()
        self._schema = schema
        self.tasks_ = label_array(schema.index.labels)
        self._set_tasks(dataclasses.replace(tasks, linear=linear, given=given))
        return self

    def _class_decisions(self, query: Query) -> Any:  # noqa: ANN401
        groups = self._groups
        if groups is None:
            return decisions(self._tasks, query)
        found = outputs.by_row(query, lambda X, _: groups.decisions(X))
        return outputs.split(query, found)


_LOSSES = (Squared, Logistic, Multinomial, Poisson, Gamma)


@saveable("linear.bayes_model")
@documented(LearnedPriorEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class BayesianMultiTaskModel(LaplaceEstimator, IntervalMixin):
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

    Rows may belong to a level of each of several groupings, such as store and product, as for
    :class:`BayesianMultiTaskClassifier`; all tasks then have one loss, that of numbers, counts,
    amounts or two classes.

    Parameters
    ----------
    task_column : str, int, list of these, or None, default=None
        The column of X that holds the task labels, or those of several groupings.
    loss : "auto", str, Loss, or mapping of task to these, default="auto"
        The loss of each task: "squared", "poisson" (counts and rates), "gamma" (amounts above
        zero), "logistic" or "multinomial". "auto": text, booleans and numbers with two distinct
        values are classes, all other numbers are numbers.
    unseen_tasks : {"error", "shared"}, default="shared"
        What to do with unknown tasks in ``predict``: refuse them, or predict with mu and the
        spread of the prior, which needs one loss for all tasks.

    Attributes
    ----------
    classes_, task_classes_
        As in :class:`MultiTaskClassifier`, where there are classification tasks.
    dispersion_ : ndarray of shape (n_tasks,)
        The noise that is left: the variance of numbers; of amounts the squared ratio of their
        deviation to their mean; of counts the ratio of their variance to their mean, 1 (Poisson)
        or more. NaN for classes. One for all tasks where rows have a task label and one loss,
        else one for each task.
    prior_ : Prior, or dict of Prior
        mu and Omega, for the scaled features, or with more features than rows for the
        coordinates of ``prior_.space``; of several groupings that of each, by name.
    effects_, levels_
        As in :class:`BayesianMultiTaskClassifier`, of the linear predictors.
    variance_shares_ : dict of (share, low, high), or None
        With several groupings, by name: the share of a grouping in the variance of the linear
        predictors around mu and of the noise of a row of weight 1 in their units (Nakagawa et
        al.; the trigamma function of the mean of counts over their dispersion, or of the inverse
        dispersion of amounts), with its 95% interval (delta method; NaN where the share is 0).
    log_marginal_likelihood_ : float
        Log evidence, of scaled numbers, and of counts and amounts up to a number that depends
        on these alone.

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
    dispersion of counts). Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). The
    coefficient of determination R2 and intra-class correlation coefficient from generalized
    linear mixed-effects models. J. R. Soc. Interface 14, 20170213 (noise on the log scale).

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

    loss: Any = "auto"  # str, Loss or mapping

    def _refuse_parts(self) -> None:
        owner = type(self).__name__
        named = isinstance(self.loss, str | Loss) and self.loss != "auto"
        if not (named and isinstance(loss_object(self.loss, owner), LogLink)):
            fields = {"owner": owner, "loss": repr(self.loss)}
            raise IncompatibleError(LazyMessage("linear.refusal.losses_in_parts", fields))

    def _outcomes(self, data: TaskData) -> Outcomes:
        owner = type(self).__name__
        found = mixed(data, self.loss, owner)
        for label, loss in zip(data.tasks, found.losses, strict=True):
            if not isinstance(loss, _LOSSES):
                names = ", ".join(repr(known().name) for known in _LOSSES)
                fields = {"owner": owner, "names": names}
                fields |= {"loss": repr(loss.name), "task": repr(label)}
                raise IncompatibleError(LazyMessage("linear.refusal.loss", fields))
        return found

    def _problems(self, data: TaskData, outcomes: Outcomes) -> Problems:
        owner = type(self).__name__
        if data.groupings is not None and isinstance(outcomes.losses[0], Multinomial):
            raise IncompatibleError(LazyMessage("linear.refusal.groupings_several"))
        units = LinkedUnits.of(data, outcomes, label_weights(data, outcomes, None, owner))
        return units.one_problem, units

    def _fit_groupings(self, data: TaskData, outcomes: Outcomes, settings: BayesSettings) -> None:
        super()._fit_groupings(data, outcomes, settings)
        assert self._groups is not None
        self._show_dispersion(self._groups.units, self._groups.linear.losses)

    def _set_tasks(self, tasks: LaplaceTasks) -> None:
        super()._set_tasks(tasks)
        assert tasks.units is not None
        self._show_dispersion(tasks.units, tasks.losses)

    def _show_dispersion(self, units: TaskUnits, losses: Sequence[Loss]) -> None:
        numbers = [isinstance(loss, Squared) for loss in losses]
        self.dispersion_ = units.dispersion * np.where(numbers, units.scale**2, 1.0)

    def _has_probabilities(self) -> bool:
        return has_classes(self)

    def _by_loss(self) -> LossTasks:
        return _ScoredTasks(self._tasks) if self._groups is None else self._groups

    def _quantiles_of_rows(self, p: float) -> outputs.RowsFunction:
        groups = self._groups
        if groups is None:
            return super()._quantiles_of_rows(p)
        return lambda X, _: quantiles(groups, X, 0, p)

    def _quantiles(self, p: float, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        return quantiles(self._tasks, X, task, p)


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
