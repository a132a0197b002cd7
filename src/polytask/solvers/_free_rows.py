"""Rows of W that a penalty leaves alone: fitted exactly, as free intercepts are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.datafits import (
    Datafit,
    Evaluation,
    FreeFeatures,
    PiecewiseLinearSamples,
    Samples,
    SquaredStatistics,
    narrowed,
)
from polytask.datafits.base import Array, LinearMap
from polytask.datafits.samples import majorant
from polytask.penalties import Penalty, Quadratic, Smooth
from polytask.penalties.sums import Sum, add
from polytask.solvers._conjugate_gradients import conjugate_gradients

Index = NDArray[np.intp]
Evaluate = Callable[[Array, Array | None], Evaluation]

# Newton steps, and steps of conjugate gradients in one.
_MOST_ROUNDS = 50
_MOST_STEPS = 500
_ACCURACY = 1e-14
# Steps that only lead to where it can be told whether there is a minimum are less accurate.
_ROUGH = 1e-3
# Curvatures below this share of the largest, of features on one scale, are rounding.
_FLAT = 1e-13
_HALVINGS = 30
# A slope below so many units of rounding is zero.
_ROUNDING = 1000.0
# Slopes beyond so many times that are not those of a minimum.
_FITTED = 10.0
# Where a step lowers the slope by less, the rest is rounding.
_WORTH = 0.5
# Newton steps until the slope, relative to that at W = 0, is so small that a minimum is known
# by steps that end at it. Where there is none every step moves the predictions by about one.
_SMALL = 1e-9
# Below this share, so many steps that do not halve it show that rounding is left.
_NOISY, _MOST_IDLE = 1e-6, 3
# Steps to look ahead, and twice as many: farther than rounding lets a minimum lie.
_AHEAD = 30.0
# What the objective may rise in the second half, as a share of its fall in the first, for
# directions are known to rounding only.
_RISE = 1e-3
_TINY = 1e-15


class FreeRows:
    """The minimisation over some rows of W, the others staying as they are."""

    # The dual point of a penalty has to be orthogonal to the features that it leaves alone, so
    # these are fitted until their gradient is rounding. By conjugate gradients: for the squared
    # loss in one step of Newton's method, preconditioned by the exact inverse of every task.

    def __init__(
        self, datafit: Datafit, index: Index, inside: Smooth | None, outside: Smooth | None
    ) -> None:
        self.datafit, self.index = datafit, index
        self.inside, self.outside = inside, outside

    @cached_property
    def scale(self) -> Array:
        """Sizes of the features, by which slopes are divided, of shape (n_rows, 1)."""
        return self._sizes[self.index, None]

    @cached_property
    def _sizes(self) -> Array:
        sizes = self.datafit.feature_scale()
        return np.where(sizes > 0.0, sizes, 1.0)

    @cached_property
    def floor(self) -> float:
        """Length of a slope, of features on one scale, that is rounding."""
        size = float(np.linalg.norm(self.datafit.origin.gradient / self._sizes[:, None]))
        return _ROUNDING * self.datafit.precision * size

    @cached_property
    def _flat(self) -> float:
        """A curvature that is rounding, such as along what all classes of a task share."""
        return _FLAT * float(np.max(self.scale**2, initial=0.0))

    def length(self, slope: Array) -> float:
        """Return the length of a slope for features on one scale."""
        return float(np.linalg.norm(slope / self.scale))

    def is_minimum(self, slope: Array) -> bool:
        """Say whether a slope is no longer than rounding makes it."""
        return self.length(slope) <= _FITTED * self.floor

    @cached_property
    def _alone(self) -> Evaluation | None:
        """The data term of these features alone, where its curvature is the same everywhere."""
        if not self.datafit.is_quadratic:
            return None
        if isinstance(self.datafit, SquaredStatistics):
            s, some = self.datafit.statistics, self.index
            second = np.ascontiguousarray(s.second[:, some[:, None], some[None, :]])
            few = replace(s, second=second, cross=s.cross[some], x_mean=s.x_mean[some])
            return SquaredStatistics(few, self.datafit.intercepts).origin
        if isinstance(self.datafit, Samples):
            return narrowed(self.datafit, self.index).origin
        return None

    def slope(self, W: Array, at: Evaluation) -> Array:
        """Return the gradient for these rows."""
        own = at.gradient[self.index]
        return own if self.outside is None else own + self.outside.gradient(W)[self.index]

    def fitted(self, W: Array, at: Evaluation, evaluate: Evaluate) -> tuple[Array, Evaluation]:
        """Return W with these rows at their best, and the evaluation there."""
        # Shapes: W (n_features, n_columns).
        slope = self.slope(W, at)
        left = self.length(slope)
        for _ in range(_MOST_ROUNDS):
            if left <= self.floor:
                break
            found = self.nearer(W, at, slope, evaluate)
            if found is None:
                break
            slope = self.slope(*found)
            now = self.length(slope)
            if self.datafit.is_quadratic and now > _WORTH * left:
                return found if now < left else (W, at)
            (W, at), left = found, now
        return W, at

    def nearer(
        self,
        W: Array,
        at: Evaluation,
        slope: Array,
        evaluate: Evaluate,
        accuracy: float = _ACCURACY,
    ) -> tuple[Array, Evaluation] | None:
        """Take Newton's step, or a better one where the loss has straight parts."""
        # Newton's method does not see rows there.
        found = self.moved(W, at, self.step(at, slope, accuracy), evaluate)
        near = found is not None and self.length(self.slope(*found)) <= _WORTH * self.length(slope)
        if near or self.datafit.is_quadratic or not isinstance(self.datafit, Samples):
            return found
        above = majorant(self.datafit, W, at.intercept)
        if above is None:
            return found
        bowl = FreeRows(above, self.index, self.inside, self.outside)
        other = self.moved(W, at, bowl.step(at, slope, accuracy), evaluate)
        if found is None or other is None:
            return found or other
        return min(found, other, key=lambda one: self.value(*one))

    def moved(
        self, W: Array, at: Evaluation, step: Array, evaluate: Evaluate
    ) -> tuple[Array, Evaluation] | None:
        """Go along a step as far as the objective does not rise."""
        before, length = self.value(W, at), 1.0
        for _ in range(_HALVINGS):
            trial = W.copy()
            trial[self.index] -= length * step
            new = evaluate(trial, at.intercept)
            if self.value(trial, new) <= before + 1e-13 * abs(before):
                return trial, new
            length /= 2
        return None

    def value(self, W: Array, at: Evaluation) -> float:
        """Return the objective, but for terms that these rows do not change."""
        return at.value + (0.0 if self.outside is None else float(self.outside.value(W)))

    def _spread(self, rows: Array) -> Array:
        full = np.zeros(self.datafit.shape)
        full[self.index] = rows
        return full

    def _hessian(self, at: Evaluation) -> LinearMap:
        alone = self._alone
        terms = [self.outside] if alone is None else [self.inside, self.outside]
        hessians = [hessian_of(term) for term in terms if term is not None]

        def product(V: Array) -> Array:
            full = self._spread(V)
            found = at.hessian(full)[self.index] if alone is None else alone.hessian(V)
            for hessian in hessians:
                found = found + hessian(full)[self.index]
            return found

        return product

    def _precondition(self, at: Evaluation) -> LinearMap:
        terms = (self.inside, self.outside)
        shift = self._flat + sum(term.curvature() for term in terms if term is not None)
        if self._alone is not None:
            return self._alone.preconditioner(shift)
        whole = at.preconditioner(shift)
        return lambda V: np.asarray(whole(self._spread(V))[self.index])

    def step(self, at: Evaluation, slope: Array, accuracy: float) -> Array:
        """Return Newton's step: solve H step = slope by conjugate gradients."""
        # Features are taken on one scale.
        hessian, precondition, scale = self._hessian(at), self._precondition(at), self.scale
        step, _ = conjugate_gradients(
            lambda V: hessian(V / scale) / scale,
            slope / scale,
            lambda V: scale * precondition(scale * V),
            accuracy,
            _MOST_STEPS,
            _FLAT,
        )
        return np.asarray(step / scale)

    def minimised(
        self, W: Array, at: Evaluation, evaluate: Evaluate
    ) -> tuple[Array, Evaluation, bool]:
        """Fit these rows from W on, and say whether the objective is unbounded along them."""
        # A convex function has no minimum if it keeps falling along a line. Separated classes make
        # such a line, and counts that are all zero wherever a feature is not.
        first = self.length(self.datafit.origin.gradient[self.index])
        slope, least, idle = self.slope(W, at), _NOISY * first, 0
        for _ in range(_MOST_ROUNDS):
            left = self.length(slope)
            idle = idle + 1 if _WORTH * least < left <= _NOISY * first else 0
            least = min(least, left)
            if left <= _SMALL * first or idle == _MOST_IDLE:
                break
            moved = self.nearer(W, at, slope, evaluate, _ROUGH)
            if moved is None:
                break
            W, at = moved
            slope = self.slope(W, at)
        return W, at, self._keeps_falling(W, at, evaluate)

    def _keeps_falling(self, W: Array, at: Evaluation, evaluate: Evaluate) -> bool:
        step = self.step(at, self.slope(W, at), _ACCURACY)
        if not step.any():
            return False
        values = []
        for length in (_AHEAD, 2.0 * _AHEAD):
            trial = W.copy()
            trial[self.index] -= length * step
            with np.errstate(over="ignore", invalid="ignore"):
                values.append(self.value(trial, evaluate(trial, at.intercept)))
        here, (there, beyond) = self.value(W, at), values
        fall = here - there
        return bool(fall > _TINY * abs(here) and beyond - there <= _RISE * fall)


def hessian_of(penalty: Smooth) -> LinearMap:
    """Return the product with the Hessian of a quadratic penalty."""
    if isinstance(penalty, Quadratic):
        return penalty.apply
    return lambda V: np.asarray(penalty.gradient(V) - penalty.gradient(np.zeros_like(V)))


def null_gradient(datafit: Datafit, penalty: Penalty) -> Array:
    """Return the gradient of the data term of the model that a strong penalty leaves.

    All coefficients are at the null point, but for features that are not penalised, which are
    fitted: their gradient is 0.

    Parameters
    ----------
    datafit : Datafit
        The data term.
    penalty : Penalty
        Bound, with a strength or a fraction.

    Returns
    -------
    ndarray of shape (n_features, n_columns)
        What ``resolved`` and ``null_strength`` take.
    """
    null = penalty.null_point
    at = datafit.origin if null is None else datafit.evaluate(np.asarray(null, dtype=float))
    index = penalty.unpenalised
    if not index.size:
        return at.gradient
    W = np.zeros(datafit.shape) if null is None else np.asarray(null, dtype=float)
    members = penalty.members if isinstance(penalty, Sum) else (penalty,)
    smooth = [member for member in members if isinstance(member, Smooth)]
    if isinstance(datafit, PiecewiseLinearSamples) and not smooth and null is None:
        exact = FreeFeatures(datafit, index).null_gradient()
        if exact is not None:
            return exact
    together: object = add(smooth) if smooth else None
    outside = together if isinstance(together, Smooth) else None
    _, at = FreeRows(datafit, index, None, outside).fitted(W, at, datafit.evaluate)
    gradient = at.gradient.copy()
    gradient[index] = 0.0
    return gradient
