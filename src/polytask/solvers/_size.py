"""How much work a data term is."""

from __future__ import annotations

from polytask.datafits import Datafit, Samples, SquaredStatistics

# Below this many numbers other solvers are done before a compiled one is loaded.
_LARGE = 1_000_000
_REPEATS = 20
# After so many solves its start is paid for, however small they are.
_MANY = 100


def _numbers(datafit: Datafit) -> int:
    """Return how many products one pass over the data takes."""
    if isinstance(datafit, SquaredStatistics):
        d, columns = datafit.shape
        return d * d * columns
    if isinstance(datafit, Samples):
        return sum(block.y.size for block in datafit.blocks) * datafit.n_features
    return 0


def is_many(repeats: int) -> bool:
    """Say whether so many solves pay for the start of a compiled solver, whatever their size."""
    return repeats >= _MANY


def is_large(datafit: Datafit) -> bool:
    """Say whether a compiled solver is worth its start for one solve."""
    return _numbers(datafit) >= _LARGE


def is_large_repeated(datafit: Datafit) -> bool:
    """Say the same where many such problems are solved one after the other, to many digits."""
    return _numbers(datafit) >= _LARGE / _REPEATS
