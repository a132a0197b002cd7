"""What a pooled estimator is told about the task of a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    OrthogonalMatchingPursuit,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    TweedieRegressor,
)
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils import get_tags

from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.baselines._categories import category_mask, mean_targets
from polytask.baselines._logistic import TunedLogistic
from polytask.baselines._means import TunedMeans
from polytask.baselines._ridge import TunedRidge
from polytask.baselines._rows import Rows

Labels = NDArray[Any]
Floats = NDArray[Any]
Tasks = NDArray[np.intp]

# Squared loss: centring within tasks is the same as a free intercept per task. Those that
# search a path by themselves are here because their grid follows the largest column.
_CENTRED = (
    LinearRegression, Ridge, ElasticNet, ElasticNetCV, LassoCV, Lars,
    OrthogonalMatchingPursuit, BayesianRidge, ARDRegression,
)  # fmt: skip
_LINEAR = (
    *_CENTRED, RidgeCV, HuberRegressor, QuantileRegressor, LinearSVR, PoissonRegressor,
    GammaRegressor, TweedieRegressor, LogisticRegression, RidgeClassifier, RidgeClassifierCV,
    LinearSVC, TunedLogistic, TunedMeans, TunedRidge,
)  # fmt: skip
_NEWTON = (LogisticRegression, PoissonRegressor, GammaRegressor, TweedieRegressor)
# Linear models whose sparse solvers bear columns of very unequal length.
_STEADY = (*_NEWTON, TunedLogistic, TunedMeans, TunedRidge)
_SEARCHES = (GridSearchCV, RandomizedSearchCV)
_BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)

# A column this many times as long as the longest feature makes the penalty on its coefficient
# the square of it smaller.
_LONG = 1000.0
# Columns of so many tasks, with more numbers than this (80 MB), are stored without their zeros.
_MANY_TASKS, _MANY_NUMBERS = 50, 10_000_000
# Newton's matrix has this many rows at most.
_NEWTON_COLUMNS = 3000


class TaskEffect(ABC):
    """A learned task effect; task -1 is one that nothing is known about."""

    sentence: str

    @abstractmethod
    def width(self, tasks: Tasks) -> int:
        """Return how many numbers it puts beside a row of these tasks at most."""

    @abstractmethod
    def apply(self, X: Any, tasks: Tasks) -> Any:  # noqa: ANN401 - dense or sparse
        """Return rows, each of its task, as the estimator takes them."""

    @abstractmethod
    def restore(self, values: Labels, tasks: Tasks) -> Labels:
        """Return the predictions of the rows from those of the estimator."""


@saveable("baseline.effect.none")
@dataclass(frozen=True, eq=False)
class NoEffect(TaskEffect):
    """The estimator sees the features only."""

    sentence: str

    def width(self, tasks: Tasks) -> int:
        """Return 0."""
        return 0

    def apply(self, X: Any, tasks: Tasks) -> Any:  # noqa: ANN401 - dense or sparse
        """Return X."""
        return X

    def restore(self, values: Labels, tasks: Tasks) -> Labels:
        """Return the values."""
        return values


@saveable("baseline.effect.centred")
@dataclass(frozen=True, eq=False)
class Centred(TaskEffect):
    """X and y less their task means; the last row of the means is that of all tasks."""

    means: Floats
    levels: Floats
    sentence: str

    def width(self, tasks: Tasks) -> int:
        """Return 0."""
        return 0

    def apply(self, X: Any, tasks: Tasks) -> Any:  # noqa: ANN401 - dense
        """Subtract the task means from X."""
        return X - self.means[tasks]

    def restore(self, values: Labels, tasks: Tasks) -> Labels:
        """Add the task means of y."""
        return np.asarray(values + self.levels[tasks])


@saveable("baseline.effect.columns")
@dataclass(frozen=True, eq=False)
class TaskColumns(TaskEffect):
    """Columns beside the features, the same for all rows of a task; the last row for task -1."""

    values: Floats
    sentence: str

    def width(self, tasks: Tasks) -> int:
        """Return the number of columns."""
        return int(self.values.shape[1])

    def apply(self, X: Any, tasks: Tasks) -> Any:  # noqa: ANN401 - dense or sparse
        """Put the columns of the task of each row beside X."""
        return beside(X, self.values[tasks])

    def restore(self, values: Labels, tasks: Tasks) -> Labels:
        """Return the values."""
        return values


@saveable("baseline.effect.indicators")
@dataclass(frozen=True, eq=False)
class TaskIndicators(TaskEffect):
    """One column per task, `length` in its rows and 0 elsewhere; task -1 is a mixture of all."""

    shares: Floats
    length: float
    sparse: bool
    sentence: str

    def width(self, tasks: Tasks) -> int:
        """Return the number of tasks, but 1 where only what is not 0 is stored."""
        few = self.sparse and not np.any(tasks < 0)
        return 1 if few else len(self.shares)

    def apply(self, X: Any, tasks: Tasks) -> Any:  # noqa: ANN401 - dense or sparse
        """Put the columns beside X."""
        columns = self._columns(tasks)
        return beside(X, columns if self.sparse else columns.toarray())

    def restore(self, values: Labels, tasks: Tasks) -> Labels:
        """Return the values."""
        return values

    def _columns(self, tasks: Tasks) -> sp.csr_array:
        n_tasks = len(self.shares)
        unknown = np.flatnonzero(tasks < 0)
        known = np.flatnonzero(tasks >= 0)
        rows = np.concatenate([known, np.repeat(unknown, n_tasks)])
        columns = np.concatenate([tasks[known], np.tile(np.arange(n_tasks), len(unknown))])
        values = np.concatenate([np.ones(len(known)), np.tile(self.shares, len(unknown))])
        shape = (len(tasks), n_tasks)
        return sp.csr_array((self.length * values, (rows, columns)), shape=shape)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The estimator, and the rows that it is to be fitted on."""

    effect: TaskEffect
    estimator: Any
    X: Any
    y: Labels


def no_effect(estimator: Any, rows: Rows) -> Prepared:  # noqa: ANN401 - an estimator
    """Tell nothing about the task."""
    sentence = "No task effect: the estimator sees the features only."
    return Prepared(NoEffect(sentence), estimator, rows.X, rows.y)


def own_intercepts(estimator: Any, rows: Rows) -> Prepared:  # noqa: ANN401 - an estimator
    """Give every task an intercept that no penalty acts on."""
    if rows.n_tasks == 1 and getattr(estimator, "fit_intercept", True):
        return _one_task(estimator, rows)
    if isinstance(estimator, _CENTRED) and not is_sparse(rows.X):
        return _centred(estimator, rows)
    inner = estimator.estimator if isinstance(estimator, _SEARCHES) else estimator
    if isinstance(inner, _LINEAR):
        return _long_columns(estimator, rows)
    sentence = (
        f"One 0/1 column per task: {type(inner).__name__} is not known to be linear, so that its "
        "own intercept and penalty, if any, act as usual."
    )
    return _with_indicators(estimator, rows, 1.0, sentence)


def task_category(estimator: Any, rows: Rows) -> Prepared:  # noqa: ANN401 - an estimator
    """Make the task a feature."""
    if rows.n_tasks == 1:
        return _one_task(estimator, rows)
    if not isinstance(estimator, _BOOSTING):
        sentence = "The task is a category: one 0/1 column per task."
        return _with_indicators(estimator, rows, 1.0, sentence)
    if rows.n_tasks <= min(estimator.max_bins, 255):
        mask = category_mask(estimator.categorical_features, rows.X.shape[1])
        copy = clone(estimator).set_params(categorical_features=mask)
        sentence = f"The task is a category of {type(estimator).__name__}."
        codes = np.append(np.arange(rows.n_tasks, dtype=float), np.nan)[:, None]
        return _with_columns(copy, rows, codes, sentence)
    values, crossed = mean_targets(rows, not is_classifier(estimator))
    sentence = (
        f"The task is given as the mean target of its rows, cross-fitted: {rows.n_tasks} tasks "
        "are too many for one category."
    )
    return Prepared(TaskColumns(values, sentence), estimator, beside(rows.X, crossed), rows.y)


EFFECTS: Mapping[str, Callable[[Any, Rows], Prepared]] = {
    "none": no_effect,
    "intercept": own_intercepts,
    "category": task_category,
}


def beside(X: Any, columns: Any) -> Any:  # noqa: ANN401 - dense or sparse, both of them
    """Put columns beside a design, in its precision; sparse if one of the two is."""
    columns = columns.astype(X.dtype) if X.dtype.kind == "f" else columns
    if is_sparse(X) or is_sparse(columns):
        return sp.hstack([sp.csr_array(X), sp.csr_array(columns)], format="csr")
    return np.hstack([X, columns])


def as_matrix(X: Any) -> Any:  # noqa: ANN401 - what a transformer returns
    """Return the output of a transformer as an array or sparse matrix."""
    return X if is_sparse(X) else np.asarray(X)


def _one_task(estimator: Any, rows: Rows) -> Prepared:  # noqa: ANN401 - an estimator
    return Prepared(NoEffect("No task effect: there is one task."), estimator, rows.X, rows.y)


def _centred(estimator: Any, rows: Rows) -> Prepared:  # noqa: ANN401 - an estimator
    means, levels = _with_overall(rows, rows.X), _with_overall(rows, rows.y[:, None])[:, 0]
    sentence = "One intercept per task, free of any penalty: X and y are centred within tasks."
    effect = Centred(means.astype(rows.X.dtype, copy=False), levels, sentence)
    X = rows.X - effect.means[rows.tasks]
    return Prepared(effect, estimator, X, rows.y - levels[rows.tasks])


def _with_overall(rows: Rows, values: Floats) -> Floats:
    """Return weighted means by task and, in the last row, the mean of all rows."""
    weight = np.ones(rows.n_rows) if rows.weight is None else rows.weight
    shape = (rows.n_tasks, rows.n_rows)
    members = sp.csr_array((weight, (rows.tasks, np.arange(rows.n_rows))), shape=shape)
    sums = members @ values
    counts: Floats = np.asarray(members.sum(axis=1))
    means = sums / np.where(counts > 0, counts, 1.0)[:, None]
    return np.vstack([means, rows.task_shares() @ means])


def _with_indicators(estimator: Any, rows: Rows, length: float, sentence: str) -> Prepared:  # noqa: ANN401
    """Add one column per task, without its zeros where they would not fit."""
    inner = estimator.estimator if isinstance(estimator, _SEARCHES) else estimator
    bears = _LINEAR if length == 1.0 else _STEADY
    able = isinstance(inner, bears) and get_tags(inner).input_tags.sparse
    many = rows.n_tasks >= _MANY_TASKS and rows.n_rows * rows.n_tasks > _MANY_NUMBERS
    sparse = able and many
    effect = TaskIndicators(rows.task_shares(), length, sparse, sentence)
    return Prepared(effect, estimator, effect.apply(rows.X, rows.tasks), rows.y)


def _with_columns(estimator: Any, rows: Rows, values: Floats, sentence: str) -> Prepared:  # noqa: ANN401
    effect = TaskColumns(values, sentence)
    return Prepared(effect, estimator, effect.apply(rows.X, rows.tasks), rows.y)


def _long_columns(estimator: Any, rows: Rows) -> Prepared:  # noqa: ANN401 - an estimator
    copy = clone(estimator)
    params = copy.get_params()
    prefix = "estimator__" if isinstance(copy, _SEARCHES) else ""
    if f"{prefix}fit_intercept" in params:
        # Beside one column per task it would be determined by the penalty alone.
        copy.set_params(**{f"{prefix}fit_intercept": False})
    inner = copy.estimator if prefix else copy
    if isinstance(inner, _NEWTON) and inner.solver == "lbfgs" and _fits_newton(rows, inner):
        # Same optimum, and unlike lbfgs not slowed down by columns of unequal length.
        copy.set_params(**{f"{prefix}solver": "newton-cholesky"})
    sentence = (
        "One intercept per task, as a column so long that the penalty on it is negligible "
        f"({1 / _LONG**2:g} of that on the longest feature)."
    )
    return _with_indicators(copy, rows, _LONG * _longest(rows), sentence)


def _fits_newton(rows: Rows, estimator: Any) -> bool:  # noqa: ANN401 - an estimator
    classes = len(np.unique(rows.y)) if isinstance(estimator, LogisticRegression) else 1
    per_class = 1 if classes <= 2 else classes
    return bool((rows.X.shape[1] + rows.n_tasks) * per_class <= _NEWTON_COLUMNS)


def _longest(rows: Rows) -> float:
    """Return the largest standard deviation of a feature, 1 if all are constant."""
    weight = np.ones(rows.n_rows) if rows.weight is None else rows.weight
    share = weight / weight.sum()
    squares = rows.X.power(2) if is_sparse(rows.X) else np.square(rows.X)
    variance = np.asarray(squares.T @ share - (rows.X.T @ share) ** 2)
    largest = float(np.sqrt(max(variance.max(initial=0.0), 0.0)))
    return largest if largest > 0 else 1.0
