"""The penalty on the largest coefficient of every feature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from polytask._linalg import Array, clip, counting, largest, namespace
from polytask._registry import saveable
from polytask.penalties.base import RowKernel
from polytask.penalties.row_norms import RowNorm, shortened, softened
from polytask.penalties.rowwise import per_entry
from polytask.penalties.terms import ALPHA, FRACTION, RelativeTerm, Unbound


@final
@saveable("penalty.l1_inf")
@dataclass(frozen=True, eq=False, repr=False)
class L1Inf(RelativeTerm, RowNorm, Unbound):
    """alpha * sum over features of max_t |W_jt|: a feature costs what its largest use costs.

    For features that all tasks use with effects of one size, whatever their signs: once one
    task uses a feature, the others use it up to the same size for nothing [1]_. Coefficients
    of a feature are therefore tied in size, which is wrong where some tasks need a feature
    far more than others; ``L21`` is the milder choice. The proximal operator takes from a
    row its projection onto the L1 ball of radius step * alpha [2]_.

    Parameters
    ----------
    alpha : float, default=None
        The strength, >= 0.
    fraction : float, default=None
        The strength as a fraction in (0, 1] of that at which every coefficient
        vanishes. Without alpha and fraction it is 0.1.

    References
    ----------
    .. [1] Quattoni, A., Carreras, X., Collins, M. and Darrell, T. (2009). An efficient
       projection for l1,infinity regularization. ICML, Section 2.
    .. [2] Duchi, J., Shalev-Shwartz, S., Singer, Y. and Chandra, T. (2008). Efficient
       projections onto the l1-ball for learning in high dimensions. ICML, Figure 1.
    """

    label = "L1Inf"

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def row_values(self, W: Array) -> Array:
        """Return the largest absolute value of each row."""
        xp = namespace(W)
        if W.shape[1] == 0:
            return xp.sum(W, axis=1)
        return xp.max(xp.abs(W), axis=1)

    def dual_norm(self, Z: Array) -> float:
        """Return the largest sum of absolute values of a row."""
        xp = namespace(Z)
        return largest(xp.sum(xp.abs(Z), axis=1))

    def nested_prox(
        self, rows: Array, amount: float | Array, entries: float | Array, length: float | Array
    ) -> Array:
        """Return the rows thresholded, cut off at a common level each, then shortened."""
        if 0 in rows.shape:
            return rows
        rows = softened(rows, entries)
        level = _levels(rows, amount)[:, None]
        return shortened(clip(rows, -level, level), length)

    def nested_kernel(self, entries: float, length: float) -> RowKernel:
        """Return the compiled prox of one row."""
        from polytask.penalties.maximum_kernel import cut_row

        return RowKernel(cut_row, np.array([self.weight, entries, length]))


def _levels(rows: Array, radius: float | Array) -> Array:
    """Return the level above which the entries of a row add up to the radius."""
    # With the entries in descending order, what the first k of them exceed a level by adds up
    # to the radius at (sum of k - radius) / k. This is largest at the k that the level leaves.
    xp = namespace(rows)
    sums = xp.cumulative_sum(xp.sort(xp.abs(rows), axis=1, descending=True), axis=1)
    counts = 1 + counting(rows.shape[1], rows)
    levels = xp.max((sums - per_entry(radius)) / counts, axis=1)
    return clip(levels, 0.0, None)
