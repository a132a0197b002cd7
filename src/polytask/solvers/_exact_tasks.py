"""Tasks whose targets are all alike, under the square-root loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polytask.datafits import Rooted
from polytask.datafits.base import Array

# The least noise levels to begin with, in units of those of tasks with noise at W = 0, what
# they shrink by, and where that ends.
_FIRST = 1e-2
_SHRINK = 0.2
_LAST = 1e-6


class ExactTasks:
    """Tasks that an intercept fits exactly, where the root has a kink that holds them."""

    # Shapes: null (n_features, n_columns).
    # With one row, or targets that are all alike, the root of the mean square is a norm of the
    # coefficients, and holds them at zero against whatever pulls less than its slope. Noise levels
    # would fall to zero there, and squared losses have weights without bound. They are given a
    # least size s instead: a task fits exactly if what is left is below s, for then the residual
    # over s is a slope within the kink, and putting coefficients to zero costs s^2.

    def __init__(self, datafit: Rooted, null: Array) -> None:
        self.datafit = datafit
        left = datafit.sigma_at(null)
        noisy = left[datafit.owned & ~datafit.constant]
        self._unit = float(np.median(noisy)) if len(noisy) else 1.0
        self._share = _FIRST
        # An intercept of its own meets such targets, unless something pulls harder at it.
        self._alike = datafit.constant & (left <= _LAST * self._unit)

    @property
    def _least(self) -> float:
        return self._share * self._unit

    def tighten(self, sigma: Array) -> bool:
        """Let noise levels fall farther; say whether that is of any use."""
        # Shapes: sigma (n_columns,).
        if self._share <= _LAST or not self._held(sigma).any():
            return False
        self._share *= _SHRINK
        return True

    def _held(self, sigma: Array) -> NDArray[np.bool_]:
        return np.asarray(self._alike & (sigma <= self._least))

    def levels(self, sigma: Array) -> Array:
        """Return noise levels no smaller than they may be. Shapes: sigma (n_columns,)."""
        return np.where(self._alike, np.maximum(sigma, self._least), sigma)

    def at_rest(self, W: Array) -> NDArray[np.bool_]:
        """Return the columns that a kink holds. Shapes: W (n_features, n_columns)."""
        return self._held(self.datafit.sigma_at(W))
