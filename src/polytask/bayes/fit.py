"""Maximise the marginal likelihood: EM steps to get near, then a quasi-Newton method."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Block
from polytask.bayes.marginal import Evaluation, Marginal, Model
from polytask.bayes.marginal_kernel import KernelMarginal, fits_kernel, in_full

_EM_STEPS = 5
# A variance that was driven to zero is tried at this share of the first guess.
_ESCAPE = 1e-3
_ESCAPES = 3
_RESTARTS = 2
# Parameters below this share of the largest are judged as if they were that large.
_SMALL = 0.01
_LEAST_CURVATURE = 1e-12
# Where a search by gradients alone is affordable, and how rough values may be.
_MANY_PARAMETERS = 200
_ROUGHNESS = 1e-4
# Logs of relative variances stay between plus and minus this.
_LARGEST_LOG = 18.0
# A search for a zero may pass through this many times as much, but not through infinity.
_ROOM = 4.0


@saveable("bayes.learned")
@dataclass(frozen=True, eq=False)
class Learned:
    """The maximum."""

    # Shapes: covariance (q, q), mean (p,), mean_covariance (p, p), task_noise (n_tasks,).

    model: Model
    params: Array
    covariance: Array
    mean: Array
    mean_covariance: Array
    noise: float
    task_noise: Array | None
    log_likelihood: float
    residual: float
    converged: bool
    n_iter: int
    seconds: float

    @property
    def relative(self) -> Array:
        """The covariance relative to the noise, Psi."""
        return self.covariance / self.noise


def learn(
    blocks: Sequence[Block],
    model: Model,
    n_tasks: int,
    *,
    tol: float = 1e-4,
    max_iter: int = 500,
    start: Learned | None = None,
    without: bool = False,
    apart: bool = False,
) -> Learned:
    """Learn the prior from blocks of tasks."""
    marginal = Marginal(blocks, model, n_tasks)
    return _Search(marginal, tol, max_iter, _Held(without, apart)).run(start)


class _GoalError(Exception):
    """Ends the line search of L-BFGS at the goal."""


@dataclass(frozen=True)
class _Held:
    """What is not searched."""

    without: bool
    apart: bool


class _Search:
    def __init__(self, marginal: Marginal, tol: float, max_iter: int, held: _Held) -> None:
        self.marginal = marginal
        kernel = fits_kernel(marginal)
        self.engine: Marginal | KernelMarginal = KernelMarginal(marginal) if kernel else marginal
        # One task says nothing about how tasks differ: its deviation stays zero too.
        self.without = held.without or marginal.active <= 1
        self.apart = held.apart
        self.tol, self.max_iter = tol, max_iter
        self.n_iter = 0

    def run(self, start: Learned | None) -> Learned:
        started = time.perf_counter()
        params, last = self._climb(self._first(start))
        for _ in range(_ESCAPES):
            moved = self._escaped(params, last)
            if moved is None:
                break
            params, last = self._climb(moved)
        if self.engine is not self.marginal:
            last = in_full(self.marginal, params, last)
        return self._learned(params, last, time.perf_counter() - started)

    def _first(self, start: Learned | None) -> Array:
        params = self._begun(start)
        return np.append(params[:-1], -_LARGEST_LOG) if self.apart else params

    def _begun(self, start: Learned | None) -> Array:
        marginal, structure = self.marginal, self.marginal.model.structure
        if self.without:
            return marginal.pack(np.zeros(structure.n_parameters(marginal.q)))
        if start is None:
            return self._expect(marginal.pack(structure.start(marginal.first_guess())))
        same = start.model.structure == structure
        size = start.model.structure.n_parameters(marginal.q)
        params = marginal.pack(start.params[:size] if same else structure.start(start.relative))
        if start.model.gaussian_mean and marginal.model.gaussian_mean:
            params[-1] = start.params[-1]
        return params if same else self._expect(params)

    def _evaluate(self, params: Array) -> Evaluation:
        self.n_iter += 1
        return self.engine.evaluate(params)

    def _residual(self, params: Array, evaluation: Evaluation) -> float:
        size = self.marginal.sizes[0]
        own = np.abs(params[:size])
        scale = np.ones(len(params))
        scale[:size] = np.maximum(own, _SMALL * own.max(initial=0.0))
        low, high = self._bounds().T
        gradient = evaluation.gradient
        outward = ((params <= low) & (gradient > 0)) | ((params >= high) & (gradient < 0))
        largest = float(np.max(np.abs(gradient * scale) * ~outward, initial=0.0))
        return largest / (2.0 * max(self.marginal.active, 1))

    def _bounds(self) -> Array:
        """Return lower and upper bounds of the parameters: logs stay within reason."""
        size, noise, mean = self.marginal.sizes
        bounds = np.tile([-np.inf, np.inf], (size + noise + mean, 1))
        bounds[size:] = [-_LARGEST_LOG, _LARGEST_LOG]
        if self.apart:
            bounds[-1] = -_LARGEST_LOG
        return bounds

    def _expect(self, params: Array) -> Array:
        """Take a few EM steps in Psi; they never lower the likelihood of an exact M step."""
        marginal = self.marginal
        structure, size = marginal.model.structure, marginal.sizes[0]
        for _ in range(_EM_STEPS):
            Psi = structure.covariance(params[:size], marginal.q)
            second = expected_second(Psi, self._evaluate(params).slope, marginal.active)
            params = np.concatenate([structure.start(second), params[size:]])
        return params

    def _climb(self, params: Array) -> tuple[Array, Evaluation]:
        """Run L-BFGS; it starts anew where rounding ends a line search too soon."""
        best = params, self._evaluate(params)
        for _ in range(1 + _RESTARTS):
            found = self._descend(best)
            gained = found[1].value < best[1].value
            best = found
            if self._done(best) or not gained:
                break
        return best if self._done(best) else self._settle(best)

    def _done(self, point: tuple[Array, Evaluation]) -> bool:
        return self._residual(*point) <= self.tol or self.n_iter >= self.max_iter

    def _settle(self, best: tuple[Array, Evaluation]) -> tuple[Array, Evaluation]:
        """Look for a zero of the gradient where the values are too rough for a line search."""
        # Almost without noise the likelihood loses digits long before its gradient does.
        if len(best[0]) > _MANY_PARAMETERS:
            return best
        nearest, limits = [best], _ROOM * self._bounds().T

        def gradient(x: Array) -> Array:
            x = np.clip(x, *limits)
            found = self._evaluate(x)
            if self._residual(x, found) < self._residual(*nearest[0]):
                nearest[0] = (x.copy(), found)
            if self._done(nearest[0]):
                raise _GoalError
            return found.gradient

        with contextlib.suppress(_GoalError):
            scipy.optimize.root(gradient, best[0], method="hybr")
        slack = _ROUGHNESS * (1.0 + abs(best[1].value))
        return nearest[0] if nearest[0][1].value <= best[1].value + slack else best

    def _descend(self, first: tuple[Array, Evaluation]) -> tuple[Array, Evaluation]:
        """Run L-BFGS until the residual is small; the best point that it saw is returned."""
        best = [first]
        scale = self._steps(first[1])

        def function(x: Array) -> tuple[float, Array]:
            params = x * scale
            found = first[1] if np.array_equal(x, x0) else self._evaluate(params)
            if found.value <= best[0][1].value:
                best[0] = (params, found)
            if self._done(best[0]):
                raise _GoalError
            return found.value, found.gradient * scale

        x0, limits = first[0] / scale, self._bounds() / scale[:, None]
        with contextlib.suppress(_GoalError):
            scipy.optimize.fmin_l_bfgs_b(
                function,
                x0,
                bounds=[(low, high) for low, high in limits.tolist()],
                m=20,
                factr=0.0,
                pgtol=0.0,
                maxfun=self.max_iter,
            )
        return best[0]

    def _steps(self, evaluation: Evaluation) -> Array:
        """Return the units in which the parameters are searched."""
        marginal = self.marginal
        curvature = marginal.model.structure.curvature(evaluation.weights)
        tasks = max(marginal.active, 1)
        steps = np.ones(sum(marginal.sizes))
        steps[: len(curvature)] = np.sqrt(tasks / np.maximum(curvature, _LEAST_CURVATURE * tasks))
        return steps

    def _escaped(self, params: Array, last: Evaluation) -> Array | None:
        """Return a point to go on from if a variance of zero hides an ascent, else None."""
        # Where an entry of the factor is zero, so is the gradient with respect to it, whatever
        # the variance would like.
        if self.without or self._residual(params, last) > self.tol:
            return None
        if self.n_iter >= self.max_iter:
            return None
        structure, size = self.marginal.model.structure, self.marginal.sizes[0]
        Psi = structure.covariance(params[:size], self.marginal.q)
        guess = np.diagonal(self.marginal.first_guess())
        step = _ESCAPE * guess
        wanting = (np.diagonal(Psi) < step) & (np.diagonal(last.slope) < 0)
        if not wanting.any():
            return None
        lifted = structure.start(Psi + np.diag(np.where(wanting, step, 0.0)))
        moved = np.concatenate([lifted, params[size:]])
        gain = last.value - self._evaluate(moved).value
        return moved if gain > 1e-9 * max(self.marginal.n_rows, 1.0) else None

    def _learned(self, params: Array, last: Evaluation, seconds: float) -> Learned:
        marginal = self.marginal
        own, log_noise, _ = marginal.unpack(params)
        residual = self._residual(params, last)
        return Learned(
            model=marginal.model,
            params=params,
            covariance=last.noise * marginal.model.structure.covariance(own, marginal.q),
            mean=last.beta,
            mean_covariance=last.noise * last.beta_covariance,
            noise=last.noise,
            task_noise=None if log_noise is None else last.noise * np.exp(log_noise),
            log_likelihood=last.log_likelihood,
            residual=residual,
            converged=residual <= self.tol,
            n_iter=self.n_iter,
            seconds=seconds,
        )


def expected_second(Psi: Array, slope: Array, n_tasks: int) -> Array:
    """Return the mean over tasks of the posterior second moments of the deviations."""
    # Shapes: Psi (q, q), slope (q, q), result (q, q).
    own = np.diagonal(Psi)
    if np.count_nonzero(Psi) == np.count_nonzero(own):
        turned = own[:, None] * slope * own
    else:
        turned = Psi @ slope @ Psi
    second = Psi - (2.0 / max(n_tasks, 1)) * turned
    return np.asarray(0.5 * (second + second.T))
