"""The solver for a pair of datafit and penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polytask.datafits import Datafit
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty
from polytask.solvers._size import is_large
from polytask.solvers.accelerated import AcceleratedGradient
from polytask.solvers.base import Solver
from polytask.solvers.block_descent import BlockDescent
from polytask.solvers.extrapolated import ExtrapolatedGradient
from polytask.solvers.factored import Factored
from polytask.solvers.newton import Newton
from polytask.solvers.parts_gradient import PartsGradient, holds_parts
from polytask.solvers.proximal_newton import ProximalNewton
from polytask.solvers.reweighted import Reweighted
from polytask.solvers.separate_descent import SeparateDescent
from polytask.solvers.splitting import Splitting

# In order of preference.
SOLVERS: tuple[Solver, ...] = (
    Reweighted(),
    Factored(),
    Newton(),
    BlockDescent(),
    SeparateDescent(),
    ExtrapolatedGradient(),
    ProximalNewton(),
    AcceleratedGradient(),
    PartsGradient(),
    Splitting(),
)

# Solvers that are worth their start on some data only.
WORTH: Mapping[type[Solver], Callable[[Datafit], bool]] = {
    BlockDescent: is_large,
    SeparateDescent: is_large,
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
    # No other solver says what is wrong with parts.
    raise IncompatibleError(
        PartsGradient().accepts(datafit, penalty) if holds_parts(penalty) else reason
    )
