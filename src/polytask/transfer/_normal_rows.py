"""New rows of a normal model: how probable they are, and each given all others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.bayes.prior import factor_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NormalRows:
    """Targets ``misfit ~ N(0, Z spread Z' + diag(noise))``."""

    # Shapes: Z (n_rows, p), misfit (n_rows,), noise (n_rows,), spread (p, p).

    Z: Array
    misfit: Array
    noise: Array
    spread: Array

    @cached_property
    def _directions(self) -> tuple[Array, Array, Array, Array]:
        """The directions U in which scaled targets vary, 1 over the variance there, both parts."""
        # With F a factor of the spread, ``U s V' = diag(noise)^-1/2 Z F``: the scaled targets
        # have the covariance ``I + U s^2 U'``.
        root = 1.0 / np.sqrt(self.noise)
        U, s, _ = np.linalg.svd(
            (self.Z * root[:, None]) @ factor_of(self.spread), full_matrices=False
        )
        inside = U.T @ (self.misfit * root)
        return U, 1.0 / (1.0 + s**2), inside, self.misfit * root - U @ inside

    @property
    def log_density(self) -> float:
        """Log density of the targets."""
        _, precision, inside, outside = self._directions
        square = precision @ inside**2 + outside @ outside
        logs = np.log(2 * np.pi * self.noise).sum() - np.log(precision).sum()
        return -0.5 * float(square + logs)

    @property
    def left_out(self) -> Array:
        """What every target is away from its mean given all others, shape (n_rows,)."""
        # With K the covariance of the targets, entry i is ``[K^-1 misfit]_i / [K^-1]_ii``
        # (Rasmussen and Williams 2006, equation 5.12).
        U, precision, inside, outside = self._directions
        own = U**2 @ precision
        if len(U) > U.shape[1]:
            own += np.maximum(1.0 - np.sum(U**2, axis=1), 0.0)
        return np.asarray((outside + U @ (precision * inside)) / own * np.sqrt(self.noise))
