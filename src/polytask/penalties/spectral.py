"""Penalties on the singular values of W."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from polytask._linalg import (
    Array,
    clip,
    shrunk_values,
    singular_values,
    spectral_norm,
    thin_svd,
    total,
)
from polytask._registry import saveable
from polytask.penalties.base import Mergeable, Valued
from polytask.penalties.terms import ALPHA, FRACTION, Norm


@final
@saveable("penalty.trace_norm")
@dataclass(frozen=True, eq=False, repr=False)
class TraceNorm(Norm):
    """alpha times the sum of singular values: the columns span few directions.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.

    References
    ----------
    .. [1] Cai, J.-F., Candès, E. J. and Shen, Z. (2010). A singular value thresholding
       algorithm for matrix completion. SIAM Journal on Optimization 20, 1956-1982,
       Theorem 2.1.
    """

    label = "TraceNorm"

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def norm(self, W: Array) -> float:
        """Return the sum of singular values."""
        return 0.0 if 0 in W.shape else total(singular_values(W))

    def dual_norm(self, Z: Array) -> float:
        """Return the largest singular value."""
        return 0.0 if 0 in Z.shape else spectral_norm(Z)

    def prox(self, W: Array, step: float) -> Array:
        """Return W with every singular value lowered by step * alpha, stopping at zero."""
        if 0 in W.shape:
            return W
        short = shrunk_values(W, float(step) * self.weight)
        if short is not None:
            return short
        left, values, right = thin_svd(W)
        lowered = clip(values - float(step) * self.weight, 0.0, None)
        return (left * lowered[None, :]) @ right

    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with another TraceNorm."""
        return TraceNorm(self.weight + other.weight) if isinstance(other, TraceNorm) else None
