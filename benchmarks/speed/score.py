"""The common yardstick: objective and duality gap of any answer, in float64.

It shares no code with any of the programs that it judges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from problems import Problem
from scipy.special import xlogy

_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Score:
    """Objective and duality gap of an answer, and the objective at W = 0."""

    objective: float
    gap: float
    at_zero: float
    support: int

    @property
    def relative(self) -> float:
        """The gap over the objective at W = 0."""
        return self.gap / self.at_zero


def score(problem: Problem, W: np.ndarray, strength: float) -> Score:
    """Judge W of shape (n_features, n_tasks); intercepts are chosen best for it."""
    W = np.asarray(W, dtype=float)
    value, slopes, eta = _data_term(problem, W)
    G = _adjoint(problem, slopes)
    c = min(1.0, strength / max(_dual_norm(problem, G), np.finfo(float).tiny))
    objective = value + strength * _norm(problem, W)
    dual = -_conjugate(problem, eta, slopes, c)
    zero = _data_term(problem, np.zeros_like(W))[0]
    support = int(np.count_nonzero(np.linalg.norm(W, axis=1)))
    return Score(objective, max(objective - dual, 0.0), zero, support)


def worst(problem: Problem, answers: list[np.ndarray]) -> Score:
    """Return the score of the strength with the largest relative gap.

    Of a choice by cross-validation the answers are the coefficients and the chosen strength.
    """
    if problem.card.folds:
        W, strength = answers
        return score(problem, W, float(strength))
    pairs = zip(answers, problem.card.strengths, strict=True)
    return max((score(problem, W, s) for W, s in pairs), key=lambda found: found.relative)


def _data_term(problem: Problem, W: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the value, the slopes with their weights, and the predictions."""
    if problem.card.design == "shared":
        residual = np.asarray(problem.X @ W) - problem.Y
        n = len(problem.Y)
        return 0.5 * float(np.sum(residual**2)) / n, residual / n, residual
    eta = np.einsum("tnd,dt->tn", problem.cube(), W)
    y = problem.Y.reshape(eta.shape)
    n = y.shape[1]
    if problem.card.loss == "squared":
        residual = eta - y
        return 0.5 * float(np.sum(residual**2)) / n, residual / n, residual
    eta = eta + _best_intercepts(eta, y)[:, None] if problem.card.intercept else eta
    value = float(np.sum(np.logaddexp(0.0, eta) - y * eta)) / n
    return value, (_sigmoid(eta) - y) / n, eta


def _sigmoid(eta: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * eta))


def _best_intercepts(eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Newton's method per task; its steps are bounded, for far out the curvature vanishes."""
    b = np.zeros(len(eta))
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(eta + b[:, None])
        slope, bend = (p - y).mean(axis=1), (p * (1 - p)).mean(axis=1)
        step = np.clip(slope / np.maximum(bend, 1e-12), -2.0, 2.0)
        b -= step
        if np.abs(step).max() < 1e-14:
            break
    return b


def _adjoint(problem: Problem, slopes: np.ndarray) -> np.ndarray:
    if problem.card.design == "shared":
        return np.asarray(problem.X.T @ slopes)
    return np.einsum("tnd,tn->dt", problem.cube(), slopes)


def _norm(problem: Problem, W: np.ndarray) -> float:
    if problem.card.penalty == "trace":
        return float(np.linalg.svd(W, compute_uv=False).sum())
    return float(np.linalg.norm(W, axis=1).sum())


def _dual_norm(problem: Problem, G: np.ndarray) -> float:
    if problem.card.penalty == "trace":
        return float(np.linalg.norm(G, 2))
    return float(np.linalg.norm(G, axis=1).max())


def _conjugate(problem: Problem, eta: np.ndarray, slopes: np.ndarray, c: float) -> float:
    """Return the conjugate of the data term at c times its slopes."""
    if problem.card.loss == "squared":
        # slopes = residual / n; the conjugate of 1/(2n) ||z - y||^2 at u is n/2 ||u||^2 + <u, y>.
        y = problem.Y.reshape(slopes.shape)
        n = slopes.shape[0] if problem.card.design == "shared" else slopes.shape[1]
        return float(0.5 * n * c * c * np.sum(slopes**2) + c * np.sum(slopes * y))
    y = problem.Y.reshape(eta.shape)
    p = np.clip(y + c * (_sigmoid(eta) - y), 0.0, 1.0)
    return float(np.sum(xlogy(p, p) + xlogy(1 - p, 1 - p))) / y.shape[1]
