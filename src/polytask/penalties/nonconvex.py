"""Concave penalties of the norms of rows: fewer features than L21, and less bias.

What the stages of ``Reweighted`` need is here for all of them; see :class:`ConcaveRows`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from polytask._checks import number, positive, sentence
from polytask._linalg import Array, clip, host, largest, namespace, row_norms, total
from polytask._registry import saveable
from polytask.exceptions import ParameterError
from polytask.penalties.base import CompiledRows, Nonconvex, NullStrength, Penalty, RowKernel
from polytask.penalties.row_values import ByRow
from polytask.penalties.rowwise import L21, per_row
from polytask.penalties.terms import (
    ALPHA,
    DEFAULT_FRACTION,
    FRACTION,
    Unbound,
    check_exclusive,
    checked_by,
    finite_limit,
)
from polytask.penalties.weighted import weighted


def tangent(norm: Penalty, slopes: Array) -> Penalty:
    """Return a norm of rows times the slopes of a concave function, relative to that at 0."""
    weights = np.asarray(host(slopes), dtype=float)
    return norm if bool(np.all(weights == 1)) else weighted(norm, weights)


def _checked_above(least: float) -> Any:  # noqa: ANN401 - a check of a field
    def check(value: object, parameter: str, owner: str) -> float:
        allowed = f"a finite number > {least:g}"
        found = number(value, parameter, owner, allowed)
        if found <= least:
            raise ParameterError(sentence(parameter, owner, allowed, repr(value)))
        return found

    return check


class ConcaveRows(Unbound, NullStrength, CompiledRows, Nonconvex, ByRow):
    """factor * sum over features of phi(||W_j||_2) with phi concave, of slope alpha at 0."""

    # A leaf class has the fields alpha, gamma, factor and fraction.

    alpha: float | None
    gamma: float
    factor: float
    fraction: float | None

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
        edge, bend = alpha * gamma, _constant(1.0, sizes) - amount / gamma
        convex = bend > 0
        inner = (sizes - amount * alpha) / xp.where(convex, bend, xp.ones_like(bend))
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
        bent = (cut - alpha) * (edge - 0.5 * (cut + alpha)) / (self.gamma - 1.0)
        return alpha * clip(sizes, None, alpha) + bent

    def slopes(self, sizes: Array) -> Array:
        """Return the derivative of phi at the norms over alpha."""
        alpha, edge = self.slope, self.slope * self.gamma
        if alpha == 0:
            return _constant(0.0, sizes)
        return clip((edge - sizes) / (edge - alpha), 0.0, 1.0)

    def nearby(self, sizes: Array, amount: Array | float) -> list[Array]:
        """Return the best norms up to alpha, up to gamma * alpha and above."""
        xp, alpha, gamma = namespace(sizes), self.slope, self.gamma
        edge, bend = alpha * gamma, _constant(gamma - 1.0, sizes) - amount
        convex = bend > 0
        inner = (gamma - 1.0) * sizes - amount * edge
        inner = inner / xp.where(convex, bend, xp.ones_like(bend))
        inner = xp.where(convex, clip(inner, alpha, edge), _constant(edge, sizes))
        return [clip(sizes - amount * alpha, 0.0, alpha), inner, clip(sizes, edge, None)]

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.nonconvex_kernels import scad_row

        return RowKernel(scad_row, self._parameters())
