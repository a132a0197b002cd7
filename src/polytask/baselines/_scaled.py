"""Ridge-penalised logistic regression of two classes on many columns, along a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.special import expit

from polytask._linalg import is_sparse
from polytask.baselines._newton import PathPoint

Array = NDArray[np.float64]

_HISTORY = 20
# A column this many times as long as most is what slows down a method without scales.
_LONG = 100.0


class Design(Protocol):
    """Rows as the path needs them."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of rows and columns."""
        ...

    def times(self, w: Array) -> Array:
        """Return the product with coefficients, shape (n,)."""
        ...

    def adjoint(self, r: Array) -> Array:
        """Return the product of the transpose with one number per row, shape (d,)."""
        ...

    def squares(self, weight: Array) -> Array:
        """Return the weighted sums of squares of the columns, shape (d,)."""
        ...


@dataclass(frozen=True, eq=False)
class Plain:
    """Rows of an array or sparse matrix."""

    X: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape of the matrix."""
        n, d = self.X.shape
        return int(n), int(d)

    def __getitem__(self, rows: NDArray[Any]) -> Plain:
        """Return some of the rows."""
        return Plain(self.X[rows])

    def times(self, w: Array) -> Array:
        """Return the product with coefficients, shape (n,)."""
        return np.asarray(self.X @ w)

    def adjoint(self, r: Array) -> Array:
        """Return the product of the transpose with one number per row, shape (d,)."""
        return np.asarray(self.X.T @ r)

    def squares(self, weight: Array) -> Array:
        """Return the weighted sums of squares of the columns, shape (d,)."""
        squared = self.X.multiply(self.X) if is_sparse(self.X) else np.square(self.X)
        return np.asarray(squared.T @ weight, dtype=float)


def unequal(design: Design) -> bool:
    """Say whether some columns are far longer than most that are not zero."""
    squares = design.squares(np.ones(design.shape[0]))
    held = squares[squares > 0]
    return bool(held.size) and bool(held.max() > _LONG**2 * np.median(held))


def scaled_path(
    X: Design,
    y: Array,
    weight: Array,
    strengths: Sequence[float],
    *,
    intercept: bool,
    max_iter: int,
    accuracy: float,
) -> Iterator[PathPoint]:
    """Yield the minimum for inverse strengths C, each found from the one before."""
    # Shapes: X (n, d), y (n,), weight (n,).
    # As :func:`polytask.baselines._newton.logistic_path`, by L-BFGS in coefficients that are
    # scaled to a curvature of one: columns of very unequal length, such as intercepts of tasks
    # beside features, do not slow it down.
    squares = X.squares(weight)
    w = np.zeros(X.shape[1] + intercept)
    for C in strengths:
        bend = 0.25 * C * np.append(squares, np.full(int(intercept), weight.sum()))
        bend[: X.shape[1]] += 1.0
        problem = _Scaled(X, y, C * weight, np.sqrt(np.where(bend > 0, bend, 1.0)))
        goal = accuracy * float(np.abs(problem(np.zeros(len(w)))[1]).max(initial=0.0))
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

    X: Design
    y: Array
    weight: Array
    scale: Array

    def __call__(self, u: Array) -> tuple[float, Array]:
        w, d = u / self.scale, self.X.shape[1]
        margin = self.y * (self.X.times(w[:d]) + w[d:].sum())
        slope = -self.weight * self.y * expit(-margin)
        value = self.weight @ np.logaddexp(0.0, -margin) + 0.5 * w[:d] @ w[:d]
        gradient = np.append(self.X.adjoint(slope) + w[:d], np.full(len(w) - d, slope.sum()))
        return float(value), gradient / self.scale
