"""Weights and bounds for every feature, given to any penalty that is a sum over rows."""

from __future__ import annotations

from typing import Any

from polytask.exceptions import IncompatibleError
from polytask.penalties.adapted import Term, adapted, refuse_finite_bounds
from polytask.penalties.base import (
    Conjugate,
    Penalty,
    RowSeparable,
    Shifted,
    Smooth,
    about,
)
from polytask.penalties.features import (
    Bound,
    checked_weights,
    excludes,
    given_bound,
    without_exclusions,
)
from polytask.penalties.rows import L2
from polytask.penalties.sums import Sum, add


def weighted(penalty: Penalty, feature_weights: Any) -> Penalty:  # noqa: ANN401
    """Give every feature its own share of a penalty: ``sum_j weight_j * penalty(row j of W)``.

    For features that must stay in the model (weight 0: they are fitted without a penalty, as
    free intercepts are), for features that should stay out (inf), and for what is known about
    their importance (the adaptive lasso [1]_ has the inverse of a first estimate). Not for
    features in different units: standardize them.

    For any penalty that is a sum over features the proximal operator of a row is that of the
    penalty with a multiple of the step. With weight 0 the certificate is a duality gap all the
    same: the features without a penalty are fitted until the residuals are orthogonal to them. The
    null strength, hence ``fraction=`` and the grids of a search, is that of the model with these
    features fitted.

    Parameters
    ----------
    penalty : Penalty
        L1, L2, ElasticNet, L21, L1Inf, SparseGroup, FusedTasks, TreeGroup, MCP, SCAD, CappedL21,
        another penalty of rows, or a sum of these.
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
    if isinstance(penalty, Sum):
        # What one member excludes, no other needs to.
        kept = without_exclusions(weights)
        smooth = [isinstance(member, Smooth) for member in penalty.members]
        given = [kept if s and not all(smooth) else weights for s in smooth]
        return add(map(weighted, penalty.members, given))
    if penalty.binds_signs:
        raise IncompatibleError(about(penalty, "penalty.refusal.weights_of_bounded"))
    if not isinstance(_function(penalty), RowSeparable):
        raise IncompatibleError(about(penalty, "penalty.refusal.not_weighted"))
    if isinstance(penalty, Smooth) and excludes(weights):
        raise IncompatibleError(about(penalty, "penalty.refusal.excludes_alone"))
    return adapted(penalty, weights)


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

    The proximal operator is exact. Let p depend on the sizes ``|w_t|`` of a row's entries alone
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
    return _bounded(penalty, (given_bound(lower, "lower"), given_bound(upper, "upper")))


def _function(penalty: Penalty) -> Penalty:
    """Return a penalty without weights, bounds and shift."""
    return penalty.function if isinstance(penalty, Term) else penalty


def _bounded(penalty: Penalty, bounds: tuple[Bound, Bound]) -> Penalty:
    if isinstance(penalty, Sum):
        return _bounded_sum(penalty, bounds)
    if penalty.binds_signs:
        raise IncompatibleError(about(penalty, "penalty.refusal.bounded_already"))
    if isinstance(penalty, Smooth) and not isinstance(penalty, Conjugate):
        return add((penalty, _bounded(L2(0.0), bounds)))
    if not _takes_bounds(penalty):
        raise IncompatibleError(about(penalty, "penalty.refusal.not_bounded"))
    refuse_finite_bounds(penalty, bounds)
    return adapted(penalty, bounds=bounds)


def _takes_bounds(penalty: Penalty) -> bool:
    """Say whether the prox with bounds follows from that without, by their signs."""
    free = not penalty.binds_signs and not isinstance(penalty, Shifted)
    return free and isinstance(penalty, RowSeparable) and _function(penalty).ignores_signs


def _bounded_sum(penalty: Sum, bounds: tuple[Bound, Bound]) -> Penalty:
    """Give the bounds to the first member with a kink, or to a ridge."""
    nonsmooth = [m for m in penalty.members if not isinstance(m, Smooth)]
    able = [m for m in nonsmooth or penalty.members if _takes_bounds(m)]
    if nonsmooth and not able:
        return _bounded(nonsmooth[0], bounds)  # which says why it cannot
    if not able:
        return add((*penalty.members, _bounded(L2(0.0), bounds)))
    return add(_bounded(m, bounds) if m is able[0] else m for m in penalty.members)


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
