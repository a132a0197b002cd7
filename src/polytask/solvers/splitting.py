"""Primal-dual splitting: sums of penalties without a common prox, and losses with kinks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation, KinkedSamples
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty
from polytask.penalties.decomposition import separate
from polytask.solvers._splitting_gap import SplitObjective
from polytask.solvers._splitting_path import Extrapolated
from polytask.solvers._splitting_rows import KinkedSide
from polytask.solvers._splitting_sides import Side, SmoothSide
from polytask.solvers._splitting_steps import Point, Step
from polytask.solvers.base import Certificate, Solution, Solver, Status

_CHECK_EVERY = 10
_PATIENCE = 300
# Where gradients show more curvature than is in use, the step is shortened accordingly.
_GROWTH = 1.05
# Primal and dual steps are balanced after so many steps, and after each doubling, where the
# balance is off by more than a factor.
_FIRST_BALANCE = 40
_UNEVEN = 1.5


@saveable("solver.splitting")
@dataclass(frozen=True)
class Splitting(Solver):
    """Primal-dual splitting for sums of penalties whose common prox is not known.

    Every term of the penalty takes its own prox, and has its own dual variable; the smooth
    part takes a gradient. The fixed-point map is that of PD3O, extrapolated (Anderson
    acceleration) while that shortens the steps. The dual variables give the duality gap: their
    sum, up to a remainder that one of them takes over, is minus the gradient. The coefficients
    are those that the prox of the first term returned, a term of rows if there is one, so that
    its zeros are exact.

    References
    ----------
    M. Yan, "A new primal-dual algorithm for minimizing the sum of three functions with a linear
    operator", Journal of Scientific Computing 76 (2018), equation 4.
    D. Davis and W. Yin, "A three-operator splitting scheme and its optimization applications",
    Set-Valued and Variational Analysis 25 (2017), algorithm 1.
    """

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        try:
            split = separate(penalty)
        except IncompatibleError as error:
            return f"Splitting needs convex terms: {error}"
        if split.others or not datafit.is_smooth:
            return ""
        return (
            "Splitting is for penalties that have no proximal operator as a whole; "
            f"{penalty!r} has one. Use AcceleratedGradient, or solver='auto'."
        )

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
            side = _side_of(datafit)
            objective = SplitObjective(datafit, penalty, side)
            if objective.settled:
                return objective.rest()
            return _Run(objective, side, start).loop(tol, max_iter)


def _side_of(datafit: Datafit) -> Side:
    return KinkedSide(datafit) if isinstance(datafit, KinkedSamples) else SmoothSide(datafit)


@dataclass(frozen=True, eq=False)
class _Answer:
    """A point with its evaluation and its certificate."""

    point: Point
    at: Evaluation
    certificate: Certificate


class _Run:
    """One minimisation."""

    def __init__(self, objective: SplitObjective, side: Side, start: Solution | None) -> None:
        self.objective = objective
        self.side = side
        self.steps = objective.steps
        self.path = Extrapolated(self.steps)
        self.last: tuple[Array, Array] | None = None
        self.point = self._first(start)
        self.first = self._first_length()
        self.now = self.steps.step_from(self.steps.state_of(self.point))

    def _first(self, start: Solution | None) -> Point:
        """Return the point of a start, with its dual variables if it has them, or zero."""
        origin = self.objective.datafit.origin
        b, u = self.side.start(origin.intercept, None)
        nowhere = self.steps.nowhere(b, u)
        if start is None:
            return nowhere
        b, u = self.side.start(start.intercept, None)
        there = replace(nowhere, W=start.W.copy(), b=b, u=u)
        *duals, b, u, step = start.memory or (*nowhere.known, b, u, np.zeros(0))
        wanted = [part.shape for part in (*nowhere.known, nowhere.b, nowhere.u, np.zeros(1))]
        if [part.shape for part in (*duals, b, u, step)] != wanted:
            return there
        self.steps.use(float(step[0]))
        first, others = (duals[0], duals[1:]) if nowhere.first is not None else (None, duals)
        return Point(start.W.copy(), b, first, others, others, u)

    def _first_length(self) -> float:
        """Return the length of a step at W = 0, which that of others is compared with."""
        origin = self.objective.datafit.origin
        return self._length_at(self.steps.nowhere(*self.side.start(origin.intercept, None)))

    def _answer(self, now: Step) -> _Answer:
        # The length of the last step is that of an extrapolated state; without a gap it counts.
        exact = self.objective.certifiable
        return self._judged(now.point, now.length if exact else self._length_at(now.point))

    def _length_at(self, point: Point) -> float:
        return self.steps.step_from(self.steps.state_of(point)).length

    def _judged(self, point: Point, length: float) -> _Answer:
        at = self.objective.evaluate(point)
        residual = length / self.first if self.first > 0 else length
        gap = self.objective.gap(point.W, at, point)
        return _Answer(point, at, Certificate(gap, residual, self.objective.reference))

    def loop(self, tol: float, max_iter: int) -> Solution:
        """Step until the certificate is below the tolerance, or nothing moves any more."""
        best, n_iter = self._judged(self.point, self.now.length), 0
        idle, balance = 0, _FIRST_BALANCE
        while best.certificate.relative > tol and n_iter < max_iter and idle < _PATIENCE:
            for _ in range(min(_CHECK_EVERY, max_iter - n_iter)):
                self._advance()
                n_iter += 1
            if n_iter >= balance:
                balance *= 2
                self._balance()
            found = self._answer(self.now)
            nearer = found.certificate.relative < 0.999 * best.certificate.relative
            idle = 0 if nearer else idle + 1
            if found.certificate.relative < best.certificate.relative:
                best = found
        status = Status.MAX_ITER if n_iter >= max_iter else Status.STALLED
        if best.certificate.relative <= tol:
            status = Status.CONVERGED
        best = self._settled(best, tol)
        return self.objective.finish(best.point, best.at, best.certificate, status, n_iter)

    def _advance(self) -> None:
        """Take a step, and shorten it where the curvature turned out larger."""
        before = self.now
        self.now = self.path.next(before)
        if not np.isfinite(self.now.length):
            self._change(before.point, 0.25 * self.steps.step)
            return
        self._watch_curvature()

    def _balance(self) -> None:
        """Use the step that suits what the variables have become, if it is another one."""
        point = self.now.point
        step = self.side.balanced_step(point.W, point.b, point.u)
        if step is not None and not 1 / _UNEVEN <= step / self.steps.step <= _UNEVEN:
            self._change(point, step)

    def _watch_curvature(self) -> None:
        """Shorten the steps where the curvature between two points exceeds what is in use."""
        if self.steps.bend == 0:
            return
        W = self.now.point.W
        gradient = self.side.slope(W, self.now.point.b).W
        last, self.last = self.last, (W, gradient)
        if last is None:
            return
        move = W - last[0]
        length = float(np.sum(move * move))
        seen = float(np.sum(move * (gradient - last[1])))
        noise = 100 * self.objective.datafit.precision * float(np.linalg.norm(gradient))
        if seen - noise * np.sqrt(length) > _GROWTH * self.steps.bend * length:
            self.steps.bend = _GROWTH * seen / length
            self._change(self.now.point, self.steps.step)

    def _change(self, point: Point, step: float) -> None:
        """Go on from a point with other steps."""
        self.steps.use(step)
        self.path.forget()
        self.first = self._first_length()
        self.now = self.steps.step_from(self.steps.state_of(point))

    def _settled(self, best: _Answer, tol: float) -> _Answer:
        """Return the answer with differences that are exactly zero, if it is as good."""
        W = self.objective.settle(best.point)
        if W is None:
            return best
        point = replace(best.point, W=W)
        found = self._judged(point, self._length_at(point))
        limit = max(tol, best.certificate.relative)
        return found if found.certificate.relative <= limit else best


def label_derivatives(solution: Solution, n_labels: int) -> Array | None:
    """Return the derivatives of losses with kinks at an answer of :class:`Splitting`.

    A row on its kink has any derivative between two slopes; those of the dual variables are the
    ones that make the answer stationary.

    Parameters
    ----------
    solution : Solution
        The answer.
    n_labels : int
        How many labels its losses with kinks have.

    Returns
    -------
    ndarray of shape (n_labels,) or None
        None if the answer is of another solver, or was saved.
    """
    memory = solution.memory
    found = memory[-2] if len(memory) > 1 else None
    return found if found is not None and found.shape == (n_labels,) else None
