"""The regularisation path of a search: every strength, fitted to all rows."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier

from polytask._checks import sentence
from polytask._estimator.card import checksum
from polytask._estimator.training import encode, encode_training, training_data
from polytask.data import TaskData
from polytask.exceptions import ConvergenceWarning, DataError, ParameterError
from polytask.linear.problem import Problem, build_problem
from polytask.messages import LazyMessage
from polytask.selection.base import SearchEstimator
from polytask.selection.judging import Path, PathFitter
from polytask.selection.path_result import Measure, RegularizationPath
from polytask.selection.rules import within_one_error

Array = NDArray[np.float64]

OWNER = "regularization_path"
# Singular values below this share of the largest are rounding.
_RANK = 1e-8


def regularization_path(
    estimator: Any,  # noqa: ANN401 - a search
    X: Any,  # noqa: ANN401
    y: Any = None,  # noqa: ANN401
    task: Any = None,  # noqa: ANN401
    sample_weight: Any = None,  # noqa: ANN401
) -> RegularizationPath:
    """Return error and coefficients of a searched penalty at every strength.

    The error is that of held-out rows, or the criterion of a search by one.

    The search is that of the estimator; the coefficients are those of all rows, under the task
    weights and intercepts that it chose, each strength from the one before.

    Parameters
    ----------
    estimator : MultiTaskRegressorCV, or one for classes or both kinds
        Fitted on these data, or not fitted: then a copy is fitted.
    X, y, task, sample_weight
        As in ``fit``.

    Returns
    -------
    RegularizationPath
        Of the penalty that the search chose; name one penalty in the estimator for the path of
        that one.

    Raises
    ------
    ParameterError
        If the estimator searches no strengths by folds or a criterion.
    DataError
        If it was fitted on other data.

    References
    ----------
    J. Friedman, T. Hastie and R. Tibshirani, "Regularization paths for generalized linear
    models via coordinate descent", Journal of Statistical Software 33 (2010), section 2.5.

    Examples
    --------
    >>> from polytask import MultiTaskRegressorCV
    >>> from polytask.datasets import load_diabetes_groups
    >>> from polytask.penalties import L21
    >>> from polytask.selection import regularization_path
    >>> patients = load_diabetes_groups()
    >>> model = MultiTaskRegressorCV(L21(), alphas=5)
    >>> path = regularization_path(model, patients.X, patients.y, task=patients.task)
    >>> path.kept.tolist()[0], path.coef.shape[0]
    (0, 5)
    """
    if not isinstance(estimator, SearchEstimator):
        allowed = LazyMessage("allowed.search_of_strengths")
        raise ParameterError(sentence("estimator", OWNER, allowed, repr(estimator)))
    fitted = hasattr(estimator, "alphas_")
    model = estimator if fitted else clone(estimator)
    if not fitted:
        model.fit(X, y, task=task, sample_weight=sample_weight)
    raw = training_data(X, y, task, sample_weight, model.task_column, OWNER)
    if fitted and checksum(encode_training(raw)[0]) != model.data_card_.checksum:
        fields = {"owner": OWNER, "kind": type(model).__name__}
        raise DataError(LazyMessage("selection.refusal.other_data", fields))
    if not hasattr(model, "alpha_scores_") and not hasattr(model, "alpha_criteria_"):
        fields = {"owner": OWNER, "kind": type(model).__name__}
        raise DataError(LazyMessage("selection.refusal.no_scores_kept", fields))
    return fitted_path(model, raw)


def fitted_path(
    model: Any,  # noqa: ANN401 - a fitted search
    raw: TaskData,
    *,
    exact: bool = True,
) -> RegularizationPath:
    """Return the path of a fitted search."""
    problem = _problem_of(model, raw)
    found = _solved(model, problem, exact)
    scaled = np.stack([W for W, _ in found])
    judged = _by_criterion if hasattr(model, "alpha_criteria_") else _by_folds
    scores, measure, df = judged(model)
    chosen = int(np.argmin(np.abs(model.alphas_ - model.alpha_)))
    best, one_se = within_one_error(scores, model.alphas_)
    return RegularizationPath(
        penalty=model.best_penalty_,
        alphas=model.alphas_,
        scores=scores,
        measure=measure,
        coef=np.stack([problem.original_units(W, b)[0] for W, b in found]),
        sizes=np.linalg.norm(scaled, axis=2),
        entries=scaled.reshape(len(scaled), -1),
        ranks=np.array([_rank(W) for W in scaled], dtype=np.intp),
        features=tuple(str(name) for name in model.coef_feature_names_),
        columns=tuple(model.columns_),
        best=best,
        one_se=one_se,
        chosen=chosen,
        df=df,
    )


# Scores, what they are, and degrees of freedom.
_Judgement = tuple[Array, Measure, Array | None]


def _by_folds(model: Any) -> _Judgement:  # noqa: ANN401 - a fitted search
    # A model that was saved by an earlier version has its parameter alone.
    scoring = getattr(model, "_judged_by", model.scoring)
    if scoring is None:
        usual = is_classifier(model) and model.loss != "squared_hinge"
        kind = "log_loss" if usual else "squared" if model.loss in ("auto", "squared") else "loss"
        label = LazyMessage(f"measure.{kind}")
        best = LazyMessage("strength.least_loss")
        measure = Measure("loss", label, greater_is_better=False, best=best)
    else:
        label = LazyMessage("measure.score", {"score": scoring})
        label = LazyMessage("measure.r2_within") if scoring == "r2" else label
        best = LazyMessage("strength.best")
        measure = Measure(scoring, label, greater_is_better=True, best=best)
    return model.alpha_scores_, measure, None


def _by_criterion(model: Any) -> _Judgement:  # noqa: ANN401 - a fitted search
    found = model.alpha_criteria_
    name = getattr(model, "_judged_by", model.criterion)
    short = "-2 log evidence" if name == "evidence" else name.upper()
    label = LazyMessage("measure.criterion", {"name": short})
    label = LazyMessage("measure.evidence") if name == "evidence" else label
    best = LazyMessage("strength.least", {"name": short})
    measure = Measure(name, label, greater_is_better=False, best=best)
    return -found[name][:, None], measure, found.get("df")


def _problem_of(model: Any, raw: TaskData) -> Problem:  # noqa: ANN401 - a fitted search
    """Return the problem of all rows under the settings that were chosen."""
    data = raw if model.encoder_ is None else encode(raw, model.encoder_)
    settings = replace(
        model._settings(),
        task_weight=model.task_weight_,
        intercept=model.intercept_mode_,
        intercept_strength=model.intercept_strength_,
    )
    return build_problem(data, model._outcomes(data), settings, type(model).__name__)


def _solved(model: Any, problem: Problem, exact: bool) -> list[tuple[Array, Array]]:  # noqa: ANN401
    """Return scaled coefficients and intercepts of every strength."""
    owner = type(model).__name__
    fitter = PathFitter(model.solver, model.tol, owner)
    if exact:
        fitter = replace(fitter, looser=1.0, max_iter=model.max_iter)
    positions = np.arange(len(model.alphas_))
    path = Path(0, model.best_penalty_, model.alphas_, model._settings(), positions)
    solutions = [solution for _, solution in fitter.fits(problem, path)]
    open_ended = sum(not solution.status.ok for solution in solutions)
    if exact and open_ended:
        fields = {"owner": OWNER, "count": open_ended, "n": len(solutions), "model": owner}
        message = LazyMessage("warn.strengths", fields | {"tol": f"{model.tol:g}"})
        warnings.warn(ConvergenceWarning(message), stacklevel=3)
    exists = True if problem.present is None else problem.present.T
    return [(np.where(exists, s.W, 0.0), s.intercept) for s in solutions]


def _rank(W: Array) -> int:
    values = np.linalg.svd(W, compute_uv=False)
    return int(np.count_nonzero(values > _RANK * values.max(initial=0.0)))
