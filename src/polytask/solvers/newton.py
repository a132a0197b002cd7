"""Newton's method with conjugate gradients, for quadratic penalties."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack

from polytask._registry import saveable
from polytask.datafits import Datafit, SquaredStatistics
from polytask.datafits.base import Array
from polytask.penalties import Penalty, Quadratic, Split
from polytask.solvers._block_data import misfit_curvature
from polytask.solvers._conjugate_gradients import conjugate_gradients
from polytask.solvers._separate_terms import Coupling, strong_coupling
from polytask.solvers.base import Certificate, Solution, Status
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.objective import NOTHING, Objective, ended, first_violation

_FIRST_FORCING = 0.1
_SHARPER = 0.01
_EXACT = 1e-13
# Coefficients whose Hessian is kept as one matrix and factorised for every penalty.
_SMALL = 200
# From this tolerance on, as along a path, a quadratic is solved to a share of it.
_LOOSE, _SHARE = 1e-5, 0.1


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

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> str:
        """Return why the pair is impossible, or an empty string."""
        smooth, nonsmooth = split.smooth, split.proximable
        is_quadratic = smooth is None or isinstance(smooth, Quadratic)
        if is_quadratic and (nonsmooth is None or isinstance(nonsmooth, Quadratic)):
            return ""
        return (
            f"Newton needs a quadratic penalty; {penalty!r} is not. "
            "Use AcceleratedGradient, or solver='auto'."
        )

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
        if not isinstance(datafit, SquaredStatistics) or datafit.origin.gradient.size > _SMALL:
            return None
        matrix = strong_coupling(penalty, datafit.shape[1])
        equations = None if matrix is None else datafit.derived(_NormalEquations)
        if matrix is None or equations is None or not equations.possible:
            return None
        return equations.solved(penalty, matrix, tol)


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
        self.datafit, self.hessian = moments, hessian
        self.right, self.value = -datafit.origin.gradient.T.ravel(), datafit.origin.value
        self.trace = float(np.sum(datafit.feature_scale() ** 2))
        self.possible = self.trace > 0 and self.value > NOTHING * datafit.magnitude

    def solved(self, penalty: Penalty, matrix: Coupling, tol: float) -> Solution | None:
        """Return the solution with its certificate, None for a matrix that is not definite."""
        began, columns, whole = time.perf_counter(), len(matrix.A), self.hessian.copy()
        np.einsum("tisi->its", whole)[...] += matrix.A
        square = whole.reshape(len(self.right), -1)
        _, x, failed = lapack.dposv(square, self.right)
        if failed:
            return None
        gradient = square @ x - self.right
        # The length of the gradient over the square root of the ridge bounds the distance.
        length, reference = float(np.linalg.norm(gradient)), self.value
        gap, L = length**2 / (2.0 * matrix.ridge), self.trace + matrix.curvature
        unit = np.sqrt(L) / (L + matrix.ridge)
        first = first_violation(unit * float(np.linalg.norm(self.right)), reference)
        W = np.ascontiguousarray(x.reshape(columns, -1).T)
        found = Solution(
            W=W,
            intercept=self.datafit.best_intercept(W),
            objective=reference + 0.5 * float((gradient - self.right) @ x),
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
        found = self.line_search(now, step, float(np.sum(gradient * step)))
        return Round(None if found is None else self.judged(*found), max(products, 1))
