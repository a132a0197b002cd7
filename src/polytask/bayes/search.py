"""Search for the prior of largest evidence, whatever the likelihood of the labels."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import scipy.optimize

from polytask.bayes.blocks import Array
from polytask.bayes.prior import Structure

_EM_STEPS = 10
_RESTARTS = 3
# A variance that was driven to zero is tried at this share of the information about it.
_ESCAPE, _ESCAPES = 1e-3, 3
# Parameters below this share of the largest are judged as if they were that large.
_SMALL = 0.01
_LEAST_CURVATURE = 1e-12
# Where the residual is small a value counts as the best that is within rounding of it.
_ROUNDING = 1e-9
# Where a search by gradients alone is affordable, and how far above the best it may end.
_MANY_PARAMETERS = 200
_ROUGHNESS = 1e-4
# A search for a zero may pass through this many times as much, but not through infinity.
_ROOM = 4.0
# Logs of variances stay between plus and minus this.
LARGEST_LOG = 18.0


Detail = TypeVar("Detail")


@dataclass(frozen=True, eq=False)
class Evaluation(Generic[Detail]):
    """A likelihood at one point: minus the log evidence and the log prior of the parameters."""

    # Shapes: params, gradient (n,), slope (q, q) by the covariance of the deviations, weights
    # (q,), the information about each of its diagonal entries. The residual says how far from a
    # maximum, in the units of the tolerance; the detail is what the likelihood found beside.

    params: Array
    value: float
    gradient: Array
    residual: float
    slope: Array
    weights: Array
    detail: Detail


class Likelihood(ABC, Generic[Detail]):
    """The evidence of a prior, the coefficients of the tasks integrated out.

    The parameters are those of the structure, and then what else is learned; `bounds` are equal
    where a parameter is held.
    """

    structure: Structure
    q: int
    n_rows: float

    @property
    @abstractmethod
    def active(self) -> int:
        """Number of tasks with labels."""

    @abstractmethod
    def evaluate(self, params: Array) -> Evaluation[Detail]:
        """Return the likelihood at a point."""

    @abstractmethod
    def bounds(self) -> Array:
        """Return the lower and the upper bounds, shape (2, n)."""

    @abstractmethod
    def expected(self, at: Evaluation[Detail]) -> Array:
        """Return the parameters after an EM step."""

    def centred(self, at: Evaluation[Detail]) -> Evaluation[Detail]:
        """Return the same point in coordinates in which a search goes on well."""
        return at

    def units(self, at: Evaluation[Detail]) -> Array:
        """Return the units in which parameters are searched: one standard error or so."""
        curvature = self.structure.curvature(at.weights)
        units = np.ones(len(at.params))
        if not curvature.any():
            return units  # no labels: what is searched is the prior of the parameters alone
        least = _LEAST_CURVATURE * max(self.active, 1)
        units[: len(curvature)] = np.sqrt(max(self.active, 1) / np.maximum(curvature, least))
        return units


def inner_slope(params: Array, gradient: Array, bounds: Array) -> Array:
    """Return the gradient without what pushes against the bounds."""
    low, high = bounds
    outward = ((params <= low) & (gradient > 0)) | ((params >= high) & (gradient < 0))
    return np.asarray(np.where(outward, 0.0, gradient))


def relative_slope(params: Array, gradient: Array, size: int) -> Array:
    """Return the gradient for relative changes of the first `size` parameters."""
    own = np.abs(params[:size])
    scale = np.ones(len(params))
    scale[:size] = np.maximum(own, _SMALL * own.max(initial=0.0))
    return np.asarray(gradient * scale)


def expected_second(Psi: Array, slope: Array, n_tasks: int) -> Array:
    """Return the mean over tasks of the posterior second moments of the deviations."""
    # Shapes: Psi (q, q), slope (q, q), result (q, q).
    own = np.diagonal(Psi)
    if np.count_nonzero(Psi) == np.count_nonzero(own):
        turned = own[:, None] * slope * own
    else:
        turned = Psi @ slope @ Psi
    second = Psi - (2.0 / max(n_tasks, 1)) * turned
    return np.asarray(0.5 * (second + second.T))


@dataclass(frozen=True, eq=False)
class Found(Generic[Detail]):
    """Where a search ended."""

    at: Evaluation[Detail]
    converged: bool
    n_iter: int
    seconds: float


def maximise(
    likelihood: Likelihood[Detail], start: Array, tol: float, max_iter: int, *, expect: bool = True
) -> Found[Detail]:
    """Search from a start, with EM steps first if `expect`."""
    started = time.perf_counter()
    search = _Search(likelihood, tol, max_iter)
    at = search.run(start, expect)
    seconds = time.perf_counter() - started
    return Found(at, at.residual <= tol, search.n_iter, seconds)


class _DoneError(Exception):
    """Ends the line search of L-BFGS at the goal."""


class _Search(Generic[Detail]):
    def __init__(self, likelihood: Likelihood[Detail], tol: float, max_iter: int) -> None:
        self.likelihood, self.tol, self.max_iter = likelihood, tol, max_iter
        self.n_iter = 0

    def run(self, start: Array, expect: bool) -> Evaluation[Detail]:
        at = self._evaluate(np.clip(start, *self.likelihood.bounds()))
        if expect:
            at = self._expected(at)
        at = self._climb(at)
        for _ in range(_ESCAPES):
            moved = self._escaped(at)
            if moved is None:
                break
            at = self._climb(moved)
        return at

    def _evaluate(self, params: Array) -> Evaluation[Detail]:
        self.n_iter += 1
        return self.likelihood.evaluate(params)

    def _attempt(self, params: Array) -> Evaluation[Detail] | None:
        """Evaluate after a step; None if it was so long that no digits are left."""
        with contextlib.suppress(np.linalg.LinAlgError), np.errstate(all="ignore"):
            found = self._evaluate(params)
            return found if np.isfinite(found.value) else None
        return None

    def _done(self, at: Evaluation[Detail]) -> bool:
        return at.residual <= self.tol or self.n_iter >= self.max_iter

    def _expected(self, at: Evaluation[Detail]) -> Evaluation[Detail]:
        """Take EM steps as long as they gain."""
        for _ in range(_EM_STEPS):
            if self._done(at):
                break
            params = np.clip(self.likelihood.expected(at), *self.likelihood.bounds())
            found = self._attempt(params)
            if found is None or not found.value < at.value:
                break
            at = found
        return at

    def _climb(self, at: Evaluation[Detail]) -> Evaluation[Detail]:
        """Run L-BFGS; it starts anew, in other units, where a line search ends too soon."""
        for _ in range(1 + _RESTARTS):
            if self._done(at):
                return at
            before, at = at.value, self._descend(self.likelihood.centred(at))
            if not at.value < before:
                break
        return at if self._done(at) else self._by_gradient(at)

    def _descend(self, first: Evaluation[Detail]) -> Evaluation[Detail]:
        """Run L-BFGS until the residual is small; the best point that it saw is returned."""
        best, units = [first], self.likelihood.units(first)

        def function(x: Array) -> tuple[float, Array]:
            params = np.clip(x * units, *bounds)
            found = first if np.array_equal(x, x0) else self._attempt(params)
            if found is None:
                raise _DoneError
            slack = _ROUNDING * (1.0 + abs(found.value)) * (found.residual <= self.tol)
            if found.value <= best[0].value + slack:
                best[0] = found
            if self._done(best[0]):
                raise _DoneError
            return found.value, found.gradient * inside

        x0, bounds = first.params / units, self.likelihood.bounds()
        # What is held says nothing about the curvature.
        inside = np.where(bounds[0] < bounds[1], units, 0.0)
        with contextlib.suppress(_DoneError):
            scipy.optimize.fmin_l_bfgs_b(
                function,
                x0,
                bounds=(bounds / units).T.tolist(),
                m=20,
                factr=0.0,
                pgtol=0.0,
                maxfun=self.max_iter,
            )
        return best[0]

    def _by_gradient(self, best: Evaluation[Detail]) -> Evaluation[Detail]:
        """Look for a zero of the gradient where the values are too rough for a line search."""
        # Almost without noise the likelihood loses digits long before its gradient does.
        bounds = self.likelihood.bounds()
        free = bounds[0] < bounds[1]
        if not 0 < np.count_nonzero(free) <= _MANY_PARAMETERS:
            return best
        nearest, params = [best], best.params.copy()

        def gradient(x: Array) -> Array:
            params[free] = x
            found = self._attempt(np.clip(params, *(_ROOM * bounds)))
            if found is None:
                raise _DoneError
            if found.residual < nearest[0].residual:
                nearest[0] = found
            if self._done(nearest[0]):
                raise _DoneError
            return np.asarray(found.gradient[free])

        with contextlib.suppress(_DoneError):
            scipy.optimize.root(gradient, best.params[free], method="hybr")
        slack = _ROUGHNESS * (1.0 + abs(best.value))
        return nearest[0] if nearest[0].value <= best.value + slack else best

    def _escaped(self, at: Evaluation[Detail]) -> Evaluation[Detail] | None:
        """Return a point to go on from if a variance of zero hides an ascent, else None."""
        # Where an entry of the factor is zero, so is the gradient with respect to it, whatever
        # the variance would like.
        likelihood, structure = self.likelihood, self.likelihood.structure
        size = structure.n_parameters(likelihood.q)
        low, high = likelihood.bounds()[:, :size]
        if at.residual > self.tol or self.n_iter >= self.max_iter or np.all(low == high):
            return None
        covariance = structure.covariance(at.params[:size], likelihood.q)
        step = _ESCAPE * likelihood.active / np.maximum(at.weights, np.finfo(float).tiny)
        wanting = (np.diagonal(covariance) < step) & (np.diagonal(at.slope) < 0)
        if not wanting.any():
            return None
        lifted = structure.start(covariance + np.diag(np.where(wanting, step, 0.0)))
        moved = self._attempt(np.concatenate([lifted, at.params[size:]]))
        if moved is None or at.value - moved.value <= 1e-9 * max(likelihood.n_rows, 1.0):
            return None
        return moved
