"""Judges that need no folds: information criteria and the evidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from polytask._estimator.weights import task_scales
from polytask.datafits import SquaredStatistics
from polytask.exceptions import IncompatibleError
from polytask.linear.problem import Problem, Settings
from polytask.messages import LazyMessage
from polytask.penalties import Nonconvex, Penalty, Quadratic, RowSeparable, decompose
from polytask.selection.criteria import CRITERIA, Criterion, Fit, Noise, log_likelihood
from polytask.selection.deviance import Deviances
from polytask.selection.evidence import MarginalLikelihood, evidence
from polytask.selection.judging import Judged, Path, PathFitter
from polytask.selection.rules import ScoredChoice
from polytask.solvers import Solution
from polytask.solvers.degrees import Effort, column_degrees, intercept_degrees, with_moments

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Beyond so many coefficients as many probes as make the standard error no more than 2.5 per cent,
# the same along a path. What is less accurate misses directions of little curvature, and so finds
# that the weakest of penalties costs next to nothing.
_ACCURACY, _STEPS = 1e-8, 500
_EFFORT = Effort(2500, (6, 64), spread=0.025, cycles=20, accuracy=1e-6, dense_smooth=400)


@dataclass(frozen=True, eq=False)
class CriterionData:
    """What a judge without folds knows of the data. Shapes: groups (n_tasks,)."""

    whole: Callable[[Settings], Problem]
    deviances: Deviances
    groups: Index
    fitter: PathFitter


class WholeJudge(ABC):
    """A judge that fits all rows; a score is minus the criterion."""

    @abstractmethod
    def refuse(self, penalties: Sequence[Penalty]) -> None:
        """Refuse penalties for which the criterion is not known."""

    @abstractmethod
    def __call__(self, paths: Sequence[Path]) -> list[Judged]:
        """Score every strength of every path."""

    @abstractmethod
    def table(self, found: Sequence[ScoredChoice]) -> dict[str, Array]:
        """Return what is known of the candidates, by the names of columns."""

    @abstractmethod
    def noise(self, best: ScoredChoice, problem: Problem) -> Array:
        """Return the variance of the noise of every task, in the scaling of the targets."""


@dataclass(eq=False)
class InformationJudge(WholeJudge):
    """Judges by deviance and degrees of freedom."""

    criterion: Criterion
    task: CriterionData
    _noise: Noise | None = field(default=None, init=False)

    def refuse(self, penalties: Sequence[Penalty]) -> None:
        """Refuse penalties that are not convex: their fits jump as the targets change."""
        for penalty in penalties:
            if isinstance(penalty, Nonconvex):
                fields = {"penalty": repr(penalty)}
                raise IncompatibleError(LazyMessage("selection.refusal.not_convex", fields))

    def __call__(self, paths: Sequence[Path]) -> list[Judged]:
        """Score every strength of every path."""
        fits = [self._fits(path) for path in paths]
        if self._noise is None:
            # The first paths are those of all penalties on their whole grids.
            self._noise = Noise.of(self.task.groups, [fit for part in fits for fit in part])
        noise = self._noise
        return [
            Judged(
                np.array([[-self.criterion(fit, noise)] for fit in part]),
                np.array([np.count_nonzero(fit.nonzero) for fit in part], dtype=float),
                part,
            )
            for part in fits
        ]

    def _fits(self, path: Path) -> list[Fit]:
        problem = self.task.whole(path.settings)
        measure = self.task.deviances.of(problem)
        counts, slices = problem.counts, problem.layout.slices
        data, owner = self.task.deviances.data, self.task.deviances.owner
        scale = task_scales(path.settings.task_weight, counts, data.tasks, owner)
        # What a label of each task weighs in the objective.
        label = np.divide(
            scale, counts, out=np.full_like(counts, np.inf), where=counts * scale > 0
        )

        def by_task(columns: Array) -> Array:
            return np.array([columns[part].sum() for part in slices])

        def fit(penalty: Penalty, solution: Solution) -> Fit:
            W = solution.W
            deviance, nonzero = measure(W, solution.intercept), W != 0
            degrees = _degrees(problem, penalty, W)
            levels = intercept_degrees(problem.datafit, W)
            refitted = None
            # A support of everything is one among others where single rows may be zero.
            nonsmooth = decompose(penalty).proximable
            selects = isinstance(nonsmooth, RowSeparable) and not bool(
                nonsmooth.prox(np.full_like(W, np.finfo(float).tiny), 1.0).all()
            )
            if selects or not nonzero.all():
                gained = by_task(_gained(problem, W)) / label
                less = np.maximum(deviance - gained, 0.0)
                parameters = by_task(nonzero.sum(axis=0) + levels)
                refitted = Fit(less, parameters, counts, nonzero)
            return Fit(deviance, by_task(degrees + levels), counts, nonzero, refitted)

        return [fit(*found) for found in self.task.fitter.fits(problem, path)]

    def table(self, found: Sequence[ScoredChoice]) -> dict[str, Array]:
        """Return degrees of freedom, log-likelihood and every criterion."""
        noise = self._noise
        if noise is None:
            return {}
        fits = [c.detail for c in found]
        columns: dict[str, Criterion] = {
            "df": lambda fit, _: float(fit.degrees.sum()),
            "log_likelihood": log_likelihood,
            **CRITERIA,
        }
        return {name: np.array([f(fit, noise) for fit in fits]) for name, f in columns.items()}

    def noise(self, best: ScoredChoice, problem: Problem) -> Array:
        """Return the variances by which the candidates were compared."""
        return np.ones(len(self.task.groups)) if self._noise is None else self._noise.variance


@dataclass(eq=False)
class EvidenceJudge(WholeJudge):
    """Judges by the marginal likelihood of the normal prior that a quadratic penalty is."""

    task: CriterionData
    _free: int | None = field(default=None, init=False)

    def refuse(self, penalties: Sequence[Penalty]) -> None:
        """Refuse penalties that are no normal prior."""
        for penalty in penalties:
            if not isinstance(penalty, Quadratic):
                fields = {"penalty": repr(penalty)}
                raise IncompatibleError(LazyMessage("selection.refusal.no_prior", fields))

    def __call__(self, paths: Sequence[Path]) -> list[Judged]:
        """Score every strength of every path."""
        judged = []
        # The logarithm of the minimum is multiplied by half the number of labels.
        fitter = replace(self.task.fitter, looser=1.0)
        for path in paths:
            details, sizes = [], []
            problem = self.task.whole(path.settings)
            datafit = _moments(problem)
            for penalty, solution in fitter.fits(problem, path):
                found = evidence(datafit, penalty, solution.objective, problem.counts)
                self._refuse_other(found)
                details.append(found)
                sizes.append(float(np.count_nonzero(solution.W)))
            scores = np.array([[2.0 * found.log] for found in details])
            judged.append(Judged(scores, np.array(sizes), details))
        return judged

    def _refuse_other(self, found: MarginalLikelihood) -> None:
        if self._free is None:
            self._free = found.free
        if found.free != self._free:
            fields = {"free": self._free, "free2": found.free}
            raise IncompatibleError(LazyMessage("selection.refusal.evidence_unlike", fields))

    def table(self, found: Sequence[ScoredChoice]) -> dict[str, Array]:
        """Return the logarithm of the evidence."""
        log = np.array([c.detail.log for c in found])
        return {"log_evidence": log, "evidence": -2.0 * log}

    def noise(self, best: ScoredChoice, problem: Problem) -> Array:
        """Return the variance that goes with the weights of the tasks in the objective."""
        counts = problem.counts
        scale = _moments(problem).statistics.scale
        share = np.divide(counts, scale, out=np.ones_like(counts), where=scale > 0)
        return np.asarray(best.detail.noise * share)


def _degrees(problem: Problem, penalty: Penalty, W: Array) -> Array:
    try:
        return column_degrees(problem.datafit, penalty, W, _EFFORT)
    except IncompatibleError:
        fields = {"penalty": repr(penalty)}
        raise IncompatibleError(LazyMessage("selection.refusal.degrees_unknown", fields)) from None


def _gained(problem: Problem, W: Array) -> Array:
    """Return twice what the data term loses when the support has no penalty, by column."""
    # One step of Newton's method: all of it for the squared loss.
    datafit = problem.datafit
    gradient, support = datafit.evaluate(W).gradient, np.flatnonzero(W)
    hessian = with_moments(datafit, W).evaluate(W).hessian

    def product(v: Array) -> Array:
        V = np.zeros(W.shape)
        V.flat[support] = v.ravel()
        return np.asarray(hessian(V).ravel()[support])

    size = len(support)
    if not size:
        return np.zeros(W.shape[1])
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    pushed = gradient.ravel()[support]
    step, _ = cg(operator, pushed, rtol=_ACCURACY, maxiter=_STEPS)
    gained = np.zeros(W.shape[1])
    np.add.at(gained, support % W.shape[1], pushed * step)
    return gained


def _moments(problem: Problem) -> SquaredStatistics:
    datafit = problem.datafit
    if datafit.is_quadratic:
        datafit = with_moments(datafit, np.zeros(datafit.shape))
    if not isinstance(datafit, SquaredStatistics):
        raise IncompatibleError(LazyMessage("selection.refusal.evidence_squared"))
    return datafit


JUDGES: dict[str, Callable[[CriterionData], WholeJudge]] = {
    **{name: partial(InformationJudge, criterion) for name, criterion in CRITERIA.items()},
    "evidence": EvidenceJudge,
}
