"""A scorer for scikit-learn's cross-validation that knows about tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import UNUSED

from polytask._checks import got_shape, listed, nearest, one_of, sentence
from polytask.data import tables
from polytask.data.labels import factorize
from polytask.data.missing import missing_mask
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage
from polytask.metrics.scores import Score, accuracy, r2, scores_by_task

Labels = NDArray[Any]
Weight = NDArray[np.float64] | None

METRICS: Mapping[str, Score] = {"r2": r2, "accuracy": accuracy}


def task_scorer(
    metric: str | Callable[..., float] = "r2",
    *,
    average: str = "task",
    greater_is_better: bool = True,
) -> TaskScorer:
    """Make a scorer for ``cross_val_score``, ``GridSearchCV`` and the like.

    Parameters
    ----------
    metric : {"r2", "accuracy"} or callable, default="r2"
        A callable takes ``(y_true, y_pred)`` and, to be used with weights,
        ``sample_weight``.
        "r2" compares with the mean of the rows that are scored. ``estimator.score``, which
        scikit-learn takes where no scorer is given, with the training mean.
    average : {"task", "rows"}, default="task"
        "task" is the mean of the scores of the tasks, those left out for which the score is
        undefined (NaN); "rows" is one score of the rows of all tasks together.
    greater_is_better : bool, default=True
        False for an error, whose sign is then changed.

    Returns
    -------
    TaskScorer
        Called as ``scorer(estimator, X, y, task=None, sample_weight=None)``.

    Raises
    ------
    ParameterError
        If a parameter has none of these values.

    Notes
    -----
    With ``task=`` given, the labels reach ``predict``; scikit-learn passes them on if asked
    to (see the example). Without, the tasks are those that the estimator reads from X by its
    ``task_column``, or the columns of a target matrix y, whose gaps are left out.

    A transformer of all columns, such as ``StandardScaler``, also changes a task column of
    numbers. Keep it out with a ``ColumnTransformer`` whose remainder passes through: the task
    column is then the last one, ``task_column=-1``.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn
    >>> from sklearn.model_selection import cross_val_score
    >>> from polytask import MultiTaskRegressor
    >>> from polytask.metrics import task_scorer
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((60, 3)), np.tile(["a", "b", "c"], 20)
    >>> y = X[:, 0]
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     scores = cross_val_score(
    ...         MultiTaskRegressor().set_fit_request(task=True),
    ...         X,
    ...         y,
    ...         scoring=task_scorer("r2").set_score_request(task=True),
    ...         params={"task": school},
    ...     )
    >>> bool(scores.min() > 0.9)
    True
    """
    scorer = TaskScorer(metric, average=average, greater_is_better=greater_is_better)
    scorer._check()
    return scorer


class TaskScorer(BaseEstimator):
    """A scorer that averages over tasks; see :func:`task_scorer`.

    Parameters
    ----------
    metric, average, greater_is_better
        As in :func:`task_scorer`.
    """

    # scikit-learn takes every argument but X and y for metadata, unless told otherwise.
    __metadata_request__score = {"estimator": UNUSED}  # noqa: RUF012 - read by scikit-learn

    def __init__(
        self,
        metric: str | Callable[..., float] = "r2",
        *,
        average: str = "task",
        greater_is_better: bool = True,
    ) -> None:
        self.metric = metric
        self.average = average
        self.greater_is_better = greater_is_better

    def __call__(
        self,
        estimator: Any,  # noqa: ANN401 - whatever has predict
        X: Any,  # noqa: ANN401
        y: Any,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> float:
        """Score a fitted estimator; see :meth:`score`."""
        return self.score(estimator, X, y, task, sample_weight)

    def score(
        self,
        estimator: Any,  # noqa: ANN401 - whatever has predict
        X: Any,  # noqa: ANN401
        y: Any,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> float:
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted; its ``predict`` takes ``task`` if that is given.
        X : array or table of shape (n, d)
            The rows.
        y : array of shape (n,) or (n, T)
            The truth, NaN or None where it is missing.
        task : array of shape (n,) or None
            The task of each row.
        sample_weight : array of shape (n,) or None
            Row weights.

        Returns
        -------
        float
            NaN if the score is undefined for every task.

        Raises
        ------
        DataError
            If y, task or weights do not fit X.
        """
        metric = self._check()
        if isinstance(X, Mapping):
            allowed, got = (
                LazyMessage("allowed.array_or_table"),
                LazyMessage("got.mapping_to_score"),
            )
            raise DataError(sentence("X", "task_scorer", allowed, got))
        fitted = getattr(estimator, "best_estimator_", estimator)
        predicted = fitted.predict(X) if task is None else fitted.predict(X, task=task)
        labels = _labels_in(fitted, X) if task is None else task
        rows = _ScoredRows.read(y, predicted, sample_weight)
        parts = rows.by_task(labels) if self.average == "task" else [rows.together()]
        value = scores_by_task(((p.y, p.predicted, p.weight) for p in parts), metric).mean
        return value if self.greater_is_better else -value

    def _check(self) -> Score:
        """Return the metric as a function of truth, prediction and weights."""
        one_of(self.average, "average", "task_scorer", ("task", "rows"))
        one_of(self.greater_is_better, "greater_is_better", "task_scorer", (True, False))
        if isinstance(self.metric, str) and self.metric in METRICS:
            return METRICS[self.metric]
        if not callable(self.metric):
            allowed = LazyMessage("allowed.metric", {"options": listed(METRICS)})
            message = sentence("metric", "task_scorer", allowed, repr(self.metric))
            raise ParameterError(message + nearest(self.metric, METRICS))
        return _weighted_score(self.metric)


@dataclass(frozen=True, eq=False)
class _ScoredRows:
    """Truth beside prediction; 2-D where every row has every task."""

    y: Labels
    predicted: Labels
    weight: Weight

    @classmethod
    def read(cls, y: object, predicted: object, weight: object) -> _ScoredRows:
        """Read columns and tables of any kind; rows of weight zero are left out."""
        truth, guess = _values(y), _values(predicted)
        if truth.ndim == 2 and truth.shape[1] == 1 and guess.ndim == 1:
            truth = truth[:, 0]
        if truth.shape != guess.shape:
            allowed = LazyMessage("allowed.shape_of_predictions", {"shape": guess.shape})
            raise DataError(sentence("y", "task_scorer", allowed, got_shape(truth.shape)))
        if weight is None:
            return cls(truth, guess, None)
        weights = np.asarray(weight, dtype=np.float64)
        if weights.shape != truth.shape[:1]:
            allowed = LazyMessage("allowed.of_shape", {"shape": truth.shape[:1]})
            got = got_shape(weights.shape)
            raise DataError(sentence("sample_weight", "task_scorer", allowed, got))
        return cls(truth, guess, weights)

    def by_task(self, labels: object) -> list[_ScoredRows]:
        """Split by the labels, by the columns of a target matrix, or not at all."""
        if self.y.ndim == 2:
            if labels is not None:
                allowed = LazyMessage("allowed.none_for_columns")
                raise DataError(
                    sentence("task", "task_scorer", allowed, LazyMessage("got.a_value"))
                )
            return [
                _ScoredRows(y, p, self.weight).observed()
                for y, p in zip(self.y.T, self.predicted.T, strict=True)
            ]
        if labels is None:
            return [self.observed()]
        tasks, codes = factorize(labels, "task", "task_scorer")
        if len(codes) != len(self.y):
            allowed = LazyMessage("allowed.as_long_as_x", {"n": len(self.y)})
            raise DataError(sentence("task", "task_scorer", allowed, len(codes)))
        return [self.take(codes == t).observed() for t in range(len(tasks))]

    def together(self) -> _ScoredRows:
        """Return all labels as one task."""
        if self.y.ndim == 1:
            return self.observed()
        weight = None if self.weight is None else np.repeat(self.weight, self.y.shape[1])
        return _ScoredRows(self.y.ravel(), self.predicted.ravel(), weight).observed()

    def observed(self) -> _ScoredRows:
        """Return the rows with a label and a weight above zero."""
        seen = ~missing_mask(self.y)
        if self.weight is not None:
            seen &= self.weight > 0
        return self if np.all(seen) else self.take(seen)

    def take(self, mask: NDArray[np.bool_]) -> _ScoredRows:
        """Return some rows."""
        weight = None if self.weight is None else self.weight[mask]
        return _ScoredRows(self.y[mask], self.predicted[mask], weight)


def _values(given: Any) -> Labels:  # noqa: ANN401 - array, column or table
    if tables.is_table(given):
        return np.column_stack([tables.get_column(given, c) for c in tables.column_names(given)])
    return tables.column_values(given) if tables.is_column(given) else np.asarray(given)


def _labels_in(estimator: Any, X: Any) -> list[Hashable] | Labels | None:  # noqa: ANN401
    """Return the labels that an estimator reads from X, None if it reads none."""
    # Pipelines are known by their steps: importing their class would slow every import.
    if hasattr(estimator, "steps"):
        before = estimator[:-1]
        return _labels_in(estimator[-1], before.transform(X) if before.steps else X)
    column = getattr(estimator, "task_column", None)
    if column is None:
        return None
    if isinstance(column, list | tuple):
        column = column[0]  # of several groupings the first is that of the tasks
    if tables.is_table(X):
        return tables.get_column(X, tables.name_at(X, column))
    labels: Labels = np.asarray(X)[:, column]
    return labels


def _weighted_score(metric: Callable[..., float]) -> Score:
    """Give a metric of scikit-learn's kind our order of arguments."""

    def score(y: Labels, predicted: Labels, weight: Weight = None) -> float:
        if len(y) == 0:
            return float("nan")
        if weight is None:
            return float(metric(y, predicted))
        if not _takes_weights(metric):
            kind = getattr(metric, "__name__", repr(metric))
            allowed = LazyMessage("allowed.no_weights", {"kind": kind})
            got = LazyMessage("got.a_value")
            raise DataError(sentence("sample_weight", "task_scorer", allowed, got))
        return float(metric(y, predicted, sample_weight=weight))

    return score


def _takes_weights(metric: Callable[..., float]) -> bool:
    parameters = inspect.signature(metric).parameters
    several = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return several or "sample_weight" in parameters
