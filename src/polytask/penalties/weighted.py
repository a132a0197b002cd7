"""A weight for every feature: unpenalised, excluded, or penalised more or less than others."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from polytask._linalg import Array, like
from polytask._registry import saveable
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties.base import (
    CompiledRows,
    Conjugate,
    Mergeable,
    Nonconvex,
    NullStrength,
    Penalty,
    PerFeature,
    Quadratic,
    Smooth,
    Valued,
)
from polytask.penalties.row_values import row_conjugates
from polytask.penalties.rowwise import L2
from polytask.penalties.shifts import Shifted, shift
from polytask.penalties.sums import Sum, add, merge
from polytask.penalties.terms import NormTerm
from polytask.penalties.weighted_rows import Weighted, Weights, checked_weights


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
