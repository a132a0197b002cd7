"""Concave penalties of the norms of rows: fewer features than L21, and less bias."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

import numpy as np

from polytask._checks import number, one_of, positive, sentence
from polytask._linalg import Array, clip, host, largest, namespace, per_row, row_norms, total
from polytask._registry import State, saveable
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage
from polytask.penalties.adapted import adapted, finite_limit
from polytask.penalties.base import (
    Columns,
    CompiledRows,
    Nonconvex,
    NullStrength,
    Penalty,
    RowKernel,
    RowSeparable,
    about,
)
from polytask.penalties.rows import L1, L21
from polytask.penalties.sums import Operators
from polytask.penalties.terms import (
    ALPHA,
    DEFAULT_FRACTION,
    FRACTION,
    RelativeTerm,
    Unbound,
    check_exclusive,
    checked_by,
)


def tangent(norm: Penalty, slopes: Array) -> Penalty:
    """Return a norm of rows times the slopes of a concave function, relative to that at 0."""
    weights = np.asarray(host(slopes), dtype=float)
    found: Penalty = norm if bool(np.all(weights == 1)) else adapted(norm, weights)
    return found


def _checked_above(least: float) -> Any:  # noqa: ANN401 - a check of a field
    allowed = LazyMessage("allowed.above", {"least": f"{least:g}"})

    def check(value: object, parameter: str, owner: str) -> float:
        found = number(value, parameter, owner, allowed)
        if found <= least:
            raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
        return found

    return check


class ConcaveRows(Unbound, NullStrength, CompiledRows, Nonconvex):
    """factor * sum over features of phi(||W_j||_2) with phi concave, of slope alpha at 0."""

    # A leaf class has the fields alpha, gamma, factor and fraction.

    alpha: float | None
    gamma: float
    factor: float
    fraction: float | None
    ignores_signs = True

    @abstractmethod
    def costs(self, sizes: Array) -> Array:
        """Return phi of the norms, without the factor."""

    @abstractmethod
    def slopes(self, sizes: Array) -> Array:
        """Return the derivative of phi at the norms over alpha, in [0, 1]."""

    @abstractmethod
    def nearby(self, sizes: Array, amount: Array | float) -> list[Array]:
        """Return norms of which one minimises ``(r - size)^2 / 2 + amount * phi(r)``."""

    @final
    def _check_together(self) -> None:
        """Refuse alpha together with fraction."""
        check_exclusive(self.alpha, self.fraction, self.label)

    @final
    @property
    def slope(self) -> float:
        """Alpha as a number."""
        return self.weight / self.factor

    @final
    @property
    def strength(self) -> float | None:
        """The slope at zero, factor * alpha; None while it is a fraction."""
        return None if self.alpha is None else self.factor * self.alpha

    @final
    @property
    def share(self) -> float:
        """The fraction of the null strength, for a penalty without alpha."""
        return DEFAULT_FRACTION if self.fraction is None else self.fraction

    @final
    def with_strength(self, alpha: float) -> Penalty:
        """Return the penalty with another slope at zero; gamma stays."""
        return self.replace("alpha", alpha / self.factor)

    @final
    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty; a fraction is multiplied instead."""
        if factor == 0:
            return self.with_strength(0.0)
        if self.alpha is None:
            return self.replace("fraction", factor * self.share)
        return self.replace("factor", self.factor * positive(factor, "factor", "scaled"))

    @final
    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with its fraction turned into a strength."""
        if self.alpha is not None:
            return self
        return self.with_strength(self.share * finite_limit(self, gradient))

    @final
    def null_strength(self, gradient: Array) -> float:
        """Return the largest norm of a row of the gradient.

        From that strength on W = 0 is a stationary point, as for ``L21``; it need not be the
        lowest one.
        """
        return largest(row_norms(gradient))

    @final
    def value_by_row(self, W: Array) -> Array:
        """Return what each row adds to the value, of shape (n_rows,)."""
        return self.factor * self.costs(row_norms(W))

    @final
    def value(self, W: Array) -> float:
        """Return the value at W."""
        return total(self.value_by_row(W))

    @final
    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows with their best norms."""
        if 0 in rows.shape:
            return rows
        xp, sizes = namespace(rows), row_norms(rows)
        amount = per_row(step, rows) * self.factor
        best, lowest = xp.zeros_like(sizes), 0.5 * sizes * sizes
        for new in self.nearby(sizes, amount):
            values = 0.5 * (sizes - new) ** 2 + amount * self.costs(new)
            best = xp.where(values < lowest, new, best)
            lowest = xp.where(values < lowest, values, lowest)
        return rows * (best / xp.where(sizes > 0, sizes, xp.ones_like(sizes)))[:, None]

    @final
    def majorised(self, W: Array) -> Penalty:
        """Return L21 with a weight for every feature: the slope at its norm."""
        return tangent(L21(self.weight), self.slopes(row_norms(W)))

    @final
    def _parameters(self) -> np.ndarray:
        return np.array([self.slope, self.gamma, self.factor])


def _constant(value: float, sizes: Array) -> Array:
    return namespace(sizes).zeros_like(sizes) + value


@final
@saveable("penalty.mcp")
@dataclass(frozen=True, eq=False, repr=False)
class MCP(ConcaveRows):
    """The minimax concave penalty of the norms of rows: L21 that lets go of large ones.

    Sum over features of phi(||W_j||_2), with phi(r) = alpha r - r^2 / (2 gamma) up to r = gamma
    alpha and constant beyond [1]_, on norms as in [2]_. For support recovery with little bias:
    features of clear effect are not shrunk at all. Not convex: the answer is a stationary point,
    reached from that of ``L21`` by ``Reweighted``. Not for correlated features with few rows,
    where stationary points differ; ``L21`` is then the safer choice. For classes add ``L2``: where
    features tell them apart, those without a penalty have no finite best coefficients.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0: the slope at zero.
    gamma : float, default=3.0
        Above 1; norms from gamma * alpha on are not penalised further, large values approach
        ``L21``. The coefficients are those of the scaled features and targets, where these are
        scaled.
    factor : float, default=1.0
        What the whole is multiplied with, > 0; ``2 * MCP(...)`` sets it.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which zero is stationary. Without alpha
        and fraction it is 0.1.

    References
    ----------
    .. [1] Zhang, C.-H. (2010). Nearly unbiased variable selection under minimax concave penalty.
       Annals of Statistics 38, 894-942, Equation 2.1.
    .. [2] Huang, J., Breheny, P. and Ma, S. (2012). A selective review of group selection in
       high-dimensional models. Statistical Science 27, 481-499, Section 3.
    """

    label = "MCP"

    alpha: float | None = field(default=None, metadata=ALPHA)
    gamma: float = field(default=3.0, metadata=checked_by(_checked_above(1.0)))
    factor: float = field(default=1.0, metadata=checked_by(positive))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def costs(self, sizes: Array) -> Array:
        """Return phi of the norms, without the factor."""
        cut = clip(sizes, None, self.slope * self.gamma)
        return self.slope * cut - 0.5 * cut * cut / self.gamma

    def slopes(self, sizes: Array) -> Array:
        """Return the derivative of phi at the norms over alpha."""
        edge = self.slope * self.gamma
        return clip(1.0 - sizes / edge, 0.0, None) if edge > 0 else _constant(0.0, sizes)

    def nearby(self, sizes: Array, amount: Array | float) -> list[Array]:
        """Return the best norms below and above gamma * alpha."""
        xp, alpha, gamma = namespace(sizes), self.slope, self.gamma
        edge, curvature = alpha * gamma, _constant(1.0, sizes) - amount / gamma
        convex = curvature > 0
        inner = (sizes - amount * alpha) / xp.where(convex, curvature, xp.ones_like(curvature))
        inner = xp.where(convex, clip(inner, 0.0, edge), _constant(edge, sizes))
        return [inner, clip(sizes, edge, None)]

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.nonconvex_kernels import mcp_row

        return RowKernel(mcp_row, self._parameters())


@final
@saveable("penalty.scad")
@dataclass(frozen=True, eq=False, repr=False)
class SCAD(ConcaveRows):
    """The smoothly clipped absolute deviation of the norms of rows.

    Sum over features of phi(||W_j||_2); phi has the slope alpha up to r = alpha, a slope that
    falls to 0 up to r = gamma alpha, and is constant beyond [1]_, on norms as in [2]_. Like
    ``MCP``, but small norms are penalised as by ``L21``: a little less eager to let go. Not
    convex; the same cautions apply.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0: the slope at zero.
    gamma : float, default=3.7
        Above 2; norms from gamma * alpha on are not penalised further.
    factor : float, default=1.0
        What the whole is multiplied with, > 0; ``2 * SCAD(...)`` sets it.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which zero is stationary. Without alpha
        and fraction it is 0.1.

    References
    ----------
    .. [1] Fan, J. and Li, R. (2001). Variable selection via nonconcave penalized likelihood and
       its oracle properties. JASA 96, 1348-1360, Equation 2.7.
    .. [2] Huang, J., Breheny, P. and Ma, S. (2012). A selective review of group selection in
       high-dimensional models. Statistical Science 27, 481-499, Section 3.
    """

    label = "SCAD"

    alpha: float | None = field(default=None, metadata=ALPHA)
    gamma: float = field(default=3.7, metadata=checked_by(_checked_above(2.0)))
    factor: float = field(default=1.0, metadata=checked_by(positive))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def costs(self, sizes: Array) -> Array:
        """Return phi of the norms, without the factor."""
        alpha, edge = self.slope, self.slope * self.gamma
        cut = clip(sizes, alpha, edge)
        middle = (cut - alpha) * (edge - 0.5 * (cut + alpha)) / (self.gamma - 1.0)
        return alpha * clip(sizes, None, alpha) + middle

    def slopes(self, sizes: Array) -> Array:
        """Return the derivative of phi at the norms over alpha."""
        alpha, edge = self.slope, self.slope * self.gamma
        if alpha == 0:
            return _constant(0.0, sizes)
        return clip((edge - sizes) / (edge - alpha), 0.0, 1.0)

    def nearby(self, sizes: Array, amount: Array | float) -> list[Array]:
        """Return the best norms up to alpha, up to gamma * alpha and above."""
        xp, alpha, gamma = namespace(sizes), self.slope, self.gamma
        edge, curvature = alpha * gamma, _constant(gamma - 1.0, sizes) - amount
        convex = curvature > 0
        inner = (gamma - 1.0) * sizes - amount * edge
        inner = inner / xp.where(convex, curvature, xp.ones_like(curvature))
        inner = xp.where(convex, clip(inner, alpha, edge), _constant(edge, sizes))
        return [clip(sizes - amount * alpha, 0.0, alpha), inner, clip(sizes, edge, None)]

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.nonconvex_kernels import scad_row

        return RowKernel(scad_row, self._parameters())


_OWNER = "reweighted"


@final
@saveable("penalty.reweighted")
@dataclass(frozen=True, eq=False, repr=False)
class ReweightedRows(Operators, NullStrength, Nonconvex):
    """A logarithm of norms of rows, made by :func:`reweighted`."""

    # Its parameters are those of the norm, and ``eps``.

    penalty: Any  # a norm of rows: see `reweighted`
    eps: float

    def __post_init__(self) -> None:
        """Check the number."""
        object.__setattr__(self, "eps", positive(self.eps, "eps", _OWNER))

    @property
    def strength(self) -> float | None:
        """The strength of the norm: the slope at zero."""
        strength: float | None = self.penalty.strength
        return strength

    @property
    def null_point(self) -> Array | None:
        """None: the penalty vanishes at W = 0."""
        return None

    def with_strength(self, alpha: float) -> Penalty:
        """Return the penalty with another strength."""
        return ReweightedRows(self.penalty.with_strength(alpha), self.eps)

    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty."""
        return ReweightedRows(self.penalty.scaled(factor), self.eps)

    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty of W - W0."""
        return adapted(self, by=W0)

    def bind(self, columns: Columns) -> Penalty:
        """Return a copy that knows tasks and classes."""
        return ReweightedRows(self.penalty.bind(columns), self.eps)

    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with its fraction turned into a strength."""
        return ReweightedRows(self.penalty.resolved(gradient), self.eps)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the norm, and eps."""
        params: dict[str, Any] = self.penalty.get_params(deep)
        return params | {"eps": self.eps}

    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter changed."""
        if name == "eps":
            return ReweightedRows(self.penalty, positive(value, "eps", _OWNER))
        return ReweightedRows(self.penalty.replace(name, value), self.eps)

    def to_state(self) -> State:
        """Return the norm and eps."""
        return {"penalty": self.penalty, "eps": self.eps}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the penalty from :meth:`to_state`."""
        return cls(state["penalty"], state["eps"])

    def __repr__(self) -> str:
        """Show the norm and eps."""
        return f"reweighted({self.penalty!r}, eps={self.eps!r})"

    def _sizes(self, W: Array) -> Array:
        sizes: Array = self.penalty.with_strength(1.0).value_by_row(W)
        return sizes

    def null_strength(self, gradient: Array) -> float:
        """Return that of the norm: from there on W = 0 is a stationary point."""
        return float(self.penalty.null_strength(gradient))

    def value_by_row(self, W: Array) -> Array:
        """Return what each row adds to the value, of shape (n_rows,)."""
        sizes = self._sizes(W)
        return self.penalty.weight * self.eps * namespace(W).log1p(sizes / self.eps)

    def value(self, W: Array) -> float:
        """Return the value at W."""
        return total(self.value_by_row(W))

    def majorised(self, W: Array) -> Penalty:
        """Return the norm with the weight eps / (eps + norm of the row) for each feature."""
        return tangent(self.penalty, self.eps / (self.eps + np.asarray(self._sizes(W))))


def reweighted(penalty: Penalty, eps: float = 0.1) -> Penalty:
    """Weigh every feature by the inverse of its own norm, stage after stage.

    Sum over features of ``alpha eps log(1 + q(W_j) / eps)``, q being the norm of a row that the
    penalty has with alpha = 1. Its stages are weighted problems with the weights
    ``eps / (eps + q(W_j))`` from the last stage [1]_, 1 at first; with two stages it is an
    adaptive lasso. Strong features are penalised less than weak ones, however strong they are:
    less bias than ``L21``, without a threshold to choose as in ``CappedL21``. Not convex: the
    answer is a stationary point. Not where all features are of one strength, which gains
    nothing.

    Parameters
    ----------
    penalty : Penalty
        L21, L1, SparseGroup, L1Inf, TreeGroup or another norm of rows. Weights are those of
        features, also with L1: q is then the sum of absolute values of a row.
    eps : float, default=0.1
        > 0: the norm at which the weight is a half. Small values come near to counting
        features; large ones near to the norm. In the units of scaled features and targets,
        where these are scaled.

    Returns
    -------
    Penalty

    Raises
    ------
    IncompatibleError
        If the penalty is not a norm of rows.

    References
    ----------
    .. [1] Candes, E., Wakin, M. and Boyd, S. (2008). Enhancing sparsity by reweighted l1
       minimization. Journal of Fourier Analysis and Applications 14, 877-905, Section 2.2; with
       norms of rows: Strohmeier, D., Bekhti, Y., Haueisen, J. and Gramfort, A. (2016). The
       iterative reweighted mixed-norm estimate for spatio-temporal MEG/EEG source
       reconstruction. IEEE Transactions on Medical Imaging 35, 2218-2228, Algorithm 1.

    Examples
    --------
    >>> from polytask.penalties import L21, reweighted
    >>> reweighted(L21(0.1), eps=0.5)
    reweighted(L21(alpha=0.1), eps=0.5)
    """
    if not (penalty.is_norm and isinstance(penalty, RowSeparable)):
        raise IncompatibleError(about(penalty, "penalty.refusal.reweighted"))
    return ReweightedRows(penalty, eps)


# The norms that can be capped; the number is what the compiled prox knows them by.
_NORMS: Mapping[str, tuple[type[L1] | type[L21], float]] = {"l2": (L21, 0.0), "l1": (L1, 1.0)}


def _checked_norm(value: object, parameter: str, owner: str) -> object:
    one_of(value, parameter, owner, _NORMS)
    return value


@final
@saveable("penalty.capped_l21")
@dataclass(frozen=True, eq=False, repr=False)
class CappedL21(RelativeTerm, Unbound, CompiledRows, Nonconvex):
    """alpha * sum over features of min(norm of W_j, theta): multi-stage feature learning.

    Features of a norm below theta are penalised as by ``L21`` (or ``L1``), the others not at
    all [1]_: each stage of ``Reweighted`` is a convex problem in which features that the last
    stage found important are free, and the stages end when these no longer change. For few
    strong features among many that are irrelevant, and unbiased effects of the strong ones.
    Not convex; not for effects of all sizes, where theta would cut between them; ``MCP`` and
    ``SCAD`` let go gradually.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    theta : float, default=1.0
        The threshold, > 0, for the norm of the coefficients of a feature; of the scaled features
        and targets, where these are scaled.
    row_norm : {"l2", "l1"}, default="l2"
        The norm of a row: Euclidean, or the sum of absolute values as in [1]_, which also makes
        single coefficients zero.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which zero is stationary. Without alpha
        and fraction it is 0.1.

    References
    ----------
    .. [1] Gong, P., Ye, J. and Zhang, C. (2013). Multi-stage multi-task feature learning. JMLR
       14, 2979-3010, Equation 1 and Algorithm 1.
    """

    label = "CappedL21"
    ignores_signs = True

    alpha: float | None = field(default=None, metadata=ALPHA)
    theta: float = field(default=1.0, metadata=checked_by(positive))
    row_norm: str = field(default="l2", metadata=checked_by(_checked_norm))
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def _norm(self, alpha: float) -> L1 | L21:
        return _NORMS[self.row_norm][0](alpha)

    def null_strength(self, gradient: Array) -> float:
        """Return that of L21 or L1: from there on W = 0 is a stationary point."""
        return self._norm(1.0).null_strength(gradient)

    def value_by_row(self, W: Array) -> Array:
        """Return what each row adds to the value, of shape (n_rows,)."""
        return self.weight * clip(self._norm(1.0).value_by_row(W), None, self.theta)

    def value(self, W: Array) -> float:
        """Return the value at W."""
        return total(self.value_by_row(W))

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows shrunk, or as they are where the cap makes that cheaper."""
        if 0 in rows.shape:
            return rows
        xp, amount = namespace(rows), per_row(step, rows) * self.weight
        shrunk = self._norm(1.0).prox_rows(rows, index, amount)
        cost = amount * self._norm(1.0).value_by_row(shrunk)
        cost = cost + 0.5 * xp.sum((shrunk - rows) ** 2, axis=1)
        kept = cost > amount * self.theta
        return xp.where(kept[:, None], rows, shrunk)

    def majorised(self, W: Array) -> Penalty:
        """Return the norm with weight 1 for features below the threshold, and 0 for others."""
        sizes = self._norm(1.0).value_by_row(W)
        xp = namespace(sizes)
        slopes = xp.where(sizes < self.theta, xp.ones_like(sizes), xp.zeros_like(sizes))
        return tangent(self._norm(self.weight), slopes)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.nonconvex_kernels import capped_row

        kind = _NORMS[self.row_norm][1]
        return RowKernel(capped_row, np.array([self.weight, self.theta, kind]))
