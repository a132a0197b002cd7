"""What the searching estimators share: folds or a criterion, the choice, the fit of all rows."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from polytask._checks import is_whole, one_of, sentence
from polytask._estimator import Outcomes
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, ParameterError
from polytask.linear.base import LinearEstimator
from polytask.linear.datafit import PULLED, term_of
from polytask.linear.fitting import (
    blas_threads,
    bound_penalty,
    check_solver_settings,
    solve,
    warn_unless_converged,
    with_parts,
)
from polytask.linear.problem import Problem, Settings, build_problem
from polytask.metrics import accuracy
from polytask.penalties import Penalty
from polytask.selection.by_criterion import JUDGES, Task, WholeJudge
from polytask.selection.candidates import default_penalties, quadratic_penalties
from polytask.selection.deviance import Deviances, noise_groups
from polytask.selection.explained import held_out_score
from polytask.selection.folds import make_folds
from polytask.selection.grid import check_alphas
from polytask.selection.judging import PATH_TOL_FACTOR, CrossValidation, Judge, PathFitter
from polytask.selection.rules import RULES, Candidate, Rule, best_score
from polytask.selection.scoring import HeldOutLoss, HeldOutMetric, HeldOutR2, Scoring
from polytask.selection.search import INTERCEPT_STRENGTHS, TASK_WEIGHTS, SearchPlan, search
from polytask.solvers import Solver

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
# What is set by a search on folds, and what by a criterion.
_BY_FOLDS = ("scores_", "alpha_scores_", "best_score_", "held_out_score_", "held_out_error_")
_BY_CRITERION = (
    "criterion_",
    "best_criterion_",
    "criteria_",
    "alpha_criteria_",
    "noise_variance_",
)


class SearchEstimator(LinearEstimator, ABC):
    """Base of the linear estimators that choose penalty and strength."""

    penalty: Any
    criterion: str | None
    alphas: Any
    cv: Any
    rule: str
    scoring: Any
    solver: str | Solver
    task_weight: Any
    intercept: Any
    intercept_strength: float | None
    scale_targets: str | None = None
    class_weight: Any = None
    tol: float
    max_iter: int
    n_jobs: int | None
    random_state: int | None

    def _choices(self) -> dict[str, Any]:
        first = {
            "task_weight": "size" if self.task_weight is None else self.task_weight,
            "intercept": self._intercepts()[0],
            "intercept_strength": self._first_strength(),
        }
        return super()._choices() | first

    def _first_strength(self) -> float:
        return 1.0 if self.intercept_strength is None else self.intercept_strength

    def _intercepts(self) -> tuple[Any, ...]:
        """Return the kinds of intercepts to try, one or several."""
        given = self.intercept
        modes = tuple(given) if isinstance(given, list | tuple) else (given,)
        if not modes:
            allowed = "a kind of intercepts, or a list of one or more"
            raise ParameterError(sentence("intercept", type(self).__name__, allowed, repr(given)))
        return modes

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        check_solver_settings(self.solver, self.tol, self.max_iter, owner)
        for name in (*_BY_FOLDS, *_BY_CRITERION):
            self.__dict__.pop(name, None)
        if self.criterion is None:
            self._fit_by_folds(data, raw)
            return
        one_of(self.criterion, "criterion", owner, (*JUDGES, None))
        with blas_threads(self.n_jobs, owner):
            self._fit_by_criterion(data, self.criterion)

    def _fit_by_folds(self, data: TaskData, raw: TaskData) -> None:
        """Search on folds of the raw rows, then fit all rows with the choice."""
        owner = type(self).__name__
        one_of(self.rule, "rule", owner, RULES)
        outcomes = self._outcomes(data)
        plan = self._plan(data, outcomes, RULES[self.rule])
        scoring = _scoring(self.scoring, outcomes, owner)
        if self.n_jobs is not None and (not is_whole(self.n_jobs) or int(self.n_jobs) == 0):
            allowed = "None or an integer other than 0"
            raise ParameterError(sentence("n_jobs", owner, allowed, repr(self.n_jobs)))
        folds = make_folds(raw, data, outcomes, self.cv, self.random_state, owner)
        many = isinstance(plan.alphas, int) and plan.alphas >= _MANY_STRENGTHS
        plan = replace(plan, coarse=many and not folds.light)
        repeats = len(folds.parts) * len(plan.penalties) * plan.n_alphas
        looser = PATH_TOL_FACTOR * (_COARSE if plan.coarse else 1.0)
        fitter = PathFitter(self.solver, self.tol, owner, looser, repeats=repeats)
        judge = CrossValidation(folds, scoring, fitter, self.n_jobs)

        def whole(settings: Settings) -> Problem:
            return build_problem(data, outcomes, settings, owner, folds.whole)

        found, best, _ = self._chosen(data, outcomes, plan, whole, judge)
        self.scores_ = np.stack([c.scores for c in found])
        rivals = [c for c in found if c.differs_in_strength(best)]
        self.alpha_scores_ = np.stack([c.scores for c in rivals])
        # The parameter may be set anew after the fit.
        self._judged_by = "score" if callable(self.scoring) else self.scoring
        self.best_score_ = best.score
        # Classifiers are scored by their accuracy, which no search of the loss has computed.
        if any(classes is None for classes in outcomes.classes):
            exact = replace(fitter, max_iter=self.max_iter)
            explained = held_out_score(folds.parts, best, exact)
            self.held_out_score_, self.held_out_error_ = explained.score, explained.error

    def _fit_by_criterion(self, data: TaskData, criterion: str) -> None:
        """Fit every strength to all rows and choose by the criterion."""
        owner, settings = type(self).__name__, self._settings()
        outcomes = self._outcomes(data)
        groups = noise_groups(data, outcomes, settings.scale_targets, owner)
        plan = self._plan(data, outcomes, best_score)
        term = term_of(data, outcomes, settings.class_weight, owner)
        if self.penalty is None and criterion == "evidence":
            plan = replace(plan, penalties=quadratic_penalties())

        def whole(settings: Settings) -> Problem:
            return build_problem(data, outcomes, settings, owner, term)

        deviances = Deviances(data, outcomes, term, settings.class_weight, owner)
        fitter = PathFitter(self.solver, self.tol, owner)
        judge: WholeJudge = JUDGES[criterion](Task(whole, deviances, groups, fitter))
        judge.refuse(plan.penalties)
        found, best, problem = self._chosen(data, outcomes, plan, whole, judge)
        self.criterion_ = np.array([-c.score for c in found])
        self.best_criterion_ = -best.score
        self._judged_by = criterion
        self.criteria_ = judge.table(found)
        rivals = [k for k, c in enumerate(found) if c.differs_in_strength(best)]
        self.alpha_criteria_ = {name: v[rivals] for name, v in self.criteria_.items()}
        self.noise_variance_ = judge.noise(best, problem) * problem.targets.scale**2

    def _chosen(
        self,
        data: TaskData,
        outcomes: Outcomes,
        plan: SearchPlan,
        whole: Callable[[Settings], Problem],
        judge: Judge,
    ) -> tuple[list[Candidate], Candidate, Problem]:
        """Search, keep the choice, and fit all rows with it to the tolerance asked for."""
        found, best = search(plan, whole, judge)
        if not np.isfinite(best.score):
            # The strongest penalty would seem the best.
            raise DataError(self._nothing_to_tell())
        self.alpha_, self.best_penalty_ = best.alpha, best.penalty
        self.task_weight_ = best.settings.task_weight
        self.intercept_mode_ = best.settings.intercept
        self.intercept_strength_ = best.settings.intercept_strength
        self.alphas_ = np.array([c.alpha for c in found if c.differs_in_strength(best)])
        self.candidates_ = tuple(
            (c.penalty, c.settings.task_weight, c.settings.intercept_strength) for c in found
        )
        self.intercept_modes_ = tuple(c.settings.intercept for c in found)
        self.sizes_ = np.array([c.size for c in found])
        problem = whole(best.settings)
        bound = bound_penalty(problem, best.penalty)
        answer = solve(problem, bound, self.solver, self.tol, self.max_iter, None)
        solution = with_parts(answer, bound)
        warn_unless_converged(solution, type(self).__name__, self.tol)
        self._keep(data, outcomes, problem, solution)
        return found, best, problem

    def _nothing_to_tell(self) -> str:
        owner = type(self).__name__
        if self.criterion is not None:
            return (
                f"{self.criterion} of {owner} is infinite for every candidate: no task has a row "
                "to spare beside its degrees of freedom. Rows count by their weights, which "
                "should be about 1."
            )
        return (
            f"No candidate of {owner} has a score on every fold: it is undefined where too few "
            "labels are held out. Hold out more rows, or take scoring=None, the loss."
        )

    def _plan(self, data: TaskData, outcomes: Outcomes, rule: Rule) -> SearchPlan:
        """Return what is searched on some data."""
        owner, settings, modes = type(self).__name__, self._settings(), self._intercepts()
        tried = [replace(settings, intercept=mode) for mode in modes]
        for one in tried:
            one.check(owner)
        weights = TASK_WEIGHTS if self.task_weight is None else (self.task_weight,)
        strengths: tuple[float, ...] = (settings.intercept_strength,)
        if self.intercept_strength is None and any(_pulls(s, data, outcomes) for s in tried):
            strengths = INTERCEPT_STRENGTHS
        return SearchPlan(
            penalties=_penalties(self.penalty, owner),
            alphas=check_alphas(self.alphas, owner),
            settings=settings,
            task_weights=weights if data.n_tasks > 1 else weights[:1],
            intercepts=modes,
            intercept_strengths=strengths,
            rule=rule,
        )

    def search_frame(self) -> pd.DataFrame:
        """Return the candidates as a table.

        Returns
        -------
        pandas.DataFrame
            Columns penalty, alpha, task_weight, intercept, intercept_strength; score (the mean
            over the folds) and standard_error, or of a criterion what :meth:`criteria_frame`
            has; coefficients (other than zero).
        """
        import pandas as pd

        check_is_fitted(self)
        weights = [weight for _, weight, _ in self.candidates_]
        named = [weight if isinstance(weight, str) else "given" for weight in weights]
        table = {
            "penalty": [repr(penalty) for penalty, _, _ in self.candidates_],
            "alpha": [penalty.strength for penalty, _, _ in self.candidates_],
            "task_weight": named,
            "intercept": list(self.intercept_modes_),
            "intercept_strength": [strength for _, _, strength in self.candidates_],
        }
        if hasattr(self, "scores_"):
            folds = self.scores_.shape[1]
            deviation = self.scores_.std(axis=1, ddof=1) if folds > 1 else np.nan
            table["score"] = self.scores_.mean(axis=1)
            table["standard_error"] = deviation / np.sqrt(folds)
        else:
            table |= self.criteria_
        return pd.DataFrame(table | {"coefficients": self.sizes_})

    def criteria_frame(self) -> pd.DataFrame:
        """Return the candidates of a choice by a criterion as a table.

        Returns
        -------
        pandas.DataFrame
            Columns penalty, alpha, task_weight, intercept, intercept_strength, then df,
            log_likelihood and every criterion, or log_evidence and evidence; coefficients (other
            than zero).

        Raises
        ------
        DataError
            If the choice was made by folds.
        """
        check_is_fitted(self)
        if not hasattr(self, "criteria_"):
            raise DataError(
                f"This {type(self).__name__} chose by cross-validation: see search_frame()."
            )
        return self.search_frame()


def _pulls(settings: Settings, data: TaskData, outcomes: Outcomes) -> bool:
    """Tell whether the intercepts of some tasks may be pulled together, or to a source's."""
    mode = settings.intercept
    if settings.source is not None:
        return mode in PULLED
    quantities = data.form is Form.TARGETS and all(c is None for c in outcomes.classes)
    return data.n_tasks > 1 and (mode == "toward_mean" or (mode == "auto" and not quantities))


def _penalties(penalty: object, owner: str) -> tuple[Penalty, ...]:
    if penalty is None:
        return default_penalties()
    given = penalty if isinstance(penalty, list | tuple) else [penalty]
    if not given or not all(isinstance(p, Penalty) for p in given):
        allowed = "None, a penalty from polytask.penalties, or a list of them"
        raise ParameterError(sentence("penalty", owner, allowed, repr(penalty)))
    return tuple(given)


def _scoring(scoring: object, outcomes: Outcomes, owner: str) -> Scoring:
    if callable(scoring):
        return HeldOutMetric(scoring)
    one_of(scoring, "scoring", owner, [*SCORINGS, "a function (y, prediction) -> float"])
    if scoring == "accuracy" and any(classes is None for classes in outcomes.classes):
        allowed = "None or 'r2' where tasks are numbers"
        raise ParameterError(sentence("scoring", owner, allowed, repr(scoring)))
    return SCORINGS[scoring if scoring is None else str(scoring)]
