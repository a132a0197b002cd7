"""Boosted trees that tasks share, with coefficients of their own drawn from a learned prior."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from polytask._checks import nonnegative, one_of, positive, positive_integer, sentence
from polytask._estimator import outputs, regression
from polytask._estimator.classes import RegressorMixin
from polytask._estimator.intervals import IntervalMixin
from polytask._estimator.scaling import TARGET_SCALES, feature_scaling, refuse_huge
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import label_weights, sum_by_task
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.bayes.prior import Structure
from polytask.boosting.growth import LIMITS, Grown, TaskRows, grow
from polytask.boosting.trees import BinnedRows, TreeSettings
from polytask.data import Form, TaskData, as_splits
from polytask.exceptions import ConvergenceWarning, DataError
from polytask.linear.bayes_settings import STRUCTURES, Ended, original_units, varying_columns
from polytask.linear.bayes_tasks import BayesTasks
from polytask.linear.fitting import blas_threads
from polytask.linear.heavy_weights import weights_within_reach
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@saveable("boosting.mixed_regressor")
@dataclass(eq=False, repr=False, kw_only=True)
class MixedBoostingRegressor(IntervalMixin, RegressorMixin):
    """Boosted trees for what all tasks share, and a learned prior for what varies between them.

    A row of task t has the target ``f(x) + z . w_t + e`` with trees f that are the same for all
    tasks, z = (1, the features in `varying`, scaled), ``w_t = mu + u_t``, ``u_t ~ N(0, Omega)``
    and ``e ~ N(0, sigma^2 / v)``, v the weight of the row. Trees and prior are learned together:
    each tree follows the gradient of the marginal likelihood, in which the coefficients of the
    tasks are integrated out, so trees are not spent on what the tasks differ by. Without trees
    this is :class:`BayesianMultiTaskRegressor` of the features in `varying`; with one task it
    is LightGBM. Needs LightGBM (``pip install "polytask[trees]"``).

    Parameters
    ----------
    varying : "all" or sequence of str or int, default=()
        The features whose slopes vary between tasks, by name after encoding or position. The
        intercept always varies.
    structure : {"auto", "none", "scalar", "diagonal", "low_rank", "full"} or Structure, \
default="auto"
        The covariances that Omega may have, as in :class:`BayesianMultiTaskRegressor`.
    learning_rate : float, default=0.1
        What the values of the leaves are multiplied by. These are gradient steps: the mean of
        what the other trees and the tasks' posterior means leave of the rows in the leaf.
    max_iter : int, default=1000
        Trees at most; 0 is the linear model alone.
    max_leaf_nodes : int, default=31
        Leaves of a tree at most.
    min_samples_leaf : int, default=20
        Rows of a leaf at least.
    l2_regularization : float, default=0.0
        The strength of the L2 penalty on the values of the leaves, in rows.
    cv : int, splitter, iterable of (train, test) or None, default=5
        Folds on which the number of trees is chosen, by the density of held-out rows given the
        other rows of their task, and which the prior is learned on: what trees leave of rows
        that they did not grow on. An int means folds of the rows of every task. None: exactly
        `max_iter` trees, the prior learned on the rows that they grew on, of which they leave
        less than of new ones, so that intervals are too narrow.
    n_iter_no_change : int, default=20
        The search for the number of trees ends after so many that brought nothing.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="shared"
        What to do with unknown tasks in ``predict``: refuse them, or predict with f, mu and the
        spread of the prior.
    n_jobs : int or None, default=None
        Threads; None means 1, and -1 all cores.
    random_state : int, RandomState or None, default=0
        Of LightGBM.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    n_iter_ : int
        Number of trees.
    held_out_loss_ : ndarray of shape (n_tried + 1,)
        The negative log density of held-out rows, per row and up to a constant, by the number of
        trees; empty without folds.
    effects_ : ndarray of shape (n_tasks, 1 + n_varying)
        Posterior means of the deviations of the tasks' coefficients in original units, the
        intercept first.
    effect_names_ : ndarray of shape (1 + n_varying,)
        "intercept" and the features whose slopes vary.
    prior_ : Prior
        mu, Omega and sigma^2, for scaled features and targets.
    noise_ : ndarray of shape (n_tasks,)
        Standard deviation of the noise of each task in original units.
    structure_ : Structure
        The structure of Omega.
    solution_ : Solution
        Of the search for the prior: its objective is minus the log marginal likelihood.
    evidence_ : tuple of Candidate
        The structures that were tried, with log-likelihood, price and score.
    log_marginal_likelihood_ : float
        Of the targets in original units given trees that did not grow on them (with ``cv=None``
        that did), restricted: mu is integrated out.

    Notes
    -----
    The columns of a target matrix are tasks, each scaled by its own mean and deviation.

    References
    ----------
    Sigrist, F. (2022). Gaussian process boosting. Journal of Machine Learning Research 23(232),
    1-46 (the gradient; section 3.3 for the covariance from held-out rows).

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

    varying: Any = ()
    structure: Any = "auto"  # str or Structure
    learning_rate: float = 0.1
    max_iter: int = 1000
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20
    l2_regularization: float = 0.0
    cv: Any = 5
    n_iter_no_change: int = 20
    task_column: str | int | None = None
    unseen_tasks: str = "shared"
    n_jobs: int | None = None
    random_state: Any = 0
    date_features: bool = False

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        limits, trees = self._settings(owner)
        outcomes = regression(data, "squared", owner)
        if data.n_rows < 2:
            allowed, sample = LazyMessage("allowed.rows_for_noise"), LazyMessage("got.one_sample")
            raise DataError(sentence("X", owner, allowed, sample))
        refuse_huge(data, outcomes, owner)
        weight = label_weights(data, outcomes, None, owner)
        how = "task" if data.form is Form.TARGETS else "common"
        targets = TARGET_SCALES[how](outcomes.y, weight, data, centre=True)
        columns = np.array(varying_columns(self.varying, data, owner)[1:], dtype=np.intp) - 1
        long = data.with_y(targets.apply(outcomes.y, data)).to_long()
        slopes = long.with_X(long.X[:, columns], present=_of_columns(long.present, columns))
        own = np.ones(long.n_rows) if long.sample_weight is None else long.sample_weight
        features = feature_scaling(slopes, own, standardize=True, centre=True)
        exists = cell_mask(slopes)
        Z = (_dense(slopes.X) - features.mean) / features.scale
        Z = np.column_stack([np.ones(len(Z)), Z if exists is None else Z * exists])
        rows = TaskRows(Z, np.asarray(long.y, dtype=float), own, long.row_tasks(), data.n_tasks)
        structure = self.structure if isinstance(self.structure, Structure) else None
        structure = structure or STRUCTURES.get(self.structure)
        with weights_within_reach(weight, owner), blas_threads(self.n_jobs, owner, usual=1):
            binned = BinnedRows(long.X, trees)
            grown = grow(rows, binned, structure, self._folds(data, long, owner), limits)
        counts = sum_by_task(weight, data)
        tasks = BayesTasks(
            prior=grown.prior,
            blocks=(grown.block,),
            mean=features.mean,
            scale=features.scale,
            target_mean=targets.mean,
            target_scale=targets.scale,
            counts=counts,
            present=slopes.present,
            precision="float32" if data.X.dtype == np.float32 else "float64",
        )
        self._columns, self._tasks, self._trees = columns, tasks, grown.trees
        names = self.coef_feature_names_[columns].tolist()
        self.effect_names_ = np.array(["intercept", *names], dtype=object)
        units = (features, targets, counts)
        self.log_marginal_likelihood_ = original_units(grown.learned, *units)
        self._keep(grown, tasks)

    def _settings(self, owner: str) -> tuple[tuple[int, int], TreeSettings]:
        """Return checked parameters: limits of the number of trees, and how these grow."""
        if not isinstance(self.structure, Structure):
            one_of(self.structure, "structure", owner, tuple(STRUCTURES))
        for name, least in (("max_iter", 0), ("max_leaf_nodes", 2)):
            positive_integer(getattr(self, name) + 1 - least, name, owner)
        jobs = 1 if self.n_jobs is None else self.n_jobs
        trees = TreeSettings(
            learning_rate=positive(self.learning_rate, "learning_rate", owner),
            max_leaf_nodes=int(self.max_leaf_nodes),
            min_samples_leaf=positive_integer(self.min_samples_leaf, "min_samples_leaf", owner),
            l2_regularization=nonnegative(self.l2_regularization, "l2_regularization", owner),
            threads=effective_n_jobs(jobs),
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
        )
        patience = positive_integer(self.n_iter_no_change, "n_iter_no_change", owner)
        return (int(self.max_iter), patience), trees

    def _folds(self, data: TaskData, long: TaskData, owner: str) -> list[tuple[Index, Index]]:
        """Return folds of the rows of the long form."""
        if self.cv is None or self.max_iter == 0:
            return []
        places = np.argsort(data.order)
        rows = places[np.searchsorted(data.order[places], long.order)]
        pairs = []
        for train, held in as_splits(self.cv, data, "cv", owner):
            sides = [np.flatnonzero(np.isin(rows, side)) for side in (train, held)]
            pairs.append((sides[0], sides[1]))
        return pairs

    def _keep(self, grown: Grown, tasks: BayesTasks) -> None:
        """Set the fitted attributes."""
        linear, (coef, intercept) = tasks.linear(), tasks.typical()
        known = np.column_stack([linear.intercept, linear.coef])
        typical = np.concatenate([[intercept], coef]).astype(known.dtype)
        # The last line is for unseen tasks.
        self._lines = np.vstack([known, typical])
        levels = np.append(tasks.target_mean, tasks.units(-1)[0])
        own = self._lines.copy()
        own[:, 0] -= levels
        self._scales = np.append(tasks.target_scale, tasks.units(-1)[1])
        self.effects_ = own[:-1] - own[-1]
        self.n_iter_, self.held_out_loss_ = grown.n_iter, grown.losses
        self.prior_, self.noise_ = grown.prior, tasks.noise()
        self.structure_, self.evidence_ = grown.learned.model.structure, grown.candidates
        learned, value = grown.learned, self.log_marginal_likelihood_
        how = (learned.residual, learned.converged, learned.n_iter, learned.seconds)
        self.solution_ = Ended(value, *how).solution(linear, LIMITS[1])
        if not learned.converged:
            fields = {"owner": type(self).__name__, "n": learned.n_iter, "tol": f"{LIMITS[0]:g}"}
            fields |= {"value": f"{learned.residual:.2e}"}
            fields |= {"status": self.solution_.status.told.node}
            warnings.warn(ConvergenceWarning(LazyMessage("warn.likelihood", fields)), stacklevel=4)

    def predict(self, X: Any, task: Any = None, return_std: bool = False) -> Any:  # noqa: ANN401
        """Predict with trees and posterior means, for unseen tasks with the prior mean.

        Parameters
        ----------
        X, task
            As in :class:`MultiTaskRegressor`.
        return_std : bool, default=False
            Whether to return the standard deviation of a new target too: of the coefficients of
            its task and of the noise, which holds the error of the trees.

        Returns
        -------
        predictions, or (predictions, deviations)
            Arrays in the order of X, or mappings if X is one.
        """
        mean = super().predict(X, task)
        if not return_std:
            return mean
        query, n_tasks = self._read(X, task), len(self._schema.index.labels)
        return mean, outputs.predictions(query, n_tasks, outputs.one_by_one(self._deviation))

    def _predict_task(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        return self._predict_rows(X, np.full(X.shape[0], task))

    def _predict_rows(self, X: Any, tasks: Index) -> NDArray[Any]:  # noqa: ANN401
        Z = np.column_stack([np.ones(X.shape[0]), _dense(X[:, self._columns])])
        own = np.einsum("ij,ij->i", Z, self._lines[tasks])
        found = self._trees.values(X) * self._scales[tasks] + own
        return np.asarray(found, dtype=self._tasks.precision)

    def _deviation(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        return self._tasks.deviation(X[:, self._columns], task)

    def _quantiles(self, p: float, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401
        return self._quantiles_of_rows(p)(X, np.full(X.shape[0], task))

    def _quantiles_of_rows(self, p: float) -> outputs.RowsFunction:
        def quantiles_of(X: Any, tasks: Index) -> NDArray[Any]:  # noqa: ANN401
            # Trees are asked once for the rows of all tasks.
            deviation = outputs.one_by_one(self._deviation)(X, tasks)
            return np.asarray(self._predict_rows(X, tasks) + scipy.special.ndtri(p) * deviation)

        return quantiles_of


def _of_columns(present: NDArray[np.bool_] | None, columns: Index) -> Any:  # noqa: ANN401
    return None if present is None else present[:, columns]


def _dense(X: Any) -> Array:  # noqa: ANN401 - dense or sparse
    return np.asarray(X.toarray() if is_sparse(X) else X, dtype=np.float64)
