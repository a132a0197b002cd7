"""Learn the prior of many logistic tasks: EM steps to get near, then a quasi-Newton method."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from polytask.bayes.laplace_blocks import Spread
from polytask.bayes.laplace_evidence import Evidence, evidence
from polytask.bayes.laplace_mode import Beliefs, Mode, Point, posterior_mode
from polytask.bayes.laplace_rows import Labelled, row_blocks
from polytask.bayes.structures import Structure

Array = NDArray[np.float64]

# Standard deviation of a mean that is left to the data: finite, so that separable rows have a
# finite answer, and far wider than any odds ratio per unit.
FLAT_DEVIATION = 100.0
# Standard deviations of the prior are themselves half-normal with this one: without it they
# would be infinite where the classes are separable.
WIDEST = 5.0
_EM_STEPS = 5
_FIRST_VARIANCE = 0.3
# A variance at zero is tried at this value if the evidence wants it larger.
_ESCAPE = 1e-4
_ESCAPES = 3
# Bounds of the log standard deviation of the mean coefficients.
_LOG_DEVIATIONS = (-7.0, 7.0)


@dataclass(frozen=True)
class ClassModel:
    """What is to be learned.

    Attributes
    ----------
    structure : Structure
        The covariances of the deviations.
    varying : tuple of int
        The columns that vary between tasks; the first is 0, the intercept.
    gaussian_mean : bool
        Whether the mean coefficients but the intercept have a normal prior about zero with a
        variance that is learned; otherwise its standard deviation is ``FLAT_DEVIATION``.
    """

    structure: Structure
    varying: tuple[int, ...]
    gaussian_mean: bool


@dataclass(frozen=True, eq=False)
class LearnedClasses:
    """The prior of largest evidence, and the posterior under it.

    Attributes
    ----------
    model : ClassModel
        What was learned.
    params : ndarray
        Parameters of the structure, and the log standard deviation of mu where it is learned.
    beliefs : Beliefs
        The prior.
    mode : Mode
        The posterior mode under it.
    evidence : Evidence
        The marginal likelihood and its derivatives.
    n_labels : float
        Sum of the weights of the labels.
    residual : float
        Largest derivative of what is maximised with respect to a parameter, per label.
    converged : bool
        Whether the residual is below the tolerance.
    n_iter : int
        Evaluations of evidence and gradient.
    seconds : float
        Wall time.
    """

    model: ClassModel
    params: Array
    beliefs: Beliefs
    mode: Mode
    evidence: Evidence
    n_labels: float
    residual: float
    converged: bool
    n_iter: int
    seconds: float

    @property
    def n_parameters(self) -> int:
        """Free parameters of the covariance."""
        return self.model.structure.n_parameters(len(self.model.varying))

    @property
    def n_tasks(self) -> int:
        """Tasks with labels."""
        return sum(len(posterior.rows.tasks) for posterior in self.mode.posteriors)

    @property
    def price(self) -> float:
        """Half the log of the number of labels for every parameter.

        Labels, not tasks, because with few tasks a direction of the covariance can stand in for
        the mean coefficients, of which every label tells something.

        References
        ----------
        Schwarz, G. (1978). Estimating the dimension of a model. Annals of Statistics 6, 461-464.
        """
        return 0.5 * self.n_parameters * float(np.log(self.n_labels))


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """Minus what is maximised, its gradient, and how it was found."""

    params: Array
    value: float
    gradient: Array
    beliefs: Beliefs
    mode: Mode
    evidence: Evidence


class PriorSearch:
    """Learns priors from the same labels, each starting from what the last one found.

    Parameters
    ----------
    labelled : Labelled
        The labels.
    max_iter : int
        Largest number of evaluations of a fit.
    """

    def __init__(self, labelled: Labelled, max_iter: int) -> None:
        self.labelled, self.max_iter = labelled, max_iter
        self._blocks = row_blocks(labelled)
        self._count = max(float(labelled.weight.sum()), 1.0)
        self._p = labelled.width
        self._point: Point | None = None

    def learn(self, model: ClassModel, tol: float, second: Array | None = None) -> LearnedClasses:
        """Learn one prior.

        Parameters
        ----------
        model : ClassModel
            What is to be learned.
        tol : float
            Largest derivative per label at which to stop.
        second : ndarray of shape (q, q), default=None
            A covariance to start from.

        Returns
        -------
        LearnedClasses
        """
        started = time.perf_counter()
        climb = _Climb(self, model, tol)
        last = climb.run(self._first_guess(model) if second is None else second)
        return self._learned(climb, last, started)

    def refine(self, found: LearnedClasses, tol: float) -> LearnedClasses:
        """Go on from what was learned, to a smaller tolerance."""
        started = time.perf_counter()
        climb = _Climb(self, found.model, tol)
        self._point = found.mode.point
        return self._learned(climb, climb.ascend(found.params), started, found.n_iter)

    def opened(self, found: LearnedClasses) -> Array:
        """Return a covariance to start from after a plainer prior; what is zero is opened."""
        floor = 0.1 * self._first_guess(found.model)
        return np.asarray(found.evidence.second_moment + floor)

    def _learned(
        self, climb: _Climb, last: _Evaluation, started: float, earlier: int = 0
    ) -> LearnedClasses:
        residual = climb.residual(last)
        return LearnedClasses(
            model=climb.model,
            params=last.params,
            beliefs=last.beliefs,
            mode=last.mode,
            evidence=last.evidence,
            n_labels=self._count,
            residual=residual,
            converged=residual <= climb.tol and last.mode.converged,
            n_iter=climb.n_iter + earlier,
            seconds=time.perf_counter() - started,
        )

    def _first_guess(self, model: ClassModel) -> Array:
        q = len(model.varying)
        return np.diag(np.concatenate([[1.0], np.full(q - 1, 1.0 / max(q - 1, 1))])) * (
            _FIRST_VARIANCE
        )

    def mode(self, beliefs: Beliefs) -> Mode:
        """Return the posterior mode, starting at the last one if that is nearer than zero."""
        zero = Point(
            beliefs.mean.copy(), np.zeros((self.labelled.n_tasks, len(beliefs.spread.varying)))
        )
        starts = [zero]
        if self._point is not None and self._point.alpha.shape == zero.alpha.shape:
            starts.append(self._point)
        mode = posterior_mode(self._blocks, beliefs, starts)
        self._point = mode.point
        return mode

    @property
    def count(self) -> float:
        """Sum of the weights of the labels."""
        return self._count

    @property
    def width(self) -> int:
        """Number of columns."""
        return self._p


class _Climb:
    """One maximisation."""

    def __init__(self, search: PriorSearch, model: ClassModel, tol: float) -> None:
        self.search, self.model, self.tol = search, model, tol
        self.n_iter = 0
        self.q = len(model.varying)
        self.size = model.structure.n_parameters(self.q)
        self.learns_mean = model.gaussian_mean and search.width > 1

    def run(self, second: Array) -> _Evaluation:
        """Start from a covariance and return the best point."""
        tail = [-0.5 * np.log(max(self.search.width - 1, 1))] if self.learns_mean else []
        params = np.concatenate([self.model.structure.start(second), tail])
        return self.ascend(self._expect(params))

    def ascend(self, params: Array) -> _Evaluation:
        """Climb, as often as something is left to gain, and return the best point."""
        last = self._climb(params)
        for _ in range(_ESCAPES):
            moved = last.params if self._stopped_early(last) else self._escaped(last)
            if moved is None:
                break
            last = self._climb(moved)
        return last

    def _stopped_early(self, last: _Evaluation) -> bool:
        """Say whether the search gave up with evaluations left; it may go on without memory."""
        return self.residual(last) > self.tol and self.n_iter < self.search.max_iter

    def residual(self, evaluation: _Evaluation) -> float:
        """Return the largest derivative per label; at a bound, if it leads back inside."""
        low, high = self._bounds()
        reached = np.clip(evaluation.params - evaluation.gradient, low, high) - evaluation.params
        slopes = np.minimum(np.abs(evaluation.gradient), np.abs(reached))
        return float(np.max(slopes, initial=0.0)) / self.search.count

    def _bounds(self) -> tuple[Array, Array]:
        high = np.full(self.size + self.learns_mean, np.inf)
        low = -high
        if self.learns_mean:
            low[-1], high[-1] = _LOG_DEVIATIONS
        return low, high

    def beliefs(self, params: Array) -> Beliefs:
        """Return the prior of some parameters."""
        factor = self.model.structure.factor(params[: self.size], self.q)
        spread = Spread.of(factor, np.array(self.model.varying, dtype=np.intp))
        precision = np.full(self.search.width, FLAT_DEVIATION**-2.0)
        if self.learns_mean:
            precision[1:] = np.exp(-2.0 * params[-1])
        return Beliefs(spread, precision, np.zeros(self.search.width))

    def evaluate(self, params: Array) -> _Evaluation:
        """Return minus the log evidence and the log priors of the parameters."""
        self.n_iter += 1
        beliefs = self.beliefs(params)
        mode = self.search.mode(beliefs)
        found = evidence(mode, beliefs)
        own, structure = params[: self.size], self.model.structure
        pull, pull_slope = structure.log_prior(own, self.q)
        wide = 0.5 / WIDEST**2
        slope = found.covariance_gradient - wide * np.eye(self.q)
        gradient = structure.pull_back(own, self.q, slope) + pull_slope
        value = found.value + pull - wide * float(np.trace(beliefs.spread.covariance))
        if self.learns_mean and found.precision_gradient is not None:
            variance = float(np.exp(2.0 * params[-1]))
            by_log = -2.0 * float(found.precision_gradient[1:].sum()) / variance
            value -= wide * variance
            gradient = np.append(gradient, by_log - 2.0 * wide * variance)
        return _Evaluation(params.copy(), -value, -gradient, beliefs, mode, found)

    def _expect(self, params: Array) -> Array:
        """Take a few EM steps."""
        for _ in range(_EM_STEPS):
            found = self.evaluate(params)
            params = params.copy()
            params[: self.size] = self.model.structure.start(found.evidence.second_moment)
            if self.learns_mean:
                mode = found.mode
                moment = mode.point.mean**2
                if mode.inverse_root is not None:
                    moment = moment + np.sum(mode.inverse_root**2, axis=0)
                params[-1] = np.clip(0.5 * np.log(np.mean(moment[1:])), *_LOG_DEVIATIONS)
        return params

    def _climb(self, params: Array) -> _Evaluation:
        """Run L-BFGS; the best point that it saw is returned."""
        best: list[_Evaluation] = []

        def function(x: Array) -> tuple[float, Array]:
            found = self.evaluate(x)
            if not best or found.value < best[0].value:
                best[:] = [found]
            return found.value, found.gradient

        allowed = max(self.search.max_iter - self.n_iter, 1)
        goal = self.tol * self.search.count
        scipy.optimize.minimize(
            function,
            params,
            jac=True,
            method="L-BFGS-B",
            bounds=scipy.optimize.Bounds(*self._bounds()),
            options={
                "maxiter": allowed,
                "maxfun": allowed,
                "maxcor": 20,
                "ftol": 0.0,
                "gtol": goal,
            },
        )
        return best[0]

    def _escaped(self, last: _Evaluation) -> Array | None:
        """Return a point to go on from if a variance of zero hides an ascent, else None.

        Parameters are standard deviations: at zero the derivative is zero, whatever the
        variance would like.
        """
        if self.residual(last) > self.tol or self.n_iter >= self.search.max_iter:
            return None
        C = last.beliefs.spread.covariance
        wanting = (np.diagonal(C) < _ESCAPE) & (np.diagonal(last.evidence.covariance_gradient) > 0)
        if not wanting.any():
            return None
        moved = last.params.copy()
        lifted = C + np.diag(np.where(wanting, _ESCAPE, 0.0))
        moved[: self.size] = self.model.structure.start(lifted)
        gain = last.value - self.evaluate(moved).value
        return moved if gain > self.tol * self.search.count else None
