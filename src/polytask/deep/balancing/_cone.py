"""Quadratic programs over weights that are not negative, from the Gramian alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from polytask._linalg import Array
from polytask.exceptions import ConvergenceWarning

# Gradients smaller than the largest by this factor count as zero; the squares are compared.
NEGLIGIBLE = 1e-14**2
# Of the unit diagonal; keeps the programs strictly convex where gradients depend on each other.
RIDGE = 1e-10
# Gramians of more tasks stay in single precision where they came in it.
LARGEST_IN_DOUBLE = 256
# Block exchanges that may fail to improve before single ones take over.
PATIENCE = 3
# Steps towards a first guess: each costs a small part of a linear system.
GUESSING = 12


@dataclass(frozen=True)
class Cosines:
    """The Gramian of gradients that are not zero, split into directions and lengths."""

    # Shapes: matrix (k, k), lengths (k,).

    matrix: Array
    lengths: Array
    precision: float

    @property
    def ridged(self) -> Array:
        """The matrix, positive definite also where the Gramian is not, for rounding or rank."""
        k = len(self.lengths)
        ridge = max(RIDGE, 4 * k * self.precision)
        A: Array = self.matrix.copy()
        A[np.diag_indices(k)] += ridge
        return A

    @property
    def tolerance(self) -> float:
        """To what relative error a problem can be solved, at most 1e-9."""
        return max(1e-9, 32 * float(np.finfo(self.matrix.dtype).eps))


def solve_positive(A: Array, b: Array) -> Array:
    """Solve ``A x = b`` for a positive definite A, by Cholesky."""
    factor = scipy.linalg.cho_factor(A, check_finite=False)
    return scipy.linalg.cho_solve(factor, b, check_finite=False)


def solved(gramian: Tensor, rule: Callable[[Cosines], Array]) -> Tensor:
    """Apply a rule for weights to the tasks whose gradient is not zero; the others weigh 1."""
    # Shapes: gramian (k, k), result (k,).
    single = gramian.dtype == torch.float32 and len(gramian) > LARGEST_IN_DOUBLE
    G = gramian.detach().cpu().to(torch.float32 if single else torch.float64).numpy()
    squares = np.diagonal(G)
    alive = squares > NEGLIGIBLE * squares.max(initial=0.0)
    weights = np.ones(len(G))
    if alive.any():
        lengths = np.sqrt(squares[alive])
        inner = G if alive.all() else G[np.ix_(alive, alive)]
        matrix = inner / (lengths[:, None] * lengths)
        precision = float(torch.finfo(gramian.dtype).eps)
        weights[alive] = rule(Cosines((matrix + matrix.T) / 2, lengths, precision))
    return torch.from_numpy(weights).to(gramian)


def nonnegative_minimum(A: Array, B: Array, free: Array | None = None) -> Array:
    """Minimise ``x' A x / 2 - b' x`` over ``x >= 0`` for every row b of B."""
    # Shapes: A (k, k), B (m, k), free (m, k), result (m, k).
    # Block principal pivoting: a guess of the positive entries gives x by one linear system;
    # entries that contradict the guess change sides, all at once as long as that helps, else
    # the last of them only, which ends for every positive definite A.
    m, k = B.shape
    free = _guess(A, B) if free is None else free.copy()
    X = _given_free(A, B, free)
    slack = X @ A - B
    fewest, patience = np.full(m, k + 1), np.full(m, PATIENCE)
    for _ in range(20 * k + 100):
        size = np.abs(B).max(axis=1, initial=0.0) + k * np.abs(X).max(axis=1, initial=0.0)
        slip = 64 * np.finfo(A.dtype).eps * size[:, None]
        wrong = np.where(free, X, slack) < -slip
        count = wrong.sum(axis=1)
        open_rows = np.flatnonzero(count)
        if not len(open_rows):
            return np.maximum(X, 0.0)
        better = count < fewest
        fewest, patience = np.where(better, count, fewest), np.where(better, PATIENCE, patience)
        single = open_rows[~better[open_rows] & (patience[open_rows] <= 0)]
        patience = np.where(better, patience, patience - 1)
        wrong[single] = _last_only(wrong[single])
        free ^= wrong
        X[open_rows] = _given_free(A, B[open_rows], free[open_rows])
        slack[open_rows] = X[open_rows] @ A - B[open_rows]
    warnings.warn(
        f"The weights of {m} quadratic programs of {k} tasks did not settle; "
        "the last ones are used.",
        ConvergenceWarning,
        stacklevel=2,
    )
    return np.maximum(X, 0.0)


def _guess(A: Array, B: Array) -> Array:
    """Return where accelerated projected gradients are positive after a few steps."""
    step = 1 / np.abs(A).sum(axis=1).max()
    X = np.maximum(0.0, step * B)
    ahead, weight = X, 1.0
    for _ in range(GUESSING):
        after = np.maximum(0.0, ahead - step * (ahead @ A - B))
        next_weight = (1 + (1 + 4 * weight**2) ** 0.5) / 2
        ahead = after + (weight - 1) / next_weight * (after - X)
        X, weight = after, next_weight
    free: Array = X > 0
    return free


def _last_only(wrong: Array) -> Array:
    """Keep the last True of each row."""
    k = wrong.shape[1]
    last = k - 1 - np.argmax(wrong[:, ::-1], axis=1)
    return np.arange(k) == last[:, None]


def _given_free(A: Array, B: Array, free: Array) -> Array:
    """Return the minimisers whose entries outside `free` are zero."""
    # All rows are solved together, each with as many unknowns as the row that has most; where it
    # has fewer, the others are bound to zero by a one on the diagonal.
    X = np.zeros_like(B)
    width = int(free.sum(axis=1).max(initial=0))
    if len(B) == 1:
        at = np.flatnonzero(free[0])
        if len(at):
            X[0, at] = solve_positive(A[np.ix_(at, at)], B[0, at])
        return X
    k = len(A)
    padded = np.eye(k + width)
    padded[:k, :k] = A
    at = np.argsort(~free, axis=1, kind="stable")[:, :width]
    used = np.take_along_axis(free, at, axis=1)
    taken = np.where(used, at, k + np.arange(width))
    systems = padded.ravel().take(taken[:, :, None] * (k + width) + taken[:, None, :])
    known = np.where(used, np.take_along_axis(B, at, axis=1), 0.0)
    np.put_along_axis(X, at, np.linalg.solve(systems, known[..., None])[..., 0], axis=1)
    return X
