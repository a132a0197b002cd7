"""The evidence of a prior in the space of the rows: for more features than rows.

With independent coefficients of one variance the linear predictors of all rows are normal with

    K = s^2 + tau^2 G + blocks(v_0 + v G),    G = X X',

s the width of the mean intercept, tau^2 the variance of the mean coefficients, v_0 and v those
of the deviations of intercept and coefficients, and blocks() what is zero between tasks. All
that a search needs are Cholesky factors of matrices as large as the number of labels.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.linalg.blas
import scipy.linalg.lapack
from numpy.typing import NDArray

from polytask.bayes.laplace_engine import FLAT_DEVIATION, Engine, Found
from polytask.bayes.laplace_mode import (
    Point,
    curvatures,
    loss_value,
    residuals,
    third_derivative,
)
from polytask.bayes.laplace_rows import Labelled

Array = NDArray[np.float64]

# As for the posterior in the weights: shares of the objective below which no line search can
# tell whether a step is good, and below which a step is the last.
_TRUSTED, _NEARLY, _SLOW = 1e-10, 1e-20, 0.1
_MAX_STEPS, _MAX_HALVINGS = 100, 40


@dataclass(frozen=True, eq=False)
class _Labels:
    """Labels and weights as the losses take them."""

    y: Array
    weight: Array
    normal: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class _Here:
    """Linear predictors K a, and the objective there."""

    a: Array
    eta: Array
    value: float


@dataclass(frozen=True, eq=False)
class _Variances:
    """The four variances of K; the first is held."""

    level: float
    mean: float
    intercept: float
    coefficient: float


class KernelEngine(Engine):
    """The posterior in the rows, for coefficients of one variance. Shapes: copies (p,)."""

    # The covariance has two columns: the intercept, and one that stands for all features.

    def __init__(self, labelled: Labelled, copies: Array) -> None:
        self._labelled = labelled
        self._X = labelled.take(np.arange(len(labelled.y)))
        inner = self._X[:, 1:]
        self._G = inner @ inner.T
        bounds = labelled.offsets.tolist()
        self._tasks = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        self._active = int(np.count_nonzero(labelled.counts))
        self._labels = _Labels(labelled.y, labelled.weight)
        self.copies = np.array([1.0, float(copies[1:].sum())])
        self._last = np.zeros(len(labelled.y))

    def at(self, factor: Array, mean_variance: float | None) -> Found:
        """Evaluate a prior."""
        own = np.sum(factor**2, axis=1)
        spread = FLAT_DEVIATION**2
        variances = _Variances(
            spread,
            spread if mean_variance is None else mean_variance,
            float(own[0]),
            float(own[1]),
        )
        K = self._kernel(variances)
        here, converged = self._mode(K)
        self._last = here.a
        return self._found(K, here, variances, converged)

    def _kernel(self, variances: _Variances) -> Array:
        K = variances.mean * self._G + variances.level
        for own in self._tasks:
            K[own, own] += variances.coefficient * self._G[own, own] + variances.intercept
        return K

    def _here(self, K: Array, a: Array) -> _Here:
        eta = K @ a
        return self._valued(a, eta)

    def _valued(self, a: Array, eta: Array) -> _Here:
        return _Here(a, eta, loss_value(self._labels, eta) + 0.5 * float(a @ eta))

    def _mode(self, K: Array) -> tuple[_Here, bool]:
        """Return the mode by Newton's method; a factor is used while it serves."""
        starts = [self._here(K, np.zeros(len(K))), self._here(K, self._last)]
        here = min(starts, key=lambda start: start.value)
        model: tuple[Array, Array] | None = None
        reached, renewed = np.inf, False
        for _ in range(_MAX_STEPS):
            fresh = model is None
            if model is None:
                model, reached = self._factor(K, here.eta), np.inf
            pull = residuals(self._labels, here.eta)
            target = self._target(K, model, here, pull)
            slope = float(here.eta @ (target.a - here.a) - pull @ (target.eta - here.eta))
            scale = 1.0 + abs(here.value)
            trusted, slow = -slope <= _TRUSTED * scale, -slope > _SLOW * reached
            if -slope <= _NEARLY * scale or (trusted and slow and renewed):
                return target, True
            found = None
            if trusted and not slow:
                found = target
            elif not slow:
                found = self._descend(here, target, slope)
            if found is not None:
                here, reached = found, -slope
            elif fresh:
                break
            else:
                model, renewed = None, trusted
        return here, False

    def _factor(self, K: Array, eta: Array) -> tuple[Array, Array]:
        """Return the roots of the curvatures, and the factor of ``I + D^1/2 K D^1/2``."""
        root = np.sqrt(curvatures(self._labels, eta))
        inner = K * root[:, None]
        inner *= root
        inner[np.diag_indices(len(K))] += 1.0
        # A symmetric matrix in the order of LAPACK, which then needs no copy.
        lower = scipy.linalg.cholesky(inner.T, lower=True, overwrite_a=True, check_finite=False)
        return root, lower

    def _target(self, K: Array, model: tuple[Array, Array], here: _Here, pull: Array) -> _Here:
        """Return the minimum of the quadratic model (Rasmussen and Williams, algorithm 3.1)."""
        # As a change of a, for the level is so wide that a itself loses digits in K a.
        root, lower = model
        gap = pull - here.a
        solved = scipy.linalg.cho_solve((lower, True), root * (K @ gap), check_finite=False)
        change = gap - root * solved
        return self._valued(here.a + change, here.eta + K @ change)

    def _descend(self, here: _Here, target: _Here, slope: float) -> _Here | None:
        """Go as far towards the target as the objective falls; None if it does not fall."""
        step = 1.0
        for _ in range(_MAX_HALVINGS):
            new = self._valued(
                here.a + step * (target.a - here.a), here.eta + step * (target.eta - here.eta)
            )
            if new.value <= here.value + 1e-4 * step * slope:
                return new
            step *= 0.5
        return None

    def _found(self, K: Array, here: _Here, variances: _Variances, converged: bool) -> Found:
        """Return the evidence and its derivatives (ibid., equations 5.20 to 5.24)."""
        root, lower = self._factor(K, here.eta)
        log_determinant = 2.0 * float(np.log(np.diagonal(lower)).sum())
        R = scipy.linalg.lapack.dpotri(lower, lower=1, overwrite_c=1)[0]
        kept = 1.0 - np.diagonal(R)
        R *= root[:, None]
        R *= root
        third = third_derivative(self._labels, here.eta)
        curved = root**2
        pull = -0.5 * kept * np.divide(third, curved, out=np.zeros_like(third), where=curved > 0)
        moved = pull - scipy.linalg.blas.dsymv(1.0, R, K @ pull, lower=1)
        explicit, implicit = self._forms(R, here.a, here.a), self._forms(None, moved, here.a)
        slopes = 0.5 * explicit + implicit
        d = self.copies[1]
        own = np.array([variances.intercept, variances.coefficient])
        tasks = max(self._active, 1) * np.array([1.0, d])
        return Found(
            value=-here.value - 0.5 * log_determinant,
            slope=np.diag(slopes[1:]),
            mean_slope=float(slopes[0]),
            second=np.diag(own + own**2 * explicit[1:] / tasks),
            mean_second=variances.mean + variances.mean**2 * float(explicit[0]) / d,
            converged=converged,
            point=self._point(here.a, variances),
            posterior=None,
        )

    def _forms(self, R: Array | None, left: Array, right: Array) -> Array:
        """Return ``left' M right - tr(R M)`` for M of tau^2, v_0 and v; R holds a lower half."""
        G = self._G
        out = np.array([left @ (G @ right), 0.0, 0.0])
        if R is not None:
            out[0] -= _inner(R, G)
        for own in self._tasks:
            part = G[own, own]
            out[1] += left[own].sum() * right[own].sum()
            out[2] += left[own] @ (part @ right[own])
            if R is not None:
                out[1] -= 2.0 * R[own, own].sum() - np.trace(R[own, own])
                out[2] -= _inner(R[own, own], part)
        return out

    def _point(self, a: Array, variances: _Variances) -> Point:
        """Return the mode in the columns of the design."""
        alpha = np.stack([self._X[own].T @ a[own] for own in self._tasks])
        mean = alpha.sum(axis=0) * variances.mean
        mean[0] = variances.level * float(a.sum())
        return Point(mean, alpha)


def _inner(lower: Array, M: Array) -> float:
    """Return tr(R M) of symmetric matrices, R given by its lower half, zeros above."""
    both = float(np.einsum("ij,ij->", lower, M.T))
    return 2.0 * both - float(np.diagonal(lower) @ np.diagonal(M))
