"""Which rows make up the batches of an epoch, where every row belongs to one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from polytask._checks import positive
from polytask._registry import saveable

Rows = NDArray[np.intp]


@runtime_checkable
class Sampling(Protocol):
    """Draws the row numbers of one epoch, batch by batch."""

    def epoch(self, sizes: Rows, batch_size: int, rng: np.random.Generator) -> list[Rows]:
        """Return the rows of each batch. Shapes: sizes (n_tasks,)."""
        ...


@saveable("deep.sampling.proportional")
@dataclass(frozen=True)
class Proportional:
    """Every row once in an epoch, in random order: tasks appear in proportion to their rows."""

    def epoch(self, sizes: Rows, batch_size: int, rng: np.random.Generator) -> list[Rows]:
        """Return all rows, shuffled and cut into batches."""
        return in_batches(rng.permutation(int(sizes.sum())), batch_size)


@saveable("deep.sampling.temperature")
@dataclass(frozen=True)
class Temperature:
    """Tasks are drawn with probabilities in proportion to ``n_t ** (1 / temperature)``.

    Parameters
    ----------
    temperature : float, default=2.0
        1: in proportion to rows; the larger, the more alike.
    """

    temperature: float = 2.0

    def __post_init__(self) -> None:
        positive(self.temperature, "temperature", "Temperature")

    def epoch(self, sizes: Rows, batch_size: int, rng: np.random.Generator) -> list[Rows]:
        """Return as many rows as there are, tasks drawn by their probabilities."""
        return _drawn(sizes, sizes ** (1.0 / self.temperature), batch_size, rng)


@saveable("deep.sampling.uniform")
@dataclass(frozen=True)
class Uniform:
    """Every task is equally likely for each row of a batch; see :class:`Temperature`."""

    def epoch(self, sizes: Rows, batch_size: int, rng: np.random.Generator) -> list[Rows]:
        """Return as many rows as there are, tasks drawn with equal probabilities."""
        return _drawn(sizes, (sizes > 0).astype(float), batch_size, rng)


@saveable("deep.sampling.in_step")
@dataclass(frozen=True)
class InStep:
    """Every batch has equally many rows of every task, at least one."""

    # With more tasks than ``batch_size`` a batch is as large as there are tasks. Small tasks
    # come round more often than large ones; an epoch looks at as many rows as there are.

    def epoch(self, sizes: Rows, batch_size: int, rng: np.random.Generator) -> list[Rows]:
        """Return batches with all tasks side by side."""
        known = np.flatnonzero(sizes)
        share = max(1, batch_size // len(known))
        batches = -(-int(sizes.sum()) // (share * len(known)))
        first = np.cumsum(sizes) - sizes
        cycles = [first[t] + _cycle(batches * share, int(sizes[t]), rng) for t in known]
        stacked = np.stack(cycles).reshape(len(known), batches, share)
        return [stacked[:, b].ravel() for b in range(batches)]


SAMPLINGS: Mapping[str, Sampling] = {
    "proportional": Proportional(),
    "uniform": Uniform(),
    "temperature": Temperature(),
    "in_step": InStep(),
}


def in_batches(rows: Rows, batch_size: int) -> list[Rows]:
    """Cut rows into batches; a single row that is left over joins the batch before it.

    Parameters
    ----------
    rows : ndarray of int
        Numbers of rows.
    batch_size : int
        How many a batch has.
    """
    # Batch norm cannot take a batch of one row.
    starts = np.arange(batch_size, len(rows), batch_size)
    if len(starts) and len(rows) - starts[-1] == 1:
        starts = starts[:-1]
    return np.split(rows, starts)


def _drawn(
    sizes: Rows, share: NDArray[np.floating[Any]], size: int, rng: np.random.Generator
) -> list[Rows]:
    counts = rng.multinomial(int(sizes.sum()), share / share.sum())
    first = np.cumsum(sizes) - sizes
    drawn = [first[t] + _cycle(int(counts[t]), int(sizes[t]), rng) for t in np.flatnonzero(counts)]
    return in_batches(rng.permutation(np.concatenate(drawn)), size)


def _cycle(count: int, size: int, rng: np.random.Generator) -> Rows:
    """Return `count` of `size` rows, each once in random order before any comes again."""
    rounds = [rng.permutation(size) for _ in range(-(-count // size))]
    return np.concatenate(rounds)[:count] if len(rounds) > 1 else rounds[0][:count]
