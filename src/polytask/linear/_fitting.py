"""Fit one problem with one penalty, and say so if it did not converge."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from polytask._checks import one_of, positive, positive_integer, sentence
from polytask.exceptions import (
    ConvergenceWarning,
    DataError,
    IncompatibleError,
    ParameterError,
)
from polytask.linear._problem import Problem
from polytask.linear._split_parts import with_parts
from polytask.linear._threads import iterating
from polytask.penalties import L21, Penalty
from polytask.solvers import (
    Certificate,
    Solution,
    Solver,
    Status,
    choose,
    null_gradient,
    on_samples,
)

DEFAULT_FRACTION = 0.1


def check_solver_settings(solver: object, tol: object, max_iter: object, owner: str) -> None:
    """Raise ParameterError unless solver, tol and max_iter can be used."""
    if not isinstance(solver, Solver):
        one_of(solver, "solver", owner, ("auto",))
    positive(tol, "tol", owner)
    positive_integer(max_iter, "max_iter", owner)


def check_penalty_object(penalty: object, owner: str) -> Penalty:
    """Return the penalty, the default for None."""
    if penalty is None:
        return L21(fraction=DEFAULT_FRACTION)
    if not isinstance(penalty, Penalty):
        allowed = "None or a penalty from polytask.penalties"
        got = repr(penalty)
        if isinstance(penalty, str):
            got += f", a text: write polytask.penalties.parse({penalty!r})"
        raise ParameterError(sentence("penalty", owner, allowed, got))
    return penalty


def bound_penalty(problem: Problem, penalty: Penalty) -> Penalty:
    """Bind a penalty to the columns and turn its fractions into strengths."""
    bound = problem.bound(penalty)
    null = bound.null_point
    point = np.zeros(problem.datafit.shape) if null is None else np.asarray(null, dtype=float)
    if point.shape != problem.datafit.shape:
        d, columns = problem.datafit.shape
        raise IncompatibleError(
            f"The penalty {penalty!r} is shifted by a matrix of shape {point.shape}; the "
            f"coefficients have shape ({d}, {columns})."
        )
    return bound.resolved(null_gradient(problem.datafit, bound))


def chosen_solver(
    problem: Problem,
    penalty: Penalty,
    solver: Any,  # noqa: ANN401 - "auto" or a Solver
    repeats: int = 1,
) -> Solver:
    """Return the solver, chosen for so many bound penalties where it is "auto"."""
    return solver if isinstance(solver, Solver) else choose(problem.datafit, penalty, repeats)


def solve(
    problem: Problem,
    penalty: Penalty,
    solver: Any,  # noqa: ANN401 - "auto" or a Solver
    tol: float,
    max_iter: int,
    start: Solution | None,
) -> Solution:
    """Solve with a bound penalty; `solver` is "auto" or a Solver."""
    chosen = chosen_solver(problem, penalty, solver)
    reason = chosen.accepts(problem.datafit, penalty)
    if reason:
        raise IncompatibleError(reason)
    usable = start is not None and start.W.shape == problem.datafit.shape
    with iterating():
        begin = _safe(start, problem) if usable else _at_centre(problem)
        solution = chosen.solve(problem.datafit, penalty, tol=tol, max_iter=max_iter, start=begin)
        if problem.samples is not None:
            solution = on_samples(solution, problem.samples, penalty, tol, max_iter)
    if not (np.isfinite(solution.W).all() and np.isfinite(solution.intercept).all()):
        raise DataError(
            "The coefficients grew beyond all numbers: a feature is almost constant zero, or the "
            "values differ too much in size. Rescale the features, or set standardize=True."
        )
    return with_parts(solution, penalty)


def _safe(start: Solution | None, problem: Problem) -> Solution | None:
    """Return a start, or None where an exponential overflows there: on other data, say."""
    datafit = problem.datafit
    if start is None or datafit.is_bounded:
        return start
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(datafit.value_at(start.W, start.intercept))
    return start if finite else None


def _at_centre(problem: Problem) -> Solution | None:
    """Return where to start: at the coefficients that the penalty pulls to, None for 0."""
    if problem.centre is None:
        return None
    at = problem.datafit.evaluate(problem.centre)
    unknown = Certificate(None, float("inf"), 0.0)
    W, b = problem.centre.copy(), at.intercept
    return Solution(W, b, float("inf"), unknown, Status.MAX_ITER, 0, 0.0)


def warn_unless_converged(solution: Solution, owner: str, tol: float) -> None:
    """Warn with the certificate that was reached."""
    if solution.status.ok:
        return
    if solution.status is Status.ENDLESS:
        warnings.warn(f"{owner}: {solution.status.value}", ConvergenceWarning, stacklevel=5)
        return
    kind = "fixed-point residual" if solution.gap is None else "duality gap"
    warnings.warn(
        f"{owner} stopped after {solution.n_iter} iterations with a relative {kind} of "
        f"{solution.certificate.relative:.2e}; tol={tol:g} asked for less. "
        f"{solution.status.value}",
        ConvergenceWarning,
        stacklevel=5,
    )
