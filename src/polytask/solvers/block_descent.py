"""Block coordinate descent with working sets, for squared loss on one design."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation
from polytask.datafits.base import Array, rows_in_use
from polytask.exceptions import IncompatibleError
from polytask.penalties import CompiledRows, Conjugate, Penalty, Proximable, RowKernel, decompose
from polytask.penalties.decomposition import Ridged
from polytask.solvers._block_data import (
    Beside,
    Engine,
    GramEngine,
    Index,
    MomentData,
    Rows,
    SharedData,
    residual_engine,
    selected,
    shared_data,
)
from polytask.solvers._separate_terms import coupling_of, row_terms
from polytask.solvers._support_newton import Leaps
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.gradient import carried_on, combined
from polytask.solvers.objective import Objective

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
        self, index: Index, W: Array, slope: Array, beside: Beside, kernel: RowKernel
    ) -> Engine:
        """Return the engine of a working set. Shapes: W, slope (n_rows, n_columns)."""
        data = self.data
        own = data.curvature[index], data.mean[index]
        rows = Rows(*own, data.scale, data.pull, beside, kernel.of_rows(index))
        if isinstance(data, MomentData):
            return GramEngine(data.gram(index, index), rows, W, slope)
        self._prepare(index)
        positions = self.where[index]
        if self.gram is not None and self.in_gram_domain(len(index)):
            return GramEngine(self._gram_of(positions), rows, W, slope)
        return residual_engine(data, selected(data, self.columns, positions), rows, index, W)

    def _gram_of(self, positions: Index) -> Array:
        """Return the inner products of some features, the matrix itself if they are all."""
        if self.gram is None:
            raise ValueError("There is no Gram matrix.")
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
# Sweeps before anything else.
_AT_FIRST = 5
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
        rough: Any,  # noqa: ANN401 - proximable, with or without a conjugate
        certifiable: bool,
        value: float,
        rounding: float,
        slow: bool,
    ) -> None:
        self.engine = engine
        self.rough = rough
        self.conjugate: Conjugate | None = None
        if certifiable and isinstance(rough, Conjugate):
            self.conjugate = rough
        self.value = value
        self.rounding = rounding
        self.sweeps = 0
        coupled = engine.rows.beside.coupling.size > 0
        self._leaps = Leaps(engine, None if coupled else row_terms(rough), slow)
        self._penalty = float(rough.value(engine.W))

    @property
    def slow(self) -> bool:
        """Whether sweeps alone would have been slow."""
        return self._leaps.successes > 0

    def run(self, goal: Goal) -> None:
        """Sweep until the goal is reached or nothing moves any more."""
        idle = 0
        if self._began(goal):
            return
        while self.sweeps < goal.sweeps and idle < _PATIENCE:
            before = self.engine.state()
            moved, steps = self._some_sweeps(before, goal.sweeps - self.sweeps)
            gained = self._advance(before)
            if self._solved(moved, goal):
                return
            leapt = self._onward(steps, gained)
            if leapt > 0 and self._solved(moved, goal):
                return
            idle = 0 if gained + leapt > self.rounding * _ROUNDING else idle + 1

    def _began(self, goal: Goal) -> bool:
        """Sweep a few times at one go; say if that was enough, as along a path it often is."""
        if self.conjugate is None or goal.sweeps < _AT_FIRST:
            return False
        before = self.engine.state()
        moved = self.engine.sweep(_AT_FIRST)
        self.sweeps += _AT_FIRST
        self._advance(before)
        return self._solved(moved, goal)

    def _some_sweeps(self, before: list[Array], allowed: int) -> tuple[float, list[list[Array]]]:
        engine, steps, moved = self.engine, [before], 0.0
        depth = next(depth for sweeps, depth in _DEPTHS if self.sweeps >= sweeps)
        depth = _BETWEEN if self._leaps.working else depth
        for _ in range(min(depth, allowed)):
            moved = engine.sweep()
            self.sweeps += 1
            steps.append(engine.state())
            if moved == 0.0:
                break
        return moved, steps

    def _onward(self, steps: list[list[Array]], gained: float) -> float:
        """Go further than sweeps do, where that is lower; return by how much."""
        if self._leaps.due(self.sweeps):
            return self._leap(gained)
        return self._extrapolate(steps) if len(steps) > _FEWEST_STEPS else 0.0

    def _advance(self, before: list[Array]) -> float:
        """Bring the values up to date; return by how much the objective fell."""
        change = self.engine.smooth_change(before)
        penalty = float(self.rough.value(self.engine.W))
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
        c = min(1.0, penalty.feasible_scale(slope))
        along = float(np.vdot(slope, W))
        data = (1.0 - c) ** 2 * value - c * along
        return data + self._penalty + penalty.conjugate(c * slope)

    def _extrapolate(self, steps: list[list[Array]]) -> float:
        """Move to the combination of the last iterates with the smallest step, if it is lower."""
        found = combined(steps)
        return 0.0 if found is None else self._moved(steps[-1], [found])

    def _leap(self, gained: float) -> float:
        """Take a step of Newton's method, if it is lower; return by how much."""
        leapt = self._moved(self.engine.state(), self._leaps.points())
        self._leaps.learn(self.sweeps, leapt > gained)
        return leapt

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


# A working set may always grow by this many rows, and it may double.
_LEAST_GROWTH = 100
# A working set is solved to this share of the tolerance, or, while it still has to grow, of the
# certificate.
_SHARE = 0.3
_GROWING_SHARE = 0.1
_IDLE_ROUNDS = 3
# How far ahead along a path rows are admitted, at most.
_FARTHEST = 2.0
# The compiled sweeps multiply by matrices between tasks for every row.
_MOST_PULLED = 300


@saveable("solver.block_descent")
@dataclass(frozen=True)
class BlockDescent(Solver):
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

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        try:
            split = decompose(penalty)
        except IncompatibleError as error:
            return str(error)
        columns = datafit.shape[1]
        coupled = split.smooth is not None and columns > _MOST_PULLED
        if (
            coupled
            or _compiled(split.proximable) is None
            or coupling_of(split.smooth, columns) is None
        ):
            return (
                "BlockDescent needs a penalty on rows with a row kernel, with or without a "
                f"coupling of at most {_MOST_PULLED} tasks; {penalty!r} is not. Use "
                "AcceleratedGradient, or solver='auto'."
            )
        data = datafit.derived(shared_data)
        if data is None:
            return (
                "BlockDescent needs the squared loss on one design for all tasks, without "
                "missing labels. Use AcceleratedGradient, or solver='auto'."
            )
        if len(data.scale) > _MOST_PULLED and data.pull.size:
            return (
                f"BlockDescent takes at most {_MOST_PULLED} tasks with intercepts that depend on "
                "each other. Use AcceleratedGradient, or solver='auto'."
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
        data = None if refusal else datafit.derived(shared_data)
        if data is None:
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            found = _Run(data, objective, tol, max_iter).loop(start)
        return carried_on(found, datafit, penalty, tol, max_iter)


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
        if data is None:
            raise IncompatibleError("BlockDescent keeps nothing of this data.")
        self.pool = Pool(data)
        self.strength: float | None = None
        self.slow = False
        self._last: tuple[Array, Index, Evaluation] | None = None

    def keep(self, rows: Array, active: Index, at: Evaluation) -> None:
        """Keep the evaluation at a point, given by its rows that are not zero."""
        # The answer belongs to the caller, who may write into it.
        self._last = rows, active, replace(at, intercept=at.intercept.copy())

    def recall(self, W: Array) -> Evaluation | None:
        """Return the evaluation that was kept, if it is that at W."""
        if self._last is None:
            return None
        rows, active, at = self._last
        same = np.array_equal(W[active], rows) and np.array_equal(rows_in_use(W), active)
        return replace(at, intercept=at.intercept.copy()) if same else None


@dataclass(frozen=True, eq=False)
class _Answer:
    """An iterate with its evaluation and, once asked for, its certificate."""

    # Shapes: W (n_features, n_columns).

    W: Array
    at: Evaluation
    active: Index
    run: _Run

    @cached_property
    def moves(self) -> Array:
        """How far each row is from where it should be, (n_features,)."""
        return self.run.unrest(self.W, self.at.gradient, 1.0)

    @cached_property
    def certificate(self) -> Certificate:
        """That of W."""
        # Rows that rest at zero add nothing to the gap and do not bound the dual point.
        held = self.moves > 0
        held[self.active] = True
        residual, first = float(np.linalg.norm(self.moves)), self.run.first
        rows = np.flatnonzero(held)
        return self.run.objective.certificate(self.W, self.at, residual, first, rows)


class _Run:
    """One minimisation."""

    def __init__(self, data: SharedData, objective: Objective, tol: float, max_iter: int) -> None:
        found = _compiled(objective.rough)
        if found is None:
            raise IncompatibleError("BlockDescent has no prox of one row.")
        self.penalty, ridge = found
        coupling = coupling_of(objective.curved, objective.datafit.shape[1])
        if coupling is None:
            raise IncompatibleError("BlockDescent knows no coupling of this kind.")
        self.beside = Beside(ridge, coupling)
        stiff = data.curvature > 0
        self.curvature = np.where(stiff, data.curvature + self.beside.reach, 0.0)
        self.kernel = self.penalty.row_kernel()
        self.data = data
        self.objective = objective
        self.rough = objective.rough
        self.tol = tol
        self.max_iter = max_iter
        self.memory = objective.datafit.derived(_Memory)
        # In coordinates scaled by the curvature of each row that curvature is 1.
        null = self.unrest(objective.null, objective.zero.gradient, 1.0)
        self.first = objective.first_residual(float(np.linalg.norm(null)), 1.0)

    def unrest(self, W: Array, gradient: Array, factor: float) -> Array:
        """Return how far rows would move if their gradients were `factor` times larger."""
        from polytask.solvers._kernels import unrest

        out = np.empty(len(gradient))
        kernel = self.kernel
        settings = self.beside.ridge, kernel.limits.arrays, kernel.parameters, kernel.prox
        unrest(np.ascontiguousarray(W), gradient, self.curvature, factor, *settings, out)
        return out

    def _answer(self, W: Array, intercept: Array | None) -> _Answer:
        return self._judged(*self.objective.fitted(W, self.objective.smooth(W, intercept)))

    def _judged(self, W: Array, at: Evaluation) -> _Answer:
        return _Answer(W, at, rows_in_use(W), self)

    def loop(self, start: Solution | None) -> Solution:
        """Solve growing working sets until the certificate is below the tolerance."""
        best = self._begin(start)
        rows, n_iter, idle, share = best.active, 0, 0, _SHARE
        answer, factor = best, self._look_ahead(start)
        # The answer to the last strength of a path is hardly ever one to the next.
        unproved = factor > 1.0
        while (unproved or best.certificate.relative > self.tol) and n_iter < self.max_iter:
            grown, capped = self._grown(rows, answer, factor)
            added, rows, factor = len(grown) > len(rows), grown, 1.0
            answer, sweeps = self._solved(rows, answer, capped, share, self.max_iter - n_iter)
            n_iter += sweeps
            better = unproved or answer.certificate.relative < 0.9 * best.certificate.relative
            if unproved or answer.certificate.relative < best.certificate.relative:
                best, unproved = answer, False
            if not added:
                share *= 0.1
                idle = 0 if better else idle + 1
            if idle >= _IDLE_ROUNDS or (sweeps == 0 and not added):
                break
        # A coupling is a part of the evaluation, and another strength has another one.
        if self.objective.curved is None:
            self.memory.keep(best.W[best.active], best.active, best.at)
        self.memory.strength = self.objective.penalty.strength
        return self._finished(best, n_iter)

    def _finished(self, best: _Answer, n_iter: int) -> Solution:
        status = Status.MAX_ITER if n_iter >= self.max_iter else Status.STALLED
        if best.certificate.relative <= self.tol:
            status = Status.CONVERGED
        return self.objective.finish(best.W, best.at, best.certificate, status, n_iter)

    def _begin(self, start: Solution | None) -> _Answer:
        if start is None:
            return self._judged(self.objective.null.copy(), self.objective.zero)
        W = self.objective.first(start)
        # Nothing can move a row without curvature.
        W[~(self.data.curvature > 0)] = 0.0
        last = self.memory.recall(W) if self.objective.curved is None else None
        return self._answer(W, start.intercept) if last is None else self._judged(W, last)

    def _look_ahead(self, start: Solution | None) -> float:
        """Return by how much a gradient may grow from the last strength to this one."""
        last, now = self.memory.strength, self.objective.penalty.strength
        if start is None or not last or not now or not last > now:
            return 1.0
        return _FARTHEST if last >= 1.5 * now else min(_FARTHEST, now / (2 * now - last))

    def _grown(self, rows: Index, answer: _Answer, factor: float) -> tuple[Index, bool]:
        """Add the rows that are farthest from where they should be; say if some had to wait."""
        if factor > 1.0:
            scores = self.unrest(answer.W, answer.at.gradient, factor)
        else:
            scores = answer.moves.copy()
        scores[rows] = 0.0
        scores[answer.active] = 0.0
        entering = np.flatnonzero(scores)
        kept = np.union1d(rows, answer.active) if len(rows) else answer.active
        room = max(_LEAST_GROWTH, len(answer.active))
        capped = len(entering) > room
        if capped:
            order = np.argpartition(scores[entering], -room)
            entering = entering[order[-room:]]
        return np.concatenate([kept, entering]).astype(np.intp), capped

    def _solved(
        self, rows: Index, answer: _Answer, capped: bool, share: float, sweeps: int
    ) -> tuple[_Answer, int]:
        """Minimise over some rows, the others staying at zero."""
        W = answer.W[rows]
        slope = np.ascontiguousarray(self.beside.gradient(W) - answer.at.gradient[rows])
        engine = self.memory.pool.engine(rows, W, slope, self.beside, self.kernel)
        # The dual point of these rows alone is not orthogonal to what the penalty leaves alone.
        certifiable = self.objective.certifiable and self.objective.free is None
        reference = self.objective.reference
        start = answer.at.value, reference, self.memory.slow
        part = None if self.rough is None else self.rough.of_rows(rows)
        inner = Inner(engine, part, certifiable, *start)
        wanted = share * self.tol
        if capped:
            wanted = max(wanted, _GROWING_SHARE * answer.certificate.relative)
        inner.run(Goal(wanted * reference, wanted * self.first, sweeps))
        self.memory.slow = inner.slow
        full = np.zeros_like(answer.W)
        full[rows] = engine.W
        return self._answer(full, answer.at.intercept), inner.sweeps
