"""W as a sum of parts, each with a penalty of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Self, final

import numpy as np

from polytask._checks import nonnegative, sentence
from polytask._linalg import Array, host, like, per_entry, per_row
from polytask._registry import State, saveable
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage
from polytask.penalties.base import (
    CompiledRows,
    Conjugate,
    FeatureSpace,
    NullStrength,
    Penalty,
    Proximable,
    RowKernel,
    RowSeparable,
    about,
    capabilities_of,
)
from polytask.penalties.groups import OutlierTasks
from polytask.penalties.parts_rows import divide
from polytask.penalties.rows import L1, L21
from polytask.penalties.shared_rows import SharedNorm
from polytask.penalties.spectral import TraceNorm
from polytask.penalties.sums import PENALTY, Joined
from polytask.penalties.terms import RelativeTerm, check_exclusive


@final
@saveable(
    "penalty.parts",
    "penalty.parts.envelope",
    "penalty.parts.envelope_rows",
    "penalty.parts.null",
    "penalty.parts.rows",
)
@dataclass(frozen=True, eq=False, repr=False)
class Parts(Joined, CompiledRows, Conjugate, NullStrength):
    """The least sum of p_k(U_k) over all matrices U_k with the sum W: every part has a penalty.

    What the tasks share goes to the part that is cheapest for it, what is their own to another:
    ``Parts([L21(0.3), L1(0.2)])`` keeps features that all tasks use in one part and single
    coefficients in the other. After a fit ``coef_parts_`` holds the parts. The common families
    have names: `dirty`, `robust`, `robust_features`, `sparse_low_rank`. The parts are known only
    together with W, so their number of free parameters is that of all of them: for few rows per
    task a single penalty predicts as well. Where the parts overlap (a feature that every task
    uses to nearly one size, say), the division, not W, may be ambiguous.

    Strengths: a member is active only between its rivals. A part vanishes where the slope that
    the others leave is below its strength in its own dual norm, so with two norms p and q the
    part of q vanishes for all data if ``q >= p`` everywhere: L1 beside L21 at a ratio of
    strengths of 1 or more; and the part of L21 vanishes below 1 / sqrt(n_columns). A
    ``fraction`` of a member is a fraction of the strength at which that member alone is zero;
    equal fractions let all parts enter together, which is what they do without strengths. The
    strength of the whole is that of the first member with a null strength; `with_strength`
    multiplies all members by one factor, and `null_strength` is on the same scale: the strength
    of that member at which every part vanishes while all keep their proportions.

    Parameters
    ----------
    members : sequence of Penalty
        Convex penalties, one for each part; they are the parameters p0, p1, ....

    References
    ----------
    .. [1] Jalali, A., Ravikumar, P., Sanghavi, S. and Ruan, C. (2010). A dirty model for
       multi-task learning. NeurIPS 23, Equation 3.
    .. [2] Rockafellar, R. T. (1970). Convex analysis. Princeton, Theorem 16.4.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.penalties import L1, L21, Parts
    >>> penalty = Parts([L21(0.5), L1(0.4)])
    >>> round(penalty.value(np.array([[1.0, 1.0], [0.0, 3.0]])), 3)
    1.907
    """

    members: Sequence[Any]

    def __post_init__(self) -> None:
        """Store a tuple of members, none of them divided itself."""
        object.__setattr__(self, "members", _flat(self.members))

    @cached_property
    def _closed(self) -> _NormWithL1 | _PenaltyWithRidge | None:
        """The division in closed form; None where W is divided step by step."""
        if len(self.members) != 2:
            return None
        for first, second in (self.members, self.members[::-1]):
            absolute = second.is_norm and second.shares == (1.0, 0.0, 0.0)
            if absolute and first.is_norm and first.division_with_l1:
                return _NormWithL1(first, second, first.division_with_l1)
        centred = all(member.null_point is None for member in self.members)
        if not centred or not all(isinstance(member, Conjugate) for member in self.members):
            return None
        second = next((m for m in self.members[::-1] if m.shares == (0.0, 0.0, 1.0)), None)
        if second is None:
            return None
        first = self.members[1] if second is self.members[0] else self.members[0]
        return _PenaltyWithRidge(first, second)

    @cached_property
    def capabilities(self) -> frozenset[type]:
        """Those of a division in closed form, or a null strength if all members have one."""
        able = [capabilities_of(member) for member in self.members]
        match self._closed:
            case _NormWithL1():
                return frozenset({Proximable, RowSeparable, CompiledRows, Conjugate, NullStrength})
            case _PenaltyWithRidge():
                return frozenset.intersection(*able) & {Proximable, RowSeparable, Conjugate}
        return frozenset.intersection(*able) & {NullStrength}

    def of(self, members: Iterable[Penalty]) -> Penalty:
        """Return parts of other members."""
        return Parts(list(members))

    @property
    def strength(self) -> float | None:
        """The strength of the reference member; None while a fraction is not resolved."""
        resolved = all(member.strength is not None for member in self.members)
        return self.reference.strength if resolved else None

    @property
    def null_point(self) -> Array | None:
        """The sum of the members' null points."""
        points = [m.null_point for m in self.members if m.null_point is not None]
        return reduce(lambda a, b: a + b, points) if points else None

    def value(self, W: Array) -> float:
        """Return the least sum of penalties over all divisions of W, to a relative 1e-8.

        It is found step by step, on the host.

        Raises
        ------
        PolytaskError
            If that precision is out of reach.
        """
        if self._closed is None:
            return divide(self.members, host(W))[1]
        pairs = zip(self.members, self.divided(W), strict=True)
        return sum(float(member.value(part)) for member, part in pairs)

    def divided(self, W: Array) -> tuple[Array, ...]:
        """Return the cheapest parts, in the order of the members; they sum to W."""
        if self._closed is None:
            return tuple(like(part, W) for part in divide(self.members, host(W))[0])
        first = self._closed.divided(W)
        parts = (first, W - first)
        return parts if self._closed.first is self.members[0] else parts[::-1]

    def prox(self, W: Array, step: float) -> Array:
        """Return the minimiser over Z of 1/2 ||Z - W||_F^2 + step * penalty(Z)."""
        return self._known.prox(W, step)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of some rows."""
        return self._known.prox_rows(rows, index, step)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        kernel: RowKernel = self._known.row_kernel()
        return kernel

    @property
    def _known(self) -> Any:  # noqa: ANN401 - with what `capabilities` says
        return self._closed

    def conjugate(self, Z: Array) -> float:
        """Return the sum of the conjugates of the members."""
        return float(sum(member.conjugate(Z) for member in self.members))

    def feasible_scale(self, Z: Array) -> float:
        """Return the smallest of those of the members."""
        return float(min(member.feasible_scale(Z) for member in self.members))

    def null_strength(self, gradient: Array) -> float:
        """Return the strength of the reference at which every part vanishes."""
        present = self.strength
        if present is None:
            raise ParameterError(about(self, "penalty.refusal.null_strength"))
        factor = max(_factor(member, gradient) for member in self.members)
        return present * factor if present > 0 or factor == 0 else float("inf")

    def with_strength(self, alpha: float) -> Penalty:
        """Return the whole with all members multiplied so that the reference has `alpha`."""
        present = self.strength
        if not present:
            raise ParameterError(about(self.reference, "penalty.refusal.no_strength"))
        return self.scaled(nonnegative(alpha, "strength", "Parts") / present)

    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty of W - W0; the first part contains W0."""
        first, *others = self.members
        return Parts([first.shifted(W0), *others])

    def bind_features(self, space: FeatureSpace) -> Penalty:
        """Return a copy that knows the features; every member has to penalise each of them."""
        for member in self.members:
            if member.bind_features(space).unpenalised.size:
                raise IncompatibleError(about(member, "penalty.refusal.free_features"))
        return super().bind_features(space)

    def at_curvature(self, curvature: float, gradient: Array) -> Penalty:
        """Return the whole of its members at this curvature."""
        if self.strength is not None:
            return self
        return Parts([member.at_curvature(curvature, gradient) for member in self.members])

    def resolved(self, gradient: Array) -> Penalty:
        """Return the whole with each member resolved on its own null strength."""
        if self.strength is not None:
            return self
        return Parts([member.resolved(gradient) for member in self.members])

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the whole from :meth:`to_state`."""
        return cls(tuple(state["members"]))

    def __repr__(self) -> str:
        """Show the whole as it is written."""
        return f"Parts([{', '.join(repr(member) for member in self.members)}])"


def _flat(members: Iterable[Any]) -> tuple[Penalty, ...]:
    """Return members as a tuple; parts of parts are parts."""
    flat: list[Penalty] = []
    for member in () if isinstance(members, Penalty) else members:
        if not isinstance(member, Penalty):
            what = LazyMessage("what.member")
            raise ParameterError(sentence(what, "Parts", PENALTY, repr(member)))
        flat += member.members if isinstance(member, Parts) else (member,)
    if not flat:
        allowed = LazyMessage("allowed.some_penalties")
        raise ParameterError(sentence("members", "Parts", allowed, repr(members)))
    return tuple(flat)


def _factor(member: Any, gradient: Array) -> float:  # noqa: ANN401 - a Penalty with a null strength
    """Return by how much a member has to be multiplied for its part to vanish."""
    null = float(member.null_strength(gradient))
    if null == 0:
        return 0.0
    return null / member.strength if member.strength else float("inf")


@dataclass(frozen=True)
class _NormWithL1:
    """A norm of rows beside L1: the division of a row has a closed form."""

    first: Any
    second: Any
    norm: SharedNorm

    def divided(self, W: Array) -> Array:
        """Return the part of the norm of rows."""
        return self.norm.shared(W, self.first.weight, self.second.weight)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows less the nearest ones in both dual balls, times the step."""
        steps = per_row(step, rows)
        nearest = self.norm.nearest(rows, steps * self.first.weight, steps * self.second.weight)
        return rows - nearest

    def prox(self, W: Array, step: float) -> Array:
        """Return the prox of all rows."""
        return self.prox_rows(W, slice(None), step)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        return self.norm.kernel(self.first.weight, self.second.weight)


@dataclass(frozen=True)
class _PenaltyWithRidge:
    """A penalty p beside an L2: the division of W is a prox of p."""

    first: Any
    second: Any

    @property
    def _length(self) -> float:
        """One over the strength of the L2."""
        return 1.0 / self.second.weight if self.second.weight > 0 else np.inf

    def divided(self, W: Array) -> Array:
        """Return the part of p."""
        length = self._length
        return self.first.prox(W, length) if length < np.inf else 0.0 * W

    def prox(self, W: Array, step: float) -> Array:
        """Return W moved a share of the way to the prox of p."""
        length, step = self._length, float(step)
        if length == np.inf:
            return 1.0 * W
        return W + step / (step + length) * (self.first.prox(W, step + length) - W)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows moved a share of the way to the prox of p."""
        length, steps = self._length, per_row(step, rows)
        if length == np.inf:
            return 1.0 * rows
        far = self.first.prox_rows(rows, index, steps + length)
        return rows + per_entry(steps / (steps + length)) * (far - rows)


def _check_pair(
    alpha: float | None, second: float | None, name: str, fraction: float | None, owner: str
) -> None:
    """Refuse one strength without the other, and strengths beside a fraction."""
    if (alpha is None) != (second is None):
        fields = {"owner": owner, "other": name, "got": repr(alpha), "got2": repr(second)}
        raise ParameterError(LazyMessage("penalty.refusal.pair", fields))
    check_exclusive(alpha, fraction, owner)


def dirty(
    alpha: float | None = None,
    own_alpha: float | None = None,
    *,
    shared: type[RelativeTerm] = L21,
    fraction: float | None = None,
) -> Parts:
    """Return features that all tasks use, plus single coefficients of tasks [1]_.

    W = U1 + U2 with ``alpha * sum_j ||U1_j||_2 + own_alpha * sum |U2|``, over features j; with
    ``shared=L1Inf``, as in [1]_, ``alpha * sum_j max_t |U1_jt|`` instead of the first term.

    For tasks that mostly use the same features while some use a few of their own: L21 alone
    lets all tasks pay for these, L1 alone forgets what is common. The part of L1 is empty for
    ``own_alpha >= alpha``; that of L21 for ``own_alpha <= alpha / sqrt(n_columns)``, and that of
    L1Inf for ``own_alpha <= alpha / n_columns``. Not where tasks differ a little in every
    feature (``toward_mean``), nor to predict with few rows: it has two strengths to tune.

    Parameters
    ----------
    alpha : float, default=None
        The strength of the shared part, >= 0; it needs own_alpha.
    own_alpha : float, default=None
        The strength of the tasks' own part, >= 0; it needs alpha.
    shared : class of penalties, default=L21
        What is penalised in the shared part: lengths of rows (``L21``), or their largest
        coefficients (``L1Inf``); any class that takes alpha and fraction.
    fraction : float, default=None
        Both strengths as a fraction in (0, 1] of those at which either part alone vanishes.
        Without any of the three it is 0.1.

    Returns
    -------
    Parts
        The shared part is the first.

    Raises
    ------
    ParameterError
        If one strength is given without the other, or a value is not allowed.

    References
    ----------
    .. [1] Jalali, A., Ravikumar, P., Sanghavi, S. and Ruan, C. (2010). A dirty model for
       multi-task learning. NeurIPS 23, Equation 3.

    Examples
    --------
    >>> from polytask.penalties import dirty
    >>> dirty(0.3, 0.2)
    Parts([L21(alpha=0.3), L1(alpha=0.2)])
    """
    _check_pair(alpha, own_alpha, "own_alpha", fraction, "dirty")
    kind: Any = shared
    if not isinstance(kind, type) or not issubclass(kind, RelativeTerm):
        allowed = LazyMessage("allowed.penalty_class")
        raise ParameterError(sentence("shared", "dirty", allowed, repr(shared)))
    first = kind(alpha, fraction=fraction)  # type: ignore[call-arg]
    return Parts([first, L1(own_alpha, fraction=fraction)])


def robust(
    alpha: float | None = None,
    outlier_alpha: float | None = None,
    *,
    fraction: float | None = None,
) -> Parts:
    """Return tasks that span few directions, except for outliers [1]_.

    W = U1 + U2 with alpha times the sum of singular values of U1, and ``outlier_alpha`` times
    the sum over tasks of ``||U2_t||_2``. The tasks whose second part is not zero do not fit in
    with the others: after a fit ``outlier_tasks_`` names them.

    For many tasks driven by a few common directions, some of which may be broken or from
    elsewhere. Not for few tasks, where neither part can be told from the other, nor to choose
    features.

    Parameters
    ----------
    alpha, outlier_alpha, fraction
        As in :func:`dirty`, alpha being the strength of the trace norm. No task is an outlier
        for ``outlier_alpha >= alpha * sqrt(number of columns of a task)``.

    Returns
    -------
    Parts
        The shared part is the first.

    References
    ----------
    .. [1] Chen, J., Zhou, J. and Ye, J. (2011). Integrating low-rank and group-sparse
       structures for robust multi-task learning. KDD, 42-50, Equation 3.

    Examples
    --------
    >>> from polytask.penalties import robust
    >>> robust(0.6, 0.4)
    Parts([TraceNorm(alpha=0.6), OutlierTasks(alpha=0.4)])
    """
    _check_pair(alpha, outlier_alpha, "outlier_alpha", fraction, "robust")
    shared = TraceNorm(alpha, fraction=fraction)
    return Parts([shared, OutlierTasks(outlier_alpha, fraction=fraction)])


def robust_features(
    alpha: float | None = None,
    outlier_alpha: float | None = None,
    *,
    fraction: float | None = None,
) -> Parts:
    """Return features that all tasks use, except for outliers, which use any [1]_.

    W = U1 + U2 with ``alpha * sum_j ||U1_j||_2`` over features j (rows), and ``outlier_alpha``
    times the sum over tasks of ``||U2_t||_2`` (columns). Outliers are named as by
    :func:`robust`.

    For tasks that use the same few features, some of which may be broken or from elsewhere:
    one outlier would otherwise bring in features for all. Not where tasks have a few features
    of their own (``dirty``).

    Parameters
    ----------
    alpha, outlier_alpha, fraction
        As in :func:`dirty`, alpha being the strength of the shared rows.

    Returns
    -------
    Parts
        The shared part is the first.

    References
    ----------
    .. [1] Gong, P., Ye, J. and Zhang, C. (2012). Robust multi-task feature learning. KDD,
       895-903, Equation 1.

    Examples
    --------
    >>> from polytask.penalties import robust_features
    >>> robust_features(fraction=0.2)
    Parts([L21(fraction=0.2), OutlierTasks(fraction=0.2)])
    """
    _check_pair(alpha, outlier_alpha, "outlier_alpha", fraction, "robust_features")
    return Parts([L21(alpha, fraction=fraction), OutlierTasks(outlier_alpha, fraction=fraction)])


def sparse_low_rank(
    alpha: float | None = None,
    low_rank_alpha: float | None = None,
    *,
    radius: float | None = None,
    fraction: float | None = None,
) -> Parts:
    """Return single coefficients plus a part in which tasks span few directions [1]_.

    W = U1 + U2 with ``alpha * sum |U1|``, and the singular values of U2 either penalised,
    ``low_rank_alpha`` times their sum, or constrained to add up to at most `radius`.

    For many tasks driven by a few common directions that involve all features, while each has
    a few features of its own. Not for few tasks or few features, where a matrix of few
    directions is no restriction.

    Parameters
    ----------
    alpha : float, default=None
        The strength of the sparse part, >= 0.
    low_rank_alpha : float, default=None
        The strength of the trace norm, >= 0; it needs alpha. No coefficient is in the sparse
        part for ``alpha >= low_rank_alpha``.
    radius : float, default=None
        The largest sum of singular values of the second part, > 0, instead of a strength: the
        constrained form. It is not a strength: multiples of the penalty, and paths of a search,
        keep it.
    fraction : float, default=None
        As in :func:`dirty`.

    Returns
    -------
    Parts
        The sparse part is the first.

    Raises
    ------
    ParameterError
        If alpha comes without low_rank_alpha and without a radius, low_rank_alpha together with
        a radius or without alpha, or a value is not allowed.

    References
    ----------
    .. [1] Chen, J., Liu, J. and Ye, J. (2012). Learning incoherent sparse and low-rank patterns
       from multiple tasks. ACM Transactions on Knowledge Discovery from Data 5, Equation 3.

    Examples
    --------
    >>> from polytask.penalties import sparse_low_rank
    >>> sparse_low_rank(0.2, radius=3.0)
    Parts([L1(alpha=0.2), TraceNorm(alpha=0.0, radius=3.0)])
    """
    check_exclusive(low_rank_alpha, radius, "sparse_low_rank", ("low_rank_alpha", "radius"))
    sparse = L1(alpha, fraction=fraction)
    if radius is not None:
        return Parts([sparse, TraceNorm(radius=radius)])
    _check_pair(alpha, low_rank_alpha, "low_rank_alpha", fraction, "sparse_low_rank")
    return Parts([sparse, TraceNorm(low_rank_alpha, fraction=fraction)])
