"""The solver for a pair of datafit and penalty."""

from __future__ import annotations

from polytask.datafits import Datafit
from polytask.exceptions import IncompatibleError
from polytask.penalties import Penalty
from polytask.solvers.accelerated import AcceleratedGradient
from polytask.solvers.base import Solver
from polytask.solvers.newton import Newton
from polytask.solvers.proximal_newton import ProximalNewton

# In order of preference.
SOLVERS: tuple[Solver, ...] = (Newton(), ProximalNewton(), AcceleratedGradient())


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
        reason = solver.accepts(datafit, penalty)
        if not reason:
            return solver
    raise IncompatibleError(reason)
