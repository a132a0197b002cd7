"""Choose the structure of a prior: the largest evidence less a price for each parameter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from polytask._registry import saveable
from polytask.bayes.blocks import Array
from polytask.bayes.prior import Diagonal, Full, LowRank, NoVariation, Scalar, Structure

_LARGEST_RANK = 4
# With more columns, variances of their own are tried only where a score test promises gains.
_WIDE = 100
# A relative variance below this share of the largest counts as zero.
_NO_VARIANCE = 1e-6

Learned = TypeVar("Learned")


@saveable("bayes.candidate")
@dataclass(frozen=True)
class Candidate:
    """One structure that was tried."""

    structure: Structure
    log_likelihood: float
    n_parameters: int
    price: float
    n_tasks: int

    @property
    def score(self) -> float:
        """Log marginal likelihood less price."""
        return self.log_likelihood - self.price


class Trials(ABC, Generic[Learned]):
    """Learns priors of any structure from the same labels."""

    q: int
    tasks: int
    n_labels: float

    @abstractmethod
    def learn(self, structure: Structure, start: Learned | None) -> Learned:
        """Learn the prior of one structure, from what was found for a plainer one."""

    @abstractmethod
    def refined(self, best: Learned) -> Learned:
        """Learn the best prior to the user's tolerance."""

    @abstractmethod
    def value(self, learned: Learned) -> float:
        """Return the log evidence, with the log prior of the parameters."""

    @abstractmethod
    def tests(self, learned: Learned) -> list[tuple[Array, Array, Array]]:
        """Return slope, information and covariance of each problem, for score tests: (q, q)."""

    def is_always_tried(self, structure: Structure) -> bool:
        """Say whether a structure is tried whatever a score test promises."""
        return False

    def price(self, structure: Structure) -> float:
        """Return what the parameters cost."""
        return structure.price(self.q, self.n_labels)

    def n_parameters(self, structure: Structure) -> int:
        """Return the number of parameters."""
        return structure.n_parameters(self.q)

    def candidate(self, structure: Structure, learned: Learned) -> Candidate:
        """Return what was found for a structure."""
        return Candidate(
            structure=structure,
            log_likelihood=self.value(learned),
            n_parameters=self.n_parameters(structure),
            price=self.price(structure),
            n_tasks=self.tasks,
        )


def choose(trials: Trials[Learned]) -> tuple[Learned, tuple[Candidate, ...]]:
    """Learn the prior with the structure of the highest score."""
    # No variation, scalar and diagonal are always tried; more is tried where a score test at
    # the diagonal optimum promises that the likelihood could pay for it.
    choice = _Choice(trials)
    choice.run()
    best = max(choice.tried, key=lambda pair: pair[1].score)[0]
    return trials.refined(best), tuple(candidate for _, candidate in choice.tried)


class _Choice(Generic[Learned]):
    def __init__(self, trials: Trials[Learned]) -> None:
        self.trials, self.q = trials, trials.q
        self.tried: list[tuple[Learned, Candidate]] = []

    def run(self) -> None:
        base = self._try(NoVariation(), None)
        if self.q == 1 or self.trials.tasks <= 1:
            return
        base = self._try(Scalar(), base)
        if self.q > 2:
            if not self._is_informed(Diagonal()) or self._is_hopeless(base):
                return
            base = self._try(Diagonal(), base)
        self._beyond(base)

    def _is_hopeless(self, scalar: Learned) -> bool:
        """Say whether variances of their own for many coefficients promise less than they cost."""
        if self.q <= _WIDE:
            return False
        gain = 0.0
        for slope, information, _ in self.trials.tests(scalar):
            known = np.diagonal(information)
            squares = np.diagonal(slope) ** 2
            gain += 2.0 * float(np.sum(squares / np.where(known > 0, known, np.inf)))
        return gain < self.trials.price(Diagonal()) - self.trials.price(Scalar())

    def _beyond(self, base: Learned) -> None:
        """Try correlated coefficients if a score test says that they may be worth it."""
        trials, (_, plain) = self.trials, self.tried[-1]
        promise = np.sum(
            [promised_gains(*own, trials.tasks) for own in trials.tests(base)], axis=0
        )
        largest = min(_LARGEST_RANK, self.q - 1) if self.q > 3 else 0
        # Each row from small to large.
        rows: list[tuple[Structure, ...]] = [
            tuple(LowRank(rank) for rank in range(1, largest + 1)),
            (Full(),),
            (Full(shrinkage=float(self.q)),),
        ]
        for candidates, gain in zip(rows, promise, strict=True):
            last, start = plain.score, base
            for structure in candidates:
                dear = start is base and gain < trials.price(structure) - plain.price
                hopeless = dear and not trials.is_always_tried(structure)
                if hopeless or not self._is_informed(structure):
                    break
                start = self._try(structure, start)
                score = self.tried[-1][1].score
                if score < last:
                    break
                last = score

    def _is_informed(self, structure: Structure) -> bool:
        return is_informed(structure, self.q, self.trials.tasks, self.trials.n_labels)

    def _try(self, structure: Structure, start: Learned | None) -> Learned:
        trials = self.trials
        learned = trials.learn(structure, start)
        self.tried.append((learned, trials.candidate(structure, learned)))
        return learned


def promised_gains(
    slope: Array, information: Array, covariance: Array, tasks: float
) -> tuple[float, float, float]:
    """Estimate by Rao's score test what correlations would add to the log-likelihood."""
    # Shapes: slope, information, covariance (q, q).
    own = np.diagonal(covariance)
    q = len(own)
    varies = own > _NO_VARIANCE * own.max(initial=0.0)
    allowed = np.multiply.outer(varies, varies) & ~np.eye(q, dtype=bool)
    safe = np.where(allowed & (information > 0), information, np.inf)
    z = 2.0 * slope / np.sqrt(safe)
    whole = 0.25 * float(np.sum(z**2))
    direction = 0.25 * float(np.max(np.abs(np.linalg.eigvalsh(z)))) ** 2
    return direction, whole, whole / (1.0 + 2.0 * q / max(tasks, 1))


def is_informed(structure: Structure, q: int, tasks: float, rows: float) -> bool:
    """Say whether tasks and rows are enough for a structure."""
    # Each contrast of tasks informs q parameters. With more parameters and means than rows a
    # covariance can reproduce the rows, and its likelihood is no evidence whatever the price
    # (``benchmarks/learned_prior_price.py``).
    size = structure.n_parameters(q)
    return bool(size <= q * (tasks - 1) and size + q <= rows)
