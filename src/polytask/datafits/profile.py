"""The intercepts that minimise the losses for given predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.datafits.base import Array
from polytask.datafits.intercepts import Intercepts, NoIntercepts
from polytask.datafits.stack import Predictions, Stack

_STEPS = 200
_HALVINGS = 30
_DOUBLINGS = 60
_ARMIJO = 1e-4
_POLISH = 1e-15
_FLAT = 1e-10
_SHORT = 0.1


@dataclass
class _Point:
    """Intercepts with the predictions and the value that they give."""

    b: Array
    eta: Predictions
    value: float
    length: float = 1.0


@dataclass(frozen=True, eq=False)
class Profile:
    """Minimises over the intercepts by Newton's method.

    Where the curvature has vanished far from the optimum (all probabilities are 0 or 1), a
    Newton step is useless; there the bound of the curvature gives a step that is sure
    to descend, and doubling finds its length.

    Parameters
    ----------
    stack : Stack
        The data.
    intercepts : Intercepts
        What b may be.
    """

    stack: Stack
    intercepts: Intercepts

    def minimise(self, plain: Predictions, start: Array, quadratic: bool) -> Array:
        """Return the best intercepts for predictions that have none yet.

        Parameters
        ----------
        plain : list of ndarray
            Predictions of every block without intercepts.
        start : ndarray of shape (n_columns,)
            Where to start.
        quadratic : bool
            Whether one exact Newton step is the answer.
        """
        b = self.intercepts.project(start)
        if isinstance(self.intercepts, NoIntercepts):
            return b
        if quadratic:
            return b + self._newton(self.stack.shift(plain, b), b)[0]
        point = self._at(plain, b)
        for _ in range(_STEPS):
            step, gradient = self._newton(point.eta, point.b)
            descent = -float(gradient @ step)
            if self._is_last(step, gradient, descent, point.value):
                # So near the optimum values no longer tell steps apart: one pure Newton
                # step squares the error, which leaves rounding only.
                return point.b + step
            moved = self._move(plain, point, step, gradient)
            if moved is None:
                return point.b
            stuck = moved.value >= point.value
            point = moved
            if stuck:
                return point.b
        return point.b

    def _at(self, plain: Predictions, b: Array, length: float = 1.0) -> _Point:
        eta = self.stack.shift(plain, b)
        return _Point(b, eta, self.stack.value(eta) + self.intercepts.penalty(b), length)

    def _newton(self, eta: Predictions, b: Array) -> tuple[Array, Array]:
        """Return the Newton step and the gradient."""
        gradient = self.stack.collect(self.stack.slopes(eta)) + self.intercepts.gradient(b)
        return self.stack.intercept_solver(eta, self.intercepts)(-gradient), gradient

    def _is_last(self, step: Array, gradient: Array, descent: float, value: float) -> bool:
        size = max(self.stack.total_weight, abs(value))
        slope = float(np.max(np.abs(self.intercepts.project(gradient)), initial=0.0))
        short = float(np.max(np.abs(step), initial=0.0)) < _SHORT
        return descent <= _POLISH * size and slope <= _FLAT * size and short

    def _move(
        self, plain: Predictions, point: _Point, step: Array, gradient: Array
    ) -> _Point | None:
        moved = self._halved(plain, point, step, gradient)
        if moved is not None and moved.length >= _SHORT:
            return moved
        sure = self._doubled(plain, point, gradient)
        found = [trial for trial in (moved, sure) if trial is not None]
        return min(found, key=lambda trial: trial.value, default=None)

    def _halved(
        self, plain: Predictions, point: _Point, step: Array, gradient: Array
    ) -> _Point | None:
        """Shorten a Newton step until the value falls."""
        descent = -float(gradient @ step)
        if not np.isfinite(descent) or descent <= 0:
            return None
        length = 1.0
        for _ in range(_HALVINGS):
            trial = self._at(plain, point.b + length * step, length)
            rounding = 1e-15 * abs(point.value)
            if trial.value <= point.value - _ARMIJO * length * descent + rounding:
                return trial
            length /= 2
        return None

    def _doubled(self, plain: Predictions, point: _Point, gradient: Array) -> _Point | None:
        """Lengthen the step of the curvature bound while the value falls."""
        step = self.intercepts.solve(self.stack.bound_collected(), -gradient)
        best, length = None, 1.0
        for _ in range(_DOUBLINGS):
            trial = self._at(plain, point.b + length * step, length)
            if trial.value >= (point.value if best is None else best.value):
                break
            best, length = trial, 2 * length
        return best
