"""The fixed-point map of Splitting, and what it needs of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polytask._anderson import Anderson
from polytask.datafits import Datafit, Evaluation, PiecewiseLinearSamples
from polytask.datafits.base import Array
from polytask.penalties import Composed, Proximable, Smooth
from polytask.solvers.gradient import SHORTFALL


@dataclass(frozen=True, eq=False)
class Slope:
    """The gradient of the smooth part of the data in W and in the intercepts that steps move."""

    W: Array
    b: Array


class Side(ABC):
    """The data term as a smooth part plus functions of rows, each with a prox."""

    # Steps move W and `b`, the intercepts; of length 0 where the smooth part minimises them
    # itself. A dual variable u per row stands for the derivative of its loss.

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Length of u."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """The largest curvature of the smooth part; a typical one if there is no bound."""

    @abstractmethod
    def start(self, intercept: Array | None, u: Array | None) -> tuple[Array, Array]:
        """Return b and u to start from."""

    @abstractmethod
    def slope(self, W: Array, b: Array) -> Slope:
        """Return the gradient of the smooth part."""

    @abstractmethod
    def best_intercepts(self, b: Array, step: float) -> Array:
        """Return the prox of the penalty on the intercepts."""

    @abstractmethod
    def forward(self, W: Array, b: Array) -> Array:
        """Return the predictions of all rows, of shape (n_rows,)."""

    @abstractmethod
    def adjoint(self, u: Array) -> Slope:
        """Return the transpose of :meth:`forward` at the weighted u."""

    @abstractmethod
    def dual_step(self, u: Array, eta: Array, step: float) -> Array:
        """Move u along the predictions, with the prox of the conjugates of the losses."""

    @abstractmethod
    def row_metric(self, step: float) -> Array:
        """Return how much each entry of u counts in the length of a step, shape (n_rows,)."""

    @abstractmethod
    def balanced_step(self, W: Array, b: Array, u: Array) -> float | None:
        """Return the step that suits the sizes of the variables; None if the curvature decides."""

    @abstractmethod
    def evaluate(self, W: Array, b: Array, u: Array) -> Evaluation:
        """Evaluate at W, with a gradient that belongs to a feasible dual point near u."""


class SmoothSide(Side):
    """A smooth datafit, which minimises the intercepts itself."""

    n_rows = 0

    def __init__(self, datafit: Datafit) -> None:
        self.datafit = datafit
        self.intercept: Array | None = None
        self._last: tuple[Array, Evaluation] | None = None
        self._none = np.zeros(0)
        self._no_pull = Slope(np.zeros(datafit.shape), self._none)

    @property
    def curvature(self) -> float:
        """The bound of the datafit."""
        return self.datafit.known_lipschitz(np.ones(self.datafit.shape[0])) * SHORTFALL

    def start(self, intercept: Array | None, u: Array | None) -> tuple[Array, Array]:
        """Return nothing; the intercepts are a guess for the datafit."""
        self.intercept = intercept
        return self._none, self._none

    def slope(self, W: Array, b: Array) -> Slope:
        """Return the gradient."""
        return Slope(self.gradient(W), b)

    def gradient(self, W: Array) -> Array:
        """Return the gradient in W."""
        return self.evaluate(W, self._none, self._none).gradient

    def evaluate(self, W: Array, b: Array, u: Array) -> Evaluation:
        """Evaluate at W, once if it is asked for twice."""
        if self._last is None or self._last[0] is not W:
            at = self.datafit.evaluate(W, self.intercept)
            if np.isfinite(at.value):
                self.intercept = at.intercept
            self._last = W, at
        return self._last[1]

    def best_intercepts(self, b: Array, step: float) -> Array:
        """Return nothing."""
        return b

    def forward(self, W: Array, b: Array) -> Array:
        """Return nothing."""
        return self._none

    def adjoint(self, u: Array) -> Slope:
        """Return zeros."""
        return self._no_pull

    def dual_step(self, u: Array, eta: Array, step: float) -> Array:
        """Return nothing."""
        return u

    def row_metric(self, step: float) -> Array:
        """Return nothing."""
        return self._none

    def balanced_step(self, W: Array, b: Array, u: Array) -> float | None:
        """Return None: the curvature alone decides the step."""
        return None


# Power iterations for the size of each task's rows, and by how much they may fall short.
_MOST_POWERS = 60
_CONVERGED = 1e-3
_ROWS_SHORTFALL = 1.05
# Coefficients are expected to move predictions by so many times the spread of the targets.
_SPREADS = 2.0
# A step of this share of what the sizes of the variables suggest was fastest.
_SHARE = 0.4


class NonsmoothSide(Side):
    """A datafit some of whose losses have kinks."""

    # Their dual variables u are the derivatives of the losses, each within its bounds. The
    # smooth losses beside them, which share no intercept with them, minimise their own.

    def __init__(self, datafit: PiecewiseLinearSamples) -> None:
        self.datafit = datafit
        self.rows = datafit.rows
        self.smooth = None if datafit.rest is None else SmoothSide(datafit.rest)
        squares = self._squares()
        self.largest = float(squares.max(initial=0.0)) or 1.0
        own = np.where(squares > 0, squares, self.largest)
        self._inverse = 1.0 / own[self.rows.column]
        self.origin = datafit.origin.intercept
        self._push = datafit.intercepts.gradient(np.zeros(datafit.n_columns))

    @property
    def n_rows(self) -> int:
        """The number of labels of losses with kinks."""
        return len(self.rows.y)

    @property
    def curvature(self) -> float:
        """That of the smooth losses."""
        return 0.0 if self.smooth is None else self.smooth.curvature

    def _squares(self) -> Array:
        """Return the largest squared singular value of each column's weighted rows."""
        d, columns = self.datafit.shape
        rng = np.random.default_rng(0)
        W, b = rng.standard_normal((d, columns)), rng.standard_normal(columns)
        found = np.zeros(columns)
        for _ in range(_MOST_POWERS):
            length = np.sqrt(np.sum(W * W, axis=0) + b * b)
            length = np.where(length > 0, length, 1.0)
            slope = self.adjoint(self.forward(W / length, b / length))
            W, b, last = slope.W, slope.b, found
            found = np.sqrt(np.sum(W * W, axis=0) + b * b)
            if np.all(np.abs(found - last) <= _CONVERGED * found):
                break
        return _ROWS_SHORTFALL * found

    def start(self, intercept: Array | None, u: Array | None) -> tuple[Array, Array]:
        """Return the intercepts and the derivatives, those at W = 0 if none are given."""
        b = self.origin if intercept is None else intercept
        if self.smooth is not None:
            self.smooth.start(np.where(self.datafit.owned, 0.0, b), None)
        return b, self.datafit.first_derivatives if u is None else u

    def slope(self, W: Array, b: Array) -> Slope:
        """Return the gradient of the smooth losses."""
        none = np.zeros(len(b))
        return Slope(np.zeros(W.shape) if self.smooth is None else self.smooth.gradient(W), none)

    def best_intercepts(self, b: Array, step: float) -> Array:
        """Return the prox of the penalty on the intercepts."""
        curvature = np.full(len(b), 1.0 / step)
        return self.datafit.intercepts.solve(curvature, b / step - self._push)

    def forward(self, W: Array, b: Array) -> Array:
        """Return the predictions of all labels."""
        return np.asarray(self.datafit.forward(W) + b[self.rows.column])

    def adjoint(self, u: Array) -> Slope:
        """Return the transpose of :meth:`forward` at the weighted u."""
        return Slope(self.datafit.adjoint(u), self.rows.total(self.rows.weight * u))

    def dual_step(self, u: Array, eta: Array, step: float) -> Array:
        """Move u along eta - y, and back within its bounds."""
        rows = self.rows
        moved = u + step * self._inverse * (eta - rows.y)
        return np.asarray(np.clip(moved, rows.lower, rows.upper))

    def row_metric(self, step: float) -> Array:
        """Return the root of the weight over the step."""
        return np.asarray(np.sqrt(self.rows.weight / (step * self._inverse)))

    def balanced_step(self, W: Array, b: Array, u: Array) -> float | None:
        """Return the step at which primal and dual variables move as far as they have to go."""
        away = np.where(self.datafit.owned, b - self.origin, 0.0)
        primal = float(np.sqrt(np.sum(W * W) + away @ away))
        dual = float(np.sqrt(self.rows.weight @ (u * u)))
        if primal > 0 and dual > 0:
            return _SHARE * primal / (dual * float(np.sqrt(self.largest)))
        return _SPREADS * _SHARE * (self.datafit.spread or 1.0) / self.largest

    def evaluate(self, W: Array, b: Array, u: Array) -> Evaluation:
        """Evaluate at W with the gradient of a feasible dual point near u."""
        return self.datafit.evaluate_dual(W, u)


# z of W and of the intercepts, the dual variables of terms and of rows, and the pull of rows.
State = list[Array]

# Steps are this many times 1 / curvature: below 2 the plain iteration still contracts.
_LONG = 1.6
# The share of the dual step that rows get beside terms.
_OF_ROWS = 0.5


@dataclass(frozen=True, eq=False)
class Point:
    """What a step found."""

    W: Array
    b: Array
    first: Array | None
    duals: list[Array]
    moved: list[Array]
    u: Array

    @property
    def known(self) -> list[Array]:
        """The dual variables of all terms."""
        return self.duals if self.first is None else [self.first, *self.duals]


@dataclass(frozen=True, eq=False)
class Step:
    """A state, the state that a plain step leads to, how it moves, and the point between."""

    state: State
    plain: State
    move: Array
    point: Point

    @cached_property
    def length(self) -> float:
        """How far the plain step moves the state."""
        return float(np.linalg.norm(self.move))


class Steps:
    """The map for given steps."""

    def __init__(
        self,
        side: Side,
        smooth: Smooth | None,
        first: Proximable | None,
        others: tuple[Proximable | Composed, ...],
        shape: tuple[int, int],
    ) -> None:
        self.side = side
        self.smooth = smooth
        self.first = first
        self.others = others
        self.zero = np.zeros(shape)
        self.curvature = side.curvature + (0.0 if smooth is None else smooth.curvature())
        self.use(side.balanced_step(self.zero, *side.start(None, None)) or np.inf)

    def use(self, step: float) -> None:
        """Set the step in the primal variables; that in the dual ones follows."""
        longest = _LONG / self.curvature if self.curvature > 0 else np.inf
        self.step = min(step, longest) if min(step, longest) < np.inf else 1.0
        share = (_OF_ROWS if self.others else 1.0) if self.side.n_rows else 0.0
        self.row_step = share / self.step
        norms = [t.norm_bound() if isinstance(t, Composed) else 1.0 for t in self.others]
        scale = (1.0 - share) / (max(len(norms), 1) * self.step)
        self.dual_steps = [scale / norm for norm in norms]
        root = 1.0 / np.sqrt(self.step)
        duals = [self._dual_metric(*pair) for pair in self._with_steps()]
        self.metric = [root, root, *duals, self.side.row_metric(self.row_step), 0.0, 0.0]

    def beside(self, side: Side) -> Steps:
        """Return the same steps with another smooth part."""
        other = copy(self)
        other.side = side
        return other

    def _with_steps(self) -> Iterator[tuple[Proximable | Composed, float]]:
        return zip(self.others, self.dual_steps, strict=True)

    def _dual_metric(self, term: Proximable | Composed, step: float) -> float:
        """Return how much a dual variable counts: a single one of W is a function of z."""
        apart = isinstance(term, Composed) or self.side.n_rows
        return float(np.sqrt(1.0 / step if apart else max(1.0 / step - self.step, 0.0)))

    def state_of(self, point: Point) -> State:
        """Return the state whose step leads to a point, if it is the solution."""
        pull = self.side.adjoint(point.u)
        # What the penalty on the intercepts pulls is what the rows do.
        b = point.b - self.step * pull.b
        z = point.W if point.first is None else point.W + self.step * point.first
        return [z, b, *point.duals, point.u, pull.W, pull.b]

    def nowhere(self, b: Array, u: Array) -> Point:
        """Return the point W = 0 without dual variables."""
        duals = [_mapped(term, self.zero) for term in self.others]
        first = None if self.first is None else self.zero
        return Point(self.zero, b, first, duals, duals, u)

    def step_from(self, state: State) -> Step:
        """Take a step."""
        z, zb, *duals, u, pull, pull_b = state
        s, side = self.step, self.side
        W = z if self.first is None else np.asarray(self.first.prox(z, s))
        b = side.best_intercepts(zb, s)
        slope = side.slope(W, b)
        gradient = slope.W if self.smooth is None else slope.W + self.smooth.gradient(W)
        middle = 2 * W - z - s * (gradient + self.pulled(duals) + pull)
        middle_b = 2 * b - zb - s * (slope.b + pull_b)
        found = [
            _dual_step(term, dual, middle, r)
            for (term, r), dual in zip(self._with_steps(), duals, strict=True)
        ]
        new, moved = [dual for dual, _ in found], [there for _, there in found]
        u = side.dual_step(u, side.forward(middle, middle_b), self.row_step)
        rows = side.adjoint(u)
        after = W - s * (gradient + self.pulled(new) + rows.W)
        plain = [after, b - s * (slope.b + rows.b), *new, u, rows.W, rows.b]
        move = [
            (weight * (there - here)).ravel()
            for weight, there, here in zip(self.metric, plain, state, strict=True)
            if np.any(weight)
        ]
        first = None if self.first is None else (z - W) / s
        return Step(state, plain, np.concatenate(move), Point(W, b, first, new, moved, u))

    def pulled(self, duals: Sequence[Array]) -> Array:
        """Return the sum of the dual variables as functions of W."""
        total = self.zero
        for term, dual in zip(self.others, duals, strict=True):
            total = total + (term.adjoint(dual) if isinstance(term, Composed) else dual)
        return total


def _mapped(term: Proximable | Composed, W: Array) -> Array:
    return np.asarray(term.forward(W)) if isinstance(term, Composed) else W


def _dual_step(
    term: Proximable | Composed, dual: Array, W: Array, step: float
) -> tuple[Array, Array]:
    """Return the prox of the conjugate at dual + step A W, and that of the term."""
    point = dual + step * _mapped(term, W)
    if isinstance(term, Composed):
        there = np.asarray(term.dual_prox(point, step))
        return there, (point - there) / step
    moved = np.asarray(term.prox(point / step, 1.0 / step))
    return point - step * moved, moved


_MEMORY = 20
# An extrapolated state is used if it makes the next step shorter by so much, and not longer than
# so many times the shortest of all.
_WORSE = 0.999
_FAR = 100.0
# Where so many steps have not shortened by more than this, the states move along a face on which
# no combination gets further than they are: plain steps, first few, lead to its end.
_LOOK, _LEAST = 50, 0.95
_PAUSE, _LONGEST_PAUSE = 20, 80
_SAME = 1e-3


class Extrapolated:
    """Goes from step to step, combining the last of them where that shortens the next."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.memory = Anderson(_MEMORY)
        self.shortest = self.mark = np.inf
        self.count = self.plain = 0
        self.pause, self.stride = _PAUSE, 1.0

    def next(self, now: Step) -> Step:
        """Return the next step."""
        self.shortest = min(self.shortest, now.length)
        self.plain -= 1
        if self.plain >= 0:
            return self._ahead(now)
        self._look(now)
        most = min(_WORSE * now.length, _FAR * self.shortest)
        return self.memory.next(now, self.steps.step_from, most)[0]

    def _ahead(self, now: Step) -> Step:
        """Go on in the direction of a step as far as steps stay the same."""
        if self.stride >= 1:
            pairs = zip(now.plain, now.state, strict=True)
            far = [there + self.stride * (there - here) for there, here in pairs]
            new = self.steps.step_from(far)
            # On a curved path the same would lead away from the solution along a tangent.
            if float(np.linalg.norm(new.move - now.move)) <= _SAME * now.length:
                self.stride *= 2
                return new
        self.stride = self.stride / 4 if self.stride >= 1 else 2 * self.stride
        return self.steps.step_from(now.plain)

    def forget(self) -> None:
        """Forget everything, after a change of the map."""
        self.memory.clear()
        self.shortest = self.mark = np.inf
        self.count = self.plain = 0
        self.pause, self.stride = _PAUSE, 1.0

    def _look(self, now: Step) -> None:
        """Rest from combining where it has led nowhere, the longer the more often."""
        self.count += 1
        if self.count % _LOOK:
            return
        if now.length > _LEAST * self.mark:
            self.memory.clear()
            self.plain = self.pause
            self.pause = min(2 * self.pause, _LONGEST_PAUSE)
        else:
            self.pause = _PAUSE
        self.mark = now.length
