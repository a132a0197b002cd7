"""Learn the prior of many logistic tasks by the Laplace approximation of its evidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from polytask.bayes.fit import Candidate
from polytask.bayes.laplace_engine import Engine, Found, WeightEngine, evidence
from polytask.bayes.laplace_kernel import KernelEngine
from polytask.bayes.laplace_mode import Beliefs, Mode, Point
from polytask.bayes.laplace_rows import Labelled, RowBlock, row_blocks
from polytask.bayes.prior import (
    Diagonal,
    Full,
    LowRank,
    NoVariation,
    Scalar,
    Structure,
)

Array = NDArray[np.float64]
SomeEngine = TypeVar("SomeEngine", bound=Engine)

# Standard deviations of the prior are themselves half-normal with this one: without it they
# would be infinite where the classes are separable.
WIDEST = 5.0
# With more columns no directions that features share are looked for.
WIDEST_LOW_RANK = 100
_EM_STEPS = 5
_FIRST_VARIANCE = 0.3
# A variance at zero is tried at this value if the evidence wants it larger.
_ESCAPE = 1e-4
_ESCAPES = 3
# Bounds of the log standard deviation of the mean coefficients.
_LOG_DEVIATIONS = (-7.0, 7.0)


@dataclass(frozen=True)
class ClassModel:
    """What is to be learned."""

    structure: Structure
    varying: tuple[int, ...]
    gaussian_mean: bool


@dataclass(frozen=True, eq=False)
class LearnedClasses:
    """The prior of largest evidence, and the posterior under it. Shapes: second (k, k)."""

    model: ClassModel
    params: Array
    beliefs: Beliefs
    mode: Mode
    log_evidence: float
    second: Array
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
    def covariance(self) -> Array:
        """Covariance of the deviations of the varying columns, shape (q, q)."""
        q = len(self.model.varying)
        own = self.beliefs.spread.covariance
        out = np.zeros((q, q))
        out[: len(own), : len(own)] = own
        return out

    @property
    def n_tasks(self) -> int:
        """Tasks with labels."""
        return sum(len(posterior.rows.tasks) for posterior in self.mode.posteriors)

    @property
    def price(self) -> float:
        """What the parameters cost; see :func:`price_of`."""
        return price_of(self.model.structure, len(self.model.varying), self.n_labels)


def price_of(structure: Structure, q: int, n_labels: float) -> float:
    """Return half the log of the number of labels for every parameter of a covariance."""
    # Labels, not tasks, because with few tasks a direction of the covariance can stand in for the
    # mean coefficients, of which every label tells something.
    return 0.5 * structure.n_parameters(q) * float(np.log(n_labels))


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """Minus what is maximised, its gradient, and what was found."""

    params: Array
    value: float
    gradient: Array
    factor: Array
    mean_variance: float | None
    found: Found


class PriorSearch:
    """Learns priors from the same labels, each starting from what the last one found."""

    def __init__(self, labelled: Labelled, max_iter: int, n_features: int | None = None) -> None:
        self.labelled, self.max_iter = labelled, max_iter
        self.count = max(float(labelled.weight.sum()), 1.0)
        self.copies = np.ones(labelled.width)
        if n_features is not None:
            self.copies[-1] = n_features - (labelled.width - 2)
        self._blocks: list[RowBlock] | None = None
        self._engines: dict[tuple[type[Engine], tuple[object, ...]], Engine] = {}

    def learn(self, model: ClassModel, tol: float, second: Array | None = None) -> LearnedClasses:
        """Learn one prior. Shapes: second (q, q)."""
        started = time.perf_counter()
        climb = _Climb(self, model, tol)
        last = climb.run(self._first_guess(model) if second is None else second)
        return self._learned(climb, last, started)

    def refine(self, found: LearnedClasses, tol: float) -> LearnedClasses:
        """Go on from what was learned, to a smaller tolerance."""
        started = time.perf_counter()
        climb = _Climb(self, found.model, tol)
        return self._learned(climb, climb.ascend(found.params), started, found.n_iter)

    def opened(self, found: LearnedClasses) -> Array:
        """Return a covariance to start from after a plainer prior; what is zero is opened."""
        opened = 0.1 * self._first_guess(found.model)
        known = len(found.second)
        opened[:known, :known] += found.second
        return opened

    def engine(self, model: ClassModel) -> Engine:
        """Return what evaluates a prior: in rows if they are fewer and may be, else in weights."""
        if self._in_rows(model):
            return self._kept(KernelEngine, (), lambda: KernelEngine(self.labelled, self.copies))
        return self._weights(model)

    def _in_rows(self, model: ClassModel) -> bool:
        alike = isinstance(model.structure, NoVariation | Scalar)
        every = len(model.varying) == self.labelled.width
        return alike and every and len(self.labelled.y) < self.labelled.width

    def _weights(self, model: ClassModel) -> WeightEngine:
        labelled, structure = self.labelled, model.structure
        # A prior without variation knows one column, whatever might vary.
        varying = model.varying[:1] if isinstance(structure, NoVariation) else model.varying
        # What a wide independent prior leaves unknown, a richer one cannot start from.
        alone = structure.independent and len(varying) > WIDEST_LOW_RANK
        if self._blocks is None:
            self._blocks = row_blocks(labelled)
        blocks = self._blocks

        def make() -> WeightEngine:
            return WeightEngine(labelled, blocks, varying, self.copies, independent=alone)

        return self._kept(WeightEngine, (varying, alone), make)

    def _kept(
        self, kind: type[SomeEngine], place: tuple[object, ...], make: Callable[[], SomeEngine]
    ) -> SomeEngine:
        """Return the engine of a kind, which remembers where the last search ended."""
        found = self._engines.get((kind, place))
        if not isinstance(found, kind):
            found = make()
            self._engines[(kind, place)] = found
        return found

    def _learned(
        self, climb: _Climb, last: _Evaluation, started: float, earlier: int = 0
    ) -> LearnedClasses:
        residual = climb.residual(last)
        beliefs, mode = last.found.posterior or self._posterior(climb, last)
        return LearnedClasses(
            model=climb.model,
            params=last.params,
            beliefs=beliefs,
            mode=mode,
            log_evidence=last.found.value,
            second=last.found.second,
            n_labels=self.count,
            residual=residual,
            converged=residual <= climb.tol and last.found.converged,
            n_iter=climb.n_iter + earlier,
            seconds=time.perf_counter() - started,
        )

    def _posterior(self, climb: _Climb, last: _Evaluation) -> tuple[Beliefs, Mode]:
        """Return the posterior in the weights of what was found in the rows."""
        engine = self._weights(climb.model)
        q = len(engine.copies)
        engine.point = Point(last.found.point.mean, last.found.point.alpha[:, :q])
        factor = climb.model.structure.factor(last.params[: climb.size], q)
        return engine.posterior(factor, last.mean_variance)

    def _first_guess(self, model: ClassModel) -> Array:
        copies = self.copies[list(model.varying)]
        if self._in_rows(model):
            copies = self.engine(model).copies
        share = 1.0 / max(float(copies[1:].sum()), 1.0)
        return np.diag(np.concatenate([[1.0], np.full(len(copies) - 1, share)])) * _FIRST_VARIANCE


class _Climb:
    """One maximisation."""

    def __init__(self, search: PriorSearch, model: ClassModel, tol: float) -> None:
        self.search, self.model, self.tol = search, model, tol
        self.engine = search.engine(model)
        self.n_iter = 0
        self.q = len(self.engine.copies)
        self.size = model.structure.n_parameters(self.q)
        self.learns_mean = model.gaussian_mean and len(search.copies) > 1

    def run(self, second: Array) -> _Evaluation:
        """Start from a covariance and return the best point."""
        features = max(float(self.search.copies[1:].sum()), 1.0)
        tail = [-0.5 * np.log(features)] if self.learns_mean else []
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

    def evaluate(self, params: Array) -> _Evaluation:
        """Return minus the log evidence and the log priors of the parameters."""
        self.n_iter += 1
        own, structure = params[: self.size], self.model.structure
        factor = structure.factor(own, self.q)
        mean = float(np.exp(2.0 * params[-1])) if self.learns_mean else None
        found = self.engine.at(factor, mean)
        pull, pull_slope = structure.log_prior(own, self.q)
        wide = 0.5 / WIDEST**2
        slope = found.slope - wide * np.diag(self.engine.copies)
        gradient = structure.pull_back(own, self.q, slope) + pull_slope
        value = found.value + pull - wide * float(self.engine.copies @ np.sum(factor**2, axis=1))
        if mean is not None:
            value -= wide * mean
            gradient = np.append(gradient, 2.0 * mean * (found.mean_slope - wide))
        return _Evaluation(params.copy(), -value, -gradient, factor, mean, found)

    def _expect(self, params: Array) -> Array:
        """Take a few EM steps."""
        for _ in range(_EM_STEPS):
            found = self.evaluate(params).found
            params = params.copy()
            params[: self.size] = self.model.structure.start(found.second)
            if self.learns_mean:
                params[-1] = np.clip(0.5 * np.log(found.mean_second), *_LOG_DEVIATIONS)
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
        """Return a point to go on from if a variance of zero hides an ascent, else None."""
        # Parameters are standard deviations: at zero the derivative is zero, whatever the
        # variance would like.
        if self.residual(last) > self.tol or self.n_iter >= self.search.max_iter:
            return None
        C = np.asarray(last.factor @ last.factor.T)
        wanting = (np.diagonal(C) < _ESCAPE) & (np.diagonal(last.found.slope) > 0)
        if not wanting.any():
            return None
        moved = last.params.copy()
        lifted = C + np.diag(np.where(wanting, _ESCAPE, 0.0))
        moved[: self.size] = self.model.structure.start(lifted)
        gain = last.value - self.evaluate(moved).value
        return moved if gain > self.tol * self.search.count else None


# Up to so many columns any covariance is tried; with more, directions that features share.
_WIDEST_FULL = 4
# Structures are compared at this many times the tolerance.
_ROUGH = 30.0


@dataclass(frozen=True, eq=False)
class ClassPriors:
    """What was learned: one prior per problem, all of one structure."""

    structure: Structure
    learned: list[LearnedClasses]
    candidates: tuple[Candidate, ...]

    @property
    def log_likelihood(self) -> float:
        """Sum of the log evidences."""
        return sum(found.log_evidence for found in self.learned)


def learn_class_priors(
    problems: Sequence[Labelled],
    structure: Structure | None,
    varying: tuple[int, ...],
    gaussian_mean: bool,
    limits: tuple[float, int],
    n_features: int | None = None,
) -> ClassPriors:
    """Learn a prior for every problem."""
    tol, max_iter = limits
    searches = [PriorSearch(problem, max_iter, n_features) for problem in problems]
    rough = tol if structure is not None else _ROUGH * tol
    best: tuple[Candidate, list[LearnedClasses]] | None = None
    candidates: list[Candidate] = []
    last: list[LearnedClasses] | None = None
    trials = iter([structure]) if structure is not None else _Trials(len(varying))
    for tried in trials:
        model = ClassModel(tried, varying, gaussian_mean)
        if best is not None and isinstance(trials, _Trials):
            # Labels have no probability above 1, whatever the structure.
            least = sum(price_of(tried, len(varying), search.count) for search in searches)
            if -least <= best[0].score or _is_hopeless(tried, least, last, len(varying)):
                trials.worse(tried)
                continue
        starts = [None] * len(searches) if last is None else last
        last = [
            search.learn(model, rough, None if start is None else search.opened(start))
            for search, start in zip(searches, starts, strict=True)
        ]
        candidates.append(_candidate(tried, last))
        if best is None or candidates[-1].score > best[0].score:
            best = candidates[-1], last
        elif isinstance(trials, _Trials):
            trials.worse(tried)
    assert best is not None
    learned = best[1]
    if rough != tol:
        learned = [
            search.refine(found, tol) for search, found in zip(searches, learned, strict=True)
        ]
    return ClassPriors(best[0].structure, learned, tuple(candidates))


def _is_hopeless(
    tried: Structure, price: float, last: list[LearnedClasses] | None, q: int
) -> bool:
    """Say whether variances of their own for many coefficients promise less than they cost."""
    if last is None or q <= WIDEST_LOW_RANK or not isinstance(tried, Diagonal):
        return False
    more = price - sum(found.price for found in last)
    return sum(map(promised_gain, last)) < more


def promised_gain(found: LearnedClasses) -> float:
    """Estimate what a variance for every coefficient would add to the log evidence."""
    at_best = evidence(found.mode, found.beliefs, independent=True)
    slope = np.diagonal(at_best.covariance_gradient)
    # Half of it is the expected curvature of the evidence.
    known = sum(posterior.squared_diagonal() for posterior in found.mode.posteriors)
    gains = np.divide(slope**2, known, out=np.zeros_like(slope), where=known > 0)
    return float(gains.sum())


def _candidate(structure: Structure, learned: list[LearnedClasses]) -> Candidate:
    return Candidate(
        structure=structure,
        log_likelihood=sum(found.log_evidence for found in learned),
        n_parameters=sum(found.n_parameters for found in learned),
        price=sum(found.price for found in learned),
        n_tasks=max((found.n_tasks for found in learned), default=0),
    )


class _Trials:
    """The structures to try, from plain to rich; ranks grow while they pay."""

    def __init__(self, q: int) -> None:
        self._q = q
        self._ranks_pay = True

    def worse(self, tried: Structure) -> None:
        """Note that a structure was no better than the best before it."""
        if isinstance(tried, LowRank):
            self._ranks_pay = False

    def __iter__(self) -> Iterator[Structure]:
        q = self._q
        yield NoVariation()
        if q == 1:
            return
        yield Scalar()
        yield Diagonal()
        if q <= _WIDEST_FULL:
            yield Full()
            return
        rank = 1
        while q <= WIDEST_LOW_RANK and rank < q and self._ranks_pay:
            yield LowRank(rank)
            rank += 1
