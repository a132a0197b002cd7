"""A plain batched FISTA with restart: the yardstick for separate designs.

Every task's rows are one slice of a (tasks, rows, features) array, so an iteration is two
batched products and one proximal step. Momentum restarts when it points uphill (O'Donoghue
and Candès, 2015). The step comes from the largest singular value of the designs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from problems import Problem

_CHECK_EVERY = 10
_MOST = 20000


def shrink_rows(W: np.ndarray, amount: float) -> np.ndarray:
    """Shorten rows."""
    norms = np.sqrt(np.einsum("ij,ij->i", W, W))
    gain = np.maximum(norms - amount, 0.0) / np.maximum(norms, np.finfo(float).tiny)
    return W * gain[:, None]


def shrink_values(W: np.ndarray, amount: float) -> np.ndarray:
    """Lower singular values."""
    U, s, V = np.linalg.svd(W, full_matrices=False)
    return (U * np.maximum(s - amount, 0.0)) @ V


def row_size(G: np.ndarray) -> float:
    """Return the largest row norm."""
    return float(np.sqrt(np.einsum("ij,ij->i", G, G)).max())


def spectral_size(G: np.ndarray) -> float:
    """Return the largest singular value."""
    return float(np.linalg.norm(G, 2))


PROX = {"l21": shrink_rows, "trace": shrink_values}
DUAL = {"l21": row_size, "trace": spectral_size}


class Separate:
    """Value and slope of the data term on stacked tasks; an intercept is one more feature."""

    def __init__(self, problem: Problem) -> None:
        self.X = problem.cube()
        self.turned = self.X.transpose(0, 2, 1)
        self.y = problem.Y.reshape(self.X.shape[:2])
        self.n = self.X.shape[1]
        self.logistic = problem.card.loss == "logistic"
        self.intercept = problem.card.intercept
        widest = max(self._largest(x) for x in self.X)
        self.bound = (widest + self.intercept * self.n) / self.n * (0.25 if self.logistic else 1)

    @staticmethod
    def _largest(x: np.ndarray) -> float:
        return float(np.linalg.eigvalsh(x @ x.T if len(x) < x.shape[1] else x.T @ x)[-1])

    def slopes(self, W: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the derivative in every prediction."""
        eta = np.matmul(self.X, W.T[:, :, None])[:, :, 0] + b[:, None]
        if self.logistic:
            eta = 0.5 * (1.0 + np.tanh(0.5 * eta))
        return (eta - self.y) / self.n

    def gradient(self, slopes: np.ndarray) -> np.ndarray:
        """Return the gradient in W."""
        return np.matmul(self.turned, slopes[:, :, None])[:, :, 0].T


def prepare(problem: Problem) -> Callable[[float], list[np.ndarray]]:
    """Return the solver of a problem."""
    return lambda tol: [solve(problem, tol)]


def solve(problem: Problem, tol: float) -> np.ndarray:
    """Minimise; `tol` bounds the fixed-point residual relative to the strength."""
    data, strength = Separate(problem), problem.card.strengths[0]
    prox = PROX[problem.card.penalty]
    step = 1.0 / data.bound
    Z = V = np.zeros((problem.X.shape[1], problem.n_tasks))
    a = c = np.zeros(problem.n_tasks)
    t = 1.0
    for k in range(_MOST):
        slopes = data.slopes(V, c)
        new = prox(V - step * data.gradient(slopes), step * strength)
        moved = c - step * slopes.sum(axis=1) if data.intercept else c
        if np.sum((V - new) * (new - Z)) + np.sum((c - moved) * (moved - a)) > 0:
            t = 1.0
        ahead = (1.0 + np.sqrt(1.0 + 4.0 * t * t)) / 2.0
        far = float(np.abs(V - new).max()) if k % _CHECK_EVERY == 0 else np.inf
        V = new + (t - 1.0) / ahead * (new - Z)
        c = moved + (t - 1.0) / ahead * (moved - a)
        Z, a, t = new, moved, ahead
        if far * data.bound <= tol * strength:
            break
    return Z
