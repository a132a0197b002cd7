"""The solvers for W as a sum of parts: by gradients, or by a system for the squared loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from polytask._anderson import Anderson
from polytask._registry import saveable
from polytask.datafits import Datafit, SquaredStatistics
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage, Text, message_of
from polytask.penalties import (
    Conjugate,
    NullStrength,
    Parts,
    Penalty,
    Proximable,
    Smooth,
    Split,
    Sum,
)
from polytask.penalties.base import about
from polytask.penalties.decomposition import SplitPenalty
from polytask.penalties.parts_stack import stacked
from polytask.penalties.sums import add
from polytask.solvers._conjugate_gradients import conjugate_gradients
from polytask.solvers.base import Solution, Solver, refuse_kinks
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.gradient import SHORTFALL, AcceleratedGradient, ExtrapolatedGradient
from polytask.solvers.objective import Objective
from polytask.solvers.proximal_newton import ProximalNewton
from polytask.solvers.wrapped import StackedDatafit

# The step, in units of 1 / (mean curvature of a feature).
_STEP = 2.0
# Steps between two certificates, each of which costs as much as a step.
_CHECK_EVERY = 4
_MEMORY = 10
# Systems are solved to this share of their right side, in so many corrections.
_EXACT = 1e-11
_MOST_CORRECTIONS = 12
# One decomposition for each design must stay cheap.
_MOST_PRODUCTS = 3e8


@saveable("solver.parts_splitting")
@dataclass(frozen=True)
class PartsSplitting(SplitSolver):
    """Takes turns between the penalties of parts and the squared loss of their sum."""

    # The prox of the loss is a linear system whose matrices are decomposed once; after it, the
    # conditioning of the features hardly matters. The turns (Douglas and Rachford) are
    # extrapolated. For parts on top of each other, from sufficient statistics.

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        whole = isinstance(penalty, SplitPenalty) and isinstance(split.proximable, Conjugate)
        if whole and split.smooth is None and _decomposable(datafit):
            return ""
        return LazyMessage("solver.refusal.not_parts_splitting")

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Turns(objective)

    def fallback(self, datafit: Datafit, penalty: Penalty) -> Solver | None:
        """Return what takes steps along the gradient."""
        return ExtrapolatedGradient()


def _decomposable(datafit: Datafit) -> bool:
    """Say whether the matrices of a data term can be decomposed at little cost."""
    if not isinstance(datafit, StackedDatafit) or datafit.outside is not None:
        return False
    inner = datafit.datafit
    if not isinstance(inner, SquaredStatistics):
        return False
    d, columns = inner.shape
    matrices = columns if inner.mean_share.any() else len(inner.statistics.second)
    return matrices * float(d) ** 3 <= _MOST_PRODUCTS


class _Turn(NamedTuple):
    """The parts that are the prox of a point, where the point goes, and how far it moves."""

    parts: Array
    plain: list[Array]
    move: Array
    length: float


class _Turns(ProximalMethod):
    """Turns between the prox of the parts and that of the loss."""

    patience = 15

    def __init__(self, objective: Objective) -> None:
        data = objective.datafit
        assert isinstance(data, StackedDatafit)
        super().__init__(objective, objective.row_curvature(SHORTFALL))
        self.data = data
        self.step = _STEP / float(np.mean(data.datafit.feature_scale() ** 2))
        # The loss sees the sum of the parts, for which the step adds up.
        self.shift = 1.0 / (data.count * self.step)
        at = data.datafit.origin
        self.slope, self.hessian = at.gradient, at.hessian
        self.inverse = at.preconditioner(self.shift)

    def begin(self, start: Solution | None) -> Iterate:
        """Take the first turn."""
        found = super().begin(start)
        self.memory = Anderson(_MEMORY)
        self.now = self._turn([found.W - self.step * found.at.gradient])
        return found

    def _turn(self, where: list[Array]) -> _Turn:
        nonsmooth, data, point = self.objective.nonsmooth, self.data, where[0]
        parts = point if nonsmooth is None else np.asarray(nonsmooth.prox(point, self.step))
        ahead = 2 * parts - point
        total = data.summed(ahead)
        # The inverse is exact but for what couples the tasks, intercepts of few groups, so few
        # corrections do.
        W, _ = conjugate_gradients(
            lambda V: self.hessian(V) + self.shift * V,
            self.shift * total - self.slope,
            self.inverse,
            _EXACT,
            _MOST_CORRECTIONS,
        )
        share = np.concatenate([(W - total) / data.count] * data.count)
        move = ahead + share - parts
        return _Turn(parts, [point + move], move, float(np.linalg.norm(move)))

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Take some turns."""
        steps = min(_CHECK_EVERY, left)
        for _ in range(steps):
            # From the combination of the last turns where that is shorter.
            self.now, _ = self.memory.next(self.now, self._turn, self.now.length)
        parts = self.now.parts
        return Round(self.judged(parts, self.objective.evaluate(parts, now.at.intercept)), steps)


# For the parts on top of each other, in order of preference.
_INNER: tuple[Solver, ...] = (
    PartsSplitting(),
    ExtrapolatedGradient(),
    ProximalNewton(),
    AcceleratedGradient(),
)


# Parts this many times weaker than their null strength are approached from stronger ones.
_WEAK = 1e4


@dataclass(frozen=True, eq=False)
class _Task:
    """A penalty of parts as solvers of ordinary penalties see it."""

    parts: Parts
    datafit: StackedDatafit
    penalty: Any


@saveable("solver.parts_gradient")
@dataclass(frozen=True)
class PartsGradient(Solver):
    """Moves all parts of W at once, by a gradient method on the parts on top of each other.

    The data term of the stacked parts is that of their sum, the penalty is the sum of theirs,
    and the gap of the stack bounds how far the parts, and so W, are from the optimum. The
    solution holds the parts. Where the division of W is ambiguous, the parts are those that
    the iterations meet first. The squared loss takes extrapolated steps, other losses those of
    Newton's method where it is cheap, else accelerated ones.

    Parameters
    ----------
    inner : Solver or None, default=None
        The solver for the stack; None chooses.
    """

    inner: Solver | None = None
    few_passes = True

    def accepts(self, datafit: Datafit, penalty: Penalty) -> Text:
        """Return why the pair is impossible, or an empty string."""
        refusal = _refusal(penalty) or refuse_kinks(datafit)
        if refusal:
            return refusal
        try:
            task = _task(datafit, penalty)
        except IncompatibleError as error:
            return message_of(error)
        refusals = [s.accepts(task.datafit, task.penalty) for s in self._able]
        return "" if not all(refusals) else refusals[-1]

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
        at, spent, seconds = start, 0, 0.0
        for stage in _stronger(datafit, penalty) if start is None else ():
            at = self._solved(_task(datafit, stage), tol, max(max_iter - spent, 1), at)
            spent, seconds = spent + at.n_iter, seconds + at.seconds
        found = self._solved(_task(datafit, penalty), tol, max(max_iter - spent, 1), at)
        return replace(found, n_iter=found.n_iter + spent, seconds=found.seconds + seconds)

    def _solved(self, task: _Task, tol: float, max_iter: int, start: Solution | None) -> Solution:
        begin = None if start is None else replace(start, W=_stack_of(start, task))
        solver = self._chosen(task)
        found = solver.solve(task.datafit, task.penalty, tol=tol, max_iter=max_iter, start=begin)
        parts = tuple(part.copy() for part in task.datafit.parts(found.W))
        return replace(found, W=task.datafit.summed(found.W), parts=parts)

    def _chosen(self, task: _Task) -> Solver:
        return next(s for s in self._able if not s.accepts(task.datafit, task.penalty))

    @property
    def _able(self) -> tuple[Solver, ...]:
        """The solvers for the stack to choose from."""
        return _INNER if self.inner is None else (self.inner,)


def _members(penalty: Penalty) -> tuple[list[Parts], list[Penalty]]:
    """Return the parts among the terms of a penalty, and the other terms."""
    terms = penalty.members if isinstance(penalty, Sum) else (penalty,)
    parts = [term for term in terms if isinstance(term, Parts)]
    return parts, [term for term in terms if not isinstance(term, Parts)]


def _stronger(datafit: Datafit, penalty: Penalty) -> list[Penalty]:
    """Return penalties with stronger parts to begin with, by which weak ones are approached."""
    # A step moves a part by no more than its strength, so from zero it takes as many steps as that
    # is smaller than the part. The division of W between the parts hardly depends on the strength,
    # so ten times as strong ones lead there in a few.
    (parts,), others = _members(penalty)
    strength = parts.strength
    if not strength or not isinstance(parts, NullStrength):
        return []
    ratio = parts.null_strength(datafit.origin.gradient) / (_WEAK * strength)
    count = int(np.ceil(np.log10(ratio))) if 1.0 < ratio < np.inf else 0
    strengths = [10.0**k * strength for k in range(count, 0, -1)]
    return [add([parts.with_strength(own), *others]) for own in strengths]


def holds_parts(penalty: Penalty) -> bool:
    """Say whether some term of a penalty is one of parts."""
    return bool(_members(penalty)[0])


def _refusal(penalty: Penalty) -> Text:
    """Return why a penalty is not one of parts, or an empty string."""
    parts, others = _members(penalty)
    nonsmooth = [term for term in others if not isinstance(term, Smooth)]
    if len(parts) == 1 and not isinstance(parts[0], Proximable) and not nonsmooth:
        return ""
    if len(parts) == 1 and nonsmooth:
        fields = {"parts": repr(parts[0]), "other": repr(nonsmooth[0])}
        return LazyMessage("solver.refusal.parts_and_nonsmooth", fields)
    if len(parts) > 1:
        fields = {"parts": repr(parts[0]), "other": repr(parts[1])}
        return LazyMessage("solver.refusal.parts_twice", fields)
    return about(penalty, "solver.refusal.no_parts")


def _task(datafit: Datafit, penalty: Penalty) -> _Task:
    """Return the problem of the parts on top of each other."""
    (parts,), others = _members(penalty)
    smooth: Any = add(others) if others else None
    data = StackedDatafit(datafit, len(parts.members), smooth)
    return _Task(parts, data, stacked(parts, datafit.shape[0]))


def _stack_of(start: Solution, task: _Task) -> Array:
    """Return the parts of a start on top of each other; W of other solvers is the first part."""
    # Where parts are pulled to points, these are what they begin with.
    shape = task.datafit.datafit.shape
    if start.parts is not None and len(start.parts) == task.datafit.count:
        return np.concatenate(start.parts)
    points = [member.null_point for member in task.parts.members]
    begin = [np.zeros(shape) if p is None else np.array(p, dtype=float) for p in points]
    begin[0] = begin[0] + (start.W - sum(begin))
    return np.concatenate(begin)
