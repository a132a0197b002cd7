"""What Splitting minimises: values, the duality gap of primal and dual points, the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from polytask.datafits import Datafit, Evaluation, FreeFeatures, KinkedSamples
from polytask.datafits.base import Array, too_large
from polytask.penalties import Conjugate, NullStrength, Penalty, Quadratic
from polytask.penalties.composed import Composed
from polytask.penalties.decomposition import RidgedRows, separate
from polytask.penalties.features import binds_signs, unpenalised_rows
from polytask.solvers._free_rows import FreeRows, null_gradient
from polytask.solvers._splitting_sides import Side
from polytask.solvers._splitting_steps import Point, Steps
from polytask.solvers.base import Certificate, Solution, Status

# An objective at W = 0 below this share of that without intercepts is rounding.
_NOTHING = 1e-26


class SplitObjective:
    """Data plus penalty, the penalty as a smooth part and parts with a prox each."""

    def __init__(self, datafit: Datafit, penalty: Penalty, side: Side) -> None:
        self.started = time.perf_counter()
        self.datafit = datafit
        self.penalty = penalty
        self.side = side
        self.split = separate(penalty)
        self.first, self.others = self.split.proximable, self.split.others
        self.steps = Steps(side, self.split.smooth, self.first, self.others, datafit.shape)
        zero = np.zeros(datafit.shape)
        reference = datafit.origin.value + self.penalty_value(zero)
        nothing = reference <= _NOTHING * datafit.magnitude
        self.reference = 0.0 if nothing else reference
        self.settled = nothing or self._is_flat()
        self.free = self._free_features()
        quadratic = self.split.smooth is None or isinstance(self.split.smooth, Quadratic)
        self.certifiable = quadratic and isinstance(self.first, Conjugate)

    def _is_flat(self) -> bool:
        """Whether every feature is constant, so that intercepts do all that W could do."""
        return self.penalty.null_point is None and not self.datafit.feature_scale().any()

    def _free_features(self) -> FreeFeatures | None:
        """Return the features that nothing but smooth terms penalises, for losses with kinks."""
        # With a ridge the conjugate has no limits.
        if not isinstance(self.datafit, KinkedSamples) or isinstance(self.first, RidgedRows):
            return None
        index = unpenalised_rows(self.penalty)
        if self.penalty.strength == 0 and not binds_signs(self.penalty):
            index = np.arange(self.datafit.shape[0])
        return FreeFeatures(self.datafit, index) if index.size else None

    def evaluate(self, point: Point) -> Evaluation:
        """Evaluate at a point, with the gradient of a dual point that a gap can be made of."""
        at = None
        if self.free is not None:
            curved, index = self.split.smooth, self.free.index
            none = np.zeros((len(index), self.datafit.shape[1]))
            goal = none if curved is None else -curved.gradient(point.W)[index]
            at = self.free.evaluate(point.W, point.u, goal, self._fitted_rest(point.W))
        return self.side.evaluate(point.W, point.b, point.u) if at is None else at

    def _fitted_rest(self, W: Array) -> Evaluation | None:
        """Evaluate the losses without kinks with the features that nothing penalises fitted."""
        rest = self.free.datafit.rest if self.free is not None else None
        if self.free is None or rest is None or self.split.smooth is not None:
            return None
        rows = FreeRows(rest, self.free.index, None, None)
        return rows.fitted(W, rest.evaluate(W), rest.evaluate)[1]

    def penalty_value(self, W: Array) -> float:
        """Return the value of all parts of the penalty at W."""
        parts = (self.split.smooth, self.first, *self.others)
        return float(sum(part.value(W) for part in parts if part is not None))

    def value(self, W: Array, at: Evaluation) -> float:
        """Return the value of the objective; DataError if it is not finite."""
        value = at.value + self.penalty_value(W)
        if not np.isfinite(value):
            raise too_large()
        return value

    def gap(self, W: Array, at: Evaluation, point: Point) -> float | None:
        """Return the duality gap of W with the dual variables of a point."""
        # What they lack of minus the gradient is given to one of them, the one that makes the
        # gap smallest.
        if not self.certifiable or point.first is None:
            return None
        curved = self.split.smooth
        gradient = at.gradient if curved is None else at.gradient + curved.gradient(W)
        lack = -gradient - point.first - self.steps.pulled(point.duals)
        terms = [self.first, *self.others]
        duals = [point.first, *point.duals]
        dual = max(self._dual_values(W, at, terms, duals, lack), default=-np.inf)
        gap = at.value + self.penalty_value(W) - dual
        return float("inf") if np.isnan(gap) else max(float(gap), 0.0)

    def _dual_values(
        self, W: Array, at: Evaluation, terms: Sequence[object], duals: list[Array], lack: Array
    ) -> Iterator[float]:
        """Yield the dual objective with the lack given to each term in turn."""
        known = [
            (term, dual)
            for term, dual in zip(terms, duals, strict=True)
            if isinstance(term, Conjugate)
        ]
        scales = [term.feasible_scale(dual) for term, dual in known]
        pairs = list(zip(terms, duals, strict=True))

        def maps(c: float) -> float:
            return sum(t.dual_value(c * dual) for t, dual in pairs if isinstance(t, Composed))

        for k, (term, dual) in enumerate(known):
            whole = dual + lack
            rest = [scale for i, scale in enumerate(scales) if i != k]
            c = min(1.0, term.feasible_scale(whole), *rest)
            parts = [t.conjugate(c * (whole if i == k else d)) for i, (t, d) in enumerate(known)]
            yield -at.conjugate(c) - self._curved_conjugate(W, c) - sum(parts) - maps(c)

    def _curved_conjugate(self, W: Array, c: float) -> float:
        """Return the conjugate of the smooth part of the penalty at c times its gradient."""
        curved = self.split.smooth
        if curved is None:
            return 0.0
        value = float(curved.value(W))
        return c * (float(np.sum(curved.gradient(W) * W)) - 2.0 * value) + c * c * value

    def settle(self, point: Point) -> Array | None:
        """Return W with differences made exactly zero where a composed term says so, or None."""
        W = point.W
        for term, moved in zip(self.others, point.moved, strict=True):
            if isinstance(term, Composed):
                W = np.asarray(term.settled(W, moved))
        return None if W is point.W else W

    def finish(
        self, point: Point, at: Evaluation, certificate: Certificate, status: Status, n_iter: int
    ) -> Solution:
        """Return the solution; an answer of zeros tells where coefficients appear."""
        null, strength = self._null_strength(point.W), self.penalty.strength
        # Closer to its null strength than the tolerance tells, the answer is zero for the
        # tolerance, not for the penalty.
        if status.ok and null is not None and strength is not None and strength >= null:
            status = Status.PENALISED_ZERO if point.W.any() else Status.ALL_ZERO
        return Solution(
            W=point.W.copy(),
            intercept=at.intercept.copy(),
            objective=self.value(point.W, at),
            certificate=certificate,
            status=status,
            n_iter=n_iter,
            seconds=time.perf_counter() - self.started,
            null_strength=null,
            memory=(*point.known, point.b, point.u, np.array([self.steps.step])),
        )

    def _null_strength(self, W: Array) -> float | None:
        penalty = self.penalty
        held = W if self.free is None else np.delete(W, self.free.index, axis=0)
        if held.any() or penalty.null_point is not None or not isinstance(penalty, NullStrength):
            return None
        if self._is_flat() or not penalty.strength:
            return None
        return float(penalty.null_strength(null_gradient(self.datafit, penalty)))

    def rest(self) -> Solution:
        """Return the answer W = 0 of a settled objective."""
        origin = self.datafit.origin
        b, u = self.side.start(origin.intercept, None)
        gap = 0.0 if self.certifiable else None
        certificate = Certificate(gap, 0.0, self.reference)
        point = self.steps.nowhere(b, u)
        return self.finish(point, origin, certificate, Status.CONVERGED, 0)
