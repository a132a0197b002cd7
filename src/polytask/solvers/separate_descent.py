"""Block coordinate descent over the rows of W for tasks that have rows of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation, Samples, ScalarBlock, SquaredStatistics, Stacked
from polytask.datafits.base import Array
from polytask.datafits.designs import Index
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty, RowSeparable, decompose
from polytask.penalties.decomposition import Split
from polytask.solvers._separate_terms import (
    LimitedTerms,
    RowTerms,
    coupling_of,
    plain_terms,
    terms_of,
)
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.gradient import Extrapolation, carried_on
from polytask.solvers.objective import Objective

if TYPE_CHECKING:
    from polytask.solvers._separate_engines import Engine

# Numbers that the gathered features may hold.
_MOST_ENTRIES = 4e8
_MOST_SPARSE_ENTRIES = 5e7
# Tasks that may be coupled: every visit of a row multiplies by a matrix between them.
_MOST_COUPLED = 200
# Rows of the first working set; later ones are at most twice the rows in use.
_FIRST_ROWS = 512
# A round ends when violations have fallen by this factor, unless it goes for the tolerance.
_ROUND = 0.05
# What a round aims at, as a share of the tolerance, and by how much less if that falls short.
_MARGIN, _FALLEN_SHORT = 0.7, 0.3
_MOST_SWEEPS = 200
# Down to this tolerance features are swept in single precision.
_COARSE = 1e-7
_PATIENCE = 3
# Shares of an extrapolated step that are tried.
_LENGTHS = (1.0, 0.2, 0.04, 0.008)
# Rows that are zero are visited if their gradient lacks less than this share of the strength,
# times the root of the relative certificate.
_SLACK = 2.0


@saveable("solver.separate_descent")
@dataclass(frozen=True)
class SeparateDescent(Solver):
    """Block coordinate descent over rows of W, each minimised exactly in a diagonal metric.

    A row's entries belong to tasks with their own curvatures, so its best value is the root
    of one equation in its norm, with weights of features and bounds too. Rows are visited in
    working sets, chosen by violation, with extrapolation; losses other than the squared one
    through local quadratics. Compiled with numba on first use.

    References
    ----------
    Z. Qin, K. Scheinberg and D. Goldfarb, "Efficient block-coordinate descent algorithms for
    the group lasso", Mathematical Programming Computation 5 (2013), section 3.
    M. Massias, A. Gramfort and J. Salmon, "Celer: a fast solver for the lasso with dual
    extrapolation", ICML (2018), algorithm 4 (working sets).
    Q. Bertrand and M. Massias, "Anderson acceleration of coordinate descent", AISTATS (2021),
    algorithm 2.
    """

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        try:
            split = decompose(penalty)
        except IncompatibleError as error:
            return str(error)
        columns = datafit.shape[1]
        coupled = split.smooth is not None and columns > _MOST_COUPLED
        if (
            coupled
            or plain_terms(split.proximable) is None
            or coupling_of(split.smooth, columns) is None
        ):
            return (
                "SeparateDescent needs L1, L21, SparseGroup or ElasticNet, with or without L2, "
                "weights of features, bounds, and a coupling of at most "
                f"{_MOST_COUPLED} tasks; got {penalty!r}. Use AcceleratedGradient, or "
                "solver='auto'."
            )
        return _refusal(datafit)

    def solve(
        self,
        datafit: Datafit,
        penalty: Penalty,
        *,
        tol: float = 1e-6,
        max_iter: int = 10000,
        start: Solution | None = None,
    ) -> Solution:
        """Minimise; see :meth:`Solver.solve`. `max_iter` bounds the sweeps."""
        refusal = self.accepts(datafit, penalty)
        if refusal:
            raise IncompatibleError(refusal)
        # Overflow is found in the values and said in a sentence.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = Objective(datafit, penalty)
            if objective.settled:
                return objective.rest()
            found = _Run(objective).loop(tol, max_iter, start)
        # What cycles through rows cannot undo, for example features that only a common
        # intercept tells apart, a method that moves all rows at once may.
        return carried_on(found, datafit, penalty, tol, max_iter)


def _refusal(datafit: Datafit) -> str:
    advice = "Use AcceleratedGradient, or solver='auto'."
    if isinstance(datafit, SquaredStatistics):
        if len(datafit.statistics.second) == datafit.shape[1]:
            return ""
        return f"SeparateDescent needs a Gram matrix per task. {advice}"
    found = _only_block(datafit)
    if found is None:
        return (
            "SeparateDescent needs tasks with rows of their own, one prediction per row and one "
            f"loss for all. {advice}"
        )
    _, block, design = found
    most = _MOST_SPARSE_ENTRIES if sp.issparse(design.features.matrix) else _MOST_ENTRIES
    if block.y.size * float(datafit.shape[0]) > most:
        return f"SeparateDescent would keep too many numbers in memory here. {advice}"
    return ""


def _only_block(datafit: Datafit) -> tuple[Samples, ScalarBlock, Stacked] | None:
    """Return samples with the one block that owns all columns in their order, and its design."""
    if not isinstance(datafit, Samples) or len(datafit.blocks) != 1:
        return None
    block = datafit.blocks[0]
    if not isinstance(block, ScalarBlock) or not isinstance(block.design, Stacked):
        return None
    in_order = np.array_equal(block.design.columns, np.arange(datafit.n_columns))
    return (datafit, block, block.design) if in_order else None


@dataclass(frozen=True, eq=False)
class _Answer:
    """An iterate with its evaluation, its value and its certificate."""

    W: Array
    at: Evaluation
    value: float
    certificate: Certificate


class _Run:
    """One minimisation."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.datafit = objective.datafit
        split, columns = Split(objective.curved, objective.rough), self.datafit.shape[1]
        self.terms = terms_of(split, columns) or LimitedTerms(RowTerms(0.0, 0.0))
        farthest = float(self.terms.reach(columns).max(initial=0.0))
        curvature = self.datafit.feature_scale() ** 2 + farthest
        # A feature without curvature is constant: its gradient is rounding.
        self.bend = np.where(curvature > 0, curvature, 1.0)
        first = self._residual(objective.null, objective.zero.gradient)
        self.first = objective.first_residual(first, 1.0)

    def _engine(self, tol: float) -> Engine:
        """Return the state of a descent, in single precision if that can reach `tol`."""
        # Numba is imported where a solver runs, and nowhere else.
        from polytask.solvers._separate_engines import GramEngine, RowsEngine

        if isinstance(self.datafit, SquaredStatistics):
            return GramEngine(self.datafit, self.terms)
        found = _only_block(self.datafit)
        if found is None:
            raise IncompatibleError(_refusal(self.datafit))
        datafit, block, design = found
        coarse = tol >= _COARSE or design.features.matrix.dtype == np.float32
        dtype = np.float32 if coarse else np.float64
        return RowsEngine(datafit, block, design, self.terms, dtype)

    def _residual(self, W: Array, gradient: Array) -> float:
        rough = self.objective.rough
        if not isinstance(rough, RowSeparable):
            return 0.0
        moved = rough.prox_rows(W - gradient / self.bend[:, None], slice(None), 1.0 / self.bend)
        return float(np.linalg.norm((W - moved) * np.sqrt(self.bend)[:, None]))

    def _answer(self, W: Array, b: Array | None) -> _Answer:
        return self._judged(*self.objective.fitted(W, self.objective.smooth(W, b)))

    def _judged(self, W: Array, at: Evaluation) -> _Answer:
        residual = self._residual(W, at.gradient)
        certificate = self.objective.certificate(W, at, residual, self.first)
        return _Answer(W, at, self.objective.value(W, at), certificate)

    def loop(self, tol: float, max_iter: int, start: Solution | None) -> Solution:
        """Run rounds until the certificate is below the tolerance, or nothing moves."""
        if start is None:
            now = best = self._judged(self.objective.null.copy(), self.objective.zero)
        else:
            now = best = self._answer(self.objective.first(start), start.intercept)
        engine, sweeps, idle, margin = self._engine(tol), 0, 0, _MARGIN
        known: Index = np.zeros(0, dtype=np.intp)
        while best.certificate.relative > tol and sweeps < max_iter and idle < _PATIENCE:
            active = self._working_set(now)
            engine.begin(now.W, now.at, active)
            settled = np.isin(active, known).all() or len(active) == len(now.W)
            share = 0.0 if settled else _ROUND
            most = min(max_iter - sweeps, _MOST_SWEEPS)
            sweeps += self._descend(engine, margin * self._aim(now, tol), share, most)
            # What the violations promised and did not keep is asked of smaller ones.
            margin *= _FALLEN_SHORT if settled else 1.0
            known = active
            now = self._answer(engine.coefficients(), engine.intercept)
            nearer = now.certificate.relative < 0.999 * best.certificate.relative
            lower = now.value < best.value - 1e-14 * self.objective.reference
            best = now if nearer or lower else best
            idle = 0 if nearer or lower else idle + 1
            if idle:
                engine = self._engine(0.0)
        status = Status.MAX_ITER if sweeps >= max_iter else Status.STALLED
        if best.certificate.relative <= tol:
            status = Status.CONVERGED
        return self.objective.finish(best.W, best.at, best.certificate, status, sweeps)

    def _working_set(self, now: _Answer) -> Index:
        """Return the rows in use and those that violate optimality most."""
        used = now.W.any(axis=1)
        # The further from the optimum, the more a gradient can still grow.
        slack = min(_SLACK * now.certificate.relative**0.5, 0.5)
        excess = np.where(used, -np.inf, self.terms.excess(now.at.gradient))
        wanted = np.flatnonzero(excess > -slack)
        room = max(_FIRST_ROWS, int(used.sum()))
        if len(wanted) > room:
            wanted = wanted[np.argpartition(-excess[wanted], room)[:room]]
        return np.sort(np.concatenate([np.flatnonzero(used), wanted]))

    def _aim(self, now: _Answer, tol: float) -> float:
        """Return the violation that takes the certificate to `tol`."""
        # A dual point that must shrink by a share v / strength to be feasible lowers the dual
        # objective by that share of the penalty, to first order.
        if self.terms.strength <= 0:
            # Without a gap the residual decides: the violation over the root of the curvature.
            return tol * self.first * float(np.sqrt(self.bend.min() / self.bend.size))
        size = self.objective.rough_value(now.W) / self.terms.strength
        goal = tol * self.objective.reference
        return goal / size if size > 0 else 0.0

    def _descend(self, engine: Engine, aim: float, share: float, most: int) -> int:
        """Sweep until violations are below `aim`, or a share of the first; count the sweeps."""
        extrapolation, first, sweeps = Extrapolation(), 0.0, 0
        extrapolation.add(engine.point())
        while sweeps < most:
            violation, more = engine.advance(max(aim, share * first), most - sweeps)
            first, sweeps = max(first, violation), sweeps + more
            if violation <= max(aim, share * first):
                break
            jump = extrapolation.add(engine.point())
            if jump is not None:
                _try(engine, jump)
                extrapolation.add(engine.point())
        return sweeps


def _try(engine: Engine, jump: list[Array]) -> None:
    """Go towards an extrapolated point as far as the objective falls."""
    back, value = engine.point(), engine.value()
    for length in _LENGTHS:
        engine.jump(tuple(a + length * (b - a) for a, b in zip(back, jump, strict=True)))
        if engine.value() < value:
            return
    engine.jump(back)
