"""Fit an estimator that has one given penalty."""

from __future__ import annotations

from typing import Any, Protocol

from polytask._checks import one_of
from polytask._estimator import Outcomes
from polytask.data import TaskData
from polytask.linear._fitting import (
    bound_penalty,
    check_penalty_object,
    solve,
    warn_unless_converged,
)
from polytask.linear._problem import Problem, Settings, build_problem
from polytask.linear._threads import blas_threads
from polytask.penalties import Penalty
from polytask.solvers import Solution


class PenalisedEstimator(Protocol):
    """What :func:`fit_penalised` reads of an estimator."""

    penalty: Penalty | None
    solver: Any
    tol: float
    max_iter: int
    warm_start: bool
    n_jobs: int | None

    def _outcomes(self, data: TaskData) -> Outcomes: ...

    def _settings(self) -> Settings: ...


def fit_penalised(
    estimator: PenalisedEstimator, data: TaskData
) -> tuple[Outcomes, Problem, Solution]:
    """Build the problem of an estimator and solve it."""
    owner = type(estimator).__name__
    penalty = check_penalty_object(estimator.penalty, owner)
    one_of(estimator.warm_start, "warm_start", owner, (True, False))
    settings = estimator._settings()
    outcomes = estimator._outcomes(data)
    with blas_threads(estimator.n_jobs, owner):
        problem = build_problem(data, outcomes, settings, owner)
        bound = bound_penalty(problem, penalty)
        start = getattr(estimator, "solution_", None) if estimator.warm_start else None
        chosen, tol, max_iter = estimator.solver, estimator.tol, estimator.max_iter
        solution = solve(problem, bound, chosen, tol, max_iter, start)
    warn_unless_converged(solution, owner, estimator.tol)
    return outcomes, problem, solution
