"""Proximal gradient with extrapolated steps, for penalties on the whole of W."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.penalties import Conjugate, Parts, Penalty, RowSeparable, decompose
from polytask.solvers._extrapolation import cancelling
from polytask.solvers.accelerated import carried_on, row_scales
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.objective import Objective

# Steps are this many times 1 / curvature: below 2 the plain iteration still contracts.
_LONG = 1.7
# Lanczos may fall short of the largest curvature by as much.
_SHORTFALL = 1.02
_MEMORY = 10
# A certificate is asked for when the residual promises it and has fallen, or after so many steps.
_NEAR = 1.5
_FALLEN = 0.9
_MOST_BETWEEN = 15
# An extrapolated step may raise the residual by so much before it is taken back.
_WORSE = 2.0
_MOST_CHECKS_IDLE = 10


@saveable("solver.extrapolated_gradient")
@dataclass(frozen=True)
class ExtrapolatedGradient(Solver):
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

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        try:
            split = decompose(penalty)
        except IncompatibleError as error:
            return str(error)
        rough = split.proximable
        rows = isinstance(rough, RowSeparable) and not isinstance(rough, Parts)
        whole = isinstance(rough, Conjugate) and not rows
        if not whole or not datafit.is_quadratic or not penalty.strength:
            return (
                "ExtrapolatedGradient needs the squared loss and a convex penalty that is not a "
                "sum over rows, unless of parts, and has a strength > 0; got "
                f"{penalty!r}. Use AcceleratedGradient, or solver='auto'."
            )
        return ""

    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Minimise; see :meth:`Solver.solve`."""
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            found = _Run(objective).loop(tol, max_iter, start)
        return carried_on(found, datafit, penalty, tol, max_iter)


class Memory:
    """The last points that the plain step gave, and how far each had moved."""

    def __init__(self, size: int) -> None:
        self.points = np.zeros((_MEMORY, size))
        self.moves = np.zeros((_MEMORY, size))
        self.gram = np.zeros((_MEMORY, _MEMORY))
        self.count = 0

    def add(self, point: Array, move: Array) -> None:
        """Remember a step in place of the oldest."""
        k = self.count % _MEMORY
        self.points[k], self.moves[k] = point.ravel(), move.ravel()
        self.count += 1
        held = self.held
        self.gram[k, :held] = self.gram[:held, k] = self.moves[:held] @ self.moves[k]

    @property
    def held(self) -> int:
        """Number of steps remembered."""
        return min(self.count, _MEMORY)

    def combined(self) -> Array | None:
        """Return the affine combination of points whose moves nearly cancel."""
        if self.held < 2:
            return None
        weights = cancelling(self.gram[: self.held, : self.held])
        return None if weights is None else np.asarray(weights @ self.points[: self.held])

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0


@dataclass(frozen=True, eq=False)
class _Step:
    """A point, its prox with the evaluation there, and the point that a plain step gives."""

    point: Array
    W: Array
    at: Evaluation
    plain: Array
    scale: Array

    @property
    def move(self) -> Array:
        """How a plain step moves the point, in scaled coordinates."""
        return (self.plain - self.point) * self.scale

    @property
    def residual(self) -> float:
        """How far a plain step moves the point."""
        return float(np.linalg.norm(self.move))


@dataclass(frozen=True, eq=False)
class _Answer:
    """An iterate with its certificate."""

    W: Array
    at: Evaluation
    certificate: Certificate


class _Run:
    """One minimisation."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        scale = row_scales(objective)
        self.scale = scale[:, None]
        bound = objective.datafit.known_lipschitz(scale) * _SHORTFALL
        if objective.curved is not None:
            bound += objective.curved.curvature() / float(np.min(scale) ** 2)
        self.bound = max(bound, float(np.finfo(float).tiny))
        zero = np.zeros(objective.datafit.shape)
        first = self._residual(zero, objective.zero.gradient)
        self.first = objective.first_residual(first, self.bound)

    def _prox(self, point: Array, step: float) -> Array:
        rough = self.objective.rough
        if isinstance(rough, RowSeparable):
            steps = step / self.scale[:, 0] ** 2
            return np.asarray(rough.prox_rows(point, slice(None), steps))
        return point if rough is None else np.asarray(rough.prox(point, step))

    def _moved(self, W: Array, gradient: Array, step: float) -> Array:
        return np.asarray(W - step / self.scale**2 * gradient)

    def _residual(self, W: Array, gradient: Array) -> float:
        moved = self._prox(self._moved(W, gradient, 1.0 / self.bound), 1.0 / self.bound)
        return float(np.linalg.norm((W - moved) * self.scale)) * self.bound

    def _answer(self, W: Array, at: Evaluation, residual: float) -> _Answer:
        return _Answer(W, at, self.objective.certificate(W, at, residual, self.first))

    def _step(self, point: Array, intercept: Array | None) -> _Step:
        step = _LONG / self.bound
        W = self._prox(point, step)
        at = self.objective.smooth(W, intercept)
        return _Step(point, W, at, self._moved(W, at.gradient, step), self.scale)

    def _begin(self, W: Array, at: Evaluation) -> _Step:
        plain = self._moved(W, at.gradient, _LONG / self.bound)
        return _Step(W, W, at, plain, self.scale)

    def loop(self, tol: float, max_iter: int, start: Solution | None) -> Solution:
        """Iterate until the certificate is below the tolerance, or nothing moves any more."""
        W, at = self.objective.null.copy(), self.objective.zero
        if start is not None:
            W, at = start.W.copy(), self.objective.smooth(start.W, start.intercept)
        best = self._answer(W, at, self._residual(W, at.gradient))
        memory, n_iter, idle, lowest = Memory(W.size), 0, 0, np.inf
        now = self._begin(W, at)
        while best.certificate.relative > tol and n_iter < max_iter and idle < _MOST_CHECKS_IDLE:
            most = min(_MOST_BETWEEN, max_iter - n_iter)
            share = min(_NEAR * tol / best.certificate.relative, _FALLEN)
            now, taken = self._run(now, memory, share, most)
            n_iter += taken
            found = self._answer(now.W, now.at, now.residual * self.bound / _LONG)
            if found.certificate.relative < 0.999 * best.certificate.relative:
                best, idle = found, 0
                continue
            # Where the certificate rests, the objective may still fall; its value costs extra.
            value = self.objective.value(now.W, now.at)
            lower = value < lowest - 1e-14 * self.objective.reference
            lowest, idle = min(value, lowest), 0 if lower else idle + 1
        status = Status.MAX_ITER if n_iter >= max_iter else Status.STALLED
        if best.certificate.relative <= tol:
            status = Status.CONVERGED
        best = self._answer(best.W, best.at, self._residual(best.W, best.at.gradient))
        return self.objective.finish(best.W, best.at, best.certificate, status, n_iter)

    def _run(self, now: _Step, memory: Memory, share: float, most: int) -> tuple[_Step, int]:
        """Step until the residual has fallen to a share; a certificate costs as much as a step."""
        first = now.residual
        for k in range(1, most + 1):
            now = self._advance(now, memory)
            if now.residual <= share * first:
                return now, k
        return now, most

    def _advance(self, now: _Step, memory: Memory) -> _Step:
        memory.add(now.plain * self.scale, now.move)
        jump = memory.combined()
        if jump is not None:
            new = self._step(jump.reshape(now.W.shape) / self.scale, now.at.intercept)
            if new.residual <= _WORSE * now.residual:
                return new
            memory.clear()
        new = self._step(now.plain, now.at.intercept)
        if new.residual > now.residual * (1 + 1e-6):
            # A plain step never does that unless the curvature was underestimated.
            memory.clear()
            self.bound *= 1.1
        return new
