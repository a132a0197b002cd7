"""Quadratic penalties on the differences between tasks, also along time."""

from __future__ import annotations

import datetime
import numbers
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import cos, pi
from typing import TypeAlias, final

import numpy as np

from polytask._checks import got_shape, nearest, sentence
from polytask._linalg import Array, index_like, inner, like, namespace
from polytask._registry import saveable
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage, Text
from polytask.penalties.base import Columns, Quadratic
from polytask.penalties.terms import ALPHA, AbsoluteTerm, changed, checked_by, optional

# Columns, and the matrix among them.
Blocks: TypeAlias = tuple[tuple[np.ndarray, np.ndarray], ...]


def by_group(
    W: Array, groups: Sequence[np.ndarray], operate: Callable[[Array, int], Array]
) -> Array:
    """Apply an operation to each group of columns; put the results back in place."""
    if W.shape[1] == 0:
        return W
    if len(groups) == 1:
        # One group holds every column, in order.
        return operate(W, 0)
    xp = namespace(W)
    done = [operate(xp.take(W, index_like(g, W), axis=1), i) for i, g in enumerate(groups)]
    back = np.argsort(np.concatenate(groups), kind="stable")
    return xp.take(xp.concat(done, axis=1), index_like(back, W), axis=1)


def check_width(W: Array, n_columns: int, owner: str) -> None:
    """Refuse a W of another number of columns than the penalty is for."""
    if W.shape[1] != n_columns:
        allowed = LazyMessage("allowed.array_of_columns", {"n": n_columns})
        raise ParameterError(sentence("W", owner, allowed, got_shape(W.shape)))


def without(parameter: str, owner: str, task: object, known: Iterable[object]) -> LazyMessage:
    """Return that something is not given for a task."""
    got = LazyMessage("got.none_for", {"lacking": repr(task)})
    said = sentence(parameter, owner, LazyMessage("allowed.every_task"), got)
    return said + nearest(task, known)


@final
@saveable("penalty.toward_mean")
@dataclass(frozen=True, eq=False, repr=False)
class TowardMean(AbsoluteTerm, Quadratic):
    """alpha / 2 * sum over tasks of ||w_t - mean of the tasks||^2.

    See :func:`toward_mean`.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    columns : Columns, default=None
        The tasks that own the columns of W; estimators set it.
    """

    label = "toward_mean"

    alpha: float | None = field(default=None, metadata=ALPHA)
    columns: Columns | None = field(default=None, kw_only=True)

    def bind(self, columns: Columns) -> TowardMean:
        """Return a copy that takes the mean within each class."""
        bound: TowardMean = changed(self, columns=columns)
        return bound

    @cached_property
    def _groups(self) -> tuple[np.ndarray, ...]:
        """The columns of each class; nothing while unbound."""
        return self.columns.class_groups() if self.columns is not None else ()

    def _deviations(self, W: Array) -> Array:
        """Return each column less the mean of its group, (n_features, n_columns)."""
        if self.columns is not None:
            check_width(W, len(self.columns.tasks), self.label)
        if W.shape[1] == 0:
            return W
        groups = self._groups or (np.arange(W.shape[1]),)
        xp = np if isinstance(W, np.ndarray) else namespace(W)
        return by_group(W, groups, lambda V, _: V - xp.mean(V, axis=1, keepdims=True))

    def value(self, W: Array) -> float:
        """Return alpha / 2 times the sum of squared deviations."""
        deviations = self._deviations(W)
        return 0.5 * self.weight * inner(deviations, deviations)

    def gradient(self, W: Array) -> Array:
        """Return alpha times the deviations from the mean."""
        return self.weight * self._deviations(W)

    def apply(self, W: Array) -> Array:
        """Return alpha times the deviations from the mean."""
        return self.weight * self._deviations(W)

    def curvature(self) -> float:
        """Return alpha; 0 if no class belongs to two tasks."""
        alone = self.columns is not None and all(len(g) < 2 for g in self._groups)
        return 0.0 if alone else self.weight

    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return alpha * (1 - 1 / group size) for each column, of shape (n_columns,)."""
        diagonal = np.zeros(n_columns)
        for group in self._groups or (np.arange(n_columns),):
            diagonal[group] = self.weight * (1 - 1 / max(len(group), 1))
        return diagonal


def toward_mean(alpha: float | None = None) -> TowardMean:
    """Pull every task towards the mean of all: alpha / 2 * sum_t ||w_t - mean||^2.

    With several columns per task the mean is taken among the columns of one class; a
    class that one task alone has is not penalised. The mean itself is free; add
    ``L2(...)`` to shrink it too [1]_. No matrix between tasks is ever formed.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0; None means 1.0.

    Returns
    -------
    TowardMean
        The penalty.

    References
    ----------
    .. [1] Evgeniou, T. and Pontil, M. (2004). Regularized multi-task learning. KDD,
       Lemma 2.2.
    """
    return TowardMean(alpha)


_SEMIDEFINITE = LazyMessage("allowed.semidefinite")


def square_matrix(value: object, parameter: str, owner: str, allowed: Text) -> np.ndarray:
    """Return a copy of a square matrix of finite numbers in float64, or raise."""
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ParameterError(sentence(parameter, owner, allowed, type(value).__name__)) from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ParameterError(sentence(parameter, owner, allowed, got_shape(matrix.shape)))
    if not np.isfinite(matrix).all():
        raise ParameterError(sentence(parameter, owner, allowed, LazyMessage("got.not_finite")))
    return matrix


def _checked_matrix(value: object, parameter: str, owner: str) -> np.ndarray:
    """Return a symmetric positive semi-definite matrix in float64, or raise."""
    matrix = square_matrix(value, parameter, owner, _SEMIDEFINITE)
    slack = 1e-10 * np.abs(matrix).max(initial=0.0)
    if np.abs(matrix - matrix.T).max(initial=0.0) > slack:
        got = LazyMessage("got.not_symmetric")
        raise ParameterError(sentence(parameter, owner, _SEMIDEFINITE, got))
    matrix = np.asarray(0.5 * (matrix + matrix.T))
    lowest = np.linalg.eigvalsh(matrix).min(initial=0.0)
    if lowest < -slack * max(len(matrix), 1):
        got = LazyMessage("got.eigenvalue", {"value": f"{lowest:.6g}"})
        raise ParameterError(sentence(parameter, owner, _SEMIDEFINITE, got))
    return matrix


def checked_tasks(value: Iterable[Hashable], parameter: str, owner: str) -> tuple[Hashable, ...]:
    """Return task labels as a tuple, or raise if one comes twice."""
    tasks = tuple(value)
    if len(set(tasks)) < len(tasks):
        twice = next(task for i, task in enumerate(tasks) if task in tasks[:i])
        got = LazyMessage("got.twice", {"name": repr(twice)})
        allowed = LazyMessage("allowed.distinct_labels")
        raise ParameterError(sentence(parameter, owner, allowed, got))
    return tasks


class Blockwise(AbsoluteTerm, Quadratic):
    """alpha / 2 * tr(W Q W') for a matrix Q that joins columns of one class only."""

    @property
    @abstractmethod
    def _blocks(self) -> Blocks:
        """The columns of each class, and Q among them."""

    def _coupled(self, W: Array) -> Array:
        """Return W Q, class by class."""
        check_width(W, sum(len(group) for group, _ in self._blocks), self.label)
        groups = [group for group, _ in self._blocks]
        return by_group(W, groups, lambda V, i: V @ like(self._blocks[i][1], W))

    @final
    def value(self, W: Array) -> float:
        """Return alpha / 2 * tr(W Q W')."""
        return 0.5 * self.weight * inner(W, self._coupled(W))

    @final
    def gradient(self, W: Array) -> Array:
        """Return alpha W Q."""
        return self.weight * self._coupled(W)

    @final
    def apply(self, W: Array) -> Array:
        """Return alpha W Q."""
        return self.weight * self._coupled(W)

    @cached_property
    def _largest_eigenvalue(self) -> float:
        """The largest eigenvalue of Q over the classes."""
        tops = [np.linalg.eigvalsh(block).max(initial=0.0) for _, block in self._blocks]
        return float(max(tops, default=0.0))

    @final
    def curvature(self) -> float:
        """Return alpha times the largest eigenvalue of Q."""
        return self.weight * self._largest_eigenvalue

    @final
    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return alpha times the diagonal of Q by column, of shape (n_columns,)."""
        diagonal = np.zeros(n_columns)
        for group, block in self._blocks:
            diagonal[group] = self.weight * np.diag(block)
        return diagonal


@final
@saveable("penalty.coupling")
@dataclass(frozen=True, eq=False, repr=False)
class Coupling(Blockwise):
    """alpha / 2 * tr(W Q W') for a matrix Q between tasks.

    See :func:`coupling`.

    Parameters
    ----------
    alpha : float
        The strength, >= 0.
    matrix : ndarray of shape (n_tasks, n_tasks)
        Q, symmetric and positive semidefinite.
    tasks : tuple of hashable, default=None
        The tasks of its rows; None means those of the model in their order.
    columns : Columns, default=None
        The tasks that own the columns of W; estimators set it.
    """

    label = "coupling"

    alpha: float | None = field(metadata=ALPHA)
    matrix: np.ndarray = field(metadata=checked_by(_checked_matrix))
    tasks: tuple[Hashable, ...] | None = field(default=None, metadata=optional(checked_tasks))
    columns: Columns | None = field(default=None, kw_only=True)

    def _check_together(self) -> None:
        """Refuse labels that do not fit the matrix."""
        if self.tasks is not None and len(self.tasks) != len(self.matrix):
            allowed = LazyMessage("allowed.label_per_matrix_row", {"n": len(self.matrix)})
            raise ParameterError(sentence("tasks", self.label, allowed, len(self.tasks)))

    def bind(self, columns: Columns) -> Coupling:
        """Return a copy that couples the columns of one class as their tasks are."""
        labels = columns.task_labels()
        if self.tasks is None and len(labels) != len(self.matrix):
            allowed = LazyMessage("allowed.square_of_tasks", {"shape": (len(labels),) * 2})
            got = got_shape(self.matrix.shape)
            raise ParameterError(sentence("matrix", self.label, allowed, got))
        for task in labels if self.tasks is not None else ():
            if task not in (known := self.tasks or ()):
                raise ParameterError(without("tasks", self.label, task, known))
        bound: Coupling = changed(self, columns=columns)
        return bound

    @cached_property
    def _blocks(self) -> Blocks:
        """The columns of each class, and Q among their tasks."""
        if self.columns is None:
            return ((np.arange(len(self.matrix)), self.matrix),)
        order = self.columns.task_labels() if self.tasks is None else self.tasks
        row = {task: i for i, task in enumerate(order)}
        blocks = []
        for group in self.columns.class_groups():
            rows = [row[self.columns.tasks[column]] for column in group]
            blocks.append((group, self.matrix[np.ix_(rows, rows)]))
        return tuple(blocks)


def coupling(
    alpha: float | None, matrix: np.ndarray, tasks: Sequence[Hashable] | None = None
) -> Coupling:
    """Couple tasks by a matrix Q: alpha / 2 * tr(W Q W').

    With several columns per task, the columns of one class are coupled as their tasks
    are; a task that lacks the class counts as zero there.

    Parameters
    ----------
    alpha : float or None
        The strength, >= 0; None means 1.0.
    matrix : array of shape (n_tasks, n_tasks)
        Q, symmetric and positive semi-definite.
    tasks : sequence of hashable, default=None
        The task of each row of Q; None: the tasks of the model in their order.

    Returns
    -------
    Coupling
        The penalty.

    Raises
    ------
    ParameterError
        If the matrix is not symmetric positive semi-definite, or a label comes twice.
    """
    return Coupling(alpha, matrix, tasks if tasks is None else tuple(tasks))


# Labels that say by themselves which comes first.
_IN_TIME = (
    numbers.Real,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    np.datetime64,
    np.timedelta64,
)


def checked_order(value: object, parameter: str, owner: str) -> tuple[Hashable, ...]:
    """Return task labels as a tuple, or raise unless they are labels that differ."""
    if not isinstance(value, Iterable):
        allowed = LazyMessage("allowed.order")
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return checked_tasks(value, parameter, owner)


def sequences(
    columns: Columns, order: Sequence[Hashable] | None, owner: str
) -> tuple[np.ndarray, ...]:
    """Return the columns of each class, one after the other in time."""
    labels = columns.task_labels()
    known = _ascending(labels, owner) if order is None else tuple(order)
    place = {task: i for i, task in enumerate(known)}
    for task in labels:
        if task not in place:
            raise ParameterError(without("order", owner, task, known))
    at = np.asarray([place[task] for task in columns.tasks], dtype=np.intp)
    return tuple(group[np.argsort(at[group], kind="stable")] for group in columns.class_groups())


def _ascending(labels: tuple[Hashable, ...], owner: str) -> tuple[Hashable, ...]:
    """Return numbers or dates in ascending order, or raise."""
    try:
        if all(isinstance(label, _IN_TIME) for label in labels):
            return tuple(sorted(labels))  # type: ignore[type-var]
    except TypeError:
        pass  # numbers among dates
    got = LazyMessage("got.none_for", {"lacking": [repr(label) for label in labels[:3]]})
    raise ParameterError(sentence("order", owner, LazyMessage("allowed.order_of_labels"), got))


@dataclass(frozen=True, eq=False)
class _Chain:
    """Sequences of columns, one behind the other."""

    # Shapes: columns (n_columns,), linked (n_columns - 1,).

    columns: np.ndarray
    linked: np.ndarray
    longest: int

    @classmethod
    def of(cls, parts: Sequence[np.ndarray]) -> _Chain:
        """Return the chain of sequences of columns, none of them empty."""
        lengths = [len(part) for part in parts]
        columns = np.concatenate([np.zeros(0, dtype=np.intp), *parts])
        linked = np.ones(max(len(columns) - 1, 0), dtype=bool)
        linked[np.cumsum(lengths[:-1], dtype=np.intp) - 1] = False
        return cls(columns, linked, max(lengths, default=0))

    @cached_property
    def back(self) -> np.ndarray | None:
        """Where each column of W is in the chain; None if they are in its order."""
        ascending = bool(np.all(self.columns[1:] > self.columns[:-1]))
        return None if ascending else np.argsort(self.columns)

    def differences(self, W: Array) -> Array:
        """Return what each column of the chain adds to the one before, 0 between sequences."""
        xp = namespace(W)
        V = W if self.back is None else xp.take(W, index_like(self.columns, W), axis=1)
        steps = V[:, 1:] - V[:, :-1]
        return steps if self.linked.all() else steps * like(self.linked, W)[None, :]

    def spread(self, steps: Array) -> Array:
        """Return the transpose of :meth:`differences` applied to such differences."""
        xp = namespace(steps)
        none = like(np.zeros((steps.shape[0], 1)), steps)
        V = xp.concat([none, steps], axis=1) - xp.concat([steps, none], axis=1)
        return V if self.back is None else xp.take(V, index_like(self.back, V), axis=1)


@final
@saveable("penalty.along_time")
@dataclass(frozen=True, eq=False, repr=False)
class AlongTime(AbsoluteTerm, Quadratic):
    """alpha / 2 * sum over tasks of ||w_t - w_{t-1}||^2.

    See :func:`along_time`.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    order : tuple of hashable, default=None
        The tasks, the first in time first; None means those of the model in their order.
    columns : Columns, default=None
        The tasks that own the columns of W; estimators set it.
    """

    label = "along_time"

    alpha: float | None = field(default=None, metadata=ALPHA)
    order: tuple[Hashable, ...] | None = field(default=None, metadata=optional(checked_order))
    columns: Columns | None = field(default=None, kw_only=True)

    def bind(self, columns: Columns) -> AlongTime:
        """Return a copy that follows each class through the tasks that have it."""
        sequences(columns, self.order, self.label)
        bound: AlongTime = changed(self, columns=columns)
        return bound

    @cached_property
    def _bound(self) -> _Chain:
        """The chain of the columns; of none while unbound."""
        columns = self.columns
        return _Chain.of(() if columns is None else sequences(columns, self.order, self.label))

    def _chain(self, n_columns: int) -> _Chain:
        """Return the chain of the columns, while unbound in the order in which they come."""
        return _Chain.of((np.arange(n_columns),)) if self.columns is None else self._bound

    def _pulled(self, W: Array) -> Array:
        """Return W L for the Laplacian L of the chain."""
        if self.columns is not None:
            check_width(W, self.columns.n_columns, self.label)
        if W.shape[1] == 0:
            return W
        chain = self._chain(W.shape[1])
        return chain.spread(chain.differences(W))

    def value(self, W: Array) -> float:
        """Return alpha / 2 times the sum of squared differences."""
        if self.columns is not None:
            check_width(W, self.columns.n_columns, self.label)
        steps = self._chain(W.shape[1]).differences(W)
        return 0.5 * self.weight * inner(steps, steps)

    def gradient(self, W: Array) -> Array:
        """Return alpha times each column's differences from its neighbours."""
        return self.weight * self._pulled(W)

    def apply(self, W: Array) -> Array:
        """Return alpha times each column's differences from its neighbours."""
        return self.weight * self._pulled(W)

    def curvature(self) -> float:
        """Return alpha times the largest eigenvalue of the Laplacian; below 4 alpha."""
        if self.columns is None:
            return 4 * self.weight
        longest = self._bound.longest
        return self.weight * (2 + 2 * cos(pi / longest)) if longest > 1 else 0.0

    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return alpha times the number of neighbours of each column, (n_columns,)."""
        chain = self._chain(n_columns)
        neighbours, diagonal = np.zeros(n_columns), np.zeros(n_columns)
        neighbours[1:] += chain.linked
        neighbours[:-1] += chain.linked
        diagonal[chain.columns] = self.weight * neighbours
        return diagonal


def along_time(alpha: float | None = None, order: Sequence[Hashable] | None = None) -> AlongTime:
    """Pull every task towards the ones before and after: alpha / 2 * sum_t ||w_t - w_{t-1}||^2.

    For tasks that are points in time, such as visits of the same patients: coefficients
    change little from one to the next, without being pulled to any fixed value [1]_. Not
    for tasks without an order, and not where coefficients jump: the square spreads a jump
    over several steps. The level that all tasks share is free; add ``L2(...)`` to shrink
    it too, ``L21(...)`` for features that matter at no time (the temporal group lasso).

    With several columns per task, each class is followed through the tasks that have it.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0; None means 1.0.
    order : sequence of hashable, default=None
        The task labels, the first in time first; it may name tasks that the model lacks.
        None: labels that are numbers or dates, ascending. Other labels need it.

    Returns
    -------
    AlongTime
        The penalty.

    Raises
    ------
    ParameterError
        If a label comes twice; on fitting, if a task is not in the order, or the order is
        None and the labels are neither numbers nor dates.

    References
    ----------
    .. [1] Zhou, J., Yuan, L., Liu, J. and Ye, J. (2011). A multi-task learning formulation
       for predicting disease progression. KDD, 814-822.
    """
    return AlongTime(alpha, None if order is None else checked_order(order, "order", "along_time"))
