"""The solver for a pair of datafit and penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polytask.datafits import Datafit, SquaredStatistics
from polytask.exceptions import IncompatibleError
from polytask.penalties import LatentTasks, Penalty, Sum
from polytask.solvers.base import Solver
from polytask.solvers.block_descent import BlockDescent
from polytask.solvers.concomitant import Concomitant
from polytask.solvers.factored import Factored
from polytask.solvers.gradient import AcceleratedGradient, ExtrapolatedGradient
from polytask.solvers.group_descent import GroupDescent
from polytask.solvers.newton import Newton
from polytask.solvers.objective import is_large, is_many
from polytask.solvers.parts_gradient import PartsGradient, holds_parts
from polytask.solvers.proximal_newton import ProximalNewton
from polytask.solvers.reweighted import Reweighted
from polytask.solvers.separate_descent import SeparateDescent
from polytask.solvers.splitting import Splitting

# In order of preference.
SOLVERS: tuple[Solver, ...] = (
    Reweighted(),
    Factored(),
    Concomitant(),
    Newton(),
    BlockDescent(),
    SeparateDescent(),
    GroupDescent(),
    ExtrapolatedGradient(),
    ProximalNewton(),
    AcceleratedGradient(),
    PartsGradient(),
    Splitting(),
)


def _is_large_or_many(datafit: Datafit, repeats: int) -> bool:
    return is_large(datafit) or is_many(repeats)


def _is_large_or_many_moments(datafit: Datafit, repeats: int) -> bool:
    # On rows, local quadratics that ProximalNewton makes are faster.
    return is_large(datafit) or (is_many(repeats) and isinstance(datafit, SquaredStatistics))


def _is_large_quadratic(datafit: Datafit, repeats: int) -> bool:
    return datafit.is_quadratic and is_large(datafit)


# Solvers that are worth their start on some data only, or if many such problems are solved.
WORTH: Mapping[type[Solver], Callable[[Datafit, int], bool]] = {
    BlockDescent: _is_large_or_many,
    SeparateDescent: _is_large_or_many_moments,
    GroupDescent: _is_large_quadratic,
}


def _always(datafit: Datafit, repeats: int) -> bool:
    return True


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
    reason = ""
    for solver in SOLVERS:
        if not WORTH.get(type(solver), _always)(datafit, repeats):
            continue
        reason = solver.accepts(datafit, penalty)
        if not reason:
            many = isinstance(solver, ProximalNewton) and is_many(repeats)
            return ProximalNewton(compiled=True) if many else solver
    raise IncompatibleError(_why_none(datafit, penalty) or reason)


def _why_none(datafit: Datafit, penalty: Penalty) -> str:
    """Return why no solver takes penalties of a kind and what to use; empty if unknown."""
    # The solvers by themselves know of another solver only, and there is none.
    latent = isinstance(penalty, LatentTasks)
    if not datafit.is_smooth and (latent or holds_parts(penalty)):
        return (
            f"{penalty!r} needs a loss with a gradient, and that of quantiles has kinks: use "
            "loss='huber', which outliers do not rule either, or a penalty of W as a whole, such "
            "as L21 or TraceNorm."
        )
    if holds_parts(penalty):
        # No other solver says what is wrong with parts.
        return PartsGradient().accepts(datafit, penalty)
    if isinstance(penalty, Sum) and any(isinstance(m, LatentTasks) for m in penalty.members):
        return (
            "LatentTasks penalises the factors of W, and nothing can be added to it: use it "
            "alone, or TraceNorm in its place, which other penalties can be added to."
        )
    return ""
