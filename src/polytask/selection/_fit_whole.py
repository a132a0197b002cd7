"""Choose by a criterion: one path per penalty on all rows, and no folds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from polytask._checks import one_of
from polytask.data import TaskData
from polytask.linear.datafit import term_of
from polytask.linear.fitting import blas_threads, check_solver_settings
from polytask.linear.problem import Problem, Settings, build_problem
from polytask.selection._fit import (
    ChoosingEstimator,
    Chosen,
    choices_table,
    keep_choice,
    plan_of,
    refitted,
)
from polytask.selection.by_criterion import JUDGES, Task, WholeJudge
from polytask.selection.candidates import quadratic_penalties
from polytask.selection.deviance import Deviances, noise_groups
from polytask.selection.judging import PathFitter
from polytask.selection.rules import Candidate, best_score
from polytask.selection.search import search

if TYPE_CHECKING:
    import pandas as pd


class CriterionEstimator(ChoosingEstimator, Protocol):
    """What :func:`fit_by_criterion` reads of an estimator."""

    criterion: str
    n_jobs: int | None


def fit_by_criterion(estimator: CriterionEstimator, data: TaskData) -> Chosen:
    """Fit every strength to all rows and choose by the criterion; set what it found."""
    owner = type(estimator).__name__
    check_solver_settings(estimator.solver, estimator.tol, estimator.max_iter, owner)
    one_of(estimator.criterion, "criterion", owner, JUDGES)
    with blas_threads(estimator.n_jobs, owner):
        return _chosen(estimator, data, owner)


def _chosen(estimator: CriterionEstimator, data: TaskData, owner: str) -> Chosen:
    outcomes = estimator._outcomes(data)
    settings = estimator._settings()
    groups = noise_groups(data, outcomes, settings.scale_targets, owner)
    plan = plan_of(estimator, data, outcomes, best_score)
    term = term_of(data, outcomes, settings.class_weight, owner)
    if estimator.penalty is None and estimator.criterion == "evidence":
        plan = replace(plan, penalties=quadratic_penalties())

    def whole(settings: Settings) -> Problem:
        return build_problem(data, outcomes, settings, owner, term)

    deviances = Deviances(data, outcomes, term, settings.class_weight, owner)
    fitter = PathFitter(estimator.solver, estimator.tol, owner)
    judge = JUDGES[estimator.criterion](Task(whole, deviances, groups, fitter))
    judge.refuse(plan.penalties)
    found, best = search(plan, whole, judge)
    problem = whole(best.settings)
    _keep_criterion(estimator, judge, found, best, problem)
    return outcomes, problem, refitted(estimator, problem, best), found, best


def _keep_criterion(
    estimator: Any,  # noqa: ANN401 - any of the estimators
    judge: WholeJudge,
    found: list[Candidate],
    best: Candidate,
    problem: Problem,
) -> None:
    keep_choice(estimator, found, best)
    estimator.criterion_ = np.array([-c.score for c in found])
    estimator.best_criterion_ = -best.score
    # The parameter may be set anew after the fit.
    estimator._judged_by = estimator.criterion
    estimator.sizes_ = np.array([c.size for c in found])
    estimator.criteria_ = judge.table(found)
    rivals = [k for k, c in enumerate(found) if c.differs_in_strength(best)]
    estimator.alpha_criteria_ = {name: v[rivals] for name, v in estimator.criteria_.items()}
    estimator.noise_variance_ = judge.noise(best, problem) * problem.targets.scale**2


def criteria_table(estimator: Any) -> pd.DataFrame:  # noqa: ANN401 - a fitted one
    """Return the candidates with everything that is known of them."""
    return choices_table(estimator, {**estimator.criteria_, "coefficients": estimator.sizes_})
