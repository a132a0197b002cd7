"""Block coordinate descent over the rows of W for tasks that have rows of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from polytask._anderson import Anderson
from polytask._registry import saveable
from polytask.datafits import Datafit, Samples, ScalarBlock, SquaredStatistics, Stacked
from polytask.datafits.base import Array
from polytask.datafits.designs import Index
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage, Text
from polytask.penalties import Penalty, Split
from polytask.solvers._separate_terms import (
    LimitedTerms,
    RowTerms,
    coupling_of,
    plain_terms,
    terms_of,
)
from polytask.solvers.base import Solver
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.gradient import AcceleratedGradient
from polytask.solvers.objective import Objective
from polytask.solvers.working_sets import farthest

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
# Shares of an extrapolated step that are tried.
_LENGTHS = (1.0, 0.2, 0.04, 0.008)
# Steps that are combined to an extrapolated one.
_DEPTH = 5
# Rows that are zero are visited if their gradient lacks less than this share of the strength,
# times the root of the relative certificate.
_SLACK = 2.0


@saveable("solver.separate_descent")
@dataclass(frozen=True)
class SeparateDescent(SplitSolver):
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

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        columns = datafit.shape[1]
        coupled = split.smooth is not None and columns > _MOST_COUPLED
        if (
            coupled
            or plain_terms(split.proximable) is None
            or coupling_of(split.smooth, columns) is None
        ):
            fields = {"most": _MOST_COUPLED, "penalty": repr(penalty)}
            return LazyMessage("solver.refusal.separate_penalty", fields)
        return _refusal(datafit)

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _Rows(objective, tol)

    def fallback(self, datafit: Datafit, penalty: Penalty) -> Solver | None:
        """Return a method that moves all rows at once."""
        # What cycles through rows cannot undo, for example features that only a common
        # intercept tells apart, that may.
        return AcceleratedGradient()


def _refusal(datafit: Datafit) -> Text:
    if isinstance(datafit, SquaredStatistics):
        own = len(datafit.statistics.second) == datafit.shape[1]
        return "" if own else LazyMessage("solver.refusal.separate_moments")
    found = _only_block(datafit)
    if found is None:
        return LazyMessage("solver.refusal.separate_rows")
    _, block, design = found
    most = _MOST_SPARSE_ENTRIES if sp.issparse(design.features.matrix) else _MOST_ENTRIES
    if block.y.size * float(datafit.shape[0]) > most:
        return LazyMessage("solver.refusal.separate_memory")
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


class _Rows(ProximalMethod):
    """Rounds of sweeps over rows, which are chosen anew for each."""

    patience = 3

    def __init__(self, objective: Objective, tol: float) -> None:
        datafit = objective.datafit
        split, columns = Split(objective.smooth, objective.nonsmooth), datafit.shape[1]
        self.terms = terms_of(split, columns) or LimitedTerms(RowTerms(0.0, 0.0))
        curvature = datafit.feature_scale() ** 2 + float(
            self.terms.spectral_bound(columns).max(initial=0.0)
        )
        # A feature without curvature is constant: its gradient is rounding.
        super().__init__(objective, np.where(curvature > 0, curvature, 1.0))
        self.engine = self._engine(tol)
        self.margin, self.known = _MARGIN, np.zeros(0, dtype=np.intp)

    def _engine(self, tol: float) -> Engine:
        """Return the state of a descent, in single precision if that can reach `tol`."""
        # Numba is imported where a solver runs, and nowhere else.
        from polytask.solvers._separate_engines import GramEngine, RowsEngine

        datafit = self.objective.datafit
        if isinstance(datafit, SquaredStatistics):
            return GramEngine(datafit, self.terms)
        found = _only_block(datafit)
        if found is None:
            raise IncompatibleError(_refusal(datafit))
        samples, block, design = found
        coarse = tol >= _COARSE or design.features.matrix.dtype == np.float32
        return RowsEngine(samples, block, design, self.terms, np.float32 if coarse else np.float64)

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Sweep over a working set."""
        active = self._working_set(now)
        self.engine.begin(now.W, now.at, active)
        aim = self.margin * self._aim(now, tol)
        # At zero nothing is known of where to end.
        complete = aim > 0 and (np.isin(active, self.known).all() or len(active) == len(now.W))
        share = 0.0 if complete else _ROUND
        sweeps = self._descend(aim, share, min(left, _MOST_SWEEPS))
        # What the violations promised and did not keep is asked of smaller ones.
        self.margin *= _FALLEN_SHORT if complete else 1.0
        self.known = active
        found = self.fitted(self.engine.coefficients(), self.engine.intercept)
        if not found.relative < self.progress * now.relative and not found.value < now.value:
            self.engine = self._engine(0.0)
        return Round(found, sweeps)

    def _working_set(self, now: Iterate) -> Index:
        """Return the rows in use and those that violate optimality most."""
        # The further from the optimum, the more a gradient can still grow.
        slack = min(_SLACK * now.relative**0.5, 0.5)
        scores = self.terms.excess(now.at.gradient) + slack
        scores[now.used] = 0.0
        entering, _ = farthest(scores, max(_FIRST_ROWS, len(now.used)))
        return np.sort(np.concatenate([now.used, entering]))

    def _aim(self, now: Iterate, tol: float) -> float:
        """Return the violation that takes the certificate to `tol`."""
        # A dual point that must shrink by a share v / strength to be feasible lowers the dual
        # objective by that share of the penalty, to first order.
        if self.terms.strength <= 0:
            # Without a gap the residual decides: the violation over the root of the curvature.
            return tol * self.first * float(np.sqrt(self.curvature.min() / self.curvature.size))
        size = self.objective.nonsmooth_value(now.W) / self.terms.strength
        goal = tol * self.objective.reference
        return goal / size if size > 0 else 0.0

    def _descend(self, aim: float, share: float, most: int) -> int:
        """Sweep until violations are below `aim`, or a share of the first; count the sweeps."""
        window, first, sweeps, engine = Anderson(_DEPTH), 0.0, 0, self.engine
        last = engine.point()[0]
        while sweeps < most:
            violation, more = engine.advance(max(aim, share * first), most - sweeps)
            first, sweeps = max(first, violation), sweeps + more
            if violation <= max(aim, share * first):
                break
            point = engine.point()
            window.add(point, point[0] - last)
            last = point[0]
            if window.count == _DEPTH:
                jump = window.combined()
                if jump is not None:
                    _try(engine, jump)
                    last = engine.point()[0]
                window.clear()
        return sweeps


def _try(engine: Engine, jump: list[Array]) -> None:
    """Go towards an extrapolated point as far as the objective falls."""
    back, value = engine.point(), engine.value()
    for length in _LENGTHS:
        engine.jump(tuple(a + length * (b - a) for a, b in zip(back, jump, strict=True)))
        if engine.value() < value:
            return
    engine.jump(back)
