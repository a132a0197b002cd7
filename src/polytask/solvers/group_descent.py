"""Working sets of groups of features, for penalties that switch whole groups off."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.datafits import (
    ClassesBlock,
    Datafit,
    Evaluation,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    TaskStatistics,
    collect_shared,
    narrowed,
)
from polytask.datafits.base import Array, rows_in_use
from polytask.exceptions import IncompatibleError
from polytask.losses import Squared
from polytask.penalties import L2, BlockSeparable, Penalty, Proximable, Sum, decompose
from polytask.penalties.decomposition import Ridged
from polytask.solvers.base import Certificate, Solution, Solver, Status, refuse_kinks
from polytask.solvers.gradient import AcceleratedGradient, ExtrapolatedGradient, carried_on
from polytask.solvers.objective import Objective

Index = NDArray[np.intp]

# A working set may always grow by so many groups, and it may double.
_LEAST_GROWTH = 10
# It is solved to this share of the tolerance, or, while it still has to grow, of the certificate.
_SHARE = 0.3
_GROWING_SHARE = 0.1
# Beyond this share of all features nothing is gained by leaving the others out; those that
# ask to enter count after so many rounds.
_WHOLE = 0.5
_ROUNDS = 3
_IDLE_ROUNDS = 3


@saveable("solver.group_descent")
@dataclass(frozen=True)
class GroupDescent(Solver):
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

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        if not datafit.is_smooth:
            return refuse_kinks(datafit)
        try:
            split = decompose(penalty)
        except IncompatibleError as error:
            return str(error)
        if _parts(split.proximable) is None or not _rowwise(split.smooth):
            return (
                f"GroupDescent needs a norm of groups of features; {penalty!r} is not. "
                "Use AcceleratedGradient, or solver='auto'."
            )
        if not isinstance(datafit, SquaredStatistics) and not _has_features(datafit):
            return (
                "GroupDescent needs the features of the data. Use AcceleratedGradient, or "
                "solver='auto'."
            )
        return ""

    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Minimise; see :meth:`Solver.solve`."""
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            run = _Run(objective, tol, max_iter)
            found = run.loop(start)
        if not run.whole:
            return carried_on(found, datafit, penalty, tol, max_iter)
        left = max(max_iter - found.n_iter, 1)
        other = _plain(datafit, penalty).solve(
            datafit, penalty, tol=tol, max_iter=left, start=found
        )
        seconds = found.seconds + other.seconds
        return replace(other, n_iter=found.n_iter + other.n_iter, seconds=seconds)


def _plain(datafit: Datafit, penalty: Penalty) -> Solver:
    """Return the solver that works with all features."""
    first = ExtrapolatedGradient()
    return AcceleratedGradient() if first.accepts(datafit, penalty) else first


def _has_features(datafit: Datafit) -> bool:
    return isinstance(datafit, Samples) and all(
        isinstance(block, ScalarBlock | ClassesBlock) for block in datafit.blocks
    )


def _parts(rough: Proximable | None) -> tuple[BlockSeparable, float] | None:
    """Return a norm of groups and the ridge beside it, None if there is none."""
    if isinstance(rough, Ridged) and rough.ridge.centre is None:
        found = _parts(rough.penalty)
        return None if found is None else (found[0], rough.ridge.weight)
    return (rough, 0.0) if isinstance(rough, BlockSeparable) and _rowwise(rough) else None


def _rowwise(part: object) -> bool:
    """Say whether a part of a penalty is the same for some rows of W alone."""
    members = part.members if isinstance(part, Sum) else (part,)
    return all(member is None or _has_equal_rows(member) for member in members)


def _has_equal_rows(member: object) -> bool:
    if not isinstance(member, Penalty) or member.by_feature:
        return False
    return member.null_point is None


def _of_features(datafit: Datafit, rows: Index) -> Datafit:
    """Return the data term of some features, on moments where these are the cheaper."""
    if isinstance(datafit, SquaredStatistics):
        s = datafit.statistics
        second = s.second[:, rows[:, None], rows[None, :]]
        parts = TaskStatistics(second, s.cross[rows], s.spread, s.x_mean[rows], s.y_mean, s.scale)
        return SquaredStatistics(parts, datafit.intercepts)
    if not isinstance(datafit, Samples):
        raise TypeError("features were accepted")
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


@dataclass(frozen=True, eq=False)
class _Answer:
    """An iterate, its evaluation, how far its groups move, and its certificate."""

    W: Array
    at: Evaluation
    moves: Array
    certificate: Certificate

    @property
    def relative(self) -> float:
        """What the tolerance bounds."""
        return self.certificate.relative


class _Run:
    """One minimisation."""

    def __init__(self, objective: Objective, tol: float, max_iter: int) -> None:
        found, rough = _parts(objective.rough), objective.rough
        if found is None or rough is None:
            raise IncompatibleError("GroupDescent needs a norm of groups of features.")
        self.rough, (self.norm, self.ridge) = rough, found
        self.groups = [np.asarray(block, dtype=np.intp) for block in self.norm.blocks]
        self.objective, self.tol, self.max_iter = objective, tol, max_iter
        self.whole = False
        self.owner = np.empty(objective.datafit.shape[0], dtype=np.intp)
        for number, group in enumerate(self.groups):
            self.owner[group] = number
        # Any step shows what moves.
        steepest = float(np.max(objective.datafit.feature_scale()))
        self.curvature = max(steepest**2, np.finfo(float).tiny)
        null = self._moves(objective.null, objective.zero)
        self.first = objective.first_residual(self._residual(null), self.curvature)

    def _moves(self, W: Array, at: Evaluation) -> Array:
        """Return how far one step moves each group, (n_groups,)."""
        step = 1.0 / self.curvature
        moved = W - self.rough.prox(W - step * at.gradient, step)
        squares = np.einsum("ij,ij->i", moved, moved)
        return np.sqrt(np.bincount(self.owner, squares, minlength=len(self.groups)))

    def _residual(self, moves: Array) -> float:
        return self.curvature * float(np.linalg.norm(moves))

    def loop(self, start: Solution | None) -> Solution:
        """Solve growing working sets until the certificate is below the tolerance."""
        W = self.objective.first(start)
        best = self._judged(W, None if start is None else start.intercept)
        working = np.unique(self.owner[rows_in_use(W)])
        n_iter, idle, share, rounds = 0, 0, _SHARE, 0
        while not self._ends(best, n_iter) and idle < _IDLE_ROUNDS:
            grown, capped = self._grown(working, best.moves, rounds)
            if self.whole:
                break
            if len(grown) == len(working):
                share *= 0.1
            found = self._solved(grown, best, capped, share, n_iter)
            n_iter, rounds = n_iter + max(found.n_iter, 1), rounds + 1
            W = np.zeros_like(W)
            W[self._rows(grown)] = found.W
            answer = self._judged(W, found.intercept)
            better = answer.relative < 0.9 * best.relative or len(grown) > len(working)
            idle = 0 if better else idle + 1
            best, working = answer, grown
        return self._finished(best, n_iter)

    def _judged(self, W: Array, intercept: Array | None) -> _Answer:
        at = self.objective.smooth(W, intercept)
        moves = self._moves(W, at)
        certificate = self.objective.certificate(W, at, self._residual(moves), self.first)
        return _Answer(W, at, moves, certificate)

    def _ends(self, best: _Answer, n_iter: int) -> bool:
        return best.relative <= self.tol or n_iter >= self.max_iter

    def _finished(self, best: _Answer, n_iter: int) -> Solution:
        status = Status.MAX_ITER if n_iter >= self.max_iter else Status.STALLED
        if best.relative <= self.tol:
            status = Status.CONVERGED
        return self.objective.finish(best.W, best.at, best.certificate, status, n_iter)

    def _rows(self, working: Index) -> Index:
        """Return the features of some groups, group by group."""
        return np.concatenate([self.groups[g] for g in working])

    def _grown(self, working: Index, moves: Array, rounds: int) -> tuple[Index, bool]:
        """Add the groups that move farthest; say if some had to wait."""
        scores = moves.copy()
        scores[working] = 0.0
        entering = np.flatnonzero(scores)
        wanted, most = np.union1d(working, entering), _WHOLE * len(self.owner)
        room = max(_LEAST_GROWTH, len(working))
        capped = len(entering) > room
        if capped:
            entering = entering[np.argsort(-scores[entering], kind="stable")[:room]]
        grown = np.union1d(working, entering).astype(np.intp)
        counted = wanted if rounds >= _ROUNDS else grown
        self.whole = sum(len(self.groups[int(g)]) for g in counted) > most
        return grown, capped

    def _solved(
        self, working: Index, best: _Answer, capped: bool, share: float, n_iter: int
    ) -> Solution:
        """Minimise over the features of some groups, the others staying at zero."""
        tol = share * self.tol
        if capped:
            tol = max(tol, _GROWING_SHARE * best.relative)
        rows, smooth = self._rows(working), self.objective.curved
        penalty: Penalty = self.norm.of_blocks(working)
        if self.ridge > 0:
            penalty = penalty + L2(self.ridge)
        if isinstance(smooth, Penalty):
            penalty = penalty + smooth
        datafit = _of_features(self.objective.datafit, rows)
        begin = Solution(
            W=best.W[rows],
            intercept=best.at.intercept,
            objective=best.at.value,
            certificate=best.certificate,
            status=Status.STALLED,
            n_iter=0,
            seconds=0.0,
        )
        left = max(self.max_iter - n_iter, 1)
        return _plain(datafit, penalty).solve(
            datafit, penalty, tol=tol, max_iter=left, start=begin
        )
