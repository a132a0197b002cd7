"""A quadratic penalty on the differences between tasks that follow each other in time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import cos, pi
from typing import final

import numpy as np

from polytask._linalg import Array, index_like, inner, like, namespace
from polytask._registry import saveable
from polytask.penalties.base import Quadratic
from polytask.penalties.columns import Columns
from polytask.penalties.couplings import check_width
from polytask.penalties.sequences import checked_order, sequences
from polytask.penalties.terms import ALPHA, AbsoluteTerm, changed, optional


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
