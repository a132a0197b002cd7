"""Norms on groups of features across all tasks, and on whole tasks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from polytask._checks import is_whole, sentence
from polytask._linalg import (
    Array,
    host,
    index_like,
    inner,
    largest,
    like,
    namespace,
    rounding,
    total,
)
from polytask._registry import saveable
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage
from polytask.penalties.base import BlockSeparable, Columns, Mergeable, Valued
from polytask.penalties.couplings import check_width
from polytask.penalties.row_groups import check_weight_count, checked_groups, checked_weights
from polytask.penalties.rows import (
    ComposedNorm,
    RowNorm,
    RowNormSum,
    largest_dual_norm,
    sparse_and_group,
)
from polytask.penalties.sums import merge
from polytask.penalties.terms import (
    ALPHA,
    FRACTION,
    Norm,
    NormTerm,
    RelativeTerm,
    changed,
    checked_by,
    merged_alike,
    optional,
)

FeatureGroups = tuple[tuple[int, ...], ...]
_EACH_ONCE = LazyMessage("allowed.groups_of_features")


def _checked_features(value: object, parameter: str, owner: str) -> FeatureGroups:
    """Return groups of feature numbers, each of 0, 1, ... in exactly one, or raise."""
    groups = checked_groups(value, parameter, owner)
    found = [feature for group in groups for feature in group]
    for feature in found:
        if not is_whole(feature):
            raise ParameterError(sentence(parameter, owner, _EACH_ONCE, repr(feature)))
    for place, feature in enumerate(sorted(map(int, found))):
        if feature > place:
            got = LazyMessage("got.none_for", {"lacking": str(place)})
            raise ParameterError(sentence(parameter, owner, _EACH_ONCE, got))
        if feature < place:
            twice = LazyMessage("got.twice", {"name": str(feature)})
            came = twice if feature >= 0 else str(feature)
            raise ParameterError(sentence(parameter, owner, _EACH_ONCE, came))
    return tuple(tuple(int(feature) for feature in group) for group in groups)


@final
@saveable("penalty.group_norm")
@dataclass(frozen=True, eq=False, repr=False)
class GroupNorm(Norm, BlockSeparable):
    """alpha * sum over groups of features of weight_G ||W_G||_F, over all tasks.

    For features that come in blocks, such as modalities, sensors or the levels of one
    category: a whole block is used, or dropped for all tasks [1]_. Not for blocks of which
    a few features matter, unless L1 or L21 is added: sums with any penalty of rows of this
    package that is a norm are exact, the block being shortened last. It is a sum over
    blocks, not over rows, so solvers that visit single rows refuse it.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    groups : sequence of sequences of int
        The positions of the features of each group; every feature is in exactly one. Of a
        table they are the positions after encoding, as in ``coef_feature_names_``.
    weights : sequence of float, default=None
        The weight of each group, >= 0; None: the square root of the number of coefficients
        of the group, features times columns, so that large groups are not preferred.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.

    Raises
    ------
    ParameterError
        If a feature is in two groups or in none.

    References
    ----------
    .. [1] Yuan, M. and Lin, Y. (2006). Model selection and estimation in regression with
       grouped variables. JRSS B 68, 49-67, Equation 2.1. With L1 inside: Simon, N.,
       Friedman, J., Hastie, T. and Tibshirani, R. (2013). A sparse-group lasso. JCGS 22,
       231-245, Equation 3.
    """

    label = "GroupNorm"

    alpha: float | None = field(default=None, metadata=ALPHA)
    groups: FeatureGroups = field(default=(), metadata=checked_by(_checked_features))
    weights: tuple[float, ...] | None = field(default=None, metadata=optional(checked_weights))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def _check_rest(self) -> None:
        """Refuse weights that are not as many as the groups."""
        check_weight_count(self.weights, self.groups, self.label)

    @property
    def blocks(self) -> FeatureGroups:
        """The groups."""
        return self.groups

    def of_blocks(self, chosen: np.ndarray) -> GroupNorm:
        """Return the norm of some groups alone, their features numbered anew."""
        ends = np.cumsum([0, *[len(self.groups[g]) for g in chosen]]).tolist()
        groups = tuple(tuple(range(a, b)) for a, b in itertools.pairwise(ends))
        weights = None if self.weights is None else tuple(self.weights[g] for g in chosen)
        part: GroupNorm = changed(self, groups=groups, weights=weights)
        return part

    @cached_property
    def _owner(self) -> np.ndarray:
        """The group of each feature."""
        owner = np.empty(sum(len(group) for group in self.groups), dtype=np.intp)
        for number, group in enumerate(self.groups):
            owner[list(group)] = number
        return owner

    def gather(self, values: Array) -> Array:
        """Return the sum over each group of one value per feature."""
        n_features = values.shape[0]
        if n_features == 0:
            return values
        if n_features != len(self._owner):
            allowed = LazyMessage("allowed.features_as_w", {"n": n_features})
            raise ParameterError(sentence("groups", self.label, allowed, len(self._owner)))
        sums = np.bincount(self._owner, host(values), minlength=len(self.groups))
        return like(sums, values)

    def _scales(self, W: Array) -> Array:
        """Return the weights, in the dtype of W; none for no rows."""
        if W.shape[0] == 0:
            return W[:, 0]
        if self.weights is not None:
            return like(np.asarray(self.weights), W)
        return like(np.sqrt(np.bincount(self._owner) * float(W.shape[1])), W)

    def lengths(self, W: Array) -> Array:
        """Return the norm of each group, of shape (n_groups,); of shape (0,) for no rows."""
        xp = namespace(W)
        return xp.sqrt(self.gather(xp.sum(W * W, axis=1)))

    def group_values(self, W: Array) -> Array:
        """Return what each group adds to the norm, of shape (n_groups,)."""
        return self._scales(W) * self.lengths(W)

    def norm(self, W: Array) -> float:
        """Return the weighted sum of the norms of the groups."""
        return float(namespace(W).sum(self.group_values(W)))

    def dual_norm(self, Z: Array) -> float:
        """Return the largest ratio of the norm of a group to its weight; inf for 0 to 0."""
        if 0 in Z.shape:
            return 0.0
        xp = namespace(Z)
        lengths, scales = self.lengths(Z), self._scales(Z)
        free = scales <= 0
        if bool(xp.any(free & (lengths > rounding(Z) * inner(Z, Z) ** 0.5))):
            return float("inf")
        bounded = xp.where(free, xp.zeros_like(lengths), lengths)
        return float(xp.max(bounded / xp.where(free, xp.ones_like(scales), scales)))

    def prox(self, W: Array, step: float) -> Array:
        """Return W with every group shortened by step * alpha times its weight."""
        return self.shortened_groups(W, float(step) * self.weight)

    def shortened_groups(self, W: Array, amount: float) -> Array:
        """Return W with every group shortened by an amount times its weight."""
        if W.shape[0] == 0:
            return W
        xp = namespace(W)
        lengths = self.lengths(W)
        left = lengths - amount * self._scales(W)
        gain = xp.where(left > 0, left, xp.zeros_like(left))
        gain = gain / xp.where(lengths > 0, lengths, xp.ones_like(lengths))
        return W * xp.take(gain, index_like(self._owner, W), axis=0)[:, None]

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with a norm of rows, or with the same groups."""
        if isinstance(other, RowNorm | RowNormSum) or sparse_and_group(other) is not None:
            return GroupNormSum((other, self))
        return merged_alike(self, other)


@final
class GroupNormSum(ComposedNorm, BlockSeparable):
    """A norm of rows plus norms of groups of features."""

    @property
    def rows(self) -> Any:  # noqa: ANN401 - a norm of rows
        """The norm of rows."""
        return self.members[0]

    @property
    def groups(self) -> Any:  # noqa: ANN401 - a GroupNorm
        """The norms of groups."""
        return self.members[1]

    @property
    def blocks(self) -> FeatureGroups:
        """The groups."""
        blocks: FeatureGroups = self.groups.blocks
        return blocks

    def of_blocks(self, chosen: np.ndarray) -> GroupNormSum:
        """Return the norm of some groups alone, their features numbered anew."""
        return GroupNormSum((self.rows, self.groups.of_blocks(chosen)))

    def prox(self, W: Array, step: float) -> Array:
        """Return the prox of the rows with every group shortened."""
        return self.groups.prox(self.rows.prox(W, step), step)

    def size(self, Z: Array) -> float:
        """Return the largest dual norm of a group."""
        return largest_dual_norm(Z, self.prox, self._sizes, self.groups.gather)

    def _sizes(self, W: Array) -> Array:
        """Return the value of each group."""
        groups = self.groups
        return groups.gather(self.rows.value_by_row(W)) + groups.weight * groups.group_values(W)

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with a norm of rows, or with the same groups."""
        if isinstance(other, GroupNormSum):
            first = self.merged(other.groups)
            return None if first is None else merge((first, other.rows))
        if isinstance(other, GroupNorm):
            groups = merge((self.groups, other))
            return GroupNormSum((self.rows, groups)) if groups is not None else None
        rows = merge((self.rows, other))
        return None if rows is None else merge((rows, self.groups))


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
        members = np.full((len(groups), width), columns.n_columns, dtype=np.intp)
        owner = np.zeros(columns.n_columns, dtype=np.intp)
        for task, group in enumerate(groups):
            members[task, : len(group)] = group
            owner[group] = task
        return cls(members.ravel(), owner, width)


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
    columns : Columns, default=None
        The tasks that own the columns of W; estimators set it.

    References
    ----------
    .. [1] Chen, J., Zhou, J. and Ye, J. (2011). Integrating low-rank and group-sparse
       structures for robust multi-task learning. KDD, 42-50.
    """

    label = "OutlierTasks"
    selects_tasks = True

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
            members = xp.take(padded, index_like(owners.columns, W), axis=0)
            squares = xp.sum(xp.reshape(members, (-1, owners.width)), axis=1)
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
        return merged_alike(self, other)
