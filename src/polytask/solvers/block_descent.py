"""Block coordinate descent with working sets, for squared loss on one design."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask._anderson import Anderson
from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, rows_in_use
from polytask.messages import LazyMessage, Text
from polytask.penalties import (
    CompiledRows,
    Conjugate,
    Penalty,
    Proximable,
    RowKernel,
    Split,
)
from polytask.penalties.base import NO_LIMITS
from polytask.penalties.decomposition import Ridged
from polytask.solvers._block_data import (
    Engine,
    GramEngine,
    Index,
    MomentData,
    QuadraticTerms,
    Rows,
    SharedData,
    residual_engine,
    selected,
    shared_data,
)
from polytask.solvers._separate_terms import coupling_of, row_terms, whole_terms
from polytask.solvers._support_newton import NewtonSteps
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.driver import Iterate, ProximalMethod, SplitSolver
from polytask.solvers.gradient import AcceleratedGradient
from polytask.solvers.objective import NOTHING, Objective, ended, first_violation, null_strength_at
from polytask.solvers.working_sets import WorkingSets

# Numbers in a Gram matrix (200 MB) ...
_LARGEST_GRAM = 2.5e7
# ... and in copied features, unless the data themselves hold more.
_LARGEST_COPY = 2.5e7
# A pool that is larger than a working set by this factor is cut down to it.
_SLACK = 2.0


class Pool:
    """Features and their inner products, kept between rounds and along a path."""

    # It belongs to one datafit. Features enter with the working sets that ask for them; where
    # they grow beyond memory, those that the present working set does not need are dropped.

    def __init__(self, data: SharedData) -> None:
        self.data = data
        self._forget()

    def _forget(self) -> None:
        self.index: Index = np.zeros(0, dtype=np.intp)
        self.where = np.full(len(self.data.own), -1, dtype=np.intp)
        self.columns: Any = None
        self.gram: Array | None = np.zeros((0, 0))

    def in_gram_domain(self, size: int) -> bool:
        """Say whether updates through the Gram matrix are the cheaper ones, and it fits."""
        if isinstance(self.data, MomentData):
            return True
        return size <= 2 * self.data.n_rows and size**2 <= _LARGEST_GRAM

    def _prepare(self, index: Index) -> None:
        """Hold the features of a working set."""
        missing = index[self.where[index] < 0]
        size = len(self.index) + len(missing)
        room = max(_LARGEST_COPY, self.data.entries) / min(self.data.n_rows, size)
        if size > room or (size > _SLACK * len(index) and len(missing)):
            self._forget()
            missing = index
        if len(missing):
            self._append(missing)

    def _append(self, missing: Index) -> None:
        new = self.data.columns(missing)
        old, count = self.columns, len(self.index)
        self.where[missing] = count + np.arange(len(missing))
        self.index = np.concatenate([self.index, missing])
        if not self.in_gram_domain(len(self.index)):
            self.gram = None
        elif self.gram is not None:
            grown = np.empty((len(self.index), len(self.index)))
            grown[count:, count:] = self.data.gram(new, new)
            if count:
                grown[:count, :count] = self.gram
                cross = self.data.gram(new, old)
                grown[count:, :count] = cross
                grown[:count, count:] = cross.T
            self.gram = grown
        self.columns = new if old is None else self.data.joined(old, new)

    def engine(
        self, index: Index, W: Array, slope: Array, quadratic: QuadraticTerms, kernel: RowKernel
    ) -> Engine:
        """Return the engine of a working set. Shapes: W, slope (n_rows, n_columns)."""
        data = self.data
        own = data.curvature[index], data.mean[index]
        rows = Rows(*own, data.scale, data.pull, quadratic, kernel.of_rows(index))
        if isinstance(data, MomentData):
            return GramEngine(data.gram(index, index), rows, W, slope)
        self._prepare(index)
        positions = self.where[index]
        if self.gram is not None and self.in_gram_domain(len(index)):
            return GramEngine(self._gram_of(positions), rows, W, slope)
        return residual_engine(data, selected(data, self.columns, positions), rows, index, W)

    def _gram_of(self, positions: Index) -> Array:
        """Return the inner products of some features, the matrix itself if they are all."""
        assert self.gram is not None
        whole = len(positions) == len(self.gram)
        if whole and np.array_equal(positions, np.arange(len(positions))):
            return self.gram
        return np.ascontiguousarray(self.gram[np.ix_(positions, positions)])


# Sweeps between two extrapolations: more where the first ones were not enough.
_DEPTHS = ((100, 20), (25, 10), (0, 5))
# Sweeps that lower nothing beyond rounding end the minimisation after this many checks.
_PATIENCE = 4
_ROUNDING = 1e-15
_FEWEST_STEPS = 3
# Sweeps before anything else, with a look after each number of them.
_AT_FIRST = (2, 3)
# Sweeps between two steps of Newton's method.
_BETWEEN = 5


@dataclass(frozen=True)
class Goal:
    """When a working set is solved well enough."""

    gap: float
    move: float
    sweeps: int


class Inner:
    """Minimises over the rows of a working set."""

    def __init__(
        self,
        engine: Engine,
        nonsmooth: Any,  # noqa: ANN401 - proximable, with or without a conjugate
        certifiable: bool,
        value: float,
        rounding: float,
        slow: bool,
    ) -> None:
        self.engine = engine
        self.nonsmooth = nonsmooth
        self.conjugate: Conjugate | None = None
        if certifiable and isinstance(nonsmooth, Conjugate):
            self.conjugate = nonsmooth
        self.value = value
        self.rounding = rounding
        self.sweeps = 0
        self._window = Anderson(_DEPTHS[0][1])
        coupled = engine.rows.quadratic.coupling.size > 0
        self._newton = NewtonSteps(engine, None if coupled else row_terms(nonsmooth), slow)
        self._penalty = float(nonsmooth.value(engine.W))

    @property
    def slow(self) -> bool:
        """Whether sweeps alone would have been slow."""
        return self._newton.successes > 0

    def run(self, goal: Goal) -> None:
        """Sweep until the goal is reached or nothing moves any more."""
        idle = 0
        if self._began(goal):
            return
        while self.sweeps < goal.sweeps and idle < _PATIENCE:
            before = self.engine.state()
            moved = self._some_sweeps(goal.sweeps - self.sweeps)
            gained = self._advance(before)
            if self._solved(moved, goal):
                return
            leapt = self._onward(gained)
            if leapt > 0 and self._solved(moved, goal):
                return
            idle = 0 if gained + leapt > self.rounding * _ROUNDING else idle + 1

    def _began(self, goal: Goal) -> bool:
        """Sweep a few times at one go; say if that was enough, as along a path it often is."""
        if self.conjugate is None or goal.sweeps < sum(_AT_FIRST):
            return False
        for times in _AT_FIRST:
            before = self.engine.state()
            moved = self.engine.sweep(times)
            self.sweeps += times
            self._advance(before)
            if self._solved(moved, goal):
                return True
        return False

    def _some_sweeps(self, allowed: int) -> float:
        engine, moved = self.engine, 0.0
        self._window.clear()
        depth = next(depth for sweeps, depth in _DEPTHS if self.sweeps >= sweeps)
        depth = _BETWEEN if self._newton.working else depth
        for _ in range(min(depth, allowed)):
            last = engine.W.copy()
            moved = engine.sweep()
            self.sweeps += 1
            self._window.add((engine.W, *engine.parts), engine.W - last)
            if moved == 0.0:
                break
        return moved

    def _onward(self, gained: float) -> float:
        """Go further than sweeps do, where that is lower; return by how much."""
        back = self.engine.state()
        if self._newton.due(self.sweeps):
            # A step of Newton's method.
            leapt = self._moved(back, self._newton.points())
            self._newton.learn(self.sweeps, leapt > gained)
            return leapt
        jump = self._window.combined() if self._window.count >= _FEWEST_STEPS else None
        return 0.0 if jump is None else self._moved(back, [jump])

    def _advance(self, before: list[Array]) -> float:
        """Bring the values up to date; return by how much the objective fell."""
        change = self.engine.smooth_change(before)
        penalty = float(self.nonsmooth.value(self.engine.W))
        gained = self._penalty - penalty - change
        self.value += change
        self._penalty = penalty
        return gained

    def _solved(self, moved: float, goal: Goal) -> bool:
        if moved == 0.0:
            return True
        if self.conjugate is None:
            return float(np.sqrt(moved)) <= goal.move
        return self._gap(self.conjugate) <= goal.gap

    def _gap(self, penalty: Conjugate) -> float:
        """Duality gap of the problem on these rows alone."""
        W, slope, value = self.engine.W, self.engine.smooth_slope(), self.value
        c, conjugate = penalty.scaled_conjugate(slope)
        along = float(np.vdot(slope, W))
        return (1.0 - c) ** 2 * value - c * along + self._penalty + conjugate

    def _moved(self, back: list[Array], states: Iterable[list[Array]]) -> float:
        """Go to the first of some states that is lower, or back; return by how much."""
        value, penalty = self.value, self._penalty
        for state in states:
            self.engine.set_state(state)
            gained = self._advance(back)
            if gained > 0:
                return gained
            self.engine.set_state(back)
            self.value, self._penalty = value, penalty
        return 0.0


# How far ahead along a path rows are admitted, at most.
_FARTHEST = 2.0
# Slopes that sweeps have kept up to date are exact enough for this tolerance.
_LEAST_TOLERANCE = 1e-9
# The compiled sweeps multiply by matrices between tasks for every row.
_MOST_PULLED = 300


@saveable("solver.block_descent")
@dataclass(frozen=True)
class BlockDescent(SplitSolver):
    """Block coordinate descent on working sets, for penalties on rows and squared loss.

    Rows of W enter a working set by how far they violate optimality, at most as many as it
    has already. Within it rows are minimised over one by one, in the Gram domain while that
    is cheaper than residuals, with extrapolation; one product with all features then checks
    the answer. Features that were worked with, and their inner products, are kept with the
    datafit, so a path of strengths computes them once. A coupling of the tasks beside the
    penalty enters the minimisation over a row. ``max_iter`` bounds the sweeps.

    References
    ----------
    M. Massias, A. Gramfort and J. Salmon, "Celer: a fast solver for the lasso with dual
    extrapolation", ICML (2018), section 3.
    R. Tibshirani et al., "Strong rules for discarding predictors in lasso-type problems",
    Journal of the Royal Statistical Society B 74 (2012), section 5.
    """

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        columns = datafit.shape[1]
        coupled = split.smooth is not None and columns > _MOST_PULLED
        if (
            coupled
            or _compiled(split.proximable) is None
            or coupling_of(split.smooth, columns) is None
        ):
            fields = {"most": _MOST_PULLED, "penalty": repr(penalty)}
            return LazyMessage("solver.refusal.block_penalty", fields)
        data = datafit.derived(shared_data)
        if data is None:
            return LazyMessage("solver.refusal.block_data")
        if len(data.scale) > _MOST_PULLED and data.pull.size:
            return LazyMessage("solver.refusal.block_intercepts", {"most": _MOST_PULLED})
        return ""

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Blocks(objective)

    def fallback(self, datafit: Datafit, penalty: Penalty) -> Solver | None:
        """Return a method that moves all rows at once."""
        return AcceleratedGradient()

    def followed(
        self,
        datafit: Datafit,
        penalty: Penalty,
        tol: float,
        max_iter: int,
        start: Solution | None,
    ) -> Solution | None:
        """Go on along a path on moments in compiled code; None where it does not apply."""
        data = datafit.derived(shared_data)
        if not isinstance(data, MomentData) or tol < _LEAST_TOLERANCE:
            return None
        memory = datafit.derived(_Memory)
        # The first of a path, or the only one, is not worth the start of more compiled code.
        if memory.slow or (start is None and memory.strength is None):
            return None
        path = datafit.derived(_Path)
        return path.followed(penalty, tol, max_iter, start) if path.possible else None


class _Path:
    """Where a path on one matrix of moments has come to, and what all its strengths share."""

    def __init__(self, datafit: Datafit) -> None:
        self.datafit, self.memory = datafit, datafit.derived(_Memory)
        data: Any = self.memory.pool.data
        origin = datafit.origin
        self.value, nothing = origin.value, np.zeros(datafit.shape)
        self.possible = (
            self.value > NOTHING * datafit.magnitude
            and bool(data.curvature.any())
            and not (data.pull.size and len(data.scale) > _MOST_PULLED)
        )
        self.nothing, pushed = nothing, np.ascontiguousarray(-origin.gradient)
        # W and minus the gradient there, now and one strength before.
        self.state = nothing.copy(), pushed.copy(), nothing.copy(), pushed.copy()
        self.given, self.best_intercept = (data.second, pushed), data.datafit.best_intercept
        self.further = data.curvature, data.scale, data.mean, data.pull, NO_LIMITS.arrays
        # Of the last two strengths.
        self.strengths = 0.0, 0.0

    def followed(
        self, penalty: Penalty, tol: float, max_iter: int, start: Solution | None
    ) -> Solution | None:
        """Go on from a start; None for penalties of another kind."""
        from polytask.penalties.row_kernels import shrink_row
        from polytask.solvers._kernels_path import follow

        began, now, terms = time.perf_counter(), penalty.strength, whole_terms(penalty)
        if terms is None or not now:
            return None
        before, last = self.strengths
        onward = (last - now) / (before - last) if before > last > now else 0.0
        aim, settings = tol * self.value, (self.value, min(onward, 1.0), self.memory.ahead(now))
        first = self.nothing if start is None else np.ascontiguousarray(start.W)
        gap, data, size, length, longest, sweeps = follow(
            *self.given, first, *self.state, *self.further, shrink_row, terms.array, *settings,
            aim, max_iter,
        )  # fmt: skip
        self.strengths, self.memory.strength = (last, now), now
        if not gap < np.inf:
            return None
        W = self.state[0].copy()
        residual = length / first_violation(longest, self.value)
        found = Solution(
            W=W,
            intercept=self.best_intercept(W),
            objective=data + size,
            certificate=Certificate(max(gap, 0.0), residual, self.value),
            status=Status.CONVERGED if gap <= aim else Status.STALLED,
            n_iter=int(sweeps),
            seconds=0.0,
            null_strength=null_strength_at(self.datafit, penalty, W),
        )
        return ended(found, penalty, began)


def _compiled(penalty: Proximable | None) -> tuple[CompiledRows, float] | None:
    """Return the compiled penalty and the ridge beside it, None if there is none."""
    if isinstance(penalty, CompiledRows):
        return penalty, 0.0
    if not isinstance(penalty, Ridged) or penalty.ridge.centre is not None:
        return None
    inner = penalty.penalty
    return (inner, penalty.ridge.weight) if isinstance(inner, CompiledRows) else None


class _Memory:
    """What is kept with a datafit from one strength to the next."""

    def __init__(self, datafit: Datafit) -> None:
        data = datafit.derived(shared_data)
        assert data is not None
        self.pool = Pool(data)
        self.strength: float | None = None
        self.slow = False
        self.last: tuple[Array, Index, Evaluation] | None = None

    def ahead(self, now: float | None) -> float:
        """Return by how much gradients may grow on the way to a weaker penalty."""
        before = self.strength
        if not before or not now or before <= now:
            return 1.0
        return _FARTHEST if before >= 1.5 * now else min(_FARTHEST, now / (2 * now - before))

    def recall(self, W: Array) -> Evaluation | None:
        """Return the evaluation that was kept, if it is that at W."""
        if self.last is None:
            return None
        rows, active, at = self.last
        same = np.array_equal(W[active], rows) and np.array_equal(rows_in_use(W), active)
        return at if same else None


class _Blocks(WorkingSets):
    """Working sets of rows."""

    least_growth = 100

    def __init__(self, objective: Objective) -> None:
        datafit = objective.datafit
        found, coupling = (
            _compiled(objective.nonsmooth),
            coupling_of(objective.smooth, datafit.shape[1]),
        )
        data = datafit.derived(shared_data)
        assert found is not None
        assert coupling is not None
        assert data is not None
        penalty, ridge = found
        self.data = data
        self.quadratic = QuadraticTerms(ridge, coupling)
        self.kernel = penalty.row_kernel()
        self.memory = datafit.derived(_Memory)
        self.early: Array | None = None
        stiff = data.curvature > 0
        super().__init__(
            objective, np.where(stiff, data.curvature + self.quadratic.spectral_bound, 0.0)
        )

    def violation(self, iterate: Iterate, factor: float = 1.0) -> Array:
        """Return how far rows would move if their gradients were `factor` times larger."""
        from polytask.solvers._kernels import prox_violation

        W, gradient, kernel = np.ascontiguousarray(iterate.W), iterate.at.gradient, self.kernel
        out = np.empty(len(gradient))
        settings = self.quadratic.ridge, kernel.limits.arrays, kernel.parameters, kernel.prox
        prox_violation(W, gradient, self.curvature, factor, *settings, out)
        return out

    def gap(self, iterate: Iterate) -> float | None:
        """Return the gap, in which rows at zero that do not move count for nothing."""
        # Rows that do not move under larger gradients do not move now either.
        counted = (iterate.violation if self.early is None else self.early) > 0
        counted[iterate.used] = True
        return self.objective.gap(iterate.W, iterate.at, np.flatnonzero(counted))

    def begin(self, start: Solution | None) -> Iterate:
        """Begin at a start, looking ahead to the gradients of a weaker penalty."""
        if start is None:
            return super().begin(None)
        W = self.objective.first(start)
        # Nothing can move a row without curvature.
        W[~(self.data.curvature > 0)] = 0.0
        ahead = self.memory.ahead(self.objective.penalty.strength)
        last = self.memory.recall(W) if self.objective.smooth is None else None
        first = self.fitted(W, start.intercept) if last is None else self.judged(W, last)
        if ahead > 1.0:
            self.early = self.violation(first, ahead)
        return first

    def scores(self, now: Iterate) -> Array:
        """Return how far rows move; at the start of a problem along a path, how far they will."""
        early, self.early = self.early, None
        return now.violation.copy() if early is None else early

    def in_use(self, now: Iterate) -> Index:
        """Return the rows that are not zero."""
        return now.used

    def solved(
        self, working: Index, now: Iterate, accuracy: float, left: int
    ) -> tuple[Iterate, int]:
        """Minimise over some rows, the others staying at zero."""
        W = now.W[working]
        slope = np.ascontiguousarray(self.quadratic.gradient(W) - now.at.gradient[working])
        engine = self.memory.pool.engine(working, W, slope, self.quadratic, self.kernel)
        # The dual point of these rows alone is not orthogonal to what the penalty leaves alone.
        objective = self.objective
        certifiable = objective.certifiable and objective.free is None
        begin = now.at.value, objective.reference, self.memory.slow
        nonsmooth = objective.nonsmooth
        part = None if nonsmooth is None else nonsmooth.of_rows(working)
        inner = Inner(engine, part, certifiable, *begin)
        inner.run(Goal(accuracy * objective.reference, accuracy * self.first, left))
        self.memory.slow = inner.slow
        full = np.zeros_like(now.W)
        full[working] = engine.W
        return self.fitted(full, now.at.intercept), inner.sweeps

    def answer(self, best: Iterate, status: Status, n_iter: int) -> Solution:
        """Keep the evaluation for the next strength of a path."""
        # A coupling is a part of the evaluation, and another strength has another one.
        if self.objective.smooth is None:
            self.memory.last = best.W[best.used], best.used, best.at
        self.memory.strength = self.objective.penalty.strength
        return super().answer(best, status, n_iter)
