"""Search, then fit all rows with the choice."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from polytask._checks import one_of, sentence
from polytask._estimator import Outcomes
from polytask.data import Form, TaskData
from polytask.exceptions import ParameterError
from polytask.linear._fitting import (
    bound_penalty,
    check_solver_settings,
    solve,
    warn_unless_converged,
)
from polytask.linear._intercepts import PULLED
from polytask.linear._problem import Problem, Settings, build_problem
from polytask.metrics import accuracy
from polytask.penalties import Penalty
from polytask.selection.candidates import default_penalties
from polytask.selection.folds import make_folds
from polytask.selection.grid import check_alphas
from polytask.selection.rules import RULES, Candidate
from polytask.selection.scoring import HeldOutLoss, HeldOutMetric, HeldOutR2, Scoring
from polytask.selection.search import (
    INTERCEPT_STRENGTHS,
    TASK_WEIGHTS,
    SearchPlan,
    search,
)
from polytask.solvers import Solution

SCORINGS: dict[str | None, Scoring] = {
    None: HeldOutLoss(),
    "r2": HeldOutR2(),
    "accuracy": HeldOutMetric(accuracy),
}


class SearchedEstimator(Protocol):
    """What :func:`fit_searched` reads of an estimator."""

    penalty: Any
    alphas: Any
    cv: Any
    rule: str
    scoring: Any
    solver: Any
    task_weight: Any
    intercept: str | None
    intercept_strength: float | None
    tol: float
    max_iter: int
    n_jobs: int | None
    random_state: int | None

    def _outcomes(self, data: TaskData) -> Outcomes: ...

    def _settings(self) -> Settings: ...


def fit_searched(
    estimator: SearchedEstimator, data: TaskData, raw: TaskData
) -> tuple[Outcomes, Problem, Solution, list[Candidate], Candidate]:
    """Search on folds of the raw rows, then fit all rows with the choice.

    Parameters
    ----------
    estimator : SearchedEstimator
        With its parameters.
    data : TaskData
        All rows, encoded.
    raw : TaskData
        The same rows before encoding.

    Returns
    -------
    tuple of (Outcomes, Problem, Solution, list of Candidate, Candidate)
        The last is the chosen one.
    """
    owner = type(estimator).__name__
    check_solver_settings(estimator.solver, estimator.tol, estimator.max_iter, owner)
    outcomes = estimator._outcomes(data)
    plan = _plan(estimator, data, outcomes, owner)

    cv, seed = estimator.cv, estimator.random_state
    folds = make_folds(raw, data, outcomes, cv, seed, owner)

    def whole(settings: Settings) -> Problem:
        return build_problem(data, outcomes, settings, owner, folds.whole)

    found, best = search(plan, whole, folds)
    problem = whole(best.settings)
    bound = bound_penalty(problem, best.penalty)
    solution = solve(problem, bound, estimator.solver, estimator.tol, estimator.max_iter, None)
    warn_unless_converged(solution, owner, estimator.tol)
    return outcomes, problem, solution, found, best


def keep_search(estimator: Any, found: list[Candidate], best: Candidate) -> None:  # noqa: ANN401
    """Set the fitted attributes of a search."""
    estimator.alpha_ = best.alpha
    estimator.best_penalty_ = best.penalty
    estimator.task_weight_ = best.settings.task_weight
    estimator.intercept_strength_ = best.settings.intercept_strength
    rivals = [c for c in found if c.family == best.family and c.settings == best.settings]
    estimator.alphas_ = np.array([c.alpha for c in rivals])
    estimator.scores_ = np.stack([c.scores for c in found])
    estimator.candidates_ = tuple(
        (c.penalty, c.settings.task_weight, c.settings.intercept_strength) for c in found
    )
    estimator.best_score_ = best.score


def _pulls(settings: Settings, data: TaskData, outcomes: Outcomes) -> bool:
    """Tell whether the intercepts of some tasks may be pulled together, or to a source's."""
    mode = settings.intercept
    if settings.source is not None:
        return mode in PULLED
    quantities = data.form is Form.TARGETS and all(c is None for c in outcomes.classes)
    return data.n_tasks > 1 and (mode == "toward_mean" or (mode == "auto" and not quantities))


def _plan(
    estimator: SearchedEstimator, data: TaskData, outcomes: Outcomes, owner: str
) -> SearchPlan:
    one_of(estimator.rule, "rule", owner, RULES)
    settings = estimator._settings()
    weights = TASK_WEIGHTS if estimator.task_weight is None else (estimator.task_weight,)
    strengths: tuple[float, ...] = (settings.intercept_strength,)
    if estimator.intercept_strength is None and _pulls(settings, data, outcomes):
        strengths = INTERCEPT_STRENGTHS
    return SearchPlan(
        penalties=_penalties(estimator.penalty, owner),
        alphas=check_alphas(estimator.alphas, owner),
        settings=settings,
        task_weights=weights if data.n_tasks > 1 else weights[:1],
        intercept_strengths=strengths,
        rule=RULES[estimator.rule],
        scoring=_scoring(estimator.scoring, owner),
        tol=estimator.tol,
        solver=estimator.solver,
        n_jobs=estimator.n_jobs,
        owner=owner,
    )


def _penalties(penalty: object, owner: str) -> tuple[Penalty, ...]:
    if penalty is None:
        return default_penalties()
    given = penalty if isinstance(penalty, list | tuple) else [penalty]
    if not given or not all(isinstance(p, Penalty) for p in given):
        allowed = "None, a penalty from polytask.penalties, or a list of them"
        raise ParameterError(sentence("penalty", owner, allowed, repr(penalty)))
    return tuple(given)


def _scoring(scoring: object, owner: str) -> Scoring:
    if callable(scoring):
        return HeldOutMetric(scoring)
    one_of(scoring, "scoring", owner, [*SCORINGS, "a function (y, prediction) -> float"])
    return SCORINGS[scoring if scoring is None else str(scoring)]
