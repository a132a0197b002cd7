"""The marginal likelihood of the model and its gradient.

The targets of task t are ``y = X beta + Z u + e`` with ``u ~ N(0, s2 Psi)`` and
``e ~ N(0, s2 rho_t V^-1)``; ``Psi = L L'`` comes from a structure. The coefficients u are
integrated out block by block, beta is the generalised least squares estimate, and s2 has a
closed form, so that what is left to search are the parameters of Psi, the relative noise
rho_t (if tasks have their own) and the variance of a normal prior on beta (if it has one).
With B = sum_t X'S_t^-1 X + D, D the precision of that prior, twice the negative log-likelihood is

    nu log(2 pi s2) + nu + sum_t log|S_t| + log|B_II| - log|D_gg|,    s2 = Q / nu,

where Q is the weighted residual sum of squares (plus beta'D beta), I are the columns whose
coefficients are integrated out (all for the restricted likelihood, those with a prior
otherwise) and nu counts the rows less the integrated columns without a prior.

References
----------
Harville, D. A. (1977). Maximum likelihood approaches to variance component estimation and to
related problems. JASA 72, 320-338.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Block, Chosen, Reduced, Totals
from polytask.bayes.structures import Scalar, Structure
from polytask.bayes.threads import in_order

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
