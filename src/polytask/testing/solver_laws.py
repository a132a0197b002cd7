"""`check_solver`: the laws of a solver, on small problems of every loss and penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polytask.datafits import Datafit, Evaluation
from polytask.exceptions import IncompatibleError
from polytask.penalties import (
    L1,
    L2,
    L21,
    PENALTIES,
    Clustered,
    Columns,
    FusedTasks,
    GroupNorm,
    L1Inf,
    NetworkLasso,
    NullStrength,
    OutlierTasks,
    Parts,
    Penalty,
    TraceNorm,
    TreeGroup,
    bounded,
    coupling,
    dirty,
    positive,
    robust,
    sparse_low_rank,
    toward_mean,
    weighted,
)
from polytask.penalties.terms import AbsoluteTerm
from polytask.solvers import Solution, Solver, Status
from polytask.solvers.reweighted import tangents
from polytask.solvers.wrapped import WrappedDatafit
from polytask.testing._problems import (
    N_FEATURES,
    piecewise_linear_problems,
    small_problems,
    square_root_problems,
)
from polytask.testing._tools import require, require_at_least, require_close

_TOL = 1e-5
_TIGHT = 1e-8
# Losses with kinks, and roots, take a thousand steps: one penalty in so many is tried with them.
_EVERY = 4


@dataclass(frozen=True, eq=False)
class _SolverCase:
    """A solver with a pair that it accepts."""

    solver: Solver
    name: str
    datafit: Datafit
    penalty: Penalty
    rng: np.random.Generator

    def __repr__(self) -> str:
        """Show the solver and the pair."""
        return f"{self.solver!r} on {self.name} with {self.penalty!r}"

    def objective(self, W: np.ndarray) -> float:
        """Return the objective, computed apart from the solver."""
        return self.datafit.evaluate(W).value + self.penalty.value(W)

    def attained(self, found: Solution) -> float:
        """Return the objective of an answer; parts that are not the cheapest cost what they do."""
        if found.parts is None or not isinstance(self.penalty, Parts):
            return self.objective(found.W)
        pairs = zip(self.penalty.members, found.parts, strict=True)
        return self.datafit.evaluate(found.W).value + sum(float(m.value(u)) for m, u in pairs)

    def stage(self, W: np.ndarray) -> float:
        """Return the objective that the answer minimises."""
        # For a penalty that is not convex: that of the stage which the answer defines.
        convex = tangents(self.penalty, self.better.W)
        constant = self.penalty.value(self.better.W) - convex.value(self.better.W)
        return self.datafit.evaluate(W).value + convex.value(W) + constant

    @cached_property
    def found(self) -> Solution:
        """The answer at an ordinary tolerance."""
        return self.solver.solve(self.datafit, self.penalty, tol=_TOL)

    @cached_property
    def better(self) -> Solution:
        """The answer at a small tolerance."""
        return self.solver.solve(self.datafit, self.penalty, tol=_TIGHT)


class _Counted(WrappedDatafit):
    """A datafit that counts what a solver asks of it."""

    def __init__(self, datafit: Datafit) -> None:
        self.datafit = datafit
        self.calls = 0

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of W."""
        return self.datafit.shape

    @property
    def is_smooth(self) -> bool:
        """Whether there is a gradient everywhere."""
        return self.datafit.is_smooth

    def evaluate(self, W: np.ndarray, start: np.ndarray | None = None) -> Evaluation:
        """Evaluate and count."""
        self.calls += 1
        return self.datafit.evaluate(W, start)

    def value_at(self, W: np.ndarray, b: np.ndarray) -> float:
        """Return the value at W and b."""
        self.calls += 1
        return self.datafit.value_at(W, b)

    def feature_scale(self) -> np.ndarray:
        """Return the scales and count."""
        self.calls += 1
        return self.datafit.feature_scale()

    def lipschitz(self, scale: np.ndarray) -> float:
        """Return the bound and count."""
        self.calls += 1
        return self.datafit.lipschitz(scale)


def _penalties(datafit: Datafit) -> Iterator[Penalty]:
    """Yield every exported penalty and some sums, with strengths that fit a datafit."""
    columns = datafit.shape[1]
    root = np.random.default_rng(3).normal(size=(columns, 3))
    gradient = datafit.origin.gradient
    size = float(np.mean(datafit.feature_scale() ** 2))
    made = [make() for make in PENALTIES.values()]
    made += [coupling(None, root @ root.T), toward_mean() + L2(0.1), L21() + toward_mean()]
    made += [TraceNorm() + toward_mean(), L1() + L21(), TraceNorm() + L2()]
    made += [FusedTasks(l1=0.5, fraction=0.1) + L21(), GroupNorm(groups=((0, 5), (1, 2, 3), (4,)))]
    whole = tuple(range(columns))
    made.append(TreeGroup(groups=(whole, (0, 1), *((t,) for t in whole))))
    weights = np.linspace(0.5, 2.0, N_FEATURES)
    made += [weighted(L21(), weights), positive(L1()), bounded(L2(), lower=-0.1, upper=0.2)]
    made.append(L21(fraction=0.05).shifted(0.1 * np.ones(datafit.shape)))
    for penalty in made:
        bound = penalty.bind(Columns.plain(columns))
        if isinstance(bound, AbsoluteTerm):
            bound = bound.scaled(0.2 * size)
        null = bound.null_point
        point = gradient if null is None else datafit.evaluate(np.asarray(null)).gradient
        yield bound.resolved(point)


def _consistent(case: _SolverCase) -> None:
    """Check the fields of an answer against each other and against the objective."""
    found = case.found
    require(found.status.ok, case, "it converges on a small problem", found.message)
    law = "the certificate is at most tol where the status says so"
    require(found.certificate.relative <= _TOL, case, law)
    wanted = case.attained(found)
    require_close(found.objective, wanted, case, "objective is that of W", rtol=1e-9)
    # Intercepts of several classes are not unique: all of a task may move together.
    best = case.datafit.evaluate(found.W).value
    there = case.datafit.value_at(found.W, found.intercept)
    require_close(there, best, case, "intercept is a best one for W", rtol=1e-9)
    reference = case.objective(np.zeros(case.datafit.shape))
    law = "the reference is the objective at W = 0"
    require_close(found.certificate.reference, reference, case, law)
    require(found.n_iter >= 0 and found.seconds >= 0, case, "n_iter and seconds are counted")


def _certified(case: _SolverCase) -> None:
    """Compare the gap with what a much tighter solve gains."""
    found, better = case.found, case.better
    require(better.status.ok, case, "it also reaches a small tolerance", better.message)
    gained = found.objective - better.objective
    scale = found.certificate.reference
    if found.gap is None:
        law = "the objective is near its minimum where the residual is small"
        require(gained <= 1e-3 * scale, case, law, f"{gained:.3g} above it")
    else:
        law = "the gap bounds how far the objective is above its minimum"
        require(gained <= found.gap + 1e-12 * scale, case, law, f"{gained:.3g} > {found.gap:.3g}")
    law = "no point near the answer is better than its certificate allows"
    slack = 1e-7 * scale if better.gap is None else better.gap + 1e-12 * scale
    for size in (1e-3, 1e-1):
        for rival in (
            better.W + size * case.rng.normal(size=better.W.shape),
            better.W * (1 - size),
            better.W * (1 + size),
        ):
            require_at_least(case.stage(rival) + slack, better.objective, case, law, 0.0)


def _warm(case: _SolverCase) -> None:
    """Start from the answer: nothing is left to do, and the start stays as it is."""
    found = case.found
    before = found.W.copy(), found.intercept.copy()
    again = case.solver.solve(case.datafit, case.penalty, tol=_TOL, start=found)
    require(again.n_iter == 0, case, "a start at the answer ends at once", f"{again.n_iter}")
    require(again.status is found.status, case, "a start at the answer has its status")
    require_close(again.W, found.W, case, "a start at the answer returns it", rtol=1e-12)
    again.W[...] = np.nan
    again.intercept[...] = np.nan
    same = np.array_equal(before[0], found.W) and np.array_equal(before[1], found.intercept)
    require(same, case, "the answer does not share memory with the start")


def _stopped(case: _SolverCase) -> None:
    """Stop after one iteration: the status says so, and the certificate stays honest."""
    found = case.solver.solve(case.datafit, case.penalty, tol=1e-14, max_iter=1)
    if found.status.ok:
        return
    law = "stopped by max_iter, the status is MAX_ITER"
    require(found.status is Status.MAX_ITER, case, law, found.status.name)
    require(found.certificate.relative > 1e-14, case, "an unfinished answer is not certified")
    require_close(found.objective, case.attained(found), case, "objective is that of W")
    gained = found.objective - case.better.objective
    law = "the gap of an unfinished answer bounds how far it is above the minimum"
    slack = 1e-12 * found.certificate.reference
    require(found.gap is None or gained <= found.gap + slack, case, law)


def _empty(case: _SolverCase) -> None:
    """Go above and below the null strength."""
    penalty = case.penalty
    if not isinstance(penalty, NullStrength) or penalty.null_point is not None:
        return
    limit = penalty.null_strength(case.datafit.origin.gradient)
    if not np.isfinite(limit):
        return
    above, below = (penalty.with_strength(factor * limit) for factor in (1.001, 0.99))
    found = case.solver.solve(case.datafit, above, tol=_TOL)
    law = "above the null strength every coefficient is zero and the status says so"
    require(not found.W.any() and found.status is Status.ALL_ZERO, case, law, found.status.name)
    law = "an answer of zeros names the null strength"
    require(found.null_strength is not None, case, law)
    require_close(found.null_strength or 0.0, limit, case, law, rtol=1e-9)
    found = case.solver.solve(case.datafit, below, tol=1e-8)
    law = "just below the null strength some coefficient is not zero"
    require(found.W.any() and found.status is not Status.ALL_ZERO, case, law)


_LAWS: tuple[Callable[[_SolverCase], None], ...] = (
    _consistent,
    _certified,
    _warm,
    _stopped,
    _empty,
)


def _refused(solver: Solver, datafit: Datafit, penalty: Penalty) -> None:
    """Require a refusal in words, before any work."""
    reason = str(solver.accepts(datafit, penalty))
    counted = _Counted(datafit)
    require(reason.strip().endswith("."), solver, "a refusal is a sentence", repr(reason))
    try:
        solver.solve(counted, penalty)
    except IncompatibleError:
        law = "what cannot be solved is refused before any work"
        require(counted.calls == 0, solver, law)
        return
    require(False, solver, "solve refuses what accepts refuses", repr(penalty))


def _beyond_one_prox(datafit: Datafit) -> Iterator[Penalty]:
    """Yield sums of norms without a common proximal operator, and penalties of parts."""
    gradient = datafit.origin.gradient
    size = float(np.mean(datafit.feature_scale() ** 2))
    for penalty in (
        TraceNorm() + L21(fraction=0.05),
        L1(fraction=0.05) + TraceNorm() + OutlierTasks() + toward_mean(0.1 * size),
        Clustered(0.1 * size, 0.5, 2) + L21() + L2(0.01 * size),
        NetworkLasso(0.1 * size, {(0, 1): 1.0, (1, 2): 2.0}) + L21(),
        NetworkLasso(0.1 * size, {(0, 1): 1.0, (1, 2): 2.0, (2, 3): 1.0}),
        dirty(),
        robust(),
        sparse_low_rank(radius=float(np.linalg.norm(gradient)) / size / 4),
        Parts([L1Inf(), L1(), L21() + L2(0.1 * size)]),
    ):
        yield penalty.bind(Columns.plain(datafit.shape[1])).resolved(gradient)


def check_solver(solver: Solver, random_state: int = 0, *, every: int = 1) -> None:
    """Check every law that a solver has to obey.

    Small problems of every loss are solved with every exported penalty and some sums that
    the solver accepts; what it does not accept has to be refused in words before any
    work. Answers are compared with much tighter ones, so that a certificate that is too
    good shows.

    Parameters
    ----------
    solver : Solver
        The solver.
    random_state : int, default=0
        Seed of the problems.
    every : int, default=1
        Of the pairs of a problem and a penalty, one in so many is tried, for a quick look.

    Raises
    ------
    AssertionError
        With a sentence that names the law that does not hold.
    """
    rng = np.random.default_rng(random_state)
    accepted = 0
    problems = small_problems(random_state)
    slow = piecewise_linear_problems(random_state) | square_root_problems(random_state)
    for number, (name, datafit) in enumerate((problems | slow).items()):
        require(datafit.shape[0] == N_FEATURES, solver, "the problems are small")
        tried = [*_penalties(datafit), *_beyond_one_prox(datafit)]
        tried = tried if name in problems else tried[::_EVERY]
        # Other penalties with each problem, so that a quick look misses none.
        for penalty in tried[number % every :: every]:
            if solver.accepts(datafit, penalty):
                _refused(solver, datafit, penalty)
                continue
            accepted += 1
            case = _SolverCase(solver, name, datafit, penalty, rng)
            for law in _LAWS:
                law(case)
    require(accepted > 0, solver, "it accepts some pair of a datafit and a penalty")
