"""Splitting between the parts of W and the squared loss, each solved exactly in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polytask._anderson import Anderson
from polytask._registry import saveable
from polytask.datafits import Datafit, SquaredStatistics
from polytask.datafits.base import Array
from polytask.messages import LazyMessage, Text
from polytask.penalties import Conjugate, Penalty, Split
from polytask.penalties.decomposition import SplitPenalty
from polytask.solvers._conjugate_gradients import conjugate_gradients
from polytask.solvers.base import Solution, Solver
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.gradient import SHORTFALL, ExtrapolatedGradient
from polytask.solvers.objective import Objective
from polytask.solvers.wrapped import StackedDatafit

# The step, in units of 1 / (mean curvature of a feature).
_STEP = 2.0
# Steps between two certificates, each of which costs as much as a step.
_CHECK_EVERY = 4
_MEMORY = 10
# Systems are solved to this share of their right side, in so many corrections.
_EXACT = 1e-11
_MOST_CORRECTIONS = 12
# One decomposition for each design must stay cheap.
_MOST_PRODUCTS = 3e8


@saveable("solver.parts_splitting")
@dataclass(frozen=True)
class PartsSplitting(SplitSolver):
    """Takes turns between the penalties of parts and the squared loss of their sum."""

    # The prox of the loss is a linear system whose matrices are decomposed once; after it, the
    # conditioning of the features hardly matters. The turns (Douglas and Rachford) are
    # extrapolated. For parts on top of each other, from sufficient statistics.

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        whole = isinstance(penalty, SplitPenalty) and isinstance(split.proximable, Conjugate)
        if whole and split.smooth is None and _decomposable(datafit):
            return ""
        return LazyMessage("solver.refusal.not_parts_splitting")

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Turns(objective)

    def fallback(self, datafit: Datafit, penalty: Penalty) -> Solver | None:
        """Return what takes steps along the gradient."""
        return ExtrapolatedGradient()


def _decomposable(datafit: Datafit) -> bool:
    """Say whether the matrices of a data term can be decomposed at little cost."""
    if not isinstance(datafit, StackedDatafit) or datafit.outside is not None:
        return False
    inner = datafit.datafit
    if not isinstance(inner, SquaredStatistics):
        return False
    d, columns = inner.shape
    matrices = columns if inner.mean_share.any() else len(inner.statistics.second)
    return matrices * float(d) ** 3 <= _MOST_PRODUCTS


class _Turn(NamedTuple):
    """The parts that are the prox of a point, where the point goes, and how far it moves."""

    parts: Array
    plain: list[Array]
    move: Array
    length: float


class _Turns(ProximalMethod):
    """Turns between the prox of the parts and that of the loss."""

    patience = 15

    def __init__(self, objective: Objective) -> None:
        data = objective.datafit
        assert isinstance(data, StackedDatafit)
        super().__init__(objective, objective.row_curvature(SHORTFALL))
        self.data = data
        self.step = _STEP / float(np.mean(data.datafit.feature_scale() ** 2))
        # The loss sees the sum of the parts, for which the step adds up.
        self.shift = 1.0 / (data.count * self.step)
        at = data.datafit.origin
        self.slope, self.hessian = at.gradient, at.hessian
        self.inverse = at.preconditioner(self.shift)

    def begin(self, start: Solution | None) -> Iterate:
        """Take the first turn."""
        found = super().begin(start)
        self.memory = Anderson(_MEMORY)
        self.now = self._turn([found.W - self.step * found.at.gradient])
        return found

    def _turn(self, where: list[Array]) -> _Turn:
        nonsmooth, data, point = self.objective.nonsmooth, self.data, where[0]
        parts = point if nonsmooth is None else np.asarray(nonsmooth.prox(point, self.step))
        ahead = 2 * parts - point
        total = data.summed(ahead)
        # The inverse is exact but for what couples the tasks, intercepts of few groups, so few
        # corrections do.
        W, _ = conjugate_gradients(
            lambda V: self.hessian(V) + self.shift * V,
            self.shift * total - self.slope,
            self.inverse,
            _EXACT,
            _MOST_CORRECTIONS,
        )
        share = np.concatenate([(W - total) / data.count] * data.count)
        move = ahead + share - parts
        return _Turn(parts, [point + move], move, float(np.linalg.norm(move)))

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Take some turns."""
        steps = min(_CHECK_EVERY, left)
        for _ in range(steps):
            # From the combination of the last turns where that is shorter.
            self.now, _ = self.memory.next(self.now, self._turn, self.now.length)
        parts = self.now.parts
        return Round(self.judged(parts, self.objective.evaluate(parts, now.at.intercept)), steps)
