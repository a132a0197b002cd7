"""polytask, through its estimators; along a path through a problem that is built once."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from problems import Problem

from polytask import MultiTaskClassifier, MultiTaskRegressor, MultiTaskRegressorCV
from polytask._estimator import regression
from polytask.data import TaskData
from polytask.linear.fitting import bound_penalty, solve
from polytask.linear.problem import Settings, build_problem
from polytask.losses import Squared
from polytask.penalties import L21, TraceNorm, toward_mean

PENALTIES = {"l21": L21, "trace": TraceNorm, "mean": toward_mean}
Solve = Callable[[float], list[np.ndarray]]


def prepare(problem: Problem) -> Solve:
    """Return the solver of a problem."""
    warnings.simplefilter("ignore")
    if problem.card.folds:
        return _searched(problem)
    several = len(problem.card.strengths) > 1
    return (_path if several else _one)(problem)


def _one(problem: Problem) -> Solve:
    card = problem.card
    task = None
    if card.design == "separate":
        task = np.repeat(np.arange(problem.n_tasks), np.diff(problem.offsets))
    y = problem.Y.astype(int) if card.loss == "logistic" else problem.Y
    kind = MultiTaskClassifier if card.loss == "logistic" else MultiTaskRegressor
    intercept = "task" if card.intercept else None

    def fit(tol: float) -> list[np.ndarray]:
        penalty = PENALTIES[card.penalty](card.strengths[0])
        model = kind(penalty, task_weight="equal", intercept=intercept, tol=tol)
        return [model.fit(problem.X, y, task=task).coef_.T]

    return fit


def _searched(problem: Problem) -> Solve:
    settings = {
        "alphas": problem.card.strengths,
        "cv": problem.splits(),
        "task_weight": "equal",
        "intercept": None,
        "standardize": False,
        "scale_targets": None,
    }

    def search(tol: float) -> list[np.ndarray]:
        found = MultiTaskRegressorCV(L21(), tol=tol, **settings).fit(problem.X, problem.Y)
        return [found.coef_.T, np.array(found.alpha_)]

    return search


def _path(problem: Problem) -> Solve:
    settings = Settings(task_weight="equal", intercept=None)

    def path(tol: float) -> list[np.ndarray]:
        data = TaskData.from_targets(problem.X, problem.Y)
        built = build_problem(data, regression(data, Squared(), "path"), settings, "the path")
        answers, last = [], None
        for strength in problem.card.strengths:
            penalty = bound_penalty(built, L21(strength))
            last = solve(built, penalty, "auto", tol, 100000, last)
            answers.append(last.W)
        return answers

    return path
