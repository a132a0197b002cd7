"""The axes along which the noise of a task's coefficients is uncorrelated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._related_axes import mixed_axes

Array = NDArray[np.float64]

# Of the shape of the noise: how many residuals per axis an even shape counts for, how far a
# direction may be from even, and how much of a row's leverage is taken out of its residual.
_EVEN, _FAR, _LEAST = 10.0, 5.0, 0.05
# Sums of squares and variances below this part of the usual are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Fits:
    """Least squares of every task, T tasks and m columns; filled task by task."""

    # Shapes: rows (T,), vectors (T, m, m), values (T, m), score (T, m), rest (T,), moments (m, m),
    # shape (m, m).

    rows: NDArray[np.intp]
    vectors: Array
    values: Array
    score: Array
    rest: Array
    moments: Array
    shape: Array

    def put(self, t: int, X: Array, target: Array, values: Array, vectors: Array) -> None:
        """Enter a task: centred rows and target, and the axes of the rows."""
        self.values[t], self.vectors[t] = values, vectors
        held = values > 0
        inverse = np.divide(1.0, np.sqrt(values), out=np.zeros_like(values), where=held)
        unit = X @ (vectors * inverse)
        self.score[t] = score = unit.T @ target
        residual = target - unit @ score
        rest, total = float(residual @ residual), float(target @ target)
        freedom = int(self.rows[t]) - 1 - int(held.sum())
        if rest <= _ROUNDING * total or freedom < 1:
            self.rest[t] = rest if rest > _ROUNDING * total else 0.0
            return
        self.rest[t] = rest
        left = np.maximum(1.0 - (unit**2).sum(axis=1) - 1.0 / len(target), _LEAST)
        seen = (unit * (residual**2 / left)[:, None]).T @ unit
        # Directions without rows say nothing about the shape: even there.
        seen[np.diag_indices_from(seen)] += np.where(held, 0.0, rest / freedom)
        self.shape[...] += freedom * (vectors @ seen @ vectors.T) * (freedom / rest)

    def noise_shape(self) -> Array:
        """Return the covariance of the noise of scores, up to its size, shape (m, m)."""
        m = len(self.shape)
        held = (self.values > 0).sum(axis=1)
        freedom = float(np.maximum(self.rows - 1 - held, 0)[self.rest > 0].sum())
        mean = (self.shape + _EVEN * m * np.eye(m)) / (freedom + _EVEN * m)
        sizes, directions = np.linalg.eigh((mean + mean.T) / 2)
        usual = float(np.median(sizes)) or 1.0
        sizes = np.clip(sizes / usual, 1.0 / _FAR, _FAR)
        return np.asarray(directions * sizes @ directions.T)


def empty_fits(rows: NDArray[np.intp], m: int) -> Fits:
    """Return fits of tasks of some numbers of rows, to be filled."""
    n_tasks = len(rows)
    return Fits(
        rows=rows,
        vectors=np.zeros((n_tasks, m, m)),
        values=np.zeros((n_tasks, m)),
        score=np.zeros((n_tasks, m)),
        rest=np.zeros(n_tasks),
        moments=np.zeros((m, m)),
        shape=np.zeros((m, m)),
    )


def noise_axes(fits: Fits, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Find axes along which the coefficients of a task have uncorrelated noise."""
    # Shapes: axes (T, m, m), strength (T, m), score (T, m).
    held = fits.values > 0
    inverse = np.divide(1.0, np.sqrt(fits.values), out=np.zeros_like(fits.values), where=held)
    shape, axes = fits.noise_shape(), np.empty_like(fits.vectors)
    strength, score = np.zeros_like(fits.values), np.zeros_like(fits.values)
    for t, vectors in enumerate(fits.vectors):
        noise = inverse[t][:, None] * (vectors.T @ shape @ vectors) * inverse[t]
        sizes, turn = np.linalg.eigh((noise + noise.T) / 2)
        sizes = np.where(sizes > _ROUNDING * max(float(sizes[-1]), 0.0), sizes, 0.0)
        turn = mixed_axes(sizes, turn, rng)
        np.divide(1.0, sizes, out=strength[t], where=sizes > 0)
        score[t] = np.sqrt(strength[t]) * (turn.T @ (inverse[t] * fits.score[t]))
        axes[t] = vectors @ turn
    return axes, strength, score
