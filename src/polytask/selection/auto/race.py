"""Which candidates are behind the best on the same held-out rows, by more than chance explains.

All candidates are looked at after every fold, trained on the same rows. The losses of each are
compared with those of the best so far, row by row, and a one-sided t test of the mean difference
is made at a level that is divided by the number of comparisons: candidates but one, times looks.
A candidate that is as good as the best of all has then a probability of at most `LEVEL` to be
stopped at any look, whichever candidate happens to lead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from polytask.selection.auto.calibration import best_calibration
from polytask.selection.auto.held_out_rows import HeldOutRows
from polytask.selection.auto.mixing import paired

Array = NDArray[np.float64]

# The probability that a candidate is stopped which is as good as the best.
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Look:
    """What a look at the candidates found. Shapes: gaps, behind (M,)."""

    leader: int
    gaps: Array
    behind: NDArray[np.bool_]


def losses_of(values: Array, bench: HeldOutRows) -> Array:
    """Return the loss of every row; probabilities are calibrated first, as they will be."""
    if values.ndim == 2:
        best = best_calibration(values, bench.constants, bench.weight)
        values = best.applied(values, bench.constants)[:, 0]
    return bench.loss.losses(values, bench.y)


def look(losses: Array, bench: HeldOutRows, comparisons: int) -> Look:
    """Compare candidates with the best of them. Shapes: losses (N, M)."""
    known = np.asarray(np.isfinite(losses).all(axis=0))
    means = np.average(np.where(known, losses, 0.0), axis=0, weights=bench.weight)
    leader = int(np.argmin(np.where(known, means, np.inf)))
    gaps, behind = means - means[leader], np.zeros_like(known)
    for m in np.flatnonzero(known):
        gap, error, count = paired(losses[:, m] - losses[:, leader], bench)
        # What is independent must be seen twice before chance can be told.
        if m != leader and count > 1:
            behind[m] = gap > error * student.isf(LEVEL / comparisons, count - 1)
    return Look(leader, gaps, behind)
