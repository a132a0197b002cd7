"""One driver for all solvers that take a smooth part and a part with a prox.

A solver says which problems it takes and by which method; the driver does the rest.

prepare
    The penalty is split once, the pair is accepted or refused before any work, and the null model
    is fitted: that of a penalty of any strength, in which free features alone count. Where it is
    the answer, the run ends here.
iterate
    The method begins at a start, or at the null model, and advances from iterate to iterate.
certify
    An iterate knows its duality gap or, without one, its residual: how far a proximal step moves
    it, relative to the null model. The best one so far is kept.
answer
    At the tolerance, at ``max_iter``, or after some rounds without progress, the best iterate
    becomes the solution; where the method stalled, another solver may go on from there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, rows_in_use
from polytask.exceptions import IncompatibleError
from polytask.messages import Text, message_of
from polytask.penalties import Penalty, RowSeparable, Split, decompose
from polytask.solvers.base import Certificate, Solution, Solver, Status, refuse_kinks
from polytask.solvers.objective import Minimand, Objective, first_violation

Index = NDArray[np.intp]

# A value that is lower by less than this share of the reference is rounding.
_ROUNDING = 1e-14
# A step may promise so little of its slope, and is halved so often.
_ARMIJO = 1e-4
_HALVINGS = 30


@dataclass(frozen=True, eq=False)
class Iterate:
    """A point of a method with its evaluation; what it is worth is computed when asked for."""

    # Shapes: W (n_features, n_columns). `extra` is what else belongs to the point.

    method: Method
    W: Array
    at: Evaluation
    extra: Any = None

    @cached_property
    def value(self) -> float:
        """The objective."""
        return self.method.objective.value(self.W, self.at)

    @cached_property
    def used(self) -> Index:
        """The rows that are not zero."""
        return rows_in_use(self.W)

    @cached_property
    def violation(self) -> Array:
        """How far the method would move from here."""
        return self.method.violation(self)

    @cached_property
    def gap(self) -> float | None:
        """The duality gap, None where there is none."""
        return self.method.gap(self)

    @cached_property
    def residual(self) -> float:
        """The length of the violation relative to that at the null model."""
        length, first = float(np.linalg.norm(self.violation)), self.method.first
        return length / first if first > 0 else length

    @cached_property
    def relative(self) -> float:
        """What a tolerance bounds; see :attr:`Certificate.relative`."""
        residual = self.residual if self.gap is None else np.inf
        return Certificate(self.gap, residual, self.method.objective.reference).relative

    @property
    def certificate(self) -> Certificate:
        """The gap with the residual, which costs a prox."""
        return Certificate(self.gap, self.residual, self.method.objective.reference)


class Round(NamedTuple):
    """What a method found when it advanced, None where it cannot, and in how many iterations."""

    found: Iterate | None
    n_iter: int
    # Whether it worked with more rows than before, which counts as progress.
    grew: bool = False


class Method(ABC):
    """One minimisation."""

    # After so many rounds that lower neither the certificate, to this share, nor the objective, by
    # more than this share of the reference, it has stalled.
    patience = 10
    progress = 0.999
    least_fall = _ROUNDING

    objective: Minimand
    # Length of the violation at the null model.
    first: float

    @abstractmethod
    def begin(self, start: Solution | None) -> Iterate:
        """Return the first iterate."""

    @abstractmethod
    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Go on from the last iterate for some of the iterations left."""

    @abstractmethod
    def violation(self, iterate: Iterate) -> Array:
        """Return how far the method would move from an iterate; zeros at an optimum."""

    @abstractmethod
    def gap(self, iterate: Iterate) -> float | None:
        """Return the duality gap of an iterate, None where there is none."""

    def answer(self, best: Iterate, status: Status, n_iter: int) -> Solution:
        """Return the solution."""
        return self.objective.finish(best.W, best.at, best.certificate, status, n_iter)

    def judged(self, W: Array, at: Evaluation) -> Iterate:
        """Return a point as an iterate."""
        return Iterate(self, W, at)

    def line_search(
        self,
        now: Iterate,
        evaluate: Callable[[Array, Array], Evaluation],
        step: Array,
        change: float,
        shift: Array | float = 0.0,
    ) -> tuple[Array, Evaluation] | None:
        """Go along a step as far as the objective falls by a share of the change promised."""
        # `shift` is by how much the intercepts should change with it, of shape (n_columns,).
        penalty = self.objective.penalty_value
        # Near the optimum values no longer tell steps apart, but gradients still do.
        rounding = _ROUNDING * max(abs(now.value), self.objective.reference)
        if not step.any() or not change <= rounding:
            return None
        length = 1.0
        for _ in range(_HALVINGS):
            W = now.W + length * step
            at = evaluate(W, now.at.intercept + length * shift)
            if at.value + penalty(W) <= now.value + _ARMIJO * length * change + rounding:
                return W, at
            length /= 2
        return None


class ProximalMethod(Method):
    """A minimisation that is judged by proximal steps."""

    objective: Objective

    def __init__(self, objective: Objective, curvature: Array) -> None:
        self.objective = objective
        nonsmooth = objective.nonsmooth
        self._prox_rows = nonsmooth.prox_rows if isinstance(nonsmooth, RowSeparable) else None
        self.use(curvature)

    def use(self, curvature: Array) -> None:
        """Judge by proximal steps of 1 / curvature. Shapes: curvature (n_features,)."""
        self.curvature = curvature
        null = Iterate(self, self.objective.null, self.objective.zero)
        length = float(np.linalg.norm(null.violation))
        self.first = first_violation(length, self.objective.reference)

    def begin(self, start: Solution | None) -> Iterate:
        """Begin at a start, or at the null model."""
        if start is None:
            return self.judged(self.objective.null.copy(), self.objective.zero)
        return self.fitted(self.objective.first(start), start.intercept)

    def fitted(self, W: Array, intercept: Array | None) -> Iterate:
        """Evaluate at a point whose free rows are put to their best."""
        return self.judged(*self.objective.fitted(W, self.objective.evaluate(W, intercept)))

    def forward(self, W: Array, gradient: Array, length: float = 1.0) -> Array:
        """Take a gradient step of length / curvature."""
        return np.asarray(W - (length / self.curvature)[:, None] * gradient)

    def prox(self, point: Array, length: float = 1.0) -> Array:
        """Return the prox of the penalty at a point, with steps of length / curvature."""
        nonsmooth, steps = self.objective.nonsmooth, length / self.curvature
        if nonsmooth is None:
            return point
        if self._prox_rows is not None:
            return np.asarray(self._prox_rows(point, slice(None), steps))
        return np.asarray(nonsmooth.prox(point, float(steps[0]) if steps.size else 1.0))

    def violation(self, iterate: Iterate) -> Array:
        """Return how far a proximal step moves each row, in the metric of the curvature."""
        W = iterate.W
        move = W - self.prox(self.forward(W, iterate.at.gradient))
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", move, move) * self.curvature))

    def gap(self, iterate: Iterate) -> float | None:
        """Return the duality gap of an iterate, None where there is none."""
        return self.objective.gap(iterate.W, iterate.at)


def minimise(method: Method, tol: float, max_iter: int, start: Solution | None) -> Solution:
    """Advance until the best certificate is below the tolerance, or nothing gets better."""
    now = best = method.begin(start)
    n_iter, idle, lowest = 0, 0, np.inf
    while best.relative > tol and n_iter < max_iter and idle < method.patience:
        found, steps, grew = method.advance(now, tol, max_iter - n_iter)
        n_iter += steps
        if found is None:
            break
        better = grew or found.relative < method.progress * best.relative
        if not better:
            # Where the certificate rests the objective may still fall; its value may cost a lot.
            lowest = min(lowest, best.value)
            better = found.value < lowest - method.least_fall * method.objective.reference
            lowest = min(lowest, found.value)
        idle = 0 if better else idle + 1
        now, best = found, found if found.relative < best.relative else best
    status = Status.MAX_ITER if n_iter >= max_iter else Status.STALLED
    return method.answer(best, Status.CONVERGED if best.relative <= tol else status, n_iter)


def split_of(datafit: Datafit, penalty: Penalty) -> tuple[Split | None, Text]:
    """Return the parts of the penalty, None with the reason where no solver here can do."""
    if not datafit.is_smooth:
        return None, refuse_kinks(datafit)
    try:
        return decompose(penalty), ""
    except IncompatibleError as error:
        return None, message_of(error)


class SplitSolver(Solver):
    """A solver of problems with one smooth part and one part with a prox."""

    @abstractmethod
    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""

    @abstractmethod
    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""

    def fallback(self, datafit: Datafit, penalty: Penalty) -> Solver | None:
        """Return what goes on where the method stalled."""
        return None

    def followed(
        self,
        datafit: Datafit,
        penalty: Penalty,
        tol: float,
        max_iter: int,
        start: Solution | None,
    ) -> Solution | None:
        """Go from a start that is near at one go; None where this cannot be done."""
        return None

    def accepts(self, datafit: Datafit, penalty: Penalty) -> Text:
        """Return why the pair is impossible, or an empty string."""
        split, refusal = split_of(datafit, penalty)
        return refusal if split is None else self.refusal(datafit, penalty, split)

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
        near = self.followed(datafit, penalty, tol, max_iter, start)
        if near is not None and near.status.ok:
            return near
        start = near or start
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.is_trivial:
                return objective.trivial_solution()
            found = minimise(self.method(objective, tol), tol, max_iter, start)
        stalled = found.status is Status.STALLED
        other = self.fallback(datafit, penalty) if stalled else None
        if other is None:
            return found
        left = max(max_iter - found.n_iter, 1)
        return nearer(found, other.solve(datafit, penalty, tol=tol, max_iter=left, start=found))


def nearer(found: Solution, other: Solution) -> Solution:
    """Return the better of an answer and of what another solver made of it, with all effort."""
    better = other.status.ok or other.certificate.relative < found.certificate.relative
    seconds = found.seconds + other.seconds
    return replace(other if better else found, n_iter=found.n_iter + other.n_iter, seconds=seconds)
