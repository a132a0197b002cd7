"""The solver for a pair of datafit and penalty."""

from __future__ import annotations

from polytask.datafits import Datafit
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage, Text
from polytask.penalties import Penalty, Sum
from polytask.penalties.base import OfFactors, about
from polytask.solvers.base import Solver
from polytask.solvers.candidates import CONVEX, first_of
from polytask.solvers.concomitant import Concomitant
from polytask.solvers.factored import Factored
from polytask.solvers.parts_gradient import PartsGradient, holds_parts
from polytask.solvers.reweighted import Reweighted
from polytask.solvers.splitting import Splitting

# In order of preference.
SOLVERS: tuple[Solver, ...] = (
    Reweighted(),
    Factored(),
    Concomitant(),
    *CONVEX,
    PartsGradient(),
    Splitting(),
)


def choose(datafit: Datafit, penalty: Penalty, repeats: int = 1) -> Solver:
    """Return the best solver that accepts the pair.

    Parameters
    ----------
    datafit : Datafit
        The data term.
    penalty : Penalty
        Bound, with a strength.
    repeats : int, default=1
        How many problems of this kind are solved, as in a search.

    Returns
    -------
    Solver

    Raises
    ------
    IncompatibleError
        If no solver accepts it; the message gives the reason.
    """
    solver, reason = first_of(SOLVERS, datafit, penalty, repeats)
    if solver is None:
        raise IncompatibleError(_why_none(datafit, penalty) or reason)
    return solver


def _why_none(datafit: Datafit, penalty: Penalty) -> Text:
    """Return why no solver takes penalties of a kind and what to use; empty if unknown."""
    # The solvers by themselves know of another solver only, and there is none.
    if not datafit.is_smooth and (isinstance(penalty, OfFactors) or holds_parts(penalty)):
        return about(penalty, "solver.refusal.gradient_needed")
    if holds_parts(penalty):
        # No other solver says what is wrong with parts.
        return PartsGradient().accepts(datafit, penalty)
    if isinstance(penalty, Sum) and any(isinstance(m, OfFactors) for m in penalty.members):
        return LazyMessage("solver.refusal.latent_alone")
    return ""
