"""A weight for every feature: unpenalised, excluded, or penalised more or less."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np

from polytask._checks import number, sentence
from polytask._linalg import Array, host, largest, like, namespace, rounding, row_norms
from polytask._registry import State, saveable
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties.base import (
    Columns,
    CompiledRows,
    Conjugate,
    FeatureSpace,
    Mergeable,
    Nonconvex,
    NullStrength,
    Penalty,
    PerFeature,
    Quadratic,
    RowKernel,
    RowLimits,
    Smooth,
    Valued,
)
from polytask.penalties.decomposition import RidgedRows
from polytask.penalties.parts import Parts
from polytask.penalties.rows import L2, per_row, row_conjugates, row_values
from polytask.penalties.shifts import Shifted, shift
from polytask.penalties.sums import Operators, Sum, add, merge
from polytask.penalties.terms import NormTerm, finite_limit


class RowWrapper(Operators, PerFeature, CompiledRows):
    """A row penalty that treats features differently; strength and tasks are the inner one's."""

    # A leaf class is a dataclass with the field `penalty`.

    penalty: Any  # a Penalty with the capabilities of the leaf class

    @classmethod
    @abstractmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""

    @abstractmethod
    def like_this(self, penalty: Penalty) -> Penalty:
        """Return the same around another penalty."""

    @property
    def strength(self) -> float | None:
        """The strength of the penalty, that of a feature of weight 1."""
        strength: float | None = self.penalty.strength
        return strength

    @property
    def null_point(self) -> Array | None:
        """None: the penalty vanishes at W = 0."""
        return None

    def with_strength(self, alpha: float) -> Penalty:
        """Return the same with another strength."""
        return self.like_this(self.penalty.with_strength(alpha))

    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty; what it says of features stays."""
        return self.like_this(self.penalty.scaled(factor))

    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty of W - W0, W0 of shape (n_features, n_columns)."""
        return shift(self, W0)

    def bind(self, columns: Columns) -> Penalty:
        """Return a copy that knows tasks and classes."""
        return self.like_this(self.penalty.bind(columns))


_NONE: np.ndarray = np.zeros(0, dtype=np.intp)


def bind_features(penalty: Penalty, space: FeatureSpace) -> Penalty:
    """Return a copy of a penalty, composed or not, that knows the features."""
    match penalty:
        case Sum():
            return add(bind_features(member, space) for member in penalty.members)
        case Shifted():
            return shift(bind_features(penalty.penalty, space), penalty.by)
        case Parts():
            return Parts([_of_part(member, space) for member in penalty.members])
        case PerFeature():
            return penalty.bind_features(space)
    return penalty


def _of_part(member: Penalty, space: FeatureSpace) -> Penalty:
    """Return a member of parts that knows the features; it has to penalise each of them."""
    bound = bind_features(member, space)
    if unpenalised_rows(bound).size:
        raise IncompatibleError(
            f"{member!r} leaves features alone, and their part takes them whole; the penalties "
            "of parts have to penalise every feature. Use small weights instead of 0."
        )
    return bound


def rows_of(part: Any, index: Array) -> Any:  # noqa: ANN401 - what solvers take a prox of
    """Return a penalty of rows for some rows of W alone."""
    match part:
        case RidgedRows():
            return RidgedRows(rows_of(part.penalty, index), part.ridge)
        case PerFeature():
            return part.of_rows(index)
    return part


def unpenalised_rows(penalty: object) -> np.ndarray:
    """Return the rows of W for which zero is not special to a penalty or a part of one."""
    # Smooth terms may act on them.
    match penalty:
        case Sum():
            return _common(penalty)
        case Shifted():
            return unpenalised_rows(penalty.penalty)
        case RidgedRows():
            return unpenalised_rows(penalty.penalty)
        case PerFeature():
            return penalty.unpenalised
    return _NONE


def _common(penalty: Sum) -> np.ndarray:
    """Return the rows that no member with a kink at zero acts on."""
    kinked = [member for member in penalty.members if not isinstance(member, Smooth)]
    found = [set(unpenalised_rows(member).tolist()) for member in kinked]
    return np.array(sorted(set.intersection(*found)), dtype=np.intp) if found else _NONE


def binds_signs(penalty: object) -> bool:
    """Say whether a penalty does not allow every W."""
    match penalty:
        case Sum():
            return any(binds_signs(member) for member in penalty.members)
        case Shifted():
            return binds_signs(penalty.penalty)
        case PerFeature():
            return penalty.binds_signs
    return False


# Weights in the order of the features, or by feature.
Weights = np.ndarray | tuple[tuple[Hashable, float], ...]

_ALLOWED = "a number >= 0 for every feature (0: not penalised, inf: excluded)"
_OWNER = "weighted"


def _checked_weight(value: object) -> float:
    if value == float("inf"):
        return float("inf")
    weight = number(value, "feature_weights", _OWNER, _ALLOWED)
    if weight < 0:
        raise ParameterError(sentence("feature_weights", _OWNER, _ALLOWED, repr(value)))
    return weight


def checked_weights(weights: object) -> Weights:
    """Return weights as a read-only array or as pairs, or raise."""
    if isinstance(weights, Mapping):
        return tuple((key, _checked_weight(value)) for key, value in weights.items())
    if isinstance(weights, tuple) and all(isinstance(w, tuple) for w in weights) and weights:
        return checked_weights(dict(weights))
    try:
        found = np.array(weights, dtype=float)
    except (TypeError, ValueError):
        raise ParameterError(
            sentence("feature_weights", _OWNER, _ALLOWED, repr(weights))
        ) from None
    if found.ndim != 1 or not found.size or not bool(np.all(found >= 0)):
        raise ParameterError(sentence("feature_weights", _OWNER, _ALLOWED, repr(weights)))
    found.flags.writeable = False
    return found


def kernel_of(penalty: Any) -> RowKernel:  # noqa: ANN401 - L2, or any with a row kernel
    """Return the compiled prox of one row."""
    if not isinstance(penalty, L2):
        kernel: RowKernel = penalty.row_kernel()
        return kernel
    from polytask.penalties.row_kernels import shrink_row

    return RowKernel(shrink_row, np.array([0.0, 0.0, penalty.weight]))


@dataclass(frozen=True, eq=False, repr=False)
class Weighted(RowWrapper):
    """A sum over features of weight times penalty of the row, made by :func:`weighted`."""

    # Shapes: weights (n_features,).
    # ``isinstance(p, Weighted)`` recognises any. Its parameters are those of the penalty, and
    # ``feature_weights``.

    penalty: Any  # a Penalty with the capabilities of the leaf class: see `_leaf`
    weights: Weights

    binds_signs = False

    @property
    def forbids(self) -> bool:
        """Whether features are excluded."""
        weights = self.weights
        values = weights if isinstance(weights, np.ndarray) else [w for _, w in weights]
        return bool(np.isinf(np.asarray(values, dtype=float)).any())

    def like_this(self, penalty: Penalty) -> Penalty:
        """Return another penalty of the same kind with the same weights."""
        return type(self)(penalty, self.weights)

    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with its fraction turned into a strength."""
        if self.penalty.strength is not None:
            return self
        if isinstance(self, NullStrength):
            finite_limit(self, gradient)
        return self.like_this(self.penalty.resolved(self.divided(gradient)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the penalty, and the weights as `feature_weights`."""
        params: dict[str, Any] = self.penalty.get_params(deep)
        given = self.weights if isinstance(self.weights, np.ndarray) else dict(self.weights)
        return params | {"feature_weights": given}

    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter changed."""
        if name == "feature_weights":
            return type(self)(self.penalty, checked_weights(value))
        return self.like_this(self.penalty.replace(name, value))

    def to_state(self) -> State:
        """Return the penalty and the weights."""
        if isinstance(self.weights, np.ndarray):
            return {"penalty": self.penalty, "weights": self.weights}
        names, values = zip(*self.weights, strict=True) if self.weights else ((), ())
        return {"penalty": self.penalty, "features": list(names), "weights": list(values)}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the penalty from :meth:`to_state`."""
        if "features" in state:
            pairs = tuple(zip(state["features"], state["weights"], strict=True))
            return cls(state["penalty"], pairs)
        return cls(state["penalty"], checked_weights(state["weights"]))

    def __repr__(self) -> str:
        """Show the penalty, and the weights as they were given."""
        if isinstance(self.weights, np.ndarray):
            return f"weighted({self.penalty!r}, <array of shape {self.weights.shape}>)"
        return f"weighted({self.penalty!r}, {dict(self.weights)!r})"

    def bind_features(self, space: FeatureSpace) -> Penalty:
        """Return a copy with the weights in the order of the features."""
        if isinstance(self.weights, np.ndarray):
            self.own(space.n_features)
            return self
        found = np.ones(space.n_features)
        for feature, weight in self.weights:
            found[space.positions(feature, "feature_weights", _OWNER)] = weight
        return type(self)(self.penalty, checked_weights(found))

    def own(self, n_rows: int) -> np.ndarray:
        """Return the weights of W with so many rows; none for none."""
        if not isinstance(self.weights, np.ndarray):
            raise ParameterError(
                f"{self!r} names features; call bind_features first, as fitting does."
            )
        if n_rows not in (0, len(self.weights)):
            allowed = f"one for each feature ({n_rows})"
            raise ParameterError(
                sentence("feature_weights", _OWNER, allowed, f"{len(self.weights)}")
            )
        return self.weights[:n_rows]

    @property
    def unpenalised(self) -> np.ndarray:
        """The rows of weight 0."""
        known = isinstance(self.weights, np.ndarray)
        return np.flatnonzero(self.weights == 0) if known else np.zeros(0, dtype=np.intp)

    def of_rows(self, index: Array) -> Any:  # noqa: ANN401
        """Return the penalty of some rows of W alone."""
        return type(self)(self.penalty, self.own(len(self.weights))[index])

    def value(self, W: Array) -> float:
        """Return the weighted sum of the values of the rows."""
        xp, weight = namespace(W), like(self.own(W.shape[0]), W)
        excluded = xp.isinf(weight)
        if bool(xp.any(excluded & (row_norms(W) > 0))):
            return float("inf")
        finite = xp.where(excluded, xp.zeros_like(weight), weight)
        return float(xp.sum(finite * row_values(self.penalty, W)))

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the prox of some rows, each with its own multiple of the step."""
        if 0 in rows.shape:
            return rows
        xp = namespace(rows)
        weight = like(self.own(len(self.weights))[_on_host(index)], rows)
        excluded, free = xp.isinf(weight), weight == 0
        usual = xp.where(excluded | free, xp.ones_like(weight), weight)
        moved = self.penalty.prox_rows(rows, index, per_row(step, rows) * usual)
        kept = xp.where(free[:, None], rows, moved)
        return xp.where(excluded[:, None], xp.zeros_like(rows), kept)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row, with the weights as limits."""
        kernel = kernel_of(self.penalty)
        weight = np.array(self.own(len(self.weights)))
        return RowKernel(
            kernel.prox, kernel.parameters, RowLimits(weight, *kernel.limits.arrays[1:])
        )

    def divided(self, Z: Array) -> Array:
        """Return Z with every row divided by its weight; 0 in rows of weight 0 and inf."""
        xp, weight = namespace(Z), like(self.own(Z.shape[0]), Z)
        usual = (weight > 0) & ~xp.isinf(weight)
        safe = xp.where(usual, weight, xp.ones_like(weight))
        return xp.where(usual[:, None], Z / safe[:, None], xp.zeros_like(Z))

    def is_orthogonal(self, Z: Array) -> bool:
        """Tell whether Z vanishes, up to rounding, in the rows of weight 0."""
        xp, weight = namespace(Z), like(self.own(Z.shape[0]), Z)
        free = xp.where((weight == 0)[:, None], Z, xp.zeros_like(Z))
        return largest(free) <= rounding(Z) * largest(Z)


def _on_host(index: Array | slice) -> Any:  # noqa: ANN401
    return index if isinstance(index, slice | np.ndarray) else host(index)


class _Null(Weighted, NullStrength):
    """The null strength of a weighted penalty."""

    def null_strength(self, gradient: Array) -> float:
        """Return the smallest strength at which every penalised coefficient vanishes."""
        # The gradient is that of the model with unpenalised features fitted, 0 in their rows;
        # inf if it is not.
        if not self.is_orthogonal(gradient):
            return float("inf")
        return float(self.penalty.null_strength(self.divided(gradient)))


class _Convex(Weighted, Conjugate):
    """The conjugate of a weighted penalty: weight times the conjugate at Z / weight, by row."""

    def conjugate(self, Z: Array) -> float:
        """Return the conjugate; inf unless Z vanishes in the rows of weight 0."""
        if not self.is_orthogonal(Z):
            return float("inf")
        scaled = self.divided(Z)
        if not isinstance(self, Mergeable):
            weight = like(self.own(Z.shape[0]), Z)
            return float(row_conjugates(self.penalty, scaled, weight))
        return float(self.penalty.conjugate(scaled))

    def feasible_scale(self, Z: Array) -> float:
        """Return the largest c with a finite conjugate at c Z; 0 beside unpenalised rows."""
        if not self.is_orthogonal(Z):
            return 0.0
        return float(self.penalty.feasible_scale(self.divided(Z)))


@final
@saveable("penalty.weighted.norm")
class WeightedNorm(_Null, _Convex, Mergeable):
    """A weighted norm of rows."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        norm = isinstance(penalty, NormTerm) or (
            isinstance(penalty, Sum) and isinstance(penalty, Mergeable)
        )
        return norm and isinstance(penalty, CompiledRows)

    def parts(self) -> tuple[Penalty, ...]:
        """Return the weighted parts of the penalty."""
        return tuple(self.like_this(part) for part in self.penalty.parts())

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the weighted sum if the other has the same weights."""
        if not isinstance(other, WeightedNorm) or not _same_weights(self, other):
            return None
        whole: Any = merge((self.penalty, other.penalty))
        return None if whole is None else WeightedNorm(whole, self.weights)


@final
@saveable("penalty.weighted.convex")
class WeightedConvex(_Null, _Convex):
    """A weighted convex penalty of rows that is not a norm."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        able = isinstance(penalty, Conjugate) and isinstance(penalty, NullStrength)
        return able and isinstance(penalty, CompiledRows)


@final
@saveable("penalty.weighted.ridge")
class WeightedRidge(_Convex, Quadratic):
    """A weighted ridge."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, L2)

    def gradient(self, W: Array) -> Array:
        """Return the gradient at W."""
        return self.apply(W)

    def apply(self, W: Array) -> Array:
        """Return weight times alpha times W, by row."""
        return like(self.own(W.shape[0]), W)[:, None] * self.penalty.apply(W)

    def curvature(self) -> float:
        """Return the largest weight times alpha."""
        weights = self.own(len(self.weights))
        return float(self.penalty.curvature()) * float(weights.max(initial=0.0))

    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return the weight of the first feature times alpha, of shape (n_columns,)."""
        return np.asarray(self.own(len(self.weights))[0] * self.penalty.diagonal(n_columns))


@final
@saveable("penalty.weighted.concave")
class WeightedConcave(_Null, Nonconvex):
    """A weighted penalty of rows that is not convex."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        able = isinstance(penalty, Nonconvex) and isinstance(penalty, NullStrength)
        return able and isinstance(penalty, CompiledRows)

    def majorised(self, W: Array) -> Penalty:
        """Return the weighted majoriser."""
        return weighted(self.penalty.majorised(W), self.weights)


@final
@saveable("penalty.weighted.rows")
class WeightedRows(Weighted):
    """A weighted penalty of rows of which only the prox is known."""

    @classmethod
    def fits(cls, penalty: Penalty) -> bool:
        """Tell whether a penalty has the capabilities that this class passes on."""
        return isinstance(penalty, CompiledRows)


# The most capable class first.
_LEAVES: tuple[type[Weighted], ...] = (
    WeightedRidge,
    WeightedNorm,
    WeightedConcave,
    WeightedConvex,
    WeightedRows,
)


def _leaf(penalty: Penalty, weights: Weights) -> Penalty:
    """Return the weighted penalty of the most capable class that fits."""
    if isinstance(penalty, L2) and _excludes(weights):
        raise IncompatibleError(
            f"{penalty!r} alone cannot exclude features (a weight of inf): drop their columns, or "
            "add a penalty with zeros, such as L21."
        )
    for leaf in _LEAVES:
        if leaf.fits(penalty):
            return leaf(penalty, weights)
    raise IncompatibleError(
        f"{penalty!r} cannot take a weight for every feature: it is not a sum over features with "
        "a compiled prox. L1, L2, L21, L1Inf, ElasticNet, SparseGroup, FusedTasks and TreeGroup "
        "can, and the penalties that are not convex."
    )


def _same_weights(one: Weighted, other: Weighted) -> bool:
    a, b = one.weights, other.weights
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or np.array_equal(a, b)
    return type(a) is type(b) and a == b


def _without_exclusions(weights: Weights) -> Weights:
    """Return the weights with 0 in place of inf."""
    if isinstance(weights, np.ndarray):
        return checked_weights(np.where(np.isinf(weights), 0.0, weights))
    return tuple((feature, 0.0 if w == float("inf") else w) for feature, w in weights)


def _excludes(weights: Weights) -> bool:
    values = weights if isinstance(weights, np.ndarray) else [w for _, w in weights]
    return bool(np.isinf(np.asarray(values, dtype=float)).any())


def _product(one: Weights, other: Weights) -> Weights:
    """Return the product of weights; what either excludes is excluded."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        excluded = np.isinf(one) | np.isinf(other)
        pair = (np.where(excluded, 1.0, w) for w in (one, other))
        return checked_weights(np.where(excluded, np.inf, np.prod(list(pair), axis=0)))
    raise ParameterError(
        "feature_weights of weighted must be given once, or each time for all features in order; "
        f"got {one!r} and {other!r}."
    )


def weighted(penalty: Penalty, feature_weights: Any) -> Penalty:  # noqa: ANN401
    """Give every feature its own share of a penalty: ``sum_j weight_j * penalty(row j of W)``.

    For features that must stay in the model (weight 0: they are fitted without a penalty, as
    free intercepts are), for features that should stay out (inf), and for what is known about
    their importance (the adaptive lasso [1]_ has the inverse of a first estimate). Not for
    features in different units: standardize them.

    The weights multiply the penalty of a row, so a wrapper is all it takes: for any penalty
    that is a sum over features the proximal operator of a row is that of the penalty with a
    multiple of the step. With weight 0 the certificate is a duality gap all the same: the
    features without a penalty are fitted until the residuals are orthogonal to them. The null
    strength, hence ``fraction=`` and the grids of a search, is that of the model with these
    features fitted.

    Parameters
    ----------
    penalty : Penalty
        L1, L2, ElasticNet, L21, L1Inf, SparseGroup, FusedTasks, TreeGroup, MCP, SCAD, CappedL21,
        another penalty of rows with a row kernel, or a sum of these.
    feature_weights : array of shape (n_features,) or mapping
        Weights >= 0 in the order of the features (after encoding), or by feature: a column of
        the table, which stands for all features encoded from it, an encoded name such as
        ``"colour=red"``, or a position. Features that are not named have the weight 1.

    Returns
    -------
    Penalty

    Raises
    ------
    IncompatibleError
        If the penalty is not a sum over features.
    ParameterError
        If a weight is not allowed.

    References
    ----------
    .. [1] Zou, H. (2006). The adaptive lasso and its oracle properties. JASA 101, 1418-1429,
       Equation 4.

    Examples
    --------
    >>> from polytask.penalties import L21, weighted
    >>> weighted(L21(0.1), {"age": 0, "income": 2})
    weighted(L21(alpha=0.1), {'age': 0.0, 'income': 2.0})
    """
    weights = checked_weights(feature_weights)
    match penalty:
        case Sum():
            # What one member excludes, no other needs to.
            kept = _without_exclusions(weights)
            smooth = [isinstance(member, Smooth) for member in penalty.members]
            given = [kept if s and not all(smooth) else weights for s in smooth]
            return add(map(weighted, penalty.members, given))
        case Shifted():
            return shift(weighted(penalty.penalty, weights), penalty.by)
        case Weighted():
            return _leaf(penalty.penalty, _product(penalty.weights, weights))
    if isinstance(penalty, PerFeature):
        raise IncompatibleError(
            f"{penalty!r} cannot take weights: give them to what it bounds, as in "
            "bounded(weighted(L1(), weights), lower=0)."
        )
    return _leaf(penalty, weights)
