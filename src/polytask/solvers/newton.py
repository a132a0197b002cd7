"""Newton's method with conjugate gradients, for quadratic penalties."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import lapack

from polytask._registry import saveable
from polytask.datafits import Datafit, SquaredStatistics
from polytask.datafits.base import Array
from polytask.messages import Text
from polytask.penalties import Penalty, Quadratic, Split
from polytask.penalties.base import about
from polytask.solvers._block_data import misfit_curvature
from polytask.solvers._conjugate_gradients import conjugate_gradients
from polytask.solvers._separate_terms import Coupling, strong_coupling
from polytask.solvers.base import Certificate, Solution, Status
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.objective import NOTHING, Objective, ended, first_violation

_FIRST_FORCING = 0.1
_SHARPER = 0.01
_EXACT = 1e-13
# Coefficients whose Hessian is kept as one matrix and factorised for every penalty, and the
# features and columns up to which those of the tasks are, apart from what couples them.
_SMALL = 200
_FEATURES, _COLUMNS = 64, 500
# From this tolerance on, as along a path, a quadratic is solved to a share of it.
_LOOSE, _SHARE = 1e-5, 0.1
# Rounding in a matrix of rank one, relative to its largest entry.
_RANK_ONE = 1e-12


@saveable("solver.newton")
@dataclass(frozen=True)
class Newton(SplitSolver):
    """Truncated Newton: each step solves the Newton system by conjugate gradients.

    For the squared loss one step is the answer, and where nothing couples the tasks the
    preconditioner alone solves it. ``max_iter`` bounds the Hessian products.

    References
    ----------
    J. Nocedal and S. Wright, "Numerical Optimization" (2006), algorithm 7.1.
    """

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        smooth, nonsmooth = split.smooth, split.proximable
        is_quadratic = smooth is None or isinstance(smooth, Quadratic)
        if is_quadratic and (nonsmooth is None or isinstance(nonsmooth, Quadratic)):
            return ""
        return about(penalty, "solver.refusal.not_quadratic")

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Newton(objective, tol)

    def followed(
        self,
        datafit: Datafit,
        penalty: Penalty,
        tol: float,
        max_iter: int,
        start: Solution | None,
    ) -> Solution | None:
        """Solve the normal equations of a small problem; None where this cannot be done."""
        if not isinstance(datafit, SquaredStatistics):
            return None
        d, columns = datafit.shape
        small = d * columns <= _SMALL
        if not small and (d > _FEATURES or columns > _COLUMNS):
            return None
        matrix = strong_coupling(penalty, columns)
        if matrix is None or not (small or matrix.couples or datafit.intercepts.couples):
            # Where nothing couples the tasks the first step of Newton is as exact, and cheaper.
            return None
        kind: Any = _NormalEquations if small else _TaskEquations
        equations = datafit.derived(kind)
        if not equations.possible:
            return None
        found = _certified(datafit, penalty, matrix, equations, tol)
        if found is not None and start is not None and start.W.shape == found.W.shape:
            # A start at the answer has nothing left to do.
            size = float(np.abs(found.W).max(initial=0.0))
            near = np.allclose(start.W, found.W, rtol=_EXACT, atol=_EXACT * size)
            found = replace(found, n_iter=0) if near else found
        return found


class _NormalEquations:
    """The data term of moments as one matrix, for all penalties whose Hessian is W -> W A."""

    def __init__(self, datafit: Datafit) -> None:
        moments: Any = datafit
        s, (d, columns) = moments.statistics, datafit.shape
        hessian = np.zeros((columns, d, columns, d))
        for t in range(columns):
            hessian[t, :, t] = s.scale[t] * s.second[t if len(s.second) > 1 else 0]
        pull = misfit_curvature(moments.intercepts, s.scale)
        if pull.size:
            hessian += np.einsum("ts,it,js->tisj", pull, s.x_mean, s.x_mean)
        self.hessian, self.right = hessian, -datafit.origin.gradient.T
        self.possible = _is_loss(moments)

    def solved(self, matrix: Coupling, accurate: bool) -> tuple[Array, Array] | None:
        """Return coefficients and gradient, (n_columns, n_features); None if not definite."""
        whole = self.hessian.copy()
        np.einsum("tisi->its", whole)[...] += matrix.A
        square = whole.reshape(self.right.size, -1)
        _, x, failed = lapack.dposv(square, self.right.ravel())
        if failed:
            return None
        return x.reshape(self.right.shape), (square @ x).reshape(self.right.shape) - self.right


class _TaskEquations:
    """The same from the matrix of each task, where what couples the tasks has a low rank."""

    # Hessian and penalty are blocks of the tasks less U U', U having a column per feature, for a
    # pull of all coefficients to their mean, and one for that of the intercepts (Woodbury).

    def __init__(self, datafit: Datafit) -> None:
        moments: Any = datafit
        s, none = moments.statistics, np.zeros((datafit.shape[1],) * 2)
        pull = misfit_curvature(moments.intercepts, s.scale)
        parts = diagonal_less_square(pull if pull.size else none)
        self.datafit, self.right = moments, -datafit.origin.gradient.T
        self.possible = parts is not None and _is_loss(moments)
        if parts is not None:
            own, shared = parts
            means = np.einsum("t,it,jt->tij", own, s.x_mean, s.x_mean)
            self.values, self.vectors = np.linalg.eigh(s.scale[:, None, None] * s.second + means)
            self.means = shared[:, None] * s.x_mean.T

    def solved(self, matrix: Coupling, accurate: bool) -> tuple[Array, Array] | None:
        """Return coefficients and gradient, (n_columns, n_features); None if not definite."""
        parts = diagonal_less_square(matrix.A)
        if parts is None:
            return None
        (own, shared), (columns, d) = parts, self.right.shape
        turned = np.swapaxes(self.vectors, 1, 2)
        shrunk = np.maximum(self.values, 0.0) + own[:, None]
        inverse = (self.vectors / shrunk[:, None, :]) @ turned
        U = np.zeros((columns, d, d + 1))
        np.einsum("tii->ti", U[:, :, :d])[...] = shared[:, None]
        U[:, :, d] = self.means
        within = (inverse @ U).reshape(columns * d, d + 1)
        flat = U.reshape(columns * d, d + 1)
        factor, failed = lapack.dpotrf(np.eye(d + 1) - flat.T @ within)
        if failed:
            return None

        def step(right: Array) -> Array:
            alone = (inverse @ right[:, :, None]).ravel()
            moved = lapack.dpotrs(factor, flat.T @ alone)[0]
            return np.asarray((alone + within @ moved).reshape(columns, d))

        x = step(self.right)
        gradient = self._gradient(x, matrix)
        if accurate:
            x = x - step(gradient)
            gradient = self._gradient(x, matrix)
        return x, gradient

    def _gradient(self, x: Array, matrix: Coupling) -> Array:
        at = self.datafit.evaluate(np.ascontiguousarray(x.T))
        return np.asarray(at.gradient.T + matrix.A @ x)


def _is_loss(datafit: SquaredStatistics) -> bool:
    """Say whether there is more than rounding to explain, and something to explain it with."""
    there = datafit.origin.value > NOTHING * datafit.magnitude
    return bool(there and np.any(datafit.feature_scale() > 0))


def diagonal_less_square(matrix: Array) -> tuple[Array, Array] | None:
    """Return d and g of a symmetric matrix ``diag(d) - g g'``, None for one of another kind."""
    # Shapes: matrix (n, n), d and g (n,).
    apart = -matrix
    np.fill_diagonal(apart, 0.0)
    if apart.min(initial=0.0) < 0:
        return None
    size, g = float(apart.max(initial=0.0)), np.zeros(len(matrix))
    if size > 0:
        i, j = np.unravel_index(np.argmax(apart), apart.shape)
        k = int(np.argmax(apart[i] * apart[j]))
        others = float(apart[i, k] * apart[j, k])
        g = apart[i] / np.sqrt(size * apart[i, k] / apart[j, k] if others > 0 else size)
        g[i] = size / g[j]
    left = apart - np.multiply.outer(g, g)
    np.fill_diagonal(left, 0.0)
    if np.abs(left).max(initial=0.0) > _RANK_ONE * size:
        return None
    return np.diagonal(matrix) + g**2, g


def _certified(
    datafit: SquaredStatistics,
    penalty: Penalty,
    matrix: Coupling,
    equations: _NormalEquations | _TaskEquations,
    tol: float,
) -> Solution | None:
    """Return the solution of normal equations with its certificate, None if there is none."""
    began = time.perf_counter()
    solved = equations.solved(matrix, tol < _LOOSE)
    if solved is None:
        return None
    x, gradient = solved
    # The length of the gradient over the square root of the ridge bounds the distance.
    length, reference = float(np.linalg.norm(gradient)), datafit.origin.value
    L = float(np.sum(datafit.feature_scale() ** 2)) + matrix.curvature
    gap, unit = length**2 / (2.0 * matrix.ridge), np.sqrt(L) / (L + matrix.ridge)
    first = first_violation(unit * float(np.linalg.norm(equations.right)), reference)
    W = np.ascontiguousarray(x.T)
    found = Solution(
        W=W,
        intercept=datafit.best_intercept(W),
        objective=reference + 0.5 * float(np.vdot(gradient - equations.right, x)),
        certificate=Certificate(gap, unit * length / first, reference),
        status=Status.CONVERGED if gap <= tol * reference else Status.STALLED,
        n_iter=1,
        seconds=0.0,
    )
    return ended(found, penalty, began)


class _Newton(ProximalMethod):
    """Steps that solve the Newton system ever more accurately."""

    patience = 5
    progress = 0.5
    # Where the system has lost its digits, steps go on for ever and gain next to nothing.
    least_fall = 1e-8

    def __init__(self, objective: Objective, tol: float) -> None:
        ridge: object = objective.nonsmooth
        self.ridge = ridge if isinstance(ridge, Quadratic) else None
        # Where nothing couples the tasks their inverses give the first step.
        self.direct = objective.smooth is None
        # One accurate step is the answer to a quadratic.
        self.forcing = _FIRST_FORCING
        if objective.datafit.is_quadratic:
            self.forcing = _EXACT if tol < _LOOSE else _SHARE * tol
        # The trace bounds the curvature, at no cost.
        trace = float(np.sum(objective.datafit.feature_scale() ** 2))
        trace += 0.0 if self.ridge is None else self.ridge.curvature()
        trace += 0.0 if objective.smooth is None else objective.smooth.curvature()
        trace = max(trace, float(np.finfo(float).tiny))
        super().__init__(objective, np.full(objective.datafit.shape[0], trace))

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Take one step."""
        ridge, hessian, shift, gradient = self.ridge, now.at.hessian, 0.0, now.at.gradient
        if ridge is not None:
            shift, gradient = ridge.curvature(), gradient + ridge.gradient(now.W)

        def product(V: Array) -> Array:
            return hessian(V) if ridge is None else hessian(V) + ridge.apply(V)

        precondition = now.at.preconditioner(shift)
        if self.direct and now.at.is_inverted:
            # What the inverse leaves is rounding, for a step of conjugate gradients at most.
            self.direct, step, products = False, precondition(-gradient), 1
        else:
            step, products = conjugate_gradients(
                product, -gradient, precondition, self.forcing, left
            )
        self.forcing = max(_SHARPER * self.forcing, _EXACT)
        change = float(np.sum(gradient * step))
        found = self.line_search(now, self.objective.evaluate, step, change)
        return Round(None if found is None else self.judged(*found), max(products, 1))
