"""The path of Splitting: steps, combined where that shortens the next."""

from __future__ import annotations

from collections import deque

import numpy as np

from polytask.solvers._extrapolation import cancelling
from polytask.solvers._splitting_steps import State, Step, Steps

_MEMORY = 20
# An extrapolated state is used if it makes the next step shorter by so much, and not longer than
# so many times the shortest of all.
_WORSE = 0.999
_FAR = 100.0
# Where so many steps have not shortened by more than this, the states move along a face on which
# no combination gets further than they are: plain steps, first few, lead to its end.
_LOOK, _LEAST = 50, 0.95
_REST, _MOST_REST = 20, 80
_SAME = 1e-3


class Extrapolated:
    """Goes from step to step, combining the last of them where that shortens the next."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.held: deque[Step] = deque(maxlen=_MEMORY)
        self.shortest = self.mark = np.inf
        self.count = self.plain = 0
        self.rest, self.reach = _REST, 1.0

    def next(self, now: Step) -> Step:
        """Return the next step."""
        self.shortest = min(self.shortest, now.length)
        self.plain -= 1
        if self.plain >= 0:
            return self._ahead(now)
        self._look(now)
        self.held.append(now)
        jump = self._combined()
        if jump is not None:
            new = self.steps.step_from(jump)
            if new.length <= min(_WORSE * now.length, _FAR * self.shortest):
                return new
            if new.length > now.length:
                self.held.clear()
        return self.steps.step_from(now.plain)

    def _ahead(self, now: Step) -> Step:
        """Go on in the direction of a step as far as steps stay the same."""
        if self.reach >= 1:
            pairs = zip(now.plain, now.state, strict=True)
            far = [there + self.reach * (there - here) for there, here in pairs]
            new = self.steps.step_from(far)
            # On a curved path the same would lead away from the solution along a tangent.
            if float(np.linalg.norm(new.move - now.move)) <= _SAME * now.length:
                self.reach *= 2
                return new
        self.reach = self.reach / 4 if self.reach >= 1 else 2 * self.reach
        return self.steps.step_from(now.plain)

    def forget(self) -> None:
        """Forget everything, after a change of the map."""
        self.held.clear()
        self.shortest = self.mark = np.inf
        self.count = self.plain = 0
        self.rest, self.reach = _REST, 1.0

    def _look(self, now: Step) -> None:
        """Rest from combining where it has led nowhere, the longer the more often."""
        self.count += 1
        if self.count % _LOOK:
            return
        if now.length > _LEAST * self.mark:
            self.held.clear()
            self.plain = self.rest
            self.rest = min(2 * self.rest, _MOST_REST)
        else:
            self.rest = _REST
        self.mark = now.length

    def _combined(self) -> State | None:
        """Return the affine combination of states whose moves nearly cancel."""
        if len(self.held) < 2:
            return None
        moves = np.stack([step.move for step in self.held])
        weights = cancelling(moves @ moves.T)
        if weights is None:
            return None
        states = zip(*(step.plain for step in self.held), strict=True)
        pairs = [zip(weights, parts, strict=True) for parts in states]
        return [np.asarray(sum(w * part for w, part in pair)) for pair in pairs]
