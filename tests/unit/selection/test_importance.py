"""Which choices of a search mattered."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from polytask import DataError, MultiTaskRegressor, MultiTaskRegressorCV, ParameterError
from polytask.penalties import L2, L21, TraceNorm, toward_mean
from polytask.selection import Between, importance, tune


def rows():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(4), 20)
    X = rng.standard_normal((80, 4))
    coef = np.array([1.0, -1.0, 0.5, 0.0]) + 0.1 * rng.standard_normal((4, 4))
    return X, (X * coef[task]).sum(axis=1) + 0.5 * rng.standard_normal(80), task


def test_shares_are_those_of_the_scores_along_each_choice():
    X, y, task = (part[:-3] for part in rows())
    penalties = [toward_mean(1.0) + L2(0.1), L21(), TraceNorm()]
    model = MultiTaskRegressorCV(penalties, alphas=6, cv=3).fit(X, y, task=task)
    found = importance(model).set_index("parameter")
    assert found["share"].sum() == pytest.approx(1.0)
    assert found["share"].is_monotonic_decreasing
    frame = model.search_frame()
    along = model.alpha_scores_.mean(axis=1)
    assert found.loc["strength", "spread"] == pytest.approx(np.std(along))
    assert found.loc["strength", "tried"] == 6
    # All penalties were tried under the best settings of the first one, and under others before.
    mine = frame[frame["task_weight"] == model.task_weight_]
    groups = mine.groupby(["intercept", "intercept_strength"])
    several = [g for _, g in groups if g["penalty"].str.partition("(")[0].nunique() == 3]
    best = max(several, key=lambda group: group["score"].max())
    scores = best.groupby(best["penalty"].str.partition("(")[0])["score"].max()
    assert found.loc["penalty", "tried"] == 3
    assert found.loc["penalty", "spread"] == pytest.approx(np.std(scores))
    assert found.loc["task_weight", "tried"] == 2


def test_one_candidate_says_nothing():
    X, y, task = rows()
    model = MultiTaskRegressorCV(
        L21(), alphas=[0.1], cv=3, task_weight="size", intercept="task"
    ).fit(X, y, task=task)
    with pytest.raises(DataError, match="nothing to compare"):
        importance(model)


def test_of_a_grid_it_is_the_main_effects():
    X, y, _ = rows()
    grid = {"penalty__alpha": [0.01, 1.0, 100.0], "standardize": [True, False]}
    Y = np.column_stack([y, y - X[:, 0]])
    search = GridSearchCV(MultiTaskRegressor(L2(1.0)), grid, cv=3).fit(X, Y)
    found = importance(search).set_index("parameter")
    scores = search.cv_results_["mean_test_score"].reshape(3, 2)
    for name, axis in (("penalty__alpha", 1), ("standardize", 0)):
        expected = np.var(scores.mean(axis=axis)) / np.var(scores)
        assert found.loc[name, "share"] == pytest.approx(expected)
    assert found["tried"].to_dict() == {"penalty__alpha": 3, "standardize": 2}
    assert found["share"].sum() <= 1.0 + 1e-12
    search.cv_results_["mean_test_score"] = np.ones(6)
    with pytest.raises(DataError, match="do not vary"):
        importance(search)


@pytest.mark.parametrize("evaluator", ["fanova", "mdi", "ped_anova"])
def test_of_a_tuned_estimator_it_is_what_optuna_says(tuned, evaluator):
    found = importance(tuned, evaluator)
    assert set(found["parameter"]) == {"penalty__alpha", "standardize"}
    assert found["share"].sum() == pytest.approx(1.0)
    assert found["parameter"].iloc[0] == "penalty__alpha"
    assert found.set_index("parameter").loc["standardize", "tried"] == 2
    again = importance(tuned, evaluator)
    np.testing.assert_array_equal(found["share"], again["share"])


@pytest.fixture(scope="module")
def tuned():
    pytest.importorskip("optuna")
    X, y, task = rows()
    space = {"penalty__alpha": Between(1e-3, 1e3), "standardize": [True, False]}
    model = MultiTaskRegressor(L2(1.0))
    return tune(model, space, X, y, task, n_trials=12, cv=2, prune=False)


def test_too_few_trials_and_other_things_are_refused(tuned):
    import dataclasses

    few = dataclasses.replace(tuned, trials=tuned.trials[:3])
    with pytest.raises(DataError, match="needs 4 finished trials or more"):
        importance(few)
    for wrong in (MultiTaskRegressorCV(), MultiTaskRegressor(), "search"):
        with pytest.raises(ParameterError, match="found of importance must be a fitted search"):
            importance(wrong)
    with pytest.raises(ParameterError, match="evaluator of importance"):
        importance(tuned, "shap")
