"""Newton's method with conjugate gradients, for smooth penalties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, LinearMap
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty, Quadratic, decompose
from polytask.solvers._free_rows import hessian_product
from polytask.solvers.base import Certificate, Solution, Solver, Status, refuse_kinks
from polytask.solvers.objective import Objective

_HALVINGS = 30
_PATIENCE = 5
_ARMIJO = 1e-4
_FIRST_FORCING = 0.1
_EXACT = 1e-13
# From this tolerance on, as along a path, a quadratic is solved to a share of it.
_LOOSE, _SHARE = 1e-5, 0.1


@saveable("solver.newton")
@dataclass(frozen=True)
class Newton(Solver):
    """Truncated Newton: each step solves the Newton system by conjugate gradients.

    For the squared loss one step is the answer, and where nothing couples the tasks the
    preconditioner alone solves it. ``max_iter`` bounds the Hessian products.

    References
    ----------
    J. Nocedal and S. Wright, "Numerical Optimization" (2006), algorithm 7.1.
    """

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        if not datafit.is_smooth:
            return refuse_kinks(datafit)
        try:
            split = decompose(penalty)
        except IncompatibleError as error:
            return str(error)
        parts = (split.smooth, split.proximable)
        if all(part is None or _quadratic(part) is not None for part in parts):
            return ""
        return (
            f"Newton needs a quadratic penalty; {penalty!r} is not. "
            "Use AcceleratedGradient, or solver='auto'."
        )

    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Minimise; see :meth:`Solver.solve`."""
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            return _Run(objective, max_iter).loop(tol, start)


def _quadratic(part: object) -> Quadratic | None:
    return part if isinstance(part, Quadratic) else None


@dataclass(frozen=True, eq=False)
class _Point:
    """Coefficients with the evaluation of the smooth part, the value and the gradient."""

    W: Array
    at: Evaluation
    value: float
    gradient: Array


class _Run:
    """One minimisation."""

    def __init__(self, objective: Objective, max_iter: int) -> None:
        self.objective = objective
        self.max_iter = max_iter
        self.products = 0
        self.ridge = _quadratic(objective.rough)
        zero = self._point(objective.null, objective.zero)
        # The trace bounds the curvature that the gradient at zero is compared with.
        curvature = float(np.sum(objective.datafit.feature_scale() ** 2)) + self._stiffness()
        norm = float(np.linalg.norm(zero.gradient))
        self.zero_norm = objective.first_residual(norm, curvature)

    def _stiffness(self) -> float:
        parts = (self.ridge, self.objective.curved)
        return sum(part.curvature() for part in parts if part is not None)

    def _point(self, W: Array, at: Evaluation) -> _Point:
        gradient = at.gradient
        if self.ridge is not None:
            gradient = gradient + self.ridge.gradient(W)
        return _Point(W, at, self.objective.value(W, at), gradient)

    def _hessian(self, at: Evaluation) -> LinearMap:
        ridge = self.ridge
        if ridge is None:
            return at.hessian
        return lambda V: at.hessian(V) + hessian_product(ridge, V)

    def _certificate(self, point: _Point) -> Certificate:
        norm = float(np.linalg.norm(point.gradient))
        return self.objective.certificate(point.W, point.at, norm, self.zero_norm)

    def loop(self, tol: float, start: Solution | None) -> Solution:
        """Take Newton steps until the certificate is below the tolerance."""
        W = np.zeros(self.objective.datafit.shape) if start is None else start.W.copy()
        at = self.objective.smooth(W, None if start is None else start.intercept)
        best = point = self._point(W, at)
        certificate = self._certificate(best)
        n_iter, idle = 0, 0
        forcing = self._forcing(tol)
        while certificate.relative > tol and self.products < self.max_iter and idle < _PATIENCE:
            moved = self._line_search(point, self._newton_step(point, forcing))
            n_iter += 1
            if moved is None:
                break
            point = moved
            found = self._certificate(point)
            better = found.relative < certificate.relative
            lower = point.value < best.value - 1e-14 * self.objective.reference
            idle = 0 if lower or found.relative < 0.5 * certificate.relative else idle + 1
            if better or lower:
                best, certificate = point, found
            forcing = max(forcing * 0.01, _EXACT)
        status = Status.MAX_ITER if self.products >= self.max_iter else Status.STALLED
        if certificate.relative <= tol:
            status = Status.CONVERGED
        n_iter = max(n_iter, self.products)
        return self.objective.finish(best.W, best.at, certificate, status, n_iter)

    def _forcing(self, tol: float) -> float:
        """Return the relative accuracy of the first step: one is the answer to a quadratic."""
        if not self.objective.datafit.is_quadratic:
            return _FIRST_FORCING
        return _EXACT if tol < _LOOSE else _SHARE * tol

    def _newton_step(self, point: _Point, forcing: float) -> Array:
        """Solve H step = -gradient to a relative accuracy by preconditioned CG."""
        shift = 0.0 if self.ridge is None else self.ridge.curvature()
        precondition = point.at.preconditioner(shift)
        hessian = self._hessian(point.at)
        residual = -point.gradient
        step = np.zeros_like(residual)
        scaled = precondition(residual)
        direction, energy = scaled, float(np.sum(residual * scaled))
        target = energy * forcing**2
        while energy > target and self.products < self.max_iter:
            curved = hessian(direction)
            self.products += 1
            bend = float(np.sum(direction * curved))
            if not bend > 0:
                # A direction without curvature: rounding, or the floor of a flat problem.
                break
            length = energy / bend
            step = step + length * direction
            residual = residual - length * curved
            scaled = precondition(residual)
            before, energy = energy, float(np.sum(residual * scaled))
            direction = scaled + energy / before * direction
        return step

    def _line_search(self, point: _Point, step: Array) -> _Point | None:
        slope = float(np.sum(point.gradient * step))
        if not step.any() or not slope < 0:
            return None
        length = 1.0
        for _ in range(_HALVINGS):
            W = point.W + length * step
            at = self.objective.smooth(W, point.at.intercept)
            value = at.value + self.objective.rough_value(W)
            rounding = 1e-14 * abs(point.value)
            if value <= point.value + _ARMIJO * length * slope + rounding:
                return self._point(W, at)
            length /= 2
        return None
