"""The data term on rows that are read in parts: every evaluation is a pass over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from polytask.datafits.base import (
    Array,
    Datafit,
    Evaluation,
    LinearMap,
    diagonal_preconditioner,
)
from polytask.datafits.blocks import (
    Parts,
    Profile,
    newton_solver,
)
from polytask.datafits.designs import Index
from polytask.datafits.intercepts import Intercepts, NoIntercepts
from polytask.datafits.lanczos import largest_of_columns
from polytask.datafits.part_sums import SHARES, LossSums, TaskGrams
from polytask.datafits.statistics import quadratic_conjugate
from polytask.losses import Loss, Squared

# Intercepts are near enough to their best where a Newton step promises to lower the value by this
# share, and slopes are so small: what the step leaves is of third order, which is rounding.
_POLISH, _FLAT = 1e-9, 1e-4
_REMEMBERED = 3
# A centred square below this share of the plain one is rounding.
_ROUNDING = 1e-13


class _Curvature:
    """The Hessian that grams make once the intercepts are minimised out."""

    def __init__(
        self,
        grams: tuple[TaskGrams, ...],
        intercepts: Intercepts,
        n: int,
        times: Callable[[Array, Array], Array] | None = None,
    ) -> None:
        # `n` is the number of columns. `times` is the product in a pass, where grams hold squares
        # of features only.
        self.grams, self.intercepts, self.n_columns, self.times = grams, intercepts, n, times

    @cached_property
    def solve(self) -> LinearMap:
        """Solves Newton systems in the intercepts."""
        parts = [part for each in self.grams for part in each.levels(own=False)]
        return newton_solver(parts, self.intercepts, np.zeros(self.n_columns))

    def forward(self, V: Array) -> Array:
        """Return what a change of the coefficients adds to the slopes in the intercepts."""
        moved = np.zeros(self.n_columns)
        for each in self.grams:
            moved[each.table] = (np.swapaxes(each.first, 1, 2) @ each.flat(V))[:, :, 0]
        return moved

    def changes(self, V: Array, delta: Array) -> Array:
        """Return the change of the gradient with both. Shapes: delta (n_columns,)."""
        if self.times is not None:
            return self.times(V, delta)
        out = np.empty_like(V)
        for each in self.grams:
            found = each.second @ each.flat(V) + each.first @ delta[each.table][:, :, None]
            out[:, each.table] = np.moveaxis(found.reshape(*each.table.shape, -1), 2, 0)
        return out

    def level_changes(self, delta: Array) -> Array:
        """Return the change of the slopes in the intercepts with these."""
        moved = np.zeros(self.n_columns)
        for each in self.grams:
            moved[each.table] = (each.total @ delta[each.table][:, :, None])[:, :, 0]
        return moved

    def product(self, V: Array) -> Array:
        """Multiply by the Hessian."""
        return self.changes(V, -self.solve(self.forward(V)))

    @cached_property
    def _decomposed(self) -> list[tuple[TaskGrams, Array, Array]]:
        found = []
        for each in self.grams:
            values, vectors = np.linalg.eigh(each.reduced(self.intercepts.own_curvature))
            found.append((each, np.maximum(values, 0.0), vectors))
        return found

    def prepare(self, shift: float) -> LinearMap:
        """Return the inverse of the Hessian of every task by itself, shifted."""
        if self.times is not None:
            diagonal = np.empty(
                (self.grams[0].second.shape[1] // self.grams[0].table.shape[1], self.n_columns)
            )
            for each in self.grams:
                own = np.maximum(each.diagonals(self.intercepts.own_curvature)[0], 0.0)
                diagonal[:, each.table] = np.moveaxis(own.reshape(*each.table.shape, -1), 2, 0)
            return diagonal_preconditioner(diagonal)(shift)
        parts = []
        for each, values, vectors in self._decomposed:
            total = values + shift
            floor = 10 * values.shape[1] * np.finfo(float).eps * float(total.max(initial=0.0))
            top = float(total.max(initial=0.0)) or 1.0
            parts.append((each, 1.0 / np.where(total > floor, total, top), vectors))

        def inverse(V: Array) -> Array:
            out = np.empty_like(V)
            for each, inner, vectors in parts:
                turned = inner[:, :, None] * (np.swapaxes(vectors, 1, 2) @ each.flat(V))
                found = (vectors @ turned).reshape(*each.table.shape, -1)
                out[:, each.table] = np.moveaxis(found, 2, 0)
            return out

        return inverse

    def diagonal(self) -> Array:
        """Return the largest curvature of each feature, exactly 0 where it is rounding."""
        top: Array | None = None
        for each in self.grams:
            own, plain = each.diagonals(self.intercepts.own_curvature)
            own = np.where(own <= _ROUNDING * plain, 0.0, own)
            most = own.reshape(len(own) * each.table.shape[1], -1).max(axis=0, initial=0.0)
            top = most if top is None else np.maximum(top, most)
        assert top is not None
        return top

    def largest(self, scale: Array) -> float:
        """Return the largest curvature in scaled coefficients. Shapes: scale (n_features,)."""
        if self.times is not None:
            return self._largest_in_passes(1.0 / scale[:, None])
        found = 0.0
        for each in self.grams:
            inverse = np.tile(1.0 / scale, each.table.shape[1])
            scaled = each.reduced(self.intercepts.own_curvature) * np.outer(inverse, inverse)
            found = max(found, float(np.linalg.eigvalsh(scaled)[:, -1].max(initial=0.0)))
        return found

    def _largest_in_passes(self, inverse: Array) -> float:
        """Return the same, a pass for each step of Lanczos. Shapes: inverse (n_features, 1)."""
        nothing = np.zeros(self.n_columns)

        def apply(V: Array) -> Array:
            U = inverse * V
            moved = self.changes(U, nothing)
            for each in self.grams:
                moved -= each.without_levels(U, self.intercepts.own_curvature)
            return inverse * moved

        return largest_of_columns(apply, (len(inverse), self.n_columns))


@dataclass(frozen=True, eq=False)
class LocalQuadratic(Datafit):
    """The sum of squares with the gradient and the curvature of losses at a point.

    Parameters
    ----------
    W : ndarray of shape (n_features, n_columns)
        The coefficients of the point.
    b : ndarray of shape (n_columns,)
        Its intercepts.
    sums : LossSums
        There.
    intercepts : Intercepts
        What b may be.
    times : callable, default=None
        Products of the curvature at the point with (W, b), where `sums` has no grams.
    """

    W: Array
    b: Array
    sums: LossSums
    intercepts: Intercepts
    times: Callable[[Array, Array], Array] | None = None
    is_quadratic = True
    precision = float(np.finfo(float).eps)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.W.shape[0], self.W.shape[1]

    @cached_property
    def curvature(self) -> _Curvature:
        """The Hessian."""
        return _Curvature(self.sums.grams, self.intercepts, len(self.b), self.times)

    @cached_property
    def magnitude(self) -> float:
        """Value at W = 0 and b = 0."""
        return self.value_at(np.zeros(self.shape), np.zeros(len(self.b)))

    def _loss_at(self, W: Array, b: Array) -> tuple[float, Array, Array]:
        """Return the sum of squares, its gradient, and its slopes in the intercepts."""
        D, delta, s = W - self.W, b - self.b, self.sums
        moved = self.curvature.changes(D, delta)
        level = self.curvature.forward(D) + self.curvature.level_changes(delta)
        value = s.square + float(np.vdot(s.gradient + 0.5 * moved, D))
        value += float((s.slope + 0.5 * level) @ delta)
        return max(value, 0.0), s.gradient + moved, s.slope + level

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; the intercepts need no `start`."""
        needed = self.sums.slope + self.curvature.forward(W - self.W)
        b = self.b - self.curvature.solve(needed + self.intercepts.gradient(self.b))
        value, gradient, slope = self._loss_at(W, b)
        rows = quadratic_conjugate(value, float(np.vdot(gradient, W)) + float(slope @ b))
        return Evaluation(
            value=value + self.intercepts.penalty(b),
            gradient=gradient,
            intercept=b,
            conjugate=lambda c: rows(c) + self.intercepts.conjugate(c * slope),
            hessian=self.curvature.product,
            preconditioner=self.curvature.prepare,
            is_inverted=not self.intercepts.couples,
        )

    def value_at(self, W: Array, b: Array) -> float:
        """Value at `W` and the intercepts `b`."""
        return self._loss_at(W, b)[0] + self.intercepts.penalty(b)

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature."""
        return np.asarray(np.sqrt(self.curvature.diagonal()))

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients over the tasks."""
        return self.curvature.largest(scale)


@dataclass(frozen=True, eq=False)
class PassStack:
    """What :class:`Profile` asks of blocks, answered by passes; predictions are their sums.

    Parameters
    ----------
    run : callable
        From coefficients, intercepts and whether grams are wanted to LossSums: one pass.
    n_features : int
        Number of features.
    start, bound : ndarray of shape (n_columns,)
        The first intercepts, and bounds of the second derivatives (inf without).
    times : callable, default=None
        Products with the curvature, where `run` sums up no products of features.
    """

    # Shapes: start, bound (n_columns,), inf where the curvature has no bound.

    run: Callable[[Array, Array, bool], LossSums]
    n_features: int
    start: Array
    bound: Array
    # Products with the curvature at a point, or with that of 1 for None, where `run` sums up no
    # products of features.
    times: Callable[[tuple[Array, Array] | None, Array, Array], Array] | None = None

    @cached_property
    def first(self) -> LossSums:
        """The sums at no coefficients, with those of the weights."""
        return self.run(np.zeros((self.n_features, len(self.start))), self.start, True)

    @cached_property
    def is_bounded(self) -> bool:
        """Whether the second derivatives of all losses have bounds."""
        return bool(np.isfinite(self.bound).all())

    @cached_property
    def total_weight(self) -> float:
        """Sum of all weights of labels."""
        return float(sum(each.total.sum() for each in self.first.plain))

    @cached_property
    def bounds(self) -> Array:
        """Bound of the curvature of a row of each column, or its mean at the first point."""
        bound = self.bound.copy()
        for weights, curved in zip(self.first.plain, self.first.grams, strict=True):
            columns, total = weights.table[:, 0], weights.total[:, 0, 0]
            own = np.diagonal(curved.total, axis1=1, axis2=2).ravel()
            mean = np.divide(own, total, out=np.zeros_like(own), where=total > 0)
            bound[columns] = np.where(np.isinf(bound[columns]), mean, bound[columns])
        return bound

    @cached_property
    def intercept_bound(self) -> Array:
        """Bound of the curvature of each intercept, or its size."""
        found = np.zeros_like(self.start)
        for each in self.first.plain:
            found[each.table[:, 0]] = each.total[:, 0, 0]
        return found * self.bounds

    @cached_property
    def _known(self) -> list[tuple[Array, Array, LossSums]]:
        return [(np.zeros((self.n_features, len(self.start))), self.start, self.first)]

    def shift(self, plain: Array, b: Array) -> LossSums:
        """Return the sums at coefficients and intercepts: a pass, unless they are known."""
        for W, held, sums in self._known:
            if np.array_equal(W, plain) and np.array_equal(held, b):
                return sums
        sums = self.run(plain, b, False)
        self._known.append((plain.copy(), b.copy(), sums))
        del self._known[:-_REMEMBERED]
        return sums

    def value(self, eta: LossSums) -> float:
        """Return the sum of losses."""
        return eta.value

    def slopes(self, eta: LossSums) -> LossSums:
        """Return the sums again."""
        return eta

    def collect(self, slopes: LossSums) -> Array:
        """Return the slopes in the intercepts."""
        return slopes.slope

    def intercept_curvature(self, eta: LossSums) -> Parts:
        """Return (columns, curvature of the intercepts)."""
        return [part for each in eta.grams for part in each.levels(own=True)]

    def intercept_solver(self, eta: LossSums, intercepts: Intercepts) -> LinearMap:
        """Return the solution of Newton systems in the intercepts."""
        parts = self.intercept_curvature(eta)
        return newton_solver(parts, intercepts, np.zeros(len(self.start)))

    def levels(self, plain: Array, groups: Index) -> Array:
        """Return NaN: no intercepts are known to be best without a pass."""
        return np.full(len(self.start), np.nan)


@dataclass(frozen=True, eq=False)
class InParts(Datafit):
    """Losses of rows that are read in parts, with the intercepts minimised out.

    Parameters
    ----------
    stack : PassStack
        The passes.
    intercepts : Intercepts
        What b may be.
    losses : tuple of Loss
        The loss of every task.
    """

    stack: PassStack
    intercepts: Intercepts
    losses: tuple[Loss, ...]
    precision = float(np.finfo(float).eps)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.stack.n_features, len(self.stack.start)

    @property
    def is_quadratic(self) -> bool:
        """Whether all losses are squares; else, and where grams are summed up, they are not."""
        return self.stack.times is not None and all(isinstance(e, Squared) for e in self.losses)

    @property
    def is_bounded(self) -> bool:
        """Whether the second derivatives of all losses have bounds."""
        return self.stack.is_bounded

    @cached_property
    def magnitude(self) -> float:
        """Value at W = 0 and about the best b."""
        return self.stack.first.value

    @cached_property
    def _profile(self) -> Profile:
        return Profile(self.stack, self.intercepts, _POLISH, _FLAT)

    @cached_property
    def _known(self) -> list[tuple[Array, LocalQuadratic, Evaluation]]:
        return []

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; `start` is a guess of the intercepts, and a good one saves passes."""
        for held, _, at in self._known:
            if np.array_equal(held, W):
                return at
        guess = self.stack.start if start is None else start
        if self.is_quadratic and not isinstance(self.intercepts, NoIntercepts):
            # A step of Newton is exact.
            b = self.intercepts.project(guess)
            sums = self.stack.shift(W, b)
            slope = sums.slope + self.intercepts.gradient(b)
            step = self.stack.intercept_solver(sums, self.intercepts)(-slope)
        else:
            b, sums, step = self._profile.near(W, guess)
        model = self._local(W.copy(), b, sums)
        at = self._evaluation(model, step)
        self._known.append((model.W, model, at))
        del self._known[:-_REMEMBERED]
        return at

    def _local(self, W: Array, b: Array, sums: LossSums) -> LocalQuadratic:
        times = None if self.stack.times is None else partial(self.stack.times, (W, b))
        return LocalQuadratic(W, b, sums, self.intercepts, times)

    def _evaluation(self, model: LocalQuadratic, step: Array) -> Evaluation:
        """Return the evaluation where a last small step of the intercepts leads."""
        W, sums, intercepts, curvature = model.W, model.sums, self.intercepts, model.curvature
        b, slope = model.b + step, sums.slope + intercepts.gradient(model.b)
        value = sums.value + intercepts.penalty(model.b) + 0.5 * float(slope @ step)
        gradient = sums.gradient.copy()
        for each in sums.grams:
            moved = each.own_first @ step[each.table][:, :, None]
            gradient[:, each.table] += np.moveaxis(moved.reshape(*each.table.shape, -1), 2, 0)
        pulled = -intercepts.gradient(b)
        # The conjugate of the losses at their own slopes, here and before the step. Losses are at
        # least 0, so that it is at most 0 at none.
        top = float(np.vdot(gradient, W)) + float(pulled @ b) - value + intercepts.penalty(b)
        before = float(np.vdot(sums.gradient, W)) + float(sums.slope @ model.b) - sums.value
        chords = np.array([0.0, *(top - (before - sums.conjugates)), top])
        shares = np.array([0.0, *SHARES, 1.0])
        return Evaluation(
            value=value if np.isfinite(value) else np.inf,
            gradient=gradient,
            intercept=b,
            conjugate=lambda c: (
                float(np.interp(c, shares, chords)) + intercepts.conjugate(c * pulled)
            ),
            hessian=curvature.product,
            preconditioner=curvature.prepare,
        )

    def refined(self, W: Array) -> Evaluation | None:
        """Evaluate again with the intercepts at their best up to rounding; None if they are."""
        # Where rows are at a kink, what a last step leaves is more than that.
        for k, (held, model, at) in enumerate(self._known):
            if np.array_equal(held, W) and not np.array_equal(at.intercept, model.b):
                b, sums, _ = Profile(self.stack, self.intercepts).near(W, at.intercept)
                better = self._local(held, b, sums)
                found = self._evaluation(better, np.zeros_like(b))
                self._known[k] = held, better, found
                return found
        return None

    def local_quadratic(self, W: Array, b: Array) -> LocalQuadratic:
        """Return the sum of squares with the gradient and the curvature at a point."""
        # Shapes: b (n_columns,).
        self.evaluate(W, b)
        return next(model for held, model, _ in self._known if np.array_equal(held, W))

    def value_at(self, W: Array, b: Array) -> float:
        """Value at `W` and the intercepts `b`."""
        return self.stack.shift(W, b).value + self.intercepts.penalty(b)

    @cached_property
    def _bound(self) -> _Curvature:
        bounds, grams = self.stack.bounds, []
        for each in self.stack.first.plain:
            h = bounds[each.table][:, :, None]
            first, total = h * each.first, h * each.total
            second = h.reshape(-1, *[1] * (each.second.ndim - 1)) * each.second
            grams.append(TaskGrams(each.table, second, first, total, first, total))
        run = self.stack.times
        times = None if run is None else lambda V, delta: bounds * run(None, V, delta)
        return _Curvature(tuple(grams), self.intercepts, self.shape[1], times)

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature."""
        return np.asarray(np.sqrt(self._bound.diagonal()))

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients, with the curvature of the losses bounded."""
        return self._bound.largest(scale)
