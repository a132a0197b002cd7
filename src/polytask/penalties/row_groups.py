"""Norms over the tasks of a row: the largest entry, and nested groups of tasks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from polytask._checks import nonnegative, sentence
from polytask._linalg import (
    Array,
    clip,
    index_like,
    largest,
    namespace,
    row_norms,
    shrink_rows,
    simplex_levels,
)
from polytask._registry import saveable
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage
from polytask.penalties.base import Columns, RowKernel, about
from polytask.penalties.couplings import check_width, without
from polytask.penalties.rows import RowNorm, largest_dual_norm, shortened, softened
from polytask.penalties.shared_rows import SharedMaxima
from polytask.penalties.terms import (
    ALPHA,
    FRACTION,
    RelativeTerm,
    Unbound,
    changed,
    checked_by,
    optional,
)


@final
@saveable("penalty.l1_inf")
@dataclass(frozen=True, eq=False, repr=False)
class L1Inf(RelativeTerm, RowNorm, Unbound):
    """``alpha * sum_j max_t |W_jt|`` over features j: a feature costs what its largest use costs.

    For features that all tasks use with effects of one size, whatever their signs: once one
    task uses a feature, the others use it up to the same size for nothing [1]_. Coefficients
    of a feature are therefore tied in size, which is wrong where some tasks need a feature
    far more than others; ``L21`` is the milder choice. The proximal operator takes from a
    row its projection onto the L1 ball of radius step * alpha [2]_.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.

    References
    ----------
    .. [1] Quattoni, A., Carreras, X., Collins, M. and Darrell, T. (2009). An efficient
       projection for l1,infinity regularization. ICML, Section 2.
    .. [2] Duchi, J., Shalev-Shwartz, S., Singer, Y. and Chandra, T. (2008). Efficient
       projections onto the l1-ball for learning in high dimensions. ICML, Figure 1.
    """

    label = "L1Inf"
    ignores_signs = True
    division_with_l1 = SharedMaxima()

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def row_values(self, W: Array) -> Array:
        """Return the largest absolute value of each row."""
        xp = namespace(W)
        if W.shape[1] == 0:
            return xp.sum(W, axis=1)
        return xp.max(xp.abs(W), axis=1)

    def dual_norm(self, Z: Array) -> float:
        """Return the largest sum of absolute values of a row."""
        xp = namespace(Z)
        return largest(xp.sum(xp.abs(Z), axis=1))

    def nested_prox(
        self, rows: Array, amount: float | Array, entries: float | Array, length: float | Array
    ) -> Array:
        """Return the rows thresholded, cut off at a common level each, then shortened."""
        if 0 in rows.shape:
            return rows
        rows = softened(rows, entries)
        level = simplex_levels(rows, amount)[:, None]
        return shortened(clip(rows, -level, level), length)

    def nested_kernel(self, entries: float, length: float) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.maximum_kernel import cut_row

        return RowKernel(cut_row, np.array([self.weight, entries, length]))


Groups = tuple[tuple[Hashable, ...], ...]


def checked_groups(value: object, parameter: str, owner: str) -> tuple[tuple[Any, ...], ...]:
    """Return groups as tuples of members, or raise if one is empty or names one twice."""
    many = isinstance(value, Iterable) and not isinstance(value, str)
    groups: tuple[Any, ...] = tuple(value) if many else ()  # type: ignore[arg-type]
    wrong = [LazyMessage("got.group", {"group": repr(g)}) for g in groups if not _is_group(g)]
    if wrong or not groups:
        got = wrong[0] if wrong else repr(value)
        raise ParameterError(sentence(parameter, owner, LazyMessage("allowed.member_groups"), got))
    return tuple(tuple(group) for group in groups)


def _is_group(group: object) -> bool:
    """Tell whether something is a sequence of one or more labels that differ."""
    if not isinstance(group, Sequence | np.ndarray | range) or isinstance(group, str):
        return False
    try:
        return 0 < len(group) == len(set(group))
    except TypeError:
        return False  # entries that are no labels


def checked_weights(value: object, parameter: str, owner: str) -> tuple[float, ...]:
    """Return weights as a tuple of numbers >= 0, or raise."""
    if not isinstance(value, Iterable) or isinstance(value, str):
        allowed = LazyMessage("allowed.group_weights")
        raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
    return tuple(nonnegative(weight, parameter, owner) for weight in value)


def checked_tree(value: object, parameter: str, owner: str) -> Groups:
    """Return groups any two of which are disjoint or nested, or raise."""
    groups = checked_groups(value, parameter, owner)
    sets = [set(group) for group in groups]
    for i, first in enumerate(sets):
        for j in range(i):
            common = first & sets[j]
            if common and not (first <= sets[j] or sets[j] <= first):
                fields = {"first": repr(groups[j]), "second": repr(groups[i])}
                got = LazyMessage("got.overlapping", fields)
                raise ParameterError(sentence(parameter, owner, LazyMessage("allowed.tree"), got))
    return groups


def check_weight_count(weights: tuple[float, ...] | None, groups: Groups, owner: str) -> None:
    """Refuse weights that are not as many as the groups."""
    if weights is not None and len(weights) != len(groups):
        allowed = LazyMessage("allowed.one_per_group", {"n": len(groups)})
        raise ParameterError(sentence("weights", owner, allowed, len(weights)))


@dataclass(frozen=True, eq=False)
class _Tree:
    """Groups as stretches of columns, leaves first. Shapes: columns (n_columns,)."""

    columns: np.ndarray
    stretches: tuple[tuple[int, int, float], ...]

    @classmethod
    def of(cls, members: np.ndarray, weights: np.ndarray) -> _Tree:
        """Return the tree of groups given as rows of flags, (n_groups, n_columns)."""
        kept = members.any(axis=1)
        members, weights = members[kept], weights[kept]
        falling = np.argsort(-members.sum(axis=1), kind="stable")
        members, weights = members[falling], weights[falling]
        # Columns of one group agree in all larger groups, so sorting by these first keeps
        # each group together; the last key is the most important.
        columns = np.lexsort(~members[::-1])
        stretches = []
        for flags, weight in zip(members[::-1], weights[::-1], strict=True):
            places = np.flatnonzero(flags[columns])
            stretches.append((int(places[0]), int(places[-1]) + 1, float(weight)))
        return cls(columns, tuple(stretches))

    @cached_property
    def back(self) -> np.ndarray:
        """Where each column of W is in the order of the tree."""
        return np.argsort(self.columns)


@final
@saveable("penalty.tree_group")
@dataclass(frozen=True, eq=False, repr=False)
class TreeGroup(RelativeTerm, RowNorm):
    """alpha * sum over features of sum_g weight_g ||W_{j,g}||_2 over nested groups of tasks.

    For tasks with a known hierarchy, such as regions within countries or genes in a
    clustering: a feature is used by all tasks, by one branch, or by single tasks [1]_. Not
    where the hierarchy is a guess; ``SparseGroup`` is the tree of all tasks and single ones.
    The groups are shortened from the leaves to the root, which is the exact proximal
    operator [2]_.

    With several columns per task a group holds all columns of its tasks.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    groups : sequence of sequences of hashable
        The task labels of each group; any two groups have no task in common, or one is
        within the other, and every task is in a group. Tasks that the model lacks are
        passed over.
    weights : sequence of float, default=None
        The weight of each group, >= 0; None means 1 for each.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.
    columns : Columns, default=None
        The tasks that own the columns of W; estimators set it.

    Raises
    ------
    ParameterError
        If two groups overlap; on fitting, if a task is in no group.

    References
    ----------
    .. [1] Kim, S. and Xing, E. P. (2012). Tree-guided group lasso for multi-response
       regression with structured sparsity, with an application to eQTL mapping. Annals of
       Applied Statistics 6, 1095-1117.
    .. [2] Jenatton, R., Mairal, J., Obozinski, G. and Bach, F. (2011). Proximal methods for
       hierarchical sparse coding. JMLR 12, 2297-2334, Theorem 1.
    """

    label = "TreeGroup"
    ignores_signs = True

    alpha: float | None = field(default=None, metadata=ALPHA)
    groups: Groups = field(default=(), metadata=checked_by(checked_tree))
    weights: tuple[float, ...] | None = field(default=None, metadata=optional(checked_weights))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)
    columns: Columns | None = field(default=None, kw_only=True)

    def _check_rest(self) -> None:
        """Refuse weights that are not as many as the groups."""
        check_weight_count(self.weights, self.groups, self.label)

    def bind(self, columns: Columns) -> TreeGroup:
        """Return a copy that knows which columns each group holds."""
        known = dict.fromkeys(task for group in self.groups for task in group)
        for task in columns.task_labels():
            if task not in known:
                raise ParameterError(without("groups", self.label, task, known))
        bound: TreeGroup = changed(self, columns=columns)
        return bound

    @cached_property
    def _tree(self) -> _Tree:
        """The groups as columns."""
        if self.columns is None:
            raise ParameterError(about(self, "penalty.refusal.not_bound"))
        owners = self.columns.tasks
        members = np.array([[task in set(group) for task in owners] for group in self.groups])
        weights = np.ones(len(members)) if self.weights is None else np.asarray(self.weights)
        return _Tree.of(members.reshape(len(self.groups), len(owners)), weights)

    def _ordered(self, W: Array) -> Array:
        """Return a copy with the columns in the order of the tree."""
        columns = self._tree.columns
        check_width(W, len(columns), self.label)
        return namespace(W).take(W, index_like(columns, W), axis=1)

    def row_values(self, W: Array) -> Array:
        """Return the weighted sum of the norms of the groups of each row."""
        V = self._ordered(W)
        values = namespace(W).zeros_like(row_norms(W))
        for begin, end, weight in self._tree.stretches:
            values = values + weight * row_norms(V[:, begin:end])
        return values

    def dual_norm(self, Z: Array) -> float:
        """Return the largest dual norm of a row."""
        return largest_dual_norm(
            Z, lambda rows, c: self.nested_prox(rows, c, 0.0, 0.0), self.row_values
        )

    def nested_prox(
        self, rows: Array, amount: float | Array, entries: float | Array, length: float | Array
    ) -> Array:
        """Return the rows thresholded, shortened group by group, then as a whole."""
        V = self._ordered(softened(rows, entries))
        for begin, end, weight in self._tree.stretches:
            V[:, begin:end] = shrink_rows(V[:, begin:end], amount * weight)
        back = namespace(V).take(V, index_like(self._tree.back, V), axis=1)
        return shortened(back, length)

    def nested_kernel(self, entries: float, length: float) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.tree_kernel import climb_row

        tree = self._tree
        head = (self.weight, entries, length, len(tree.stretches))
        stretches = np.asarray(tree.stretches, dtype=np.float64).ravel()
        return RowKernel(climb_row, np.concatenate([head, stretches, tree.columns]))
