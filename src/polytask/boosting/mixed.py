"""Boosted trees that tasks share, with coefficients of their own drawn from a learned prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator import Outcomes, Query, classification, outputs, regression
from polytask._estimator.base import label_array
from polytask._estimator.classes import (
    ClassifierMixin,
    DecisionMixin,
    RegressorMixin,
    decisions,
    keep_classes,
    probabilities,
)
from polytask._estimator.documentation import documented
from polytask._estimator.groupings import READING_GROUPINGS
from polytask._estimator.intervals import IntervalMixin
from polytask._estimator.outputs import RowsFunction
from polytask._estimator.scaling import TARGET_SCALES, refuse_huge
from polytask._estimator.scored import Reading
from polytask._estimator.weights import label_weights, sum_by_task
from polytask._registry import saveable
from polytask.bayes.blocks import Index
from polytask.boosting.label_fit import LabelData, LabelFit, fit_labels
from polytask.boosting.labels import LIMITS as LABEL_LIMITS
from polytask.boosting.number_fit import NumberData, NumberFit, fit_numbers
from polytask.boosting.numbers import LIMITS
from polytask.boosting.predictions import GroupedTrees, LabelTrees, NumberTrees
from polytask.boosting.settings import BoostingEstimator
from polytask.boosting.trees import BinnedRows
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, IncompatibleError
from polytask.linear.fitting import blas_threads
from polytask.linear.heavy_weights import weights_within_reach
from polytask.losses import Gamma, Poisson, Squared
from polytask.messages import LazyMessage

_LOSSES = (Squared, Poisson, Gamma)


class _BoostedLabels(BoostingEstimator):
    """Base of those that learn labels of which the evidence is approximated."""

    def _fit_labels(self, data: TaskData, outcomes: Outcomes) -> LabelFit:
        owner = type(self).__name__
        limits, trees = self._settings(owner)
        refuse_huge(data, outcomes, owner)
        long = data.with_y(outcomes.y).to_long()
        columns, slopes = self._slopes(data, long, owner)
        given = LabelData(data, outcomes, long, slopes, columns)
        with blas_threads(self.n_jobs, owner, usual=1):
            binned = BinnedRows(long.X, trees)
            folds = self._folds(data, long, owner)
            limits, folds = (limits, folds) if binned.can_split else ((0, 0), [])
            found = fit_labels(given, binned, self._fixed_structure, folds, limits, owner)
        self._keep_search(found.grown, found.fit.ended, found.model.tasks.linear, LABEL_LIMITS)
        self.structure_ = found.fit.structure
        self.effects_ = found.model.effects()
        priors = [posterior.prior for posterior in found.model.tasks.posteriors]
        self.prior_ = priors[0] if len(priors) == 1 else priors
        return found


@saveable("boosting.mixed_regressor")
@documented(BoostingEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class MixedBoostingRegressor(_BoostedLabels, IntervalMixin, RegressorMixin):
    """Boosted trees for what all tasks share, and a learned prior for what varies between them.

    A row of task t has the target ``f(x) + z . w_t + e`` with trees f that are the same for all
    tasks, z = (1, the features in `varying`, scaled), ``w_t = mu + u_t``, ``u_t ~ N(0, Omega)``
    and ``e ~ N(0, sigma^2 / v)``, v the weight of the row. Trees and prior are learned together:
    each tree follows the gradient of the marginal likelihood, in which the coefficients of the
    tasks are integrated out, so trees are not spent on what the tasks differ by. Without trees
    this is :class:`BayesianMultiTaskRegressor` of the features in `varying`; with one task it
    is LightGBM. Needs LightGBM (``pip install "polytask[trees]"``).

    For counts and amounts ``f(x) + z . w_t`` is the logarithm of the mean, and the marginal
    likelihood that of the Laplace approximation, as in :class:`BayesianMultiTaskModel`.

    Rows of numbers may belong to a level of each of several groupings, crossed or nested, such as
    store and product: ``task_column=["store", "product"]``, or a table or 2-D array as `task`.
    ``z . w_t`` is then ``z . mu`` plus the deviations of all levels of the row, every grouping
    with an Omega of its own, as in :class:`BayesianMultiTaskRegressor`; a level that is not known
    keeps those of the others.

    Parameters
    ----------
    loss : {"squared", "poisson", "gamma"} or Loss, default="squared"
        Of numbers, of counts and rates, or of amounts above zero.
    task_column : str, int, list of these, or None, default=None
        The column of X that holds the task labels, or those of several groupings.

    Attributes
    ----------
    held_out_loss_ : ndarray of shape (n_tried + 1,)
        By the number of trees the loss of held-out rows, per row: of numbers the negative log
        density up to a constant, of counts and amounts half the deviance of the expected ones;
        empty without folds.
    effects_ : ndarray of shape (n_tasks, 1 + n_varying), or dict of these
        Posterior means of the deviations of the tasks' coefficients in original units, the
        intercept first; for counts and amounts posterior modes, of the logarithm. With several
        groupings those of the levels of each, by name.
    levels_ : dict of ndarray of shape (n_levels,)
        With several groupings: the levels of each, by name.
    prior_ : Prior, or dict of Prior
        mu, Omega and sigma^2, for scaled features and targets; sigma^2 of numbers alone. With
        several groupings that of each, by name.
    noise_ : ndarray of shape (n_tasks,)
        Of numbers: standard deviation of the noise of each task in original units.
    dispersion_ : ndarray of shape (n_tasks,)
        Of counts the ratio of their variance to their mean, of amounts the squared ratio of
        their deviation to their mean.
    log_marginal_likelihood_ : float
        Of the targets in original units given trees that did not grow on them (with ``cv=None``
        that did), restricted: mu is integrated out. Of counts and amounts the log evidence up
        to a number that depends on these alone.

    Notes
    -----
    The columns of a target matrix are tasks, each scaled by its own mean and deviation. Intervals
    of numbers have a noise of each task, from rows that trees did not grow on, pulled to the
    common one by as much as chance explains their differences; with several groupings the common
    one.

    References
    ----------
    Sigrist, F. (2022). Gaussian process boosting. Journal of Machine Learning Research 23(232),
    1-46 (the gradient; section 3.3 for the covariance from held-out rows). Sigrist, F. (2022).
    Latent Gaussian model boosting. IEEE Transactions on Pattern Analysis and Machine
    Intelligence 45(2), 1894-1905 (the gradient for counts and amounts).

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.boosting import MixedBoostingRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, store = rng.uniform(-2, 2, (400, 3)), np.arange(400) % 20
    >>> y = np.sin(2 * X[:, 0]) + rng.standard_normal(20)[store] + 0.3 * rng.standard_normal(400)
    >>> model = MixedBoostingRegressor(learning_rate=0.2).fit(X, y, task=store)
    >>> lower, upper = model.predict_interval(X[:2], task=[3, "new"])
    >>> bool(upper[1] - lower[1] > upper[0] - lower[0])
    True
    """

    loss: Any = "squared"  # str or Loss

    _reading: ClassVar[Reading] = READING_GROUPINGS

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        outcomes = regression(data, self.loss, owner)
        if not isinstance(outcomes.losses[0], _LOSSES):
            names = ", ".join(repr(known().name) for known in _LOSSES)
            fields = {"owner": owner, "names": names, "got": repr(outcomes.losses[0].name)}
            raise IncompatibleError(LazyMessage("boosting.refusal.loss", fields))
        if data.n_rows < 2:
            allowed, sample = LazyMessage("allowed.rows_for_noise"), LazyMessage("got.one_sample")
            raise DataError(sentence("X", owner, allowed, sample))
        if isinstance(outcomes.losses[0], Squared):
            self._keep_numbers(self._fit_numbers(data, outcomes))
            return
        if data.groupings is not None:
            fields = {"owner": owner, "loss": repr(outcomes.losses[0].name)}
            raise IncompatibleError(LazyMessage("boosting.refusal.groupings", fields))
        found = self._fit_labels(data, outcomes)
        self._model: NumberTrees | GroupedTrees | LabelTrees = found.model
        units = found.model.units
        assert units is not None
        self.dispersion_ = units.dispersion

    def _fit_numbers(self, data: TaskData, outcomes: Outcomes) -> NumberFit:
        """Learn from numbers."""
        owner = type(self).__name__
        limits, settings = self._settings(owner)
        refuse_huge(data, outcomes, owner)
        weight = label_weights(data, outcomes, None, owner)
        how = "task" if data.form is Form.TARGETS else "common"
        targets = TARGET_SCALES[how](outcomes.y, weight, data, centre=True)
        long = data.with_y(targets.apply(outcomes.y, data)).to_long()
        columns, slopes = self._slopes(data, long, owner)
        precision = "float32" if data.X.dtype == np.float32 else "float64"
        counts = sum_by_task(weight, data)
        given = NumberData(long, slopes, columns, targets, counts, precision)
        with weights_within_reach(weight, owner), blas_threads(self.n_jobs, owner, usual=1):
            binned = BinnedRows(long.X, settings)
            folds = self._folds(data, long, owner)
            limits, folds = (limits, folds) if binned.can_split else ((0, 0), [])
            return fit_numbers(given, binned, self._fixed_structure, folds, limits)

    def _keep_numbers(self, found: NumberFit) -> None:
        """Set the fitted attributes."""
        self._model = model = found.model
        self._keep_search(found.grown, found.ended, model.tasks.linear(), LIMITS)
        self.structure_, self.prior_ = found.structure, found.prior
        if isinstance(model, GroupedTrees):
            tasks = model.tasks
            noise = float(np.sqrt(tasks.noise)) * tasks.target_scale
            self.noise_ = np.full(len(tasks.counts), noise)
            self.effects_: Any = tasks.effects_by_name()
            self.levels_ = {n: label_array(index.labels) for n, index in self._schema.groupings}
        else:
            self.noise_, self.effects_ = model.tasks.noise(), model.effects()

    def predict(self, X: Any, task: Any = None, return_std: bool = False) -> Any:  # noqa: ANN401
        """Predict with trees and posterior means, for unseen tasks with the prior mean.

        Parameters
        ----------
        X, task
            As in :class:`MultiTaskRegressor`.
        return_std : bool, default=False
            Whether to return the standard deviation of a new target too: of the coefficients of
            its task and of the noise, which holds the error of the trees. For numbers; counts
            and amounts have :meth:`predict_interval`.

        Returns
        -------
        predictions, or (predictions, deviations)
            Arrays in the order of X, or mappings if X is one.

        Raises
        ------
        IncompatibleError
            If deviations of counts or amounts are asked for.
        """
        mean = super().predict(X, task)
        if not return_std:
            return mean
        if isinstance(self._model, LabelTrees):
            fields = {"owner": type(self).__name__, "loss": repr(self.loss)}
            raise IncompatibleError(LazyMessage("boosting.refusal.deviation", fields))
        query, n_tasks = self._read(X, task), len(self._schema.index.labels)
        return mean, outputs.predictions(query, n_tasks, self._model.deviation)

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        return self._predict_rows(X, np.full(X.shape[0], task))

    def _predict_rows(self, X: Any, tasks: Index) -> NDArray[Any]:  # noqa: ANN401
        return self._model.predict(X, tasks)

    def _quantiles(self, p: float, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401
        return self._quantiles_of_rows(p)(X, np.full(X.shape[0], task))

    def _quantiles_of_rows(self, p: float) -> RowsFunction:
        return lambda X, tasks: self._model.quantiles(p, X, tasks)


@saveable("boosting.mixed_classifier")
@documented(BoostingEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class MixedBoostingClassifier(_BoostedLabels, DecisionMixin, ClassifierMixin):
    """Boosted trees for what all tasks share, and a learned prior for what varies between them.

    The log odds of a row of task t are ``f(x) + z . w_t`` with trees f that are the same for all
    tasks, z = (1, the features in `varying`, scaled), ``w_t = mu + u_t``, ``u_t ~ N(0, Omega)``.
    Trees and prior are learned together: each tree follows the gradient of the marginal
    likelihood in the Laplace approximation, in which the coefficients of the tasks are
    integrated out, so trees are not spent on what the tasks differ by. Without trees this is
    :class:`BayesianMultiTaskClassifier` of the features in `varying`; with one task it is
    LightGBM but for mu, which is learned anew with every tree. Needs LightGBM
    (``pip install "polytask[trees]"``).

    Probabilities are averaged over the posterior of the coefficients. More than two classes have
    trees and a prior each, learned from that class against the others within each task that has
    it and another one; the probabilities of the classes that a task has are divided by their
    sum.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
    task_classes_ : dict of task to ndarray
        The classes of each task.
    n_iter_ : int
        Number of trees, of each class if there are several.
    held_out_loss_ : ndarray of shape (n_tried + 1,)
        The log loss of held-out rows, per row, by the number of trees, summed over the classes
        if there are several; empty without folds.
    effects_ : ndarray of shape (n_columns, 1 + n_varying)
        Posterior modes of the deviations of the tasks' coefficients in original units, the
        intercept first; one row per task, or per task and class of several.
    prior_ : Prior or list of Prior
        mu and Omega, for scaled features; a list in the order of the union of the classes if
        there are several.
    log_marginal_likelihood_ : float
        Log evidence given trees that did not grow on the rows (with ``cv=None`` that did),
        summed over the classes if there are several.

    References
    ----------
    Sigrist, F. (2022). Latent Gaussian model boosting. IEEE Transactions on Pattern Analysis and
    Machine Intelligence 45(2), 1894-1905 (the gradient). Sigrist, F. (2022). Gaussian process
    boosting. Journal of Machine Learning Research 23(232), 1-46 (section 3.3: the covariance
    from held-out rows).

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.boosting import MixedBoostingClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, ward = rng.uniform(-2, 2, (600, 3)), np.arange(600) % 20
    >>> odds = 3 * np.sin(2 * X[:, 0]) + rng.standard_normal(20)[ward]
    >>> y = np.where(odds + rng.logistic(size=600) > 0, "ill", "well")
    >>> model = MixedBoostingClassifier(learning_rate=0.2).fit(X, y, task=ward)
    >>> model.predict_proba(X[:2], task=[3, "new"]).shape
    (2, 2)
    """

    _knows_new_targets: ClassVar[bool] = True

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        found = self._fit_labels(data, classification(data, "auto", type(self).__name__))
        self._model = found.model
        keep_classes(self, found.model.tasks.linear)

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        return self._predict_rows(X, np.full(X.shape[0], task))

    def _predict_rows(self, X: Any, tasks: Index) -> NDArray[Any]:  # noqa: ANN401
        return self._model.predict(X, tasks)

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        return probabilities(self._model, self._model.with_sums(query))

    def _class_decisions(self, query: Query) -> Any:  # noqa: ANN401
        return decisions(self._model, self._model.with_sums(query))
