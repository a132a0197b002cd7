"""The fixed-point map of Splitting.

For a smooth f, a convex g with a prox, and convex h_i with a prox of linear maps A_i x, a step
goes from (z, u_1, u_2, ...) to ::

    x    = prox of g at z, with the step s
    m    = 2 x - z - s (gradient of f at x) - s sum_i A_i' u_i
    u_i+ = prox of the conjugate of h_i at u_i + r_i A_i m, with the step r_i
    z+   = x - s (gradient of f at x) - s sum_i A_i' u_i+

which converges for s < 2 / L and s sum_i r_i ||A_i||^2 <= 1. With one h of x itself it is the
splitting of Davis and Yin, without f that of Chambolle and Pock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polytask.datafits.base import Array
from polytask.penalties import Proximable, Smooth
from polytask.penalties.composed import Composed
from polytask.solvers._splitting_sides import Side

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
        curved: Smooth | None,
        first: Proximable | None,
        others: tuple[Proximable | Composed, ...],
        shape: tuple[int, int],
    ) -> None:
        self.side = side
        self.curved = curved
        self.first = first
        self.others = others
        self.zero = np.zeros(shape)
        self.bend = side.curvature + (0.0 if curved is None else curved.curvature())
        self.use(side.balanced_step(self.zero, *side.start(None, None)) or np.inf)

    def use(self, step: float) -> None:
        """Set the step in the primal variables; that in the dual ones follows."""
        longest = _LONG / self.bend if self.bend > 0 else np.inf
        self.step = min(step, longest) if min(step, longest) < np.inf else 1.0
        share = (_OF_ROWS if self.others else 1.0) if self.side.n_rows else 0.0
        self.row_step = share / self.step
        norms = [t.norm_bound() if isinstance(t, Composed) else 1.0 for t in self.others]
        scale = (1.0 - share) / (max(len(norms), 1) * self.step)
        self.dual_steps = [scale / norm for norm in norms]
        root = 1.0 / np.sqrt(self.step)
        duals = [self._dual_metric(*pair) for pair in self._with_steps()]
        self.metric = [root, root, *duals, self.side.row_metric(self.row_step), 0.0, 0.0]

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
        gradient = slope.W if self.curved is None else slope.W + self.curved.gradient(W)
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
