"""Explained deviance of tasks with different losses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.outcomes import refuse_forbidden
from polytask._estimator.query import Query
from polytask._estimator.scoring import rows_by_task
from polytask.data import TaskData
from polytask.exceptions import DataError
from polytask.losses import Logistic, Loss, Multinomial, PiecewiseLinear, Squared, SquareRoot
from polytask.metrics.scores import TaskScores, best_constant, d2

Array = NDArray[Any]
# What stands for the logarithm of a probability of zero.
_NEVER = -700.0


class LossTasks(Protocol):
    """What predicts the rows of one task by a loss."""

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task."""
        ...

    def classes_of(self, task: int) -> NDArray[Any] | None:
        """Return the classes of a task, None for numbers."""
        ...

    def eta(self, X: Any, task: int) -> NDArray[Any]:  # noqa: ANN401 - dense or sparse
        """Return the predictors, shape (n_rows, columns of the task)."""
        ...


def by_deviance(losses: Iterable[Loss]) -> bool:
    """Say whether predictions of numbers are judged by their losses: they are no plain means."""
    return any(not loss.follows_units or isinstance(loss, PiecewiseLinear) for loss in losses)


def explained(linear: LossTasks, data: TaskData, query: Query, owner: str) -> TaskScores:
    """Return D2 of every task: the share of its deviance that the model explains.

    It is that of the loss of the task, and -inf where a predicted mean overflows.

    Parameters
    ----------
    linear : LossTasks
        The model.
    data : TaskData
        Raw, with labels.
    query : Query
        The same rows, encoded.
    owner : str
        The estimator, for messages.

    Raises
    ------
    DataError
        If a target is none that the loss of its task could be fitted to.
    """
    codes = range(data.n_tasks) if query.codes is None else np.asarray(query.codes).tolist()
    losses = [linear.loss_of(int(t)) for t in codes]
    refuse_forbidden(np.asarray(data.y), losses, data, owner)
    values = []
    for t, X, truth, weight in rows_by_task(data, query):
        loss, classes = linear.loss_of(t), linear.classes_of(t)
        y = _coded(truth, classes, owner)
        eta = linear.eta(X, t)
        eta = eta if isinstance(loss, Multinomial) else eta[:, 0]
        with np.errstate(over="ignore"):
            values.append(d2(loss, y, eta, _constant(loss, y, eta.shape, weight), weight))
    return TaskScores(tuple(values))


def _coded(truth: Array, classes: Array | None, owner: str) -> NDArray[np.float64]:
    if classes is None:
        return np.asarray(truth, dtype=float)
    position = {label: k for k, label in enumerate(classes.tolist())}
    unknown = [label for label in truth.tolist() if label not in position]
    if unknown:
        raise DataError(
            f"y of {owner} must hold classes seen in fit ({classes.tolist()}); got {unknown[0]!r}."
        )
    return np.array([position[label] for label in truth.tolist()], dtype=float)


def _constant(loss: Loss, y: Array, shape: tuple[int, ...], weight: Array | None) -> Array:
    """Return the predictor of the best constant for the rows scored."""
    if not len(y):
        return np.zeros(shape)
    if isinstance(loss, Multinomial):
        share = np.bincount(y.astype(np.intp), weight, minlength=shape[1])
        return np.broadcast_to(_log(share / share.sum()), shape)
    mean = float(np.average(y, weights=weight))
    if isinstance(loss, Squared | SquareRoot):
        return np.full(shape, mean)
    if isinstance(loss, Logistic):
        p = np.array([mean, 1.0 - mean])
        return np.full(shape, _log(p)[0] - _log(p)[1])
    return np.full(shape, best_constant(loss, y, weight))


def _log(p: Array) -> Array:
    return np.where(p > 0, np.log(np.where(p > 0, p, 1.0)), _NEVER)
