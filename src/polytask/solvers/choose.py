"""The solver for a pair of datafit and penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polytask.datafits import Datafit, Samples, SquaredStatistics
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty
from polytask.solvers.accelerated import AcceleratedGradient
from polytask.solvers.base import Solver
from polytask.solvers.block_descent import BlockDescent
from polytask.solvers.extrapolated import ExtrapolatedGradient
from polytask.solvers.newton import Newton
from polytask.solvers.proximal_newton import ProximalNewton
from polytask.solvers.separate_descent import SeparateDescent

# In order of preference.
SOLVERS: tuple[Solver, ...] = (
    Newton(),
    BlockDescent(),
    SeparateDescent(),
    ExtrapolatedGradient(),
    ProximalNewton(),
    AcceleratedGradient(),
)

# Below this many numbers other solvers are done before a compiled one is loaded.
_LARGE = 1_000_000


def _numbers(datafit: Datafit) -> int:
    """Return how many products one pass over the data takes."""
    if isinstance(datafit, SquaredStatistics):
        d, columns = datafit.shape
        return d * d * columns
    if isinstance(datafit, Samples):
        return sum(block.y.size for block in datafit.blocks) * datafit.n_features
    return 0


def _is_large(datafit: Datafit) -> bool:
    return _numbers(datafit) >= _LARGE


# Solvers that are worth their start on some data only.
WORTH: Mapping[type[Solver], Callable[[Datafit], bool]] = {
    BlockDescent: _is_large,
    SeparateDescent: _is_large,
}


def _always(datafit: Datafit) -> bool:
    return True


def choose(datafit: Datafit, penalty: Penalty) -> Solver:
    """Return the best solver that accepts the pair.

    Parameters
    ----------
    datafit : Datafit
        The data term.
    penalty : Penalty
        Bound, with a strength.

    Returns
    -------
    Solver

    Raises
    ------
    IncompatibleError
        If no solver accepts it; the message gives the reason.
    """
    reason = ""
    for solver in SOLVERS:
        if not WORTH.get(type(solver), _always)(datafit):
            continue
        reason = solver.accepts(datafit, penalty)
        if not reason:
            return solver
    raise IncompatibleError(reason)
