"""Datafit plus penalty: values, gradients, the duality gap, and how a run ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from polytask.datafits import Datafit, Evaluation, Rooted, Samples, SquaredStatistics
from polytask.datafits.base import Array, LinearMap, too_large
from polytask.penalties import (
    L2,
    Conjugate,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    Smooth,
    decompose,
)
from polytask.penalties.base import NO_ROWS
from polytask.penalties.decomposition import Ridge, Ridged
from polytask.penalties.sums import Sum
from polytask.solvers._free_rows import Evaluate, FreeRows, Index, hessian_product, null_gradient
from polytask.solvers.base import Certificate, Solution, Status

# Below this many numbers other solvers are done before a compiled one is loaded.
_LARGE = 1_000_000
_REPEATS = 20
# After so many solves its start is paid for, however small they are.
_MANY = 100


def _numbers(datafit: Datafit) -> int:
    """Return how many products one pass over the data takes."""
    if isinstance(datafit, SquaredStatistics):
        d, columns = datafit.shape
        return d * d * columns
    if isinstance(datafit, Samples):
        return sum(block.y.size for block in datafit.blocks) * datafit.n_features
    return 0


def is_many(repeats: int) -> bool:
    """Say whether so many solves pay for the start of a compiled solver, whatever their size."""
    return repeats >= _MANY


def is_large(datafit: Datafit) -> bool:
    """Say whether a compiled solver is worth its start for one solve."""
    return _numbers(datafit) >= _LARGE


def is_large_repeated(datafit: Datafit) -> bool:
    """Say the same where many such problems are solved one after the other, to many digits."""
    return _numbers(datafit) >= _LARGE / _REPEATS


class WrappedDatafit(Datafit):
    """What a data term has in common with that of W: W is linear in its argument."""

    # A leaf class is a dataclass with the field `datafit`, the data term of W.

    datafit: Datafit

    @property
    def is_quadratic(self) -> bool:
        """Whether the Hessian is the same everywhere."""
        return self.datafit.is_quadratic

    @property
    def is_bounded(self) -> bool:
        """Whether the curvature has a bound."""
        return self.datafit.is_bounded

    @property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        return self.datafit.magnitude

    @property
    def precision(self) -> float:
        """Unit of rounding in gradients."""
        return self.datafit.precision


@dataclass(frozen=True, eq=False)
class StackedDatafit(WrappedDatafit):
    """A data term of W = U_1 + ... + U_k as a function of the parts on top of each other."""

    # Every part has the same gradient, and the conjugate of the whole is that of the data term
    # there, so a duality gap of the stack is one of the parts.

    datafit: Datafit
    count: int
    outside: Smooth | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the stack."""
        d, columns = self.datafit.shape
        return self.count * d, columns

    def parts(self, stack: Array) -> Array:
        """Return the parts, of shape (count, n_features, n_columns)."""
        return stack.reshape(self.count, *self.datafit.shape)

    def summed(self, stack: Array) -> Array:
        """Return W, the sum of the parts."""
        first, *others = self.parts(stack)
        found: Array = first.copy()
        for part in others:
            found += part
        return found

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at the sum of the parts."""
        return self.repeated(self.at_sum(self.summed(W), start))

    def at_sum(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at W itself, the penalty outside included."""
        at = self.datafit.evaluate(W, start)
        return at if self.outside is None else with_smooth(at, self.outside, W)

    def repeated(self, at: Evaluation) -> Evaluation:
        """Return the evaluation at a stack from that at the sum of its parts."""

        def prepare(shift: float) -> LinearMap:
            solve, many = at.preconditioner(shift / self.count), self.count
            # What sums to zero meets no curvature but the shift.
            floor = shift if shift > 0 else 1.0

            def inverse(V: Array) -> Array:
                mean = self.summed(V) / many
                return self._each(solve(mean) / many) + (V - self._each(mean)) / floor

            return inverse

        return replace(
            at,
            gradient=self._each(at.gradient),
            hessian=lambda V: self._each(at.hessian(self.summed(V))),
            preconditioner=prepare,
        )

    def _each(self, values: Array) -> Array:
        return np.concatenate([values] * self.count)

    def value_at(self, W: Array, b: Array) -> float:
        """Value at the sum of the parts and the intercepts `b`."""
        total = self.summed(W)
        outside = 0.0 if self.outside is None else float(self.outside.value(total))
        return self.datafit.value_at(total, b) + outside

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each row of the stack."""
        own = self.datafit.feature_scale()
        if self.outside is not None:
            own = np.sqrt(own**2 + self.outside.curvature())
        return np.concatenate([own] * self.count)

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients: the parts add up in the worst direction."""
        scales = scale.reshape(self.count, -1)
        return sum(self._curvature(own) for own in scales)

    def _curvature(self, scale: Array) -> float:
        bend = self.datafit.known_lipschitz(scale)
        if self.outside is None:
            return bend
        return bend + self.outside.curvature() / float(np.min(scale) ** 2)


# An objective at W = 0 below this share of that without intercepts is rounding.
_NOTHING = 1e-26
# Where features are fitted before, which may be nearly dependent.
_FREE_NOTHING = 1e-21
# A dual point shorter than this many units of rounding proves nothing.
_SHORTEST = 10.0
# Below this share of the largest gradient that the reference allows, one is rounding.
_FAINT = 1e-8


class Objective:
    """Datafit plus penalty, split into a smooth part and a proximable part."""

    # What is said of W = 0 holds for `null`, where rows that the penalty leaves alone are fitted;
    # `zero` is the evaluation there.

    def __init__(self, datafit: Datafit, penalty: Penalty) -> None:
        self.started = time.perf_counter()
        self.datafit = datafit
        self.penalty = penalty
        split = decompose(penalty)
        self.curved: Smooth | None = split.smooth
        self.rough: Proximable | None = split.proximable
        self.null = np.zeros(datafit.shape)
        self.zero = self._with_curved(datafit.origin, self.null)
        self.free = self._free_rows()
        self.endless = self._fit_null()
        reference = self.zero.value + self.rough_value(self.null)
        # Losses and penalties are at least 0, so W = 0 cannot be improved upon.
        rest = _NOTHING if self.free is None else _FREE_NOTHING
        nothing = reference <= rest * datafit.magnitude
        self.reference = 0.0 if nothing else reference
        self.settled = nothing or self.endless or self._is_flat()
        self.certifiable = self._has_gap()

    def _fit_null(self) -> bool:
        """Fit the null model; say whether it has no minimum, and so the objective has none."""
        # Squares, and roots of their means, have a minimum always.
        least = self.datafit.is_quadratic or isinstance(self.datafit, Rooted)
        if self.free is not None and not least:
            self.null, self.zero, endless = walked(self.free, self.null, self.zero, self.smooth)
            if endless:
                return True
        self.null, self.zero = self.fitted(self.null, self.zero)
        return False

    def _is_flat(self) -> bool:
        """Whether every feature is constant, so that intercepts do all that W could do."""
        # The gradient is then rounding, and so is any fraction of the null strength.
        return self.penalty.null_point is None and not self.datafit.feature_scale().any()

    def _has_gap(self) -> bool:
        """Whether the dual point can be anything but zero, beyond rounding."""
        if not isinstance(self.rough, Conjugate):
            return False
        if self.curved is not None and not isinstance(self.curved, Quadratic):
            return False
        longest = self.rough.feasible_scale(-self._orthogonal(self.null, self.zero.gradient)[0])
        return longest > _SHORTEST * self.datafit.precision

    def _free_rows(self) -> FreeRows | None:
        index = NO_ROWS if self.rough is None else self.rough.unpenalised
        if not index.size:
            return None
        outside = _smooth_ridge(self.rough.ridge) if isinstance(self.rough, Ridged) else None
        return FreeRows(self.datafit, index, self.curved, outside)

    def fitted(self, W: Array, at: Evaluation) -> tuple[Array, Evaluation]:
        """Return W with its unpenalised rows at their best, and the evaluation."""
        # Shapes: W (n_features, n_columns).
        return (W, at) if self.free is None else self.free.fitted(W, at, self.smooth)

    def first(self, start: Solution | None) -> Array:
        """Return where to begin: a copy of the start, if it is allowed, or the null model."""
        allowed = start is not None and np.isfinite(self.rough_value(start.W))
        return start.W.copy() if start is not None and allowed else self.null.copy()

    def smooth(self, W: Array, start: Array | None) -> Evaluation:
        """Evaluate the data term plus the smooth part of the penalty."""
        return self._with_curved(self.datafit.evaluate(W, start), W)

    def _with_curved(self, data: Evaluation, W: Array) -> Evaluation:
        return data if self.curved is None else with_smooth(data, self.curved, W)

    def rough_value(self, W: Array) -> float:
        """Value of the proximable part."""
        return 0.0 if self.rough is None else float(self.rough.value(W))

    def value(self, W: Array, at: Evaluation) -> float:
        """Value of the objective; DataError if it is not finite."""
        value = at.value + self.rough_value(W)
        if not np.isfinite(value):
            raise too_large()
        return value

    def certificate(
        self,
        W: Array,
        at: Evaluation,
        residual: float,
        first: float,
        rows: Index | None = None,
    ) -> Certificate:
        """Return the certificate of W. Shapes: W (n_features, n_columns)."""
        relative = residual / first if first > 0 else residual
        return Certificate(self.gap(W, at, rows), relative, self.reference)

    def first_residual(self, residual: float, curvature: float) -> float:
        """Return the residual at W = 0, no smaller than what rounding can tell from 0."""
        return max(residual, _FAINT * float(np.sqrt(2.0 * curvature * self.reference)))

    def gap(self, W: Array, at: Evaluation, rows: Index | None = None) -> float | None:
        """Duality gap of W, from its evaluation alone."""
        # The dual point is minus the gradient, scaled into the domain of the conjugate.
        rough = self.rough
        if not self.certifiable or not isinstance(rough, Conjugate):
            return None
        gradient, slack = self._orthogonal(W, at.gradient)
        if rows is not None:
            rough, W, gradient = rough.of_rows(rows), W[rows], gradient[rows]
        c = min(1.0, rough.feasible_scale(-gradient))
        dual = -at.conjugate(c) - rough.conjugate(-c * gradient)
        gap = at.value + float(rough.value(W)) - dual + slack
        return float("inf") if np.isnan(gap) else max(float(gap), 0.0)

    def _orthogonal(self, W: Array, gradient: Array) -> tuple[Array, float]:
        """Return the gradient, 0 in fitted rows, and what that leaves out of the gap."""
        # There it is rounding, worth its product with how far these rows are from their best;
        # where it is more than rounding, they are not at their best, and nothing bounds the gap.
        if self.free is None or isinstance(self.rough, Ridged):
            return gradient, 0.0
        index = self.free.index
        slack = float(np.linalg.norm(gradient[index]) * np.linalg.norm(W[index]))
        if not self.free.is_minimum(gradient[index]):
            slack = float("inf")
        gradient = gradient.copy()
        gradient[index] = 0.0
        return gradient, slack

    def finish(
        self,
        W: Array,
        at: Evaluation,
        certificate: Certificate,
        status: Status,
        n_iter: int,
    ) -> Solution:
        """Return the solution; an answer of zeros tells where coefficients appear."""
        if status.ok and self._grows(W, at):
            status = Status.ENDLESS
        null = self._null_strength(W)
        strength = self.penalty.strength
        # Closer to its null strength than the tolerance tells, the answer is zero for the
        # tolerance, not for the penalty.
        if status.ok and null is not None and strength is not None and strength >= null:
            status = Status.PENALISED_ZERO if W.any() else Status.ALL_ZERO
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

    def _grows(self, W: Array, at: Evaluation) -> bool:
        """Whether an answer is on its way to nowhere, where nothing need hold it."""
        loose = self.rough is None or getattr(self.rough, "strength", None) == 0.0
        if self.datafit.is_quadratic or not loose or _holds(self.curved):
            return False
        rows = FreeRows(self.datafit, np.arange(W.shape[0]), self.curved, None)
        return walked(rows, W, at, self.smooth)[2]

    def _null_strength(self, W: Array) -> float | None:
        penalty = self.penalty
        if self.endless:
            return None
        held = W if self.free is None else np.delete(W, self.free.index, axis=0)
        if held.any() or penalty.null_point is not None or not isinstance(penalty, NullStrength):
            return None
        if self._is_flat():
            return None
        if not penalty.strength:
            return None
        return float(penalty.null_strength(null_gradient(self.datafit, penalty)))

    def rest(self) -> Solution:
        """Return the answer W = 0 of a settled objective."""
        W = self.null.copy()
        if self.endless:
            # Nothing bounds how far an answer is from what does not exist.
            unknown = Certificate(None, float("inf"), self.reference)
            return self.finish(W, self.zero, unknown, Status.ENDLESS, 0)
        gap = 0.0 if self.certifiable else None
        certificate = Certificate(gap, 0.0, self.reference)
        return self.finish(W, self.zero, certificate, Status.CONVERGED, 0)


def _smooth_ridge(ridge: Ridge) -> Smooth | None:
    """Return a ridge as a penalty with a gradient."""
    plain: Penalty = L2(ridge.weight)
    held = plain if ridge.centre is None else plain.shifted(ridge.centre)
    return held if isinstance(held, Smooth) else None


def _holds(curved: object) -> bool:
    """Say whether a smooth penalty rises in every direction, as far as its kind tells."""
    members = curved.members if isinstance(curved, Sum) else (curved,)
    return any(isinstance(member, L2) and bool(member.strength) for member in members)


def with_smooth(data: Evaluation, curved: Smooth, W: Array) -> Evaluation:
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


# Newton steps until the slope, relative to that at W = 0, is so small that a minimum is known
# by steps that end at it. Where there is none every step moves the predictions by about one.
_MOST_ROUNDS = 50
_SMALL = 1e-9
# Steps to look ahead, and twice as many: farther than rounding lets a minimum lie.
_AHEAD = 30.0
# What the objective may rise in the second half, as a share of its fall in the first, for
# directions are known to rounding only.
_RISE = 1e-3
_ROUNDING = 1e-15


def walked(
    rows: FreeRows, W: Array, at: Evaluation, evaluate: Evaluate
) -> tuple[Array, Evaluation, bool]:
    """Fit rows of W that nothing penalises, and say whether they grow for ever."""
    # Shapes: W (n_features, n_columns).
    # A convex function has no minimum on a line along which it does not end to fall. Separated
    # classes make such a line, and counts that are all zero wherever a feature is not.
    enough = _SMALL * rows.length(rows.datafit.origin.gradient[rows.index])
    slope = rows.slope(W, at)
    for _ in range(_MOST_ROUNDS):
        if rows.length(slope) <= enough:
            break
        moved = rows.nearer(W, at, slope, evaluate)
        if moved is None:
            break
        W, at = moved
        slope = rows.slope(W, at)
    return W, at, _falls_for_ever(rows, W, at, evaluate)


def _falls_for_ever(rows: FreeRows, W: Array, at: Evaluation, evaluate: Evaluate) -> bool:
    step = rows.step(at, rows.slope(W, at))
    if not step.any():
        return False
    here = rows.value(W, at)
    there, beyond = (
        _value(rows, W, at, length * step, evaluate) for length in (_AHEAD, 2.0 * _AHEAD)
    )
    fall = here - there
    return bool(fall > _ROUNDING * abs(here) and beyond - there <= _RISE * fall)


def _value(rows: FreeRows, W: Array, at: Evaluation, step: Array, evaluate: Evaluate) -> float:
    trial = W.copy()
    trial[rows.index] -= step
    with np.errstate(over="ignore", invalid="ignore"):
        return rows.value(trial, evaluate(trial, at.intercept))
