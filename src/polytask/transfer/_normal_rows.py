"""New rows of a normal model: how probable they are, and each given all others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from polytask.bayes.prior import factor_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NormalRows:
    """Targets ``misfit ~ N(0, Z spread Z' + diag(noise))``, in the smaller of rows and columns."""

    # Shapes: Z (n_rows, p), misfit (n_rows,), noise (n_rows,), spread (p, p).
    # With ``A = diag(noise)^-1/2 Z`` and F a factor of the spread, everything follows from
    # ``B = A F`` with more rows than columns, and from ``A spread A'`` otherwise, so that no array
    # is larger than the rows themselves.

    Z: Array
    misfit: Array
    noise: Array
    spread: Array

    @property
    def log_density(self) -> float:
        """Log density of the targets."""
        value = self._square + self._log_determinant + float(np.log(2 * np.pi * self.noise).sum())
        return -0.5 * value

    @property
    def left_out(self) -> Array:
        """What every target is away from its mean given all others, shape (n_rows,)."""
        # With K the covariance of the targets, entry i is ``[K^-1 misfit]_i / [K^-1]_ii``
        # (Rasmussen and Williams 2006, equation 5.12).
        return np.asarray(self._weighed / self._own * np.sqrt(self.noise))

    @cached_property
    def _scale(self) -> Array:
        return np.asarray(1.0 / np.sqrt(self.noise))

    @cached_property
    def _long(self) -> bool:
        return len(self.Z) > len(self.spread)

    @cached_property
    def _seen(self) -> Array:
        """B for many rows, A for few."""
        A = self.Z * self._scale[:, None]
        return np.asarray(A @ factor_of(self.spread)) if self._long else A

    @cached_property
    def _root(self) -> Array:
        """Lower Cholesky factor of ``I + B'B``, or of the scaled covariance of the targets."""
        B = self._seen
        inner = B.T @ B if self._long else B @ self.spread @ B.T
        return np.tril(cho_factor(np.eye(len(inner)) + inner, lower=True)[0])

    @cached_property
    def _log_determinant(self) -> float:
        return 2.0 * float(np.log(np.diagonal(self._root)).sum())

    @cached_property
    def _weighed(self) -> Array:
        """Inverse of the scaled covariance times the scaled misfit."""
        misfit = self.misfit * self._scale
        if not self._long:
            return np.asarray(cho_solve((self._root, True), misfit))
        return np.asarray(misfit - self._seen @ self._mean)

    @cached_property
    def _mean(self) -> Array:
        """Posterior mean in the coordinates of B."""
        right = self._seen.T @ (self.misfit * self._scale)
        return np.asarray(cho_solve((self._root, True), right))

    @cached_property
    def _square(self) -> float:
        if not self._long:
            return float(self._weighed @ (self.misfit * self._scale))
        # The same as a sum of squares, which loses no digits where the noise is small.
        return float(self._weighed @ self._weighed + self._mean @ self._mean)

    @cached_property
    def _own(self) -> Array:
        """Diagonal of the inverse of the scaled covariance."""
        if not self._long:
            inverse = solve_triangular(self._root, np.eye(len(self._root)), lower=True)
            return np.asarray(np.sum(inverse**2, axis=0))
        B = self._seen
        half = solve_triangular(self._root, B.T, lower=True)
        # Rounding leaves less than what the prior alone would.
        least = 1.0 / (1.0 + np.sum(B**2, axis=1))
        return np.asarray(np.maximum(1.0 - np.sum(half**2, axis=0), least))
