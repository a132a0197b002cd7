"""Splitting between the parts of W and the squared loss, each solved exactly in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation, SquaredStatistics
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.penalties import Conjugate, Penalty
from polytask.penalties.decomposition import Prepared
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.gradient import ExtrapolatedGradient, Memory
from polytask.solvers.objective import Objective, StackedDatafit

# The step, in units of 1 / (mean curvature of a feature).
_STEP = 2.0
# Steps between two certificates, each of which costs as much as a step.
_CHECK_EVERY = 4
_MOST_CHECKS_IDLE = 15
# Systems are solved to this share of their right side, in so many corrections.
_EXACT = 1e-11
_MOST_CORRECTIONS = 12
# One decomposition for each design must stay cheap.
_MOST_PRODUCTS = 3e8


@saveable("solver.parts_splitting")
@dataclass(frozen=True)
class PartsSplitting(Solver):
    """Takes turns between the penalties of parts and the squared loss of their sum."""

    # The prox of the loss is a linear system whose matrices are decomposed once; after it, the
    # conditioning of the features hardly matters. The turns (Douglas and Rachford) are
    # extrapolated. For parts on top of each other, from sufficient statistics; what is left when
    # it rests goes to :class:`ExtrapolatedGradient`.

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        if _decomposable(datafit) and isinstance(penalty, Prepared):
            split = penalty.split()
            if split.smooth is None and isinstance(split.proximable, Conjugate):
                return ""
        return (
            "PartsSplitting needs the squared loss of few features from sufficient statistics, "
            "and parts without smooth terms. Use PartsGradient, or solver='auto'."
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
        if refusal or not isinstance(datafit, StackedDatafit):
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            found = _Run(datafit, objective).loop(tol, max_iter, start)
        if found.status is not Status.STALLED:
            return found
        most = max(max_iter - found.n_iter, 1)
        solve = partial(ExtrapolatedGradient().solve, datafit, penalty, tol=tol, max_iter=most)
        return _joined(found, solve(start=found))


def _joined(found: Solution, other: Solution) -> Solution:
    """Return the nearer of two answers, with the effort of both."""
    nearer = other.status.ok or other.certificate.relative < found.certificate.relative
    best = other if nearer else found
    seconds = found.seconds + other.seconds
    return replace(best, n_iter=found.n_iter + other.n_iter, seconds=seconds)


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


@dataclass(frozen=True, eq=False)
class _Turn:
    """A point, the parts that are its prox, and how far the point moves."""

    point: Array
    parts: Array
    move: Array

    @property
    def length(self) -> float:
        """The length of the move."""
        return float(np.linalg.norm(self.move))


@dataclass(frozen=True, eq=False)
class _Answer:
    """Parts with their evaluation and their certificate."""

    parts: Array
    at: Evaluation
    certificate: Certificate


class _Run:
    """One minimisation."""

    def __init__(self, data: StackedDatafit, objective: Objective) -> None:
        self.data, self.objective = data, objective
        curvature = float(np.mean(data.datafit.feature_scale() ** 2))
        self.step = _STEP / curvature
        # The loss sees the sum of the parts, for which the step adds up.
        self.shift = 1.0 / (data.count * self.step)
        self.slope = data.datafit.origin.gradient
        self.hessian = data.datafit.origin.hessian
        self.inverse = data.datafit.origin.preconditioner(self.shift)
        self.bound = data.known_lipschitz(np.ones(data.shape[0])) * 1.02
        zero = np.zeros(data.shape)
        first = self._residual(zero, objective.zero.gradient)
        self.first = objective.first_residual(first, self.bound)

    def _prox(self, point: Array, step: float) -> Array:
        rough = self.objective.rough
        return point if rough is None else np.asarray(rough.prox(point, step))

    def _residual(self, parts: Array, gradient: Array) -> float:
        moved = self._prox(parts - gradient / self.bound, 1.0 / self.bound)
        return float(np.linalg.norm(parts - moved)) * self.bound

    def _solved(self, right: Array) -> Array:
        """Solve (Hessian + shift) W = right, by conjugate gradients from a near inverse."""
        # The inverse is exact but for what couples the tasks, intercepts of few groups, so few
        # corrections do.
        W = self.inverse(right)
        left = right - self.hessian(W) - self.shift * W
        wanted = _EXACT * float(np.linalg.norm(right))
        turned = way = self.inverse(left)
        square = float(np.sum(left * turned))
        for _ in range(_MOST_CORRECTIONS):
            if float(np.linalg.norm(left)) <= wanted or square <= 0:
                break
            image = self.hessian(way) + self.shift * way
            length = square / float(np.sum(way * image))
            W, left = W + length * way, left - length * image
            turned = self.inverse(left)
            last, square = square, float(np.sum(left * turned))
            way = turned + square / last * way
        return W

    def _turn(self, point: Array) -> _Turn:
        parts = self._prox(point, self.step)
        ahead = 2 * parts - point
        total = self.data.summed(ahead)
        W = self._solved(self.shift * total - self.slope)
        share = np.concatenate([(W - total) / self.data.count] * self.data.count)
        return _Turn(point, parts, ahead + share - parts)

    def _answer(self, parts: Array, intercept: Array | None) -> _Answer:
        at = self.objective.smooth(parts, intercept)
        # A gap needs no residual, which costs a prox: that of the last answer is enough.
        known = self.objective.certifiable
        residual = np.inf if known else self._residual(parts, at.gradient)
        return _Answer(parts, at, self.objective.certificate(parts, at, residual, self.first))

    def _finished(self, best: _Answer, status: Status, n_iter: int) -> Solution:
        residual = self._residual(best.parts, best.at.gradient)
        found = (best.parts, best.at)
        certificate = self.objective.certificate(*found, residual, self.first)
        return self.objective.finish(*found, certificate, status, n_iter)

    def loop(self, tol: float, max_iter: int, start: Solution | None) -> Solution:
        """Take turns until the certificate is below the tolerance, or nothing moves any more."""
        intercept = None if start is None else start.intercept
        best = self._answer(self.objective.first(start), intercept)
        memory, n_iter, idle = Memory(best.parts.size), 0, 0
        now = self._turn(best.parts - self.step * best.at.gradient)
        lowest = np.inf
        while best.certificate.relative > tol and n_iter < max_iter and idle < _MOST_CHECKS_IDLE:
            for _ in range(min(_CHECK_EVERY, max_iter - n_iter)):
                now = self._advanced(now, memory)
                n_iter += 1
            found = self._answer(now.parts, best.at.intercept)
            value = self.objective.value(now.parts, found.at)
            nearer = found.certificate.relative < 0.999 * best.certificate.relative
            lower = value < lowest - 1e-14 * self.objective.reference
            lowest, idle = min(lowest, value), 0 if nearer or lower else idle + 1
            best = found if nearer else best
        status = Status.MAX_ITER if n_iter >= max_iter else Status.STALLED
        if best.certificate.relative <= tol:
            status = Status.CONVERGED
        return self._finished(best, status, n_iter)

    def _advanced(self, now: _Turn, memory: Memory) -> _Turn:
        """Return the next turn, from the combination of the last ones where that is shorter."""
        plain = now.point + now.move
        memory.add(plain, now.move)
        jump = memory.combined()
        if jump is not None:
            ahead = self._turn(jump.reshape(plain.shape))
            if ahead.length <= now.length:
                return ahead
            memory.clear()
        return self._turn(plain)
