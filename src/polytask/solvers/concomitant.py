"""The square-root loss as squared losses whose noise levels are found along the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation, Rooted
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.block_descent import BlockDescent
from polytask.solvers.gradient import (
    AcceleratedGradient,
    ExtrapolatedGradient,
    cancelling,
    carried_on,
)
from polytask.solvers.newton import Newton
from polytask.solvers.objective import Objective, is_large_repeated, with_smooth
from polytask.solvers.proximal_newton import ProximalNewton
from polytask.solvers.separate_descent import SeparateDescent

_DEPTH = 5
# An extrapolated step may raise what noise levels still move by so much.
_WORSE = 1.5
# How far beyond a plain step, in units of that, and by a factor of e at most.
_FARTHEST = 10.0


class NoisePath:
    """Extrapolates the logarithms of noise levels."""

    # Shapes: least (n_columns,), owned (n_columns,).
    # The map from noise levels to those that are left is nearly linear in logarithms close to its
    # fixed point. Where an extrapolation made them move more than before, the next is plain.

    def __init__(self, least: Array, owned: NDArray[np.bool_]) -> None:
        self.least, self.owned = 0.5 * np.log(least), owned
        self.points: list[Array] = []
        self.moves: list[Array] = []

    def forget(self) -> None:
        """Forget all steps."""
        self.points, self.moves = [], []

    def next(self, sigma: Array, seen: Array) -> Array:
        """Return the noise levels to try after `sigma`, which left `seen`."""
        # Shapes: sigma, seen (n_columns,).
        plain = np.log(seen)
        move = np.where(self.owned, plain - np.log(sigma), 0.0)
        if self.moves and np.linalg.norm(move) > _WORSE * np.linalg.norm(self.moves[-1]):
            self.forget()
            return seen
        self.points, self.moves = [*self.points, plain][-_DEPTH:], [*self.moves, move][-_DEPTH:]
        steps = np.stack(self.moves)
        weights = cancelling(steps @ steps.T) if len(steps) > 1 else None
        if weights is None:
            return seen
        most = np.minimum(_FARTHEST * np.abs(move), 1.0)
        there = plain + np.clip(weights @ np.stack(self.points) - plain, -most, most)
        there = np.maximum(there, self.least)
        return np.where(self.owned, np.exp(there), 1.0)


# The least noise levels to begin with, in units of those of tasks with noise at W = 0, what
# they shrink by, and where that ends.
_FIRST = 1e-2
_SHRINK = 0.2
_LAST = 1e-6


class ExactTasks:
    """Tasks that an intercept fits exactly, where the root has a kink that holds them."""

    # Shapes: null (n_features, n_columns).
    # With one row, or targets that are all alike, the root of the mean square is a norm of the
    # coefficients, and holds them at zero against whatever pulls less than its slope. Noise levels
    # would fall to zero there, and squared losses have weights without bound. They are given a
    # least size s instead: a task fits exactly if what is left is below s, for then the residual
    # over s is a slope within the kink, and putting coefficients to zero costs s^2.

    def __init__(self, datafit: Rooted, null: Array) -> None:
        self.datafit = datafit
        left = datafit.sigma_at(null)
        noisy = left[datafit.owned & ~datafit.constant]
        self._unit = float(np.median(noisy)) if len(noisy) else 1.0
        self._share = _FIRST
        # An intercept of its own meets such targets, unless something pulls harder at it.
        self._alike = datafit.constant & (left <= _LAST * self._unit)

    @property
    def _least(self) -> float:
        return self._share * self._unit

    def tighten(self, sigma: Array) -> bool:
        """Let noise levels fall farther; say whether that is of any use."""
        # Shapes: sigma (n_columns,).
        if self._share <= _LAST or not self._held(sigma).any():
            return False
        self._share *= _SHRINK
        return True

    def _held(self, sigma: Array) -> NDArray[np.bool_]:
        return np.asarray(self._alike & (sigma <= self._least))

    def levels(self, sigma: Array) -> Array:
        """Return noise levels no smaller than they may be. Shapes: sigma (n_columns,)."""
        return np.where(self._alike, np.maximum(sigma, self._least), sigma)

    def at_rest(self, W: Array) -> NDArray[np.bool_]:
        """Return the columns that a kink holds. Shapes: W (n_features, n_columns)."""
        return self._held(self.datafit.sigma_at(W))


# What solves the squared losses, in order of preference.
_INNER: tuple[Solver, ...] = (
    Newton(),
    BlockDescent(),
    SeparateDescent(),
    ExtrapolatedGradient(),
    ProximalNewton(),
    AcceleratedGradient(),
)
# Compiled solvers are worth their start on large data, and where the weights of tasks differ by so
# much, for they take a step of its own for every task.
_COMPILED = (BlockDescent, SeparateDescent)
_UNEVEN = 30.0
# A squared loss is solved to this share of the certificate so far. Its gap is of second order in
# what its dual point lacks and that of a root of first order, so it has to be solved ever finer.
_FORCING = 0.05
_FINER = 0.01
_FINEST = 1e-14
_COARSEST = 0.1
_PATIENCE = 8
# Of what the certificate leaves open, a step may raise the objective by this share.
_RISE = 0.1
# A task whose noise has fallen below this share of that at W = 0 is fitted nearly exactly.
_EXACT = 1e-2


@saveable("solver.concomitant")
@dataclass(frozen=True)
class Concomitant(Solver):
    """Alternates between coefficients and noise levels, for the square-root loss.

    For given noise levels sigma the square-root loss is the squared one with task weights
    ``s_t / sigma_t``, which the solvers for that loss minimise from the same statistics; the root
    mean squares that are left are the next noise levels. No step raises the objective, and the
    noise levels are extrapolated (Anderson acceleration). The gap is that of the square-root loss
    itself: residuals over noise levels are a dual point of it. ``max_iter`` bounds the iterations
    of all inner problems together.

    References
    ----------
    T. Sun and C.-H. Zhang, "Scaled sparse linear regression", Biometrika 99 (2012), section 2.
    E. Ndiaye et al., "Efficient smoothed concomitant lasso estimation for high dimensional
    regression", Journal of Physics: Conference Series 904 (2017), section 2.
    """

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        if not isinstance(datafit, Rooted):
            return (
                "Concomitant is for the square-root loss, which gives every task a noise level. "
                "Use solver='auto'."
            )
        return _chosen(datafit.squared, penalty, False)[1]

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
        if refusal or not isinstance(datafit, Rooted):
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            found = _Run(datafit, objective, tol, max_iter).loop(start)
        # What rounding hides in the gap of a squared loss still shows in that of its root.
        return carried_on(found, datafit, penalty, tol, max_iter)


def _chosen(squared: Datafit, penalty: Penalty, uneven: bool) -> tuple[Solver | None, str]:
    """Return what solves a squared loss with a penalty, or why nothing does."""
    reason, compiled = "", uneven or is_large_repeated(squared)
    for solver in _INNER:
        if isinstance(solver, _COMPILED) and not compiled:
            continue
        reason = solver.accepts(squared, penalty)
        if not reason:
            return solver, ""
    return None, reason


@dataclass(frozen=True, eq=False)
class _Point:
    """Coefficients with the noise levels that they were fitted for, and what they are worth."""

    W: Array
    at: Evaluation
    sigma: Array
    value: float
    certificate: Certificate


class _Run:
    """One minimisation."""

    def __init__(self, datafit: Rooted, objective: Objective, tol: float, max_iter: int) -> None:
        self.datafit, self.objective = datafit, objective
        self.tol, self.max_iter = tol, max_iter
        self.n_iter = 0
        self.fine = _FORCING
        self.bound = datafit.known_lipschitz(np.ones(datafit.shape[0]))
        if objective.curved is not None:
            self.bound += objective.curved.curvature()
        self.bound = max(self.bound, float(np.finfo(float).tiny))
        self.exact = ExactTasks(datafit, objective.null)
        first = self._residual(objective.null, objective.zero.gradient)
        self.first = objective.first_residual(first, self.bound)

    def _residual(self, W: Array, gradient: Array) -> float:
        moved = W - gradient / self.bound
        if self.objective.rough is not None:
            moved = np.asarray(self.objective.rough.prox(moved, 1.0 / self.bound))
        return float(np.linalg.norm(W - moved)) * self.bound

    def _judged(self, W: Array, sigma: Array) -> _Point:
        """Return the point with its certificate, by the dual point of these noise levels."""
        dual = self.datafit.evaluate_dual(W, sigma)
        curved = self.objective.curved
        dual = dual if curved is None else with_smooth(dual, curved, W)
        resting = self.exact.at_rest(W)
        W, at, value = self._put_to_rest(W, resting)
        # The residual is that of W alone, with a slope of the kinks; the gap may take any dual
        # point.
        residual = self._residual(W, np.where(resting, dual.gradient, at.gradient))
        proof = replace(dual, value=at.value)
        certificate = self.objective.certificate(W, proof, residual, self.first)
        return _Point(W, at, sigma, value, certificate)

    def _put_to_rest(
        self, W: Array, resting: NDArray[np.bool_]
    ) -> tuple[Array, Evaluation, float]:
        """Put columns to zero, where that is no worse; return the evaluation and the value."""
        at = self.objective.smooth(W, None)
        value = self.objective.value(W, at)
        if not W[:, resting].any():
            return W, at, value
        # One row can be met by features as well as by an intercept.
        rested = np.where(resting, 0.0, W)
        rested_at = self.objective.smooth(rested, None)
        rested_value = self.objective.value(rested, rested_at)
        if rested_value > value:
            return W, at, value
        return rested, rested_at, rested_value

    def _begin(self, start: Solution | None) -> _Point:
        """Return the start with the noise levels it remembers, or else has."""
        W = self.objective.first(start)
        memory = () if start is None else start.memory
        if len(memory) == 1 and memory[0].shape == W.shape[1:] and np.all(memory[0] > 0):
            return self._judged(W, self.exact.levels(memory[0]))
        return self._judged(W, self._levels(W))

    def _levels(self, W: Array) -> Array:
        return self.exact.levels(self.datafit.sigma_at(W))

    def loop(self, start: Solution | None) -> Solution:
        """Alternate until the certificate is below the tolerance, or nothing moves any more."""
        best = lowest = self._begin(start)
        path = NoisePath(self.datafit.squares.blur, self.datafit.owned)
        idle, last = 0, start
        sigma = self._levels(best.W)
        while self._unfinished(best, idle):
            now, last = self._step(sigma, best, last)
            nearer = now.certificate.relative < 0.99 * best.certificate.relative
            lower = now.value < lowest.value - 1e-13 * self.objective.reference
            idle = 0 if nearer or lower else idle + 1
            best = now if now.certificate.relative < best.certificate.relative else best
            if self._rose(now, lowest):
                # Extrapolated too far, or solved too coarsely: a plain step cannot rise.
                self.fine *= 1.0 if path.points else _FINER
                path.forget()
                sigma = self._levels(lowest.W)
                continue
            lowest = now if now.value < lowest.value else lowest
            seen = self._levels(now.W)
            if self._settled(now, seen):
                self._refine(seen, path)
                seen = self._levels(now.W)
            sigma = path.next(sigma, seen)
        return self._finished(best)

    def _rose(self, now: _Point, lowest: _Point) -> bool:
        """Say whether the objective rose by more than the accuracy of the squared losses."""
        allowed = _RISE * now.certificate.relative * self.objective.reference
        return now.value > lowest.value + allowed

    def _settled(self, now: _Point, seen: Array) -> bool:
        """Say whether noise levels are not what the gap is made of."""
        moved = float(self.datafit.squares.total @ np.abs(seen - now.sigma))
        return moved < 0.5 * now.certificate.relative * self.objective.reference

    def _refine(self, seen: Array, path: NoisePath) -> None:
        """Let exact fits come nearer to that, or else solve squared losses finer."""
        if self.exact.tighten(seen):
            path.forget()
        else:
            self.fine *= _FINER

    def _unfinished(self, best: _Point, idle: int) -> bool:
        left = best.certificate.relative > self.tol and self.n_iter < self.max_iter
        return left and idle < _PATIENCE

    def _step(self, sigma: Array, best: _Point, last: Solution | None) -> tuple[_Point, Solution]:
        """Minimise the squared loss for some noise levels, from where the last one ended."""
        inner = self.datafit.weighted(sigma)
        solver, reason = _chosen(inner, self.objective.penalty, self._uneven(sigma))
        if solver is None:
            raise IncompatibleError(reason)
        # The squared losses have a size of their own.
        size = inner.origin.value + self.objective.rough_value(self.objective.null)
        aim = self.fine * max(self.tol, best.certificate.relative)
        tol = float(np.clip(aim * self.objective.reference / size, _FINEST, _COARSEST))
        most = max(self.max_iter - self.n_iter, 1)
        begin = None if last is None else replace(last, memory=())
        found = solver.solve(inner, self.objective.penalty, tol=tol, max_iter=most, start=begin)
        self.n_iter += max(found.n_iter, 1)
        return self._judged(found.W, sigma), found

    def _uneven(self, sigma: Array) -> bool:
        """Say whether the weights of tasks differ by so much that steps in common are short."""
        weight = (self.datafit.squares.total / sigma)[self.datafit.owned]
        return bool(weight.max(initial=0.0) > _UNEVEN * weight.min(initial=np.inf))

    def _finished(self, best: _Point) -> Solution:
        status = Status.MAX_ITER if self.n_iter >= self.max_iter else Status.STALLED
        nothing_left = best.sigma < _EXACT * self.datafit.sigma_at(self.objective.null)
        if nothing_left[self.datafit.owned].any():
            status = Status.FITTED_EXACTLY
        if best.certificate.relative <= self.tol:
            status = Status.CONVERGED
        found = self.objective.finish(best.W, best.at, best.certificate, status, self.n_iter)
        return replace(found, memory=(best.sigma,))
