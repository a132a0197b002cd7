"""The covariance of the linear predictors of rows: for more features than rows."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from polytask.bayes.blocks import Array


class RowKernel:
    """Coefficients of one variance: ``tau^2 G + blocks(v_0 1 1' + v G)`` with G = X X'.

    The three variances are those of the mean coefficients, of the deviations of the intercept and
    of those of the coefficients; blocks() is what is zero between tasks.
    """

    def __init__(self, X: Array, offsets: NDArray[np.intp]) -> None:
        self._ones, features = X[:, 0], X[:, 1:]
        self._gram = features @ features.T
        self._tasks = [slice(a, b) for a, b in itertools.pairwise(offsets.tolist())]

    def covariance(self, variances: Array) -> Array:
        """Return the covariance, shape (n, n)."""
        K: Array = variances[0] * self._gram
        for own in self._tasks:
            ones = self._ones[own]
            K[own, own] += variances[2] * self._gram[own, own]
            K[own, own] += variances[1] * np.multiply.outer(ones, ones)
        return K

    def forms(self, left: Array, right: Array) -> Array:
        """Return ``left' M right`` for the derivative M of the covariance by each variance."""
        out = np.array([left @ (self._gram @ right), 0.0, 0.0])
        for own in self._tasks:
            ones = self._ones[own]
            out[1] += (ones @ left[own]) * (ones @ right[own])
            out[2] += left[own] @ (self._gram[own, own] @ right[own])
        return out

    def traces(self, lower: Array) -> Array:
        """Return ``tr(P M)`` for a symmetric P given by its lower half, zeros above."""
        out = np.array([_inner(lower, self._gram), 0.0, 0.0])
        for own in self._tasks:
            ones, part = self._ones[own], lower[own, own]
            out[1] += _inner(part, np.multiply.outer(ones, ones))
            out[2] += _inner(part, self._gram[own, own])
        return out


def _inner(lower: Array, M: Array) -> float:
    """Return tr(P M) of symmetric matrices, P given by its lower half, zeros above."""
    both = float(np.einsum("ij,ij->", lower, M.T))
    return 2.0 * both - float(np.diagonal(lower) @ np.diagonal(M))
