"""Search, then fit all rows with the choice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from polytask._checks import is_whole, one_of, sentence
from polytask._estimator import Outcomes
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, ParameterError
from polytask.linear.datafit import PULLED
from polytask.linear.fitting import (
    bound_penalty,
    check_solver_settings,
    solve,
    warn_unless_converged,
)
from polytask.linear.problem import Problem, Settings, build_problem
from polytask.metrics import accuracy
from polytask.penalties import Penalty
from polytask.selection.candidates import default_penalties
from polytask.selection.explained import HeldOutScore, held_out_score
from polytask.selection.folds import make_folds
from polytask.selection.grid import check_alphas
from polytask.selection.judging import PATH_TOL_FACTOR, CrossValidation, PathFitter
from polytask.selection.rules import RULES, Candidate, Rule
from polytask.selection.scoring import HeldOutLoss, HeldOutMetric, HeldOutR2, Scoring
from polytask.selection.search import INTERCEPT_STRENGTHS, TASK_WEIGHTS, SearchPlan, search
from polytask.solvers import Solution

if TYPE_CHECKING:
    import pandas as pd

# Where every strength needs all rows, so many of them are searched from coarse to fine.
_MANY_STRENGTHS = 20
# Strengths that are far apart are told apart by less precision.
_COARSE = 10.0

SCORINGS: dict[str | None, Scoring] = {
    None: HeldOutLoss(),
    "r2": HeldOutR2(),
    "accuracy": HeldOutMetric(accuracy, weighted=True),
}


class ChoosingEstimator(Protocol):
    """What every search reads of an estimator."""

    penalty: Any
    alphas: Any
    solver: Any
    task_weight: Any
    intercept: Any
    intercept_strength: float | None
    tol: float
    max_iter: int

    def _outcomes(self, data: TaskData) -> Outcomes: ...

    def _settings(self) -> Settings: ...


class SearchedEstimator(ChoosingEstimator, Protocol):
    """What :func:`fit_searched` reads of an estimator."""

    cv: Any
    rule: str
    scoring: Any
    n_jobs: int | None
    random_state: int | None


Chosen = tuple[Outcomes, Problem, Solution, list[Candidate], Candidate]


def fit_searched(estimator: SearchedEstimator, data: TaskData, raw: TaskData) -> Chosen:
    """Search on folds of the raw rows, then fit all rows with the choice."""
    owner = type(estimator).__name__
    check_solver_settings(estimator.solver, estimator.tol, estimator.max_iter, owner)
    one_of(estimator.rule, "rule", owner, RULES)
    outcomes = estimator._outcomes(data)
    plan = plan_of(estimator, data, outcomes, RULES[estimator.rule])
    scoring = _scoring(estimator.scoring, outcomes, owner)
    _check_jobs(estimator.n_jobs, owner)
    cv, seed = estimator.cv, estimator.random_state
    folds = make_folds(raw, data, outcomes, cv, seed, owner)
    many = isinstance(plan.alphas, int) and plan.alphas >= _MANY_STRENGTHS
    plan = replace(plan, coarse=many and not folds.light)
    repeats = len(folds.parts) * len(plan.penalties) * plan.n_alphas
    looser = PATH_TOL_FACTOR * (_COARSE if plan.coarse else 1.0)
    fitter = PathFitter(estimator.solver, estimator.tol, owner, looser, repeats=repeats)
    judge = CrossValidation(folds, scoring, fitter, estimator.n_jobs)

    def whole(settings: Settings) -> Problem:
        return build_problem(data, outcomes, settings, owner, folds.whole)

    found, best = search(plan, whole, judge)
    if any(classes is None for classes in outcomes.classes):
        exact = replace(fitter, max_iter=estimator.max_iter)
        best = replace(best, detail=held_out_score(folds.parts, best, exact))
    problem = whole(best.settings)
    return outcomes, problem, refitted(estimator, problem, best), found, best


def refitted(estimator: ChoosingEstimator, problem: Problem, best: Candidate) -> Solution:
    """Fit all rows with the choice, to the tolerance that was asked for."""
    bound = bound_penalty(problem, best.penalty)
    solution = solve(problem, bound, estimator.solver, estimator.tol, estimator.max_iter, None)
    warn_unless_converged(solution, type(estimator).__name__, estimator.tol)
    return solution


def keep_choice(estimator: Any, found: list[Candidate], best: Candidate) -> None:  # noqa: ANN401
    """Set the fitted attributes that every search has."""
    _check_scored(estimator, best)
    estimator.alpha_ = best.alpha
    estimator.best_penalty_ = best.penalty
    estimator.task_weight_ = best.settings.task_weight
    estimator.intercept_mode_ = best.settings.intercept
    estimator.intercept_strength_ = best.settings.intercept_strength
    rivals = [c for c in found if c.differs_in_strength(best)]
    estimator.alphas_ = np.array([c.alpha for c in rivals])
    estimator.candidates_ = tuple(
        (c.penalty, c.settings.task_weight, c.settings.intercept_strength) for c in found
    )
    estimator.intercept_modes_ = tuple(c.settings.intercept for c in found)


def _check_scored(estimator: Any, best: Candidate) -> None:  # noqa: ANN401 - a search
    """Refuse to choose where nothing can be told: the strongest penalty would seem the best."""
    if np.isfinite(best.score):
        return
    owner, criterion = type(estimator).__name__, getattr(estimator, "criterion", None)
    if criterion is not None:
        raise DataError(
            f"{criterion} of {owner} is infinite for every candidate: no task has a row to spare "
            "beside its degrees of freedom. Rows count by their weights, which should be about 1."
        )
    raise DataError(
        f"No candidate of {owner} has a score on every fold: it is undefined where too few labels "
        "are held out. Hold out more rows, or take scoring=None, the loss."
    )


def keep_search(estimator: Any, found: list[Candidate], best: Candidate) -> None:  # noqa: ANN401
    """Set the fitted attributes of a cross-validated search."""
    keep_choice(estimator, found, best)
    estimator.scores_ = np.stack([c.scores for c in found])
    rivals = [c for c in found if c.differs_in_strength(best)]
    estimator.alpha_scores_ = np.stack([c.scores for c in rivals])
    # The parameter may be set anew after the fit.
    scoring = estimator.scoring
    estimator._judged_by = "score" if callable(scoring) else scoring
    estimator.sizes_ = np.array([c.size for c in found])
    estimator.best_score_ = best.score
    # Classifiers are scored by their accuracy, which no search of the loss has computed.
    if isinstance(best.detail, HeldOutScore):
        estimator.held_out_score_ = best.detail.score
        estimator.held_out_error_ = best.detail.error


def choices_table(estimator: Any, columns: dict[str, Any]) -> pd.DataFrame:  # noqa: ANN401
    """Return the candidates of a fitted search as a table, with further columns."""
    import pandas as pd

    weights = [weight for _, weight, _ in estimator.candidates_]
    named = [weight if isinstance(weight, str) else "given" for weight in weights]
    return pd.DataFrame(
        {
            "penalty": [repr(penalty) for penalty, _, _ in estimator.candidates_],
            "alpha": [penalty.strength for penalty, _, _ in estimator.candidates_],
            "task_weight": named,
            "intercept": list(estimator.intercept_modes_),
            "intercept_strength": [strength for _, _, strength in estimator.candidates_],
            **columns,
        }
    )


def scores_table(estimator: Any) -> pd.DataFrame:  # noqa: ANN401 - a fitted search
    """Return the candidates of a cross-validated search with their mean scores."""
    scores = estimator.scores_
    folds = scores.shape[1]
    error = scores.std(axis=1, ddof=1) / np.sqrt(folds) if folds > 1 else np.nan
    columns = {"score": scores.mean(axis=1), "standard_error": error}
    return choices_table(estimator, columns | {"coefficients": estimator.sizes_})


def intercept_modes(intercept: object, owner: str) -> tuple[Any, ...]:
    """Return the intercept modes to try, one or several."""
    modes = tuple(intercept) if isinstance(intercept, list | tuple) else (intercept,)
    if not modes:
        allowed = "a kind of intercepts, or a list of one or more"
        raise ParameterError(sentence("intercept", owner, allowed, repr(intercept)))
    return modes


def _pulls(settings: Settings, data: TaskData, outcomes: Outcomes) -> bool:
    """Tell whether the intercepts of some tasks may be pulled together, or to a source's."""
    mode = settings.intercept
    if settings.source is not None:
        return mode in PULLED
    quantities = data.form is Form.TARGETS and all(c is None for c in outcomes.classes)
    return data.n_tasks > 1 and (mode == "toward_mean" or (mode == "auto" and not quantities))


def plan_of(
    estimator: ChoosingEstimator, data: TaskData, outcomes: Outcomes, rule: Rule
) -> SearchPlan:
    """Return what an estimator searches on some data."""
    owner = type(estimator).__name__
    settings = estimator._settings()
    modes = intercept_modes(estimator.intercept, owner)
    tried = [_with_mode(settings, mode, owner) for mode in modes]
    weights = TASK_WEIGHTS if estimator.task_weight is None else (estimator.task_weight,)
    strengths: tuple[float, ...] = (settings.intercept_strength,)
    if estimator.intercept_strength is None and any(_pulls(s, data, outcomes) for s in tried):
        strengths = INTERCEPT_STRENGTHS
    return SearchPlan(
        penalties=_penalties(estimator.penalty, owner),
        alphas=check_alphas(estimator.alphas, owner),
        settings=settings,
        task_weights=weights if data.n_tasks > 1 else weights[:1],
        intercepts=modes,
        intercept_strengths=strengths,
        rule=rule,
    )


def _with_mode(settings: Settings, mode: Any, owner: str) -> Settings:  # noqa: ANN401
    changed = replace(settings, intercept=mode)
    changed.check(owner)
    return changed


def _penalties(penalty: object, owner: str) -> tuple[Penalty, ...]:
    if penalty is None:
        return default_penalties()
    given = penalty if isinstance(penalty, list | tuple) else [penalty]
    if not given or not all(isinstance(p, Penalty) for p in given):
        allowed = "None, a penalty from polytask.penalties, or a list of them"
        raise ParameterError(sentence("penalty", owner, allowed, repr(penalty)))
    return tuple(given)


def _check_jobs(n_jobs: object, owner: str) -> None:
    if n_jobs is not None and (not is_whole(n_jobs) or int(n_jobs) == 0):
        raise ParameterError(
            sentence("n_jobs", owner, "None or an integer other than 0", repr(n_jobs))
        )


def _scoring(scoring: object, outcomes: Outcomes, owner: str) -> Scoring:
    if callable(scoring):
        return HeldOutMetric(scoring)
    one_of(scoring, "scoring", owner, [*SCORINGS, "a function (y, prediction) -> float"])
    if scoring == "accuracy" and any(classes is None for classes in outcomes.classes):
        allowed = "None or 'r2' where tasks are numbers"
        raise ParameterError(sentence("scoring", owner, allowed, repr(scoring)))
    return SCORINGS[scoring if scoring is None else str(scoring)]
