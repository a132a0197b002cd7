"""Classes and counts of several groupings: the Laplace approximation of their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from polytask.bayes.blocks import Array
from polytask.bayes.choose import Candidate
from polytask.bayes.crossed import (
    CrossedRows,
    CrossedSums,
    Index,
    MixedEquations,
    effects_of,
    roots_of,
)
from polytask.bayes.crossed_prior import (
    ByGrouping,
    average_information,
    choose_by_grouping,
    shares_of,
)
from polytask.bayes.label_losses import LabelLosses
from polytask.bayes.laplace import FLAT_DEVIATION, ROUGH, Found, LaplaceMarginal, Problem
from polytask.bayes.laplace_mode import NewtonSteps, Point
from polytask.bayes.laplace_rows import Labelled
from polytask.bayes.prior import Model
from polytask.bayes.search import maximise


@dataclass(frozen=True, eq=False)
class GroupedLabels:
    """The labels of rows of several groupings, the first of which is that of the tasks."""

    labelled: Labelled
    rows: CrossedRows

    def of_columns(self, columns: Index) -> GroupedLabels:
        """Return the labels with effects on some of the q columns."""
        return replace(self, rows=self.rows.of_columns(columns))


@dataclass(frozen=True, eq=False)
class _Here:
    """Where Newton stands, with the objective. Shapes: unit (K,), beta (p,), eta (m,)."""

    unit: Array
    beta: Array
    eta: Array
    value: float


@dataclass(frozen=True, eq=False)
class CrossedMode:
    """The posterior mode, and the equations of the normal model that has its curvatures."""

    # Shapes: precision (p,), that of the prior of the mean coefficients.

    here: _Here
    equations: MixedEquations
    precision: Array
    converged: bool

    @property
    def sums(self) -> CrossedSums:
        """The sums of the rows with their curvatures as weights."""
        return self.equations.sums

    @property
    def effects(self) -> Array:
        """The effects of all levels, shape (K,)."""
        return self.equations.effects_of(self.here.unit[:, None])[:, 0]

    def scores(self, rows: CrossedRows, labels: Labelled, losses: LabelLosses) -> Array:
        """Return what the rows say of the effects, shape (K,): C times it are the effects."""
        return rows.project(losses.residuals(labels, self.here.eta))[0]


class _CrossedSteps(NewtonSteps[_Here, tuple[Array, MixedEquations]]):
    """Newton's method for effects b = root u of unit covariance, and for the mean."""

    # Shapes: precision (p,), moments (q,).

    def __init__(
        self,
        given: GroupedLabels,
        covariances: Sequence[Array],
        precision: Array,
        losses: LabelLosses,
        moments: Array,
    ) -> None:
        self.rows, self.labels, self.losses = given.rows, given.labelled, losses
        self.covariances, self.precision, self.moments = covariances, precision, moments
        self.roots = roots_of(covariances, moments)

    def at(self, unit: Array, beta: Array) -> _Here:
        """Return a point with its objective."""
        effects = effects_of(unit[:, None], self.roots, self.rows.levels)[:, 0]
        return self._valued(unit, beta, self.rows.predictors(effects, beta))

    def _valued(self, unit: Array, beta: Array, eta: Array) -> _Here:
        prior = 0.5 * float(unit @ unit + self.precision @ beta**2)
        return _Here(unit, beta, eta, self.losses.value(self.labels, eta) + prior)

    def model(self, here: _Here) -> tuple[Array, MixedEquations]:
        """Return the curvatures of the labels, and the equations of rows of these weights."""
        weight = self.losses.curvatures(self.labels, here.eta)
        right = weight * here.eta + self.losses.residuals(self.labels, here.eta)
        sums = self.rows.sums(weight, right)
        return weight, MixedEquations(sums, self.covariances, self.precision, self.moments)

    def target(self, model: tuple[Array, MixedEquations], here: _Here) -> tuple[_Here, float]:
        """Return the minimum of the model, and the derivative of the objective towards it."""
        weight, equations = model
        pull = self.losses.residuals(self.labels, here.eta)
        random, fixed = self.rows.project(weight * here.eta + pull)
        unit, beta = equations.solve_for_unit(random[:, None], fixed[:, None])
        target = self.at(unit[:, 0], beta[:, 0])
        slope = float(here.unit @ (target.unit - here.unit) - pull @ (target.eta - here.eta))
        slope += float((self.precision * here.beta) @ (target.beta - here.beta))
        return target, slope

    def between(self, here: _Here, target: _Here, step: float) -> _Here:
        """Return the point a share `step` of the way."""
        unit = here.unit + step * (target.unit - here.unit)
        beta = here.beta + step * (target.beta - here.beta)
        return self._valued(unit, beta, here.eta + step * (target.eta - here.eta))


class CrossedEngine:
    """The evidence of a prior of every grouping. Shapes: copies (q * groupings,)."""

    def __init__(self, given: GroupedLabels) -> None:
        self.given, rows, weight = given, given.rows, given.labelled.weight
        self._q = len(rows.varying)
        self.copies = np.ones(self._q * len(rows.levels))
        mean = weight @ rows.Z[:, rows.varying] ** 2 / max(float(weight.sum()), 1.0)
        self._moments = np.where(mean > 0, mean, 1.0)
        seen = [own[(weight > 0) & (own >= 0)] for own in rows.codes.T]
        self.counts = [max(len(np.unique(own)), 1) for own in seen]
        # Where Newton begins under another prior, unless zero is better.
        self._last: tuple[Array, Array] | None = None

    def mode(self, factor: Array, mean_variance: float | None, losses: LabelLosses) -> CrossedMode:
        """Return the posterior mode under a prior."""
        q, rows = self._q, self.given.rows
        parts = [factor[g * q : (g + 1) * q] for g in range(len(self.counts))]
        covariances = [part @ part.T for part in parts]
        precision = mean_precision(rows.Z.shape[1], mean_variance)
        steps = _CrossedSteps(self.given, covariances, precision, losses, self._moments)
        starts = [(np.zeros(q * sum(rows.levels)), np.zeros(len(precision)))]
        starts += [] if self._last is None else [self._last]
        first = min((steps.at(*start) for start in starts), key=lambda here: here.value)
        here, converged = steps.minimum(first)
        self._last = here.unit, here.beta
        return CrossedMode(here, steps.model(here)[1], precision, converged)

    def at(self, factor: Array, mean_variance: float | None, losses: LabelLosses) -> Found:
        """Evaluate a prior."""
        # As :func:`polytask.bayes.laplace.evidence`, the effects of groupings solved for together.
        mode, rows, labels = (
            self.mode(factor, mean_variance, losses), self.given.rows, self.given.labelled
        )  # fmt: skip
        equations, sums, here = mode.equations, mode.sums, mode.here
        variances = equations.variances(rows.Z, rows.varying, rows.codes)
        pull = -0.5 * losses.third_derivatives(labels, here.eta) * variances
        random, fixed = rows.project(pull)
        moved, shift = (own[:, 0] for own in equations.solve(random[:, None], fixed[:, None]))
        turned = random - sums.gram @ moved - sums.mixed @ shift
        alpha = mode.scores(rows, labels, losses)
        slopes, weights, seconds = [], [], []
        for g, trace in enumerate(equations.traces(restricted=True)):
            part, C = sums.slices[g], equations.covariances[g]
            own, other = alpha[part].reshape(-1, self._q), turned[part].reshape(-1, self._q)
            explicit, implicit = own.T @ own - trace, other.T @ own
            slopes.append(0.5 * (explicit + implicit + implicit.T))
            # In units of the tasks, as the search has it.
            weights.append(np.diagonal(trace) * self.counts[0] / self.counts[g])
            seconds.append(C + C @ explicit @ C / self.counts[g])
        precision, beta = mode.precision, here.beta
        spread = np.diagonal(equations.mean_covariance)
        by_precision = 0.5 * (1.0 / precision - beta**2 - spread) - shift * beta
        level = 0.5 * float(np.log(precision).sum()) - here.value
        logs = equations.log_determinant + equations.mean_log_determinant
        change = rows.predictors(moved, shift)
        slope = 0.0
        if mean_variance is not None:
            slope = -float(by_precision[1:].sum()) / mean_variance**2
        return Found(
            value=level - 0.5 * logs,
            slope=np.asarray(scipy.linalg.block_diag(*slopes)),
            weights=np.concatenate(weights),
            mean_slope=slope,
            second=np.asarray(scipy.linalg.block_diag(*seconds)),
            mean_second=float((beta**2 + spread)[1:].sum()) / max(len(beta) - 1, 1),
            dispersions=losses.dispersions([(labels, here.eta, variances, change)]),
            converged=mode.converged,
            point=Point(beta, alpha.reshape(-1, self._q)),
            posterior=None,
        )


def mean_precision(width: int, mean_variance: float | None) -> Array:
    """Return the precisions of the prior of the mean coefficients, shape (width,)."""
    precision = np.full(width, FLAT_DEVIATION**-2.0)
    if mean_variance is not None:
        precision[1:] = 1.0 / mean_variance
    return precision


@dataclass(frozen=True, eq=False)
class CrossedLaplaceLearned:
    """The prior of largest evidence, and the posterior under it."""

    params: Array
    mode: CrossedMode
    losses: LabelLosses
    value: float
    residual: float
    converged: bool
    n_iter: int
    seconds: float


@dataclass(frozen=True, eq=False)
class LaplaceLearned:
    """The priors of several problems, such as those of classes, all of one structure."""

    structure: ByGrouping
    each: tuple[CrossedLaplaceLearned, ...]

    @property
    def value(self) -> float:
        """Log evidence of all problems."""
        return sum(own.value for own in self.each)


@dataclass(frozen=True, eq=False)
class LaplaceSearch:
    """How priors of every grouping are learned: whether mu has one, tolerance, evaluations."""

    gaussian_mean: bool
    tol: float
    max_iter: int

    def learn(
        self,
        given: Sequence[GroupedLabels],
        structure: ByGrouping,
        start: LaplaceLearned | None = None,
    ) -> LaplaceLearned:
        """Learn covariances of all groupings from a start, or a first guess."""
        starts = [None] * len(given) if start is None else [own.params for own in start.each]
        pairs = zip(given, starts, strict=True)
        each = tuple(self._learned(own, structure, first) for own, first in pairs)
        return LaplaceLearned(structure, each)

    def _learned(
        self, given: GroupedLabels, structure: ByGrouping, start: Array | None
    ) -> CrossedLaplaceLearned:
        problem, engine = Problem(given.labelled), CrossedEngine(given)
        varying = tuple(given.rows.varying.tolist())
        model = Model(structure, varying, gaussian_mean=self.gaussian_mean)
        marginal = LaplaceMarginal(problem, model, engine)
        first, expect = start, start is None
        if first is None:
            own = problem.first_guess(np.ones(len(varying)))
            every = np.kron(np.eye(len(given.rows.levels)), own)
            first = marginal.start(np.asarray(every, dtype=float))
        found = maximise(marginal, first, self.tol, self.max_iter, expect=expect)
        params = found.at.params
        factor = structure.factor(params[: marginal.size], marginal.q)
        losses = marginal.losses(params)
        mode = engine.mode(factor, marginal.mean_variance(params), losses)
        return CrossedLaplaceLearned(
            params=params,
            mode=mode,
            losses=losses,
            value=found.at.detail.value,
            residual=found.at.residual,
            converged=found.converged and mode.converged,
            n_iter=found.n_iter,
            seconds=found.seconds,
        )

    def choose(
        self, given: Sequence[GroupedLabels]
    ) -> tuple[LaplaceLearned, tuple[Candidate, ...]]:
        """Learn the priors of the structure with the highest evidence less its price."""
        intercepts = [own.of_columns(np.zeros(1, dtype=np.intp)) for own in given]
        rough, rows = replace(self, tol=ROUGH * self.tol), given[0].rows

        def learn(structure: ByGrouping, before: LaplaceLearned | None) -> LaplaceLearned:
            own = intercepts if structure.is_plain else given
            return (rough if before is None else self).learn(own, structure, before)

        n_labels = min(float(own.labelled.weight.sum()) for own in given)
        q, levels = len(rows.varying), rows.levels
        return choose_by_grouping(learn, levels, q, n_labels, len(given))


def latent_shares(
    found: CrossedLaplaceLearned, structure: ByGrouping, given: GroupedLabels, noise: float
) -> Array:
    """Return the shares of groupings in the variance of linear predictors and their noise."""
    # Shapes: result (groupings, 3), with 95% intervals.
    rows, labels = given.rows, given.labelled
    weight, columns = labels.weight, rows.Z[:, rows.varying]
    moments = (columns * weight[:, None]).T @ columns / float(weight.sum())
    q = len(rows.varying) * len(rows.levels)
    each = structure.each(found.params[: structure.n_parameters(q)], q)
    scores = found.mode.scores(rows, labels, found.losses)
    information = 0.5 * average_information(each, found.mode.equations, scores)[0]
    return shares_of(each, moments, noise, information)
