"""Do tasks share all, something, or nothing: what the data say.

Pooled against related: twice the log ratio of likelihoods of the model with the chosen
structure and of the model without variation. A variance of zero lies on the edge of what is
possible, where the ratio has no chi-square distribution; its distribution is drawn from the
pooled model instead. Separate against related: the log density of every row given all other
rows, in closed form.

References
----------
Self, S. G. and Liang, K.-Y. (1987). Asymptotic properties of maximum likelihood estimators and
likelihood ratio tests under nonstandard conditions. JASA 82, 605-610.
Sundararajan, S. and Keerthi, S. S. (2001). Predictive approaches for choosing hyperparameters
in Gaussian processes. Neural Computation 13, 1103-1118 (leave-one-out density).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.random import Generator

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Block, Moments, Rows
from polytask.bayes.correlated import JointLearned, Search, Start, learn_joint
from polytask.bayes.correlated_rows import JointRows
from polytask.bayes.normal import Learned, learn
from polytask.bayes.posterior import posterior_covariance, posterior_means
from polytask.bayes.prior import NoVariation, Prior, Scalar, Structure, factor_of
from polytask.messages import LazyMessage

_ROUGH = 1e-3
# Data drawn from the pooled model are fitted in no more than so many evaluations each.
_FEW = 60
# Variances of coefficients start at this share of the noise's or above.
_LIFT = 0.05
_NO_ROOM = 1e-9
_LEVEL, _CLEAR = 0.05, 2.0
# A smaller gain in log density per row is nothing that a user would notice.
_MATTERS = 2e-3


@saveable("bayes.evidence")
@dataclass(frozen=True)
class Evidence:
    """What the data say about how tasks are related."""

    verdict: str
    log_ratio: float
    p_value: float
    intercept_log_ratio: float
    intercept_p_value: float
    related_density: float
    separate_density: float
    density_error: float
    n_bootstrap: int

    def __str__(self) -> str:
        """Return a plain sentence."""
        fields = {
            "p": f"{self.p_value:.3g}",
            "own": f"{self.intercept_p_value:.3g}",
            "gain": f"{self.related_density - self.separate_density:+.3g}",
            "error": f"{self.density_error:.2g}",
        }
        return str(LazyMessage(f"evidence.{self.verdict}", fields))


def log_densities(
    line: Block | None, prior: Prior, noise: float, rows: tuple[Array, Array, Array]
) -> Array:
    """Return the log density of rows of a task given all its other rows. Shapes: result (n,)."""
    # With C the posterior covariance of the coefficients and e the residuals from the posterior
    # mean, the density of row i given the others is normal with the residual ``e_i / (1 - h_i)``
    # and the variance ``noise / (v_i (1 - h_i))``, where ``h_i = v_i x_i' C x_i / noise``. The
    # prior counts as known: that the row took part in learning it is not undone.
    X, y, v = rows
    known = replace(prior, mean_covariance=None)
    C = posterior_covariance(line, known, noise)
    mean = prior.mean
    if line is not None:
        single = replace(line, tasks=np.zeros((1, 1), dtype=np.intp))
        mean = posterior_means([single], replace(known, noise=noise), 1)[0]
    left = np.maximum(1.0 - v * np.einsum("ij,ij->i", X @ C, X) / noise, _NO_ROOM)
    variance = noise / (v * left)
    return np.asarray(
        -0.5 * (np.log(2.0 * np.pi * variance) + ((y - X @ mean) / left) ** 2 / variance)
    )


def verdict(p_value: float, gain: float, error: float) -> str:
    """Return the plain reading of a p-value and a gain in density with its error."""
    if p_value > _LEVEL:
        return "pooled"
    return "related" if gain > max(_CLEAR * error, _MATTERS) else "separate"


Data = TypeVar("Data")
Fitted = TypeVar("Fitted", Learned, JointLearned)


class _Test(ABC, Generic[Data, Fitted]):
    """A likelihood ratio of two structures, and its distribution under the smaller one."""

    @abstractmethod
    def fit(self, data: Data, structure: Structure | None) -> Fitted:
        """Fit one of the models; None for no variation at all."""

    @abstractmethod
    def drawn(self, data: Data, base: Fitted, rng: Generator) -> Data:
        """Draw targets for the same rows."""

    def ratio(
        self, data: Data, larger: Structure, smaller: Structure | None
    ) -> tuple[float, Fitted]:
        """Return the log ratio, and the smaller model."""
        large, small = self.fit(data, larger), self.fit(data, smaller)
        return max(large.log_likelihood - small.log_likelihood, 0.0), small

    def p_value(
        self, data: Data, pair: tuple[Structure, Structure | None], draws: int, rng: Generator
    ) -> tuple[float, float]:
        """Return the log ratio of a larger and a smaller structure, and its p-value."""
        ratio, base = self.ratio(data, *pair)
        found = (self.ratio(self.drawn(data, base, rng), *pair)[0] for _ in range(draws))
        return ratio, (1 + sum(own >= ratio for own in found)) / (1 + draws)


@dataclass(frozen=True, eq=False)
class _NormalTest(_Test[Sequence[Block], Learned]):
    learned: Learned

    def fit(self, data: Sequence[Block], structure: Structure | None) -> Learned:
        """Fit one of the models, the noise the same for all tasks."""
        plain = structure or NoVariation()
        model = replace(self.learned.model, structure=plain, task_noise=None)
        without = structure is None
        n_tasks = 1 + max(int(block.tasks.max()) for block in data)
        return learn(data, model, n_tasks, tol=_ROUGH, max_iter=_FEW, without=without)

    def drawn(self, data: Sequence[Block], base: Learned, rng: Generator) -> Sequence[Block]:
        """Draw targets for the same rows."""
        return _drawn(data, base, rng)


@dataclass(frozen=True, eq=False)
class _JointTest(_Test[JointRows, JointLearned]):
    """The covariance of the noise is held as it was learned, in both models and all draws."""

    learned: JointLearned

    def fit(self, data: JointRows, structure: Structure | None) -> JointLearned:
        """Fit one of the models."""
        learned = self.learned
        model = replace(learned.model, structure=structure or NoVariation())
        search = Search(_ROUGH, _FEW, without=structure is None, noise_held=True)
        # Variances to begin with where none were learned.
        least = np.full(len(learned.covariance), _LIFT * np.mean(learned.pull.variances))
        covariance = np.maximum(learned.covariance, np.diag(least))
        start = Start(covariance, learned.noise, learned.log_mean)
        return learn_joint(data, model, learned.pull, start, search)

    def drawn(self, data: JointRows, base: JointLearned, rng: Generator) -> JointRows:
        """Draw targets for the same rows."""
        return _drawn_rows(data, base, rng)


def likelihood_ratios(
    data: Sequence[Block] | JointRows,
    learned: Learned | JointLearned,
    draws: int,
    rng: Generator,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return log ratio and bootstrap p-value for coefficients, then for intercepts that vary."""
    test: Any = _JointTest(learned) if isinstance(learned, JointLearned) else _NormalTest(learned)
    larger = learned.model.structure
    if isinstance(larger, NoVariation) and len(learned.model.varying) > 1:
        # The alternative to no variation is some.
        larger = Scalar()
    slopes = test.p_value(data, (larger, NoVariation()), draws, rng)
    return slopes, test.p_value(data, (NoVariation(), None), draws, rng)


def _drawn(blocks: Sequence[Block], base: Learned, rng: Generator) -> list[Block]:
    """Draw targets for the same rows from a model."""
    varying = np.array(base.model.varying)
    factor = factor_of(base.covariance)
    L = np.zeros((len(base.mean), factor.shape[1]))
    L[varying] = factor
    return [_drawn_block(block, base, L, rng) for block in blocks]


def _drawn_block(block: Block, base: Learned, L: Array, rng: Generator) -> Block:
    g, k = block.tasks.shape
    W = base.mean + rng.standard_normal((g, k, L.shape[1])) @ L.T
    deviation = np.sqrt(base.noise)
    if isinstance(block, Rows):
        real = np.any(block.rows != 0.0, axis=2)[:, :, None]
        e = deviation * rng.standard_normal(block.y.shape) * real
        return replace(block, y=block.rows @ np.swapaxes(W, 1, 2) + e)
    return _drawn_moments(block, W, deviation, rng)


def _drawn_moments(block: Moments, W: Array, deviation: float, rng: Generator) -> Moments:
    """Draw X'Vy and y'Vy: with G = R R', X'Ve is R times a normal vector, the rest chi-square."""
    g, p, k = block.cross.shape
    values, vectors = np.linalg.eigh(block.gram)
    kept = values > 1e-12 * values[:, -1:]
    R = vectors * np.sqrt(np.where(kept, values, 0.0))[:, None, :]
    z = deviation * rng.standard_normal((g, p, k)) * kept[:, :, None]
    signal = np.swapaxes(W, 1, 2)
    fitted = block.gram @ signal
    noise = R @ z
    degrees = np.maximum(block.count - kept.sum(axis=1), 0.0)[:, None]
    rest = deviation**2 * 2.0 * rng.standard_gamma(np.broadcast_to(degrees / 2.0, (g, k)))
    square = (
        np.sum(signal * fitted, axis=1)
        + 2.0 * np.sum(signal * noise, axis=1)
        + np.sum(z**2, axis=1)
        + rest
    )
    return replace(block, cross=fitted + noise, square=square)


def _drawn_rows(rows: JointRows, base: JointLearned, rng: Generator) -> JointRows:
    """Draw targets for the same rows."""
    # What a pattern's rows leave beside their triangle is the same in both models, so that it
    # need not be drawn.
    varying = np.array(base.model.varying)
    factor = factor_of(base.covariance)
    W = np.repeat(base.mean[:, None], rows.n_tasks, axis=1)
    W[varying] += factor @ rng.standard_normal((factor.shape[1], rows.n_tasks))
    noise: Array = rng.standard_normal(rows.Y.shape) @ np.linalg.cholesky(base.noise).T
    return replace(rows, Y=np.where(rows.labelled[rows.pattern], rows.X @ W + noise, 0.0))
