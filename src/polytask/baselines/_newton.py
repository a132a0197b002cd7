"""Ridge-penalised logistic regression of two classes along a path, by Newton steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import expit

from polytask.baselines._disjoint import Disjoint

Array = NDArray[np.float64]

_STEPS = 100
_HALVINGS = 30
# Largest entry of the gradient, relative to that at zero coefficients.
_ACCURACY = 1e-9
_RIDGE = 1e-12
# Of the value: what a step near the minimum may add to it by rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The minimum at one strength. Shapes: coef (d,)."""

    coef: Array
    intercept: float
    steps: int
    converged: bool


def logistic_path(
    X: Array,
    y: Array,
    weight: Array,
    strengths: Sequence[float],
    *,
    intercept: bool,
    tail: Disjoint | None = None,
) -> Iterator[PathPoint]:
    """Yield the minimum for inverse strengths C, each found from the one before."""
    # Shapes: X (n, d), y (n,), weight (n,).
    # Minimises C sum_i s_i log(1 + exp(-y_i f_i)) + |w|^2 / 2 with f = X w + b by Newton steps.
    # The minimum lies in the space of the rows, so that X is turned to no more columns than it has
    # rows. Columns of which no row has two have a diagonal block in Newton's matrix, so that
    # thousands of them cost little more than the rows.
    basis = None
    if X.shape[0] < X.shape[1]:
        basis, corner = scipy.linalg.qr(X.T, mode="economic")
        X = np.ascontiguousarray(corner.T)
    width = X.shape[1]
    Z: Array = np.column_stack([X, np.ones(len(X))]) if intercept else X
    design = _Rows(Z) if tail is None else _RowsAndTail(Z, tail)
    penalty = np.ones(design.width)
    penalty[width : Z.shape[1]] = 0.0
    w = np.zeros(design.width)
    for C in strengths:
        w, steps, converged = _minimised(design, y, C * weight, penalty, w)
        coef = w[:width] if basis is None else basis @ w[:width]
        level = float(w[width]) if intercept else 0.0
        yield PathPoint(np.concatenate([coef, w[Z.shape[1] :]]), level, steps, converged)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Dense columns."""

    Z: Array

    @property
    def width(self) -> int:
        return int(self.Z.shape[1])

    def times(self, w: Array) -> Array:
        return np.asarray(self.Z @ w)

    def adjoint(self, r: Array) -> Array:
        return np.asarray(self.Z.T @ r)

    def solve(self, curvature: Array, penalty: Array, target: Array) -> Array:
        """Return the solution of (Z' diag(curvature) Z + diag(penalty)) x = target."""
        H = (self.Z.T * curvature) @ self.Z
        H[np.diag_indices_from(H)] += penalty + _RIDGE * max(float(np.trace(H)), 1.0)
        return np.asarray(scipy.linalg.solve(H, target, assume_a="pos", check_finite=False))


@dataclass(frozen=True, eq=False)
class _RowsAndTail:
    """Dense columns, and behind them columns of which no row has two."""

    Z: Array
    tail: Disjoint

    @property
    def width(self) -> int:
        return int(self.Z.shape[1]) + self.tail.width

    def times(self, w: Array) -> Array:
        k = self.Z.shape[1]
        return np.asarray(self.Z @ w[:k] + self.tail.times(w[k:]))

    def adjoint(self, r: Array) -> Array:
        return np.concatenate([self.Z.T @ r, self.tail.adjoint(r)])

    def solve(self, curvature: Array, penalty: Array, target: Array) -> Array:
        """Solve by the complement of the diagonal block of the tail."""
        k = self.Z.shape[1]
        H = (self.Z.T * curvature) @ self.Z
        block = self.tail.adjoint(curvature * self.tail.values)
        ridge = _RIDGE * max(float(np.trace(H) + block.sum()), 1.0)
        block = block + penalty[k:] + ridge
        H[np.diag_indices_from(H)] += penalty[:k] + ridge
        cross = self.tail.matrix().T @ (curvature[:, None] * self.Z)
        shares = cross / block[:, None]
        H -= cross.T @ shares
        rest = target[:k] - shares.T @ target[k:]
        head = scipy.linalg.solve(H, rest, assume_a="pos", check_finite=False)
        return np.concatenate([head, target[k:] / block - shares @ head])


def _minimised(
    design: _Rows | _RowsAndTail, y: Array, weight: Array, penalty: Array, w: Array
) -> tuple[Array, int, bool]:
    goal = _ACCURACY * float(np.max(np.abs(design.adjoint(0.5 * weight)), initial=0.0))
    f = design.times(w)
    value = _value(f, y, weight, penalty, w)
    for taken in range(_STEPS):
        share = expit(-y * f)
        gradient = penalty * w - design.adjoint(weight * y * share)
        if np.max(np.abs(gradient)) <= goal:
            return w, taken, True
        step = design.solve(weight * share * (1.0 - share), penalty, -gradient)
        moved = design.times(step)
        for _ in range(_HALVINGS):
            trial = _value(f + moved, y, weight, penalty, w + step)
            if trial <= value + _ROUNDING * abs(value):
                break
            step, moved = 0.5 * step, 0.5 * moved
        else:
            # No step along Newton's direction is lower: what is left is rounding.
            return w, taken, True
        w, f, value = w + step, f + moved, trial
    return w, _STEPS, False


def _value(f: Array, y: Array, weight: Array, penalty: Array, w: Array) -> float:
    return float(weight @ np.logaddexp(0.0, -y * f) + 0.5 * (penalty * w) @ w)
