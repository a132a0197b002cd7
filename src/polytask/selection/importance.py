"""Which choices of a search mattered."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import GridSearchCV

from polytask._checks import one_of, sentence
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage
from polytask.selection.base import SearchEstimator
from polytask.selection.tuning import Tuned, distribution_of, load_optuna

if TYPE_CHECKING:
    import pandas as pd

OWNER = "importance"
# What a search by folds chooses beside the strength, and what is chosen anew with each.
_AXES: Mapping[str, tuple[str, ...]] = {
    "penalty": (),
    "task_weight": (),
    "intercept": ("intercept_strength",),
    "intercept_strength": (),
}
_EVALUATORS: Mapping[str, Callable[[Any, int], Any]] = {
    "fanova": lambda kinds, seed: kinds.FanovaImportanceEvaluator(seed=seed),
    "mdi": lambda kinds, seed: kinds.MeanDecreaseImpurityImportanceEvaluator(seed=seed),
    "ped_anova": lambda kinds, seed: kinds.PedAnovaImportanceEvaluator(),
}
# Proportions come out of divisions.
_DIGITS = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?")
# Fewer finished trials say nothing about several parameters.
_LEAST = 4


def importance(
    found: Any,  # noqa: ANN401 - a fitted search, or a Tuned
    evaluator: str = "fanova",
    random_state: int = 0,
) -> pd.DataFrame:
    """Return which hyper-parameters of a search decided about the score.

    Of a search by folds, every hyper-parameter is moved alone, from the best settings under which
    several of its values were tried, the strength being chosen anew each time: its share is that
    of the variance of the mean scores along it in the sum of these variances. Of
    :func:`polytask.selection.tune`, it is what an evaluator of Optuna says of the finished
    trials. Of a grid of scikit-learn, it is the variance of the mean scores of its values in that
    of all candidates; what is missing to 1 is how they act on one another.

    Parameters
    ----------
    found : MultiTaskRegressorCV, MultiTaskClassifierCV, MultiTaskModelCV, GridSearchCV or Tuned
        Fitted, or what ``tune`` returned.
    evaluator : {"fanova", "mdi", "ped_anova"}, default="fanova"
        Of Optuna: the variance explained by a random forest; the mean decrease of impurity in
        it; the divergence between good trials and all. Searches by folds have no use for it.
    random_state : int, default=0
        Seed of the random forest.

    Returns
    -------
    pandas.DataFrame
        Columns parameter, share (the largest first; adds up to 1 but for a grid), spread
        (standard deviation of the scores along it; NaN of a ``Tuned``), tried (how many values).

    Raises
    ------
    ParameterError
        If it is no search, or there is no such evaluator.
    DataError
        If too little was tried to tell.

    References
    ----------
    F. Hutter, H. Hoos and K. Leyton-Brown, "An efficient approach for assessing hyperparameter
    importance", ICML 2014 (fanova).

    Examples
    --------
    >>> from polytask import MultiTaskRegressorCV
    >>> from polytask.datasets import load_diabetes_groups
    >>> from polytask.selection import importance
    >>> patients = load_diabetes_groups()
    >>> model = MultiTaskRegressorCV(alphas=10).fit(patients.X, patients.y, task=patients.task)
    >>> importance(model)["parameter"].iloc[0]
    'strength'
    """
    one_of(evaluator, "evaluator", OWNER, tuple(_EVALUATORS))
    if isinstance(found, Tuned):
        return _frame(_of_trials(found, evaluator, random_state))
    if isinstance(found, GridSearchCV) and hasattr(found, "cv_results_"):
        return _frame(_of_grid(found.cv_results_))
    if not isinstance(found, SearchEstimator) or not hasattr(found, "alpha_scores_"):
        allowed = LazyMessage("allowed.fitted_search")
        raise ParameterError(sentence("found", OWNER, allowed, repr(found)))
    rows = search_shares(found)
    if not rows:
        raise DataError(LazyMessage("selection.refusal.one_candidate", {"owner": OWNER}))
    return _frame(rows)


# Name, share, spread, number of values tried.
Row = tuple[str, float, float, int]


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=["parameter", "share", "spread", "tried"])


def search_shares(model: Any) -> list[Row]:  # noqa: ANN401 - a fitted search by folds
    """Return name, share, spread and number of values of what a search chose, largest first."""
    along = {"strength": [float(v) for v in model.alpha_scores_.mean(axis=1)]}
    candidates = _candidates(model)
    for name, anew in _AXES.items():
        fixed = [other for other in _AXES if other != name and other not in anew]
        along[name] = _moved(candidates, name, fixed)
    tried = {name: [v for v in scores if math.isfinite(v)] for name, scores in along.items()}
    spreads = {name: float(np.std(scores)) for name, scores in tried.items() if len(scores) > 1}
    total = sum(spread**2 for spread in spreads.values())
    rows = [
        (name, spread**2 / total if total else 0.0, spread, len(tried[name]))
        for name, spread in spreads.items()
    ]
    return sorted(rows, key=lambda row: -row[1])


def _moved(
    candidates: Sequence[tuple[dict[str, Any], float]], name: str, fixed: Sequence[str]
) -> list[float]:
    """Return the best scores of the values of a setting that were tried with the others fixed."""
    # The others are what they were when several values were tried, at best.
    groups: dict[tuple[Any, ...], dict[Any, float]] = {}
    for settings, score in candidates:
        if math.isfinite(score):
            best = groups.setdefault(tuple(settings[other] for other in fixed), {})
            best[settings[name]] = max(score, best.get(settings[name], -math.inf))
    several = [list(best.values()) for best in groups.values() if len(best) > 1]
    return max(several, key=max, default=[])


def _candidates(model: Any) -> list[tuple[dict[str, Any], float]]:  # noqa: ANN401
    scores = model.scores_.mean(axis=1)
    rows = zip(model.candidates_, model.intercept_modes_, scores, strict=True)
    return [
        (_named(penalty, weight, mode, strength), float(score))
        for (penalty, weight, strength), mode, score in rows
    ]


def _named(penalty: Any, weight: Any, mode: Any, strength: float) -> dict[str, Any]:  # noqa: ANN401
    # Of one kind and proportion, whatever the strength; weights may be an array.
    return {
        "penalty": _DIGITS.sub(lambda m: f"{float(m[0]):.6g}", repr(penalty.with_strength(1.0))),
        "task_weight": repr(weight),
        "intercept": mode,
        "intercept_strength": strength,
    }


def _of_grid(results: Mapping[str, Any]) -> list[Row]:
    """Return the main effects of the parameters of a grid."""
    scores = np.asarray(results["mean_test_score"], dtype=float)
    seen = np.isfinite(scores)
    total = float(np.var(scores[seen])) if seen.any() else 0.0
    if not total:
        raise DataError(LazyMessage("selection.refusal.constant_scores", {"owner": OWNER}))
    rows = []
    for name in (key for key in results if key.startswith("param_")):
        values = np.array([repr(value) for value in results[name]])[seen]
        kinds, place = np.unique(values, return_inverse=True)
        means = np.bincount(place, scores[seen]) / np.bincount(place)
        variance = float(np.var(means[place]))
        spread = math.sqrt(variance)
        rows.append((name.removeprefix("param_"), variance / total, spread, len(kinds)))
    return sorted(rows, key=lambda row: -row[1])


def _of_trials(found: Tuned, evaluator: str, seed: int) -> list[Row]:
    optuna = load_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    kinds = {name: distribution_of(optuna, given) for name, given in found.space.items()}
    done = [t for t in found.trials if not t.pruned and np.isfinite(np.mean(t.scores))]
    if len(done) < _LEAST:
        fields = {"owner": OWNER, "least": _LEAST, "got": len(done)}
        raise DataError(LazyMessage("selection.refusal.few_trials", fields))
    for trial in done:
        params = {name: _drawn(found.space[name], v) for name, v in trial.params.items()}
        value = float(np.mean(trial.scores))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=value))
    with warnings.catch_warnings():
        # What some versions call experimental is asked for by its name here.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        judge = _EVALUATORS[evaluator](optuna.importance, seed)
    shares = optuna.importance.get_param_importances(study, evaluator=judge)
    counts = {name: len({repr(t.params[name]) for t in done}) for name in shares}
    return [(name, float(share), float("nan"), counts[name]) for name, share in shares.items()]


def _drawn(given: Any, value: Any) -> Any:  # noqa: ANN401 - a range or a list, and one of its values
    """Return what Optuna drew: a number of a range, the position in a list."""
    if not isinstance(given, list | tuple):
        return value
    return next(k for k, item in enumerate(given) if item is value or repr(item) == repr(value))
