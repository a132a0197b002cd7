"""The marginal likelihood of the model and its gradient, over coefficients or over rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.linalg.lapack
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Block, Chosen, Reduced, Rows, Totals, in_order
from polytask.bayes.prior import NoVariation, Scalar, Structure
from polytask.exceptions import IncompatibleError

Mask = NDArray[np.bool_]

# Reduced blocks are kept for the gradient up to this many numbers, else made again.
_KEPT_ENTRIES = 6e6
# The noise variance never falls below this share of that of the targets within tasks, and below
# this share of their squares: more digits than that are lost in sums of squares.
_NOISE_FLOOR, _ROUNDING = 1e-6, 1e-12
# Columns that depend on others get this share of their own moment as a ridge.
_RIDGE = 1e-9


@saveable("bayes.model")
@dataclass(frozen=True)
class Model:
    """What is to be learned."""

    structure: Structure
    varying: tuple[int, ...]
    restricted: bool = True
    gaussian_mean: bool = False
    task_noise: float | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The likelihood at one point."""

    # Shapes: gradient (n_parameters,), slope (q, q), weights (q,), beta (p,), beta_covariance (p,
    # p).

    value: float
    gradient: Array
    log_likelihood: float
    slope: Array
    weights: Array
    beta: Array
    beta_covariance: Array
    noise: float


@dataclass(frozen=True, eq=False)
class _Mean:
    """The generalised least squares estimate of the mean."""

    beta: Array
    covariance: Array
    root: Array  # root root' is the covariance of the integrated coefficients, p rows
    noise: float
    log_determinants: float


class Marginal:
    """The marginal likelihood of blocks of tasks."""

    def __init__(self, blocks: Sequence[Block], model: Model, n_tasks: int) -> None:
        own_noise = model.task_noise is not None
        self.blocks = [block.apart() for block in blocks] if own_noise else list(blocks)
        self.model = model
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

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Lengths of the three parts of the parameter vector."""
        noise = self.n_tasks if self.model.task_noise is not None else 0
        return self.model.structure.n_parameters(self.q), noise, int(self.model.gaussian_mean)

    @property
    def integrated(self) -> Mask:
        """Mask of the mean coefficients that are integrated out, shape (p,)."""
        mask = np.full(self.p, self.model.restricted or self.model.gaussian_mean)
        mask[0] = self.model.restricted
        return mask

    @property
    def degrees(self) -> float:
        """Rows, less the integrated coefficients without a prior."""
        without = self.integrated & ~self._prior_mask
        return self.n_rows - float(np.count_nonzero(without))

    @cached_property
    def _prior_mask(self) -> Mask:
        mask = np.full(self.p, self.model.gaussian_mean)
        mask[0] = False
        return mask

    @cached_property
    def active(self) -> int:
        """Number of tasks with rows."""
        return int(sum(np.count_nonzero(b.count > 0) * b.tasks.shape[1] for b in self.blocks))

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

    def evaluate(self, params: Array) -> Evaluation:
        """Return the likelihood and its gradient. Shapes: params (sum of `sizes`,)."""
        own, log_noise, log_mean = self.unpack(params)
        L = self.factor(params)
        precision = None if log_noise is None else np.exp(-log_noise)
        kept: list[Reduced] = []
        totals = self._totals(L, precision, kept)
        mean = self._mean(totals, log_mean)
        noise_slope = np.zeros(self.n_tasks) if log_noise is not None else None
        slope, weights = self._slope(L, precision, kept, mean, noise_slope)
        log_likelihood = -0.5 * (
            self.degrees * (np.log(2.0 * np.pi * mean.noise) + 1.0)
            + totals.log_determinant
            + (0.0 if log_noise is None else float(self._counts @ log_noise))
            + mean.log_determinants
        )
        log_prior, prior_slope = self.model.structure.log_prior(own, self.q)
        gradient = [self.model.structure.pull_back(own, self.q, slope) - prior_slope]
        if log_noise is not None and noise_slope is not None:
            value, pull = self._noise_prior(log_noise)
            log_prior += value
            gradient.append(noise_slope - pull)
        if log_mean is not None:
            gradient.append(np.array([self._mean_slope(mean, log_mean)]))
        return Evaluation(
            log_likelihood=log_likelihood,
            value=-log_likelihood - log_prior,
            gradient=np.concatenate(gradient),
            slope=slope,
            weights=weights,
            beta=mean.beta,
            beta_covariance=mean.covariance,
            noise=mean.noise,
        )

    def information(self, params: Array) -> Array:
        """Return the expected information about the entries of Psi, each tied to its mirror."""
        # Shapes: params (sum of `sizes`,), result (q, q).
        _, log_noise, _ = self.unpack(params)
        L, precision = self.factor(params), None if log_noise is None else np.exp(-log_noise)
        total = np.zeros((self.q, self.q))
        for block, reduced in zip(self.blocks, self._reduced(L, precision, ()), strict=True):
            P = reduced.precisions(self.varying)
            own = np.diagonal(P, axis1=1, axis2=2)
            total += block.tasks.shape[1] * (own.T @ own + np.sum(P**2, axis=0))
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
        totals = Totals(np.zeros((self.p, self.p)), np.zeros(self.p), 0.0, 0.0)
        for block, reduced in zip(self.blocks, self._reduced(L, precision, ()), strict=True):
            totals = totals + reduced.totals()
            room -= block.entries
            if room > 0:
                kept.append(reduced)
        return totals

    def _mean(self, totals: Totals, log_mean: float | None) -> _Mean:
        added = self._ridge.copy()
        if log_mean is not None:
            added[self._prior_mask] += np.exp(-log_mean)
        B = totals.gram + np.diag(added)
        lower = np.linalg.cholesky(B)
        inverse = scipy.linalg.solve_triangular(lower, np.eye(self.p), lower=True)
        beta = inverse.T @ (inverse @ totals.cross)
        misfit = max(totals.square - float(beta @ totals.cross), 0.0)
        inside = self.integrated
        log_determinants, root = 0.0, np.zeros((self.p, 0))
        if inside.any():
            part = lower if inside.all() else np.linalg.cholesky(B[np.ix_(inside, inside)])
            root = np.zeros((self.p, len(part)))
            root[inside] = scipy.linalg.solve_triangular(part, np.eye(len(part)), lower=True).T
            log_determinants = 2.0 * float(np.log(np.diagonal(part)).sum())
        if log_mean is not None:
            log_determinants += log_mean * float(np.count_nonzero(self._prior_mask))
        noise = (misfit + self.floor) / self.degrees
        return _Mean(beta, inverse.T @ inverse, root, noise, log_determinants)

    def _slope(
        self,
        L: Array,
        precision: Array | None,
        kept: Sequence[Reduced],
        mean: _Mean,
        noise_slope: Array | None,
    ) -> tuple[Array, Array]:
        """Return the derivative with respect to Psi, and weights; fill that of the log noise."""
        slope, weights = np.zeros((self.q, self.q)), np.zeros(self.q)
        for block, reduced in zip(self.blocks, self._reduced(L, precision, kept), strict=True):
            k = block.tasks.shape[1]
            P = reduced.precisions(self.varying)
            a = _flat(np.swapaxes(reduced.scores(mean.beta, self.varying), 1, 2))
            F = reduced.couplings(mean.root, self.varying)
            flat = _flat(np.swapaxes(F, 1, 2))
            total = k * P.sum(axis=0)
            weights += np.diagonal(total)
            slope += 0.5 * (total - a.T @ a / mean.noise - k * (flat.T @ flat))
            if noise_slope is not None:
                shrunk = np.einsum("gij,ir,jr->g", P, L, L)
                left = reduced.misfits(mean.beta)[:, 0] - np.sum((a @ L) ** 2, axis=1)
                spread = reduced.traces(mean.root) - np.sum(
                    (np.swapaxes(F, 1, 2) @ L) ** 2, axis=(1, 2)
                )
                own = block.count - shrunk - left / mean.noise - spread
                noise_slope[block.tasks[:, 0]] += 0.5 * own
        return slope, weights

    def _noise_prior(self, log_noise: Array) -> tuple[float, Array]:
        """Return the log density of inverse gamma noise around 1, and its gradient."""
        rows = self.model.task_noise or 0.0
        inverse = np.exp(-log_noise)
        return -0.5 * rows * float(np.sum(log_noise + inverse - 1.0)), -0.5 * rows * (
            1.0 - inverse
        )

    def _mean_slope(self, mean: _Mean, log_mean: float) -> float:
        """Return the derivative with respect to the log variance of the prior of the mean."""
        mask = self._prior_mask
        spread = float(np.sum(mean.root[mask] ** 2)) + float(
            np.sum(mean.beta[mask] ** 2) / mean.noise
        )
        return 0.5 * (float(np.count_nonzero(mask)) - spread * float(np.exp(-log_mean)))


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


class KernelMarginal:
    """Values and gradients of a :class:`Marginal` whose tasks are kept as rows."""

    def __init__(self, marginal: Marginal) -> None:
        self.marginal = marginal
        X, y = _stacked(marginal.blocks)
        self._ones, features = X[:, 0], X[:, 1:]
        self._y = y
        self._G = features @ features.T
        ends = np.cumsum([0, *_lengths(marginal.blocks)]).tolist()
        self._tasks = [slice(a, b) for a, b in itertools.pairwise(ends)]

    def evaluate(self, params: Array) -> Evaluation:
        """Return the likelihood and its gradient; the mean coefficients are left out."""
        marginal, model = self.marginal, self.marginal.model
        own, _, log_mean = marginal.unpack(params)
        if log_mean is None:
            raise IncompatibleError(
                "KernelMarginal needs mean coefficients with a learned variance; this marginal "
                "likelihood has none."
            )
        factor = model.structure.factor(own, 2)
        psi, tau = np.sum(factor**2, axis=1), float(np.exp(log_mean))
        lower, log_determinant = self._factor(psi, tau)
        level = scipy.linalg.cho_solve((lower, True), self._ones, check_finite=False)
        weighed = scipy.linalg.cho_solve((lower, True), self._y, check_finite=False)
        known = float(self._ones @ level)
        mean = float(self._ones @ weighed) / known
        alpha = weighed - mean * level
        misfit = max(float(alpha @ (self._y - mean * self._ones)), 0.0)
        noise = (misfit + marginal.floor) / marginal.degrees
        if model.restricted:
            log_determinant += float(np.log(known))
        value = -0.5 * (marginal.degrees * (np.log(2.0 * np.pi * noise) + 1.0) + log_determinant)
        P = scipy.linalg.lapack.dpotri(lower, lower=1, overwrite_c=1)[0]
        forms, traces = self._forms(P, alpha, level / np.sqrt(known) if model.restricted else None)
        slopes = 0.5 * (traces - forms / noise)
        return self._evaluation(params, -value, (slopes, traces[1:], tau), (mean, noise))

    def _factor(self, psi: Array, tau: float) -> tuple[Array, float]:
        S = tau * self._G
        for part in self._tasks:
            ones = self._ones[part]
            S[part, part] += psi[1] * self._G[part, part] + psi[0] * np.multiply.outer(ones, ones)
        S[np.diag_indices(len(S))] += 1.0
        lower = scipy.linalg.cholesky(S.T, lower=True, overwrite_a=True, check_finite=False)
        return lower, 2.0 * float(np.log(np.diagonal(lower)).sum())

    def _forms(self, P: Array, alpha: Array, level: Array | None) -> tuple[Array, Array]:
        """Return alpha' M alpha and tr(P M) for M of tau^2, psi_0 and psi."""
        # P has the lower half of S^-1; `level` is what a free level takes from it.
        forms, traces = np.zeros(3), np.zeros(3)
        G = self._G
        forms[0], traces[0] = alpha @ (G @ alpha), _inner(P, G)
        if level is not None:
            traces[0] -= level @ (G @ level)
        for part in self._tasks:
            ones, block, own = self._ones[part], G[part, part], alpha[part]
            forms[1:] += (ones @ own) ** 2, own @ (block @ own)
            unit = np.multiply.outer(ones, ones)
            traces[1:] += _inner(P[part, part], unit), _inner(P[part, part], block)
            if level is not None:
                free = level[part]
                traces[1:] -= (ones @ free) ** 2, free @ (block @ free)
        return forms, traces

    def _evaluation(
        self,
        params: Array,
        value: float,
        slopes: tuple[Array, Array, float],
        found: tuple[float, float],
    ) -> Evaluation:
        """Return what a search needs; entries of features that are alike share their sum."""
        structure, q = self.marginal.model.structure, self.marginal.q
        (by_mean, *by_covariance), weights, tau = slopes
        alike = np.array([1.0, *[1.0 / (q - 1)] * (q - 1)])
        which = np.array([0, *[1] * (q - 1)])
        own = self.marginal.unpack(params)[0]
        gradient = structure.pull_back(own, 2, np.diag(by_covariance))
        return Evaluation(
            value=value,
            gradient=np.append(gradient, tau * by_mean),
            log_likelihood=-value,
            slope=np.diag(np.array(by_covariance)[which] * alike),
            weights=np.maximum(weights[which] * alike, 0.0),
            beta=np.array([found[0]]),
            beta_covariance=np.zeros((1, 1)),
            noise=found[1],
        )


def fits_kernel(marginal: Marginal) -> bool:
    """Say whether the likelihood may be had from the rows, and they are fewer than columns."""
    model, blocks = marginal.model, marginal.blocks
    alike = isinstance(model.structure, NoVariation | Scalar) and marginal.q == marginal.p
    plain = model.gaussian_mean and model.task_noise is None
    kept = all(isinstance(block, Rows) and block.tasks.shape[1] == 1 for block in blocks)
    return bool(alike and plain and kept and sum(_lengths(blocks)) < marginal.p)


def in_full(marginal: Marginal, params: Array, found: Evaluation) -> Evaluation:
    """Return an evaluation with the mean coefficients, and the gradient that was found."""
    full = marginal.evaluate(params)
    return replace(full, value=found.value, gradient=found.gradient)


def _lengths(blocks: Sequence[Block]) -> list[int]:
    """Return the rows of every task, padding left out."""
    return [
        int(n)
        for block in blocks
        if isinstance(block, Rows)
        for n in np.count_nonzero(block.rows[:, :, 0], axis=1)
    ]


def _stacked(blocks: Sequence[Block]) -> tuple[Array, Array]:
    parts = [block for block in blocks if isinstance(block, Rows)]
    real = [block.rows[:, :, 0] != 0.0 for block in parts]
    X = np.concatenate([block.rows[own] for block, own in zip(parts, real, strict=True)])
    y = np.concatenate([block.y[:, :, 0][own] for block, own in zip(parts, real, strict=True)])
    return X, y


def _inner(lower: Array, M: Array) -> float:
    """Return tr(P M) of symmetric matrices, P given by its lower half, zeros above."""
    both = float(np.einsum("ij,ij->", lower, M.T))
    return 2.0 * both - float(np.diagonal(lower) @ np.diagonal(M))
