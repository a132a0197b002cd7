"""Choose the structure by its marginal likelihood, less a price for its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polytask._registry import saveable
from polytask.bayes.blocks import Array, Block
from polytask.bayes.fit import Learned, learn
from polytask.bayes.marginal import Marginal, Model
from polytask.bayes.structures import Diagonal, Full, LowRank, NoVariation, Scalar, Structure

# Above this number of tasks the structure is chosen on about this many of them.
_SAMPLE = 1000
_LARGEST_RANK = 4
# Candidates are compared at this tolerance; what is chosen is then learned at the user's.
_ROUGH = 1e-3
# A relative variance below this share of the largest counts as zero.
_NO_VARIANCE = 1e-6


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


def choose(
    blocks: Sequence[Block],
    model: Model,
    n_tasks: int,
    *,
    tol: float = 1e-4,
    max_iter: int = 500,
) -> tuple[Learned, tuple[Candidate, ...]]:
    """Learn the prior with the structure of the highest score."""
    # No variation, scalar and diagonal are always tried; more is tried where a score test at
    # the diagonal optimum promises that the likelihood could pay for it.
    marginal = Marginal(blocks, replace(model, structure=NoVariation()), n_tasks)
    sample = _sample(blocks, marginal.active)
    trial = _Trial(sample, model, n_tasks, marginal.q, max_iter)
    best = max(trial.run(), key=lambda pair: pair[1].score)[0]
    learned = learn(blocks, best.model, n_tasks, tol=tol, max_iter=max_iter, start=best)
    return learned, tuple(trial.candidates)


class _Trial:
    def __init__(
        self,
        blocks: Sequence[Block],
        model: Model,
        n_tasks: int,
        q: int,
        max_iter: int,
    ) -> None:
        self.blocks, self.model, self.n_tasks = blocks, model, n_tasks
        self.q, self.max_iter = q, max_iter
        self.n_rows = sum(float(b.count.sum()) * b.tasks.shape[1] for b in blocks)
        self.active = sum(int(np.count_nonzero(b.count > 0)) * b.tasks.shape[1] for b in blocks)
        self.candidates: list[Candidate] = []
        self.tried: list[tuple[Learned, Candidate]] = []

    def run(self) -> list[tuple[Learned, Candidate]]:
        self._try(NoVariation(), None)
        if self.q > 1 and self.active > 1:
            scalar = self._try(Scalar(), None)
            if is_informed(Diagonal(), self.q, self.active, self.n_rows) and self.q > 2:
                self._beyond(self._try(Diagonal(), scalar))
            elif self.q == 2:
                self._beyond(scalar)
        return self.tried

    def _beyond(self, diagonal: Learned) -> None:
        """Try correlated coefficients if a score test says that they may be worth it."""
        promise = promised_gains(
            Marginal(self.blocks, diagonal.model, self.n_tasks), diagonal.params
        )
        base = diagonal.model.structure.price(self.q, self.n_rows)
        for candidates, gain in zip(correlated_structures(self.q), promise, strict=True):
            last = self.tried[-1][1].score if len(self.tried) > 2 else -np.inf
            start = diagonal
            for structure in candidates:
                cost = structure.price(self.q, self.n_rows) - base
                hopeless = start is diagonal and gain < cost
                if hopeless or not is_informed(structure, self.q, self.active, self.n_rows):
                    break
                start = self._try(structure, start)
                score = self.tried[-1][1].score
                if score < last:
                    break
                last = score

    def _try(self, structure: Structure, start: Learned | None) -> Learned:
        model = replace(self.model, structure=structure)
        learned = learn(
            self.blocks, model, self.n_tasks, tol=_ROUGH, max_iter=self.max_iter, start=start
        )
        size = structure.n_parameters(self.q)
        value = learned.log_likelihood + structure.log_prior(learned.params[:size], self.q)[0]
        candidate = Candidate(
            structure=structure,
            log_likelihood=float(value),
            n_parameters=size,
            price=structure.price(self.q, self.n_rows),
            n_tasks=self.active,
        )
        self.candidates.append(candidate)
        self.tried.append((learned, candidate))
        return learned


def promised_gains(marginal: Marginal, params: Array) -> tuple[float, float, float]:
    """Estimate by Rao's score test what correlations would add to the log-likelihood."""
    slope = marginal.evaluate(params).slope
    information = marginal.information(params)
    own = np.diagonal(marginal.model.structure.covariance(marginal.unpack(params)[0], marginal.q))
    return score_gains(slope, information, own, marginal.active)


def score_gains(
    slope: Array, information: Array, own: Array, tasks: float
) -> tuple[float, float, float]:
    """Return :func:`promised_gains` for a slope and its information."""
    # Shapes: slope, information (q, q), own (q,).
    q = len(own)
    varies = own > _NO_VARIANCE * own.max(initial=0.0)
    allowed = np.multiply.outer(varies, varies) & ~np.eye(q, dtype=bool)
    safe = np.where(allowed & (information > 0), information, np.inf)
    z = 2.0 * slope / np.sqrt(safe)
    whole = 0.25 * float(np.sum(z**2))
    direction = 0.25 * float(np.max(np.abs(np.linalg.eigvalsh(z)))) ** 2
    return direction, whole, whole / (1.0 + 2.0 * q / max(tasks, 1))


def correlated_structures(q: int) -> Iterator[tuple[Structure, ...]]:
    """Yield structures of correlated coefficients, each row of them from small to large."""
    largest = min(_LARGEST_RANK, q - 1)
    yield tuple(LowRank(rank) for rank in range(1, largest + 1)) if q > 3 else ()
    yield (Full(),)
    yield (Full(shrinkage=float(q)),)


def is_informed(structure: Structure, q: int, tasks: float, rows: float) -> bool:
    """Say whether tasks and rows are enough for a structure."""
    # Each contrast of tasks informs q parameters. With more parameters and means than rows a
    # covariance can reproduce the rows, and its likelihood is no evidence whatever the price
    # (``benchmarks/learned_prior_price.py``).
    size = structure.n_parameters(q)
    return bool(size <= q * (tasks - 1) and size + q <= rows)


def _sample(blocks: Sequence[Block], n_tasks: int) -> Sequence[Block]:
    """Return about `_SAMPLE` tasks, evenly spread over blocks, all of them if there are few."""
    if n_tasks <= 2 * _SAMPLE:
        return blocks
    step = n_tasks // _SAMPLE
    chosen = [block.lines(np.arange(0, len(block.count), step)) for block in blocks]
    return [block for block in chosen if len(block.count)]
