"""Working sets of groups of features, for penalties that switch whole groups off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.datafits import (
    ClassesBlock,
    Datafit,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    TaskMoments,
    collect_shared,
    narrowed,
)
from polytask.datafits.base import Array
from polytask.losses import Squared
from polytask.messages import LazyMessage, Text
from polytask.penalties import L2, BlockSeparable, Penalty, Proximable, Split, Sum
from polytask.penalties.base import about
from polytask.penalties.decomposition import Ridged
from polytask.solvers.base import Solver, starting_point
from polytask.solvers.driver import Iterate, ProximalMethod, SplitSolver
from polytask.solvers.gradient import whole_solver
from polytask.solvers.objective import Objective
from polytask.solvers.working_sets import WorkingSets

Index = NDArray[np.intp]

# Beyond this share of all features nothing is gained by leaving the others out; those that
# ask to enter count after so many rounds.
_WHOLE = 0.5
_ROUNDS = 3


@saveable("solver.group_descent")
@dataclass(frozen=True)
class GroupDescent(SplitSolver):
    """Working sets of groups, for ``GroupNorm`` and its sums with norms of rows.

    Groups enter a working set by how far one proximal step moves them, at most as many as it
    has already; the problem on its features alone is solved by :class:`ExtrapolatedGradient` or
    :class:`AcceleratedGradient`, on their moments where the loss is squared and the design
    shared. One product with all features then checks the answer. Where more than half of all
    features are in use, all of them are worked with.

    References
    ----------
    M. Massias, A. Gramfort and J. Salmon, "Celer: a fast solver for the lasso with dual
    extrapolation", ICML (2018), section 3.
    """

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        if _parts(split.proximable) is None or not _rowwise(split.smooth):
            return about(penalty, "solver.refusal.no_groups")
        known = isinstance(datafit, Samples) and all(
            isinstance(block, ScalarBlock | ClassesBlock) for block in datafit.blocks
        )
        if known or isinstance(datafit, SquaredStatistics):
            return ""
        return LazyMessage("solver.refusal.no_features")

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Groups(objective)

    def fallback(self, datafit: Datafit, penalty: Penalty) -> Solver | None:
        """Return what works with all features."""
        return whole_solver(datafit, penalty)


def _parts(nonsmooth: Proximable | None) -> tuple[BlockSeparable, float] | None:
    """Return a norm of groups and the ridge beside it, None if there is none."""
    if isinstance(nonsmooth, Ridged) and nonsmooth.ridge.centre is None:
        found = _parts(nonsmooth.penalty)
        return None if found is None else (found[0], nonsmooth.ridge.weight)
    if isinstance(nonsmooth, BlockSeparable) and _rowwise(nonsmooth):
        return nonsmooth, 0.0
    return None


def _rowwise(part: object) -> bool:
    """Say whether a part of a penalty is the same for some rows of W alone."""
    members = part.members if isinstance(part, Sum) else (part,)
    known = [member for member in members if member is not None]
    return all(
        isinstance(member, Penalty) and not member.by_feature and member.null_point is None
        for member in known
    )


def _of_features(datafit: Datafit, rows: Index) -> Datafit:
    """Return the data term of some features, on moments where these are the cheaper."""
    if isinstance(datafit, SquaredStatistics):
        s = datafit.statistics
        second = s.second[:, rows[:, None], rows[None, :]]
        parts = TaskMoments(second, s.cross[rows], s.spread, s.x_mean[rows], s.y_mean, s.scale)
        return SquaredStatistics(parts, datafit.intercepts)
    assert isinstance(datafit, Samples)
    part = narrowed(datafit, rows)
    block = part.blocks[0]
    if len(part.blocks) > 1 or not isinstance(block, ScalarBlock):
        return part
    in_order = np.array_equal(block.columns, np.arange(part.n_columns))
    if not isinstance(block.loss, Squared) or not isinstance(block.design, Shared) or not in_order:
        return part
    if len(rows) > len(block.y):
        return part
    scale = block.weight.sum(axis=0)
    found = collect_shared(block.design, block.y, block.weight, scale)
    return SquaredStatistics(found, part.intercepts)


class _Groups(WorkingSets):
    """Working sets of groups of features."""

    least_growth = 10

    def __init__(self, objective: Objective) -> None:
        found = _parts(objective.nonsmooth)
        assert found is not None
        self.norm, self.ridge = found
        self.groups = [np.asarray(block, dtype=np.intp) for block in self.norm.blocks]
        d = objective.datafit.shape[0]
        self.owner = np.empty(d, dtype=np.intp)
        for number, group in enumerate(self.groups):
            self.owner[group] = number
        self.rounds = 0
        # Any step shows what moves.
        steepest = float(np.max(objective.datafit.feature_scale())) ** 2
        super().__init__(objective, np.full(d, max(steepest, np.finfo(float).tiny)))

    def scores(self, now: Iterate) -> Array:
        """Return how far one step moves each group."""
        return np.bincount(self.owner, now.violation**2, len(self.groups)).astype(float)

    def in_use(self, now: Iterate) -> Index:
        """Return the groups with a row that is not zero."""
        return np.unique(self.owner[now.used])

    def is_too_large(self, wanted: Index, grown: Index) -> bool:
        """Say whether nothing is gained by leaving features out."""
        counted = wanted if self.rounds >= _ROUNDS else grown
        self.rounds += 1
        return sum(len(self.groups[int(g)]) for g in counted) > _WHOLE * len(self.owner)

    def solved(
        self, working: Index, now: Iterate, accuracy: float, left: int
    ) -> tuple[Iterate, int]:
        """Minimise over the features of some groups, the others staying at zero."""
        rows, smooth = np.concatenate([self.groups[g] for g in working]), self.objective.smooth
        penalty: Penalty = self.norm.of_blocks(working)
        if self.ridge > 0:
            penalty = penalty + L2(self.ridge)
        if isinstance(smooth, Penalty):
            penalty = penalty + smooth
        datafit = _of_features(self.objective.datafit, rows)
        begin = starting_point(now.W[rows], now.at.intercept)
        solve = whole_solver(datafit, penalty).solve
        found = solve(datafit, penalty, tol=accuracy, max_iter=left, start=begin)
        W = np.zeros_like(now.W)
        W[rows] = found.W
        return self.judged(W, self.objective.evaluate(W, found.intercept)), max(found.n_iter, 1)
