"""Primal-dual splitting: sums of penalties without a common prox, and nonsmooth losses."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation, FreeFeatures, KinkedSamples
from polytask.datafits.base import Array, too_large
from polytask.exceptions import IncompatibleError
from polytask.penalties import Composed, Conjugate, NullStrength, Penalty, Quadratic
from polytask.penalties.decomposition import Ridged, separate
from polytask.solvers._free_rows import FreeRows, null_gradient
from polytask.solvers._splitting_map import (
    Extrapolated,
    KinkedSide,
    Point,
    Side,
    SmoothSide,
    Step,
    Steps,
)
from polytask.solvers.base import Certificate, Solution, Solver, Status

# An objective at W = 0 below this share of that without intercepts is rounding.
_NOTHING = 1e-26


class SplitObjective:
    """Data plus penalty, the penalty as a smooth part and parts with a prox each."""

    def __init__(self, datafit: Datafit, penalty: Penalty, side: Side) -> None:
        self.started = time.perf_counter()
        self.datafit = datafit
        self.penalty = penalty
        self.side = side
        self.split = separate(penalty)
        self.first, self.others = self.split.proximable, self.split.others
        self.steps = Steps(side, self.split.smooth, self.first, self.others, datafit.shape)
        zero = np.zeros(datafit.shape)
        reference = datafit.origin.value + self.penalty_value(zero)
        nothing = reference <= _NOTHING * datafit.magnitude
        self.reference = 0.0 if nothing else reference
        self.settled = nothing or self._is_flat()
        self.free = self._free_features()
        quadratic = self.split.smooth is None or isinstance(self.split.smooth, Quadratic)
        self.certifiable = quadratic and isinstance(self.first, Conjugate)

    def _is_flat(self) -> bool:
        """Whether every feature is constant, so that intercepts do all that W could do."""
        return self.penalty.null_point is None and not self.datafit.feature_scale().any()

    def _free_features(self) -> FreeFeatures | None:
        """Return the features that nothing but smooth terms penalises, for losses with kinks."""
        # With a ridge the conjugate has no limits.
        if not isinstance(self.datafit, KinkedSamples) or isinstance(self.first, Ridged):
            return None
        index = self.penalty.unpenalised
        if self.penalty.strength == 0 and not self.penalty.binds_signs:
            index = np.arange(self.datafit.shape[0])
        return FreeFeatures(self.datafit, index) if index.size else None

    def evaluate(self, point: Point) -> Evaluation:
        """Evaluate at a point, with the gradient of a dual point that a gap can be made of."""
        at = None
        if self.free is not None:
            curved, index = self.split.smooth, self.free.index
            none = np.zeros((len(index), self.datafit.shape[1]))
            goal = none if curved is None else -curved.gradient(point.W)[index]
            at = self.free.evaluate(point.W, point.u, goal, self._fitted_rest(point.W))
        return self.side.evaluate(point.W, point.b, point.u) if at is None else at

    def _fitted_rest(self, W: Array) -> Evaluation | None:
        """Evaluate the losses without kinks with the features that nothing penalises fitted."""
        rest = self.free.datafit.rest if self.free is not None else None
        if self.free is None or rest is None or self.split.smooth is not None:
            return None
        rows = FreeRows(rest, self.free.index, None, None)
        return rows.fitted(W, rest.evaluate(W), rest.evaluate)[1]

    def penalty_value(self, W: Array) -> float:
        """Return the value of all parts of the penalty at W."""
        parts = (self.split.smooth, self.first, *self.others)
        return float(sum(part.value(W) for part in parts if part is not None))

    def value(self, W: Array, at: Evaluation) -> float:
        """Return the value of the objective; DataError if it is not finite."""
        value = at.value + self.penalty_value(W)
        if not np.isfinite(value):
            raise too_large()
        return value

    def gap(self, W: Array, at: Evaluation, point: Point) -> float | None:
        """Return the duality gap of W with the dual variables of a point."""
        # What they lack of minus the gradient is given to one of them, the one that makes the
        # gap smallest.
        if not self.certifiable or point.first is None:
            return None
        curved = self.split.smooth
        gradient = at.gradient if curved is None else at.gradient + curved.gradient(W)
        lack = -gradient - point.first - self.steps.pulled(point.duals)
        terms = [self.first, *self.others]
        duals = [point.first, *point.duals]
        dual = max(self._dual_values(W, at, terms, duals, lack), default=-np.inf)
        gap = at.value + self.penalty_value(W) - dual
        return float("inf") if np.isnan(gap) else max(float(gap), 0.0)

    def _dual_values(
        self, W: Array, at: Evaluation, terms: Sequence[object], duals: list[Array], lack: Array
    ) -> Iterator[float]:
        """Yield the dual objective with the lack given to each term in turn."""
        known = [
            (term, dual)
            for term, dual in zip(terms, duals, strict=True)
            if isinstance(term, Conjugate)
        ]
        scales = [term.feasible_scale(dual) for term, dual in known]
        pairs = list(zip(terms, duals, strict=True))

        def maps(c: float) -> float:
            return sum(t.dual_value(c * dual) for t, dual in pairs if isinstance(t, Composed))

        for k, (term, dual) in enumerate(known):
            whole = dual + lack
            rest = [scale for i, scale in enumerate(scales) if i != k]
            c = min(1.0, term.feasible_scale(whole), *rest)
            parts = [t.conjugate(c * (whole if i == k else d)) for i, (t, d) in enumerate(known)]
            yield -at.conjugate(c) - self._curved_conjugate(W, c) - sum(parts) - maps(c)

    def _curved_conjugate(self, W: Array, c: float) -> float:
        """Return the conjugate of the smooth part of the penalty at c times its gradient."""
        curved = self.split.smooth
        if curved is None:
            return 0.0
        value = float(curved.value(W))
        return c * (float(np.sum(curved.gradient(W) * W)) - 2.0 * value) + c * c * value

    def settle(self, point: Point) -> Array | None:
        """Return W with differences made exactly zero where a composed term says so, or None."""
        W = point.W
        for term, moved in zip(self.others, point.moved, strict=True):
            if isinstance(term, Composed):
                W = np.asarray(term.settled(W, moved))
        return None if W is point.W else W

    def finish(
        self, point: Point, at: Evaluation, certificate: Certificate, status: Status, n_iter: int
    ) -> Solution:
        """Return the solution; an answer of zeros tells where coefficients appear."""
        null, strength = self._null_strength(point.W), self.penalty.strength
        # Closer to its null strength than the tolerance tells, the answer is zero for the
        # tolerance, not for the penalty.
        if status.ok and null is not None and strength is not None and strength >= null:
            status = Status.PENALISED_ZERO if point.W.any() else Status.ALL_ZERO
        return Solution(
            W=point.W.copy(),
            intercept=at.intercept.copy(),
            objective=self.value(point.W, at),
            certificate=certificate,
            status=status,
            n_iter=n_iter,
            seconds=time.perf_counter() - self.started,
            null_strength=null,
            memory=(*point.known, point.b, point.u, np.array([self.steps.step])),
        )

    def _null_strength(self, W: Array) -> float | None:
        penalty = self.penalty
        held = W if self.free is None else np.delete(W, self.free.index, axis=0)
        if held.any() or penalty.null_point is not None or not isinstance(penalty, NullStrength):
            return None
        if self._is_flat() or not penalty.strength:
            return None
        return float(penalty.null_strength(null_gradient(self.datafit, penalty)))

    def rest(self) -> Solution:
        """Return the answer W = 0 of a settled objective."""
        origin = self.datafit.origin
        b, u = self.side.start(origin.intercept, None)
        gap = 0.0 if self.certifiable else None
        certificate = Certificate(gap, 0.0, self.reference)
        point = self.steps.nowhere(b, u)
        return self.finish(point, origin, certificate, Status.CONVERGED, 0)


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
