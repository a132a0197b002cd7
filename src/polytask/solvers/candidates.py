"""Which solver takes a convex problem: the order of preference, and what is worth its start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from polytask.datafits import Datafit, InParts, Samples, SquaredStatistics
from polytask.messages import Text
from polytask.penalties import Penalty
from polytask.penalties.base import about
from polytask.solvers.base import Solver
from polytask.solvers.block_descent import BlockDescent
from polytask.solvers.driver import SplitSolver, split_of
from polytask.solvers.gradient import AcceleratedGradient, ExtrapolatedGradient
from polytask.solvers.group_descent import GroupDescent
from polytask.solvers.newton import Newton
from polytask.solvers.proximal_newton import ProximalNewton
from polytask.solvers.separate_descent import SeparateDescent

# In order of preference, for penalties with a prox.
CONVEX: tuple[Solver, ...] = (
    Newton(),
    BlockDescent(),
    SeparateDescent(),
    GroupDescent(),
    ExtrapolatedGradient(),
    ProximalNewton(),
    AcceleratedGradient(),
)

# Below this many numbers other solvers are done before a compiled one is loaded.
_LARGE = 1_000_000
# After so many solves its start is paid for, however small they are.
MANY = 100


def numbers(datafit: Datafit) -> float:
    """Return how many products one pass over the data takes, in units of what is large."""
    if isinstance(datafit, SquaredStatistics):
        d, columns = datafit.shape
        return d * d * columns / _LARGE
    if isinstance(datafit, Samples):
        return sum(block.y.size for block in datafit.blocks) * datafit.n_features / _LARGE
    return 0.0


def _is_large_or_many(datafit: Datafit, repeats: int) -> bool:
    return numbers(datafit) >= 1 or repeats >= MANY


def _is_large_or_many_moments(datafit: Datafit, repeats: int) -> bool:
    # On rows, local quadratics that ProximalNewton makes are faster.
    many = repeats >= MANY and isinstance(datafit, SquaredStatistics)
    return numbers(datafit) >= 1 or many


def _is_large_quadratic(datafit: Datafit, repeats: int) -> bool:
    return datafit.is_quadratic and numbers(datafit) >= 1


# Solvers that are worth their start on some data only, or if many such problems are solved.
WORTH: Mapping[type[Solver], Callable[[Datafit, int], bool]] = {
    BlockDescent: _is_large_or_many,
    SeparateDescent: _is_large_or_many_moments,
    GroupDescent: _is_large_quadratic,
}


def first_of(
    solvers: Iterable[Solver], datafit: Datafit, penalty: Penalty, repeats: int = 1
) -> tuple[Solver | None, Text]:
    """Return the first solver that takes a problem and is worth it, or why none does."""
    split, undivided = split_of(datafit, penalty)
    reason, in_parts = undivided, isinstance(datafit, InParts)
    for solver in solvers:
        if in_parts and not solver.few_passes:
            continue
        worth = WORTH.get(type(solver))
        if worth is not None and not worth(datafit, repeats):
            continue
        if not isinstance(solver, SplitSolver):
            reason = solver.accepts(datafit, penalty)
        elif split is not None:
            reason = solver.refusal(datafit, penalty, split)
        else:
            reason = undivided
        if not reason:
            many = isinstance(solver, ProximalNewton) and repeats >= MANY
            return ProximalNewton(compiled=True) if many else solver, ""
    return None, about(penalty, "solver.refusal.in_parts") if in_parts else reason
