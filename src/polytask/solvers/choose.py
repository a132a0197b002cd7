"""The solver for a pair of datafit and penalty, and what goes on where statistics do not do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from polytask.datafits import Datafit
from polytask.exceptions import IncompatibleError
from polytask.messages import LazyMessage, Text
from polytask.penalties import Penalty, Sum
from polytask.penalties.base import OfFactors, about
from polytask.solvers.base import Solution, Solver, Status
from polytask.solvers.candidates import CONVEX, first_of
from polytask.solvers.concomitant import Concomitant
from polytask.solvers.factored import Factored
from polytask.solvers.parts_gradient import PartsGradient, holds_parts
from polytask.solvers.reweighted import Reweighted
from polytask.solvers.splitting import Splitting

# In order of preference.
SOLVERS: tuple[Solver, ...] = (
    Concomitant(),
    *CONVEX,
    Reweighted(),
    Factored(),
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


# An iteration now costs a pass over the rows, and precision that is not there costs many.
_MOST_STEPS = 500


def on_samples(
    found: Solution, make: Callable[[], Datafit], penalty: Penalty, tol: float, max_iter: int
) -> Solution:
    """Go on with the samples where a solver stalled on their statistics.

    Second moments hold squares of the features, so that what is smaller than the root of the
    unit of rounding beside a mean or beside another feature is lost from them, but not from
    the rows.

    Parameters
    ----------
    found : Solution
        On the statistics; returned as it is unless it is stalled.
    make : callable
        Makes the data term on samples.
    penalty, tol, max_iter
        As in :meth:`Solver.solve`; the iterations of both count.

    Returns
    -------
    Solution
        The better one in the eyes of the samples: the certified one, else the one with the
        lower objective. Its status says what happened.
    """
    if found.status is not Status.STALLED:
        return found
    datafit = make()
    most = min(max(max_iter - found.n_iter, 1), _MOST_STEPS)
    # Where the statistics led, unless zero is better.
    led = datafit.value_at(found.W, found.intercept) <= datafit.origin.value
    solver, start = choose(datafit, penalty), found if led else None
    other = solver.solve(datafit, penalty, tol=tol, max_iter=most, start=start)
    other = replace(
        other, n_iter=found.n_iter + other.n_iter, seconds=found.seconds + other.seconds
    )
    if other.status is Status.CONVERGED:
        return replace(other, status=Status.ON_SAMPLES)
    if other.status.ok:
        return other
    with np.errstate(over="ignore", invalid="ignore"):
        value = datafit.value_at(found.W, found.intercept) + float(penalty.value(found.W))
    # So far from a certificate, only the objective tells.
    better = other if not value <= other.objective else found
    return replace(
        better,
        status=Status.STALLED_ON_SAMPLES,
        n_iter=other.n_iter,
        seconds=other.seconds,
    )
