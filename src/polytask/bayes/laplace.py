"""Classes, counts, amounts and numbers: the Laplace approximation of the evidence of a prior."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import scipy.linalg
import scipy.linalg.blas
import scipy.linalg.lapack

from polytask.bayes.blocks import Array
from polytask.bayes.choose import Candidate, Trials, choose
from polytask.bayes.label_losses import Dispersions, LabelLosses
from polytask.bayes.laplace_mode import (
    Beliefs,
    Mode,
    NewtonSteps,
    Point,
    posterior_mode,
)
from polytask.bayes.laplace_rows import Labelled, RowBlock, Spread, row_blocks
from polytask.bayes.prior import Full, LowRank, Model, NoVariation, Scalar, Structure
from polytask.bayes.row_kernel import RowKernel
from polytask.bayes.search import Evaluation, Likelihood, inner_slope, maximise
from polytask.bayes.search import Found as Search

# Standard deviations of the prior are themselves half-normal with this one: without it they
# would be infinite where the classes are separable.
WIDEST = 5.0
# With more columns only the diagonal of a derivative is worked out where that will do.
_WIDE = 100
# With so few columns a full covariance costs little more than one of low rank.
_WIDEST_FULL = 3
_FIRST_VARIANCE = 0.3
# Bounds of the log standard deviation of the mean coefficients.
_LOG_DEVIATIONS = (-7.0, 7.0)
# Structures are compared at this many times the tolerance.
ROUGH = 30.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """The log marginal likelihood and what its derivatives are made of."""

    # Shapes: covariance_gradient (q, q), precision_gradient (p,), second_moment (q, q), weights
    # (q,).

    value: float
    covariance_gradient: Array
    precision_gradient: Array | None
    second_moment: Array
    weights: Array
    dispersions: Dispersions


def evidence(mode: Mode, beliefs: Beliefs, *, independent: bool = False) -> Evidence:
    """Return the marginal likelihood at a mode, and its gradient."""
    # The mode moves with the prior, and the curvature with the mode, so the gradient has a term
    # with the third derivative of the loss; it is exact for the approximation.
    losses, blocks = beliefs.losses, mode.blocks
    variances = [posterior.variances(mode.inverse_root) for posterior in blocks]
    pulls = mode.pulls
    if pulls is None:
        parts = zip(blocks, mode.etas, variances, strict=True)
        pulls = [determinant_pull(own.rows, losses, eta, v) for own, eta, v in parts]
    pulled = pulled_point(mode, pulls)
    shift, turned = pulled.mean, pulled.alpha
    derivative = _on_diagonal if independent else _everywhere
    gradient, second, explicit = derivative(mode, beliefs.spread, turned)
    weights = np.sum(mode.point.alpha**2, axis=0) - explicit
    value = -mode.objective - 0.5 * mode.log_determinant
    moved, lines = [], mode.lines
    w = pulled.coefficients(beliefs.spread) if losses.dispersed else shift
    if losses.dispersed and lines is None:
        rows = [posterior.rows for posterior in blocks]
        changes = [own.eta(w[own.tasks]) for own in rows]
        moved = list(zip(rows, mode.etas, variances, changes, strict=True))
    if losses.dispersed and lines is not None:
        dispersions = lines.dispersions(mode.posteriors, mode.inverse_root, losses, w)
    else:
        dispersions = losses.dispersions(moved)
    if beliefs.precision is None:
        return Evidence(value, gradient, None, second, weights, dispersions)
    value += 0.5 * float(np.log(beliefs.precision).sum())
    assert mode.inverse_root is not None
    mean, variance = mode.point.mean, np.sum(mode.inverse_root**2, axis=0)
    by_precision = 0.5 * (1 / beliefs.precision - mean**2 - variance) - shift * mean
    return Evidence(value, gradient, by_precision, second, weights, dispersions)


def determinant_pull(rows: RowBlock, losses: LabelLosses, eta: Array, variances: Array) -> Array:
    """Return how the log determinant pulls on coefficients, for variances of the predictors."""
    # Shapes: eta, variances (B, n), result (B, p).
    return rows.project(-0.5 * losses.third_derivatives(rows, eta) * variances)


def _everywhere(mode: Mode, spread: Spread, turned: Array) -> tuple[Array, Array, Array]:
    """Return the derivative with respect to the covariance, and the second moment."""
    alpha, restricted = mode.point.alpha, np.zeros_like(spread.covariance)
    for posterior in mode.posteriors:
        restricted += posterior.restricted(mode.inverse_root)
    explicit = alpha.T @ alpha - restricted
    implicit = turned.T @ alpha
    second = spread.covariance + spread.times(spread.times(explicit).T) / _active(mode)
    return 0.5 * (explicit + implicit + implicit.T), second, np.diagonal(explicit)


def _on_diagonal(mode: Mode, spread: Spread, turned: Array) -> tuple[Array, Array, Array]:
    """Return the diagonals of :func:`_everywhere` with zeros around them."""
    alpha, own = mode.point.alpha, np.diagonal(spread.covariance)
    explicit = np.sum(alpha**2, axis=0)
    for posterior in mode.posteriors:
        explicit = explicit - posterior.restricted_diagonal(mode.inverse_root)
    second = own + own**2 * explicit / _active(mode)
    gradient = np.diag(0.5 * explicit + np.sum(turned * alpha, axis=0))
    return gradient, np.diag(second), explicit


def _active(mode: Mode) -> int:
    """Return the number of tasks with labels, at least one."""
    return max(sum(len(posterior.tasks) for posterior in mode.posteriors), 1)


def pulled_point(mode: Mode, pulls: list[Array]) -> Point:
    """Return how far pulls (B, p) on the coefficients of each posterior move these and mu."""
    mean, turned = np.zeros_like(mode.point.mean), np.zeros_like(mode.point.alpha)
    pairs = list(zip(mode.posteriors, pulls, strict=True))
    if mode.inverse_root is not None:
        total = sum((own.reduced(pull).sum(axis=0) for own, pull in pairs), start=mean)
        mean = mode.inverse_root.T @ (mode.inverse_root @ total)
    for posterior, pull in pairs:
        turned[posterior.tasks] = posterior.response(pull, mean)
    return Point(mean, turned)


# Standard deviation of a mean that is left to the data: finite, so that separable rows have a
# finite answer, and far wider than any odds ratio per unit.
FLAT_DEVIATION = 100.0


@dataclass(frozen=True, eq=False)
class Found:
    """The evidence of a prior, and where its posterior has its mode."""

    # Shapes: slope (q, q), weights (q,), second (q, q).

    value: float
    slope: Array
    weights: Array
    mean_slope: float
    second: Array
    mean_second: float
    dispersions: Dispersions
    converged: bool
    point: Point
    posterior: tuple[Beliefs, Mode] | None


class Engine(Protocol):
    """What evaluates a prior. Shapes: copies (q,)."""

    copies: Array

    def at(self, factor: Array, mean_variance: float | None, losses: LabelLosses) -> Found:
        """Evaluate a prior."""


def beliefs_of(
    width: int, spread: Spread, mean_variance: float | None, losses: LabelLosses
) -> Beliefs:
    """Return a prior of coefficients of some width whose mean is not known."""
    precision = np.full(width, FLAT_DEVIATION**-2.0)
    if mean_variance is not None:
        precision[1:] = 1.0 / mean_variance
    return Beliefs(spread, precision, np.zeros(width), losses)


def found_at(
    mode: Mode, beliefs: Beliefs, mean_variance: float | None, copies: Array, independent: bool
) -> Found:
    """Return the evidence of a prior at its mode. Shapes: copies (p,)."""
    found = evidence(mode, beliefs, independent=independent)
    moment = mode.point.mean**2
    if mode.inverse_root is not None:
        moment = moment + np.sum(mode.inverse_root**2, axis=0)
    several, mean_slope = copies[1:], 0.0
    if found.precision_gradient is not None and mean_variance is not None:
        mean_slope = -float(found.precision_gradient[1:].sum()) / mean_variance**2
    return Found(
        value=found.value,
        slope=found.covariance_gradient,
        weights=found.weights,
        mean_slope=mean_slope,
        second=found.second_moment,
        mean_second=float(moment[1:] @ several) / max(float(several.sum()), 1.0),
        dispersions=found.dispersions,
        converged=mode.converged,
        point=mode.point,
        posterior=(beliefs, mode),
    )


class WeightEngine:
    """The posterior in the weights, for any covariance. Shapes: copies (p,)."""

    def __init__(
        self,
        labelled: Labelled,
        blocks: list[RowBlock],
        varying: tuple[int, ...],
        copies: Array,
        independent: bool = False,
    ) -> None:
        self._labelled, self._blocks = labelled, blocks
        self._independent = independent
        self._varying = np.array(varying, dtype=np.intp)
        self._every, self.copies = copies, copies[self._varying]
        self.point: Point | None = None

    def at(self, factor: Array, mean_variance: float | None, losses: LabelLosses) -> Found:
        """Evaluate a prior."""
        beliefs, mode = self.posterior(factor, mean_variance, losses)
        return found_at(mode, beliefs, mean_variance, self._every, self._independent)

    def posterior(
        self, factor: Array, mean_variance: float | None, losses: LabelLosses
    ) -> tuple[Beliefs, Mode]:
        """Return a prior and its posterior."""
        spread = Spread.of(factor, self._varying)
        beliefs = beliefs_of(self._labelled.width, spread, mean_variance, losses)
        return beliefs, self._mode(beliefs)

    def _mode(self, beliefs: Beliefs) -> Mode:
        """Return the posterior mode, starting at the last one if that is nearer than zero."""
        zero = Point(beliefs.mean.copy(), np.zeros((self._labelled.n_tasks, len(self._varying))))
        starts = [zero]
        if self.point is not None and self.point.alpha.shape == zero.alpha.shape:
            starts.append(self.point)
        mode = posterior_mode(self._blocks, beliefs, starts)
        self.point = mode.point
        return mode


@dataclass(frozen=True, eq=False)
class _Dual:
    """Linear predictors K a, and the objective there."""

    a: Array
    eta: Array
    value: float


class _KernelSteps(NewtonSteps[_Dual, tuple[Array, Array]]):
    """Newton's method in the space of the rows."""

    def __init__(self, K: Array, labels: Labelled, losses: LabelLosses) -> None:
        self.K, self.labels, self.losses = K, labels, losses

    def at(self, a: Array) -> _Dual:
        """Return a point with its objective."""
        return self._valued(a, self.K @ a)

    def _valued(self, a: Array, eta: Array) -> _Dual:
        return _Dual(a, eta, self.losses.value(self.labels, eta) + 0.5 * float(a @ eta))

    def model(self, here: _Dual) -> tuple[Array, Array]:
        """Return the roots of the curvatures, and the factor of ``I + D^1/2 K D^1/2``."""
        root = np.sqrt(self.losses.curvatures(self.labels, here.eta))
        inner = self.K * root[:, None]
        inner *= root
        inner[np.diag_indices(len(inner))] += 1.0
        # A symmetric matrix in the order of LAPACK, which then needs no copy.
        lower = scipy.linalg.cholesky(inner.T, lower=True, overwrite_a=True, check_finite=False)
        return root, lower

    def target(self, model: tuple[Array, Array], here: _Dual) -> tuple[_Dual, float]:
        """Return the minimum of the quadratic model (Rasmussen and Williams, algorithm 3.1)."""
        # As a change of a, for the level is so wide that a itself loses digits in K a.
        root, lower = model
        pull = self.losses.residuals(self.labels, here.eta)
        gap = pull - here.a
        solved = scipy.linalg.cho_solve((lower, True), root * (self.K @ gap), check_finite=False)
        change = gap - root * solved
        target = self._valued(here.a + change, here.eta + self.K @ change)
        slope = float(here.eta @ (target.a - here.a) - pull @ (target.eta - here.eta))
        return target, slope

    def between(self, here: _Dual, target: _Dual, step: float) -> _Dual:
        """Return the point a share `step` of the way."""
        a = here.a + step * (target.a - here.a)
        return self._valued(a, here.eta + step * (target.eta - here.eta))


class KernelEngine:
    """The posterior in the rows, for coefficients of one variance. Shapes: copies (p,)."""

    # The covariance has two columns: the intercept, and one that stands for all features.

    def __init__(self, labelled: Labelled, copies: Array) -> None:
        self._X = labelled.take(np.arange(len(labelled.y)))
        self._kernel = RowKernel(self._X, labelled.offsets)
        self._offsets = labelled.offsets.tolist()
        self._active = int(np.count_nonzero(labelled.counts))
        self._labels = labelled
        self.copies = np.array([1.0, float(copies[1:].sum())])
        self._last = np.zeros(len(labelled.y))

    def at(self, factor: Array, mean_variance: float | None, losses: LabelLosses) -> Found:
        """Evaluate a prior."""
        level = FLAT_DEVIATION**2
        own = np.sum(factor**2, axis=1)
        variances = np.array([level if mean_variance is None else mean_variance, *own[:2]])
        K = self._kernel.covariance(variances) + level
        steps = _KernelSteps(K, self._labels, losses)
        starts = [steps.at(np.zeros(len(self._last))), steps.at(self._last)]
        here, converged = steps.minimum(min(starts, key=lambda start: start.value))
        self._last = here.a
        return self._found(steps, here, variances, converged)

    def _found(self, steps: _KernelSteps, here: _Dual, variances: Array, converged: bool) -> Found:
        """Return the evidence and its derivatives (ibid., equations 5.20 to 5.24)."""
        root, lower = steps.model(here)
        log_determinant = 2.0 * float(np.log(np.diagonal(lower)).sum())
        R = scipy.linalg.lapack.dpotri(lower, lower=1, overwrite_c=1)[0]
        kept = 1.0 - np.diagonal(R)
        R *= root[:, None]
        R *= root
        losses, curved = steps.losses, root**2
        third = losses.third_derivatives(self._labels, here.eta)
        variance = np.divide(kept, curved, out=np.zeros_like(third), where=curved > 0)
        pull = -0.5 * kept * np.divide(third, curved, out=np.zeros_like(third), where=curved > 0)
        moved = pull - scipy.linalg.blas.dsymv(1.0, R, steps.K @ pull, lower=1)
        traces = self._kernel.traces(R)
        explicit = self._kernel.forms(here.a, here.a) - traces
        slopes = 0.5 * explicit + self._kernel.forms(moved, here.a)
        d = self.copies[1]
        tasks = max(self._active, 1) * np.array([1.0, d])
        return Found(
            value=-here.value - 0.5 * log_determinant,
            slope=np.diag(slopes[1:]),
            weights=traces[1:],
            mean_slope=float(slopes[0]),
            second=np.diag(variances[1:] + variances[1:] ** 2 * explicit[1:] / tasks),
            mean_second=float(variances[0] + variances[0] ** 2 * explicit[0] / d),
            dispersions=losses.dispersions([(self._labels, here.eta, variance, steps.K @ moved)]),
            converged=converged,
            point=self._point(here.a, float(variances[0])),
            posterior=None,
        )

    def _point(self, a: Array, mean_variance: float) -> Point:
        """Return the mode in the columns of the design."""
        tasks = [slice(i, j) for i, j in itertools.pairwise(self._offsets)]
        alpha = np.stack([self._X[own].T @ a[own] for own in tasks])
        mean = alpha.sum(axis=0) * mean_variance
        mean[0] = FLAT_DEVIATION**2 * float(a.sum())
        return Point(mean, alpha)


class LaplaceMarginal(Likelihood[Found]):
    """The evidence of priors of one problem."""

    def __init__(self, problem: Problem, model: Model, engine: Engine | None = None) -> None:
        self.model, self.structure = model, model.structure
        self.problem, self.engine = problem, engine or problem.engine(model)
        self.q, self.n_rows = len(self.engine.copies), problem.count
        self.size = self.structure.n_parameters(self.q)
        self.learns_mean = model.gaussian_mean and len(problem.copies) > 1
        self._losses = problem.losses

    @property
    def active(self) -> int:
        """Number of tasks with labels."""
        return self.problem.active

    def start(self, second: Array | None) -> Array:
        """Return parameters to start from, for a covariance or a first guess."""
        if second is None:
            second = self.problem.first_guess(self.engine.copies)
        features = max(float(self.problem.copies[1:].sum()), 1.0)
        mean = [-0.5 * np.log(features)] if self.learns_mean else []
        return np.concatenate([self.structure.start(second), mean, self._losses.log_dispersions])

    def bounds(self) -> Array:
        """Return lower and upper bounds."""
        own = np.tile([[-np.inf], [np.inf]], (1, self.size))
        mean = np.array(_LOG_DEVIATIONS)[:, None][:, : self.learns_mean]
        return np.concatenate([own, mean, self._losses.bounds], axis=1)

    def units(self, at: Evaluation[Found]) -> Array:
        """Return the units of the search; the standard error of a log dispersion is known."""
        units, dispersed = super().units(at), self._losses.dispersed
        count = np.maximum(at.detail.dispersions.weight[dispersed], 1.0)
        units[len(units) - len(dispersed) :] = np.sqrt(2.0 * max(self.active, 1) / count)
        return units

    def evaluate(self, params: Array) -> Evaluation[Found]:
        """Return minus the log evidence and the log priors of the parameters."""
        own, structure = params[: self.size], self.structure
        factor = structure.factor(own, self.q)
        mean = self.mean_variance(params)
        found = self.engine.at(factor, mean, self.losses(params))
        pull, pull_slope = structure.log_prior(own, self.q)
        wide = 0.5 / WIDEST**2
        slope = wide * np.diag(self.engine.copies) - found.slope
        gradient = structure.pull_back(own, self.q, slope) - pull_slope
        value = wide * float(self.engine.copies @ np.sum(factor**2, axis=1)) - found.value - pull
        if mean is not None:
            value += wide * mean
            gradient = np.append(gradient, 2.0 * mean * (wide - found.mean_slope))
        gradient = np.append(gradient, -found.dispersions.slope)
        inner = np.abs(inner_slope(params, gradient, self.bounds()))
        return Evaluation(
            params=params.copy(),
            value=value,
            gradient=gradient,
            residual=float(inner.max(initial=0.0)) / self.problem.count,
            slope=slope,
            weights=np.maximum(found.weights, 0.0),
            detail=found,
        )

    def expected(self, at: Evaluation[Found]) -> Array:
        """Return the parameters after an EM step."""
        own = self.structure.start(at.detail.second)
        mean = [0.5 * np.log(at.detail.mean_second)] if self.learns_mean else []
        return np.concatenate([own, mean, at.detail.dispersions.expected])

    def mean_variance(self, params: Array) -> float | None:
        """Return the variance of the mean coefficients, None if it is not learned."""
        return float(np.exp(2.0 * params[self.size])) if self.learns_mean else None

    def losses(self, params: Array) -> LabelLosses:
        """Return the losses of the labels, with their dispersions."""
        return self._losses.at(params[self.size + self.learns_mean :])

    def posterior(self, at: Evaluation[Found]) -> tuple[Beliefs, Mode]:
        """Return a prior and its posterior in the weights."""
        if at.detail.posterior is not None:
            return at.detail.posterior
        engine = self.problem.weights(self.model)
        q = len(engine.copies)
        engine.point = Point(at.detail.point.mean, at.detail.point.alpha[:, :q])
        factor = self.structure.factor(at.params[: self.size], q)
        return engine.posterior(factor, self.mean_variance(at.params), self.losses(at.params))


class Problem:
    """The labels of one problem, with what evaluates its priors."""

    # Rows that are `elsewhere` have others in their place, of the same weights and tasks.

    def __init__(
        self, labelled: Labelled, n_features: int | None = None, elsewhere: bool = False
    ) -> None:
        self.labelled, self.elsewhere = labelled, elsewhere
        self.count = max(float(labelled.weight.sum()), 1.0)
        self.active = int(np.count_nonzero(labelled.counts))
        self.copies = np.ones(labelled.width)
        if n_features is not None:
            self.copies[-1] = n_features - (labelled.width - 2)
        # Half of what the labels vary by is a guess at what is noise.
        known = labelled.losses.mean_losses(labelled, np.zeros(len(labelled.y)))
        self.losses = labelled.losses.estimated(0.5 * known)
        self._blocks: list[RowBlock] | None = None
        self._weights: dict[tuple[object, ...], WeightEngine] = {}
        self._kernel: KernelEngine | None = None

    def engine(self, model: Model) -> Engine:
        """Return what evaluates a prior: in rows if they are fewer and may be, else in weights."""
        labelled = self.labelled
        alike = isinstance(model.structure, NoVariation | Scalar)
        every = len(model.varying) == labelled.width
        few = 0 < len(labelled.y) < labelled.width and not self.elsewhere
        if not (alike and every and few):
            return self.weights(model)
        if self._kernel is None:
            self._kernel = KernelEngine(labelled, self.copies)
        return self._kernel

    def weights(self, model: Model) -> WeightEngine:
        """Return what evaluates a prior in weights; it remembers where the last search ended."""
        labelled, structure = self.labelled, model.structure
        # A prior without variation knows one column, whatever might vary.
        varying = model.varying[:1] if isinstance(structure, NoVariation) else model.varying
        # What a wide independent prior leaves unknown, a richer one cannot start from.
        alone = structure.independent and len(varying) > _WIDE
        if self._blocks is None:
            self._blocks = row_blocks(labelled)
        key = (varying, alone)
        if key not in self._weights:
            self._weights[key] = WeightEngine(
                labelled, self._blocks, varying, self.copies, independent=alone
            )
        return self._weights[key]

    def first_guess(self, copies: Array) -> Array:
        """Return a covariance to start from. Shapes: copies (q,), result (q, q)."""
        share = 1.0 / max(float(copies[1:].sum()), 1.0)
        return np.diag(np.concatenate([[1.0], np.full(len(copies) - 1, share)])) * _FIRST_VARIANCE


@dataclass(frozen=True, eq=False)
class LearnedLaplace:
    """The prior of largest evidence, and the posterior under it. Shapes: second (k, k)."""

    model: Model
    params: Array
    beliefs: Beliefs
    mode: Mode
    log_evidence: float
    second: Array
    residual: float
    converged: bool
    n_iter: int
    seconds: float

    @property
    def covariance(self) -> Array:
        """Covariance of the deviations of the varying columns, shape (q, q)."""
        q = len(self.model.varying)
        own = self.beliefs.spread.covariance
        out = np.zeros((q, q))
        out[: len(own), : len(own)] = own
        return out


# A covariance, or what was learned before, to go on from; None: a first guess.
Start = Array | LearnedLaplace | None
# Learns a prior of one structure for every problem, each from a start of its own.
Learner = Callable[
    [Sequence[Problem], Model, tuple[float, int], Sequence[Start]], list[LearnedLaplace]
]


def learn_laplace(
    problems: Sequence[Problem], model: Model, limits: tuple[float, int], starts: Sequence[Start]
) -> list[LearnedLaplace]:
    """Learn priors of problems whose rows are at hand."""
    learned = []
    for problem, start in zip(problems, starts, strict=True):
        marginal, before = LaplaceMarginal(problem, model), 0
        if isinstance(start, LearnedLaplace):
            before, first, expect = start.n_iter, start.params, False
        else:
            first, expect = marginal.start(start), True
        found = maximise(marginal, first, *limits, expect=expect)
        learned.append(learned_at(marginal, found, before))
    return learned


def learned_at(marginal: LaplaceMarginal, found: Search[Found], before: int = 0) -> LearnedLaplace:
    """Return the prior at which a search ended, after so many evaluations before it."""
    last = found.at.detail
    beliefs, mode = marginal.posterior(found.at)
    return LearnedLaplace(
        model=marginal.model,
        params=found.at.params,
        beliefs=beliefs,
        mode=mode,
        log_evidence=last.value,
        second=last.second,
        residual=found.at.residual,
        converged=found.converged and last.converged,
        n_iter=found.n_iter + before,
        seconds=found.seconds,
    )


def learn_laplace_priors(
    labelled: Sequence[Labelled],
    structure: Structure | None,
    varying: tuple[int, ...],
    gaussian_mean: bool,
    limits: tuple[float, int],
    n_features: int | None = None,
    learner: Learner | None = None,
) -> tuple[list[LearnedLaplace], tuple[Candidate, ...]]:
    """Learn a prior for every problem, all of one structure; a `learner` knows where rows are."""
    problems = [Problem(own, n_features, learner is not None) for own in labelled]
    model = Model(structure or NoVariation(), varying, gaussian_mean=gaussian_mean)
    learn = learn_laplace if learner is None else learner
    trials = _LaplaceTrials(problems, model, limits, learn)
    if structure is None:
        return choose(trials)
    learned = learn(problems, model, limits, [None] * len(problems))
    return learned, (trials.candidate(structure, learned),)


class _LaplaceTrials(Trials[list[LearnedLaplace]]):
    """All problems have priors of the same structure."""

    def __init__(
        self,
        problems: list[Problem],
        model: Model,
        limits: tuple[float, int],
        learner: Learner,
    ) -> None:
        self.problems, self.model, self.limits = problems, model, limits
        self.learner = learner
        self.q = len(model.varying)
        self.tasks = max((problem.active for problem in problems), default=0)
        self.n_labels = min((problem.count for problem in problems), default=1.0)

    def learn(
        self, structure: Structure, start: list[LearnedLaplace] | None
    ) -> list[LearnedLaplace]:
        """Learn the priors of one structure; what was zero before is opened."""
        model, (tol, max_iter) = replace(self.model, structure=structure), self.limits
        starts: list[Start] = []
        for k, problem in enumerate(self.problems):
            second = None
            if start is not None:
                copies = LaplaceMarginal(problem, model).engine.copies
                second, before = 0.1 * problem.first_guess(copies), start[k].second
                second[: len(before), : len(before)] += before
            starts.append(second)
        return self.learner(self.problems, model, (ROUGH * tol, max_iter), starts)

    def refined(self, best: list[LearnedLaplace]) -> list[LearnedLaplace]:
        """Go on to the user's tolerance."""
        return self.learner(self.problems, best[0].model, self.limits, best)

    def value(self, learned: list[LearnedLaplace]) -> float:
        """Return the log evidence of all problems."""
        return sum(found.log_evidence for found in learned)

    def tests(self, learned: list[LearnedLaplace]) -> list[tuple[Array, Array, Array]]:
        """Return slope, information and covariance of every problem."""
        found = []
        for own in learned:
            at = evidence(own.mode, own.beliefs, independent=self.q > _WIDE)
            known = sum(posterior.pair_information() for posterior in own.mode.posteriors)
            found.append(
                (at.covariance_gradient, np.asarray(known), own.beliefs.spread.covariance)
            )
        return found

    def is_always_tried(self, structure: Structure) -> bool:
        """Say so of low rank, and of what few columns have in its place."""
        # The curvature of classes at a diagonal prior promises too little.
        few = isinstance(structure, Full) and structure.shrinkage == 0 and self.q <= _WIDEST_FULL
        return few or (isinstance(structure, LowRank) and self.q <= _WIDE)

    def price(self, structure: Structure) -> float:
        """Return what the parameters cost: half the log of the labels for each."""
        # Labels, not tasks, because with few tasks a direction of the covariance can stand in for
        # the mean coefficients, of which every label tells something.
        return sum(structure.price(self.q, problem.count) for problem in self.problems)

    def n_parameters(self, structure: Structure) -> int:
        """Return the parameters of all problems."""
        return len(self.problems) * structure.n_parameters(self.q)
