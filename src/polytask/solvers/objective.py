"""Datafit plus penalty: values, gradients, the duality gap, and how a run ends."""

from __future__ import annotations

import time

import numpy as np

from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, too_large
from polytask.penalties import (
    Conjugate,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    Smooth,
    decompose,
)
from polytask.solvers.base import Certificate, Solution, Status

# An objective at W = 0 below this share of that without intercepts is rounding.
_NOTHING = 1e-26
# A dual point shorter than this many units of rounding proves nothing.
_SHORTEST = 10.0
# Below this share of the largest gradient that the reference allows, one is rounding.
_FAINT = 1e-8


class Objective:
    """Datafit plus penalty, split into a smooth part and a proximable part.

    Parameters
    ----------
    datafit : Datafit
        The data term.
    penalty : Penalty
        The penalty.

    Raises
    ------
    DataError
        If the numbers are so large that sums of their squares overflow.
    """

    def __init__(self, datafit: Datafit, penalty: Penalty) -> None:
        self.started = time.perf_counter()
        self.datafit = datafit
        self.penalty = penalty
        split = decompose(penalty)
        self.curved: Smooth | None = split.smooth
        self.rough: Proximable | None = split.proximable
        zero = np.zeros(datafit.shape)
        self.zero = self._with_curved(datafit.origin, zero)
        reference = self.zero.value + self.rough_value(zero)
        # Losses and penalties are at least 0, so W = 0 cannot be improved upon.
        nothing = reference <= _NOTHING * datafit.magnitude
        self.reference = 0.0 if nothing else reference
        self.settled = nothing or self._is_flat()
        self.certifiable = self._has_gap()

    def _is_flat(self) -> bool:
        """Whether every feature is constant, so that intercepts do all that W could do.

        The gradient is then rounding, and so is any fraction of the null strength.
        """
        return self.penalty.null_point is None and not self.datafit.feature_scale().any()

    def _has_gap(self) -> bool:
        """Whether the dual point can be anything but zero, beyond rounding."""
        if not isinstance(self.rough, Conjugate):
            return False
        if self.curved is not None and not isinstance(self.curved, Quadratic):
            return False
        longest = self.rough.feasible_scale(-self.zero.gradient)
        return longest > _SHORTEST * self.datafit.precision

    def smooth(self, W: Array, start: Array | None) -> Evaluation:
        """Evaluate the data term plus the smooth part of the penalty."""
        return self._with_curved(self.datafit.evaluate(W, start), W)

    def _with_curved(self, data: Evaluation, W: Array) -> Evaluation:
        return data if self.curved is None else _add_smooth(data, self.curved, W)

    def rough_value(self, W: Array) -> float:
        """Value of the proximable part."""
        return 0.0 if self.rough is None else float(self.rough.value(W))

    def value(self, W: Array, at: Evaluation) -> float:
        """Value of the objective; DataError if it is not finite."""
        value = at.value + self.rough_value(W)
        if not np.isfinite(value):
            raise too_large()
        return value

    def certificate(self, W: Array, at: Evaluation, residual: float, first: float) -> Certificate:
        """Return the certificate of W.

        Parameters
        ----------
        W : ndarray of shape (n_features, n_columns)
            The answer.
        at : Evaluation
            The smooth part there.
        residual, first : float
            Fixed-point residuals at W and at W = 0.
        """
        relative = residual / first if first > 0 else residual
        return Certificate(self.gap(W, at), relative, self.reference)

    def first_residual(self, residual: float, curvature: float) -> float:
        """Return the residual at W = 0, no smaller than what rounding can tell from 0.

        Parameters
        ----------
        residual : float
            The residual at W = 0.
        curvature : float
            Bound of the curvature in the coordinates of the residual.
        """
        return max(residual, _FAINT * float(np.sqrt(2.0 * curvature * self.reference)))

    def gap(self, W: Array, at: Evaluation) -> float | None:
        """Duality gap of W, from its evaluation alone.

        The dual point is minus the gradient, scaled into the domain of the conjugate.
        """
        if not self.certifiable or not isinstance(self.rough, Conjugate):
            return None
        c = min(1.0, self.rough.feasible_scale(-at.gradient))
        dual = -at.conjugate(c) - self.rough.conjugate(-c * at.gradient)
        gap = at.value + self.rough_value(W) - dual
        return float("inf") if np.isnan(gap) else max(float(gap), 0.0)

    def finish(
        self,
        W: Array,
        at: Evaluation,
        certificate: Certificate,
        status: Status,
        n_iter: int,
    ) -> Solution:
        """Return the solution; an answer of zeros tells where coefficients appear."""
        null = self._null_strength(W)
        strength = self.penalty.strength
        # Closer to its null strength than the tolerance tells, the answer is zero for the
        # tolerance, not for the penalty.
        if status.ok and null is not None and strength is not None and strength >= null:
            status = Status.ALL_ZERO
        return Solution(
            W=W,
            intercept=at.intercept,
            objective=self.value(W, at),
            certificate=certificate,
            status=status,
            n_iter=n_iter,
            seconds=time.perf_counter() - self.started,
            null_strength=null,
        )

    def _null_strength(self, W: Array) -> float | None:
        penalty = self.penalty
        if W.any() or penalty.null_point is not None or not isinstance(penalty, NullStrength):
            return None
        if self._is_flat():
            return None
        if not penalty.strength:
            return None
        return float(penalty.null_strength(self.datafit.origin.gradient))

    def rest(self) -> Solution:
        """Return the answer W = 0 of a settled objective."""
        W = np.zeros(self.datafit.shape)
        gap = 0.0 if self.certifiable else None
        certificate = Certificate(gap, 0.0, self.reference)
        return self.finish(W, self.zero, certificate, Status.CONVERGED, 0)


def _add_smooth(data: Evaluation, curved: Smooth, W: Array) -> Evaluation:
    """Add a smooth penalty; its conjugate and Hessian are those of a quadratic."""
    value = float(curved.value(W))
    gradient = curved.gradient(W)
    slope = float(np.sum(gradient * W))

    def conjugate(c: float) -> float:
        return data.conjugate(c) + c * (slope - 2.0 * value) + c * c * value

    return Evaluation(
        value=data.value + value,
        gradient=data.gradient + gradient,
        intercept=data.intercept,
        conjugate=conjugate,
        hessian=lambda V: data.hessian(V) + hessian_product(curved, V),
        preconditioner=lambda shift: data.preconditioner(shift + curved.curvature()),
    )


def hessian_product(penalty: Smooth, V: Array) -> Array:
    """Return the Hessian of a quadratic penalty times V."""
    if isinstance(penalty, Quadratic):
        return np.asarray(penalty.apply(V))
    return np.asarray(penalty.gradient(V) - penalty.gradient(np.zeros_like(V)))
