"""The minimisation over a working set: sweeps, extrapolation, and when to stop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask.datafits.base import Array
from polytask.penalties import Conjugate
from polytask.solvers._block_engines import Engine
from polytask.solvers._extrapolation import combined
from polytask.solvers._separate_terms import row_terms
from polytask.solvers._support_newton import Leaps

# Sweeps between two extrapolations: more where the first ones were not enough.
_DEPTHS = ((100, 20), (25, 10), (0, 5))
# Sweeps that lower nothing beyond rounding end the minimisation after this many checks.
_PATIENCE = 4
_ROUNDING = 1e-15
_FEWEST_STEPS = 3
# Sweeps before anything else.
_AT_FIRST = 5
# Sweeps between two steps of Newton's method.
_BETWEEN = 5


@dataclass(frozen=True)
class Goal:
    """When a working set is solved well enough."""

    gap: float
    move: float
    sweeps: int


class Inner:
    """Minimises over the rows of a working set."""

    def __init__(
        self,
        engine: Engine,
        rough: Any,  # noqa: ANN401 - proximable, with or without a conjugate
        certifiable: bool,
        value: float,
        rounding: float,
        slow: bool,
    ) -> None:
        self.engine = engine
        self.rough = rough
        self.conjugate: Conjugate | None = None
        if certifiable and isinstance(rough, Conjugate):
            self.conjugate = rough
        self.value = value
        self.rounding = rounding
        self.sweeps = 0
        coupled = engine.rows.beside.coupling.size > 0
        self._leaps = Leaps(engine, None if coupled else row_terms(rough), slow)
        self._penalty = float(rough.value(engine.W))

    @property
    def slow(self) -> bool:
        """Whether sweeps alone would have been slow."""
        return self._leaps.successes > 0

    def run(self, goal: Goal) -> None:
        """Sweep until the goal is reached or nothing moves any more."""
        idle = 0
        if self._began(goal):
            return
        while self.sweeps < goal.sweeps and idle < _PATIENCE:
            before = self.engine.state()
            moved, steps = self._some_sweeps(before, goal.sweeps - self.sweeps)
            gained = self._advance(before)
            if self._solved(moved, goal):
                return
            leapt = self._onward(steps, gained)
            if leapt > 0 and self._solved(moved, goal):
                return
            idle = 0 if gained + leapt > self.rounding * _ROUNDING else idle + 1

    def _began(self, goal: Goal) -> bool:
        """Sweep a few times at one go; say if that was enough, as along a path it often is."""
        if self.conjugate is None or goal.sweeps < _AT_FIRST:
            return False
        before = self.engine.state()
        moved = self.engine.sweep(_AT_FIRST)
        self.sweeps += _AT_FIRST
        self._advance(before)
        return self._solved(moved, goal)

    def _some_sweeps(self, before: list[Array], allowed: int) -> tuple[float, list[list[Array]]]:
        engine, steps, moved = self.engine, [before], 0.0
        depth = next(depth for sweeps, depth in _DEPTHS if self.sweeps >= sweeps)
        depth = _BETWEEN if self._leaps.working else depth
        for _ in range(min(depth, allowed)):
            moved = engine.sweep()
            self.sweeps += 1
            steps.append(engine.state())
            if moved == 0.0:
                break
        return moved, steps

    def _onward(self, steps: list[list[Array]], gained: float) -> float:
        """Go further than sweeps do, where that is lower; return by how much."""
        if self._leaps.due(self.sweeps):
            return self._leap(gained)
        return self._extrapolate(steps) if len(steps) > _FEWEST_STEPS else 0.0

    def _advance(self, before: list[Array]) -> float:
        """Bring the values up to date; return by how much the objective fell."""
        change = self.engine.smooth_change(before)
        penalty = float(self.rough.value(self.engine.W))
        gained = self._penalty - penalty - change
        self.value += change
        self._penalty = penalty
        return gained

    def _solved(self, moved: float, goal: Goal) -> bool:
        if moved == 0.0:
            return True
        if self.conjugate is None:
            return float(np.sqrt(moved)) <= goal.move
        return self._gap(self.conjugate) <= goal.gap

    def _gap(self, penalty: Conjugate) -> float:
        """Duality gap of the problem on these rows alone."""
        W, slope, value = self.engine.W, self.engine.smooth_slope(), self.value
        c = min(1.0, penalty.feasible_scale(slope))
        along = float(np.vdot(slope, W))
        data = (1.0 - c) ** 2 * value - c * along
        return data + self._penalty + penalty.conjugate(c * slope)

    def _extrapolate(self, steps: list[list[Array]]) -> float:
        """Move to the combination of the last iterates with the smallest step, if it is lower."""
        found = combined(steps)
        return 0.0 if found is None else self._moved(steps[-1], [found])

    def _leap(self, gained: float) -> float:
        """Take a step of Newton's method, if it is lower; return by how much."""
        leapt = self._moved(self.engine.state(), self._leaps.points())
        self._leaps.learn(self.sweeps, leapt > gained)
        return leapt

    def _moved(self, back: list[Array], states: Iterable[list[Array]]) -> float:
        """Go to the first of some states that is lower, or back; return by how much."""
        value, penalty = self.value, self._penalty
        for state in states:
            self.engine.set_state(state)
            gained = self._advance(back)
            if gained > 0:
                return gained
            self.engine.set_state(back)
            self.value, self._penalty = value, penalty
        return 0.0
