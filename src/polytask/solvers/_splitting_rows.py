"""Losses with kinks as Splitting takes them: one dual variable per label."""

from __future__ import annotations

import numpy as np

from polytask.datafits import Evaluation, KinkedSamples
from polytask.datafits.base import Array
from polytask.solvers._splitting_sides import Side, Slope, SmoothSide

# Power iterations for the size of each task's rows, and by how much they may fall short.
_MOST_POWERS = 60
_SETTLED = 1e-3
_SHORTFALL = 1.05
# Coefficients are expected to move predictions by so many times the spread of the targets.
_REACH = 2.0
# A step of this share of what the sizes of the variables suggest was fastest.
_SHARE = 0.4


class KinkedSide(Side):
    """A datafit some of whose losses have kinks."""

    # Their dual variables u are the derivatives of the losses, each within its bounds. The
    # smooth losses beside them, which share no intercept with them, minimise their own.

    def __init__(self, datafit: KinkedSamples) -> None:
        self.datafit = datafit
        self.rows = datafit.rows
        self.smooth = None if datafit.rest is None else SmoothSide(datafit.rest)
        squares = self._squares()
        self.largest = float(squares.max(initial=0.0)) or 1.0
        own = np.where(squares > 0, squares, self.largest)
        self._inverse = 1.0 / own[self.rows.column]
        self.origin = datafit.origin.intercept
        self._push = datafit.intercepts.gradient(np.zeros(datafit.n_columns))

    @property
    def n_rows(self) -> int:
        """The number of labels of losses with kinks."""
        return len(self.rows.y)

    @property
    def curvature(self) -> float:
        """That of the smooth losses."""
        return 0.0 if self.smooth is None else self.smooth.curvature

    def _squares(self) -> Array:
        """Return the largest squared singular value of each column's weighted rows."""
        d, columns = self.datafit.shape
        rng = np.random.default_rng(0)
        W, b = rng.standard_normal((d, columns)), rng.standard_normal(columns)
        found = np.zeros(columns)
        for _ in range(_MOST_POWERS):
            length = np.sqrt(np.sum(W * W, axis=0) + b * b)
            length = np.where(length > 0, length, 1.0)
            slope = self.adjoint(self.forward(W / length, b / length))
            W, b, last = slope.W, slope.b, found
            found = np.sqrt(np.sum(W * W, axis=0) + b * b)
            if np.all(np.abs(found - last) <= _SETTLED * found):
                break
        return _SHORTFALL * found

    def start(self, intercept: Array | None, u: Array | None) -> tuple[Array, Array]:
        """Return the intercepts and the derivatives, those at W = 0 if none are given."""
        b = self.origin if intercept is None else intercept
        if self.smooth is not None:
            self.smooth.start(np.where(self.datafit.owned, 0.0, b), None)
        return b, self.datafit.first_derivatives if u is None else u

    def slope(self, W: Array, b: Array) -> Slope:
        """Return the gradient of the smooth losses."""
        none = np.zeros(len(b))
        return Slope(np.zeros(W.shape) if self.smooth is None else self.smooth.gradient(W), none)

    def best_intercepts(self, b: Array, step: float) -> Array:
        """Return the prox of the penalty on the intercepts."""
        curvature = np.full(len(b), 1.0 / step)
        return self.datafit.intercepts.solve(curvature, b / step - self._push)

    def forward(self, W: Array, b: Array) -> Array:
        """Return the predictions of all labels."""
        return np.asarray(self.datafit.forward(W) + b[self.rows.column])

    def adjoint(self, u: Array) -> Slope:
        """Return the transpose of :meth:`forward` at the weighted u."""
        return Slope(self.datafit.adjoint(u), self.rows.total(self.rows.weight * u))

    def dual_step(self, u: Array, eta: Array, step: float) -> Array:
        """Move u along eta - y, and back within its bounds."""
        rows = self.rows
        moved = u + step * self._inverse * (eta - rows.y)
        return np.asarray(np.clip(moved, rows.lower, rows.upper))

    def row_metric(self, step: float) -> Array:
        """Return the root of the weight over the step."""
        return np.asarray(np.sqrt(self.rows.weight / (step * self._inverse)))

    def balanced_step(self, W: Array, b: Array, u: Array) -> float | None:
        """Return the step at which primal and dual variables move as far as they have to go."""
        away = np.where(self.datafit.owned, b - self.origin, 0.0)
        primal = float(np.sqrt(np.sum(W * W) + away @ away))
        dual = float(np.sqrt(self.rows.weight @ (u * u)))
        if primal > 0 and dual > 0:
            return _SHARE * primal / (dual * float(np.sqrt(self.largest)))
        return _REACH * _SHARE * (self.datafit.spread or 1.0) / self.largest

    def evaluate(self, W: Array, b: Array, u: Array) -> Evaluation:
        """Evaluate at W with the gradient of a feasible dual point near u."""
        return self.datafit.evaluate_dual(W, u)
