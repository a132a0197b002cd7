"""The solver for W as a product of a shared matrix and sparse codes."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, LinearMap, diagonal_preconditioner
from polytask.datafits.lanczos import largest_eigenvalue
from polytask.exceptions import IncompatibleError
from polytask.messages import Text
from polytask.penalties import L1, L2, Penalty
from polytask.penalties.base import OfFactors, about
from polytask.solvers.base import (
    Certificate,
    Solution,
    Solver,
    Status,
    refuse_kinks,
    starting_point,
)
from polytask.solvers.gradient import AcceleratedGradient
from polytask.solvers.newton import Newton
from polytask.solvers.wrapped import WrappedDatafit


@dataclass(frozen=True, eq=False)
class _FactorDatafit(WrappedDatafit):
    """What both factors share: a data term of W, where W is linear in the factor."""

    datafit: Datafit
    fixed: Array

    @abstractmethod
    def product(self, factor: Array) -> Array:
        """Return W."""

    @abstractmethod
    def pulled_back(self, G: Array) -> Array:
        """Return the gradient with respect to the factor from that with respect to W."""

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at a factor."""
        at = self.datafit.evaluate(self.product(W), start)

        def preconditioner(shift: float) -> LinearMap:
            return diagonal_preconditioner(self._diagonal(at.hessian))(shift)

        return replace(
            at,
            gradient=self.pulled_back(at.gradient),
            hessian=lambda V: self.pulled_back(at.hessian(self.product(V))),
            preconditioner=preconditioner,
        )

    def value_at(self, W: Array, b: Array) -> float:
        """Value at a factor and the intercepts `b`."""
        return self.datafit.value_at(self.product(W), b)

    @abstractmethod
    def _diagonal(self, hessian: LinearMap) -> Array:
        """Return the diagonal curvature of the factor, or a bound of it."""

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients of the factor."""

        def apply(V: Array) -> Array:
            moved = self.product(V / scale[:, None])
            if self.is_quadratic:
                moved = self.datafit.origin.hessian(moved)
            return np.asarray(self.pulled_back(moved) / scale[:, None])

        curvature = 1.0 if self.is_quadratic else self._bound
        return curvature * largest_eigenvalue(apply, self.shape)

    @property
    def _bound(self) -> float:
        return self.datafit.known_lipschitz(np.ones(self.datafit.shape[0]))


class CodesDatafit(_FactorDatafit):
    """The data term of the codes S of shape (n_latent, n_columns); L is held."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of S."""
        return self.fixed.shape[1], self.datafit.shape[1]

    def product(self, factor: Array) -> Array:
        """Return L S."""
        return np.asarray(self.fixed @ factor)

    def pulled_back(self, G: Array) -> Array:
        """Return L' G."""
        return np.asarray(self.fixed.T @ G)

    def _diagonal(self, hessian: LinearMap) -> Array:
        ones = np.ones((1, self.shape[1]))
        rows = [column @ hessian(column[:, None] * ones) for column in self.fixed.T]
        return np.asarray(np.maximum(np.array(rows), 0.0))

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each latent task."""
        return np.asarray(np.sqrt(self._diagonal(self.datafit.origin.hessian).max(axis=1)))


class SharedDatafit(_FactorDatafit):
    """The data term of the latent tasks L of shape (n_features, n_latent); S is held."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of L."""
        return self.datafit.shape[0], self.fixed.shape[0]

    def product(self, factor: Array) -> Array:
        """Return L S."""
        return np.asarray(factor @ self.fixed)

    def pulled_back(self, G: Array) -> Array:
        """Return G S'."""
        return np.asarray(G @ self.fixed.T)

    def _diagonal(self, hessian: LinearMap) -> Array:
        return np.outer(self.datafit.feature_scale() ** 2, (self.fixed**2).sum(axis=1))

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature."""
        widest = float((self.fixed**2).sum(axis=1).max(initial=0.0))
        return np.asarray(self.datafit.feature_scale() * np.sqrt(widest))


# The ridge of the first start, in units of the mean curvature of a feature.
_RIDGE = 0.1
# Lengths of the one step from zero that the null strength is found by, relative to Newton's.
_LENGTHS = np.geomspace(0.05, 2.0, 12)
# Alternations that a start gets, and the precision of their halves.
_FIRST, _ROUGH = 20, 1e-3
# An alternation that gains a smaller share is the last.
_LITTLE = 1e-4
# The second phase ends this far below what is asked for.
_SHARPER = 0.1
# Corrections that the second phase remembers.
_MEMORY = 10


@saveable("solver.factored")
@dataclass(frozen=True)
class Factored(Solver):
    """Alternating minimisation over the factors of W = L S, from several starts.

    Given L, the codes are a convex problem with an L1 penalty; given S, the shared matrix is one
    with a ridge. In between, every latent task is put on the scale where L and S meet best. The
    first start is the singular value decomposition of a ridge solution, the others are random
    with a fixed seed; after a few alternations the lowest goes on alone, by a quasi-Newton method
    on both factors at once that keeps codes at zero exactly (L-BFGS-B on their positive and
    negative parts). ``residual`` is the norm of the smallest subgradient relative to that at the
    first start: the answer is a stationary point, not proved the lowest. ``max_iter`` bounds the
    iterations of the second phase.

    Parameters
    ----------
    starts : int, default=5
        Starting points, at least 1; beside a warm start only the first is used.
    seed : int, default=0
        Of the random ones.

    References
    ----------
    A. Kumar and H. Daumé III, "Learning task grouping and overlap in multi-task learning",
    ICML 2012, algorithm 1; R. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for
    bound constrained optimization", SIAM Journal on Scientific Computing 16 (1995).
    """

    starts: int = 5
    seed: int = 0

    def accepts(self, datafit: Datafit, penalty: Penalty) -> Text:
        """Return why the pair is impossible, or an empty string."""
        if isinstance(penalty, OfFactors):
            return refuse_kinks(datafit)
        return about(penalty, "solver.refusal.no_factors")

    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Reach a stationary point; see :meth:`Solver.solve`."""
        refusal = self.accepts(datafit, penalty)
        if refusal or not isinstance(penalty, OfFactors):
            raise IncompatibleError(refusal)
        run = _Run(datafit, penalty)
        warm = None if start is None else start.factors
        usable = warm is not None and warm[0].shape == (datafit.shape[0], penalty.n_latent)
        count = 1 if usable else self.starts
        points = [run.alternated(L) for L in self._beginnings(datafit, penalty, count, run.ridge)]
        if warm is not None and usable:
            points.append(run.at(*warm))
        if not min(points, key=_value).S.any():
            points.append(run.one_latent())
        return run.finished(run.polished(min(points, key=_value), tol, max_iter), tol)

    def _beginnings(
        self, datafit: Datafit, penalty: OfFactors, count: int, ridge: float
    ) -> list[Array]:
        d, k = datafit.shape[0], penalty.n_latent
        W = Newton().solve(datafit, L2(ridge)).W
        left, values, _ = np.linalg.svd(W, full_matrices=False)
        first = np.zeros((d, k))
        used = min(k, len(values))
        first[:, :used] = left[:, :used] * np.sqrt(values[:used])
        size = max(float(np.linalg.norm(first)), np.finfo(float).eps)
        rng = np.random.default_rng(self.seed)
        drawn = [rng.standard_normal((d, k)) for _ in range(count - 1)]
        return [first, *(L * (size / np.linalg.norm(L)) for L in drawn)]


@dataclass(frozen=True, eq=False)
class _Point:
    """Factors, the objective there, and its gradients without the penalty of the codes."""

    L: Array
    S: Array
    value: float
    shared_slope: Array
    codes_slope: Array
    intercept: Array


def _value(point: _Point) -> float:
    return point.value


class _Run:
    """One minimisation."""

    def __init__(self, datafit: Datafit, penalty: OfFactors) -> None:
        self.started = time.perf_counter()
        self.datafit, self.penalty, self.alpha = datafit, penalty, penalty.weight
        self.first: _Point | None = None
        self.n_iter, self.stopped = 0, Status.STALLED
        self.null_strength: float | None = None

    def at(self, L: Array, S: Array, intercept: Array | None = None) -> _Point:
        """Evaluate at factors."""
        found = self.datafit.evaluate(L @ S, intercept)
        value = found.value + self.penalty.factored_value(L, S)
        slopes = found.gradient @ S.T + self.alpha * L, L.T @ found.gradient
        return _Point(L, S, value, *slopes, found.intercept)

    def alternated(self, L: Array) -> _Point:
        """Alternate from a shared matrix until little is gained."""
        point = self.at(L, np.zeros((L.shape[1], self.datafit.shape[1])))
        self.first = self.first or point
        for _ in range(_FIRST):
            after = self._step(point)
            self.n_iter += 1
            if not after.value < point.value:
                break
            gained, point = point.value - after.value, after
            if gained <= _LITTLE * after.value:
                break
        return point

    def one_latent(self) -> _Point:
        """Return the best point found of those with one latent task that one task draws on."""
        # With ``L S = r D``, L and S at their best scale, the penalty is
        # ``1.5 alpha (r ||l|| ||s||_1)^(2/3)``: what the data term gains over it is the strength
        # below which that point is better than zero.
        d, n_columns = self.datafit.shape
        zero = self.datafit.origin
        slopes = zero.preconditioner(self.ridge)(zero.gradient)
        sizes = np.linalg.norm(slopes, axis=0)
        self.null_strength = 0.0
        best = np.zeros((d, self.penalty.n_latent)), np.zeros((self.penalty.n_latent, n_columns))
        for t in np.flatnonzero(sizes > 0):
            for r in sizes[t] * _LENGTHS:
                L, S = (np.zeros_like(factor) for factor in best)
                L[:, 0], S[0, t] = -slopes[:, t] / sizes[t], r
                gained = zero.value - self.datafit.evaluate(L @ S, zero.intercept).value
                strength = gained / (1.5 * r ** (2.0 / 3.0))
                if strength > self.null_strength:
                    self.null_strength, best = float(strength), _rescaled(L, S)
        return self.at(*best)

    @property
    def ridge(self) -> float:
        """The ridge of the first start."""
        curvature = float(np.mean(self.datafit.feature_scale() ** 2))
        return max(_RIDGE * curvature, float(np.finfo(float).tiny))

    def _step(self, point: _Point) -> _Point:
        codes = CodesDatafit(self.datafit, point.L)
        method = AcceleratedGradient()
        intercept = self.datafit.origin.intercept
        begin = starting_point(point.S, intercept)
        S = method.solve(codes, L1(self.alpha), tol=_ROUGH, start=begin).W
        L, S = _rescaled(point.L, S)
        if S.any():
            shared = SharedDatafit(self.datafit, S)
            begin = starting_point(L, intercept)
            L = Newton().solve(shared, L2(self.alpha), tol=_ROUGH, start=begin).W
        return self.at(L, S, point.intercept)

    def polished(self, point: _Point, tol: float, max_iter: int) -> _Point:
        """Go on with both factors at once."""
        d, k = point.L.shape
        size, shape = d * k, point.S.shape
        last = point

        def unpack(v: Array) -> tuple[Array, Array]:
            plus, minus = v[size:].reshape(2, *shape)
            return v[:size].reshape(d, k), plus - minus

        def evaluate(v: Array) -> tuple[float, Array]:
            nonlocal last
            L, S = unpack(v)
            last = self.at(L, S, last.intercept)
            # Both parts of a code at once never help.
            extra = self.alpha * float(v[size:].sum() - np.abs(S).sum())
            slopes = self.alpha + last.codes_slope, self.alpha - last.codes_slope
            return last.value + extra, np.concatenate(
                [a.ravel() for a in (last.shared_slope, *slopes)]
            )

        begin = np.concatenate(
            [point.L.ravel(), np.maximum(point.S, 0).ravel(), np.maximum(-point.S, 0).ravel()]
        )
        bounds = [(None, None)] * size + [(0.0, None)] * (2 * point.S.size)
        goal = _SHARPER * tol * self._scale / np.sqrt(begin.size)
        limits: Any = {"maxiter": max_iter, "maxfun": 2 * max_iter, "maxcor": _MEMORY}
        found: Any = minimize(
            evaluate,
            begin,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options=limits | {"gtol": goal, "ftol": 0.0},
        )
        self.n_iter += int(found.nit)
        self.stopped = Status.MAX_ITER if found.nit >= max_iter else Status.STALLED
        after = self.at(*unpack(found.x), point.intercept)
        return after if after.value <= point.value else point

    @property
    def _scale(self) -> float:
        return (self._subgradient(self.first) if self.first is not None else 0.0) or 1.0

    def _subgradient(self, point: _Point) -> float:
        """Norm of the smallest subgradient at a point."""
        on = point.codes_slope + self.alpha * np.sign(point.S)
        off = np.maximum(np.abs(point.codes_slope) - self.alpha, 0.0)
        return float(
            np.hypot(
                np.linalg.norm(point.shared_slope), np.linalg.norm(np.where(point.S, on, off))
            )
        )

    def finished(self, point: _Point, tol: float) -> Solution:
        """Return the solution at a point."""
        residual = self._subgradient(point) / self._scale
        W = point.L @ point.S
        status = Status.STATIONARY if residual <= tol else self.stopped
        empty = status.ok and not W.any()
        return Solution(
            W=W,
            intercept=point.intercept,
            objective=point.value,
            certificate=Certificate(None, residual, self.datafit.origin.value),
            status=Status.ALL_ZERO if empty else status,
            null_strength=(self.null_strength or None) if empty else None,
            n_iter=self.n_iter,
            seconds=time.perf_counter() - self.started,
            factors=(point.L, point.S),
        )


def _rescaled(L: Array, S: Array) -> tuple[Array, Array]:
    """Put every latent task where 1/2 c^2 ||l||^2 + ||s||_1 / c is least; unused ones are zero."""
    square, absolute = (L**2).sum(axis=0), np.abs(S).sum(axis=1)
    used = (square > 0.0) & (absolute > 0.0)
    c = np.where(used, np.cbrt(absolute / np.where(used, square, 1.0)), 0.0)
    inverse = np.where(used, 1.0 / np.where(used, c, 1.0), 0.0)
    return L * c, S * inverse[:, None]
