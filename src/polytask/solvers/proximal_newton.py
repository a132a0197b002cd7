"""Newton's method around a solver for the squared loss, for any penalty that it accepts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, InParts, LocalQuadratic, Samples
from polytask.datafits.base import Array
from polytask.datafits.samples import has_local_quadratic, local_quadratic
from polytask.messages import LazyMessage, Text
from polytask.penalties import Penalty, Split
from polytask.solvers.base import Solver, starting_point
from polytask.solvers.driver import Iterate, ProximalMethod, Round, SplitSolver
from polytask.solvers.gradient import AcceleratedGradient, whole_solver
from polytask.solvers.newton import Newton
from polytask.solvers.objective import Objective
from polytask.solvers.separate_descent import SeparateDescent
from polytask.solvers.wrapped import StackedDatafit

# The inner problem is solved to this share of the outer certificate.
_FORCING = 0.1
_INNER_FLOOR = 1e-13
# ... where a step costs a pass over a file, to this share of the tolerance.
_FULL = 1e-3
# Of an exponential the quadratic says little far from the optimum, here in units of the
# certificate: it is not worth more iterations than this.
_FAR, _FAR_ITERATIONS = 0.1, 1000
# A Gram matrix per task must stay cheap beside passes over the rows.
_MOST_FEATURES = 300
_MOST_ENTRIES = 3e7


@saveable("solver.proximal_newton")
@dataclass(frozen=True)
class ProximalNewton(SplitSolver):
    """Proximal Newton: each step minimises the local quadratic plus the penalty.

    The quadratic is held as sufficient statistics, so a step costs one pass over the rows
    and iterations whose cost does not grow with them. Rows that are read in parts are read once
    in a step. A line search makes every step a descent. ``max_iter`` bounds the inner iterations
    of all steps together.

    Parameters
    ----------
    compiled : bool, default=False
        Whether :class:`SeparateDescent` takes the steps that it can take. That pays where many
        problems are solved, as in a search.

    References
    ----------
    J. Lee, Y. Sun and M. Saunders, "Proximal Newton-type methods for minimizing composite
    functions", SIAM Journal on Optimization 24 (2014), algorithm 1.
    """

    compiled: bool = False
    few_passes = True

    def refusal(self, datafit: Datafit, penalty: Penalty, split: Split) -> Text:
        """Return why the pair is impossible, or an empty string."""
        rows = datafit.datafit if isinstance(datafit, StackedDatafit) else datafit
        if isinstance(rows, InParts):
            return ""
        if not isinstance(rows, Samples) or not has_local_quadratic(rows):
            return LazyMessage("solver.refusal.no_curvature")
        if datafit.is_quadratic:
            return LazyMessage("solver.refusal.squared")
        d, columns = rows.shape
        if d > _MOST_FEATURES or columns * d * d > _MOST_ENTRIES:
            return LazyMessage("solver.refusal.newton_memory", {"d": d, "columns": columns})
        return ""

    def method(self, objective: Objective, tol: float) -> ProximalMethod:
        """Prepare the minimisation of an objective."""
        return _ProximalNewton(objective, self.compiled)


class _ProximalNewton(ProximalMethod):
    """Steps towards the minimum of the local quadratic plus the penalty."""

    patience = 5
    progress = 0.5

    def __init__(self, objective: Objective, compiled: bool) -> None:
        super().__init__(objective, objective.row_curvature())
        self.compiled = compiled

    def advance(self, now: Iterate, tol: float, left: int) -> Round:
        """Minimise the local quadratic plus the penalty, to a share of what is left to gain."""
        penalty, objective = self.objective.penalty, self.objective
        model = model_at(objective.datafit, now)
        reference = model.origin.value + objective.nonsmooth_value(objective.null)
        remaining = now.relative
        if now.gap is not None and reference > 0:
            remaining = now.gap / reference
        in_parts = isinstance(objective.datafit, InParts)
        wanted = max(_FORCING * remaining, _INNER_FLOOR)
        if in_parts:
            # What is left falls with its square, so that a better step would not save a pass.
            wanted = max(full_accuracy(tol), _FULL * min(remaining, 1.0) ** 2)
        inner = _solver(model, penalty, self.compiled).solve(
            model,
            penalty,
            tol=wanted,
            max_iter=worthwhile(objective.datafit, now, left),
            start=starting_point(now.W, now.at.intercept),
        )
        nonsmooth, step = objective.nonsmooth_value, inner.W - now.W
        change = float(np.sum(now.at.gradient * step)) + nonsmooth(inner.W) - nonsmooth(now.W)
        shift = inner.intercept - now.at.intercept
        found = self.line_search(now, objective.evaluate, step, change, shift)
        if found is None:
            return Round(self._refined(now), max(inner.n_iter, 1))
        return Round(self.judged(*self.objective.fitted(*found)), max(inner.n_iter, 1))

    def _refined(self, now: Iterate) -> Iterate | None:
        """Return the same point with better intercepts, None if they are at their best."""
        datafit = self.objective.datafit
        at = datafit.refined(now.W) if isinstance(datafit, InParts) else None
        return None if at is None else self.judged(now.W, self.objective.evaluate(now.W, None))


def full_accuracy(tol: float) -> float:
    """Return the tolerance of a step that costs a pass, for a tolerance of the answer."""
    return max(_FULL * tol, _INNER_FLOOR)


def worthwhile(datafit: Datafit, now: Iterate, left: int) -> int:
    """Return the most iterations that a step from an iterate is worth."""
    far = not datafit.is_bounded and now.relative > _FAR
    return min(left, _FAR_ITERATIONS) if far else left


def model_at(datafit: Datafit, now: Iterate) -> Datafit:
    """Return the local quadratic of a data term at an iterate."""
    return _model(datafit, now.W, now.at.intercept)


def _model(datafit: Datafit, W: Array, b: Array) -> Datafit:
    """Return the local quadratic of a data term that is made of samples."""
    if isinstance(datafit, StackedDatafit):
        return replace(datafit, datafit=_model(datafit.datafit, datafit.summed(W), b))
    if isinstance(datafit, InParts):
        return datafit.local_quadratic(W, b)
    assert isinstance(datafit, Samples)
    return local_quadratic(datafit, W, b)


def _solver(model: Datafit, penalty: Penalty, compiled: bool) -> Solver:
    """Return the solver of a step: parts of W take extrapolated steps where these are known."""
    if isinstance(model, LocalQuadratic) and not Newton().accepts(model, penalty):
        return Newton()
    if isinstance(model, StackedDatafit | LocalQuadratic):
        return whole_solver(model, penalty)
    rows = SeparateDescent()
    return rows if compiled and not rows.accepts(model, penalty) else AcceleratedGradient()
