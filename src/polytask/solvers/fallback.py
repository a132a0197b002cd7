"""From sufficient statistics back to the samples, where the statistics have lost digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from polytask.datafits import Datafit
from polytask.penalties import Penalty
from polytask.solvers.base import Solution, Status
from polytask.solvers.choose import choose

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
