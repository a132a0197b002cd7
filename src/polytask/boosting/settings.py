"""What estimators with trees and a learned prior share: parameters, folds, columns that vary."""

from __future__ import annotations

import warnings
from abc import ABC
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import check_random_state

from polytask._checks import nonnegative, one_of, positive, positive_integer
from polytask._estimator.base import MultiTaskEstimator
from polytask._estimator.training import TaskColumns
from polytask.bayes.blocks import Index
from polytask.bayes.choose import Candidate
from polytask.bayes.prior import Structure
from polytask.boosting.growth import Folds, Grown
from polytask.boosting.trees import TreeSettings
from polytask.data import TaskData, as_splits
from polytask.exceptions import ConvergenceWarning
from polytask.linear.bayes_settings import STRUCTURES, Ended, varying_columns
from polytask.linear.prediction import LinearTasks
from polytask.messages import LazyMessage


@dataclass(eq=False, repr=False, kw_only=True)
class BoostingEstimator(MultiTaskEstimator, ABC):
    """Base of those with trees and a learned prior; its sections are part of their docs.

    Parameters
    ----------
    varying : "all" or sequence of str or int, default=()
        The features whose slopes vary between tasks, by name after encoding or position. The
        intercept always varies.
    structure : {"auto", "none", "scalar", "diagonal", "low_rank", "full"} or Structure, \
default="auto"
        The covariances that Omega may have, as in :class:`BayesianMultiTaskRegressor`.
    learning_rate : float, default=0.1
        What the values of the leaves are multiplied by.
    max_iter : int, default=1000
        Trees at most; 0 is the linear model alone.
    max_leaf_nodes : int, default=31
        Leaves of a tree at most.
    min_samples_leaf : int, default=20
        Rows of a leaf at least.
    l2_regularization : float, default=0.0
        The strength of the L2 penalty on the values of the leaves, in rows.
    cv : int, splitter, iterable of (train, test) or None, default=5
        Folds on which the number of trees is chosen, by the loss of held-out rows given the
        other rows of their task, and which the prior is learned on: what trees leave of rows
        that they did not grow on. An int means folds of the rows of every task. None: exactly
        `max_iter` trees, the prior learned on the rows that they grew on, of which they leave
        less than of new ones, so that uncertainty is understated.
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
        The loss of held-out rows, per row, by the number of trees; empty without folds.
    effect_names_ : ndarray of shape (1 + n_varying,)
        "intercept" and the features whose slopes vary.
    structure_ : Structure
        The structure of Omega.
    solution_ : Solution
        Of the search for the prior: its objective is minus the log marginal likelihood.
    evidence_ : tuple of Candidate
        The structures that were tried, with log-likelihood, price and score.
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
    task_column: TaskColumns = None
    unseen_tasks: str = "shared"
    n_jobs: int | None = None
    random_state: Any = 0
    date_features: bool = False

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

    @property
    def _fixed_structure(self) -> Structure | None:
        if isinstance(self.structure, Structure):
            return self.structure
        return STRUCTURES[self.structure]

    def _slopes(self, data: TaskData, long: TaskData, owner: str) -> tuple[Index, TaskData]:
        """Return the columns whose slopes vary, and the rows in these alone."""
        columns = np.array(varying_columns(self.varying, data, owner)[1:], dtype=np.intp) - 1
        present = None if long.present is None else long.present[:, columns]
        names = self.coef_feature_names_[columns].tolist()
        self.effect_names_ = np.array(["intercept", *names], dtype=object)
        return columns, long.with_X(long.X[:, columns], present=present)

    def _folds(self, data: TaskData, long: TaskData, owner: str) -> Folds:
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

    def _keep_search(
        self,
        grown: Grown[Any, Any],
        ended: Ended,
        linear: LinearTasks,
        limits: tuple[float, int],
    ) -> None:
        """Set the attributes that say how the search ended, and warn if it did not converge."""
        self.n_iter_, self.held_out_loss_ = grown.n_iter, grown.losses
        self.evidence_: tuple[Candidate, ...] = grown.candidates
        self.log_marginal_likelihood_ = ended.log_likelihood
        self.solution_ = ended.solution(linear, limits[1])
        if not ended.converged:
            fields = {"owner": type(self).__name__, "n": ended.n_iter, "tol": f"{limits[0]:g}"}
            fields |= {"value": f"{ended.residual:.2e}"}
            fields |= {"status": self.solution_.status.told.node}
            warnings.warn(ConvergenceWarning(LazyMessage("warn.likelihood", fields)), stacklevel=5)
