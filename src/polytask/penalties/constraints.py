"""Coefficients that may not be negative, or lie between bounds."""

from __future__ import annotations

from typing import Any, final

from polytask._linalg import Array, largest, like, namespace, rounding
from polytask._registry import saveable
from polytask.exceptions import IncompatibleError
from polytask.penalties.base import (
    CompiledRows,
    Conjugate,
    Mergeable,
    Nonconvex,
    NullStrength,
    Penalty,
    Smooth,
    Valued,
)
from polytask.penalties.constraints_rows import (
    Bound,
    Bounded,
    given_bound,
    of_entries,
    refuse_walls,
)
from polytask.penalties.maximum import L1Inf
from polytask.penalties.row_norms import RowNest
from polytask.penalties.row_values import entry_terms
from polytask.penalties.rowwise import L1, L2, L21, ElasticNet, SparseGroup
from polytask.penalties.shifts import Shifted
from polytask.penalties.sums import Sum, add, merge
from polytask.penalties.tree import TreeGroup
from polytask.penalties.weighted_rows import Weighted


class _Null(Bounded, NullStrength):
    """The null strength of a bounded penalty."""

    def null_strength(self, gradient: Array) -> float:
        """Return that of the penalty for the gradients whose way the bounds leave open."""
        return float(self.penalty.null_strength(self.admitted(gradient, -1.0)))


class _Convex(Bounded, Conjugate):
    """The conjugate of a bounded penalty."""

    # Where only signs are bound it is that of the penalty at Z with 0 in place of the entries
    # that point the wrong way: coefficients there are best at 0, whatever the others are.

    def conjugate(self, Z: Array) -> float:
        """Return sup over allowed W of <Z, W> - penalty(W)."""
        way = self.admitted(Z)
        if not self._has_walls or 0 in Z.shape:
            return float(self.penalty.conjugate(way))
        open_ways = self._unlimited(way)
        # Where a wall is absent, the penalty alone keeps the supremum finite.
        if float(self.penalty.conjugate(open_ways)) == float("inf"):
            return float("inf")
        return self._between_walls(way)

    @property
    def _has_walls(self) -> bool:
        """Whether there are bounds other than 0."""
        return any(bool(((a != 0) & (abs(a) < float("inf"))).any()) for a in self.tables(0))

    def _unlimited(self, way: Array) -> Array:
        """Return Z with 0 in place of the entries that run into a bound."""
        xp, (low, high) = namespace(way), self.box(way)
        limited = ((way > 0) & ~xp.isinf(high)) | ((way < 0) & ~xp.isinf(low))
        return xp.where(limited, xp.zeros_like(way), way)

    def _between_walls(self, way: Array) -> float:
        """Return the conjugate of a penalty of entries, one by one."""
        xp, (low, high) = namespace(way), self.box(way)
        plain = self.penalty.penalty if isinstance(self.penalty, Weighted) else self.penalty
        sparse, ridge = entry_terms(plain) or (0.0, 0.0)
        weight = xp.ones_like(way[:, 0])
        if isinstance(self.penalty, Weighted):
            weight = like(self.penalty.own(way.shape[0]), way)
        share = xp.where(xp.isinf(weight), xp.zeros_like(weight), weight)[:, None]
        excess = xp.abs(way) - sparse * share
        least = rounding(way) * largest(way)
        gains = (excess > least) & ~xp.isinf(weight)[:, None]
        wall = xp.where(way > 0, xp.zeros_like(way) + high, xp.zeros_like(way) - low)
        bend = ridge * share
        bent = xp.where(bend > 0, bend, xp.ones_like(bend))
        far = xp.where(bend > 0, excess / bent, wall)
        reach = xp.where(far < wall, far, wall)
        # Without a wall and without a ridge an entry gains nothing: `conjugate` has seen to it.
        reach = xp.where(gains & ~xp.isinf(reach), reach, xp.zeros_like(way))
        return float(xp.sum(reach * excess - 0.5 * bend * reach * reach))

    def feasible_scale(self, Z: Array) -> float:
        """Return that of the penalty for the entries that no bound stops."""
        way = self.admitted(Z)
        return float(self.penalty.feasible_scale(self._unlimited(way) if self._has_walls else way))


@final
@saveable("penalty.bounded.norm")
class BoundedNorm(_Null, _Convex, Mergeable):
    """A bounded norm of rows."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        able = isinstance(penalty, Conjugate) and isinstance(penalty, NullStrength)
        return able and isinstance(penalty, Mergeable) and not isinstance(penalty, ElasticNet)

    def parts(self) -> tuple[Penalty, ...]:
        """Return the penalty itself."""
        return (self,)

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the bounded sum with another norm of rows."""
        whole: Any = merge((self.penalty, other))
        fitting = whole is not None and ignores_signs(whole) and BoundedNorm.fits(whole)
        if not fitting or (self._has_walls and not of_entries(whole)):
            return None
        return BoundedNorm(whole, self.lower, self.upper)


@final
@saveable("penalty.bounded.convex")
class BoundedConvex(_Null, _Convex):
    """A bounded convex penalty of rows that is not a norm."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Conjugate) and isinstance(penalty, NullStrength)


@final
@saveable("penalty.bounded.ridge")
class BoundedRidge(_Convex):
    """A bounded ridge, of any strength."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, Conjugate) and isinstance(penalty, Smooth)


@final
@saveable("penalty.bounded.concave")
class BoundedConcave(_Null, Nonconvex):
    """A bounded penalty of rows that is not convex."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        able = isinstance(penalty, Nonconvex) and isinstance(penalty, NullStrength)
        return able and isinstance(penalty, CompiledRows)

    def majorised(self, W: Array) -> Penalty:
        """Return the bounded majoriser."""
        return _bounded(self.penalty.majorised(W), self.lower, self.upper)


# The most capable class first.
_LEAVES: tuple[type[Bounded], ...] = (BoundedNorm, BoundedConcave, BoundedConvex, BoundedRidge)


def ignores_signs(penalty: object) -> bool:
    """Say whether a penalty of rows depends on |W| alone and grows with it."""
    match penalty:
        case Weighted():
            return ignores_signs(penalty.penalty)
        case RowNest():
            return all(ignores_signs(member) for member in penalty.members)
        case L1() | L2() | L21() | ElasticNet() | SparseGroup() | L1Inf() | TreeGroup():
            return True
    return isinstance(penalty, Nonconvex) and isinstance(penalty, CompiledRows)


def bounded(
    penalty: Penalty,
    lower: Any = -float("inf"),  # noqa: ANN401
    upper: Any = float("inf"),  # noqa: ANN401
) -> Penalty:
    """Keep coefficients between bounds: ``penalty(W)``, and inf unless lower <= W <= upper.

    For effects of known sign (doses, prices, parts of a mixture) or of known size. Not for
    stabilising coefficients that are merely noisy: that is what the strength is for. With
    ``bounded(L2(0), lower=0)`` there is nothing but the bounds: least squares with coefficients
    that are not negative. Bounds are in the units of the data: standardised features and scaled
    targets keep their meaning.

    The proximal operator is exact. Let p depend on the sizes |w_t| of the entries of a row alone
    and grow with each, as every norm here does. Where a bound is 0 and v_t points beyond it, the
    prox is 0: that is best for ``(w_t - v_t)^2 / 2`` over the allowed w_t and for p(w). The other
    entries of the unbounded prox have the signs of v, since turning a sign brings w nearer to v at
    no cost, so they are allowed and best among more. Hence: put 0 where the sign is wrong, then
    take the prox (for ``L21`` the shortened projection; [1]_ shows the same of a cone and a norm).
    Bounds other than 0 are possible for sums over entries (L1, L2, ElasticNet), where each is a
    convex problem of one variable whose solution is moved into its interval. The same two steps
    give the conjugate, so the certificate stays a duality gap; with a ridge of 0 and no finite
    bounds it is the residual.

    Parameters
    ----------
    penalty : Penalty
        L1, L2, ElasticNet, L21, SparseGroup, L1Inf, TreeGroup, MCP, SCAD, CappedL21, one of these
        with weights, or a sum: one member of it then has the bounds.
    lower, upper : float, array of shape (n_features,) or mapping, default=-inf, inf
        The bounds, lower <= 0 <= upper: for all features, in the order of the features (after
        encoding), or by feature as in ``weighted``, the others being free.

    Returns
    -------
    Penalty

    Raises
    ------
    IncompatibleError
        If the prox with these bounds is not known exactly.
    ParameterError
        If a bound is not allowed.

    References
    ----------
    .. [1] Yu, Y. (2013). On decomposing the proximal map. NeurIPS 26, Theorem 4.

    Examples
    --------
    >>> from polytask.penalties import L1, bounded
    >>> bounded(L1(0.1), lower=0, upper={"age": 2})
    bounded(L1(alpha=0.1), lower=0.0, upper={'age': 2.0})
    """
    return _bounded(penalty, given_bound(lower, "lower"), given_bound(upper, "upper"))


def _bounded(penalty: Penalty, low: Bound, high: Bound) -> Penalty:
    if isinstance(penalty, Bounded):
        raise IncompatibleError(f"{penalty!r} has bounds already; give them together.")
    if isinstance(penalty, Sum):
        return _bounded_sum(penalty, low, high)
    if isinstance(penalty, Smooth) and not isinstance(penalty, Conjugate):
        return add((penalty, _bounded(L2(0.0), low, high)))
    if isinstance(penalty, Shifted) or not ignores_signs(penalty):
        raise IncompatibleError(
            f"{penalty!r} cannot have bounds: its prox with bounds is not known exactly. L1, L2, "
            "ElasticNet, L21, SparseGroup, L1Inf and TreeGroup can, and penalties of rows that "
            "are not convex."
        )
    refuse_walls(penalty, low, high)
    for leaf in _LEAVES:
        if leaf.fits(penalty):
            return leaf(penalty, low, high)
    raise IncompatibleError(f"{penalty!r} cannot have bounds.")


def _bounded_sum(penalty: Sum, low: Bound, high: Bound) -> Penalty:
    """Give the bounds to the first member with a kink, or to a ridge."""
    kinked = [m for m in penalty.members if not isinstance(m, Smooth)]
    able = [m for m in kinked or penalty.members if ignores_signs(m)]
    if kinked and not able:
        return _bounded(kinked[0], low, high)  # which says why it cannot
    if not able:
        return add((*penalty.members, _bounded(L2(0.0), low, high)))
    return add(_bounded(m, low, high) if m is able[0] else m for m in penalty.members)


def positive(penalty: Penalty) -> Penalty:
    """Let no coefficient be negative: ``bounded(penalty, lower=0)``.

    Parameters
    ----------
    penalty : Penalty
        See :func:`bounded`.

    Returns
    -------
    Penalty

    Examples
    --------
    >>> from polytask.penalties import L21, positive
    >>> positive(L21(0.1))
    bounded(L21(alpha=0.1), lower=0.0)
    """
    return bounded(penalty, lower=0.0)
