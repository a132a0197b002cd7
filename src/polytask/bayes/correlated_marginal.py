"""The marginal likelihood of rows whose labels have correlated noise, and its gradient.

Row i has the labels ``y_i = W'z_i + e_i`` with ``e_i ~ N(0, Sigma / v_i)``; the columns of W are
independent, ``w_t = mu + u_t``, ``u_t ~ N(0, Omega)`` in the columns that vary. With V the
covariance of all labels, B = X'V^-1 X + D for the design X of mu and the precision D of its prior
(0 without one), minus twice the log-likelihood is

    nu log(2 pi) + log|V| + log|B_II| - log|D_gg| + y'V^-1 y - y'V^-1 X B^-1 X'V^-1 y,

where I are the coefficients of mu that are integrated out (all of them for the restricted
likelihood, else those with a prior) and nu counts the labels less the integrated coefficients
without a prior. Sigma is pulled to a diagonal Lambda by

    (m / 2) (log|Sigma| - log|Lambda| + tr(Sigma^-1 Lambda) - T),

the log density of an inverse Wishart distribution with its mode at Lambda: it acts as m further
rows with uncorrelated noise would, and keeps Sigma invertible with fewer rows than tasks.

References
----------
Zellner, A. (1962). An efficient method of estimating seemingly unrelated regressions and tests
for aggregation bias. JASA 57, 348-368.
Chen, C.-F. (1979). Bayesian inference for a normal dispersion matrix and its application to
stochastic multiple regression analysis. JRSS B 41, 235-248 (the pull).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Chosen
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_engines import reduced
from polytask.bayes.correlated_reduce import JointReduced, JointTotals
from polytask.bayes.marginal import Mask, Model, ridge_of


@saveable("bayes.noise_pull")
@dataclass(frozen=True, eq=False)
class NoisePull:
    """What the covariance of the noise is pulled to. Shapes: variances (T,)."""

    rows: float
    variances: Array


@dataclass(frozen=True, eq=False)
class Point:
    """Where the likelihood is evaluated. Shapes: structure (n_parameters,), noise (T, T)."""

    structure: Array
    noise: Array
    log_mean: float | None


@dataclass(frozen=True, eq=False)
class JointEvaluation:
    """The likelihood at one point."""

    # Shapes: structure_slope (n_parameters,), covariance_slope (q, q), data_noise_slope (T, T),
    # noise_slope (T, T), weights (q,), beta (p,), beta_covariance (p, p).

    value: float
    log_likelihood: float
    structure_slope: Array
    covariance_slope: Array
    data_noise_slope: Array
    noise_slope: Array
    mean_slope: float | None
    weights: Array
    beta: Array
    beta_covariance: Array


@dataclass(frozen=True, eq=False)
class _Mean:
    """The generalised least squares estimate of the mean."""

    beta: Array
    covariance: Array
    root: Array  # root root' is the covariance of the integrated coefficients, p rows
    held: float  # what its prior charges for it
    log_determinants: float


class JointMarginal:
    """The marginal likelihood of rows of several tasks."""

    def __init__(self, rows: JointRows, model: Model, pull: NoisePull) -> None:
        self.rows, self.model, self.pull = rows, model, pull
        self.p, self.q = rows.X.shape[1], len(model.varying)
        everything = model.varying == tuple(range(self.p))
        self.varying: Chosen = (
            slice(None) if everything else np.array(model.varying, dtype=np.intp)
        )
        labels = rows.labelled.sum(axis=1)
        self.n_labels = float(rows.count @ labels)
        self.n_rows = float(rows.count.sum())
        self._unit = float(np.mean(pull.variances))
        gram = (rows.X.T * labels[rows.pattern]) @ rows.X
        self._ridge = ridge_of(gram) / self._unit

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return self.rows.n_tasks

    @cached_property
    def _prior_mask(self) -> Mask:
        mask = np.full(self.p, self.model.gaussian_mean)
        mask[0] = False
        return mask

    @cached_property
    def _integrated(self) -> Mask:
        mask = np.full(self.p, self.model.restricted or self.model.gaussian_mean)
        mask[0] = self.model.restricted
        return mask

    def covariance(self, point: Point) -> Array:
        """Return Omega, shape (q, q)."""
        return self.model.structure.covariance(point.structure, self.q)

    def reduce(self, point: Point) -> JointReduced:
        """Integrate out the coefficients that vary."""
        L = self.model.structure.factor(point.structure, self.q)
        if L.shape[1] > self.q:
            upper: Array = np.linalg.qr(L.T).R
            L = upper.T
        return reduced(self.rows, L, self.varying, point.noise)

    def evaluate(self, point: Point) -> JointEvaluation:
        """Return the likelihood and its gradient."""
        work = self.reduce(point)
        totals = work.totals()
        mean = self._mean(totals, point.log_mean)
        slopes = work.slopes(mean.beta, mean.root)
        flat = float(np.count_nonzero(self._integrated & ~self._prior_mask))
        log_likelihood = -0.5 * (
            (self.n_labels - flat) * np.log(2.0 * np.pi)
            + totals.log_determinant
            + mean.log_determinants
            + slopes.misfit
            + mean.held
        )
        structure = self.model.structure
        log_prior, prior_slope = structure.log_prior(point.structure, self.q)
        pulled, pull_slope = self._pulled(point.noise)
        gradient = structure.pull_back(point.structure, self.q, slopes.covariance)
        return JointEvaluation(
            value=-log_likelihood - log_prior + pulled,
            log_likelihood=log_likelihood,
            structure_slope=gradient - prior_slope,
            covariance_slope=slopes.covariance,
            data_noise_slope=slopes.noise,
            noise_slope=slopes.noise + pull_slope,
            mean_slope=None if point.log_mean is None else self._mean_slope(mean, point.log_mean),
            weights=slopes.weights,
            beta=mean.beta,
            beta_covariance=mean.covariance,
        )

    def expect(self, point: Point, found: JointEvaluation) -> Point:
        """Take an EM step: never downhill, but for a structure without an exact M step."""
        # The coefficients, the mean that is integrated out and missing labels are what is not
        # observed; their second moments follow from the slopes at the point.
        model = self.model
        Omega = self.covariance(point)
        second = Omega - (2.0 / self.n_tasks) * Omega @ found.covariance_slope @ Omega
        errors = self.errors(point, found)
        errors[np.diag_indices_from(errors)] += self.pull.rows * self.pull.variances
        noise = errors / (self.n_rows + self.pull.rows)
        log_mean = point.log_mean
        if log_mean is not None and found.mean_slope is not None:
            share = 1.0 - 2.0 * found.mean_slope / np.count_nonzero(self._prior_mask)
            log_mean += float(np.log(max(share, np.finfo(float).tiny)))
        return Point(model.structure.start(_positive(second)), noise, log_mean)

    def errors(self, point: Point, found: JointEvaluation) -> Array:
        """Return the expected products of all rows' noise, missing labels included, (T, T)."""
        Sigma = point.noise
        moments = self.n_rows * Sigma - 2.0 * Sigma @ found.data_noise_slope @ Sigma
        return np.asarray(0.5 * (moments + moments.T))

    def information(self, point: Point) -> Array:
        """Return the expected information about the entries of Omega, each tied to its mirror."""
        return self.reduce(point).information()

    def _mean(self, totals: JointTotals, log_mean: float | None) -> _Mean:
        added = self._ridge.copy()
        if log_mean is not None:
            added[self._prior_mask] += np.exp(-log_mean) / self._unit
        B = totals.gram + np.diag(added)
        if not np.isfinite(B).all():
            raise np.linalg.LinAlgError("moments without digits")
        lower = np.linalg.cholesky(B)
        inverse = scipy.linalg.solve_triangular(lower, np.eye(self.p), lower=True)
        beta = inverse.T @ (inverse @ totals.cross)
        inside = self._integrated
        log_determinants, root = 0.0, np.zeros((self.p, 0))
        if inside.any():
            part = lower if inside.all() else np.linalg.cholesky(B[np.ix_(inside, inside)])
            root = np.zeros((self.p, len(part)))
            root[inside] = scipy.linalg.solve_triangular(part, np.eye(len(part)), lower=True).T
            log_determinants = 2.0 * float(np.log(np.diagonal(part)).sum())
        if log_mean is not None:
            size = float(np.count_nonzero(self._prior_mask))
            log_determinants += size * (log_mean + np.log(self._unit))
        return _Mean(beta, inverse.T @ inverse, root, float(added @ beta**2), log_determinants)

    def _pulled(self, noise: Array) -> tuple[float, Array]:
        """Return minus the log density of the noise, and its derivative."""
        rows, target = self.pull.rows, self.pull.variances
        inverse = np.linalg.inv(noise)
        inverse = 0.5 * (inverse + inverse.T)
        log_determinant = float(np.linalg.slogdet(noise)[1] - np.log(target).sum())
        trace = float(np.diagonal(inverse) @ target)
        slope = inverse - (inverse * target) @ inverse
        return 0.5 * rows * (log_determinant + trace - len(target)), 0.5 * rows * slope

    def _mean_slope(self, mean: _Mean, log_mean: float) -> float:
        """Return the derivative with respect to the log variance of the prior of the mean."""
        mask = self._prior_mask
        spread = float(np.sum(mean.root[mask] ** 2) + np.sum(mean.beta[mask] ** 2))
        size = float(np.count_nonzero(mask))
        return 0.5 * (size - spread * float(np.exp(-log_mean)) / self._unit)


def _positive(covariance: Array) -> Array:
    """Return a symmetric matrix without the negative eigenvalues that rounding leaves."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)
