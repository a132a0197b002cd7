"""The square-root loss as squared losses whose noise levels are found along the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._anderson import Anderson
from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation, SquareRootDatafit
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage, Text
from polytask.penalties import Penalty, Split
from polytask.solvers.base import Solution, Solver, Status
from polytask.solvers.candidates import CONVEX, MANY, WORTH, first_of, numbers
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.gradient import AcceleratedGradient
from polytask.solvers.objective import Objective, with_smooth

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
        self.memory, self.last = Anderson(_DEPTH), np.inf

    def forget(self) -> None:
        """Forget all steps."""
        self.memory.clear()
        self.last = np.inf

    def next(self, sigma: Array, seen: Array) -> Array:
        """Return the noise levels to try after `sigma`, which left `seen`."""
        # Shapes: sigma, seen (n_columns,).
        plain = np.log(seen)
        move = np.where(self.owned, plain - np.log(sigma), 0.0)
        length = float(np.linalg.norm(move))
        if length > _WORSE * self.last:
            self.forget()
            return seen
        self.last = length
        self.memory.add([plain], move)
        jump = self.memory.combined()
        if jump is None:
            return seen
        most = np.minimum(_FARTHEST * np.abs(move), 1.0)
        there = np.maximum(plain + np.clip(jump[0] - plain, -most, most), self.least)
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

    def __init__(self, datafit: SquareRootDatafit, null: Array) -> None:
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
        if self._share <= _LAST or not self._at_least(sigma).any():
            return False
        self._share *= _SHRINK
        return True

    def _at_least(self, sigma: Array) -> NDArray[np.bool_]:
        return np.asarray(self._alike & (sigma <= self._least))

    def noise_levels(self, sigma: Array) -> Array:
        """Return noise levels no smaller than they may be. Shapes: sigma (n_columns,)."""
        return np.where(self._alike, np.maximum(sigma, self._least), sigma)

    def at_rest(self, W: Array) -> NDArray[np.bool_]:
        """Return the columns that a kink holds. Shapes: W (n_features, n_columns)."""
        return self._at_least(self.datafit.sigma_at(W))


# Compiled solvers are worth their start on large data, or if so many squared losses follow each
# other, and where the weights of tasks differ by so much, for they take a step of its own for
# every task.
_REPEATS = 20
_UNEVEN = 30.0
# A squared loss is solved to this share of the certificate so far. Its gap is of second order in
# what its dual point lacks and that of a root of first order, so it has to be solved ever finer.
_FORCING = 0.05
_FINER = 0.01
_FINEST = 1e-14
_COARSEST = 0.1
# Of what the certificate leaves open, a step may raise the objective by this share.
_RISE = 0.1
# A task whose noise has fallen below this share of that at W = 0 is fitted nearly exactly.
_EXACT = 1e-2


@saveable("solver.concomitant")
@dataclass(frozen=True)
class Concomitant(SplitSolver):
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

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        if not isinstance(datafit, SquareRootDatafit):
            return LazyMessage("solver.refusal.not_square_root")
        return _chosen(datafit.squared, penalty, False)[1]

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Alternation(objective, tol)

    def fallback(self, datafit: Datafit, penalty: Penalty) -> Solver | None:
        """Return what needs no squared loss."""
        # What rounding hides in the gap of a squared loss still shows in that of its root.
        return AcceleratedGradient()


def _chosen(squared: Datafit, penalty: Penalty, uneven: bool) -> tuple[Solver | None, Text]:
    """Return what solves a squared loss with a penalty, or why nothing does."""
    compiled = uneven or numbers(squared) >= 1 / _REPEATS
    others = [s for s in CONVEX if type(s) not in WORTH or compiled]
    return first_of(others, squared, penalty, MANY)


class _Alternation(ProximalMethod):
    """Squared losses for given noise levels in turn with the levels that they leave."""

    patience = 8
    progress = 0.99

    def __init__(self, objective: Objective, tol: float) -> None:
        assert isinstance(objective.datafit, SquareRootDatafit)
        self.square_root = objective.datafit
        self.tol = tol
        self.fine = _FORCING
        super().__init__(objective, objective.row_curvature())
        self.exact = ExactTasks(self.square_root, objective.null)
        self.path = NoisePath(self.square_root.squares.blur, self.square_root.owned)

    def at_noise_levels(self, W: Array, sigma: Array) -> Iterate:
        """Return a point with its certificate, by the dual point of these noise levels."""
        dual = self.square_root.evaluate_dual(W, sigma)
        smooth = self.objective.smooth
        dual = dual if smooth is None else with_smooth(dual, smooth, W)
        resting = self.exact.at_rest(W)
        W, at = self._put_to_rest(W, resting)
        # The residual is that of W alone, with a slope of the kinks; the gap may take any dual
        # point.
        proof = replace(dual, value=at.value)
        at = replace(at, gradient=np.where(resting, dual.gradient, at.gradient))
        return Iterate(self, W, at, (sigma, proof))

    def gap(self, iterate: Iterate) -> float | None:
        """Return the gap that residuals over noise levels give."""
        return self.objective.gap(iterate.W, iterate.extra[1])

    def _put_to_rest(self, W: Array, resting: NDArray[np.bool_]) -> tuple[Array, Evaluation]:
        """Put columns to zero, where that is no worse; return the evaluation."""
        at = self.objective.evaluate(W, None)
        if not W[:, resting].any():
            return W, at
        # One row can be met by features as well as by an intercept.
        zeroed = np.where(resting, 0.0, W)
        other = self.objective.evaluate(zeroed, None)
        higher = self.objective.value(zeroed, other) > self.objective.value(W, at)
        return (W, at) if higher else (zeroed, other)

    def begin(self, start: Solution | None) -> Iterate:
        """Begin with the noise levels that a start remembers, or else has."""
        W = self.objective.null.copy() if start is None else self.objective.first(start)
        memory = () if start is None else start.memory
        known = len(memory) == 1 and memory[0].shape == W.shape[1:] and np.all(memory[0] > 0)
        self.last = start
        found = self.at_noise_levels(
            W, self.exact.noise_levels(memory[0]) if known else self._noise_levels(W)
        )
        self.lowest, self.nearest = found, found.relative
        self.sigma = self._noise_levels(found.W)
        return found

    def _noise_levels(self, W: Array) -> Array:
        return self.exact.noise_levels(self.square_root.sigma_at(W))

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Minimise a squared loss, and find the next noise levels."""
        solution = self._squared(left)
        found = self.at_noise_levels(solution.W, self.sigma)
        self.nearest = min(self.nearest, found.relative)
        # The accuracy of the squared losses allows the objective to rise by so much.
        allowed = _RISE * found.relative * self.objective.reference
        if found.value > self.lowest.value + allowed:
            # Extrapolated too far, or solved too coarsely: a plain step cannot rise.
            self.fine *= 1.0 if self.path.memory.count else _FINER
            self.path.forget()
            self.sigma = self._noise_levels(self.lowest.W)
        else:
            self.lowest = found if found.value < self.lowest.value else self.lowest
            self.sigma = self.path.next(self.sigma, self._refined(found))
        return Round(found, max(solution.n_iter, 1))

    def _refined(self, now: Iterate) -> Array:
        """Return the noise levels left; solve finer where the gap is not made of them."""
        seen = self._noise_levels(now.W)
        moved = float(self.square_root.squares.total @ np.abs(seen - self.sigma))
        if moved >= 0.5 * now.relative * self.objective.reference:
            return seen
        if not self.exact.tighten(seen):
            self.fine *= _FINER
            return seen
        # Exact fits come nearer to that.
        self.path.forget()
        return self._noise_levels(now.W)

    def _squared(self, left: int) -> Solution:
        """Minimise the squared loss for the noise levels, from where the last one ended."""
        squared, objective = self.square_root.weighted(self.sigma), self.objective
        weight = (self.square_root.squares.total / self.sigma)[self.square_root.owned]
        # Where the weights of tasks differ by much, steps in common are short.
        uneven = bool(weight.max(initial=0.0) > _UNEVEN * weight.min(initial=np.inf))
        solver, reason = _chosen(squared, objective.penalty, uneven)
        if solver is None:
            raise IncompatibleError(reason)
        # The squared losses have a size of their own.
        size = squared.origin.value + objective.nonsmooth_value(objective.null)
        aim = self.fine * max(self.tol, self.nearest)
        tol = float(np.clip(aim * objective.reference / size, _FINEST, _COARSEST))
        begin = None if self.last is None else replace(self.last, memory=())
        penalty = objective.penalty
        self.last = solver.solve(squared, penalty, tol=tol, max_iter=left, start=begin)
        return self.last

    def answer(self, best: Iterate, status: Status, n_iter: int) -> Solution:
        """Return the solution, which remembers its noise levels."""
        sigma = best.extra[0]
        nothing_left = sigma < _EXACT * self.square_root.sigma_at(self.objective.null)
        if status is not Status.CONVERGED and nothing_left[self.square_root.owned].any():
            status = Status.FITTED_EXACTLY
        return replace(super().answer(best, status, n_iter), memory=(sigma,))
