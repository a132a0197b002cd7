"""Maximise the marginal likelihood, and choose the structure of the prior by it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize
import scipy.special

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Block
from polytask.bayes.marginal import (
    Evaluation,
    KernelMarginal,
    Marginal,
    Model,
    fits_kernel,
    in_full,
)
from polytask.bayes.prior import Diagonal, Full, LowRank, NoVariation, Scalar, Structure

# The pull is never weaker or stronger than so many rows.
_WEAKEST, _STRONGEST = 2.0, 1e4
_FEWEST_ROWS = 3.0


def pull_to_common(blocks: Sequence[Block], learned: Learned, n_tasks: int) -> float:
    """Return the number of rows by which the noise of a task is pulled to the common one."""
    # The logs of the tasks' residual variances vary by chance with variance trigamma(n_t / 2);
    # what they vary beyond that is matched by an inverse gamma distribution of the variances.
    marginal = Marginal(blocks, learned.model, n_tasks)
    L = marginal.factor(learned.params)
    logs, expected = [], []
    for block in marginal.blocks:
        misfit = block.reduce(L, marginal.varying).misfits(learned.mean)
        rows = np.broadcast_to(block.count[:, None], misfit.shape)
        used = (rows >= _FEWEST_ROWS) & (misfit > 0)
        half = rows[used] / 2.0
        logs.append(np.log(misfit[used] / rows[used]) - scipy.special.digamma(half) + np.log(half))
        expected.append(scipy.special.polygamma(1, half))
    values = np.concatenate([np.zeros(0), *logs])
    if len(values) < 2:
        return _STRONGEST
    beyond = float(np.var(values, ddof=1) - np.mean(np.concatenate(expected)))
    return _inverse_trigamma(beyond)


def _inverse_trigamma(variance: float) -> float:
    """Return nu with trigamma(nu / 2) equal to the variance, within bounds."""

    def excess(nu: float) -> float:
        return float(scipy.special.polygamma(1, nu / 2.0)) - variance

    if excess(_STRONGEST) >= 0:
        return _STRONGEST
    if excess(_WEAKEST) <= 0:
        return _WEAKEST
    return float(scipy.optimize.brentq(excess, _WEAKEST, _STRONGEST))


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


# Above this number of tasks the structure is chosen on about this many of them.
_SAMPLE = 1000
_LARGEST_RANK = 4
# Candidates are compared at this tolerance; what is chosen is then learned at the user's.
_ROUGH = 1e-3
# A relative variance below this share of the largest counts as zero.
_NO_VARIANCE = 1e-6


@saveable("bayes.candidate")
@dataclass(frozen=True)
class Candidate:
    """One structure that was tried."""

    structure: Structure
    log_likelihood: float
    n_parameters: int
    price: float
    n_tasks: int

    @property
    def score(self) -> float:
        """Log marginal likelihood less price."""
        return self.log_likelihood - self.price


def choose(
    blocks: Sequence[Block],
    model: Model,
    n_tasks: int,
    *,
    tol: float = 1e-4,
    max_iter: int = 500,
) -> tuple[Learned, tuple[Candidate, ...]]:
    """Learn the prior with the structure of the highest score."""
    # No variation, scalar and diagonal are always tried; more is tried where a score test at
    # the diagonal optimum promises that the likelihood could pay for it.
    marginal = Marginal(blocks, replace(model, structure=NoVariation()), n_tasks)
    sample = _sample(blocks, marginal.active)
    trial = _Trial(sample, model, n_tasks, marginal.q, max_iter)
    best = max(trial.run(), key=lambda pair: pair[1].score)[0]
    learned = learn(blocks, best.model, n_tasks, tol=tol, max_iter=max_iter, start=best)
    return learned, tuple(trial.candidates)


class _Trial:
    def __init__(
        self,
        blocks: Sequence[Block],
        model: Model,
        n_tasks: int,
        q: int,
        max_iter: int,
    ) -> None:
        self.blocks, self.model, self.n_tasks = blocks, model, n_tasks
        self.q, self.max_iter = q, max_iter
        self.n_rows = sum(float(b.count.sum()) * b.tasks.shape[1] for b in blocks)
        self.active = sum(int(np.count_nonzero(b.count > 0)) * b.tasks.shape[1] for b in blocks)
        self.candidates: list[Candidate] = []
        self.tried: list[tuple[Learned, Candidate]] = []

    def run(self) -> list[tuple[Learned, Candidate]]:
        self._try(NoVariation(), None)
        if self.q > 1 and self.active > 1:
            scalar = self._try(Scalar(), None)
            if is_informed(Diagonal(), self.q, self.active, self.n_rows) and self.q > 2:
                self._beyond(self._try(Diagonal(), scalar))
            elif self.q == 2:
                self._beyond(scalar)
        return self.tried

    def _beyond(self, diagonal: Learned) -> None:
        """Try correlated coefficients if a score test says that they may be worth it."""
        promise = promised_gains(
            Marginal(self.blocks, diagonal.model, self.n_tasks), diagonal.params
        )
        base = diagonal.model.structure.price(self.q, self.n_rows)
        for candidates, gain in zip(correlated_structures(self.q), promise, strict=True):
            last = self.tried[-1][1].score if len(self.tried) > 2 else -np.inf
            start = diagonal
            for structure in candidates:
                cost = structure.price(self.q, self.n_rows) - base
                hopeless = start is diagonal and gain < cost
                if hopeless or not is_informed(structure, self.q, self.active, self.n_rows):
                    break
                start = self._try(structure, start)
                score = self.tried[-1][1].score
                if score < last:
                    break
                last = score

    def _try(self, structure: Structure, start: Learned | None) -> Learned:
        model = replace(self.model, structure=structure)
        learned = learn(
            self.blocks, model, self.n_tasks, tol=_ROUGH, max_iter=self.max_iter, start=start
        )
        size = structure.n_parameters(self.q)
        value = learned.log_likelihood + structure.log_prior(learned.params[:size], self.q)[0]
        candidate = Candidate(
            structure=structure,
            log_likelihood=float(value),
            n_parameters=size,
            price=structure.price(self.q, self.n_rows),
            n_tasks=self.active,
        )
        self.candidates.append(candidate)
        self.tried.append((learned, candidate))
        return learned


def promised_gains(marginal: Marginal, params: Array) -> tuple[float, float, float]:
    """Estimate by Rao's score test what correlations would add to the log-likelihood."""
    slope = marginal.evaluate(params).slope
    information = marginal.information(params)
    own = np.diagonal(marginal.model.structure.covariance(marginal.unpack(params)[0], marginal.q))
    return score_gains(slope, information, own, marginal.active)


def score_gains(
    slope: Array, information: Array, own: Array, tasks: float
) -> tuple[float, float, float]:
    """Return :func:`promised_gains` for a slope and its information."""
    # Shapes: slope, information (q, q), own (q,).
    q = len(own)
    varies = own > _NO_VARIANCE * own.max(initial=0.0)
    allowed = np.multiply.outer(varies, varies) & ~np.eye(q, dtype=bool)
    safe = np.where(allowed & (information > 0), information, np.inf)
    z = 2.0 * slope / np.sqrt(safe)
    whole = 0.25 * float(np.sum(z**2))
    direction = 0.25 * float(np.max(np.abs(np.linalg.eigvalsh(z)))) ** 2
    return direction, whole, whole / (1.0 + 2.0 * q / max(tasks, 1))


def correlated_structures(q: int) -> Iterator[tuple[Structure, ...]]:
    """Yield structures of correlated coefficients, each row of them from small to large."""
    largest = min(_LARGEST_RANK, q - 1)
    yield tuple(LowRank(rank) for rank in range(1, largest + 1)) if q > 3 else ()
    yield (Full(),)
    yield (Full(shrinkage=float(q)),)


def is_informed(structure: Structure, q: int, tasks: float, rows: float) -> bool:
    """Say whether tasks and rows are enough for a structure."""
    # Each contrast of tasks informs q parameters. With more parameters and means than rows a
    # covariance can reproduce the rows, and its likelihood is no evidence whatever the price
    # (``benchmarks/learned_prior_price.py``).
    size = structure.n_parameters(q)
    return bool(size <= q * (tasks - 1) and size + q <= rows)


def _sample(blocks: Sequence[Block], n_tasks: int) -> Sequence[Block]:
    """Return about `_SAMPLE` tasks, evenly spread over blocks, all of them if there are few."""
    if n_tasks <= 2 * _SAMPLE:
        return blocks
    step = n_tasks // _SAMPLE
    chosen = [block.lines(np.arange(0, len(block.count), step)) for block in blocks]
    return [block for block in chosen if len(block.count)]
