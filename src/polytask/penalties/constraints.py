"""Coefficients that may not be negative, or lie between bounds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np

from polytask._checks import sentence
from polytask._linalg import Array, host, largest, like, namespace, rounding
from polytask._registry import State, saveable
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties.base import (
    CompiledRows,
    Conjugate,
    FeatureSpace,
    Mergeable,
    Nonconvex,
    NullStrength,
    Penalty,
    PerFeature,
    RowKernel,
    RowLimits,
    Smooth,
    Valued,
)
from polytask.penalties.row_groups import L1Inf, TreeGroup
from polytask.penalties.rows import L1, L2, L21, ElasticNet, RowNest, SparseGroup, entry_terms
from polytask.penalties.shifts import Shifted
from polytask.penalties.sums import Sum, add, merge
from polytask.penalties.weighted import (
    RowWrapper,
    Weighted,
    kernel_of,
    rows_of,
    unpenalised_rows,
)

# A number for all features, one for each, by feature, or (bound) in the units of W.
Bound = float | np.ndarray | tuple[tuple[Hashable, float], ...]

_OWNER = "bounded"
_SIGNS = {"lower": -1.0, "upper": 1.0}
_WORDS = {
    "lower": "a number <= 0 (-inf: no bound), so that 0 stays possible, or one for every feature",
    "upper": "a number >= 0 (inf: no bound), so that 0 stays possible, or one for every feature",
}


def checked_bound(value: object, side: str) -> Bound:
    """Return a bound as a float, a read-only array or pairs, or raise."""
    if isinstance(value, Mapping):
        return tuple((key, _number(entry, side)) for key, entry in value.items())
    if isinstance(value, tuple) and value and all(isinstance(v, tuple) for v in value):
        return checked_bound(dict(value), side)
    if getattr(value, "ndim", 0) == 0 and not isinstance(value, list | tuple):
        return _number(value, side)
    given: Any = value
    found = np.array([_number(entry, side) for entry in np.ravel(given)])
    found = found.reshape(np.shape(given))
    found.flags.writeable = False
    return found


def given_bound(value: object, side: str) -> Bound:
    """Return a user's bound as `checked_bound` does; tables are what binding makes of it."""
    found = checked_bound(value, side)
    if isinstance(found, np.ndarray) and found.ndim != 1:
        got = f"an array of shape {found.shape}"
        raise ParameterError(sentence(side, _OWNER, _WORDS[side], got))
    return found


def _number(value: Any, side: str) -> float:  # noqa: ANN401
    refusal = ParameterError(sentence(side, _OWNER, _WORDS[side], repr(value)))
    if isinstance(value, bool | str) or value is None:
        raise refusal
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise refusal from None
    if not found * _SIGNS[side] >= 0:
        raise refusal
    return found + 0.0


def of_entries(penalty: object) -> bool:
    """Say whether a penalty is a sum over the entries of W."""
    plain = penalty.penalty if isinstance(penalty, Weighted) else penalty
    return isinstance(plain, L1 | L2 | ElasticNet)


def _has_walls(bound: Bound) -> bool:
    """Say whether a bound is anything but 0 or absent."""
    values = [v for _, v in bound] if isinstance(bound, tuple) else bound
    found = np.abs(np.asarray(values, dtype=float))
    return bool(((found != 0) & (found < float("inf"))).any())


def refuse_walls(penalty: Penalty, low: Bound, high: Bound) -> None:
    """Refuse bounds other than 0 unless the penalty is a sum over entries."""
    if (_has_walls(low) or _has_walls(high)) and not of_entries(penalty):
        raise IncompatibleError(
            f"{penalty!r} cannot have bounds other than 0: its prox with them is not known "
            "exactly. L1, L2 and ElasticNet can; signs (lower=0 or upper=0) are possible here too."
        )


def _plain(bound: Bound) -> Any:  # noqa: ANN401 - as users give it
    return dict(bound) if isinstance(bound, tuple) else bound


def _state(bound: Bound) -> Any:  # noqa: ANN401 - what can be saved
    return [list(pair) for pair in bound] if isinstance(bound, tuple) else bound


def _of_state(saved: Any, side: str) -> Bound:  # noqa: ANN401
    return checked_bound({k: v for k, v in saved} if isinstance(saved, list) else saved, side)


def _table(bound: Bound) -> np.ndarray:
    """Return a bound as an array of shape (n_features or 1, n_columns or 1)."""
    if isinstance(bound, tuple):
        raise ParameterError(
            "The bounds of bounded name features; call bind_features first, as fitting does."
        )
    found = np.asarray(bound, dtype=float)
    return found if found.ndim == 2 else found.reshape(-1, 1)


@dataclass(frozen=True, eq=False, repr=False)
class Bounded(RowWrapper):
    """A penalty of rows with bounds of the coefficients, made by ``bounded`` or ``positive``."""

    # ``isinstance(p, Bounded)`` recognises any. Its parameters are those of the penalty, and
    # ``lower`` and ``upper``.

    penalty: Any  # a Penalty with the capabilities of the leaf class
    lower: Bound
    upper: Bound

    binds_signs = True
    forbids = True

    def like_this(self, penalty: Penalty) -> Penalty:
        """Return another penalty of the same kind with the same bounds."""
        return type(self)(penalty, self.lower, self.upper)

    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with its fraction turned into a strength."""
        return self.like_this(self.penalty.resolved(self.admitted(gradient, -1.0)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the penalty, and the bounds."""
        params: dict[str, Any] = self.penalty.get_params(deep)
        return params | {"lower": _plain(self.lower), "upper": _plain(self.upper)}

    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter changed."""
        if name in _SIGNS:
            new = {"lower": self.lower, "upper": self.upper, name: given_bound(value, name)}
            refuse_walls(self.penalty, new["lower"], new["upper"])
            return type(self)(self.penalty, new["lower"], new["upper"])
        return self.like_this(self.penalty.replace(name, value))

    def to_state(self) -> State:
        """Return the penalty and the bounds."""
        bounds = {"lower": _state(self.lower), "upper": _state(self.upper)}
        return {"penalty": self.penalty} | bounds

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the penalty from :meth:`to_state`."""
        bounds = (_of_state(state[side], side) for side in _SIGNS)
        return cls(state["penalty"], *bounds)

    def __repr__(self) -> str:
        """Show the penalty, and the bounds that there are."""
        sides = (("lower", self.lower), ("upper", self.upper))
        shown = "".join(
            f", {side}={_shown(bound)}"
            for side, bound in sides
            if not (isinstance(bound, float) and np.isinf(bound))
        )
        return f"bounded({self.penalty!r}{shown})"

    def bind_features(self, space: FeatureSpace) -> Penalty:
        """Return a copy with the bounds in the order of the features and the units of W."""
        inner = self.penalty
        if isinstance(inner, PerFeature):
            inner = inner.bind_features(space)
        bounds = (_in_units(getattr(self, side), side, space) for side in _SIGNS)
        return type(self)(inner, *bounds)

    def tables(self, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds as arrays of one shape (n_rows or 1, n_columns or 1)."""
        found = np.broadcast_arrays(_table(self.lower), _table(self.upper))
        if n_rows != 0 and len(found[0]) not in (1, n_rows):
            allowed = f"one for each feature ({n_rows})"
            raise ParameterError(sentence("lower or upper", _OWNER, allowed, len(found[0])))
        return found[0], found[1]

    def box(self, rows: Array, index: Array | slice = slice(None)) -> tuple[Array, Array]:
        """Return the bounds of some rows, in their namespace."""
        where = index if isinstance(index, slice | np.ndarray) else host(index)
        some = (a[where] if len(a) > 1 else a for a in self.tables(0))
        low, high = (like(np.ascontiguousarray(a), rows) for a in some)
        return low, high

    def admitted(self, Z: Array, sign: float = 1.0) -> Array:
        """Return Z with 0 where a bound does not let coefficients go its way."""
        # `sign` -1: where it does not let them go the other way, as for gradients.
        if 0 in Z.shape:
            return Z
        self.tables(Z.shape[0])
        xp, (low, high) = namespace(Z), self.box(Z)
        way = sign * Z
        held = ((way > 0) & (high == 0)) | ((way < 0) & (low == 0))
        return xp.where(held, xp.zeros_like(Z), Z)

    @property
    def unpenalised(self) -> np.ndarray:
        """The rows that the penalty leaves alone and nothing bounds."""
        rows = unpenalised_rows(self.penalty)
        if not rows.size:
            return rows
        free = np.isinf(np.stack(self.tables(0))).all(axis=(0, 2))
        kept = free[rows] if len(free) > 1 else np.repeat(free, len(rows))
        return np.asarray(rows[kept])

    def of_rows(self, index: Array) -> Any:  # noqa: ANN401
        """Return the penalty of some rows of W alone."""
        bounds = (a[index] if len(a) > 1 else a for a in self.tables(0))
        return type(self)(rows_of(self.penalty, index), *bounds)

    def value(self, W: Array) -> float:
        """Return the penalty at W; inf outside the bounds, beyond rounding."""
        if 0 in W.shape:
            return 0.0
        self.tables(W.shape[0])
        xp, (low, high) = namespace(W), self.box(W)
        slack = rounding(W) * largest(W)
        if bool(xp.any((low - W > slack) | (W - high > slack))):
            return float("inf")
        return float(self.penalty.value(W))

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of rows: project on the signs, take the prox, move into the bounds."""
        if 0 in rows.shape:
            return rows
        xp, (low, high) = namespace(rows), self.box(rows, index)
        held = ((rows > 0) & (high == 0)) | ((rows < 0) & (low == 0))
        signed = xp.where(held, xp.zeros_like(rows), rows)
        moved = self.penalty.prox_rows(signed, index, step)
        moved = xp.where(moved < low, xp.zeros_like(rows) + low, moved)
        return xp.where(moved > high, xp.zeros_like(rows) + high, moved)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row, with the bounds as limits."""
        kernel = kernel_of(self.penalty)
        bounds = (np.array(a, dtype=float, order="C") for a in self.tables(0))
        limits = RowLimits(kernel.limits.weight, *bounds)
        return RowKernel(kernel.prox, kernel.parameters, limits)


def _shown(bound: Bound) -> str:
    shape = f"<array of shape {bound.shape}>" if isinstance(bound, np.ndarray) else ""
    return shape or repr(_plain(bound))


def _in_units(bound: Bound, side: str, space: FeatureSpace) -> Bound:
    """Return a bound as an array, multiplied into the units of W."""
    if isinstance(bound, tuple):
        found = np.full(space.n_features, _SIGNS[side] * np.inf)
        for feature, value in bound:
            found[space.positions(feature, side, _OWNER)] = value
    elif isinstance(bound, np.ndarray) and bound.ndim == 2:
        return bound
    else:
        found = np.asarray(bound, dtype=float)
        if found.ndim == 1 and len(found) != space.n_features:
            allowed = f"one bound for each feature ({space.n_features})"
            raise ParameterError(sentence(side, _OWNER, allowed, len(found)))
    if np.all((found == 0) | np.isinf(found)):
        return checked_bound(found.reshape(-1, 1), side)
    return checked_bound(np.multiply(found.reshape(-1, 1), space.unit), side)


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
