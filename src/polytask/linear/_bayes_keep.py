"""The answer of a search for a prior in the words of the solvers, and widths of intervals."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.special

from polytask._checks import number, sentence
from polytask.exceptions import ConvergenceWarning, ParameterError
from polytask.linear._bayes_fit import BayesFit
from polytask.linear.prediction import LinearTasks
from polytask.solvers import Solution
from polytask.solvers.base import Certificate, Status


def solution_of(found: BayesFit, linear: LinearTasks, max_iter: int) -> Solution:
    """Return coefficients, objective and certificate of a fit."""
    learned = found.learned
    status, residual, n_iter, seconds = Status.CONVERGED, 0.0, 0, 0.0
    if learned is not None:
        residual, n_iter, seconds = learned.residual, learned.n_iter, learned.seconds
        if not learned.converged:
            status = Status.MAX_ITER if n_iter >= max_iter else Status.STALLED
    return Solution(
        W=np.asarray(linear.coef, dtype=float).T,
        intercept=np.asarray(linear.intercept, dtype=float),
        objective=-found.log_likelihood,
        certificate=Certificate(gap=None, residual=residual, reference=0.0),
        status=status,
        n_iter=n_iter,
        seconds=seconds,
    )


def warn_unless_ok(solution: Solution, n_iter: int, tol: float, owner: str) -> None:
    """Warn if the search stopped before its tolerance."""
    if not solution.status.ok:
        warnings.warn(
            f"{owner} stopped after {n_iter} evaluations of the likelihood with a relative "
            f"residual of {solution.residual:.2e}; tol={tol:g} asked for less. "
            f"{solution.status.value}",
            ConvergenceWarning,
            stacklevel=5,
        )


def half_width(level: object, owner: str) -> float:
    """Return how many standard deviations an interval reaches to each side."""
    allowed = "a number above 0 and below 1"
    value = number(level, "level", owner, allowed)
    if not 0 < value < 1:
        raise ParameterError(sentence("level", owner, allowed, repr(level)))
    return float(scipy.special.ndtri(0.5 + value / 2.0))
