"""Primal-dual splitting: sums of penalties without a common prox, and nonsmooth losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polytask._registry import saveable
from polytask.datafits import (
    Datafit,
    Evaluation,
    FreeFeatures,
    InParts,
    PiecewiseLinearSamples,
)
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.messages import Text, message_of
from polytask.penalties import Composed, Conjugate, Penalty, Quadratic, RowSeparable
from polytask.penalties.base import NO_ROWS, about
from polytask.penalties.decomposition import Ridged, separate
from polytask.solvers._free_rows import FreeRows, Index
from polytask.solvers._splitting_map import (
    Extrapolated,
    NonsmoothSide,
    Point,
    Side,
    SmoothSide,
    Step,
    Steps,
)
from polytask.solvers.base import Certificate, Solution, Solver, Status, starting_point
from polytask.solvers.driver import Iterate, Method, Round, minimise
from polytask.solvers.objective import NOTHING, Minimand
from polytask.solvers.proximal_newton import full_accuracy, model_at, worthwhile


class SplitObjective(Minimand):
    """Data plus penalty, the penalty as a smooth part and parts with a prox each."""

    def __init__(self, datafit: Datafit, penalty: Penalty, side: Side) -> None:
        super().__init__(datafit, penalty)
        self.side = side
        self.split = separate(penalty)
        self.first, self.others = self.split.proximable, self.split.others
        self.steps = Steps(side, self.split.smooth, self.first, self.others, datafit.shape)
        zero = np.zeros(datafit.shape)
        reference = datafit.origin.value + self.penalty_value(zero)
        nothing = reference <= NOTHING * datafit.magnitude
        self.reference = 0.0 if nothing else reference
        self.is_trivial = nothing or self.is_flat
        self.free = self._free_features()
        quadratic = self.split.smooth is None or isinstance(self.split.smooth, Quadratic)
        known = (isinstance(term, Conjugate | Composed) for term in (self.first, *self.others))
        self.certifiable = quadratic and self.first is not None and all(known)

    @property
    def free_rows(self) -> Index:
        """The rows of W that nothing but smooth terms penalises, for losses with kinks."""
        return NO_ROWS if self.free is None else self.free.index

    def _free_features(self) -> FreeFeatures | None:
        # With a ridge the conjugate has no limits.
        if not isinstance(self.datafit, PiecewiseLinearSamples) or isinstance(self.first, Ridged):
            return None
        index = self.penalty.unpenalised
        if self.penalty.strength == 0 and not self.penalty.binds_signs:
            index = np.arange(self.datafit.shape[0])
        return FreeFeatures(self.datafit, index) if index.size else None

    def evaluate(self, point: Point) -> Evaluation:
        """Evaluate at a point, with the gradient of a dual point that a gap can be made of."""
        at = None
        if self.free is not None:
            smooth, index = self.split.smooth, self.free.index
            none = np.zeros((len(index), self.datafit.shape[1]))
            goal = none if smooth is None else -smooth.gradient(point.W)[index]
            at = self.free.evaluate(point.W, point.u, goal, self._fitted_rest(point.W))
        return self.side.evaluate(point.W, point.b, point.u) if at is None else at

    def _fitted_rest(self, W: Array) -> Evaluation | None:
        """Evaluate the losses without kinks with the features that nothing penalises fitted."""
        rest = self.free.datafit.rest if self.free is not None else None
        if self.free is None or rest is None or self.split.smooth is not None:
            return None
        rows = FreeRows(rest, self.free.index, None, None)
        return rows.fitted(W, rest.evaluate(W), rest.evaluate)[1]

    def allowed(self, W: Array) -> Array:
        """Return W brought into what terms after the first allow; their bounds all contain 0."""
        for term in self.others:
            if term.forbids and isinstance(term, RowSeparable):
                W = np.asarray(term.prox(W, 0.0))
            elif term.forbids:
                W = W * term.allowed_share(W)
        return W

    def penalty_value(self, W: Array) -> float:
        """Return the value of all parts of the penalty at W."""
        parts = (self.split.smooth, self.first, *self.others)
        return float(sum(part.value(W) for part in parts if part is not None))

    def gap(self, W: Array, at: Evaluation, point: Point) -> float | None:
        """Return the duality gap of W with the dual variables of a point."""
        # What they lack of minus the gradient is given to one of them, the one that makes the
        # gap smallest.
        if not self.certifiable or point.first is None:
            return None
        smooth = self.split.smooth
        gradient = at.gradient if smooth is None else at.gradient + smooth.gradient(W)
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
            yield -at.conjugate(c) - self._smooth_conjugate(W, c) - sum(parts) - maps(c)

    def _smooth_conjugate(self, W: Array, c: float) -> float:
        """Return the conjugate of the smooth part of the penalty at c times its gradient."""
        smooth = self.split.smooth
        if smooth is None:
            return 0.0
        value = float(smooth.value(W))
        return c * (float(np.sum(smooth.gradient(W) * W)) - 2.0 * value) + c * c * value

    def exact_differences(self, point: Point) -> Array | None:
        """Return W with differences made zero where a composed term says they are, or None."""
        W = point.W
        for term, moved in zip(self.others, point.moved, strict=True):
            if isinstance(term, Composed):
                W = np.asarray(term.settled(W, moved))
        return None if W is point.W else W

    def known_point(self, start: Solution | None) -> tuple[Point, float]:
        """Return where to begin: at a start, with its dual variables and its step, or at 0."""
        b, u = self.side.start(self.datafit.origin.intercept, None)
        nowhere = self.steps.nowhere(b, u)
        if start is None:
            return nowhere, np.inf
        b, u = self.side.start(start.intercept, None)
        there = replace(nowhere, W=start.W.copy(), b=b, u=u)
        *duals, b, u, step = start.memory or (*nowhere.known, b, u, np.zeros(0))
        wanted = [part.shape for part in (*nowhere.known, nowhere.b, nowhere.u, np.zeros(1))]
        if [part.shape for part in (*duals, b, u, step)] != wanted:
            return there, np.inf
        first, others = (duals[0], duals[1:]) if nowhere.first is not None else (None, duals)
        return Point(start.W.copy(), b, first, others, others, u), float(step[0])

    def judged(self, method: Method, point: Point) -> Iterate:
        """Return a point as an iterate of a method."""
        W = self.allowed(point.W)
        point = point if W is point.W else replace(point, W=W)
        return Iterate(method, W, self.evaluate(point), point)

    def solution(
        self, point: Point, at: Evaluation, certificate: Certificate, status: Status, n_iter: int
    ) -> Solution:
        """Return the solution, which remembers the dual variables."""
        found = self.finish(point.W.copy(), at, certificate, status, n_iter)
        memory = (*point.known, point.b, point.u, np.array([self.steps.step]))
        return replace(found, memory=memory)

    def trivial_solution(self) -> Solution:
        """Return the answer W = 0 of a problem that it solves."""
        origin = self.datafit.origin
        point = self.steps.nowhere(*self.side.start(origin.intercept, None))
        certificate = Certificate(0.0 if self.certifiable else None, 0.0, self.reference)
        return self.solution(point, origin, certificate, Status.CONVERGED, 0)


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
    its zeros are exact. Of rows that are read in parts it solves the quadratic of each step of
    Newton's method.

    References
    ----------
    M. Yan, "A new primal-dual algorithm for minimizing the sum of three functions with a linear
    operator", Journal of Scientific Computing 76 (2018), equation 4.
    D. Davis and W. Yin, "A three-operator splitting scheme and its optimization applications",
    Set-Valued and Variational Analysis 25 (2017), algorithm 1.
    """

    few_passes = True

    def accepts(self, datafit: Datafit, penalty: Penalty) -> Text:
        """Return why the pair is impossible, or an empty string."""
        try:
            split = separate(penalty)
        except IncompatibleError as error:
            return message_of(error)
        if split.others or not datafit.is_smooth:
            return ""
        return about(penalty, "solver.refusal.not_split")

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
            side: Side = SmoothSide(datafit)
            if isinstance(datafit, PiecewiseLinearSamples):
                side = NonsmoothSide(datafit)
            objective = SplitObjective(datafit, penalty, side)
            if objective.is_trivial:
                return objective.trivial_solution()
            if isinstance(datafit, InParts):
                return minimise(_NewtonSteps(objective, self), tol, max_iter, start)
            return minimise(_Splitting(objective, side, tol), tol, max_iter, start)


class _Splitting(Method):
    """Steps of the fixed-point map; the point of each belongs to its iterate."""

    patience = 300

    objective: SplitObjective

    def __init__(self, objective: SplitObjective, side: Side, tol: float) -> None:
        self.objective, self.side, self.tol = objective, side, tol
        self.steps = objective.steps
        self.path = Extrapolated(self.steps)
        self.last: tuple[Array, Array] | None = None
        self.done, self.balance = 0, _FIRST_BALANCE

    def begin(self, start: Solution | None) -> Iterate:
        """Begin at a start, with its dual variables if it has them, or at zero."""
        point, step = self.objective.known_point(start)
        if step < np.inf:
            self.steps.use(step)
        self.first = self._first_length()
        self.now = self._step_at(point)
        return self.objective.judged(self, point)

    def _first_length(self) -> float:
        """Return the length of a step at W = 0, which that of others is compared with."""
        origin = self.objective.datafit.origin
        return self._step_at(self.steps.nowhere(*self.side.start(origin.intercept, None))).length

    def _step_at(self, point: Point) -> Step:
        return self.steps.step_from(self.steps.state_of(point))

    def gap(self, iterate: Iterate) -> float | None:
        """Return the gap that the dual variables give."""
        return self.objective.gap(iterate.W, iterate.at, iterate.extra)

    def violation(self, iterate: Iterate) -> Array:
        """Return the step from the point."""
        return self._step_at(iterate.extra).move

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Take some steps."""
        steps = min(_CHECK_EVERY, left)
        for _ in range(steps):
            self._step()
        self.done += steps
        if self.done >= self.balance:
            self.balance *= 2
            self._balance()
        return Round(self.objective.judged(self, self.now.point), steps)

    def _step(self) -> None:
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
        if self.steps.curvature == 0:
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
        if seen - noise * np.sqrt(length) > _GROWTH * self.steps.curvature * length:
            self.steps.curvature = _GROWTH * seen / length
            self._change(self.now.point, self.steps.step)

    def _change(self, point: Point, step: float) -> None:
        """Go on from a point with other steps."""
        self.steps.use(step)
        self.path.forget()
        self.first = self._first_length()
        self.now = self._step_at(point)

    def answer(self, best: Iterate, status: Status, n_iter: int) -> Solution:
        """Return the solution, with differences that are exactly zero, if that is as good."""
        W = self.objective.exact_differences(best.extra)
        if W is not None:
            found = self.objective.judged(self, replace(best.extra, W=W))
            best = found if found.relative <= max(self.tol, best.relative) else best
        return self.objective.solution(best.extra, best.at, best.certificate, status, n_iter)


class _NewtonSteps(Method):
    """Steps to the minimum of the local quadratic plus the penalty, with its dual variables."""

    patience = 5
    progress = 0.5

    objective: SplitObjective

    def __init__(self, objective: SplitObjective, solver: Splitting) -> None:
        self.objective, self.solver = objective, solver
        self.inner: Solution | None = None

    def begin(self, start: Solution | None) -> Iterate:
        """Begin at a start, with its dual variables if it has them, or at zero."""
        self.inner = start
        origin = self.objective.judged(self, self.objective.known_point(None)[0])
        self.first = float(np.linalg.norm(self.violation(origin)))
        if start is None:
            return origin
        return self.objective.judged(self, self.objective.known_point(start)[0])

    def gap(self, iterate: Iterate) -> float | None:
        """Return the gap that the dual variables give."""
        return self.objective.gap(iterate.W, iterate.at, iterate.extra)

    def violation(self, iterate: Iterate) -> Array:
        """Return the step of the splitting, which the local quadratic takes alike."""
        side = SmoothSide(model_at(self.objective.datafit, iterate))
        steps = self.objective.steps.beside(side)
        return steps.step_from(steps.state_of(iterate.extra)).move

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Take a step, as far as the objective falls."""
        datafit, penalty = self.objective.datafit, self.objective.penalty
        assert isinstance(datafit, InParts)
        inner = self.solver.solve(
            model_at(datafit, now),
            penalty,
            tol=full_accuracy(tol),
            max_iter=worthwhile(datafit, now, left),
            start=self.inner or starting_point(now.W, now.at.intercept),
        )
        self.inner, n_iter = inner, max(inner.n_iter, 1)
        value, step = self.objective.penalty_value, inner.W - now.W
        change = float(np.sum(now.at.gradient * step)) + value(inner.W) - value(now.W)
        shift = inner.intercept - now.at.intercept
        found = self.line_search(now, datafit.evaluate, step, change, shift)
        duals = self.objective.known_point(inner)[0]
        if found is not None:
            return Round(Iterate(self, *found, replace(duals, W=found[0])), n_iter)
        # The same point with better intercepts, unless they are at their best.
        at = datafit.refined(now.W)
        return Round(None if at is None else replace(now, at=at), n_iter)

    def answer(self, best: Iterate, status: Status, n_iter: int) -> Solution:
        """Return the solution."""
        return self.objective.solution(best.extra, best.at, best.certificate, status, n_iter)


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
