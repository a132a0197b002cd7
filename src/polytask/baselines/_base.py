"""What the baselines share: targets, classes, folds, and fitting the inner estimator."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import GammaRegressor, LinearRegression, PoissonRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import has_fit_parameter

from polytask._checks import sentence
from polytask._estimator import (
    MultiTaskEstimator,
    Outcomes,
    Query,
    classification,
    outputs,
    regression,
)
from polytask._estimator.classes import DecisionMixin
from polytask._estimator.outcomes import loss_object
from polytask._estimator.scaling import refuse_huge_values
from polytask.baselines._ridge import TunedRidge
from polytask.data import CollectedFolds, Form, Splitter, TaskData, as_splits
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.losses import Gamma, LogLink, Loss, Poisson, Quantile, Squared
from polytask.messages import LazyMessage, message_of

Labels = NDArray[Any]
Weights = NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows of one task, or of all tasks below each other."""

    # Shapes: X (n, d), y (n,), weight (n,), tasks (n,).

    X: Any
    y: Labels
    weight: Weights
    tasks: NDArray[np.intp]
    n_tasks: int

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)

    def task_shares(self) -> NDArray[np.float64]:
        """Return the part of the total weight that each task has, shape (n_tasks,)."""
        counts = np.bincount(self.tasks, self.weight, minlength=self.n_tasks)
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares


def rows_by_task(data: TaskData, outcomes: Outcomes) -> list[TrainingRows]:
    """Return the labelled rows of every task, in the order of the tasks."""
    found = []
    for t in range(data.n_tasks):
        part: Any = data.task_slice(t) if data.form is not Form.TARGETS else data.labelled()[:, t]
        weight = None if data.sample_weight is None else data.sample_weight[part]
        y = _natural(data, outcomes, t)
        found.append(TrainingRows(data.X[part], y, weight, np.zeros(len(y), dtype=np.intp), 1))
    return found


def stacked_rows(data: TaskData, outcomes: Outcomes) -> TrainingRows:
    """Return the labelled rows of all tasks below each other, sorted by task."""
    y = [_natural(data, outcomes, t) for t in range(data.n_tasks)]
    long = data.to_long()
    return TrainingRows(
        long.X, np.concatenate(y), long.sample_weight, long.row_tasks(), data.n_tasks
    )


def _natural(data: TaskData, outcomes: Outcomes, t: int) -> Labels:
    """Return the numbers or labels of a task, without gaps."""
    if data.form is Form.TARGETS:
        values = outcomes.y[data.labelled()[:, t], t]
    else:
        values = outcomes.y[data.task_slice(t)]
    classes = outcomes.classes[t]
    if classes is None:
        return np.asarray(values)
    # A table with columns of several types has its labels as objects.
    own = np.array(classes.tolist()) if classes.dtype == object else classes
    return np.asarray(own[values.astype(np.intp)])


_WEIGHT = "sample_weight"


def check_estimator_object(estimator: object, owner: str) -> None:
    """Refuse what is no estimator object."""
    usable = hasattr(estimator, "fit") and hasattr(estimator, "predict")
    if isinstance(estimator, type) or not usable:
        allowed = LazyMessage("allowed.sklearn")
        raise ParameterError(sentence("estimator", owner, allowed, repr(estimator)))


def weight_arguments(estimator: Any, weight: Weights, owner: str) -> dict[str, Weights]:  # noqa: ANN401
    """Return the arguments of ``fit`` that carry sample weights."""
    # In a pipeline every step that takes weights gets them.
    if weight is None:
        return {}
    if isinstance(estimator, Pipeline):
        taking = [name for name, step in estimator.steps if _takes_weights(step)]
        if estimator.steps[-1][0] in taking:
            return {f"{name}__{_WEIGHT}": weight for name in taking}
    elif _takes_weights(estimator):
        return {_WEIGHT: weight}
    if np.all(weight == 1):
        return {}
    allowed = LazyMessage("allowed.no_weights", {"kind": _name(estimator)})
    raise IncompatibleError(sentence(_WEIGHT, owner, allowed, LazyMessage("got.a_value")))


def fit_copy(estimator: Any, rows: TrainingRows, owner: str, task: str) -> Any:  # noqa: ANN401 - an estimator
    """Fit a copy of an estimator."""
    arguments = weight_arguments(estimator, rows.weight, owner)
    copy = clone(estimator)
    try:
        return _call(copy, "fit", rows, arguments)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, IndexError) as error:
        raise _with_place(error, copy, owner, task) from error


def fits_moments(estimator: object) -> bool:
    """Say whether weighted means and products of rows are all that an estimator needs."""
    # A strength that is chosen by leaving out single rows, or rows by chance, needs these.
    steps = estimator.steps if isinstance(estimator, Pipeline) else [("", estimator)]
    *before, last = [step for _, step in steps]
    by_folds = isinstance(last, TunedRidge) and isinstance(last.cv, CollectedFolds)
    scaled = all(isinstance(step, StandardScaler) for step in before)
    return scaled and (by_folds or type(last) is LinearRegression)


def fit_steps(steps: Pipeline, rows: TrainingRows, owner: str) -> tuple[Any, Any]:
    """Fit a copy of the transformers that stand before an estimator. Shapes: X (n, d')."""
    arguments: dict[str, Weights] = {}
    if rows.weight is not None:
        taking = [name for name, step in steps.steps if _takes_weights(step)]
        arguments = {f"{name}__{_WEIGHT}": rows.weight for name in taking}
    copy = clone(steps)
    try:
        return copy, _call(copy, "fit_transform", rows, arguments)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, IndexError) as error:
        raise _with_place(error, copy, owner, "") from error


def _call(estimator: Any, method: str, rows: TrainingRows, arguments: dict[str, Weights]) -> Any:  # noqa: ANN401
    call, steps = getattr(estimator, method), isinstance(estimator, Pipeline)
    last = estimator.steps[-1][1] if steps else estimator
    own = type(last).__module__.startswith("polytask.")
    with ExitStack() as settings:
        if not own:
            # Nothing judges what overflows there, so NumPy warns as it does without us.
            settings.enter_context(np.errstate(divide="warn", over="warn", invalid="warn"))
        if steps and arguments:
            # Names of steps go where they say, whether or not the user turned routing on.
            settings.enter_context(config_context(enable_metadata_routing=False))
        return call(rows.X, rows.y, **arguments)


def _takes_weights(step: Any) -> bool:  # noqa: ANN401 - an estimator or "passthrough"
    return hasattr(step, "fit") and bool(has_fit_parameter(step, _WEIGHT))


def _with_place(error: Exception, estimator: object, owner: str, task: str) -> DataError:
    fields = {"owner": owner, "kind": _name(estimator), "task": task, "reason": message_of(error)}
    return DataError(LazyMessage(f"baselines.refusal.not_fitted{'_to' if task else ''}", fields))


def _name(estimator: object) -> str:
    return type(estimator).__name__


# Parameters that take a splitter: of a search, and of the early stopping of a network.
_TAKING = ("cv", "validation")


def for_all_rows(estimator: Any, data: TaskData) -> Any:  # noqa: ANN401 - an estimator
    """Return the estimator of all rows, its search divided by the splitter that it is given."""
    return _divided(estimator, data.to_long()) if _given(estimator) else estimator


def for_every_task(estimator: Any, data: TaskData) -> list[Any]:  # noqa: ANN401
    """Return the estimator of each task, as :func:`for_all_rows` does for all rows."""
    if not _given(estimator):
        return [estimator] * data.n_tasks
    long = data.to_long()
    bounds = [long.task_slice(t) for t in range(long.n_tasks)]
    return [_divided(estimator, long.rows(np.arange(b.start, b.stop))) for b in bounds]


def without_folds(fitted: Any, given: Any) -> Any:  # noqa: ANN401 - estimators
    """Drop the row numbers that a search was divided by: they mean nothing once it is over."""
    step = _searching(fitted)
    for name in _given(given):
        if hasattr(step, name):
            step.set_params(**{name: _usual(step, name)})
    return fitted


def _given(estimator: Any) -> list[str]:  # noqa: ANN401 - an estimator
    """Return the parameters that hold a splitter of polytask."""
    step = _searching(estimator)
    return [name for name in _TAKING if isinstance(getattr(step, name, None), Splitter)]


def _divided(estimator: Any, rows: TaskData) -> Any:  # noqa: ANN401 - an estimator
    copy = clone(estimator)
    step = _searching(copy)
    for name in _given(estimator):
        splitter = getattr(step, name).reduced(rows) if rows.n_rows else None
        pairs = _usual(step, name) if splitter is None else as_splits(splitter, rows)
        step.set_params(**{name: pairs})
    return copy


def _usual(step: Any, name: str) -> Any:  # noqa: ANN401 - an estimator
    return inspect.signature(type(step)).parameters[name].default


def _loss_of(estimator: Any) -> Loss | None:  # noqa: ANN401 - a regressor
    """Return the loss of an estimator that is not a way to fit squared errors, else None."""
    last = _searching(estimator)
    loss = getattr(last, "loss", None)
    if isinstance(last, MultiTaskEstimator) and isinstance(loss, str | Loss):
        own = loss_object(loss, type(last).__name__)
        return own if own.judges_predictions else None
    if loss == "quantile" and hasattr(last, "quantile"):
        return Quantile(last.quantile)
    if loss == "poisson" or isinstance(last, PoissonRegressor):
        return Poisson()
    return Gamma() if loss == "gamma" or isinstance(last, GammaRegressor) else None


def _searching(estimator: Any) -> Any:  # noqa: ANN401 - an estimator
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


Floats = NDArray[np.float64]
# (rows of X, their task) -> (n, classes of the task); Pooled takes the task of each row too
ClassFunction = Callable[[Any, Any], Floats]


@dataclass(frozen=True, eq=False)
class _OneLoss:
    """Predicts the rows of every task by the one loss of the estimator that is wrapped."""

    model: Baseline
    loss: Loss

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task."""
        return self.loss

    def classes_of(self, task: int) -> None:
        """Return no classes."""

    def eta(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        """Return the predictors, shape (n_rows, 1)."""
        found = np.asarray(self.model._predict_task(X, task))[:, None]
        # The mean of a task of zeros underflows in some estimators.
        least = np.finfo(float).tiny
        return np.log(np.maximum(found, least)) if isinstance(self.loss, LogLink) else found


class Baseline(DecisionMixin):
    """Base of the baselines: a leaf class fits, and gives the values of one task."""

    estimator: Any
    classes_: Any  # an array, or a list with one per target

    @abstractmethod
    def _classes_of(self, task: int) -> Labels:
        """Return the classes that the values of a task belong to."""

    @abstractmethod
    def _probabilities(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        """Return class probabilities, shape (n, classes of the task)."""

    @abstractmethod
    def _decisions(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - dense or sparse
        """Return decision values, shape (n, classes of the task)."""

    def _read_targets(self, data: TaskData) -> Outcomes:
        """Return the targets as the wrapped estimator takes them, and keep the classes."""
        owner = type(self).__name__
        check_estimator_object(self.estimator, owner)
        if is_classifier(self.estimator):
            outcomes = classification(data, "auto", owner)
            targets = data.form is Form.TARGETS
            self.classes_ = list(outcomes.classes) if targets else outcomes.union
        elif is_regressor(self.estimator):
            outcomes = regression(data, Squared(), owner)
        else:
            allowed = LazyMessage("allowed.sklearn")
            raise ParameterError(sentence("estimator", owner, allowed, repr(self.estimator)))
        refuse_huge_values(outcomes.y, "y", owner, data)
        return outcomes

    def _by_loss(self) -> _OneLoss | None:
        loss = _loss_of(self.estimator) if is_regressor(self.estimator) else None
        return None if loss is None else _OneLoss(self, loss)

    def _has_probabilities(self) -> bool:
        return hasattr(self.estimator, "predict_proba")

    def _has_decisions(self) -> bool:
        return hasattr(self.estimator, "decision_function")

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        if query.codes is None:
            function, tasks = self._probabilities, range(len(self.tasks_))
            return [self._target_values(query.data.X, t, function, 0.0) for t in tasks]
        return outputs.split(query, self._class_values(query, self._probabilities, 0.0))

    def _class_values(self, query: Query, function: ClassFunction, absent: float) -> Floats:
        """Return what the classes of every row are worth, over all classes."""
        return outputs.class_values(query, self.classes_, self._classes_of, function, absent)

    def _target_values(self, X: Any, task: int, function: ClassFunction, absent: float) -> Floats:  # noqa: ANN401
        position = {label: k for k, label in enumerate(self.classes_[task].tolist())}
        at = [position[label] for label in self._classes_of(task).tolist()]
        values = np.full((X.shape[0], len(position)), absent)
        values[:, at] = function(X, task)
        return values

    def _class_decisions(self, query: Query) -> Any:  # noqa: ANN401
        # A task of one class has the constant 1 or -1.
        if query.codes is None:
            every = [
                self._target_values(query.data.X, t, self._decisions, -np.inf)
                for t in range(len(self.tasks_))
            ]
            return np.hstack([_one_column(v)[:, None] if v.shape[1] == 2 else v for v in every])
        values = self._class_values(query, self._decisions, -np.inf)
        if len(self.classes_) == 2:
            values = _one_column(values)
        return outputs.split(query, values)

    def __sklearn_tags__(self) -> Tags:
        """Say what the wrapped estimator is."""
        tags = super().__sklearn_tags__()
        if not hasattr(self.estimator, "__sklearn_tags__"):
            return tags
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.positive_only = inner.input_tags.positive_only
        tags.target_tags.positive_only = inner.target_tags.positive_only
        tags.non_deterministic = inner.non_deterministic
        return tags


def class_columns(values: Floats, n_classes: int, estimator: object, owner: str) -> Floats:
    """Return decision values as one column per class."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        # Half to each side: a softmax over the two is the logistic function of the value.
        return np.column_stack([-values, values]) / 2
    if values.shape[1] != n_classes:
        fields = {"kind": type(estimator).__name__, "n": values.shape[1], "classes": n_classes}
        allowed, got = LazyMessage("allowed.decisions"), LazyMessage("got.decisions", fields)
        raise ParameterError(sentence("estimator", owner, allowed, got))
    return values


def _one_column(values: Floats) -> Floats:
    """Join the two columns of two classes; infinite where a task lacks a class."""
    lacking = np.isneginf(values)
    flat: Floats = np.where(lacking, 0.0, values) @ np.array([-1.0, 1.0])
    flat[lacking[:, 0]], flat[lacking[:, 1]] = 1.0, -1.0
    return flat
