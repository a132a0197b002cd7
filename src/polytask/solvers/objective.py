"""Datafit plus penalty: values, gradients, the null model, the duality gap, and the solution."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property

import numpy as np

from polytask.datafits import Datafit, Evaluation, SquareRootDatafit
from polytask.datafits.base import Array, LinearMap, too_large
from polytask.penalties import (
    L2,
    Conjugate,
    NullStrength,
    Penalty,
    Quadratic,
    RowSeparable,
    Smooth,
    decompose,
)
from polytask.penalties.base import NO_ROWS
from polytask.penalties.decomposition import Ridged, ridge_of
from polytask.penalties.sums import Sum
from polytask.solvers._free_rows import Evaluate, FreeRows, Index, hessian_of, null_gradient
from polytask.solvers.base import Certificate, Solution, Status

# An objective at W = 0 below this share of that without intercepts is rounding.
NOTHING = 1e-26
# Where features are fitted before, which may be nearly dependent.
_FREE_NOTHING = 1e-21
# A dual point shorter than this many units of rounding proves nothing.
_SHORTEST = 10.0
# Below this share of the largest gradient that the reference allows, one is rounding.
_FAINT = 1e-8
# Square roots of curvatures below this share of the largest are raised to it.
_SMALLEST_SCALE = 1e-100


class Minimand(ABC):
    """A data term plus a penalty, and how its minimisation ends."""

    # `reference` is the value of the null model, 0 if that is optimal up to rounding.

    reference: float

    def __init__(self, datafit: Datafit, penalty: Penalty) -> None:
        self.started = time.perf_counter()
        self.datafit = datafit
        self.penalty = penalty

    @abstractmethod
    def penalty_value(self, W: Array) -> float:
        """Return what the penalty adds to the value of an evaluation at W."""

    @property
    @abstractmethod
    def free_rows(self) -> Index:
        """The rows of W that the penalty leaves alone, if these are treated apart."""

    def value(self, W: Array, at: Evaluation) -> float:
        """Value of the objective; DataError if it is not finite."""
        value = at.value + self.penalty_value(W)
        if not np.isfinite(value):
            raise too_large()
        return value

    @cached_property
    def is_flat(self) -> bool:
        """Whether every feature is constant, so that intercepts do all that W could do."""
        # The gradient is then rounding, and so is any fraction of the null strength.
        return self.penalty.null_point is None and not self.datafit.feature_scale().any()

    def finish(
        self, W: Array, at: Evaluation, certificate: Certificate, status: Status, n_iter: int
    ) -> Solution:
        """Return the solution; an answer of zeros tells where coefficients appear."""
        null, value = None, self.value(W, at)
        if status is not Status.UNBOUNDED and not self.is_flat:
            null = null_strength_at(self.datafit, self.penalty, W, self.free_rows)
        # What the datafit remembers does not belong to the caller.
        found = Solution(W, at.intercept.copy(), value, certificate, status, n_iter, 0.0, null)
        return ended(found, self.penalty, self.started)


def null_strength_at(
    datafit: Datafit, penalty: Penalty, W: Array, free_rows: Index = NO_ROWS
) -> float | None:
    """Return where coefficients appear, None unless all that are penalised are zero."""
    held = np.delete(W, free_rows, axis=0) if free_rows.size else W
    if held.any() or not isinstance(penalty, NullStrength):
        return None
    if penalty.null_point is not None or not penalty.strength:
        return None
    return float(penalty.null_strength(null_gradient(datafit, penalty)))


def ended(found: Solution, penalty: Penalty, started: float) -> Solution:
    """Return a solution that says whether it is zero, and how long it took."""
    null, status, strength = found.null_strength, found.status, penalty.strength
    # Closer to its null strength than the tolerance tells, the answer is zero for the tolerance,
    # not for the penalty.
    if status.ok and null is not None and strength is not None and strength >= null:
        status = Status.PENALISED_ZERO if found.W.any() else Status.ALL_ZERO
    return replace(found, status=status, seconds=time.perf_counter() - started)


class Objective(Minimand):
    """Datafit plus penalty, split into a smooth part and one with a prox."""

    # What is said of W = 0 holds for `null`, where rows that the penalty leaves alone are fitted;
    # `zero` is the evaluation there. Evaluations are of the data term plus the smooth part.

    def __init__(self, datafit: Datafit, penalty: Penalty) -> None:
        super().__init__(datafit, penalty)
        split = decompose(penalty)
        self.smooth = split.smooth
        self.nonsmooth = split.proximable
        self.hessian = None if self.smooth is None else hessian_of(self.smooth)
        self.null = np.zeros(datafit.shape)
        smooth, self.zero = self.smooth, datafit.origin
        self.evaluate: Evaluate = datafit.evaluate
        if smooth is not None:
            self.zero = with_smooth(self.zero, smooth, self.null, self.hessian)
            self.evaluate = lambda W, start: with_smooth(
                datafit.evaluate(W, start), smooth, W, self.hessian
            )
        self.free = self._free()
        self.unbounded = self._fit_null()
        reference = self.zero.value + self.nonsmooth_value(self.null)
        self.is_quadratic = datafit.is_quadratic and (
            smooth is None or isinstance(smooth, Quadratic)
        )
        # Losses and penalties are at least 0, so W = 0 cannot be improved upon.
        least = NOTHING if self.free is None else _FREE_NOTHING
        nothing = reference <= least * datafit.magnitude
        self.reference = 0.0 if nothing else reference
        self.is_trivial = nothing or self.unbounded or self.is_flat
        self.conjugate = self._conjugate()
        self.certifiable = self.conjugate is not None

    def _free(self) -> FreeRows | None:
        index = NO_ROWS if self.nonsmooth is None else self.nonsmooth.unpenalised
        if not index.size:
            return None
        outside: Smooth | None = None
        if isinstance(self.nonsmooth, Ridged):
            ridge = self.nonsmooth.ridge
            plain: Penalty = L2(ridge.weight)
            moved = plain if ridge.centre is None else plain.shifted(ridge.centre)
            outside = moved if isinstance(moved, Smooth) else None
        return FreeRows(self.datafit, index, self.smooth, outside)

    def _fit_null(self) -> bool:
        """Fit the null model; say whether it has no minimum, and so the objective has none."""
        # Squares, and roots of their means, have a minimum always.
        least = self.datafit.is_quadratic or isinstance(self.datafit, SquareRootDatafit)
        if self.free is not None and not least:
            found = self.free.minimised(self.null, self.zero, self.evaluate)
            self.null, self.zero, unbounded = found
            if unbounded:
                return True
        self.null, self.zero = self.fitted(self.null, self.zero)
        return False

    def _conjugate(self) -> Conjugate | None:
        """Return the part with a conjugate; None if the dual point is zero, up to rounding."""
        nonsmooth = self.nonsmooth
        if not isinstance(nonsmooth, Conjugate):
            return None
        if self.smooth is not None and not isinstance(self.smooth, Quadratic):
            return None
        gradient, _ = self._orthogonal(self.null, self.zero.gradient)
        longest = nonsmooth.feasible_scale(-gradient)
        return nonsmooth if longest > _SHORTEST * self.datafit.precision else None

    @property
    def free_rows(self) -> Index:
        """The rows of W that the penalty leaves alone."""
        return NO_ROWS if self.free is None else self.free.index

    def fitted(self, W: Array, at: Evaluation) -> tuple[Array, Evaluation]:
        """Return W with its unpenalised rows at their best, and the evaluation."""
        # Shapes: W (n_features, n_columns).
        return (W, at) if self.free is None else self.free.fitted(W, at, self.evaluate)

    def first(self, start: Solution) -> Array:
        """Return where to begin: a copy of the start, if it is allowed, or the null model."""
        allowed = np.isfinite(self.nonsmooth_value(start.W))
        return start.W.copy() if allowed else self.null.copy()

    def nonsmooth_value(self, W: Array) -> float:
        """Value of the part with a prox."""
        return 0.0 if self.nonsmooth is None else float(self.nonsmooth.value(W))

    def penalty_value(self, W: Array) -> float:
        """Value of the part with a prox: the smooth one belongs to the evaluation."""
        return self.nonsmooth_value(W)

    def row_curvature(self, shortfall: float = 1.0) -> Array:
        """Bound the curvature, for each row apart if the penalty is one of rows."""
        # Square roots of the features' own curvatures make a metric that does not depend on their
        # scales; `shortfall` is what the bound of the data term may lack. Shapes: (n_features,).
        d = self.datafit.shape[0]
        extra, scale = 0.0 if self.smooth is None else self.smooth.curvature(), np.ones(d)
        if self.nonsmooth is None or isinstance(self.nonsmooth, RowSeparable):
            own = np.sqrt(self.datafit.feature_scale() ** 2 + extra)
            top = float(own.max(initial=0.0))
            # A feature without curvature is constant: its gradient is rounding, and the shortest
            # step keeps it so.
            if top > 0:
                scale = np.where(own > 0, np.maximum(own / top, _SMALLEST_SCALE), 1.0)
        bound = shortfall * self.datafit.known_lipschitz(scale)
        bound += extra / float(np.min(scale, initial=1.0) ** 2)
        return max(bound, float(np.finfo(float).tiny)) * scale**2

    def gap(self, W: Array, at: Evaluation, rows: Index | None = None) -> float | None:
        """Duality gap of W, from its evaluation alone, which only some rows may matter to."""
        # The dual point is minus the gradient, scaled into the domain of the conjugate.
        nonsmooth = self.conjugate
        if nonsmooth is None:
            return None
        gradient, slack = self._orthogonal(W, at.gradient)
        if rows is not None:
            nonsmooth, W, gradient = nonsmooth.of_rows(rows), W[rows], gradient[rows]
        c, conjugate = nonsmooth.scaled_conjugate(-gradient)
        dual = -at.conjugate(c) - conjugate
        gap = at.value + float(nonsmooth.value(W)) - dual + slack
        return float("inf") if np.isnan(gap) else max(float(gap), 0.0)

    def _orthogonal(self, W: Array, gradient: Array) -> tuple[Array, float]:
        """Return the gradient, 0 in fitted rows, and what that leaves out of the gap."""
        # There it is rounding, worth its product with how far these rows are from their best;
        # where it is more than rounding, they are not at their best, and nothing bounds the gap.
        if self.free is None or isinstance(self.nonsmooth, Ridged):
            return gradient, 0.0
        index = self.free.index
        slack = float(np.linalg.norm(gradient[index]) * np.linalg.norm(W[index]))
        if not self.free.is_minimum(gradient[index]):
            slack = float("inf")
        gradient = gradient.copy()
        gradient[index] = 0.0
        return gradient, slack

    def finish(
        self, W: Array, at: Evaluation, certificate: Certificate, status: Status, n_iter: int
    ) -> Solution:
        """Return the solution; it is none where the objective falls without end."""
        if status.ok and self._is_unbounded(W, at):
            status = Status.UNBOUNDED
        return super().finish(W, at, certificate, status, n_iter)

    def _is_unbounded(self, W: Array, at: Evaluation) -> bool:
        """Whether the objective falls for ever, where no penalty need hold it."""
        nonsmooth: object = self.nonsmooth
        loose = nonsmooth is None or getattr(nonsmooth, "strength", None) == 0.0
        if self.datafit.is_quadratic or not loose:
            return False
        if isinstance(nonsmooth, Conjugate):
            # Conjugates are finite both ways where what is allowed is bounded.
            ones = np.ones_like(W)
            if min(nonsmooth.feasible_scale(ones), nonsmooth.feasible_scale(-ones)) == np.inf:
                return False
        smooth: object = self.smooth
        members = smooth.members if isinstance(smooth, Sum) else (smooth,)
        ridges = (ridge_of(member) for member in members if isinstance(member, Penalty))
        if any(ridge is not None and ridge.weight > 0 for ridge in ridges):
            return False
        rows = FreeRows(self.datafit, np.arange(W.shape[0]), self.smooth, None)
        return rows.minimised(W, at, self.evaluate)[2]

    def trivial_solution(self) -> Solution:
        """Return the null model as the answer of a problem that it solves."""
        W = self.null.copy()
        if self.unbounded:
            # Nothing bounds how far an answer is from what does not exist.
            unknown = Certificate(None, float("inf"), self.reference)
            return super().finish(W, self.zero, unknown, Status.UNBOUNDED, 0)
        certificate = Certificate(0.0 if self.certifiable else None, 0.0, self.reference)
        return self.finish(W, self.zero, certificate, Status.CONVERGED, 0)


def first_violation(length: float, reference: float) -> float:
    """Return the violation of the null model, no smaller than what rounding can tell from 0."""
    # In a metric in which the curvature is 1.
    return max(length, _FAINT * float(np.sqrt(2.0 * reference)))


def with_smooth(
    data: Evaluation, smooth: Smooth, W: Array, hessian: LinearMap | None = None
) -> Evaluation:
    """Add a smooth penalty; its conjugate and Hessian are those of a quadratic."""
    product = hessian_of(smooth) if hessian is None else hessian
    value = float(smooth.value(W))
    gradient = smooth.gradient(W)
    slope = float(np.sum(gradient * W))

    def conjugate(c: float) -> float:
        return data.conjugate(c) + c * (slope - 2.0 * value) + c * c * value

    return Evaluation(
        value=data.value + value,
        gradient=data.gradient + gradient,
        intercept=data.intercept,
        conjugate=conjugate,
        hessian=lambda V: data.hessian(V) + product(V),
        preconditioner=lambda shift: data.preconditioner(shift + smooth.curvature()),
    )
