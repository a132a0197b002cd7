"""Learn the prior of every one of several groupings by their common marginal likelihood."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import scipy.linalg
import scipy.special

from polytask._registry import saveable
from polytask.bayes import crossed_left
from polytask.bayes.blocks import Array
from polytask.bayes.choose import Candidate, is_informed
from polytask.bayes.crossed import CrossedSums, MixedEquations
from polytask.bayes.prior import Diagonal, Full, NoVariation, Scalar, Structure
from polytask.bayes.search import (
    Evaluation,
    Found,
    Likelihood,
    inner_slope,
    maximise,
    relative_slope,
)

# The noise is never below this share of the mean square of the targets.
_NOISE_FLOOR = 1e-10
# Deviations that are a fifth as large as the noise are where a search begins.
_FIRST_VARIANCE = 0.05
# No parameter is less informed than this share of the best one; and no step is longer than two
# steps by the information alone.
_LEAST_CURVATURE, _LEAST_BEND = 1e-10, 0.5
# Where the gradient is estimated the search ends after so many evaluations.
_NEWTON_STEPS, _HALVINGS = 40, 8
# Candidates are compared at this tolerance; what is chosen is then learned at the user's.
_ROUGH = 1e-3
# At a variance of zero the information says nothing of its error.
_LEAST_SHARE = 1e-6
# With more columns no correlations are tried.
_FEW_COLUMNS = 6


@saveable("bayes.structure.by_grouping")
@dataclass(frozen=True)
class ByGrouping(Structure):
    """Independent covariances, one for each of several groupings, all of the same columns."""

    structures: tuple[Structure, ...]

    @property
    def is_plain(self) -> bool:
        """Whether intercepts alone vary."""
        return all(isinstance(own, NoVariation) for own in self.structures)

    def each(self, params: Array, q: int) -> list[tuple[Structure, Array]]:
        """Return every structure with its parameters; q is the sum over the groupings."""
        own = q // len(self.structures)
        ends = np.cumsum([structure.n_parameters(own) for structure in self.structures])
        return list(zip(self.structures, np.split(params, ends[:-1]), strict=True))

    def n_parameters(self, q: int) -> int:
        """Return the sum over the groupings."""
        own = q // len(self.structures)
        return sum(structure.n_parameters(own) for structure in self.structures)

    def start(self, second: Array) -> Array:
        """Return the parameters nearest to the diagonal blocks."""
        blocks = _diagonal_blocks(second, len(self.structures))
        pairs = zip(self.structures, blocks, strict=True)
        return np.concatenate([structure.start(block) for structure, block in pairs])

    def factor(self, params: Array, q: int) -> Array:
        """Return the factors as diagonal blocks."""
        own = q // len(self.structures)
        return np.asarray(
            scipy.linalg.block_diag(*[s.factor(part, own) for s, part in self.each(params, q)])
        )

    def pull_back(self, params: Array, q: int, gradient: Array) -> Array:
        """Return the gradient with respect to the parameters of every grouping."""
        blocks = _diagonal_blocks(gradient, len(self.structures))
        pairs = zip(self.each(params, q), blocks, strict=True)
        return np.concatenate([s.pull_back(part, len(block), block) for (s, part), block in pairs])

    def curvature(self, weights: Array) -> Array:
        """Return the weights of the parameters of every grouping."""
        pairs = zip(self.structures, np.split(weights, len(self.structures)), strict=True)
        return np.concatenate([structure.curvature(own) for structure, own in pairs])

    def log_prior(self, params: Array, q: int) -> tuple[float, Array]:
        """Return the sum over the groupings."""
        own = q // len(self.structures)
        found = [structure.log_prior(part, own) for structure, part in self.each(params, q)]
        return sum(value for value, _ in found), np.concatenate([slope for _, slope in found])

    def price(self, q: int, n: float) -> float:
        """Return the sum over the groupings."""
        return sum(s.price(q // len(self.structures), n) for s in self.structures)


def _diagonal_blocks(values: Array, n: int) -> list[Array]:
    q = len(values) // n
    return [values[g * q : (g + 1) * q, g * q : (g + 1) * q] for g in range(n)]


@dataclass(frozen=True, eq=False)
class CrossedDetail:
    """What the equations say at a point. Shapes: effects, scores (K,), beta (p,)."""

    log_likelihood: float
    noise: float
    effects: Array
    beta: Array
    scores: Array
    equations: MixedEquations


class CrossedMarginal(Likelihood[CrossedDetail]):
    """The marginal likelihood of rows of several groupings, with the noise profiled out."""

    structure: ByGrouping

    def __init__(self, sums: CrossedSums, structure: ByGrouping, restricted: bool) -> None:
        self.sums, self.structure, self.restricted = sums, structure, restricted
        self.q, self.n_rows = len(sums.levels) * sums.q, sums.count
        seen = [sums.gram.diagonal()[part][:: sums.q] > 0 for part in sums.slices]
        self.counts = [int(np.count_nonzero(own)) for own in seen]

    @property
    def active(self) -> int:
        """One: slopes and weights are divided by the number of levels of their grouping."""
        return 1

    @property
    def degrees(self) -> float:
        """Rows, less the mean coefficients where these are integrated out."""
        return self.n_rows - (len(self.sums.fixed) if self.restricted else 0)

    def evaluate(self, params: Array) -> Evaluation[CrossedDetail]:
        """Return the likelihood and its gradient."""
        sums, q = self.sums, self.sums.q
        each = self.structure.each(params, self.q)
        equations = MixedEquations(sums, [s.covariance(own, q) for s, own in each])
        effects, beta = equations.solve(sums.cross[:, None], sums.mean_cross[:, None])
        effects, beta = effects[:, 0], beta[:, 0]
        misfit = max(sums.square - float(sums.cross @ effects + sums.mean_cross @ beta), 0.0)
        floor = _NOISE_FLOOR * sums.square + 1e-20 * sums.count
        noise = (misfit + floor) / self.degrees
        scores = sums.cross - sums.gram @ effects - sums.mixed @ beta
        traces = equations.traces(self.restricted)
        slopes = []
        for part, trace in zip(sums.slices, traces, strict=True):
            own = scores[part].reshape(-1, q)
            slopes.append(0.5 * (trace - own.T @ own / noise))
        log_determinant = equations.log_determinant
        if self.restricted:
            log_determinant += equations.mean_log_determinant
        log_likelihood = -0.5 * (
            self.degrees * (np.log(2.0 * np.pi * noise) + 1.0) + log_determinant
        )
        log_prior, prior_slope = self.structure.log_prior(params, self.q)
        slope = np.asarray(scipy.linalg.block_diag(*slopes))
        gradient = self.structure.pull_back(params, self.q, slope) - prior_slope
        weights = [np.diagonal(t) / max(n, 1) for t, n in zip(traces, self.counts, strict=True)]
        return Evaluation(
            params=params.copy(),
            value=-log_likelihood - log_prior,
            gradient=gradient,
            residual=max(self._residual(params, gradient), equations.left.residual),
            slope=slope,
            weights=np.maximum(np.concatenate(weights), 0.0),
            detail=CrossedDetail(log_likelihood, noise, effects, beta, scores, equations),
        )

    def _residual(self, params: Array, gradient: Array) -> float:
        """Return the largest derivative for a relative change of a parameter, per level."""
        inner = inner_slope(params, gradient, self.bounds())
        pairs = zip(
            self.structure.each(params, self.q),
            self.structure.each(inner, self.q),
            self.counts,
            strict=True,
        )
        found = [
            np.abs(relative_slope(own, slope, len(own))).max(initial=0.0) / (2.0 * max(n, 1))
            for (_, own), (_, slope), n in pairs
        ]
        return float(max(found))

    def error_of(self, at: Evaluation[CrossedDetail]) -> float:
        """Return the standard error of the value, zero where it is exact."""
        return 0.5 * at.detail.equations.left.error

    def bounds(self) -> Array:
        """Return lower and upper bounds: the only level of a grouping does not deviate."""
        each = self.structure.each(np.zeros(self.structure.n_parameters(self.q)), self.q)
        limit = [np.full(len(own), np.inf if n > 1 else 0.0) for (_, own), n in
                 zip(each, self.counts, strict=True)]  # fmt: skip
        return np.array([-np.concatenate(limit), np.concatenate(limit)])

    def expected(self, at: Evaluation[CrossedDetail]) -> Array:
        """Return the parameters after a Newton step with the average information."""
        # Gilmour, Thompson and Cullis (1995). Parameters are factors of covariances, which bends
        # the likelihood too: by no more than doubles a step.
        free = np.flatnonzero(np.diff(self.bounds(), axis=0)[0] > 0)
        if not len(free):
            return at.params
        bend = np.column_stack(
            [self.structure.pull_back(row, self.q, at.slope) for row in np.eye(len(at.params))]
        )[np.ix_(free, free)]
        information = self.information(at)[np.ix_(free, free)]
        params = at.params.copy()
        values, vectors = np.linalg.eigh(np.where(np.isfinite(information), information, 0.0))
        if not values[-1] > 0:
            # A target without any noise leaves no digits to tell the information.
            return params
        whitened = vectors / np.sqrt(np.maximum(values, _LEAST_CURVATURE * values[-1]))
        turned = whitened.T @ (0.5 * (bend + bend.T)) @ whitened
        values, vectors = np.linalg.eigh(turned + np.eye(len(free)))
        slope = vectors.T @ (whitened.T @ at.gradient[free])
        params[free] -= whitened @ (vectors @ (slope / np.maximum(values, _LEAST_BEND)))
        return params

    def information(self, at: Evaluation[CrossedDetail]) -> Array:
        """Return the average information of all pairs of parameters."""
        detail, each = at.detail, self.structure.each(at.params, self.q)
        found, slopes = average_information(each, detail.equations, detail.scores)
        along = np.multiply.outer(slopes, slopes) / (detail.noise * self.degrees)
        return np.asarray(0.5 * (found - along) / detail.noise)


def average_information(
    each: Sequence[tuple[Structure, Array]], equations: MixedEquations, scores: Array
) -> tuple[Array, Array]:
    """Return y' P dV P dV P y for all pairs of parameters, and y' P dV P y."""
    # Shapes: scores (K,), what the rows say of effects.
    sums, q = equations.sums, equations.sums.q
    columns = []
    for (structure, own), part in zip(each, sums.slices, strict=True):
        of_levels, factor = scores[part].reshape(-1, q), structure.factor(own, q)
        for row in np.eye(len(own)):
            change = structure.factor(row, q) @ factor.T
            column = np.zeros(len(sums.cross))
            column[part] = (of_levels @ (change + change.T)).ravel()
            columns.append(column)
    C = np.column_stack(columns)
    random, fixed = np.asarray(sums.gram @ C), sums.mixed.T @ C
    effects, beta = equations.solve(random, fixed)
    return C.T @ random - random.T @ effects - fixed.T @ beta, C.T @ scores


@dataclass(frozen=True, eq=False)
class CrossedLearned:
    """The maximum. Shapes: covariances (q, q) each, effects (K,), mean (p,)."""

    sums: CrossedSums
    structure: ByGrouping
    params: Array
    covariances: tuple[Array, ...]
    noise: float
    effects: Array
    mean: Array
    log_likelihood: float
    value: float
    error: float
    residual: float
    converged: bool
    n_iter: int
    seconds: float


def learn_crossed(
    sums: CrossedSums,
    structure: ByGrouping,
    *,
    restricted: bool = True,
    tol: float = 1e-4,
    max_iter: int = 500,
    start: Array | None = None,
) -> CrossedLearned:
    """Learn covariances of all groupings from a start, or from deviations that are small."""
    marginal = CrossedMarginal(sums, structure, restricted)
    if start is None:
        first = np.tile(_FIRST_VARIANCE / sums.moments, len(sums.levels))
        start = structure.start(np.diag(first))
    iterative = sums.q * sum(sums.levels[g] for g in sums.others) > crossed_left.LARGEST_DENSE
    found = (_newton if iterative else maximise)(marginal, start, tol, max_iter)
    at, detail = found.at, found.at.detail
    covariances = tuple(
        detail.noise * own.covariance(part, sums.q)
        for own, part in structure.each(at.params, marginal.q)
    )
    return CrossedLearned(
        sums=sums,
        structure=structure,
        params=at.params,
        covariances=covariances,
        noise=detail.noise,
        effects=detail.effects,
        mean=detail.beta,
        log_likelihood=detail.log_likelihood,
        value=-at.value,
        error=marginal.error_of(at),
        residual=at.residual,
        converged=found.converged,
        n_iter=found.n_iter,
        seconds=found.seconds,
    )


def variance_shares(found: CrossedLearned, restricted: bool) -> Array:
    """Return each grouping's share of the variance around the mean line, with 95% intervals."""
    # Shapes: result (groupings, 3).
    sums = found.sums
    marginal = CrossedMarginal(sums, found.structure, restricted)
    information = marginal.information(marginal.evaluate(found.params))
    moments = sums.blocks.sum(axis=0) / sums.count
    return shares_of(found.structure.each(found.params, marginal.q), moments, 1.0, information)


def shares_of(
    each: Sequence[tuple[Structure, Array]], moments: Array, noise: float, information: Array
) -> Array:
    """Return shares in a variance beside noise, with 95% intervals, shape (groupings, 3)."""
    # Delta method on the logit. Shapes: moments (q, q), information (parameters, parameters).
    q = len(moments)
    sizes = np.array([np.sum(s.covariance(own, q) * moments) for s, own in each])
    slopes = scipy.linalg.block_diag(*[s.pull_back(own, q, moments) for s, own in each])
    total = noise + sizes.sum()
    shares = sizes / total
    slopes = (slopes - shares[:, None] * slopes.sum(axis=0)) / total
    free = np.flatnonzero(np.diagonal(information) > 0)
    covariance = np.linalg.pinv(information[np.ix_(free, free)], hermitian=True)
    slopes = slopes[:, free]
    variance = np.einsum("gi,ij,gj->g", slopes, covariance, slopes)
    inside = (shares > _LEAST_SHARE) & (shares < 1.0)
    odds = np.where(inside, shares, 0.5)
    width = scipy.special.ndtri(0.975) * np.sqrt(np.maximum(variance, 0.0)) / (odds * (1.0 - odds))
    ends = scipy.special.expit(
        scipy.special.logit(odds)[:, None] + np.multiply.outer(width, [-1, 1])
    )
    return np.column_stack([shares, np.where(inside[:, None], ends, np.nan)])


def _newton(
    marginal: CrossedMarginal, start: Array, tol: float, max_iter: int
) -> Found[CrossedDetail]:
    """Look for a zero of a gradient that was estimated, which is not that of the values."""
    started = time.perf_counter()
    at, n_iter = marginal.evaluate(np.clip(start, *marginal.bounds())), 1
    while at.residual > tol and n_iter < min(max_iter, _NEWTON_STEPS):
        step, further = marginal.expected(at) - at.params, None
        for _ in range(_HALVINGS):
            further, n_iter = marginal.evaluate(at.params + step), n_iter + 1
            if further.value <= at.value + marginal.error_of(at):
                break
            step *= 0.5
        at = at if further is None else further
    return Found(at, at.residual <= tol, n_iter, time.perf_counter() - started)


def choose_crossed(
    sums: CrossedSums, *, restricted: bool = True, tol: float = 1e-4, max_iter: int = 500
) -> tuple[CrossedLearned, tuple[Candidate, ...]]:
    """Learn the prior of the structure with the highest evidence less its price."""
    intercepts = sums.of_columns(np.zeros(1, dtype=np.intp))

    def learn(structure: ByGrouping, start: CrossedLearned | None) -> CrossedLearned:
        return learn_crossed(
            intercepts if structure.is_plain else sums,
            structure,
            restricted=restricted,
            tol=_ROUGH if start is None else tol,
            max_iter=max_iter,
            start=None if start is None else start.params,
        )

    return choose_by_grouping(learn, sums.levels, sums.q, sums.count)


class LearnedGroupings(Protocol):
    """What was learned of several groupings."""

    @property
    def structure(self) -> ByGrouping:
        """The structure that it has."""

    @property
    def value(self) -> float:
        """Log evidence, with the log prior of the parameters."""


Learned = TypeVar("Learned", bound=LearnedGroupings)


def choose_by_grouping(
    learn: Callable[[ByGrouping, Learned | None], Learned],
    levels: Sequence[int],
    q: int,
    n_labels: float,
    n_problems: int = 1,
) -> tuple[Learned, tuple[Candidate, ...]]:
    """Choose a structure: `learn` is rough, and goes on where it is given what it found."""
    # The same family for every grouping; then one after the other is tried without slopes.
    learned: list[tuple[Learned, Candidate]] = []

    def attempt(structures: Sequence[Structure]) -> float:
        found = ByGrouping(tuple(structures))
        result = learn(found, None)
        size = len(levels) * (1 if found.is_plain else q)
        price, n = n_problems * found.price(size, n_labels), n_problems * found.n_parameters(size)
        learned.append((result, Candidate(found, result.value, n, price, max(levels))))
        return learned[-1][1].score

    attempt([NoVariation()] * len(levels))
    for family in _families(levels, q, n_labels):
        attempt([family] * len(levels))
    best = max(learned, key=lambda pair: pair[1].score)
    for g in range(0 if best[0].structure.is_plain else len(levels)):
        structures = list(best[0].structure.structures)
        structures[g] = NoVariation()
        if attempt(structures) > best[1].score:
            best = learned[-1]
    return learn(best[0].structure, best[0]), tuple(candidate for _, candidate in learned)


def _families(levels: Sequence[int], q: int, n_labels: float) -> list[Structure]:
    """Return the structures with slopes that rows and levels are enough for."""
    if q == 1 or q * (sum(levels) - max(levels)) > crossed_left.LARGEST_DENSE:
        return []
    families: list[Structure] = [Scalar()]
    families += [Diagonal()] * (q > 2) + [Full()] * (q <= _FEW_COLUMNS)

    def informed(structure: Structure) -> bool:
        return all(is_informed(structure, q, n, n_labels) for n in levels)

    return [family for family in families if informed(family)]
