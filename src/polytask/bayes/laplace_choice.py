"""Choose the structure of the prior of logistic tasks by its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polytask.bayes.choose import Candidate
from polytask.bayes.laplace_evidence import evidence
from polytask.bayes.laplace_fit import (
    WIDEST_LOW_RANK,
    ClassModel,
    LearnedClasses,
    PriorSearch,
    price_of,
)
from polytask.bayes.laplace_rows import Labelled
from polytask.bayes.structures import (
    Diagonal,
    Full,
    LowRank,
    NoVariation,
    Scalar,
    Structure,
)

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
