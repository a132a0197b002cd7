"""Pooled: one estimator for the rows of all tasks, and what it is told about the task."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
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
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from polytask._checks import one_of, sentence
from polytask._estimator import UNSEEN, Query, outputs
from polytask._estimator.export import stand_alone, task_position
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.baselines._base import (
    Baseline,
    ClassFunction,
    TrainingRows,
    check_estimator_object,
    class_columns,
    fit_copy,
    fit_steps,
    fits_moments,
    for_all_rows,
    stacked_rows,
    without_folds,
)
from polytask.baselines._logistic import TunedLogistic
from polytask.baselines._means import TunedMeans
from polytask.baselines._ridge import TunedRidge
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage, text_of

Floats = NDArray[Any]
# What stands for a sentence; the sentence in English in files that were written before.
Node = dict[str, Any] | str

_FOLDS = 5


def category_mask(given: object, n_features: int) -> NDArray[np.bool_]:
    """Mark the categorical features and, behind them, the task."""
    mask = np.zeros(n_features + 1, dtype=bool)
    mask[-1] = True
    if given is None or (isinstance(given, str) and given == "from_dtype"):
        return mask
    chosen = np.asarray(given)
    if chosen.dtype.kind not in "biu" or (chosen.dtype == bool and len(chosen) != n_features):
        what, allowed = LazyMessage("what.pooled"), LazyMessage("allowed.mask", {"n": n_features})
        raise IncompatibleError(sentence("categorical_features", what, allowed, repr(given)))
    mask[:-1][chosen] = True
    return mask


def mean_targets(rows: TrainingRows, numeric: bool) -> tuple[Floats, Floats]:
    """Encode the task by its smoothed mean target; sample weights play no part in it."""
    # Shapes: values (n_tasks + 1, k), crossed (n_rows, k).
    n_classes = 0 if numeric else len(np.unique(rows.y))
    kind = "continuous" if numeric else "binary" if n_classes == 2 else "multiclass"
    column = rows.tasks[:, None]
    crossed: list[tuple[NDArray[np.intp], Floats]] = []
    for train, held in _folds(rows.y, numeric).split(column, rows.y):
        encoder = TargetEncoder(target_type=kind).fit(column[train], rows.y[train])
        crossed.append((held, encoder.transform(column[held])))
    out = np.empty((rows.n_rows, crossed[0][1].shape[1]))
    for held, values in crossed:
        out[held] = values
    known = np.append(np.arange(rows.n_tasks), -1)[:, None]
    encoder = TargetEncoder(target_type=kind).fit(column, rows.y)
    return encoder.transform(known), out


def _folds(y: Floats, numeric: bool) -> KFold | StratifiedKFold:
    if numeric:
        return KFold(_FOLDS, shuffle=True, random_state=0)
    rarest = int(np.unique(y, return_counts=True)[1].min())
    if rarest < 2:
        allowed = LazyMessage("allowed.two_rows_per_class")
        raise DataError(sentence("y", "Pooled", allowed, LazyMessage("got.class_of_one_row")))
    return StratifiedKFold(min(_FOLDS, rarest), shuffle=True, random_state=0)


Labels = NDArray[Any]

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
_FORESTS = (
    ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor,
)  # fmt: skip
# A column for each of more tasks is seldom drawn at a cut of a forest, and parts few rows.
_FEW_TASKS = 10

# A column this many times as long as the longest feature makes the penalty on its coefficient
# the square of it smaller.
_LONG = 1000.0
# Columns of so many tasks, with more numbers than this (80 MB), are stored without their zeros.
_MANY_TASKS, _MANY_NUMBERS = 50, 10_000_000
# Newton's matrix has this many rows at most.
_NEWTON_COLUMNS = 3000


class TaskEffect(ABC):
    """A learned task effect; task -1 is one that nothing is known about."""

    sentence: Node

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

    sentence: Node

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
    sentence: Node

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
    sentence: Node

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
    sentence: Node

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
class PreparedRows:
    """The estimator, and the rows that it is to be fitted on."""

    effect: TaskEffect
    estimator: Any
    X: Any
    y: Labels


def _said(key: str, fields: Mapping[str, str | int] = MappingProxyType({})) -> Node:
    return LazyMessage(f"effect.{key}", dict(fields)).node


def no_effect(estimator: Any, rows: TrainingRows) -> PreparedRows:  # noqa: ANN401 - an estimator
    """Tell nothing about the task."""
    return PreparedRows(NoEffect(_said("none")), estimator, rows.X, rows.y)


def own_intercepts(estimator: Any, rows: TrainingRows) -> PreparedRows:  # noqa: ANN401 - an estimator
    """Give every task an intercept that no penalty acts on."""
    if rows.n_tasks == 1 and getattr(estimator, "fit_intercept", True):
        return _one_task(estimator, rows)
    if isinstance(estimator, _CENTRED) and not is_sparse(rows.X):
        return _centred(estimator, rows)
    inner = estimator.estimator if isinstance(estimator, _SEARCHES) else estimator
    if isinstance(inner, _LINEAR):
        return _long_columns(estimator, rows)
    sentence = _said("columns_beside", {"kind": type(inner).__name__})
    return _with_indicators(estimator, rows, 1.0, sentence)


def task_category(estimator: Any, rows: TrainingRows) -> PreparedRows:  # noqa: ANN401 - an estimator
    """Make the task a feature."""
    if rows.n_tasks == 1:
        return _one_task(estimator, rows)
    forest = isinstance(estimator, _FORESTS) and rows.n_tasks > _FEW_TASKS
    takes_categories = {"categorical_features", "max_bins"} <= set(
        estimator.get_params(deep=False)
    )
    if not (forest or takes_categories):
        return _with_indicators(estimator, rows, 1.0, _said("columns"))
    codes = np.append(np.arange(rows.n_tasks, dtype=float), np.nan)[:, None]
    if not forest and rows.n_tasks <= min(estimator.max_bins, 255):
        mask = category_mask(estimator.categorical_features, rows.X.shape[1])
        copy = clone(estimator).set_params(categorical_features=mask)
        sentence = _said("category", {"kind": type(estimator).__name__})
        effect = TaskColumns(codes, sentence)
        return PreparedRows(effect, copy, effect.apply(rows.X, rows.tasks), rows.y)
    values, crossed = mean_targets(rows, not is_classifier(estimator))
    if forest:
        values, crossed = np.hstack([values, codes]), np.hstack([crossed, codes[rows.tasks]])
    sentence = _said("mean_and_number" if forest else "means", {"n": rows.n_tasks})
    return PreparedRows(TaskColumns(values, sentence), estimator, beside(rows.X, crossed), rows.y)


EFFECTS: Mapping[str, Callable[[Any, TrainingRows], PreparedRows]] = {
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


def _one_task(estimator: Any, rows: TrainingRows) -> PreparedRows:  # noqa: ANN401 - an estimator
    return PreparedRows(NoEffect(_said("one_task")), estimator, rows.X, rows.y)


def _centred(estimator: Any, rows: TrainingRows) -> PreparedRows:  # noqa: ANN401 - an estimator
    means, levels = _with_overall(rows, rows.X), _with_overall(rows, rows.y[:, None])[:, 0]
    effect = Centred(means.astype(rows.X.dtype, copy=False), levels, _said("centred"))
    X = rows.X - effect.means[rows.tasks]
    return PreparedRows(effect, estimator, X, rows.y - levels[rows.tasks])


def _with_overall(rows: TrainingRows, values: Floats) -> Floats:
    """Return weighted means by task and, in the last row, the mean of all rows."""
    weight = np.ones(rows.n_rows) if rows.weight is None else rows.weight
    shape = (rows.n_tasks, rows.n_rows)
    members = sp.csr_array((weight, (rows.tasks, np.arange(rows.n_rows))), shape=shape)
    sums = members @ values
    counts: Floats = np.asarray(members.sum(axis=1))
    means = sums / np.where(counts > 0, counts, 1.0)[:, None]
    return np.vstack([means, rows.task_shares() @ means])


def _with_indicators(
    estimator: Any,  # noqa: ANN401
    rows: TrainingRows,
    length: float,
    sentence: Node,
) -> PreparedRows:
    """Add one column per task, without its zeros where they would not fit."""
    inner = estimator.estimator if isinstance(estimator, _SEARCHES) else estimator
    bears = _LINEAR if length == 1.0 else _STEADY
    able = isinstance(inner, bears) and get_tags(inner).input_tags.sparse
    many = rows.n_tasks >= _MANY_TASKS and rows.n_rows * rows.n_tasks > _MANY_NUMBERS
    sparse = able and many
    effect = TaskIndicators(rows.task_shares(), length, sparse, sentence)
    return PreparedRows(effect, estimator, effect.apply(rows.X, rows.tasks), rows.y)


def _long_columns(estimator: Any, rows: TrainingRows) -> PreparedRows:  # noqa: ANN401 - an estimator
    copy = clone(estimator)
    params = copy.get_params()
    prefix = "estimator__" if isinstance(copy, _SEARCHES) else ""
    if f"{prefix}fit_intercept" in params:
        # Beside one column per task it would be determined by the penalty alone.
        copy.set_params(**{f"{prefix}fit_intercept": False})
    inner = copy.estimator if prefix else copy
    classes = len(np.unique(rows.y)) if isinstance(inner, LogisticRegression) else 1
    size = (rows.X.shape[1] + rows.n_tasks) * (1 if classes <= 2 else classes)
    if isinstance(inner, _NEWTON) and inner.solver == "lbfgs" and size <= _NEWTON_COLUMNS:
        # Same optimum, and unlike lbfgs not slowed down by columns of unequal length.
        copy.set_params(**{f"{prefix}solver": "newton-cholesky"})
    sentence = _said("long_columns", {"share": f"{1 / _LONG**2:g}"})
    return _with_indicators(copy, rows, _LONG * _longest(rows), sentence)


def _longest(rows: TrainingRows) -> float:
    """Return the largest standard deviation of a feature, 1 if all are constant."""
    weight = np.ones(rows.n_rows) if rows.weight is None else rows.weight
    share = weight / weight.sum()
    squares = rows.X.power(2) if is_sparse(rows.X) else np.square(rows.X)
    variance = np.asarray(squares.T @ share - (rows.X.T @ share) ** 2)
    largest = float(np.sqrt(max(variance.max(initial=0.0), 0.0)))
    return largest if largest > 0 else 1.0


# Numbers of X that are predicted at a time.
_AT_ONCE = 10_000_000


@saveable("baseline.pooled")
class Pooled(Baseline):
    """Fit one estimator on the rows of all tasks, with or without knowing the task.

    Parameters
    ----------
    estimator : regressor or classifier
        Copied before it is fitted.
    task_effect : {"none", "intercept", "category"}, default="none"
        What the estimator is told about the task of a row.

        - "none": nothing.
        - "intercept": every task has an intercept of its own that no penalty acts on. For
          linear regression with squared loss (``Ridge``, ``Lasso``, ...) this is exact: X and
          y are centred within each task, which gives the same coefficients. For other linear
          models (and for sparse X) a column of 0 and a large number per task is added, so
          that the penalty on the intercepts is negligible; the estimator's own intercept is
          then left out, and the solver "lbfgs" replaced by the exact "newton-cholesky". Any
          other estimator gets plain 0/1 columns.
        - "category": the task is one more feature: a category of histogram gradient boosting
          up to 255 tasks, beyond that the mean target of the task (cross-fitted
          ``TargetEncoder``); this mean and the number of the task for random forests and
          extremely randomised trees of more than ten tasks; 0/1 columns for any other
          estimator. Linear models that take
          sparse rows get the columns of many tasks (ten million numbers) without their zeros,
          as does "intercept" where their solver bears long columns.

        In a pipeline this concerns the last step; the steps before it see the features only.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``; "shared" uses the mean intercept of the
        tasks, weighted by their rows (for a category: as a missing one).
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator; with a task effect, the last step of a pipeline, which takes the
        features and what `task_effect_` says.
    steps_ : Pipeline or None
        The fitted transformers before `estimator_`, if it was taken out of a pipeline.
    n_task_columns_ : int
        How many columns the task effect puts behind the features.
    task_effect_ : str
        A sentence that says how the task effect was put into practice.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes of all tasks; for a target matrix a list that holds
        it once per target. Classifiers only.
    task_classes_ : dict of task to ndarray
        The classes that can be predicted for each task. Classifiers only.
    n_features_in_ : int
        Columns of X as given.

    Notes
    -----
    The rows of a target matrix are stacked, one per label. Sample weights reach the estimator
    as in :class:`SingleTask`, and so does a splitter that a search is given as `cv`. With
    "intercept", a classifier gives a task of one class a
    large but finite intercept.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from polytask import Pooled
    >>> X, school = np.arange(6.0).reshape(6, 1), ["a", "a", "a", "b", "b", "b"]
    >>> y = [0.0, 1.0, 2.0, 9.0, 10.0, 11.0]
    >>> model = Pooled(Ridge(alpha=1e-9), "intercept").fit(X, y, task=school)
    >>> model.predict([[3.0], [3.0]], task=["a", "b"]).round(3).tolist()
    [3.0, 9.0]
    """

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401 - any scikit-learn estimator
        task_effect: str = "none",
        *,
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        date_features: bool = False,
    ) -> None:
        self.estimator = estimator
        self.task_effect = task_effect
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks

    def _fits_moments(self) -> bool:
        return fits_moments(self.estimator)

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        one_of(self.task_effect, "task_effect", owner, EFFECTS)
        outcomes = self._read_targets(data)
        rows = stacked_rows(data, outcomes)
        self.steps_, prepared = self._prepare(rows, data)
        ready = dataclasses.replace(rows, X=prepared.X, y=prepared.y)
        fitted = fit_copy(prepared.estimator, ready, owner, "")
        self.estimator_ = without_folds(fitted, self.estimator)
        self._effect = prepared.effect
        self._known = rows.task_shares() > 0
        self.task_effect_ = str(text_of(prepared.effect.sentence))
        self.n_task_columns_ = prepared.effect.width(np.array([UNSEEN]))
        if is_classifier(self.estimator):
            # One model, so every task can get every class.
            union = np.asarray(outcomes.union)
            self.task_classes_ = dict.fromkeys(data.tasks, union)
            self.classes_ = [union] * data.n_tasks if data.form is Form.TARGETS else union

    def to_sklearn(self, task: Any) -> Any:  # noqa: ANN401 - a label; an estimator
        """Return the fitted estimator, which is that of every task.

        Parameters
        ----------
        task : label
            One of ``tasks_``.

        Returns
        -------
        estimator or Pipeline
            With the encoder in front if the model was fitted on a table.

        Raises
        ------
        DataError
            If there is no such task.
        IncompatibleError
            If there is a task effect, which the estimator alone does not know.
        """
        check_is_fitted(self)
        position = task_position(self._schema, task)
        if not isinstance(self._effect, NoEffect):
            fields = {"got": repr(self.task_effect)}
            raise IncompatibleError(LazyMessage("baselines.refusal.task_effect", fields))
        schema = dataclasses.replace(self._schema, present=None)
        return stand_alone(schema, position, self.estimator_)

    def _prepare(self, rows: TrainingRows, data: TaskData) -> tuple[Pipeline | None, PreparedRows]:
        """Add the task effect to the rows that the last step of the estimator sees."""
        owner = type(self).__name__
        check_estimator_object(self.estimator, owner)
        estimator = for_all_rows(self.estimator, data)
        effect = EFFECTS[self.task_effect]
        if effect is no_effect or not isinstance(estimator, Pipeline):
            return None, effect(estimator, rows)
        steps, last = estimator[:-1], estimator[-1]
        if not steps.steps:
            return None, effect(last, rows)
        fitted, Z = fit_steps(steps, rows, owner)
        return fitted, effect(last, dataclasses.replace(rows, X=as_matrix(Z)))

    def _inputs(self, X: Any, tasks: Tasks) -> Any:  # noqa: ANN401 - dense or sparse
        if self.steps_ is not None:
            X = as_matrix(self.steps_.transform(X))
        return self._effect.apply(X, self._learned(tasks))

    def _learned(self, tasks: Tasks) -> Tasks:
        """Return the tasks, -1 where nothing was learned about one."""
        return np.where(self._known[tasks] & (tasks != UNSEEN), tasks, UNSEEN)

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        return self._predict_rows(X, np.full(X.shape[0], task))

    def _predict_rows(self, X: Any, tasks: Tasks) -> Labels:  # noqa: ANN401 - dense or sparse
        values = self._asked(self.estimator_.predict, X, tasks).reshape(X.shape[0])
        return self._effect.restore(values, self._learned(tasks))

    def _asked(self, method: Callable[[Any], Any], X: Any, tasks: Tasks) -> Labels:  # noqa: ANN401
        """Return what the estimator says of rows, so many at a time that copies stay small."""
        width = self._effect.width(self._learned(tasks))
        step = max(_AT_ONCE // max(X.shape[1] + width, 1), 1)
        parts = [slice(first, first + step) for first in range(0, X.shape[0], step)]
        found = [np.asarray(method(self._inputs(X[part], tasks[part]))) for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _classes_of(self, task: int) -> Labels:
        return np.asarray(self.estimator_.classes_)

    def _class_values(self, query: Query, function: ClassFunction, absent: float) -> Floats:
        """Ask the one estimator once."""
        classes = np.asarray(self.estimator_.classes_)
        return outputs.joint_class_values(query, self.classes_, classes, function, absent)

    def _probabilities(self, X: Any, task: int | Tasks) -> Floats:  # noqa: ANN401
        tasks = np.broadcast_to(task, X.shape[0])
        return self._asked(self.estimator_.predict_proba, X, tasks)

    def _decisions(self, X: Any, task: int | Tasks) -> Floats:  # noqa: ANN401
        tasks = np.broadcast_to(task, X.shape[0])
        values = self._asked(self.estimator_.decision_function, X, tasks)
        n_classes = len(self.estimator_.classes_)
        return class_columns(values, n_classes, self.estimator, type(self).__name__)
