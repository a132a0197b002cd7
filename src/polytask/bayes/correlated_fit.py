"""Learn a prior and the covariance of the noise together, and choose their structure."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special

from polytask._registry import saveable
from polytask.bayes.blocks import Array
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_marginal import JointEvaluation, JointMarginal, NoisePull, Point
from polytask.bayes.fit import (
    Candidate,
    correlated_structures,
    is_informed,
    score_gains,
)
from polytask.bayes.marginal import Model
from polytask.bayes.prior import Diagonal, NoVariation, Scalar, Structure

# The pull is never weaker or stronger than so many rows.
_WEAKEST, _STRONGEST = 2.0, 1e4
# With fewer degrees of freedom the residuals of separate fits say little about correlation.
_ENOUGH = 10.0
_GRID = 60
_RANK = 1e-10


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
    rows, found = marginal.rows, marginal.evaluate(point)
    errors = marginal.errors(point, found)
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


_EM_STEPS = 10
_RESTARTS = 3
# A variance that was driven to zero is tried at this share of the weight of the rows.
_ESCAPE, _ESCAPES = 5e-5, 3
# Parameters below this share of the largest are judged as if they were that large.
_SMALL = 0.01
_LEAST_CURVATURE = 1e-12
# Where the residual is small a value counts as the best that is within rounding of it.
_ROUGHNESS = 1e-9
# The log of the relative variance of the mean stays between plus and minus this.
_LARGEST_LOG = 18.0


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


@dataclass(frozen=True, eq=False)
class Start:
    """Where a search begins. Shapes: covariance (q, q), noise (T, T)."""

    covariance: Array
    noise: Array
    log_mean: float | None = None
    params: Array | None = None


@dataclass(frozen=True)
class Search:
    """How far a search goes, and what it holds."""

    tol: float = 1e-4
    max_iter: int = 500
    without: bool = False
    structure_held: bool = False
    noise_held: bool = False


def start_of(learned: JointLearned, same: bool = False) -> Start:
    """Return what was learned as a start for another structure, or for the same one."""
    params = learned.params if same else None
    return Start(learned.covariance, learned.noise, learned.log_mean, params)


def learn_joint(
    rows: JointRows, model: Model, pull: NoisePull, start: Start, search: Search
) -> JointLearned:
    """Learn prior and noise."""
    began = time.perf_counter()
    work = _Work(JointMarginal(rows, model, pull), search)
    point, found = work.run(start)
    residual = work.residual(point, found)
    return JointLearned(
        model=model,
        pull=pull,
        params=point.structure,
        covariance=work.marginal.covariance(point),
        noise=point.noise,
        mean=found.beta,
        mean_covariance=found.beta_covariance,
        log_mean=point.log_mean,
        log_likelihood=found.log_likelihood,
        score=-found.value,
        residual=residual,
        converged=residual <= search.tol,
        n_iter=work.n_iter,
        seconds=time.perf_counter() - began,
    )


class _DoneError(Exception):
    """Ends the line search of L-BFGS at the goal."""


_At = tuple[Point, JointEvaluation]


class _Work:
    def __init__(self, marginal: JointMarginal, search: Search) -> None:
        self.marginal, self.search = marginal, search
        # One task says nothing about how tasks differ: its deviation stays zero too.
        self.without = search.without or marginal.n_tasks <= 1
        self.structure_held = self.without or search.structure_held
        self.n_iter = 0

    def run(self, start: Start) -> _At:
        at = self._climb(self._expected(self._first(start)))
        for _ in range(_ESCAPES):
            moved = self._escaped(at)
            if moved is None:
                break
            at = self._climb(moved)
        return at

    def evaluate(self, point: Point) -> JointEvaluation:
        """Evaluate and count."""
        self.n_iter += 1
        return self.marginal.evaluate(point)

    def _attempt(self, point: Point) -> JointEvaluation | None:
        """Evaluate after a step; None if it was so long that no digits are left."""
        with contextlib.suppress(np.linalg.LinAlgError), np.errstate(all="ignore"):
            found = self.evaluate(point)
            return found if np.isfinite(found.value) else None
        return None

    def residual(self, point: Point, found: JointEvaluation) -> float:
        """Return how far from the maximum a point is, see :class:`JointLearned`."""
        worst, tasks = 0.0, 2.0 * self.marginal.n_tasks
        if not self.structure_held:
            own = np.abs(point.structure)
            scale = np.maximum(own, _SMALL * own.max(initial=0.0))
            worst = float(np.max(np.abs(found.structure_slope * scale), initial=0.0)) / tasks
        if found.mean_slope is not None and point.log_mean is not None:
            outward = abs(point.log_mean) >= _LARGEST_LOG and point.log_mean * found.mean_slope < 0
            worst = max(worst, 0.0 if outward else abs(found.mean_slope) / tasks)
        if not self.search.noise_held:
            root = np.linalg.cholesky(point.noise)
            slope = np.tril(root.T @ found.noise_slope @ root)
            worst = max(worst, float(np.abs(slope).max()) / self._rows)
        return worst

    @property
    def _rows(self) -> float:
        return self.marginal.n_rows + self.marginal.pull.rows

    def _first(self, start: Start) -> _At:
        marginal, structure = self.marginal, self.marginal.model.structure
        params = start.params
        if self.without:
            params = np.zeros(structure.n_parameters(marginal.q))
        elif params is None:
            params = structure.start(start.covariance)
        log_mean = start.log_mean if start.log_mean is not None else 0.0
        gaussian = marginal.model.gaussian_mean
        point = Point(params, start.noise, log_mean if gaussian else None)
        return point, self.evaluate(point)

    def _expected(self, at: _At) -> _At:
        """Take EM steps as long as they gain."""
        for _ in range(_EM_STEPS):
            if self._done(at):
                break
            point = self.marginal.expect(*at)
            if self.structure_held:
                point = replace(point, structure=at[0].structure)
            if self.search.noise_held:
                point = replace(point, noise=at[0].noise)
            if point.log_mean is not None:
                point = replace(point, log_mean=float(np.clip(point.log_mean, *_BOUNDS)))
            found = self._attempt(point)
            if found is None or not found.value < at[1].value:
                break
            at = point, found
        return at

    def _done(self, at: _At) -> bool:
        return self.n_iter >= self.search.max_iter or self.residual(*at) <= self.search.tol

    def _climb(self, at: _At) -> _At:
        """Run L-BFGS; it starts anew, in other units, where a line search ends too soon."""
        for _ in range(1 + _RESTARTS):
            if self._done(at):
                break
            found = self._descend(at)
            if not found[1].value < at[1].value and not self._done(found):
                break
            at = found
        return at

    def _descend(self, first: _At) -> _At:
        units = _Units(first, self.marginal, self.search.noise_held, self.structure_held)
        best, tol = [first], self.search.tol

        def function(x: Array) -> tuple[float, Array]:
            point = units.point(x)
            found = first[1] if not x.any() else self._attempt(point)
            if found is None:
                raise _DoneError
            slack = _ROUGHNESS * (1.0 + abs(found.value)) * (self.residual(point, found) <= tol)
            if found.value <= best[0][1].value + slack:
                best[0] = point, found
            if self._done(best[0]):
                raise _DoneError
            return found.value, units.gradient(x, found)

        with contextlib.suppress(_DoneError):
            scipy.optimize.fmin_l_bfgs_b(
                function,
                np.zeros(units.size),
                bounds=units.bounds(),
                m=20,
                factr=0.0,
                pgtol=0.0,
                maxfun=self.search.max_iter,
            )
        return best[0]

    def _escaped(self, at: _At) -> _At | None:
        """Return a point to go on from if a variance of zero hides an ascent, else None."""
        if self.structure_held or self.n_iter >= self.search.max_iter:
            return None
        marginal, (point, found) = self.marginal, at
        Omega = marginal.covariance(point)
        step = _ESCAPE * marginal.n_tasks / np.maximum(found.weights, np.finfo(float).tiny)
        wanting = (np.diagonal(Omega) < step) & (np.diagonal(found.covariance_slope) < 0)
        if not wanting.any():
            return None
        lifted = marginal.model.structure.start(Omega + np.diag(np.where(wanting, step, 0.0)))
        moved = replace(point, structure=lifted)
        after = self._attempt(moved)
        if after is None or found.value - after.value <= 1e-9 * max(marginal.n_rows, 1.0):
            return None
        return moved, after


_BOUNDS = (-_LARGEST_LOG, _LARGEST_LOG)


class _Units:
    """Steps from a point in units in which the likelihood bends alike in all directions."""

    # The noise is ``C F F' C'`` with C its factor at the point and F a lower triangle, the
    # diagonal of which is searched by its logs: F moves by about 1 / sqrt(rows).

    def __init__(
        self, first: _At, marginal: JointMarginal, noise_held: bool, structure_held: bool
    ) -> None:
        self.first = first[0]
        self.C = np.linalg.cholesky(self.first.noise)
        T = marginal.n_tasks
        curvature = marginal.model.structure.curvature(first[1].weights)
        steps = np.sqrt(T / np.maximum(curvature, _LEAST_CURVATURE * T))
        self.steps = np.zeros(0) if structure_held else steps
        self.lower = np.tril_indices(0 if noise_held else T)
        rows = marginal.n_rows + marginal.pull.rows
        self.noise_step = np.sqrt(T / rows)
        self.gaussian = self.first.log_mean is not None

    @property
    def size(self) -> int:
        return len(self.steps) + len(self.lower[0]) + self.gaussian

    def bounds(self) -> list[tuple[float | None, float | None]]:
        found: list[tuple[float | None, float | None]] = [(None, None)] * self.size
        if self.first.log_mean is not None:
            found[-1] = (_BOUNDS[0] - self.first.log_mean, _BOUNDS[1] - self.first.log_mean)
        return found

    def point(self, x: Array) -> Point:
        structure = self.first.structure
        if len(self.steps):
            structure = structure + self.steps * x[: len(self.steps)]
        noise = self.first.noise
        if len(self.lower[0]):
            root = self.C @ self._factor(x)
            noise = root @ root.T
        log_mean = self.first.log_mean
        return Point(structure, noise, None if log_mean is None else log_mean + float(x[-1]))

    def gradient(self, x: Array, found: JointEvaluation) -> Array:
        parts = [found.structure_slope * self.steps if len(self.steps) else np.zeros(0)]
        if len(self.lower[0]):
            F = self._factor(x)
            slope = 2.0 * self.C.T @ found.noise_slope @ self.C @ F
            slope[np.diag_indices_from(slope)] *= np.diagonal(F)
            parts.append(slope[self.lower] * self.noise_step)
        if found.mean_slope is not None:
            parts.append(np.array([found.mean_slope]))
        return np.concatenate(parts)

    def _factor(self, x: Array) -> Array:
        F = np.zeros_like(self.C)
        begin = len(self.steps)
        F[self.lower] = x[begin : begin + len(self.lower[0])] * self.noise_step
        F[np.diag_indices_from(F)] = np.exp(np.diagonal(F))
        return F


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
    trial = _Trial(rows, model, base.pull, replace(search, tol=_ROUGH))
    best = max(trial.run(base.start), key=lambda pair: pair[1].score)[0]
    learned = learn_joint(rows, best.model, base.pull, start_of(best, same=True), search)
    return base.finished(learned), tuple(candidate for _, candidate in trial.tried)


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
        pull = refined_pull(JointMarginal(rows, model, pull), point_of(found))
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


def point_of(learned: JointLearned) -> Point:
    """Return the point that was found."""
    return Point(learned.params, learned.noise, learned.log_mean)


class _Trial:
    def __init__(self, rows: JointRows, model: Model, pull: NoisePull, search: Search) -> None:
        self.rows, self.model, self.pull, self.search = rows, model, pull, search
        self.q, self.tasks = len(model.varying), rows.n_tasks
        self.n_labels = float(rows.count @ rows.labelled.sum(axis=1))
        self.tried: list[tuple[JointLearned, Candidate]] = []

    def run(self, start: Start) -> list[tuple[JointLearned, Candidate]]:
        found = self._try(NoVariation(), start)
        if self.q > 1 and self.tasks > 1:
            begin = Start(start.covariance, found.noise, found.log_mean)
            base = self._try(Scalar(), begin)
            if self.q > 2 and is_informed(Diagonal(), self.q, self.tasks, self.n_labels):
                base = self._try(Diagonal(), start_of(base))
            if self.q == 2 or is_informed(Diagonal(), self.q, self.tasks, self.n_labels):
                self._beyond(base)
        return self.tried

    def _beyond(self, base: JointLearned) -> None:
        """Try correlated coefficients if a score test says that they may be worth it."""
        promise = promised_gains(JointMarginal(self.rows, base.model, self.pull), point_of(base))
        own = base.model.structure.price(self.q, self.n_labels)
        for candidates, gain in zip(correlated_structures(self.q), promise, strict=True):
            last, begin = -np.inf, base
            for structure in candidates:
                cost = structure.price(self.q, self.n_labels) - own
                hopeless = begin is base and gain < cost
                if hopeless or not is_informed(structure, self.q, self.tasks, self.n_labels):
                    break
                begin = self._try(structure, start_of(begin))
                score = self.tried[-1][1].score
                if score < last:
                    break
                last = score

    def _try(self, structure: Structure, start: Start) -> JointLearned:
        model = replace(self.model, structure=structure)
        found = learn_joint(self.rows, model, self.pull, start, self.search)
        candidate = Candidate(
            structure=structure,
            log_likelihood=found.score,
            n_parameters=structure.n_parameters(self.q),
            price=structure.price(self.q, self.n_labels),
            n_tasks=self.tasks,
        )
        self.tried.append((found, candidate))
        return found


def promised_gains(marginal: JointMarginal, point: Point) -> tuple[float, float, float]:
    """Estimate by Rao's score test what correlations would add to the log-likelihood."""
    slope = marginal.evaluate(point).covariance_slope
    information = marginal.information(point)
    own: Array = np.diagonal(marginal.covariance(point))
    return score_gains(slope, information, own, marginal.n_tasks)
