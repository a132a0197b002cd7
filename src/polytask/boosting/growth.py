"""Trees that grow on the marginal likelihood of rows of tasks, as many as held-out rows favour."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from polytask.bayes.blocks import Array, Index
from polytask.bayes.choose import Candidate

# The prior is learned anew after so many trees, in so many evaluations at most.
EVERY, EVALUATIONS = 5, 20

Folds = Sequence[tuple[Index, Index]]


class Boosting(Protocol):
    """Trees as they grow on rows, and the prior of what they leave of the targets."""

    n_iter: int

    def grow(self) -> None:
        """Add a tree to every sum of trees."""
        ...

    def values(self, *, held: bool = False) -> Array:
        """Return the k sums of trees in the n rows they grow on, or held out, shape (k, n)."""
        ...


Learned = TypeVar("Learned")
Part = TypeVar("Part", bound=Boosting)


class Likelihood(ABC, Generic[Learned, Part]):
    """The marginal likelihood of rows of tasks, given trees."""

    n_rows: int
    n_sums = 1

    @abstractmethod
    def learned(self, rows: Index, values: Array) -> tuple[Learned, tuple[Candidate, ...]]:
        """Learn the prior of what trees leave of rows, its structure too if none is given."""
        # Shapes: rows (n,), values (n_sums, n).

    @abstractmethod
    def boosting(self, train: Index, held: Index | None, learned: Learned, learns: bool) -> Part:
        """Return no trees yet for rows, to be known of others too; `learns`: the prior anew."""

    @abstractmethod
    def loss(self, parts: Sequence[Part]) -> float:
        """Return the mean loss of held-out rows given the other rows of their task."""


@dataclass(frozen=True, eq=False)
class Grown(Generic[Learned, Part]):
    """What was learned, and sums of trees in rows that, with folds, they did not see."""

    # Shapes: losses (trees that were tried + 1,), known (k,), values (n_sums, k).

    n_iter: int
    losses: Array
    learned: Learned
    candidates: tuple[Candidate, ...]
    last: Part
    known: Index
    values: Array


def grow(
    likelihood: Likelihood[Learned, Part], folds: Folds, limits: tuple[int, int]
) -> Grown[Learned, Part]:
    """Grow trees; `limits` are their number at most, and how many may bring nothing."""
    every = np.arange(likelihood.n_rows)
    nothing = np.zeros((likelihood.n_sums, likelihood.n_rows))
    learned, candidates = likelihood.learned(every, nothing)
    n_iter, losses = limits[0], np.zeros(0)
    known, values = every, nothing
    if folds:
        found = _held_out(likelihood, learned, folds, limits)
        n_iter, losses, known, values = found.n_iter, found.losses, found.known, found.values
        # Trees leave less of the rows that they grew on: the prior is that of rows they did not.
        learned, candidates = likelihood.learned(known, values)
    last = likelihood.boosting(every, None, learned, learns=not folds)
    while last.n_iter < n_iter:
        last.grow()
    if not folds and n_iter:
        values = last.values()
        learned, candidates = likelihood.learned(every, values)
    return Grown(n_iter, losses, learned, candidates, last, known, values)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Sums of trees in rows that they did not see. Shapes: known (k,), values (n_sums, k)."""

    n_iter: int
    losses: Array
    known: Index
    values: Array


def _held_out(
    likelihood: Likelihood[Learned, Part],
    learned: Learned,
    folds: Folds,
    limits: tuple[int, int],
) -> _HeldOut:
    """Grow trees on every fold side by side until the held-out loss falls no more."""
    parts = [likelihood.boosting(train, held, learned, learns=True) for train, held in folds]
    rows = np.concatenate([held for _, held in folds])
    losses: list[float] = []
    best, values = 0, np.zeros((likelihood.n_sums, 0))
    while True:
        losses.append(likelihood.loss(parts))
        if losses[-1] < losses[best] or len(losses) == 1:
            best = len(losses) - 1
            values = np.concatenate([part.values(held=True) for part in parts], axis=1)
        n_iter = len(losses) - 1
        if n_iter >= limits[0] or n_iter - best >= limits[1]:
            break
        for part in parts:
            part.grow()
    # A row that was held out several times has the mean of what was predicted.
    times = np.bincount(rows, minlength=likelihood.n_rows)
    known = np.flatnonzero(times)
    means = [np.bincount(rows, own, minlength=likelihood.n_rows) for own in values]
    return _HeldOut(best, np.array(losses), known, np.array(means)[:, known] / times[known])
