"""Accelerated proximal gradient with adaptive restart."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from polytask._registry import State, fields_of, saveable
from polytask.datafits import Datafit
from polytask.datafits.base import Array
from polytask.exceptions import IncompatibleError
from polytask.penalties import NullStrength, Penalty, RowSeparable, decompose
from polytask.solvers.base import Certificate, Objective, Solution, Solver, Status

_CHECK_EVERY = 10
_STALLED_CHECKS = 40
_GROWTH = 1.05


@saveable("solver.accelerated_gradient")
@dataclass(frozen=True)
class AcceleratedGradient(Solver):
    """Accelerated proximal gradient (FISTA) for any penalty with a proximal operator.

    Momentum restarts when it points uphill. Penalties on rows take one step length per
    feature, which makes the iterations independent of the features' scales. The curvature
    seen along the way is compared with the bound in use at every iteration and raises it
    where the bound was too low.

    References
    ----------
    A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear
    inverse problems", SIAM Journal on Imaging Sciences 2 (2009), section 4.
    B. O'Donoghue and E. Candès, "Adaptive restart for accelerated gradient schemes",
    Foundations of Computational Mathematics 15 (2015), gradient scheme.
    """

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        try:
            decompose(penalty)
        except IncompatibleError as error:
            return str(error)
        return ""

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
        return _Run(Objective(datafit, penalty), tol, max_iter, start).loop()

    def to_state(self) -> State:
        """Return the fields by name."""
        return fields_of(self)

    @classmethod
    def from_state(cls, state: State) -> AcceleratedGradient:
        """Rebuild the object from :meth:`to_state`."""
        return cls(**state)


@dataclass
class _State:
    """The iterate, the extrapolated point, and the momentum."""

    Z: Array
    V: Array
    t: float = 1.0


class _Run:
    """One minimisation."""

    def __init__(
        self, objective: Objective, tol: float, max_iter: int, start: Solution | None
    ) -> None:
        self.objective = objective
        self.tol = tol
        self.max_iter = max_iter
        self.scale = self._scales()
        self.bound = max(self._curvature(), np.finfo(float).tiny)
        first = np.zeros(objective.datafit.shape) if start is None else start.W.copy()
        self.state = _State(first, first)
        self.intercept = objective.zero.intercept if start is None else start.intercept
        self.zero_residual = self._residual(np.zeros_like(first), objective.zero.gradient)

    def _scales(self) -> Array:
        """Square roots of the features' own curvatures, relative to the largest."""
        d = self.objective.datafit.shape[0]
        if self.objective.rough is not None and not isinstance(self.objective.rough, RowSeparable):
            return np.ones(d)
        curved = self.objective.curved
        extra = 0.0 if curved is None else curved.curvature()
        scale = np.sqrt(self.objective.datafit.feature_scale() ** 2 + extra)
        top = float(scale.max(initial=0.0))
        # A constant feature has no curvature of its own; the floor keeps its step finite.
        return np.maximum(scale / top, 1e-12) if top > 0 else np.ones(d)

    def _curvature(self) -> float:
        data = self.objective.datafit.lipschitz(self.scale)
        if self.objective.curved is None:
            return data
        return data + self.objective.curved.curvature() / float(np.min(self.scale) ** 2)

    def _steps(self) -> Array:
        return (1.0 / (self.bound * self.scale**2))[:, None]

    def _prox(self, W: Array, gradient: Array) -> Array:
        rough = self.objective.rough
        steps = self._steps()
        if rough is None:
            return W - steps * gradient
        if isinstance(rough, RowSeparable):
            return np.asarray(rough.prox_rows(W - steps * gradient, slice(None), steps[:, 0]))
        step = float(steps[0, 0])
        return np.asarray(rough.prox(W - step * gradient, step))

    def _residual(self, W: Array, gradient: Array) -> float:
        move = (W - self._prox(W, gradient)) * self.scale[:, None]
        return float(np.linalg.norm(move)) * self.bound

    def certify(self, W: Array) -> tuple[Certificate, float]:
        """Return the certificate of W and its objective."""
        at = self.objective.smooth(W, self.intercept)
        self.intercept = at.intercept
        residual = self._residual(W, at.gradient)
        relative = residual / self.zero_residual if self.zero_residual > 0 else 0.0
        certificate = Certificate(self.objective.gap(W, at), relative, self.objective.reference)
        return certificate, at.value + self.objective.rough_value(W)

    def loop(self) -> Solution:
        """Iterate until the certificate is below the tolerance."""
        certificate, value = self.certify(self.state.Z)
        best, stalled = certificate.relative, 0
        n_iter = 0
        while certificate.relative > self.tol and n_iter < self.max_iter:
            for _ in range(min(_CHECK_EVERY, self.max_iter - n_iter)):
                self._advance()
                n_iter += 1
            certificate, value = self.certify(self.state.Z)
            improved = certificate.relative < 0.999 * best
            best, stalled = min(best, certificate.relative), 0 if improved else stalled + 1
            if stalled > _STALLED_CHECKS and best < 1e3 * np.finfo(float).eps:
                return self._finish(certificate, value, n_iter, Status.STALLED)
        done = certificate.relative <= self.tol
        return self._finish(
            certificate, value, n_iter, Status.CONVERGED if done else Status.MAX_ITER
        )

    def _advance(self) -> None:
        state = self.state
        at = self.objective.smooth(state.V, self.intercept)
        self.intercept = at.intercept
        self._watch_curvature(state.V, at.gradient)
        Z = self._prox(state.V, at.gradient)
        weight = self.scale[:, None] ** 2
        if float(np.sum((state.V - Z) * (Z - state.Z) * weight)) > 0:
            state.t = 1.0
        t = (1.0 + np.sqrt(1.0 + 4.0 * state.t**2)) / 2.0
        state.V = Z + (state.t - 1.0) / t * (Z - state.Z)
        state.Z, state.t = Z, t

    def _watch_curvature(self, V: Array, gradient: Array) -> None:
        """Raise the bound where the curvature between two points exceeds it."""
        last = getattr(self, "last", None)
        self.last = (V, gradient)
        if last is None:
            return
        move = V - last[0]
        length = float(np.sum((move * self.scale[:, None]) ** 2))
        seen = float(np.sum(move * (gradient - last[1])))
        if length > 0 and seen > _GROWTH * self.bound * length:
            self.bound = _GROWTH * seen / length
            self.state.t = 1.0
            zero = np.zeros_like(V)
            self.zero_residual = self._residual(zero, self.objective.zero.gradient)

    def _finish(
        self, certificate: Certificate, value: float, n_iter: int, status: Status
    ) -> Solution:
        W = self.state.Z
        penalty = self.objective.penalty
        null = None
        if status is Status.CONVERGED and not W.any() and isinstance(penalty, NullStrength):
            status = Status.ALL_ZERO
            null = float(penalty.null_strength(self.objective.zero.gradient))
        return Solution(
            W=W,
            intercept=self.intercept,
            objective=value,
            certificate=certificate,
            status=status,
            n_iter=n_iter,
            seconds=time.perf_counter() - self.objective.started,
            null_strength=null,
        )
