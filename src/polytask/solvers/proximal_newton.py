"""Newton's method around a solver for the squared loss, for any penalty that it accepts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polytask._registry import saveable
from polytask.datafits import Datafit, Evaluation, Samples
from polytask.datafits.base import Array
from polytask.datafits.samples import has_local_quadratic, local_quadratic
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty, decompose
from polytask.solvers.base import Certificate, Solution, Solver, Status
from polytask.solvers.gradient import AcceleratedGradient, ExtrapolatedGradient
from polytask.solvers.objective import Objective, StackedDatafit
from polytask.solvers.separate_descent import SeparateDescent

_HALVINGS = 30
_PATIENCE = 5
_ARMIJO = 1e-4
# The inner problem is solved to this share of the outer certificate.
_FORCING = 0.1
_INNER_FLOOR = 1e-13
# Of an exponential the quadratic says little far from the optimum, here in units of the
# certificate: it is not worth more iterations than this.
_FAR, _FAR_ITERATIONS = 0.1, 1000
# A Gram matrix per task must stay cheap beside passes over the rows.
_MOST_FEATURES = 300
_MOST_ENTRIES = 3e7


@saveable("solver.proximal_newton")
@dataclass(frozen=True)
class ProximalNewton(Solver):
    """Proximal Newton: each step minimises the local quadratic plus the penalty.

    The quadratic is held as sufficient statistics, so a step costs one pass over the rows
    and iterations whose cost does not grow with them. A line search makes every step a
    descent. ``max_iter`` bounds the inner iterations of all steps together.

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

    def accepts(self, datafit: Datafit, penalty: Penalty) -> str:
        """Return why the pair is impossible, or an empty string."""
        rows = _on_rows(datafit)
        if rows is None or not has_local_quadratic(rows):
            return (
                "ProximalNewton needs curved losses, one prediction per row and task, samples. "
                "Use AcceleratedGradient, or solver='auto'."
            )
        if datafit.is_quadratic:
            return "ProximalNewton is for losses that are not squared. Use AcceleratedGradient."
        d, columns = rows.shape
        if d > _MOST_FEATURES or columns * d * d > _MOST_ENTRIES:
            return (
                f"ProximalNewton keeps a {d} x {d} matrix for each of {columns} columns, which "
                "is too much here. Use AcceleratedGradient, or solver='auto'."
            )
        try:
            decompose(penalty)
        except IncompatibleError as error:
            return str(error)
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
            return _Run(datafit, objective, tol, max_iter, self.compiled).loop(start)


def _on_rows(datafit: Datafit) -> Samples | None:
    """Return the samples that a data term is made of, None without samples."""
    inner = datafit.datafit if isinstance(datafit, StackedDatafit) else datafit
    return inner if isinstance(inner, Samples) else None


def _model(datafit: Datafit, W: Array, b: Array) -> Datafit:
    """Return the local quadratic of a data term that is made of samples."""
    match datafit:
        case StackedDatafit(datafit=Samples() as rows):
            return replace(datafit, datafit=local_quadratic(rows, datafit.summed(W), b))
        case Samples():
            return local_quadratic(datafit, W, b)
    raise IncompatibleError("ProximalNewton needs samples.")


def _solver(model: Datafit, penalty: Penalty, compiled: bool) -> Solver:
    """Return the solver of a step: parts of W take extrapolated steps where these are known."""
    whole, rows = ExtrapolatedGradient(), SeparateDescent()
    if isinstance(model, StackedDatafit) and not whole.accepts(model, penalty):
        return whole
    return rows if compiled and not rows.accepts(model, penalty) else AcceleratedGradient()


@dataclass(frozen=True, eq=False)
class _Answer:
    """An iterate with its evaluation, its value and its certificate."""

    W: Array
    at: Evaluation
    value: float
    certificate: Certificate


class _Run:
    """One minimisation."""

    def __init__(
        self, datafit: Datafit, objective: Objective, tol: float, max_iter: int, compiled: bool
    ) -> None:
        self.datafit = datafit
        self.compiled = compiled
        self.penalty = objective.penalty
        self.objective = objective
        self.tol = tol
        self.max_iter = max_iter
        self.inner_iterations = 0
        self.zero = objective.null
        curved = self.objective.curved
        extra = 0.0 if curved is None else curved.curvature()
        bound = datafit.known_lipschitz(np.ones(datafit.shape[0])) + extra
        self.bound = max(bound, float(np.finfo(float).tiny))
        first = self._residual(self.zero, self.objective.zero.gradient)
        self.first = self.objective.first_residual(first, self.bound)

    def _residual(self, W: Array, gradient: Array) -> float:
        moved = W - gradient / self.bound
        rough = self.objective.rough
        moved = moved if rough is None else rough.prox(moved, 1.0 / self.bound)
        return float(np.linalg.norm(W - moved)) * self.bound

    def _certificate(self, W: Array, at: Evaluation) -> Certificate:
        residual = self._residual(W, at.gradient)
        return self.objective.certificate(W, at, residual, self.first)

    def loop(self, start: Solution | None) -> Solution:
        """Take proximal Newton steps until the certificate is below the tolerance."""
        W = self.objective.first(start)
        at = self.objective.smooth(W, None if start is None else start.intercept)
        W, at = self.objective.fitted(W, at)
        best = _Answer(W, at, self.objective.value(W, at), self._certificate(W, at))
        current, steps, idle = best, 0, 0
        # A step may need no inner iteration.
        while not self._done(best) and self._spent(steps) < self.max_iter and idle < _PATIENCE:
            moved = self._step(current)
            steps += 1
            if moved is None:
                break
            current = moved
            lower = moved.value < best.value - 1e-14 * self.objective.reference
            nearer = moved.certificate.relative < best.certificate.relative
            halved = moved.certificate.relative < 0.5 * best.certificate.relative
            idle = 0 if lower or halved else idle + 1
            best = moved if lower or nearer else best
        status = Status.MAX_ITER if self._spent(steps) >= self.max_iter else Status.STALLED
        return self.objective.finish(
            best.W,
            best.at,
            best.certificate,
            Status.CONVERGED if self._done(best) else status,
            self._spent(steps),
        )

    def _spent(self, steps: int) -> int:
        return max(self.inner_iterations, steps)

    def _done(self, answer: _Answer) -> bool:
        return answer.certificate.relative <= self.tol

    def _step(self, now: _Answer) -> _Answer | None:
        target = self._model_minimum(now.W, now.at, now.certificate)
        found = self._line_search(now, target - now.W)
        if found is None:
            return None
        W, at = self.objective.fitted(*found)
        return _Answer(W, at, self.objective.value(W, at), self._certificate(W, at))

    def _model_minimum(self, W: Array, at: Evaluation, certificate: Certificate) -> Array:
        """Minimise the local quadratic plus the penalty, to a share of what is left to gain."""
        model = _model(self.datafit, W, at.intercept)
        reference = model.origin.value + self.objective.rough_value(self.zero)
        left = certificate.relative
        if certificate.gap is not None and reference > 0:
            left = certificate.gap / reference
        begin = Solution(W, at.intercept, at.value, certificate, Status.MAX_ITER, 0, 0.0)
        inner = _solver(model, self.penalty, self.compiled).solve(
            model,
            self.penalty,
            tol=max(_FORCING * left, _INNER_FLOOR),
            max_iter=self._inner_limit(certificate),
            start=begin,
        )
        self.inner_iterations += inner.n_iter
        return inner.W

    def _inner_limit(self, certificate: Certificate) -> int:
        left = max(self.max_iter - self.inner_iterations, 1)
        far = not self.datafit.is_bounded and certificate.relative > _FAR
        return min(left, _FAR_ITERATIONS) if far else left

    def _line_search(self, now: _Answer, step: Array) -> tuple[Array, Evaluation] | None:
        rough = self.objective.rough_value
        change = float(np.sum(now.at.gradient * step)) + rough(now.W + step) - rough(now.W)
        # Near the optimum values no longer tell steps apart, but gradients still do.
        rounding = 1e-14 * max(abs(now.value), self.objective.reference)
        if not step.any() or not change <= rounding:
            return None
        length = 1.0
        for _ in range(_HALVINGS):
            trial = now.W + length * step
            new = self.objective.smooth(trial, now.at.intercept)
            if new.value + rough(trial) <= now.value + _ARMIJO * length * change + rounding:
                return trial, new
            length /= 2
        return None
