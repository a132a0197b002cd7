"""Whether there is anything left that one model could explain better than another."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

# The share of the constant's loss that the rounding of a target leaves, far below any margin
# that matters in practice.
_LEFT = 1e-4


def all_perfect(losses: ArrayLike, constant: ArrayLike, weight: ArrayLike | None = None) -> bool:
    """Say whether no model has a held-out loss, up to rounding; losses (n_models, n_rows)."""
    # False where the constant of the training rows has none either, or a loss is not known.
    each, least = np.atleast_2d(np.asarray(losses, float)), np.asarray(constant, float)
    size = np.ones(len(least)) if weight is None else np.asarray(weight, float)
    # Scaled, so that no sum overflows.
    largest = np.max(np.abs(least), initial=0.0)
    if not each.size or not 0 < largest < np.inf:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        left = np.sum(size * (each / largest), axis=1)
        return bool(np.all(left <= _LEFT * np.sum(size * (least / largest))))
