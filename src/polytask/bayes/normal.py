"""Numbers with independent normal noise: the marginal likelihood over coefficients or rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.linalg.lapack
import scipy.optimize
import scipy.special

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Block, Chosen, Reduced, Rows, Totals, in_order
from polytask.bayes.choose import Candidate, Trials, choose
from polytask.bayes.prior import Mask, Model, NoVariation, Scalar, Structure
from polytask.bayes.row_kernel import RowKernel
from polytask.bayes.search import (
    LARGEST_LOG,
    Evaluation,
    Found,
    Likelihood,
    expected_second,
    inner_slope,
    maximise,
    relative_slope,
)

# Reduced blocks are kept for the gradient up to this many numbers, else made again.
_KEPT_ENTRIES = 6e6
# The noise variance never falls below this share of that of the targets within tasks, and below
# this share of their squares: more digits than that are lost in sums of squares.
_NOISE_FLOOR, _ROUNDING = 1e-6, 1e-12
# The pull is never weaker or stronger than so many rows.
_WEAKEST, _STRONGEST = 2.0, 1e4
_FEWEST_ROWS = 3.0
# Above this number of tasks the structure is chosen on about this many of them.
_SAMPLE = 1000
# Candidates are compared at this tolerance; what is chosen is then learned at the user's.
_ROUGH = 1e-3
# Columns that depend on others get this share of their own moment as a ridge.
_RIDGE = 1e-9


@dataclass(frozen=True, eq=False)
class NormalDetail:
    """The mean coefficients and the noise. Shapes: beta (p,), beta_covariance (p, p)."""

    log_likelihood: float
    beta: Array
    beta_covariance: Array
    noise: float


@dataclass(frozen=True, eq=False)
class MeanEstimate:
    """The generalised least squares estimate of the mean."""

    beta: Array
    covariance: Array
    root: Array  # root root' is the covariance of the integrated coefficients, p rows
    log_determinant: float

    def moment(self, columns: Mask, noise: float = 1.0) -> float:
        """Return the sum of the second moments of some coefficients, over the noise."""
        return float(np.sum(self.root[columns] ** 2) + np.sum(self.beta[columns] ** 2) / noise)


def estimated_mean(gram: Array, cross: Array, added: Array, inside: Mask) -> MeanEstimate:
    """Estimate mean coefficients with a ridge, some of which are integrated out."""
    # Shapes: gram (p, p), cross, added, inside (p,).
    B, p = gram + np.diag(added), len(gram)
    if not np.isfinite(B).all():
        raise np.linalg.LinAlgError("moments without digits")
    lower = np.linalg.cholesky(B)
    inverse = scipy.linalg.solve_triangular(lower, np.eye(p), lower=True)
    beta = inverse.T @ (inverse @ cross)
    log_determinant, root = 0.0, np.zeros((p, 0))
    if inside.any():
        part = lower if inside.all() else np.linalg.cholesky(B[np.ix_(inside, inside)])
        root = np.zeros((p, len(part)))
        root[inside] = scipy.linalg.solve_triangular(part, np.eye(len(part)), lower=True).T
        log_determinant = 2.0 * float(np.log(np.diagonal(part)).sum())
    return MeanEstimate(beta, inverse.T @ inverse, root, log_determinant)


class Marginal(Likelihood[NormalDetail]):
    """The marginal likelihood of blocks of tasks."""

    # Without deviations their variances are held at zero; apart, no mean is shared.

    def __init__(
        self,
        blocks: Sequence[Block],
        model: Model,
        n_tasks: int,
        *,
        without: bool = False,
        apart: bool = False,
    ) -> None:
        own_noise = model.task_noise is not None
        self.blocks = [block.apart() for block in blocks] if own_noise else list(blocks)
        self.model, self.structure = model, model.structure
        self.n_tasks = n_tasks
        gram, square, within, count = _pooled(self.blocks)
        self.p, self.n_rows = len(gram), count
        q = len(model.varying)
        everything = model.varying == tuple(range(self.p))
        self.varying: Chosen = (
            slice(None) if everything else np.array(model.varying, dtype=np.intp)
        )
        self.q = q
        self._ridge = ridge_of(gram)
        self.floor = max(_NOISE_FLOOR * within, _ROUNDING * square, 1e-20 * count)
        self._scale = np.diagonal(gram)[list(model.varying)] / max(count, 1e-300)
        # One task says nothing about how tasks differ: its deviation stays zero too.
        self.without, self.apart = without or self.active <= 1, apart

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Lengths of the three parts of the parameter vector."""
        noise = self.n_tasks if self.model.task_noise is not None else 0
        return self.model.structure.n_parameters(self.q), noise, int(self.model.gaussian_mean)

    @property
    def degrees(self) -> float:
        """Rows, less the integrated coefficients without a prior."""
        without = self.model.integrated(self.p) & ~self.model.shrunk(self.p)
        return self.n_rows - float(np.count_nonzero(without))

    @cached_property
    def active(self) -> int:
        """Number of tasks with rows."""
        return _active(self.blocks)

    def first_guess(self) -> Array:
        """Return a covariance to start from: deviations a fifth as large as the noise."""
        scale = self._scale.copy()
        if isinstance(self.model.structure, Scalar) and len(scale) > 1:
            # Of one variance for all features the data see the sum of their squares.
            scale[1:] = scale[1:].mean()
        seen = scale > _ROUNDING * scale.max(initial=0.0)
        return np.diag(0.05 / np.where(seen, scale, 1.0))

    def pack(self, structure: Array) -> Array:
        """Return a parameter vector with equal noise and a wide prior of the mean."""
        _, noise, mean = self.sizes
        return np.concatenate([structure, np.zeros(noise), np.zeros(mean)])

    def unpack(self, params: Array) -> tuple[Array, Array | None, float | None]:
        """Return parameters of the structure, log rho or None, log tau^2 or None."""
        first, noise, mean = self.sizes
        own = params[first : first + noise] if noise else None
        return params[:first], own, float(params[-1]) if mean else None

    def factor(self, params: Array) -> Array:
        """Return L with at most q columns."""
        L = self.model.structure.factor(self.unpack(params)[0], self.q)
        if L.shape[1] <= self.q:
            return L
        upper: Array = np.linalg.qr(L.T).R
        return upper.T

    def evaluate(self, params: Array) -> Evaluation[NormalDetail]:
        """Return the likelihood and its gradient. Shapes: params (sum of `sizes`,)."""
        own, log_noise, log_mean = self.unpack(params)
        L = self.factor(params)
        precision = None if log_noise is None else np.exp(-log_noise)
        kept: list[Reduced] = []
        totals = self._totals(L, precision, kept)
        added, shrunk, charged = self._ridge.copy(), self.model.shrunk(self.p), 0.0
        if log_mean is not None:
            added[shrunk] += np.exp(-log_mean)
            charged = log_mean * float(np.count_nonzero(shrunk))
        inside = self.model.integrated(self.p)
        mean = estimated_mean(totals.gram, totals.cross, added, inside)
        misfit = max(totals.square - float(mean.beta @ totals.cross), 0.0)
        noise = (misfit + self.floor) / self.degrees
        noise_slope = np.zeros(self.n_tasks) if log_noise is not None else None
        slope, weights = self._slope(L, precision, kept, (mean, noise), noise_slope)
        log_likelihood = -0.5 * (
            self.degrees * (np.log(2.0 * np.pi * noise) + 1.0)
            + totals.log_determinant
            + (0.0 if log_noise is None else float(self._counts @ log_noise))
            + mean.log_determinant
            + charged
        )
        log_prior, prior_slope = self.model.structure.log_prior(own, self.q)
        parts = [self.model.structure.pull_back(own, self.q, slope) - prior_slope]
        if log_noise is not None and noise_slope is not None:
            value, pull = self._noise_prior(log_noise)
            log_prior += value
            parts.append(noise_slope - pull)
        if log_mean is not None:
            excess = mean.moment(shrunk, noise) * float(np.exp(-log_mean))
            parts.append(np.array([0.5 * (float(np.count_nonzero(shrunk)) - excess)]))
        gradient = np.concatenate(parts)
        return Evaluation(
            params=params.copy(),
            value=-log_likelihood - log_prior,
            gradient=gradient,
            residual=self.residual(params, gradient),
            slope=slope,
            weights=weights,
            detail=NormalDetail(log_likelihood, mean.beta, mean.covariance, noise),
        )

    def residual(self, params: Array, gradient: Array) -> float:
        """Return the largest derivative for a relative change of a parameter, per task."""
        inner = relative_slope(params, inner_slope(params, gradient, self.bounds()), self.sizes[0])
        return float(np.abs(inner).max(initial=0.0)) / (2.0 * max(self.active, 1))

    def bounds(self) -> Array:
        """Return lower and upper bounds: logs stay within reason."""
        size = self.sizes[0]
        bounds = np.tile([[-LARGEST_LOG], [LARGEST_LOG]], (1, sum(self.sizes)))
        bounds[:, :size] = 0.0 if self.without else [[-np.inf], [np.inf]]
        if self.apart:
            bounds[:, -1] = -LARGEST_LOG
        return bounds

    def expected(self, at: Evaluation[NormalDetail]) -> Array:
        """Return the parameters after an EM step in Psi."""
        size = self.sizes[0]
        Psi = self.structure.covariance(at.params[:size], self.q)
        second = expected_second(Psi, at.slope, self.active)
        return np.concatenate([self.structure.start(second), at.params[size:]])

    def information(self, params: Array) -> Array:
        """Return the expected information about the entries of Psi, each tied to its mirror."""
        # Shapes: params (sum of `sizes`,), result (q, q).
        _, log_noise, _ = self.unpack(params)
        L, precision = self.factor(params), None if log_noise is None else np.exp(-log_noise)
        total = np.zeros((self.q, self.q))
        for block, reduced in zip(self.blocks, self._reduced(L, precision, ()), strict=True):
            total += block.tasks.shape[1] * reduced.information(self.varying)
        return total

    @cached_property
    def _counts(self) -> Array:
        counts = np.zeros(self.n_tasks)
        for block in self.blocks:
            np.add.at(counts, block.tasks, block.count[:, None])
        return counts

    def _reduced(
        self, L: Array, precision: Array | None, kept: Sequence[Reduced]
    ) -> Iterator[Reduced]:
        yield from kept

        def reduce(block: Block) -> Reduced:
            return block.reduce(L, self.varying, precision)

        yield from in_order(reduce, self.blocks[len(kept) :])

    def _totals(self, L: Array, precision: Array | None, kept: list[Reduced]) -> Totals:
        """Sum over the blocks; the first reduced blocks are left in `kept`."""
        room = _KEPT_ENTRIES
        totals = Totals(np.zeros((self.p, self.p)), np.zeros(self.p), 0.0)
        for block, reduced in zip(self.blocks, self._reduced(L, precision, ()), strict=True):
            totals = totals + reduced.totals()
            room -= block.entries
            if room > 0:
                kept.append(reduced)
        return totals

    def _slope(
        self,
        L: Array,
        precision: Array | None,
        kept: Sequence[Reduced],
        found: tuple[MeanEstimate, float],
        noise_slope: Array | None,
    ) -> tuple[Array, Array]:
        """Return the derivative with respect to Psi, and weights; fill that of the log noise."""
        slope, weights = np.zeros((self.q, self.q)), np.zeros(self.q)
        mean, noise = found
        for block, reduced in zip(self.blocks, self._reduced(L, precision, kept), strict=True):
            k = block.tasks.shape[1]
            a = _flat(np.swapaxes(reduced.scores(mean.beta, self.varying), 1, 2))
            F = reduced.couplings(mean.root, self.varying)
            flat = _flat(np.swapaxes(F, 1, 2))
            total = k * reduced.precision(self.varying)
            weights += np.diagonal(total)
            slope += 0.5 * (total - a.T @ a / noise - k * (flat.T @ flat))
            if noise_slope is not None:
                shrunk = np.einsum("gij,ir,jr->g", reduced.precisions(self.varying), L, L)
                left = reduced.misfits(mean.beta)[:, 0] - np.sum((a @ L) ** 2, axis=1)
                spread = reduced.traces(mean.root) - np.sum(
                    (np.swapaxes(F, 1, 2) @ L) ** 2, axis=(1, 2)
                )
                own = block.count - shrunk - left / noise - spread
                noise_slope[block.tasks[:, 0]] += 0.5 * own
        return slope, weights

    def _noise_prior(self, log_noise: Array) -> tuple[float, Array]:
        """Return the log density of inverse gamma noise around 1, and its gradient."""
        rows = self.model.task_noise or 0.0
        inverse = np.exp(-log_noise)
        return -0.5 * rows * float(np.sum(log_noise + inverse - 1.0)), -0.5 * rows * (
            1.0 - inverse
        )


def _flat(values: Array) -> Array:
    """Join the first two axes."""
    return values.reshape(-1, values.shape[2])


def _pooled(blocks: Sequence[Block]) -> tuple[Array, float, float, float]:
    """Return X'VX, y'Vy, the same about the means of the tasks, and the number of rows."""
    gram: Array | float = 0.0
    square, within, count = 0.0, 0.0, 0.0
    for block in blocks:
        k = block.tasks.shape[1]
        own_gram, cross, own_square = block.moments()
        gram = gram + k * own_gram.sum(axis=0)
        means = cross[:, 0] ** 2 / np.maximum(own_gram[:, :1, 0], np.finfo(float).tiny)
        square += float(own_square.sum())
        within += float(np.maximum(own_square - means, 0.0).sum())
        count += k * float(block.count.sum())
    return np.asarray(gram), square, within, count


def ridge_of(gram: Array) -> Array:
    """Return a ridge for columns that depend on others; none if there are none."""
    own = np.diagonal(gram).copy()
    largest = float(own.max(initial=0.0))
    own = np.where(own > 0, own, largest if largest > 0 else 1.0)
    scale = np.sqrt(own)
    smallest = np.linalg.eigvalsh(gram / np.multiply.outer(scale, scale))[0]
    return own * _RIDGE if smallest < _RIDGE else np.zeros_like(own)


class KernelMarginal(Likelihood[NormalDetail]):
    """Values and gradients of a :class:`Marginal` whose tasks are kept as rows."""

    def __init__(self, marginal: Marginal) -> None:
        self.marginal, self.structure = marginal, marginal.structure
        self.q, self.n_rows = marginal.q, marginal.n_rows
        parts = [block for block in marginal.blocks if isinstance(block, Rows)]
        real = [block.rows[:, :, 0] != 0.0 for block in parts]
        X = np.concatenate([block.rows[own] for block, own in zip(parts, real, strict=True)])
        y = [block.y[:, :, 0][own] for block, own in zip(parts, real, strict=True)]
        self._kernel = RowKernel(X, np.cumsum([0, *_lengths(parts)]))
        self._ones, self._y = X[:, 0], np.concatenate(y)

    @property
    def active(self) -> int:
        """Number of tasks with rows."""
        return self.marginal.active

    def bounds(self) -> Array:
        """Return lower and upper bounds."""
        return self.marginal.bounds()

    def expected(self, at: Evaluation[NormalDetail]) -> Array:
        """Return the parameters after an EM step in Psi."""
        return self.marginal.expected(at)

    def evaluate(self, params: Array) -> Evaluation[NormalDetail]:
        """Return the likelihood and its gradient; the mean coefficients are left out."""
        marginal, model = self.marginal, self.marginal.model
        own, _, log_mean = marginal.unpack(params)
        assert log_mean is not None
        psi = np.sum(model.structure.factor(own, 2) ** 2, axis=1)
        variances = np.array([np.exp(log_mean), *psi])
        S = self._kernel.covariance(variances)
        S[np.diag_indices(len(S))] += 1.0
        lower = scipy.linalg.cholesky(S.T, lower=True, overwrite_a=True, check_finite=False)
        log_determinant = 2.0 * float(np.log(np.diagonal(lower)).sum())
        level = scipy.linalg.cho_solve((lower, True), self._ones, check_finite=False)
        weighed = scipy.linalg.cho_solve((lower, True), self._y, check_finite=False)
        known = float(self._ones @ level)
        mean = float(self._ones @ weighed) / known
        alpha = weighed - mean * level
        misfit = max(float(alpha @ (self._y - mean * self._ones)), 0.0)
        noise = (misfit + marginal.floor) / marginal.degrees
        P = scipy.linalg.lapack.dpotri(lower, lower=1, overwrite_c=1)[0]
        traces = self._kernel.traces(P)
        if model.restricted:
            log_determinant += float(np.log(known))
            traces -= self._kernel.forms(level, level) / known
        slopes = 0.5 * (traces - self._kernel.forms(alpha, alpha) / noise)
        value = 0.5 * (marginal.degrees * (np.log(2.0 * np.pi * noise) + 1.0) + log_determinant)
        gradient = np.append(
            model.structure.pull_back(own, 2, np.diag(slopes[1:])), variances[0] * slopes[0]
        )
        # Entries of features that are alike share their sum.
        alike = np.array([1.0, *[1.0 / (self.q - 1)] * (self.q - 1)])
        which = np.array([1, *[2] * (self.q - 1)])
        return Evaluation(
            params=params.copy(),
            value=value,
            gradient=gradient,
            residual=marginal.residual(params, gradient),
            slope=np.diag(slopes[which] * alike),
            weights=np.maximum(traces[which] * alike, 0.0),
            detail=NormalDetail(-value, np.array([mean]), np.zeros((1, 1)), noise),
        )


def _fits_kernel(marginal: Marginal) -> bool:
    """Say whether the likelihood may be had from the rows, and they are fewer than columns."""
    model, blocks = marginal.model, marginal.blocks
    alike = isinstance(model.structure, NoVariation | Scalar) and marginal.q == marginal.p
    plain = model.gaussian_mean and model.task_noise is None
    kept = all(isinstance(block, Rows) and block.tasks.shape[1] == 1 for block in blocks)
    return bool(alike and plain and kept and sum(_lengths(blocks)) < marginal.p)


def _lengths(blocks: Sequence[Block]) -> list[int]:
    """Return the rows of every task, padding left out."""
    return [
        int(n)
        for block in blocks
        if isinstance(block, Rows)
        for n in np.count_nonzero(block.rows[:, :, 0], axis=1)
    ]


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
    marginal = Marginal(blocks, model, n_tasks, without=without, apart=apart)
    engine = KernelMarginal(marginal) if _fits_kernel(marginal) else marginal
    same = start is not None and start.model.structure == model.structure
    found = maximise(engine, _start(marginal, start), tol, max_iter, expect=not same)
    last = found.at
    if engine is not marginal:
        full = marginal.evaluate(last.params)
        last = replace(full, value=last.value, residual=last.residual)
    return _learned(marginal, last, found)


def _start(marginal: Marginal, start: Learned | None) -> Array:
    structure = marginal.structure
    if start is None:
        return marginal.pack(structure.start(marginal.first_guess()))
    size = structure.n_parameters(marginal.q)
    same = start.model.structure == structure
    params = marginal.pack(start.params[:size] if same else structure.start(start.relative))
    if start.model.gaussian_mean and marginal.model.gaussian_mean:
        params[-1] = start.params[-1]
    return params


def _learned(
    marginal: Marginal, last: Evaluation[NormalDetail], found: Found[NormalDetail]
) -> Learned:
    own, log_noise, _ = marginal.unpack(last.params)
    detail = last.detail
    return Learned(
        model=marginal.model,
        params=last.params,
        covariance=detail.noise * marginal.structure.covariance(own, marginal.q),
        mean=detail.beta,
        mean_covariance=detail.noise * detail.beta_covariance,
        noise=detail.noise,
        task_noise=None if log_noise is None else detail.noise * np.exp(log_noise),
        log_likelihood=detail.log_likelihood,
        residual=last.residual,
        converged=found.converged,
        n_iter=found.n_iter,
        seconds=found.seconds,
    )


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


def choose_normal(
    blocks: Sequence[Block], model: Model, n_tasks: int, *, tol: float = 1e-4, max_iter: int = 500
) -> tuple[Learned, tuple[Candidate, ...]]:
    """Learn the prior with the structure of the highest score."""
    return choose(_NormalTrials(blocks, model, n_tasks, (tol, max_iter)))


class _NormalTrials(Trials[Learned]):
    def __init__(
        self, blocks: Sequence[Block], model: Model, n_tasks: int, limits: tuple[float, int]
    ) -> None:
        self.blocks, self.model, self.every, self.limits = blocks, model, n_tasks, limits
        self.sample, self.q = _sample(blocks), len(model.varying)
        self.n_labels = sum(float(b.count.sum()) * b.tasks.shape[1] for b in self.sample)
        self.tasks = _active(self.sample)

    def learn(self, structure: Structure, start: Learned | None) -> Learned:
        """Learn the prior of one structure on a sample of the tasks."""
        if start is not None and isinstance(start.model.structure, NoVariation):
            start = None
        model = replace(self.model, structure=structure)
        return learn(
            self.sample, model, self.every, tol=_ROUGH, max_iter=self.limits[1], start=start
        )

    def refined(self, best: Learned) -> Learned:
        """Go on to the user's tolerance, on all tasks."""
        tol, max_iter = self.limits
        return learn(self.blocks, best.model, self.every, tol=tol, max_iter=max_iter, start=best)

    def value(self, learned: Learned) -> float:
        """Return the log-likelihood with the log density of the covariance."""
        structure = learned.model.structure
        size = structure.n_parameters(self.q)
        own = structure.log_prior(learned.params[:size], self.q)[0]
        return float(learned.log_likelihood + own)

    def tests(self, learned: Learned) -> list[tuple[Array, Array, Array]]:
        """Return slope and information by Psi, and Psi."""
        marginal = Marginal(self.sample, learned.model, self.every)
        slope = marginal.evaluate(learned.params).slope
        return [(slope, marginal.information(learned.params), learned.relative)]


def _active(blocks: Sequence[Block]) -> int:
    return sum(int(np.count_nonzero(b.count > 0)) * b.tasks.shape[1] for b in blocks)


def _sample(blocks: Sequence[Block]) -> Sequence[Block]:
    """Return about `_SAMPLE` tasks, evenly spread over blocks, all of them if there are few."""
    n_tasks = _active(blocks)
    if n_tasks <= 2 * _SAMPLE:
        return blocks
    step = n_tasks // _SAMPLE
    chosen = [block.lines(np.arange(0, len(block.count), step)) for block in blocks]
    return [block for block in chosen if len(block.count)]
