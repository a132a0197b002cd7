"""Numbers with correlated normal noise: the marginal likelihood, some labels missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Chosen
from polytask.bayes.choose import Candidate, Trials, choose
from polytask.bayes.correlated_rows import JointReduced, JointRows, reduced
from polytask.bayes.normal import estimated_mean, ridge_of
from polytask.bayes.prior import Diagonal, Model, NoVariation, Structure
from polytask.bayes.search import (
    LARGEST_LOG,
    Evaluation,
    Likelihood,
    expected_second,
    inner_slope,
    maximise,
    relative_slope,
)

# The pull is never weaker or stronger than so many rows.
_WEAKEST, _STRONGEST = 2.0, 1e4
# With fewer degrees of freedom the residuals of separate fits say little about correlation.
_ENOUGH = 10.0
_GRID = 60
_RANK = 1e-10
# Candidates are compared at this tolerance; what is chosen is then learned at the user's. The
# noise of separate regressions may stop a little above, far below what chance leaves of a
# deviation.
_ROUGH = 1e-3
_ROUGH_NOISE = 3e-3
# Of coefficients that nothing is said about: their variance over that of the targets.
_FLAT = 1e3
# Variances of coefficients start at this share of the noise's or above.
_LIFT = 0.05
_ZERO = 1e-12


@saveable("bayes.noise_pull")
@dataclass(frozen=True, eq=False)
class NoisePull:
    """What the covariance of the noise is pulled to. Shapes: variances (T,)."""

    rows: float
    variances: Array


@dataclass(frozen=True, eq=False)
class Point:
    """Where the likelihood is evaluated. Shapes: structure (n_parameters,), noise (T, T)."""

    structure: Array
    noise: Array
    log_mean: float | None


@dataclass(frozen=True)
class Search:
    """How far a search goes, and what it holds."""

    tol: float = 1e-4
    max_iter: int = 500
    without: bool = False
    structure_held: bool = False
    noise_held: bool = False


@dataclass(frozen=True, eq=False)
class JointDetail:
    """Where the likelihood was evaluated, its slopes, and the mean coefficients there."""

    # Shapes: data_noise_slope, noise_slope (T, T), beta (p,), beta_covariance (p, p).

    point: Point
    log_likelihood: float
    data_noise_slope: Array
    noise_slope: Array
    mean_slope: float
    beta: Array
    beta_covariance: Array


class JointMarginal(Likelihood[JointDetail]):
    """The marginal likelihood of rows of several tasks."""

    # The noise is ``C F F' C'`` with C its factor where the search began and F a lower triangle,
    # the diagonal of which is searched by its logs: F moves by about 1 / sqrt(rows).

    def __init__(
        self,
        rows: JointRows,
        model: Model,
        pull: NoisePull,
        start: Point | None = None,
        held: Search | None = None,
    ) -> None:
        self.rows, self.model, self.pull = rows, model, pull
        self.structure, self.held = model.structure, held or Search()
        self.p, self.q = rows.X.shape[1], len(model.varying)
        everything = model.varying == tuple(range(self.p))
        self.varying: Chosen = (
            slice(None) if everything else np.array(model.varying, dtype=np.intp)
        )
        labels = rows.labelled.sum(axis=1)
        self.n_labels = float(rows.count @ labels)
        self.n_rows = float(rows.count.sum())
        self._unit = float(np.mean(pull.variances))
        gram = (rows.X.T * labels[rows.pattern]) @ rows.X
        self._ridge = ridge_of(gram) / self._unit
        size, T = self.structure.n_parameters(self.q), rows.n_tasks
        self._start = np.zeros(size) if start is None else start.structure
        noise = np.diag(pull.variances) if start is None else start.noise
        self._C = np.linalg.cholesky(noise)
        self._lower = np.tril_indices(T)
        self._noise = slice(size, size + len(self._lower[0]))

    @property
    def active(self) -> int:
        """Number of tasks."""
        return self.rows.n_tasks

    def covariance(self, point: Point) -> Array:
        """Return Omega, shape (q, q)."""
        return self.model.structure.covariance(point.structure, self.q)

    def reduce(self, point: Point) -> JointReduced:
        """Integrate out the coefficients that vary."""
        L = self.model.structure.factor(point.structure, self.q)
        if L.shape[1] > self.q:
            upper: Array = np.linalg.qr(L.T).R
            L = upper.T
        return reduced(self.rows, L, self.varying, point.noise)

    def params(self, point: Point) -> Array:
        """Return the parameters of a point."""
        inner = np.linalg.solve(self._C, np.linalg.solve(self._C, point.noise).T)
        F = np.linalg.cholesky(0.5 * (inner + inner.T))
        F[np.diag_indices_from(F)] = np.log(np.diagonal(F))
        tail = [] if point.log_mean is None else [point.log_mean]
        return np.concatenate([point.structure, F[self._lower], tail])

    def evaluate(self, params: Array) -> Evaluation[JointDetail]:
        """Return the likelihood and its gradient."""
        root = self._C @ self._factor(params)
        log_mean = float(params[-1]) if self.model.gaussian_mean else None
        return self._at(Point(params[: self._noise.start], root @ root.T, log_mean), params)

    def at(self, point: Point) -> Evaluation[JointDetail]:
        """Return the likelihood and its gradient."""
        return self._at(point, self.params(point))

    def _at(self, point: Point, params: Array) -> Evaluation[JointDetail]:
        work = self.reduce(point)
        totals = work.totals()
        added, size = self._ridge.copy(), 0.0
        shrunk, inside = self.model.shrunk(self.p), self.model.integrated(self.p)
        if point.log_mean is not None:
            size = float(np.count_nonzero(shrunk))
            added[shrunk] += np.exp(-point.log_mean) / self._unit
        mean = estimated_mean(totals.gram, totals.cross, added, inside)
        slopes = work.slopes(mean.beta, mean.root)
        log_likelihood = -0.5 * (
            (self.n_labels - float(np.count_nonzero(inside & ~shrunk))) * np.log(2.0 * np.pi)
            + totals.log_determinant
            + mean.log_determinant
            + size * ((point.log_mean or 0.0) + np.log(self._unit))
            + slopes.misfit
            + float(added @ mean.beta**2)
        )
        mean_slope = 0.0
        if point.log_mean is not None:
            precision = float(np.exp(-point.log_mean)) / self._unit
            mean_slope = 0.5 * (size - mean.moment(shrunk) * precision)
        log_prior, prior_slope = self.structure.log_prior(point.structure, self.q)
        pulled, pull_slope = self._pulled(point.noise)
        own = self.structure.pull_back(point.structure, self.q, slopes.covariance) - prior_slope
        gradient = np.zeros(len(params))
        gradient[: self._noise.start] = own
        gradient[self._noise.stop :] = mean_slope
        noise_slope = slopes.noise + pull_slope
        gradient[self._noise] = self._noise_gradient(noise_slope, params)
        return Evaluation(
            params=params.copy(),
            value=-log_likelihood - log_prior + pulled,
            gradient=gradient,
            residual=self._residual(point, params, gradient, noise_slope),
            slope=slopes.covariance,
            weights=slopes.weights,
            detail=JointDetail(
                point=point,
                log_likelihood=log_likelihood,
                data_noise_slope=slopes.noise,
                noise_slope=noise_slope,
                mean_slope=mean_slope,
                beta=mean.beta,
                beta_covariance=mean.covariance,
            ),
        )

    def _factor(self, params: Array) -> Array:
        F = np.zeros_like(self._C)
        F[self._lower] = params[self._noise]
        F[np.diag_indices_from(F)] = np.exp(np.diagonal(F))
        return F

    def _noise_gradient(self, slope: Array, params: Array) -> Array:
        F = self._factor(params)
        turned = 2.0 * self._C.T @ slope @ self._C @ F
        turned[np.diag_indices_from(turned)] *= np.diagonal(F)
        return np.asarray(turned[self._lower])

    def _residual(self, point: Point, params: Array, gradient: Array, noise_slope: Array) -> float:
        """Return the largest derivative for relative changes, per task or per row."""
        inner = inner_slope(params, gradient, self.bounds())
        inner[self._noise] = 0.0
        inner = relative_slope(params, inner, self._noise.start)
        worst = float(np.abs(inner).max(initial=0.0)) / (2.0 * self.active)
        if self.held.noise_held:
            return worst
        root = np.linalg.cholesky(point.noise)
        slope = float(np.max(np.abs(np.tril(root.T @ noise_slope @ root))))
        return max(worst, slope / (self.n_rows + self.pull.rows))

    def bounds(self) -> Array:
        """Return lower and upper bounds."""
        bounds = np.tile([[-np.inf], [np.inf]], (1, self._noise.stop + self.model.gaussian_mean))
        if self.held.without or self.held.structure_held:
            bounds[:, : self._noise.start] = self._start
        if self.held.noise_held:
            bounds[:, self._noise] = 0.0
        bounds[:, self._noise.stop :] = [[-LARGEST_LOG], [LARGEST_LOG]]
        return bounds

    def units(self, at: Evaluation[JointDetail]) -> Array:
        """Return the units in which parameters are searched."""
        units = super().units(at)
        units[self._noise] = np.sqrt(self.active / (self.n_rows + self.pull.rows))
        return units

    def centred(self, at: Evaluation[JointDetail]) -> Evaluation[JointDetail]:
        """Return the same point with its own noise as the origin."""
        if self.held.noise_held:
            return at
        self._C = np.linalg.cholesky(at.detail.point.noise)
        params, gradient = at.params.copy(), at.gradient.copy()
        params[self._noise] = 0.0
        gradient[self._noise] = self._noise_gradient(at.detail.noise_slope, params)
        return replace(at, params=params, gradient=gradient)

    def expected(self, at: Evaluation[JointDetail]) -> Array:
        """Take an EM step: never downhill, but for a structure without an exact M step."""
        # The coefficients, the mean that is integrated out and missing labels are what is not
        # observed; their second moments follow from the slopes at the point.
        second = expected_second(self.covariance(at.detail.point), at.slope, self.active)
        values, vectors = np.linalg.eigh(second)
        second = (vectors * np.maximum(values, 0.0)) @ vectors.T
        errors = self.errors(at)
        errors[np.diag_indices_from(errors)] += self.pull.rows * self.pull.variances
        noise = errors / (self.n_rows + self.pull.rows)
        log_mean = at.detail.point.log_mean
        if log_mean is not None:
            size = max(int(np.count_nonzero(self.model.shrunk(self.p))), 1)
            share = 1.0 - 2.0 * at.detail.mean_slope / size
            log_mean += float(np.log(max(share, np.finfo(float).tiny)))
        return self.params(Point(self.structure.start(second), noise, log_mean))

    def errors(self, at: Evaluation[JointDetail]) -> Array:
        """Return the expected products of all rows' noise, missing labels included, (T, T)."""
        Sigma = at.detail.point.noise
        moments = self.n_rows * Sigma - 2.0 * Sigma @ at.detail.data_noise_slope @ Sigma
        return np.asarray(0.5 * (moments + moments.T))

    def information(self, point: Point) -> Array:
        """Return the expected information about the entries of Omega, each tied to its mirror."""
        return self.reduce(point).information()

    def _pulled(self, noise: Array) -> tuple[float, Array]:
        """Return minus the log density of the noise, and its derivative."""
        rows, target = self.pull.rows, self.pull.variances
        inverse = np.linalg.inv(noise)
        inverse = 0.5 * (inverse + inverse.T)
        log_determinant = float(np.linalg.slogdet(noise)[1] - np.log(target).sum())
        trace = float(np.diagonal(inverse) @ target)
        slope = inverse - (inverse * target) @ inverse
        return 0.5 * rows * (log_determinant + trace - len(target)), 0.5 * rows * slope


def noise_pull(rows: JointRows, variances: Array) -> NoisePull | None:
    """Return the pull of the noise's covariance to a diagonal, as separate fits see it."""
    # Shapes: variances (T,).
    # The residuals of separate least squares have a covariance with a Wishart distribution, its
    # mean an inverse Wishart distribution around a diagonal. Integrated out, what is left says
    # how many rows the diagonal is worth; the part that only concerns the variances is divided
    # out. Tasks with uncorrelated noise give many rows, tasks with strong correlation few.
    if rows.n_tasks < 2:
        return NoisePull(_WEAKEST, variances)
    correlation, freedom = residual_correlation(rows)
    if freedom < _ENOUGH:
        return None
    return NoisePull(best_rows(correlation, freedom), variances)


def first_pull(rows: JointRows, variances: Array) -> NoisePull:
    """Return a pull to begin with where separate fits say nothing: as one row for each task."""
    return NoisePull(max(float(rows.n_tasks), _WEAKEST), variances)


def refined_pull(marginal: JointMarginal, point: Point) -> NoisePull:
    """Return the pull as the residuals of a joint fit see it."""
    rows = marginal.rows
    errors = marginal.errors(marginal.at(point))
    root = np.sqrt(np.diagonal(errors))
    correlation = errors / np.multiply.outer(root, root)
    own = marginal.reduce(point).own_covariances()
    Z = rows.X[:, marginal.varying]
    seen = rows.labelled[rows.pattern]
    spread = np.stack([np.sum((Z @ C) * Z, axis=1) for C in own], axis=1)
    used = np.sum(spread * seen, axis=0) / np.diagonal(point.noise)
    freedom = _freedom(rows, used)
    if freedom <= 0.0:
        return marginal.pull
    strength = best_rows(correlation, freedom)
    return NoisePull(strength, marginal.pull.variances)


def residual_correlation(rows: JointRows) -> tuple[Array, float]:
    """Return the correlations of residuals of separate fits, and their degrees of freedom."""
    # Shapes: correlation (T, T).
    seen = rows.labelled[rows.pattern]
    residual = np.zeros_like(rows.Y)
    rank = np.zeros(rows.n_tasks)
    for t in range(rows.n_tasks):
        part = seen[:, t]
        W, _, rank[t], _ = scipy.linalg.lstsq(rows.X[part], rows.Y[part, t], cond=_RANK)
        residual[part, t] = rows.Y[part, t] - rows.X[part] @ W
    # Squares of the first task's residuals over the rows that it has in common with the second.
    squares = (residual**2).T @ seen
    scale = np.sqrt(squares * squares.T)
    products = residual.T @ residual
    r = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    np.fill_diagonal(r, 1.0)
    return _nearest(r), _freedom(rows, rank)


def _freedom(rows: JointRows, used: Array) -> float:
    """Return the mean degrees of freedom of pairs of tasks that have common rows."""
    # Where only a part of a task's rows are in common, so are those that were used up.
    common = rows.together
    share = used / np.maximum(np.diagonal(common), np.finfo(float).tiny)
    freedom = np.maximum(common * (1.0 - 0.5 * (share[:, None] + share)), 0.0)
    pairs = (common > 0) & ~np.eye(rows.n_tasks, dtype=bool)
    return float(freedom[pairs].mean()) if pairs.any() else 0.0


def best_rows(correlation: Array, freedom: float) -> float:
    """Return how many rows the diagonal is worth. Shapes: correlation (T, T)."""
    values = np.maximum(np.linalg.eigvalsh(correlation), 0.0)
    logs = np.linspace(np.log(_WEAKEST), np.log(_STRONGEST), _GRID)
    found = np.array([_log_ratio(np.exp(log), values, freedom) for log in logs])
    k = int(np.argmax(found))
    if k in (0, _GRID - 1):
        return float(np.exp(logs[k]))
    refined = scipy.optimize.minimize_scalar(
        lambda log: -_log_ratio(np.exp(log), values, freedom),
        bounds=(logs[k - 1], logs[k + 1]),
        method="bounded",
    )
    return float(np.exp(refined.x))


def _log_ratio(m: float, values: Array, f: float) -> float:
    """Return the log density of the squares of residuals over that of each task's alone."""
    T = len(values)
    joint = _log_density(m + T + 1.0, f, T) + T * 0.5 * (m + T + 1.0) * np.log(m)
    joint -= 0.5 * (m + T + 1.0 + f) * float(np.log(m + f * values).sum())
    alone = _log_density(m + 2.0, f, 1) + 0.5 * (m + 2.0) * np.log(m)
    alone -= 0.5 * (m + 2.0 + f) * np.log(m + f)
    return float(joint - T * alone)


def _log_density(nu: float, f: float, T: int) -> float:
    return float(
        scipy.special.multigammaln(0.5 * (nu + f), T) - scipy.special.multigammaln(0.5 * nu, T)
    )


def _nearest(correlation: Array) -> Array:
    """Return a correlation matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(0.5 * (correlation + correlation.T))
    if values[0] >= 0:
        return correlation
    mended = (vectors * np.maximum(values, 0.0)) @ vectors.T
    root = np.sqrt(np.diagonal(mended))
    return np.asarray(mended / np.multiply.outer(root, root))


@saveable("bayes.joint_learned")
@dataclass(frozen=True, eq=False)
class JointLearned:
    """The maximum. Shapes: covariance (q, q), noise (T, T), mean (p,), mean_covariance (p, p)."""

    model: Model
    pull: NoisePull
    params: Array
    covariance: Array
    noise: Array
    mean: Array
    mean_covariance: Array
    log_mean: float | None
    log_likelihood: float
    score: float
    residual: float
    converged: bool
    n_iter: int
    seconds: float

    @property
    def point(self) -> Point:
        """The point that was found."""
        return Point(self.params, self.noise, self.log_mean)


@dataclass(frozen=True, eq=False)
class Start:
    """Where a search begins. Shapes: covariance (q, q), noise (T, T)."""

    covariance: Array
    noise: Array
    log_mean: float | None = None
    params: Array | None = None


def start_of(learned: JointLearned, same: bool = False) -> Start:
    """Return what was learned as a start for another structure, or for the same one."""
    params = learned.params if same else None
    return Start(learned.covariance, learned.noise, learned.log_mean, params)


def learn_joint(
    rows: JointRows, model: Model, pull: NoisePull, start: Start, search: Search
) -> JointLearned:
    """Learn prior and noise."""
    structure, q = model.structure, len(model.varying)
    # One task says nothing about how tasks differ: its deviation stays zero too.
    search = replace(search, without=search.without or rows.n_tasks <= 1)
    params = structure.start(start.covariance) if start.params is None else start.params
    if search.without:
        params = np.zeros(structure.n_parameters(q))
    log_mean = (start.log_mean or 0.0) if model.gaussian_mean else None
    point = Point(params, start.noise, log_mean)
    marginal = JointMarginal(rows, model, pull, point, search)
    found = maximise(marginal, marginal.params(point), search.tol, search.max_iter)
    last = found.at
    return JointLearned(
        model=model,
        pull=pull,
        params=last.detail.point.structure,
        covariance=marginal.covariance(last.detail.point),
        noise=last.detail.point.noise,
        mean=last.detail.beta,
        mean_covariance=last.detail.beta_covariance,
        log_mean=last.detail.point.log_mean,
        log_likelihood=last.detail.log_likelihood,
        score=-last.value,
        residual=last.residual,
        converged=found.converged,
        n_iter=found.n_iter,
        seconds=found.seconds,
    )


def learn_correlated(
    rows: JointRows, model: Model, start: Start, search: Search, chosen: bool
) -> tuple[JointLearned, tuple[Candidate, ...]]:
    """Learn prior and noise."""
    # Maximised together with the prior, a large noise covariance has room for what coefficients
    # differ by: with few rows the differences vanish into it. The correlations of the noise are
    # therefore those of separate regressions (their restricted likelihood, with the pull; no
    # prior of the coefficients takes part), and the prior maximises the marginal likelihood under
    # that noise. Only where features leave separate regressions no freedom are both learned
    # together.
    base = _begin(rows, model, start, search, chosen)
    search = replace(search, noise_held=base.held is not None)
    if chosen:
        return base.finished(learn_joint(rows, model, base.pull, base.start, search)), ()
    learned, candidates = choose(_JointTrials(rows, model, base, search))
    return base.finished(learned), candidates


@dataclass(frozen=True, eq=False)
class _Base:
    """The pull, where to begin, and the fit that the noise was taken from, if it is held."""

    pull: NoisePull
    start: Start
    held: JointLearned | None

    def finished(self, learned: JointLearned) -> JointLearned:
        """Return what was learned with the evaluations of both fits; both must have ended."""
        if self.held is None:
            return learned
        rough = self.held.residual > _ROUGH_NOISE
        return replace(
            learned,
            residual=max(learned.residual, self.held.residual) if rough else learned.residual,
            converged=learned.converged and not rough,
            n_iter=learned.n_iter + self.held.n_iter,
            seconds=learned.seconds + self.held.seconds,
        )


def _begin(rows: JointRows, model: Model, start: Start, search: Search, chosen: bool) -> _Base:
    """Learn the noise from separate regressions if they leave freedom, else a first guess."""
    variances = np.diagonal(start.noise).copy()
    pull = noise_pull(rows, variances)
    if pull is None:
        pull = first_pull(rows, variances)
        found = learn_joint(rows, model, pull, start, replace(search, tol=_ROUGH))
        pull = refined_pull(JointMarginal(rows, model, pull), found.point)
        return _Base(pull, start_of(found), None)
    varying = np.array(model.varying)
    squares = np.sum(rows.X[:, varying] ** 2, axis=0)
    # A feature of zeros says nothing in whatever units.
    share = rows.count.sum() / np.where(squares > _ZERO * squares.max(), squares, squares.max())
    if chosen and isinstance(model.structure, NoVariation):
        # Only the intercept was said to vary.
        share[1:] = 0.0
    wide = np.sqrt(_FLAT * np.sum(rows.Y**2) / rows.together.trace() * share)
    flat = Start(np.diag(wide**2), start.noise, params=wide)
    separate = replace(model, structure=Diagonal())
    held = learn_joint(rows, separate, pull, flat, replace(search, structure_held=True))
    own = np.sqrt(variances / np.diagonal(held.noise))
    lifted = np.maximum(start.covariance, np.diag(_LIFT * np.mean(variances) * share))
    return _Base(pull, Start(lifted, held.noise * np.multiply.outer(own, own)), held)


class _JointTrials(Trials[JointLearned]):
    def __init__(self, rows: JointRows, model: Model, base: _Base, search: Search) -> None:
        self.rows, self.model, self.base, self.search = rows, model, base, search
        self.q, self.tasks = len(model.varying), rows.n_tasks
        self.n_labels = float(rows.count @ rows.labelled.sum(axis=1))

    def learn(self, structure: Structure, start: JointLearned | None) -> JointLearned:
        """Learn the prior of one structure."""
        begin = self.base.start
        if start is not None:
            plain = isinstance(start.model.structure, NoVariation)
            begin = start_of(start)
            begin = replace(begin, covariance=self.base.start.covariance) if plain else begin
        model, rough = replace(self.model, structure=structure), replace(self.search, tol=_ROUGH)
        return learn_joint(self.rows, model, self.base.pull, begin, rough)

    def refined(self, best: JointLearned) -> JointLearned:
        """Go on to the user's tolerance."""
        begin = start_of(best, same=True)
        return learn_joint(self.rows, best.model, self.base.pull, begin, self.search)

    def value(self, learned: JointLearned) -> float:
        """Return the penalised log-likelihood."""
        return learned.score

    def tests(self, learned: JointLearned) -> list[tuple[Array, Array, Array]]:
        """Return slope and information by the covariance, and the covariance."""
        marginal = JointMarginal(self.rows, learned.model, learned.pull)
        at = marginal.at(learned.point)
        return [(at.slope, marginal.information(learned.point), learned.covariance)]
