"""Proximal gradient methods: with momentum and restarts, or with extrapolated steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polytask._anderson import Anderson
from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array
from polytask.messages import Text
from polytask.penalties import Conjugate, Parts, Penalty, RowSeparable, Split
from polytask.penalties.base import about
from polytask.solvers.base import Solution, Solver
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.objective import Objective

_CHECK_EVERY = 10
_GROWTH = 1.05
# Where the curvature has no bound: a step is shortened to half of it, up to so many times, and
# the next may be longer where the curvature seen is below a share of the one in use.
_HALVINGS = 100
_SLACK, _SHRINK = 0.7, 0.9
# Values that differ by less, relative to them, are compared by their gradients.
_SAME = 1e-10
# Units of rounding in a gradient.
_NOISE = 100.0


@saveable("solver.accelerated_gradient")
@dataclass(frozen=True)
class AcceleratedGradient(SplitSolver):
    """Accelerated proximal gradient (FISTA) for any penalty with a proximal operator.

    Momentum restarts when it points uphill. Penalties on rows take one step length per
    feature, which makes the iterations independent of the features' scales. The curvature
    seen along the way is compared with the bound in use at every iteration and raises it
    where the bound was too low. Where there is no bound (losses with an exponential) every
    step is shortened until the quadratic model lies above the data term where it leads, which
    costs one more evaluation per iteration.

    References
    ----------
    A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear
    inverse problems", SIAM Journal on Imaging Sciences 2 (2009), section 4.
    B. O'Donoghue and E. Candès, "Adaptive restart for accelerated gradient schemes",
    Foundations of Computational Mathematics 15 (2015), gradient scheme.
    """

    only_gradients = True

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return an empty string: all that is needed is a prox."""
        return ""

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Accelerated(objective, objective.row_curvature())


class _Accelerated(ProximalMethod):
    """Steps from a point V that is ahead of the iterate Z by the momentum."""

    patience = 100

    def use(self, curvature: Array) -> None:
        """Use another bound of the curvature; all lengths are in the metric that it makes."""
        super().use(curvature)
        gradient = self.objective.zero.gradient / np.sqrt(curvature)[:, None]
        noise = _NOISE * self.objective.datafit.precision
        self.noise = noise * float(np.linalg.norm(gradient))

    def begin(self, start: Solution | None) -> Iterate:
        """Begin without momentum."""
        found = super().begin(start)
        self.Z = self.V = found.W
        self.t = 1.0
        self.last: tuple[Array, Array] | None = None
        self.intercept: Array | None = found.at.intercept
        return found

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Take some steps."""
        steps = min(_CHECK_EVERY, left)
        for _ in range(steps):
            self._step()
        found = self.fitted(self.Z, self.intercept)
        self.intercept = found.at.intercept
        return Round(found, steps)

    def _step(self) -> None:
        objective = self.objective
        if objective.is_quadratic:
            # A product costs less than an evaluation.
            zero = objective.zero
            Z = self._stepped(zero.gradient + zero.hessian(self.V - objective.null))
        else:
            at = objective.evaluate(self.V, self.intercept)
            if not np.isfinite(at.value):
                # Momentum led to where the losses overflow: go on from the last step.
                self.V, self.t = self.Z, 1.0
                at = objective.evaluate(self.V, None)
            self.intercept = at.intercept
            bounded = objective.datafit.is_bounded
            Z = self._stepped(at.gradient) if bounded else self._backtracked(self.V, at)
        if float(np.sum((self.V - Z) * (Z - self.Z) * self.curvature[:, None])) > 0:
            self.t = 1.0
        t = (1.0 + np.sqrt(1.0 + 4.0 * self.t**2)) / 2.0
        self.V = Z + (self.t - 1.0) / t * (Z - self.Z)
        self.Z, self.t = Z, t

    def _stepped(self, gradient: Array) -> Array:
        self._watch_curvature(self.V, gradient)
        return self.prox(self.forward(self.V, gradient))

    def _backtracked(self, V: Array, at: Evaluation) -> Array:
        """Return the step that is short enough for its model to lie above the data term."""
        for k in range(_HALVINGS):
            Z = self.prox(self.forward(V, at.gradient))
            new = self.objective.evaluate(Z, at.intercept)
            move = Z - V
            length = float(np.sum(move * move * self.curvature[:, None]))
            seen = float(np.sum(move * (new.gradient - at.gradient)))
            rise = new.value - at.value - float(np.sum(move * at.gradient))
            if abs(new.value - at.value) <= _SAME * abs(at.value):
                # Twice what values would say, had they the digits.
                rise = 0.5 * seen
            if rise <= 0.5 * length + self.noise * np.sqrt(length):
                if k == 0 and seen < _SLACK * length:
                    self.use(max(_SHRINK, _GROWTH * seen / length) * self.curvature)
                return Z
            self.use(2.0 * self.curvature)
        return V

    def _watch_curvature(self, V: Array, gradient: Array) -> None:
        """Raise the bound where the curvature between two points exceeds it."""
        last, self.last = self.last, (V, gradient)
        if last is None:
            return
        move = V - last[0]
        square = float(np.sum(move * move * self.curvature[:, None]))
        seen = float(np.sum(move * (gradient - last[1])))
        # Between points that are close, what differs in their gradients is rounding.
        if seen - self.noise * np.sqrt(square) > _GROWTH * square:
            self.t = 1.0
            self.use(_GROWTH * seen / square * self.curvature)


# Steps are this many times 1 / curvature: below 2 the plain iteration still contracts.
_LONG = 1.7
# Lanczos may fall short of the largest curvature by as much.
SHORTFALL = 1.02
_MEMORY = 10
# A certificate is asked for when the residual promises it and has fallen, or after so many steps.
_NEAR = 1.5
_FALLEN = 0.9
_MOST_BETWEEN = 15
# An extrapolated step may raise the residual by so much before it is taken back.
_WORSE = 2.0
# A plain step does not lengthen the next, beyond rounding, unless the curvature is underestimated.
_LONGER, _STIFFER = 1 + 1e-6, 1.1
# A round that leaves this share of the residual has steps all alike; a leap is so many of them.
_STEADY, _LEAP = 0.99, 16.0


@saveable("solver.extrapolated_gradient")
@dataclass(frozen=True)
class ExtrapolatedGradient(SplitSolver):
    """Proximal gradient whose fixed-point iteration is extrapolated (Anderson acceleration).

    For the squared loss and penalties that a prox treats as a whole, for example on singular
    values: once the rank has settled the iteration is nearly linear, and combining its last
    steps takes about half as many as momentum does. A step that raises the residual is
    replaced by a plain one, which never does. Parts of rows take one step length per feature.

    References
    ----------
    V. Mai and M. Johansson, "Anderson acceleration of proximal gradient methods", ICML
    (2020), algorithm 2.
    """

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        nonsmooth = split.proximable
        rows = isinstance(nonsmooth, RowSeparable) and not isinstance(nonsmooth, Parts)
        whole = isinstance(nonsmooth, Conjugate) and not rows
        if not whole or not datafit.is_quadratic or not penalty.strength:
            return about(penalty, "solver.refusal.not_extrapolated")
        return ""

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Extrapolated(objective, objective.row_curvature(SHORTFALL))

    def fallback(self, datafit: Datafit, penalty: Penalty) -> Solver | None:
        """Return momentum in place of extrapolation."""
        return AcceleratedGradient()


class _Step(NamedTuple):
    """A point, its prox with the evaluation there, where a plain step leads, and how far."""

    W: Array
    at: Evaluation
    plain: list[Array]
    move: Array
    length: float


class _Extrapolated(ProximalMethod):
    """Combines the last steps of the plain iteration."""

    def begin(self, start: Solution | None) -> Iterate:
        """Take the first step."""
        found = super().begin(start)
        self.memory = Anderson(_MEMORY)
        self.now = self._from(found.W, found.W, found.at)
        return found

    def _from(self, point: Array, W: Array, at: Evaluation) -> _Step:
        plain = self.forward(W, at.gradient, _LONG)
        move = (plain - point) * np.sqrt(self.curvature)[:, None]
        return _Step(W, at, [plain], move, float(np.linalg.norm(move)))

    def _step(self, point: list[Array]) -> _Step:
        W = self.prox(point[0], _LONG)
        return self._from(point[0], W, self.objective.evaluate(W, self.now.at.intercept))

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Step until the residual has fallen to a share; a certificate costs as much as a step."""
        share, first = min(_NEAR * tol / now.relative, _FALLEN), self.now.length
        steps = 0
        while steps < min(_MOST_BETWEEN, left):
            self.now = self._next()
            steps += 1
            if self.now.length <= share * first:
                break
        if steps == _MOST_BETWEEN and self.now.length > _STEADY * first:
            steps += self._leap(left - steps)
        return Round(self.judged(self.now.W, self.now.at), steps)

    def _leap(self, left: int) -> int:
        """Go on along the last step, ever further, while the next is as long; count the tries."""
        # Where nothing but the slope of the penalty moves coefficients, as on features that are
        # nearly equal, steps stay alike until one vanishes, and no combination of them is shorter.
        move, tries, far = self.now.move / np.sqrt(self.curvature)[:, None], 0, _LEAP
        while tries < left:
            new = self._step([self.now.plain[0] + far * move])
            tries += 1
            if new.length * _STEADY > self.now.length:
                break
            self.memory.clear()
            self.now, far = new, 2 * far
        return tries

    def _next(self) -> _Step:
        length = self.now.length
        new, combined = self.memory.next(self.now, self._step, _WORSE * length)
        if not combined and new.length > length * _LONGER:
            self.memory.clear()
            self.use(_STIFFER * self.curvature)
        return new


def whole_solver(datafit: Datafit, penalty: Penalty) -> Solver:
    """Return the gradient method that works with all features at once."""
    first = ExtrapolatedGradient()
    return AcceleratedGradient() if first.accepts(datafit, penalty) else first
