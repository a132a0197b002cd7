"""The penalty on absolute differences between tasks that follow each other."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np

from polytask._checks import nonnegative
from polytask._linalg import Array, host, index_like, like, namespace
from polytask._registry import saveable
from polytask.exceptions import ParameterError
from polytask.penalties.adapted import finite_limit
from polytask.penalties.base import Columns, Penalty, RowKernel, about
from polytask.penalties.couplings import check_width, checked_order, sequences
from polytask.penalties.rows import L1, RowNorm, largest_dual_norm, shortened, softened
from polytask.penalties.terms import (
    ALPHA,
    DEFAULT_ALPHA,
    FRACTION,
    changed,
    check_exclusive,
    checked_by,
    optional,
)


@final
@saveable("penalty.fused_tasks")
@dataclass(frozen=True, eq=False, repr=False)
class FusedTasks(RowNorm):
    """``alpha * sum_t ||w_{t+1} - w_t||_1 + l1 * sum |W|``: constant over stretches.

    For tasks in an order, such as points in time or doses, whose coefficients stay the same
    for a while and then jump [1]_; with l1 > 0 they may also be exactly 0 for a while. Not
    for tasks without an order, and not for gradual change, where ``along_time`` fits better.
    Add ``L21(...)`` to drop features at all times (the fused sparse group lasso [2]_): the
    proximal operator of the sum is that of the differences, then that of L1, then that of
    L21, exactly. The differences are smoothed in linear time by compiled code on the host.

    With several columns per task, each class is followed through the tasks that have it.

    Parameters
    ----------
    alpha : float, default=None
        The strength of the differences, >= 0; None without a fraction means 1.0.
    l1 : float, default=0.0
        The strength of the absolute values, >= 0. Where alpha is not given it is relative
        to alpha. A path of strengths multiplies both alike.
    order : sequence of hashable, default=None
        The task labels in their order; it may name tasks that the model lacks. None: labels
        that are numbers or dates, ascending. Other labels need it.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient vanishes; it
        needs l1 > 0, without which equal coefficients cost nothing.
    columns : Columns, default=None
        The tasks that own the columns of W; estimators set it.

    Raises
    ------
    ParameterError
        If a label comes twice; on fitting, if a task is not in the order, or the order is
        None and the labels are neither numbers nor dates.

    References
    ----------
    .. [1] Tibshirani, R., Saunders, M., Rosset, S., Zhu, J. and Knight, K. (2005). Sparsity
       and smoothness via the fused lasso. JRSS B 67, 91-108, Equation 3. That L1 may follow
       the differences: Friedman, J., Hastie, T., Höfling, H. and Tibshirani, R. (2007).
       Pathwise coordinate optimization. Annals of Applied Statistics 1, 302-332.
    .. [2] Zhou, J., Liu, J., Narayan, V. A. and Ye, J. (2012). Modeling disease progression
       via fused sparse group lasso. KDD, Theorem 1.
    """

    label = "FusedTasks"

    alpha: float | None = field(default=None, metadata=ALPHA)
    l1: float = field(default=0.0, metadata=checked_by(nonnegative))
    order: tuple[Hashable, ...] | None = field(default=None, metadata=optional(checked_order))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)
    columns: Columns | None = field(default=None, kw_only=True)

    def _check_together(self) -> None:
        """Refuse alpha together with fraction."""
        check_exclusive(self.alpha, self.fraction, self.label)

    @property
    def strength(self) -> float | None:
        """The strength alpha, or l1 if alpha is 0; None while it is a fraction."""
        if self.alpha is None:
            return DEFAULT_ALPHA if self.fraction is None else None
        return self.alpha if self.alpha > 0 else self.l1

    @property
    def _proportions(self) -> tuple[float, float]:
        """The strengths of differences and absolute values at the strength 1."""
        if self.alpha is None:
            return 1.0, self.l1
        if self.alpha > 0:
            return 1.0, self.l1 / self.alpha
        return (0.0, 1.0) if self.l1 > 0 else (1.0, 0.0)

    def without_terms(self) -> Mapping[str, Penalty]:
        """Return what is left without the differences, and without the entries."""
        return {"FusedTasks": L1(1.0), "L1": self.replace("l1", 0.0)} if self.l1 else {}

    def with_strength(self, alpha: float) -> Penalty:
        """Return the penalty with another strength, l1 in proportion."""
        alpha = nonnegative(alpha, "strength", self.label)
        differences, entries = self._proportions
        copy: Penalty = changed(self, alpha=alpha * differences, l1=alpha * entries, fraction=None)
        return copy

    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty; a fraction is multiplied likewise."""
        factor = nonnegative(factor, "factor", "scaled")
        if self.fraction is not None and factor > 0:
            return self.replace("fraction", factor * self.fraction)
        return self.with_strength(factor * (self.strength or 0.0))

    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with its fraction turned into a strength."""
        if self.fraction is None:
            return self
        return self.with_strength(self.fraction * finite_limit(self, gradient))

    def bind(self, columns: Columns) -> FusedTasks:
        """Return a copy that follows each class through the tasks that have it."""
        sequences(columns, self.order, self.label)
        bound: FusedTasks = changed(self, columns=columns)
        return bound

    @cached_property
    def _bound(self) -> tuple[np.ndarray, ...]:
        """The columns of each class in the order of their tasks; nothing while unbound."""
        columns = self.columns
        return () if columns is None else sequences(columns, self.order, self.label)

    def _sequences(self, n_columns: int) -> tuple[np.ndarray, ...]:
        """Return the columns of each class, while unbound in the order in which they come."""
        if self.columns is None:
            return (np.arange(n_columns),)
        return self._bound

    def row_values(self, W: Array) -> Array:
        """Return the sums of each row at the strength 1."""
        self._check_columns(W)
        xp = namespace(W)
        differences, entries = self._proportions
        values = entries * xp.sum(xp.abs(W), axis=1)
        for columns in self._sequences(W.shape[1]):
            V = xp.take(W, index_like(columns, W), axis=1)
            values = values + differences * xp.sum(xp.abs(V[:, 1:] - V[:, :-1]), axis=1)
        return values

    def _check_columns(self, W: Array) -> None:
        """Refuse a W of another width."""
        if self.columns is not None:
            check_width(W, self.columns.n_columns, self.label)

    def dual_norm(self, Z: Array) -> float:
        """Return the dual norm at the strength 1; inf where what is free to move is not 0."""
        return largest_dual_norm(
            Z, lambda rows, c: self.nested_prox(rows, c, 0.0, 0.0), self.row_values
        )

    def nested_prox(
        self, rows: Array, amount: float | Array, entries: float | Array, length: float | Array
    ) -> Array:
        """Return the rows with neighbours brought together, thresholded, then shortened."""
        self._check_columns(rows)
        if 0 in rows.shape:
            return rows
        differences, sparse = self._proportions
        fused = self._fused(rows, amount * differences)
        return shortened(softened(softened(fused, amount * sparse), entries), length)

    def _fused(self, rows: Array, amount: float | Array) -> Array:
        """Return the prox of the differences, computed on the host."""
        from polytask.penalties.fused_kernel import fuse_row
        from polytask.penalties.row_kernels import apply_rows

        here = np.ascontiguousarray(host(rows), dtype=np.float64)
        amounts = amount if isinstance(amount, float) else host(amount)
        apply_rows(here, amounts, self._parameters(1.0, 0.0, 0.0, rows.shape[1]), fuse_row)
        return like(here, rows)

    def _parameters(self, *values: float) -> np.ndarray:
        """Return the parameters of the kernel: three strengths, then the sequences."""
        *strengths, n_columns = values
        parts = self._sequences(int(n_columns))
        ends = np.zeros(sum(len(part) for part in parts))
        ends[np.cumsum([len(part) for part in parts]) - 1] = 1.0
        return np.concatenate([strengths, *parts, ends])

    def nested_kernel(self, entries: float, length: float) -> RowKernel:
        """Return the compiled prox of one row; the penalty has to be bound."""
        from polytask.penalties.fused_kernel import fuse_row

        if self.columns is None:
            raise ParameterError(about(self, "penalty.refusal.not_bound"))
        differences, sparse = (self.weight * part for part in self._proportions)
        n_columns = self.columns.n_columns
        parameters = self._parameters(differences, sparse + entries, length, n_columns)
        return RowKernel(fuse_row, parameters)
