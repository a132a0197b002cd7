"""A norm on whole tasks: a task has coefficients or has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np

from polytask._linalg import Array, index_like, largest, namespace, total
from polytask._registry import saveable
from polytask.penalties.base import Mergeable, Valued
from polytask.penalties.columns import Columns
from polytask.penalties.couplings import check_width
from polytask.penalties.terms import ALPHA, FRACTION, NormTerm, RelativeTerm, changed


@dataclass(frozen=True, eq=False)
class _Owners:
    """Which columns a task has, for tasks of unequal numbers of columns."""

    # Shapes: columns (n_tasks * width,), owner (n_columns,).

    columns: np.ndarray
    owner: np.ndarray
    width: int

    @classmethod
    def of(cls, columns: Columns) -> _Owners:
        """Return the owners of columns."""
        groups = columns.task_groups()
        width = max((len(group) for group in groups), default=1)
        held = np.full((len(groups), width), columns.n_columns, dtype=np.intp)
        owner = np.zeros(columns.n_columns, dtype=np.intp)
        for task, group in enumerate(groups):
            held[task, : len(group)] = group
            owner[group] = task
        return cls(held.ravel(), owner, width)


@final
@saveable("penalty.outlier_tasks")
@dataclass(frozen=True, eq=False, repr=False)
class OutlierTasks(RelativeTerm, NormTerm):
    """alpha * sum over tasks of ||W_t||_2: a task has coefficients, or none at all.

    The norm is that of all columns of the task, one for each of its classes, together.

    By itself it keeps the tasks in which the features say enough and empties the others,
    each task for itself. Its place is beside a part that the tasks share: what is left for
    it are the few tasks that do not fit in, and those it leaves at zero do [1]_. Not for
    choosing features (``L21``), nor where every task differs a little (``toward_mean``).

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.

    References
    ----------
    .. [1] Chen, J., Zhou, J. and Ye, J. (2011). Integrating low-rank and group-sparse
       structures for robust multi-task learning. KDD, 42-50.
    """

    label = "OutlierTasks"

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)
    columns: Columns | None = field(default=None, kw_only=True)

    def bind(self, columns: Columns) -> OutlierTasks:
        """Return a copy that takes the columns of a task together."""
        bound: OutlierTasks = changed(self, columns=columns)
        return bound

    @cached_property
    def _owners(self) -> _Owners | None:
        """The columns of each task; None if they have one each."""
        columns = self.columns
        if columns is None or len(columns.task_labels()) == columns.n_columns:
            return None
        return _Owners.of(columns)

    def _lengths(self, W: Array) -> Array:
        """Return the norm of each task, of shape (n_tasks,)."""
        if self.columns is not None:
            check_width(W, self.columns.n_columns, self.label)
        xp, owners = namespace(W), self._owners
        squares = xp.sum(W * W, axis=0)
        if owners is not None:
            # The last entry, 0, is what the gaps of narrower tasks refer to.
            padded = xp.concat([squares, xp.zeros_like(squares[:1])])
            held = xp.take(padded, index_like(owners.columns, W), axis=0)
            squares = xp.sum(xp.reshape(held, (-1, owners.width)), axis=1)
        return xp.sqrt(squares)

    def norm(self, W: Array) -> float:
        """Return the sum of the norms of the tasks."""
        return total(self._lengths(W))

    def dual_norm(self, Z: Array) -> float:
        """Return the largest norm of a task."""
        return largest(self._lengths(Z))

    def prox(self, W: Array, step: float) -> Array:
        """Return W with every task shortened by step * alpha."""
        xp, lengths = namespace(W), self._lengths(W)
        amount = float(step) * self.weight
        one, zero = xp.ones_like(lengths), xp.zeros_like(lengths)
        left = xp.where(lengths > amount, lengths - amount, zero)
        gain = left / xp.where(lengths > 0, lengths, one)
        if self._owners is not None:
            gain = xp.take(gain, index_like(self._owners.owner, W), axis=0)
        return W * gain[None, :]

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another OutlierTasks of the same columns."""
        if not isinstance(other, OutlierTasks) or other.columns != self.columns:
            return None
        return OutlierTasks(self.weight + other.weight, columns=self.columns)
