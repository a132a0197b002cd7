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
    def _scaled(self) -> tuple[Array, Array]:
        """Z and the misfit in units of the noise."""
        root = 1.0 / np.sqrt(self.noise)
        return self.Z * root[:, None], self.misfit * root

    @cached_property
    def _triangle(self) -> tuple[Array, Array]:
        """The same after a rotation that leaves no more rows than columns that are not zero."""
        both = np.column_stack(self._scaled)
        if len(both) > both.shape[1]:
            both = np.asarray(np.linalg.qr(both, mode="r"))
        return both[:, :-1], both[:, -1]

    @property
    def log_density(self) -> float:
        """Log density of the targets."""
        return self.log_density_under(self.spread)

    def log_density_under(self, spread: Array) -> float:
        """Return the log density of the targets under another spread."""
        _, precision, inside, outside = _directions(*self._triangle, spread)
        square = precision @ inside**2 + outside @ outside
        logs = np.log(2 * np.pi * self.noise).sum() - np.log(precision).sum()
        return -0.5 * float(square + logs)

    @property
    def left_out(self) -> Array:
        """What every target is away from its mean given all others, shape (n_rows,)."""
        # With K the covariance of the targets, entry i is ``[K^-1 misfit]_i / [K^-1]_ii``
        # (Rasmussen and Williams 2006, equation 5.12).
        U, precision, inside, outside = _directions(*self._scaled, self.spread)
        own = U**2 @ precision
        if len(U) > U.shape[1]:
            own += np.maximum(1.0 - np.sum(U**2, axis=1), 0.0)
        return np.asarray((outside + U @ (precision * inside)) / own * np.sqrt(self.noise))


def _directions(Z: Array, misfit: Array, spread: Array) -> tuple[Array, Array, Array, Array]:
    """Return the directions U in which targets vary, 1 over the variance there, both parts."""
    # With F a factor of the spread, ``U s V' = Z F``: targets of unit noise have the covariance
    # ``I + U s^2 U'``.
    U, s, _ = np.linalg.svd(Z @ factor_of(spread), full_matrices=False)
    inside = U.T @ misfit
    return U, 1.0 / (1.0 + s**2), inside, misfit - U @ inside
