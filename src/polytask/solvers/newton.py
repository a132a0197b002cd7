"""Newton's method with conjugate gradients, for smooth penalties."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from polytask._registry import State, fields_of, saveable
from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, LinearMap
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty, Smooth, decompose
from polytask.solvers.base import Certificate, Objective, Solution, Solver, Status

_HALVINGS = 30
_ARMIJO = 1e-4
_FIRST_FORCING = 0.1
_EXACT = 1e-13


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
        try:
            rough = decompose(penalty).proximable
        except IncompatibleError as error:
            return str(error)
        if rough is None or isinstance(rough, Smooth):
            return ""
        return (
            f"Newton needs a smooth penalty; {penalty!r} is not. "
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
        return _Run(Objective(datafit, penalty), tol, max_iter).loop(start)

    def to_state(self) -> State:
        """Return the fields by name."""
        return fields_of(self)

    @classmethod
    def from_state(cls, state: State) -> Newton:
        """Rebuild the object from :meth:`to_state`."""
        return cls(**state)


class _Run:
    """One minimisation."""

    def __init__(self, objective: Objective, tol: float, max_iter: int) -> None:
        self.objective = objective
        self.tol = tol
        self.max_iter = max_iter
        self.products = 0
        self.ridge = objective.rough
        zero = np.zeros(objective.datafit.shape)
        self.zero_norm = float(np.linalg.norm(self._gradient(zero, objective.zero)))

    def _gradient(self, W: Array, at: Evaluation) -> Array:
        if isinstance(self.ridge, Smooth):
            return np.asarray(at.gradient + self.ridge.gradient(W))
        return at.gradient

    def _hessian(self, at: Evaluation) -> LinearMap:
        ridge = self.ridge
        if not isinstance(ridge, Smooth):
            return at.hessian
        zero = ridge.gradient(np.zeros(self.objective.datafit.shape))
        return lambda V: at.hessian(V) + ridge.gradient(V) - zero

    def _value(self, W: Array, at: Evaluation) -> float:
        return at.value + self.objective.rough_value(W)

    def _certificate(self, W: Array, at: Evaluation) -> Certificate:
        norm = float(np.linalg.norm(self._gradient(W, at)))
        relative = norm / self.zero_norm if self.zero_norm > 0 else 0.0
        return Certificate(self.objective.gap(W, at), relative, self.objective.reference)

    def loop(self, start: Solution | None) -> Solution:
        """Take Newton steps until the certificate is below the tolerance."""
        W = np.zeros(self.objective.datafit.shape) if start is None else start.W.copy()
        at = self.objective.smooth(W, None if start is None else start.intercept)
        certificate = self._certificate(W, at)
        status, n_iter = Status.CONVERGED, 0
        # A quadratic is solved by one step taken to the end.
        forcing = _EXACT if self.objective.datafit.is_quadratic else _FIRST_FORCING
        while certificate.relative > self.tol:
            if self.products >= self.max_iter:
                status = Status.MAX_ITER
                break
            step = self._newton_step(W, at, forcing)
            moved = self._line_search(W, at, step)
            n_iter += 1
            if moved is None:
                status = Status.STALLED
                break
            W, at = moved
            certificate = self._certificate(W, at)
            forcing = max(forcing * 0.01, _EXACT)
        return Solution(
            W=W,
            intercept=at.intercept,
            objective=self._value(W, at),
            certificate=certificate,
            status=status,
            n_iter=max(n_iter, self.products),
            seconds=time.perf_counter() - self.objective.started,
        )

    def _newton_step(self, W: Array, at: Evaluation, forcing: float) -> Array:
        """Solve H step = -gradient to a relative accuracy by preconditioned CG."""
        ridge = self.ridge.curvature() if isinstance(self.ridge, Smooth) else 0.0
        precondition = at.preconditioner(ridge)
        hessian = self._hessian(at)
        residual = -self._gradient(W, at)
        step = np.zeros_like(W)
        scaled = precondition(residual)
        direction, energy = scaled, float(np.sum(residual * scaled))
        target = energy * forcing**2
        while energy > target and self.products < self.max_iter:
            curved = hessian(direction)
            self.products += 1
            bend = float(np.sum(direction * curved))
            if bend <= 0:
                # A direction without curvature: rounding, or the floor of a flat problem.
                break
            length = energy / bend
            step = step + length * direction
            residual = residual - length * curved
            scaled = precondition(residual)
            before, energy = energy, float(np.sum(residual * scaled))
            direction = scaled + energy / before * direction
        return step

    def _line_search(self, W: Array, at: Evaluation, step: Array) -> tuple[Array, Evaluation] | None:
        value = self._value(W, at)
        slope = float(np.sum(self._gradient(W, at) * step))
        if not step.any() or slope >= 0:
            return None
        length = 1.0
        for _ in range(_HALVINGS):
            trial = W + length * step
            new = self.objective.smooth(trial, at.intercept)
            rounding = 1e-14 * abs(value)
            if self._value(trial, new) <= value + _ARMIJO * length * slope + rounding:
                return trial, new
            length /= 2
        return None
