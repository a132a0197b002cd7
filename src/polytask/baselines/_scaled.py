"""Ridge-penalised logistic regression of two classes on many columns, along a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.special import expit

from polytask._linalg import is_sparse
from polytask.baselines._newton import PathPoint

Array = NDArray[np.float64]

# Largest entry of the scaled gradient, relative to that at zero coefficients.
_ACCURACY = 1e-5
_HISTORY = 20
# A column this many times as long as most is what slows down a method without scales.
_LONG = 100.0


def unequal(X: Any) -> bool:  # noqa: ANN401 - dense or sparse
    """Say whether some columns are far longer than most that are not zero."""
    squares = _squares(X, np.ones(X.shape[0]))
    held = squares[squares > 0]
    return bool(held.size) and bool(held.max() > _LONG**2 * np.median(held))


def _squares(X: Any, weight: Array) -> Array:  # noqa: ANN401 - dense or sparse
    squared = X.multiply(X) if is_sparse(X) else np.square(X)
    return np.asarray(squared.T @ weight, dtype=float)


def scaled_path(
    X: Any,  # noqa: ANN401 - dense or sparse
    y: Array,
    weight: Array,
    strengths: Sequence[float],
    *,
    intercept: bool,
    max_iter: int,
) -> Iterator[PathPoint]:
    """Yield the minimum for inverse strengths C, each found from the one before.

    As :func:`polytask.baselines._newton.logistic_path`, by L-BFGS in coefficients that are scaled
    to a curvature of one: columns of very unequal length, such as intercepts of tasks beside
    features, do not slow it down.

    Parameters
    ----------
    X : array or sparse matrix of shape (n, d)
        Features.
    y : ndarray of shape (n,)
        -1 or 1, both of them.
    weight : ndarray of shape (n,)
        Row weights.
    strengths : sequence of float
        The values of C, smallest first.
    intercept : bool
        Whether there is one, without a penalty.
    max_iter : int
        Iterations per strength.

    Yields
    ------
    PathPoint
    """
    squares = _squares(X, weight)
    w = np.zeros(X.shape[1] + intercept)
    for C in strengths:
        bend = 0.25 * C * np.append(squares, np.full(int(intercept), weight.sum()))
        bend[: X.shape[1]] += 1.0
        problem = _Scaled(X, y, C * weight, np.sqrt(np.where(bend > 0, bend, 1.0)))
        goal = _ACCURACY * float(np.abs(problem(np.zeros(len(w)))[1]).max(initial=0.0))
        found = scipy.optimize.minimize(
            problem,
            w * problem.scale,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iter, "maxcor": _HISTORY, "gtol": goal, "ftol": 0.0},
        )
        w = found.x / problem.scale
        level = float(w[-1]) if intercept else 0.0
        # Where the line search ends in rounding the gradient may miss the goal by little.
        converged = float(np.abs(found.jac).max(initial=0.0)) <= 10.0 * goal
        yield PathPoint(w[: X.shape[1]].copy(), level, int(found.nit), converged)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Value and gradient in scaled coefficients, the intercept last if there is one."""

    X: Any
    y: Array
    weight: Array
    scale: Array

    def __call__(self, u: Array) -> tuple[float, Array]:
        w, d = u / self.scale, self.X.shape[1]
        margin = self.y * (self.X @ w[:d] + w[d:].sum())
        slope = -self.weight * self.y * expit(-margin)
        value = self.weight @ np.logaddexp(0.0, -margin) + 0.5 * w[:d] @ w[:d]
        gradient = np.append(self.X.T @ slope + w[:d], np.full(len(w) - d, slope.sum()))
        return float(value), gradient / self.scale
