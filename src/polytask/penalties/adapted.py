"""Penalties with weights of rows, bounds and a point they pull to: fields of one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, final

import numpy as np

from polytask._linalg import (
    Array,
    frozen,
    host,
    inner,
    largest,
    like,
    namespace,
    per_row,
    rounding,
    row_norms,
)
from polytask._registry import State, saveable
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage
from polytask.penalties.base import (
    NO_ROWS,
    Columns,
    CompiledRows,
    Composed,
    Conjugate,
    FeatureSpace,
    Mergeable,
    Nonconvex,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    RowKernel,
    RowLimits,
    Shifted,
    Smooth,
    Valued,
    about,
    capabilities_of,
)
from polytask.penalties.features import (
    SIGNS,
    Bound,
    Weights,
    as_given,
    bound_in_units,
    check_count,
    checked_weights,
    excludes,
    given_bound,
    is_finite_beyond_zero,
    loaded_bound,
    miscounted,
    ordered_weights,
    product_of_weights,
    same_weights,
    saved_bound,
    shown,
    table_of_bounds,
)
from polytask.penalties.sums import Operators, merge, same_point


def finite_limit(penalty: NullStrength, gradient: Array) -> float:
    """Return the null strength of a penalty, which has to be finite for a fraction of it."""
    null = penalty.null_strength(gradient)
    if not np.isfinite(null):
        raise ParameterError(about(penalty, "penalty.refusal.no_null_strength"))
    return null


@final
@saveable(
    "penalty.term",
    *(f"penalty.bounded.{kind}" for kind in ("concave", "convex", "norm", "ridge")),
    *(f"penalty.weighted.{kind}" for kind in ("concave", "convex", "norm", "ridge", "rows")),
    *(f"penalty.shifted.{kind}" for kind in ("composed", "concave", "conjugate", "norm")),
    *(
        f"penalty.shifted.{kind}"
        for kind in ("proximable", "quadratic", "ridge", "rows", "smooth")
    ),
)
@dataclass(frozen=True, eq=False, repr=False)
class Term(
    Operators,
    Shifted,
    Quadratic,
    CompiledRows,
    Conjugate,
    Mergeable,
    NullStrength,
    Nonconvex,
    Composed,
):
    """A function with weights of rows, bounds, and a point it pulls to; made by `adapted`."""

    # Its value is ``sum_j weight_j function(row j of W - by)``, and inf unless
    # ``lower <= W - by <= upper``. Shapes: weights (n_features,), by (n_features, n_columns).

    function: Any  # a Penalty with the capabilities that are used
    weights: Weights | None = None
    bounds: tuple[Bound, Bound] | None = None
    by: Array | None = None

    def __post_init__(self) -> None:
        """Keep a copy of the point."""
        object.__setattr__(self, "by", None if self.by is None else frozen(self.by))

    @cached_property
    def capabilities(self) -> frozenset[type]:
        """What the function can do and the fields leave."""
        can = set(capabilities_of(self.function))
        if self.by_feature:
            can |= {CompiledRows} if self.function.shares is not None else set()
            can -= set() if self.function.is_norm else {Mergeable}
        if self.bounds is not None:
            can -= {Smooth, Quadratic}
            # Bounds other than 0 cut the conjugate off where the shares say.
            beyond = any(map(is_finite_beyond_zero, self.bounds))
            can -= {Conjugate} if beyond and self.function.shares is None else set()
        if self.by is not None:
            can -= {CompiledRows}
            can &= {NullStrength, Nonconvex} if Nonconvex in can else can
            can |= {Shifted}
        return frozenset(can)

    @property
    def penalty(self) -> Penalty:
        """The penalty without the last thing that was done to it: the shift, bounds or weights."""
        if self.by is not None:
            return adapted(self.function, weights=self.weights, bounds=self.bounds)
        plain: Penalty = self.function
        return plain if self.bounds is None else adapted(plain, weights=self.weights)

    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty shifted further, to W0 plus the present point."""
        return adapted(self, by=W0)

    def of(self, function: Any) -> Penalty:  # noqa: ANN401
        """Return the same of another function."""
        return Term(function, self.weights, self.bounds, self.by)

    @property
    def strength(self) -> float | None:
        """The strength of the function, that of a feature of weight 1."""
        strength: float | None = self.function.strength
        return strength

    @property
    def null_point(self) -> Array | None:
        """The point that it pulls to, None for zero."""
        return self.by

    @property
    def selects_tasks(self) -> bool:
        """Whether the function does."""
        return bool(self.function.selects_tasks)

    @property
    def by_feature(self) -> bool:
        """Whether there are weights or bounds."""
        return self.weights is not None or self.bounds is not None

    @property
    def forbids(self) -> bool:
        """Whether features are excluded or bounded, or the function forbids something."""
        excluded = self.weights is not None and excludes(self.weights)
        return self.bounds is not None or excluded or bool(self.function.forbids)

    @property
    def binds_signs(self) -> bool:
        """Whether there are bounds."""
        return self.bounds is not None

    @property
    def unpenalised(self) -> np.ndarray:
        """The rows of weight 0 that nothing bounds."""
        if not isinstance(self.weights, np.ndarray):
            return NO_ROWS
        rows = np.flatnonzero(self.weights == 0)
        if self.bounds is None or not rows.size:
            return rows
        free = np.isinf(np.stack(self._tables)).all(axis=(0, 2))
        kept: np.ndarray = rows[free[rows] if len(free) > 1 else np.repeat(free, len(rows))]
        return kept

    def without_terms(self) -> Mapping[str, Penalty]:
        """Return what is left of the function, adapted likewise."""
        return {name: self.of(rest) for name, rest in self.function.without_terms().items()}

    def with_strength(self, alpha: float) -> Penalty:
        """Return the same with another strength."""
        return self.of(self.function.with_strength(alpha))

    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty; bounds and the point stay."""
        return self.of(self.function.scaled(factor))

    def bind(self, columns: Columns) -> Penalty:
        """Return a copy that knows tasks and classes."""
        return self.of(self.function.bind(columns))

    def bind_features(self, space: FeatureSpace) -> Penalty:
        """Return a copy with weights and bounds in the order of the features, in units of W."""
        weights, bounds = self.weights, self.bounds
        if weights is not None:
            weights = ordered_weights(weights, space)
        if bounds is not None:
            bounds = (
                bound_in_units(bounds[0], "lower", space),
                bound_in_units(bounds[1], "upper", space),
            )
        return Term(self.function, weights, bounds, self.by)

    def of_rows(self, index: Array) -> Any:  # noqa: ANN401
        """Return the penalty of some rows of W alone."""
        weights, bounds = self.weights, self.bounds
        if weights is not None:
            weights = self._weights(len(weights))[index]
        if bounds is not None:
            low, high = (a[index] if len(a) > 1 else a for a in self._tables)
            bounds = (low, high)
        return Term(self.function, weights, bounds, None if self.by is None else self.by[index])

    def at_curvature(self, curvature: float, gradient: Array) -> Penalty:
        """Return the same of the function at this curvature."""
        if self.strength is not None:
            return self
        return self.of(self.function.at_curvature(curvature, self._of_function(gradient)))

    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty resolved on the gradient of the data term at the null point."""
        if self.weights is not None and self.strength is not None:
            return self
        return self.of(self.function.resolved(self._of_function(gradient)))

    def _of_function(self, gradient: Array) -> Array:
        """Return the gradient in the coefficients that the function knows."""
        if self.weights is not None and isinstance(self, NullStrength):
            finite_limit(self, gradient)
        return self._divided(self._admitted(gradient, -1.0))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the function, `feature_weights`, `lower` and `upper`."""
        params: dict[str, Any] = self.function.get_params(deep)
        if self.weights is not None:
            params = params | {"feature_weights": as_given(self.weights)}
        if self.bounds is not None:
            params = params | dict(zip(SIGNS, map(as_given, self.bounds), strict=True))
        return params

    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter changed."""
        if name == "feature_weights" and self.weights is not None:
            return Term(self.function, checked_weights(value), self.bounds, self.by)
        if name in SIGNS and self.bounds is not None:
            new = dict(zip(SIGNS, self.bounds, strict=True)) | {name: given_bound(value, name)}
            bounds = (new["lower"], new["upper"])
            refuse_finite_bounds(self.function, bounds)
            return Term(self.function, self.weights, bounds, self.by)
        return self.of(self.function.replace(name, value))

    def to_state(self) -> State:
        """Return the function and what is done to it."""
        state: State = {"penalty": self.function}
        if isinstance(self.weights, np.ndarray):
            state["weights"] = self.weights
        elif self.weights is not None:
            names, values = zip(*self.weights, strict=True) if self.weights else ((), ())
            state |= {"features": list(names), "weights": list(values)}
        if self.bounds is not None:
            state |= dict(zip(SIGNS, map(saved_bound, self.bounds), strict=True))
        return state if self.by is None else state | {"by": host(self.by)}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the penalty from :meth:`to_state`."""
        # What earlier versions saved has one of these at a time, around another.
        weights = state.get("weights")
        if "features" in state:
            weights = tuple(zip(state["features"], state["weights"], strict=True))
        elif weights is not None:
            weights = checked_weights(weights)
        bounds = None
        if "lower" in state:
            bounds = loaded_bound(state["lower"], "lower"), loaded_bound(state["upper"], "upper")
        found: Any = adapted(state["penalty"], weights, bounds, state.get("by"))
        whole: Self = found
        return whole

    def __repr__(self) -> str:
        """Show the function, and what is done to it, as it is written."""
        text = repr(self.function)
        if self.weights is not None:
            text = f"weighted({text}, {shown(self.weights)})"
        if self.bounds is not None:
            sides = zip(SIGNS, self.bounds, strict=True)
            given = [(k, v) for k, v in sides if not (isinstance(v, float) and np.isinf(v))]
            text = "".join([f"bounded({text}", *(f", {k}={shown(v)}" for k, v in given), ")"])
        if self.by is not None:
            text = f"{text}.shifted(<array of shape {tuple(self.by.shape)}>)"
        return text

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """The bounds as arrays of one shape (n_features or 1, n_columns or 1)."""
        low, high = (table_of_bounds(bound) for bound in self.bounds or (-np.inf, np.inf))
        first, second = np.broadcast_arrays(low, high)
        return np.ascontiguousarray(first), np.ascontiguousarray(second)

    def _box(self, rows: Array, index: Array | slice = slice(None)) -> tuple[Array, Array]:
        """Return the bounds of some rows, in their namespace."""
        at = _on_host(index)
        low, high = (like(a[at] if len(a) > 1 else a, rows) for a in self._tables)
        return low, high

    def _weights(self, n_rows: int) -> np.ndarray:
        """Return the weights of W with so many rows; none for none."""
        if not isinstance(self.weights, np.ndarray):
            raise ParameterError(about(self, "penalty.refusal.names_features"))
        check_count(self.weights, n_rows)
        return self.weights[:n_rows]

    @property
    def limits(self) -> RowLimits:
        """In what rows differ, for compiled loops."""
        weights = np.zeros(0) if self.weights is None else self._weights(len(self.weights))
        bounds = (np.zeros((0, 0)),) * 2 if self.bounds is None else self._tables
        return RowLimits(np.array(weights), *(np.array(a, order="C") for a in bounds))

    def _check_rows(self, W: Array) -> None:
        """Refuse bounds of another number of features."""
        n_rows = W.shape[0]
        if self.bounds is not None and len(self._tables[0]) not in (1, n_rows):
            either = LazyMessage("list.or", {"before": "lower", "after": "upper"})
            raise ParameterError(miscounted(either, "bounded", n_rows, len(self._tables[0])))

    def _from_point(self, W: Array) -> Array:
        return W if self.by is None else W - like(self.by, W)

    def _admitted(self, Z: Array, sign: float = 1.0) -> Array:
        """Return Z with 0 where a bound does not let coefficients go its way."""
        # `sign` -1: where it does not let them go the other way, as for gradients.
        if self.bounds is None or 0 in Z.shape:
            return Z
        self._check_rows(Z)
        return _admitted(Z, *self._box(Z), sign)

    def _divided(self, Z: Array) -> Array:
        """Return Z with every row divided by its weight; 0 in rows of weight 0 and inf."""
        if self.weights is None:
            return Z
        xp, weight = namespace(Z), like(self._weights(Z.shape[0]), Z)
        usual = (weight > 0) & ~xp.isinf(weight)
        safe = xp.where(usual, weight, xp.ones_like(weight))
        return xp.where(usual[:, None], Z / safe[:, None], xp.zeros_like(Z))

    def _is_orthogonal(self, Z: Array) -> bool:
        """Tell whether Z vanishes, up to rounding, in the rows of weight 0."""
        if self.weights is None:
            return True
        xp, weight = namespace(Z), like(self._weights(Z.shape[0]), Z)
        free = xp.where((weight == 0)[:, None], Z, xp.zeros_like(Z))
        return largest(free) <= rounding(Z) * largest(Z)

    def value(self, W: Array) -> float:
        """Return the value at W; inf where it is not allowed, beyond rounding."""
        V = self._from_point(W)
        if self.bounds is not None and 0 not in V.shape:
            self._check_rows(V)
            low, high = self._box(V)
            slack = rounding(V) * largest(V)
            if bool(namespace(V).any((low - V > slack) | (V - high > slack))):
                return float("inf")
        if self.weights is None:
            return float(self.function.value(V))
        xp, weight = namespace(V), like(self._weights(V.shape[0]), V)
        excluded = xp.isinf(weight)
        if bool(xp.any(excluded & (row_norms(V) > 0))):
            return float("inf")
        finite = xp.where(excluded, xp.zeros_like(weight), weight)
        return float(xp.sum(finite * self.function.value_by_row(V)))

    def prox(self, W: Array, step: float) -> Array:
        """Return the minimiser over Z of 1/2 ||Z - W||_F^2 + step * penalty(Z)."""
        if self.by_feature:
            return self.prox_rows(W, slice(None), step)
        point = like(self.by, W)
        return point + self.function.prox(W - point, step)

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of rows: project on the signs, take the prox, move into the bounds."""
        if self.by is not None:
            point = like(self.by[_on_host(index)], rows)
            return point + self._prox_at_zero(rows - point, index, step)
        return self._prox_at_zero(rows, index, step)

    def _prox_at_zero(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        if 0 in rows.shape:
            return rows
        if self.bounds is None:
            return self._weighted_prox(rows, index, step)
        xp, (low, high) = namespace(rows), self._box(rows, index)
        moved = self._weighted_prox(_admitted(rows, low, high), index, step)
        moved = xp.where(moved < low, xp.zeros_like(rows) + low, moved)
        return xp.where(moved > high, xp.zeros_like(rows) + high, moved)

    def _weighted_prox(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of rows, each with its own multiple of the step."""
        if self.weights is None:
            found: Array = self.function.prox_rows(rows, index, step)
            return found
        xp = namespace(rows)
        weight = like(self._weights(len(self.weights))[_on_host(index)], rows)
        excluded, free = xp.isinf(weight), weight == 0
        usual = xp.where(excluded | free, xp.ones_like(weight), weight)
        moved = self.function.prox_rows(rows, index, per_row(step, rows) * usual)
        kept = xp.where(free[:, None], rows, moved)
        return xp.where(excluded[:, None], xp.zeros_like(rows), kept)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row, with weights and bounds as limits."""
        kernel = self.function.row_kernel()
        return RowKernel(kernel.prox, kernel.parameters, self.limits)

    def conjugate(self, Z: Array) -> float:
        """Return sup over allowed W of <Z, W> - penalty(W)."""
        shift = 0.0 if self.by is None else inner(Z, like(self.by, Z))
        # Where only signs are bound it is that of the function at Z with 0 in place of the
        # entries that point the wrong way: coefficients there are best at 0, whatever the others
        # are.
        way = self._admitted(Z)
        if not self._is_limited or 0 in Z.shape:
            return self._weighted_conjugate(way) + shift
        # Where a limit is absent, the function alone keeps the supremum finite.
        if self._weighted_conjugate(self._unlimited(way)) == float("inf"):
            return float("inf")
        return self._limited_conjugate(way) + shift

    def _weighted_conjugate(self, Z: Array) -> float:
        """Return weight times the conjugate at Z / weight, by row."""
        if not self._is_orthogonal(Z):
            return float("inf")
        scaled = self._divided(Z)
        if self.weights is None or self.function.is_norm:
            return float(self.function.conjugate(scaled))
        xp, weight = namespace(Z), like(self._weights(Z.shape[0]), Z)
        usual = xp.where(xp.isinf(weight), xp.zeros_like(weight), weight)
        found = self.function.conjugate_by_row(scaled)
        return float(xp.sum(xp.where(usual > 0, usual * found, xp.zeros_like(found))))

    @cached_property
    def _is_limited(self) -> bool:
        """Whether there are bounds other than 0."""
        return self.bounds is not None and any(map(is_finite_beyond_zero, self._tables))

    def _unlimited(self, way: Array) -> Array:
        """Return Z with 0 in place of the entries that run into a bound."""
        xp, (low, high) = namespace(way), self._box(way)
        limited = ((way > 0) & ~xp.isinf(high)) | ((way < 0) & ~xp.isinf(low))
        return xp.where(limited, xp.zeros_like(way), way)

    def _limited_conjugate(self, way: Array) -> float:
        """Return the conjugate of a function of entries, one by one."""
        xp, (low, high) = namespace(way), self._box(way)
        sparse, _, ridge = (self.function.weight * share for share in self.function.shares)
        weight = xp.ones_like(way[:, 0])
        if self.weights is not None:
            weight = like(self._weights(way.shape[0]), way)
        share = xp.where(xp.isinf(weight), xp.zeros_like(weight), weight)[:, None]
        excess = xp.abs(way) - sparse * share
        least = rounding(way) * largest(way)
        gains = (excess > least) & ~xp.isinf(weight)[:, None]
        limit = xp.where(way > 0, xp.zeros_like(way) + high, xp.zeros_like(way) - low)
        curvature = ridge * share
        far = xp.where(
            curvature > 0,
            excess / xp.where(curvature > 0, curvature, xp.ones_like(curvature)),
            limit,
        )
        best = xp.where(far < limit, far, limit)
        # Without a limit and a ridge an entry gains nothing: `conjugate` has seen to it.
        best = xp.where(gains & ~xp.isinf(best), best, xp.zeros_like(way))
        return float(xp.sum(best * excess - 0.5 * curvature * best * best))

    def feasible_scale(self, Z: Array) -> float:
        """Return the largest c with a finite conjugate at c Z; 0 beside unpenalised rows."""
        way = self._admitted(Z)
        open_ways = self._unlimited(way) if self._is_limited and 0 not in Z.shape else way
        if not self._is_orthogonal(open_ways):
            return 0.0
        return float(self.function.feasible_scale(self._divided(open_ways)))

    def null_strength(self, gradient: Array) -> float:
        """Return the smallest strength at which every penalised coefficient vanishes."""
        # The gradient is that of the model with unpenalised features fitted, 0 in their rows;
        # inf if it is not.
        open_ways = self._admitted(gradient, -1.0)
        if not self._is_orthogonal(open_ways):
            return float("inf")
        return float(self.function.null_strength(self._divided(open_ways)))

    def parts(self) -> tuple[Penalty, ...]:
        """Return the parts of the function, adapted likewise; itself with bounds."""
        if self.bounds is not None:
            return (self,)
        return tuple(self.of(part) for part in self.function.parts())

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another that has the same weights and point, and no bounds."""
        theirs = other if isinstance(other, Term) else Term(other)
        alike = same_weights(self.weights, theirs.weights) and same_point(self.by, theirs.by)
        if not alike or (self.bounds is not None and theirs.bounds is not None):
            return None
        bounds = self.bounds or theirs.bounds
        whole: Any = merge((self.function, theirs.function))
        if whole is None or (self.by_feature and not whole.is_norm):
            return None
        if bounds is not None and (not whole.ignores_signs or _is_beyond(whole, bounds)):
            return None
        return Term(whole, self.weights, bounds, self.by)

    def majorised(self, W: Array) -> Penalty:
        """Return the majoriser of the function, adapted likewise."""
        above = self.function.majorised(self._from_point(W))
        return adapted(above, self.weights, self.bounds, self.by)

    def gradient(self, W: Array) -> Array:
        """Return the gradient at W."""
        return self._times_weights(self.function.gradient(self._from_point(W)))

    def _times_weights(self, rows: Array) -> Array:
        if self.weights is None:
            return rows
        return like(self._weights(rows.shape[0]), rows)[:, None] * rows

    def curvature(self) -> float:
        """Return that of the function, times the largest weight."""
        most = 1.0 if self.weights is None else self._weights(len(self.weights)).max(initial=0.0)
        return float(self.function.curvature()) * float(most)

    def apply(self, W: Array) -> Array:
        """Return the Hessian applied to W: a shift does not change it."""
        return self._times_weights(self.function.apply(W))

    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return the diagonal of the Hessian of the first feature, of shape (n_columns,)."""
        first = 1.0 if self.weights is None else self._weights(len(self.weights))[0]
        return np.asarray(first * self.function.diagonal(n_columns))

    def forward(self, W: Array) -> Array:
        """Return the map of W: the shift is in the conjugate."""
        return self.function.forward(W)

    def adjoint(self, U: Array) -> Array:
        """Return the transpose of the map at U."""
        return self.function.adjoint(U)

    def norm_bound(self) -> float:
        """Return that of the function: a shift does not change it."""
        return float(self.function.norm_bound())

    def _map_of_point(self, U: Array) -> Array:
        return self.function.forward(like(self.by, U))

    def dual_prox(self, U: Array, step: float) -> Array:
        """Return that of the function at U less step times the map of W0."""
        return self.function.dual_prox(U - float(step) * self._map_of_point(U), step)

    def dual_value(self, U: Array) -> float:
        """Return that of the function plus <U, A W0>."""
        return float(self.function.dual_value(U)) + inner(U, self._map_of_point(U))

    def settled(self, W: Array, moved: Array) -> Array:
        """Return W0 plus the settled difference."""
        point = like(self.by, W)
        return point + self.function.settled(W - point, moved - self._map_of_point(moved))


def _on_host(index: Array | slice) -> Any:  # noqa: ANN401
    return index if isinstance(index, slice | np.ndarray) else host(index)


def _admitted(Z: Array, low: Array, high: Array, sign: float = 1.0) -> Array:
    """Return Z with 0 where a bound of 0 does not let it go its way."""
    xp, way = namespace(Z), sign * Z
    blocked = ((way > 0) & (high == 0)) | ((way < 0) & (low == 0))
    return xp.where(blocked, xp.zeros_like(Z), Z)


def _is_beyond(penalty: Any, bounds: tuple[Bound, Bound]) -> bool:  # noqa: ANN401
    """Say whether bounds other than 0 meet a penalty that is no sum over entries."""
    function = penalty.function if isinstance(penalty, Term) else penalty
    return any(map(is_finite_beyond_zero, bounds)) and not function.by_entry


def refuse_finite_bounds(penalty: Penalty, bounds: tuple[Bound, Bound]) -> None:
    """Refuse bounds other than 0 unless the penalty is a sum over entries."""
    if _is_beyond(penalty, bounds):
        raise IncompatibleError(about(penalty, "penalty.refusal.only_signs"))


def adapted(
    penalty: Penalty,
    weights: Weights | None = None,
    bounds: tuple[Bound, Bound] | None = None,
    by: Array | None = None,
) -> Penalty:
    """Return a penalty with weights, bounds or a shift, beside those that it has."""
    now = penalty if isinstance(penalty, Term) else Term(penalty)
    if weights is not None:
        now = Term(now.function, product_of_weights(now.weights, weights), now.bounds, now.by)
    if bounds is not None:
        now = Term(now.function, now.weights, bounds, now.by)
    if by is not None:
        if not capabilities_of(penalty) & {Smooth, Proximable, Nonconvex, Composed}:
            raise IncompatibleError(about(penalty, "penalty.refusal.not_shifted"))
        point = by if now.by is None else now.by + like(by, now.by)
        now = Term(now.function, now.weights, now.bounds, point)
    if now.by_feature or now.by is not None:
        return now
    plain: Penalty = now.function
    return plain
