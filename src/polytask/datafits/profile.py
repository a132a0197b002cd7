"""The intercepts that minimise the losses for given predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.datafits.base import Array
from polytask.datafits.intercepts import Intercepts, NoIntercepts, TiedIntercepts
from polytask.datafits.stack import Predictions, Stack, newton_solver, own_curvature

_STEPS = 200
_HALVINGS = 30
_ARMIJO = 1e-4
_POLISH = 1e-15
_FLAT = 1e-10
_SHORT = 0.1
_REACH = 4.0
# Steps by slopes alone, each to halve them at least.
_SETTLING = 10


@dataclass
class _Point:
    """Intercepts with the predictions and the value that they give."""

    b: Array
    eta: Predictions
    value: float


@dataclass
class _Reach:
    """How far each intercept may move in one step."""

    # It grows while a step leaves the slope as it is, and shrinks where a step turns it
    # round without making it smaller.

    length: Array
    slope: Array

    def update(self, slope: Array) -> None:
        """Learn from the slope after a step."""
        kept = np.abs(slope) > 0.5 * np.abs(self.slope)
        along = slope * self.slope > 0
        self.length = np.where(kept & along, 4.0 * self.length, self.length)
        self.length = np.where(kept & ~along, 0.25 * self.length, self.length)
        self.slope = slope


@dataclass(frozen=True, eq=False)
class _Step:
    """A step, the fall of the value that its slope promises, and whether it is Newton's."""

    step: Array
    descent: float
    slope: Array
    pure: bool


@dataclass(frozen=True, eq=False)
class Profile:
    """Minimises over the intercepts by Newton's method."""

    # Far from the optimum, where all probabilities are 0 or 1, the curvature vanishes and a
    # Newton step leads nowhere. There the curvature is raised, up to its bound, until the
    # step is no longer than has proved right for that intercept.

    stack: Stack
    intercepts: Intercepts

    def minimise(self, plain: Predictions, start: Array, quadratic: bool) -> Array:
        """Return the best intercepts for predictions that have none yet."""
        # Shapes: start (n_columns,).
        b = self.intercepts.project(start)
        if isinstance(self.intercepts, NoIntercepts):
            return b
        if quadratic:
            eta = self.stack.shift(plain, b)
            return b + self.stack.intercept_solver(eta, self.intercepts)(-self._gradient(eta, b))
        point = self._begin(plain, b)
        reach = _Reach(np.full(b.size, _REACH), np.zeros(b.size))
        for _ in range(_STEPS):
            way = self._way(point, reach)
            if self._is_last(way, point.value):
                # So near the optimum values no longer tell steps apart: one pure Newton
                # step squares the error, which leaves rounding only.
                return point.b + way.step
            moved = self._halved(plain, point, way)
            if moved is None or (moved.value >= point.value and way.pure):
                return self._settled(plain, point)
            point = moved
        return point.b

    def _settled(self, plain: Predictions, point: _Point) -> Array:
        """Go on by slopes where values are level for rounding: they tell far smaller steps."""
        best, steepest = point.b, np.inf
        for _ in range(_SETTLING):
            gradient = self._gradient(point.eta, point.b)
            slope = float(np.max(np.abs(self.intercepts.project(gradient)), initial=0.0))
            if not slope < 0.5 * steepest:
                break
            best, steepest = point.b, slope
            solve = self.stack.intercept_solver(point.eta, self.intercepts)
            point = self._at(plain, best - solve(gradient))
        return best

    def _begin(self, plain: Predictions, b: Array) -> _Point:
        """Return the lower of the guess and the intercepts that would be best if free."""
        # Those are the answer if they are free, and never overflow.
        if self.stack.is_bounded:
            return self._at(plain, b)
        tied = isinstance(self.intercepts, TiedIntercepts)
        groups = self.intercepts.groups if tied else np.arange(b.size)  # type: ignore[attr-defined]
        level = self.stack.levels(plain, groups)
        best = self._at(plain, self.intercepts.project(np.where(np.isnan(level), b, level)))
        if tied:
            return best
        guess = self._at(plain, b)
        return guess if guess.value < best.value else best

    def _at(self, plain: Predictions, b: Array) -> _Point:
        eta = self.stack.shift(plain, b)
        return _Point(b, eta, self.stack.value(eta) + self.intercepts.penalty(b))

    def _gradient(self, eta: Predictions, b: Array) -> Array:
        return self.stack.collect(self.stack.slopes(eta)) + self.intercepts.gradient(b)

    def _way(self, point: _Point, reach: _Reach) -> _Step:
        gradient = self._gradient(point.eta, point.b)
        slope = self.intercepts.project(gradient)
        reach.update(slope)
        parts = self.stack.intercept_curvature(point.eta)
        own = self.intercepts.project(own_curvature(parts, slope.size))
        most = self.intercepts.project(self.stack.intercept_bound)
        needed = np.minimum(np.abs(slope) / reach.length, most)
        extra = np.maximum(needed - own, 0.0)
        step = newton_solver(parts, self.intercepts, extra)(-gradient)
        return _Step(step, -float(gradient @ step), slope, not extra.any())

    def _is_last(self, way: _Step, value: float) -> bool:
        size = max(self.stack.total_weight, abs(value))
        slope = float(np.max(np.abs(way.slope), initial=0.0))
        short = float(np.max(np.abs(way.step), initial=0.0)) < _SHORT
        return way.descent <= _POLISH * size and slope <= _FLAT * size and short

    def _halved(self, plain: Predictions, point: _Point, way: _Step) -> _Point | None:
        """Shorten a step until the value falls."""
        if not np.isfinite(way.descent) or way.descent <= 0:
            return None
        length = 1.0
        for _ in range(_HALVINGS):
            trial = self._at(plain, point.b + length * way.step)
            rounding = 1e-15 * abs(point.value)
            if trial.value <= point.value - _ARMIJO * length * way.descent + rounding:
                return trial
            length /= 2
        return None
