"""The capped norm of rows: beyond a threshold a feature costs no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np

from polytask._checks import one_of, positive
from polytask._linalg import Array, clip, namespace, total
from polytask._registry import saveable
from polytask.penalties.base import CompiledRows, Nonconvex, Penalty, RowKernel
from polytask.penalties.nonconvex import tangent
from polytask.penalties.row_values import ByRow, row_values
from polytask.penalties.rowwise import L1, L21, per_row
from polytask.penalties.terms import ALPHA, FRACTION, RelativeTerm, Unbound, checked_by

# The norms that can be capped; the number is what the compiled prox knows them by.
_NORMS: Mapping[str, tuple[type[L1] | type[L21], float]] = {"l2": (L21, 0.0), "l1": (L1, 1.0)}


def _checked_norm(value: object, parameter: str, owner: str) -> object:
    one_of(value, parameter, owner, _NORMS)
    return value


@final
@saveable("penalty.capped_l21")
@dataclass(frozen=True, eq=False, repr=False)
class CappedL21(RelativeTerm, Unbound, CompiledRows, Nonconvex, ByRow):
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
        return self.weight * clip(row_values(self._norm(1.0), W), None, self.theta)

    def value(self, W: Array) -> float:
        """Return the value at W."""
        return total(self.value_by_row(W))

    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the rows shrunk, or as they are where the cap makes that cheaper."""
        if 0 in rows.shape:
            return rows
        xp, amount = namespace(rows), per_row(step, rows) * self.weight
        shrunk = self._norm(1.0).prox_rows(rows, index, amount)
        cost = amount * row_values(self._norm(1.0), shrunk)
        cost = cost + 0.5 * xp.sum((shrunk - rows) ** 2, axis=1)
        kept = cost > amount * self.theta
        return xp.where(kept[:, None], rows, shrunk)

    def majorised(self, W: Array) -> Penalty:
        """Return the norm with weight 1 for features below the threshold, and 0 for others."""
        sizes = row_values(self._norm(1.0), W)
        xp = namespace(sizes)
        slopes = xp.where(sizes < self.theta, xp.ones_like(sizes), xp.zeros_like(sizes))
        return tangent(self._norm(self.weight), slopes)

    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.nonconvex_kernels import capped_row

        kind = _NORMS[self.row_norm][1]
        return RowKernel(capped_row, np.array([self.weight, self.theta, kind]))
