"""What the searching estimators share: folds or a criterion, the choice, the fit of all rows."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from polytask._checks import is_whole, one_of, sentence
from polytask._estimator import Outcomes
from polytask._estimator.conformal import learned_errors
from polytask._estimator.held_out_errors import ErrorRows
from polytask.data import Form, LeaveTasksOut, TaskData
from polytask.exceptions import DataError, ParameterError
from polytask.linear.base import LinearEstimator
from polytask.linear.datafit import PULLED, term_of
from polytask.linear.fitting import (
    blas_threads,
    check_solver_settings,
    fit_problem,
)
from polytask.linear.problem import Problem, Settings, build_problem
from polytask.messages import LazyMessage
from polytask.metrics import accuracy
from polytask.penalties import Penalty
from polytask.selection.by_criterion import JUDGES, CriterionData, WholeJudge
from polytask.selection.candidates import default_penalties, quadratic_penalties
from polytask.selection.deviance import Deviances, noise_groups
from polytask.selection.explained import FoldFits, held_out_score
from polytask.selection.fold_errors import errors_of_fold, nested_errors
from polytask.selection.folds import make_folds
from polytask.selection.grid import check_alphas
from polytask.selection.judging import PATH_TOL_FACTOR, CrossValidation, Judge, PathFitter
from polytask.selection.rules import RULES, Rule, ScoredChoice, best_score
from polytask.selection.scoring import FoldScoring, HeldOutLoss, HeldOutMetric, HeldOutR2
from polytask.selection.search import INTERCEPT_STRENGTHS, TASK_WEIGHTS, SearchPlan, search
from polytask.solvers import Solver

if TYPE_CHECKING:
    import pandas as pd

# Where every strength needs all rows, so many of them are searched from coarse to fine.
_MANY_STRENGTHS = 20
# Strengths that are far apart are told apart by less precision.
_COARSE = 10.0
# Whole tasks are held out in so many folds, for the intervals of unseen tasks.
_TASK_FOLDS = 5
# Strengths on both sides of a choice that a search around it tries.
_AROUND = 2

SCORINGS: dict[str | None, FoldScoring] = {
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


@dataclass(eq=False, repr=False)
class SearchEstimator(LinearEstimator, ABC):
    """Base of the linear estimators that choose penalty and strength; its docs are theirs too.

    Parameters
    ----------
    penalty : Penalty, list of Penalty or None, default=None
        What the tasks may share; each penalty is tried on its own grid of strengths and its
        own strength does not matter. None: near the tasks' mean (``toward_mean + L2``), the
        same features (``L21``), a common subspace (``TraceNorm``).
    criterion : {None, "aic", "aicc", "bic", "ebic", "gcv", "evidence"}, default=None
        None: cross-validation. Else no row is held out: every strength is fitted to all rows
        once, and what is chosen has the smallest criterion. "aic" and "gcv" predict well, "bic"
        and more so "ebic" find which features matter where a few do; "aicc" is "aic" for few
        rows. "evidence" is -2 log of the marginal likelihood of the normal prior that a
        quadratic penalty is, for the squared loss alone; None as the penalty is then
        ``toward_mean + L2`` and ``L2``. `cv`, `rule` and `scoring` are not used with a
        criterion, and penalties are convex, with one prox if not smooth.
    alphas : int or array, default=50
        Number of strengths per penalty, or the strengths. A number means a grid from the
        strength at which every coefficient vanishes down to a thousandth of it; for penalties
        without such a strength from 1e4 to 1e-4 times the mean curvature of the data.
    cv : int, splitter, or list of (train, test), default=5
        An integer splits the rows within every task, by class for classes.
    rule : {"min", "one_se", "pareto"}, default="min"
        The best mean score; the strongest of the same penalty within one standard error of it;
        or, over all penalties, the knee of the front between few coefficients and a good score:
        past it a coefficient buys less than the average one.
    scoring : {"r2", "accuracy"}, callable or None, default=None
        What is optimised. None: the held-out loss on scaled targets, every label counting the
        same. A name: the mean over tasks of that of each task alone, "r2" around the mean of
        its held-out rows. A callable takes (y, prediction) of one task, greater is better;
        tasks are averaged.
    solver : "auto" or Solver, default="auto"
        "auto" chooses by loss and penalty.
    task_weight : {"size", "equal"}, mapping, array or None, default=None
        Weights of the tasks; None searches "size" and "equal".
    intercept : {"auto", "task", "toward_mean", "shared", None} or list, default="auto"
        As in :class:`MultiTaskRegressor`; of a list, such as ``["task", "shared"]``, all are
        tried.
    intercept_strength : float or None, default=None
        Strength of "toward_mean"; None searches .1, 1, 10 and 100,
        then between.
    standardize : bool, default=True
        As in :class:`MultiTaskRegressor`, learned inside the training part of every fold.
    transfer_from : estimator or None, default=None
        As in :class:`MultiTaskRegressor`.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``.
    tol : float, default=1e-6
        Tolerance of the final fit; the paths on the folds use a hundred times as much, and
        200 iterations per strength at most.
    max_iter : int, default=10000
        Iterations of the final fit.
    n_jobs : int or None, default=None
        Folds fitted side by side: in threads where their moments are all that is needed, as
        for the squared loss with many rows, else in processes.
    random_state : int or None, default=0
        Seed of the splits of an integer `cv`.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    alpha_ : float
        The chosen strength.
    best_penalty_ : Penalty
        The chosen penalty with its strength.
    alphas_ : ndarray
        The strengths tried of the chosen penalty, strongest first.
    scores_ : ndarray of shape (n_candidates, n_folds)
        The score of every candidate; greater is better.
    alpha_scores_ : ndarray of shape (n_alphas, n_folds)
        Those of the strengths of ``alphas_``.
    candidates_ : tuple of (Penalty, task weight, intercept strength)
        What the rows of ``scores_`` are.
    best_score_ : float
        Mean over the folds of what is optimised, of the chosen candidate.
    held_out_score_, held_out_error_ : float
        What :meth:`score` is, of the held-out rows of all folds predicted by the chosen
        candidate, each fold against its own training mean; and its standard error over the
        folds, NaN with one. The best of many candidates looks better than it is. Classifiers
        lack them: their score is the accuracy, which no search of the loss computes.
    sizes_ : ndarray of shape (n_candidates,)
        Coefficients other than zero, the mean over the folds.
    criterion_, criteria_, alpha_criteria_ : ndarray, dict of str to ndarray
        With a criterion: its value for every candidate, smaller is better; degrees of freedom
        ("df"), log-likelihood and every criterion, as :meth:`criteria_frame`; and these of the
        strengths in ``alphas_``. There are no ``scores_``, ``alpha_scores_``, ``best_score_``
        and ``held_out_score_`` then.
    best_criterion_ : float
        That of the chosen one.
    noise_variance_ : ndarray of shape (n_tasks,)
        With a criterion: the variance (dispersion) of the noise of each task, in the units of
        its target squared; 1 where the loss has no free one.
    task_weight_, intercept_mode_, intercept_strength_
        The chosen ones.

    Raises
    ------
    IncompatibleError
        With a criterion, if the loss is no likelihood (it is for squared, logistic, multinomial,
        Poisson and gamma), or the degrees of freedom of a penalty are not known.

    Notes
    -----
    Task weights, kinds of intercepts and their strengths are searched in turn with the
    penalties: all penalties on their whole grids under the first setting; the best penalty
    under all settings, and the other penalties under the best setting, with the strengths
    around the best of each; at last the whole grid of the winner.
    Where every strength needs all rows, as for classes, a number of strengths of 20 or more is
    searched from coarse to fine: every fourth strength, down to where the scores of held-out
    rows fall, then those around the best one.
    :func:`polytask.selection.variants` makes penalties of several proportions to try.
    """

    penalty: Any = None  # penalty, list or None
    _: KW_ONLY
    criterion: str | None = None
    alphas: Any = 50  # number or strengths
    cv: Any = 5  # number, splitter or pairs
    rule: str = "min"
    scoring: Any = None  # name or callable
    loss: Any = "auto"  # name, loss or mapping
    solver: str | Solver = "auto"
    task_weight: Any = None
    intercept: Any = "auto"  # a kind, or a list of kinds
    intercept_strength: float | None = None
    standardize: bool = True
    transfer_from: Any = None  # a fitted estimator
    task_column: str | int | None = None
    unseen_tasks: str = "error"
    tol: float = 1e-6
    max_iter: int = 10000
    n_jobs: int | None = None
    random_state: int | None = 0
    date_features: bool = False

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
            allowed = LazyMessage("allowed.intercepts")
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
            allowed = LazyMessage("allowed.jobs")
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
        fits = FoldFits(folds.parts, replace(fitter, max_iter=self.max_iter))
        # Classifiers are scored by their accuracy, which no search of the loss has computed.
        if any(classes is None for classes in outcomes.classes):
            explained = held_out_score(fits, best)
            self.held_out_score_, self.held_out_error_ = explained.score, explained.error
        # Statistics have no rows to err on.
        if raw.fold is None and raw.parts is None:
            errors = nested_errors(fits, found, plan.rule)
            if self.unseen_tasks == "shared" and raw.form is not Form.TARGETS and raw.n_tasks > 1:
                cv = LeaveTasksOut(min(_TASK_FOLDS, raw.n_tasks), random_state=self.random_state)
                strange = make_folds(raw, data, outcomes, cv, self.random_state, owner)
                fits = FoldFits(strange.parts, fits.fitter)
                errors += [errors_of_fold(fits, k, best) for k in range(len(strange.parts))]
            self._held_out = learned_errors(ErrorRows.joined(errors), self, raw)

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
        judge: WholeJudge = JUDGES[criterion](CriterionData(whole, deviances, groups, fitter))
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
    ) -> tuple[list[ScoredChoice], ScoredChoice, Problem]:
        """Search, keep the choice, and fit all rows with it to the tolerance asked for."""
        found, best = search(plan, whole, judge)
        if not np.isfinite(best.score):
            # The strongest penalty would seem the best.
            raise DataError(self._nothing_to_tell())
        self.alpha_, self.best_penalty_, self._family = best.alpha, best.penalty, best.family
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
        solution = fit_problem(self, problem, best.penalty, None)
        self._keep(data, outcomes, problem, solution)
        return found, best, problem

    def _place(self) -> dict[str, Any]:
        """Return where the choice lies, as numbers and text that :meth:`_near` takes."""
        at = int(np.argmin(np.abs(self.alphas_ - self.alpha_)))
        around = self.alphas_[max(at - _AROUND, 0) : at + _AROUND + 1]
        found = {"family": self._family, "alphas": [float(alpha) for alpha in around]}
        if self.task_weight is None:
            found["task_weight"] = self.task_weight_
        if isinstance(self.intercept, list | tuple):
            found["intercept"] = self.intercept_mode_
        if self.intercept_strength is None:
            found["intercept_strength"] = float(self.intercept_strength_)
        return found

    def _near(self, place: dict[str, Any]) -> Self:
        """Return an unfitted copy that searches the strengths around a choice alone."""
        rest = dict(place)
        penalty = _penalties(self.penalty, type(self).__name__)[rest.pop("family")]
        found: Self = clone(self).set_params(penalty=penalty, **rest)
        return found

    def _nothing_to_tell(self) -> LazyMessage:
        fields = {"owner": type(self).__name__}
        if self.criterion is not None:
            fields["criterion"] = str(self.criterion)
            return LazyMessage("selection.refusal.criterion_infinite", fields)
        return LazyMessage("selection.refusal.no_score", fields)

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
            fields = {"kind": type(self).__name__}
            raise DataError(LazyMessage("selection.refusal.no_criteria", fields))
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
        allowed = LazyMessage("allowed.penalties")
        raise ParameterError(sentence("penalty", owner, allowed, repr(penalty)))
    return tuple(given)


def _scoring(scoring: object, outcomes: Outcomes, owner: str) -> FoldScoring:
    if callable(scoring):
        return HeldOutMetric(scoring)
    one_of(scoring, "scoring", owner, SCORINGS, "allowed.scoring")
    if scoring == "accuracy" and any(classes is None for classes in outcomes.classes):
        allowed = LazyMessage("allowed.scoring_of_numbers")
        raise ParameterError(sentence("scoring", owner, allowed, repr(scoring)))
    return SCORINGS[scoring if scoring is None else str(scoring)]
