"""Learn a prior and the covariance of the noise together: EM to get near, then L-BFGS."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize

from polytask._registry import saveable
from polytask.bayes.blocks import Array
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_marginal import JointEvaluation, JointMarginal, NoisePull, Point
from polytask.bayes.marginal import Model

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
