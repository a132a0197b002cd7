"""Unusual combinations of data and settings: nothing is chosen wrongly, or without a word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

from polytask import (
    AutoMultiTaskClassifier,
    AutoMultiTaskRegressor,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
    compare,
)
from polytask.data import LeaveTasksOut, TaskData
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.penalties import L2, L21, coupling, toward_mean
from polytask.selection import Between, tune

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3))
TASK = np.array(list("uvw"))[np.arange(90) % 3]
Y = X[:, 0] + 0.3 * (np.arange(90) % 3) + 0.5 * RNG.standard_normal(90)


def unlike_classes() -> np.ndarray:
    few = np.where(X[:, 0] > 0, "yes", "no")
    many = np.array(["young", "middle", "old"])[np.digitize(X[:, 1], [-0.5, 0.5])]
    return np.column_stack([few, many])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Column . tells the classes")
def test_a_class_that_only_another_target_has_is_an_error_of_its_row() -> None:
    names = ["separate", "pooled"]
    model = AutoMultiTaskClassifier(names, cv=2).fit(X, unlike_classes())
    board = model.leaderboard().set_index("model")
    assert board.loc["separate", "score"] > board.loc["pooled", "score"]
    result = compare(X, unlike_classes(), models=[*names, "learned prior"], cv=2)
    assert set(result.scores["model"]) >= set(names)


@pytest.mark.parametrize("criterion", ["aicc", "gcv", "aic", "bic"])
def test_a_target_with_one_label_does_not_choose_for_the_others(criterion: str) -> None:
    several = X @ RNG.standard_normal((3, 3)) + 0.5 * RNG.standard_normal((90, 3))
    alone = np.full((90, 1), np.nan)
    alone[7] = 3.0
    # Its column has no coefficients, so that a penalty of columns is that of the others.
    model = MultiTaskRegressorIC(
        L2(), criterion=criterion, alphas=[1.0, 0.1, 0.01], task_weight=[1.0, 1.0, 1.0]
    )
    without = model.fit(X, several)
    alpha, noise = without.alpha_, without.noise_variance_
    model.set_params(task_weight=[1.0, 1.0, 1.0, 1.0]).fit(X, np.hstack([several, alone]))
    assert np.isfinite(model.best_criterion_)
    assert model.alpha_ == alpha
    np.testing.assert_allclose(model.noise_variance_[:3], noise, rtol=0.02)


@pytest.mark.parametrize("criterion", ["aicc", "gcv"])
def test_rows_that_count_for_less_than_one_in_all_are_refused(criterion: str) -> None:
    model = MultiTaskRegressorIC(L21(), criterion=criterion, alphas=3)
    with pytest.raises(DataError, match=f"^{criterion} of MultiTaskRegressorIC is infinite"):
        model.fit(X, Y, task=TASK, sample_weight=np.full(90, 1 / 90))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["near the mean", "pooled", "boosting, corrected"])
def test_unseen_tasks_may_be_allowed_after_the_fit(name: str) -> None:
    model = AutoMultiTaskClassifier([name], cv=2).fit(X, Y > 0, task=TASK)
    with pytest.raises(DataError, match="unseen"):
        model.predict_proba(X[:2], task=["x", "u"])
    found = model.set_params(unseen_tasks="shared").predict_proba(X[:2], task=["x", "u"])
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    anew = AutoMultiTaskClassifier([name], cv=2, unseen_tasks="shared").fit(X, Y > 0, task=TASK)
    np.testing.assert_allclose(found, anew.predict_proba(X[:2], task=["x", "u"]), rtol=1e-9)


def test_pairs_may_name_rows_of_weight_zero() -> None:
    weight = np.ones(90)
    weight[-1] = 0.0
    fold = np.arange(90) // 30
    pairs = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    given = {"task": TASK, "sample_weight": weight}
    model = AutoMultiTaskRegressor(["separate"], cv=pairs).fit(X, Y, **given)
    kept = [(a[a < 89], b[b < 89]) for a, b in pairs]
    short = {"task": TASK[:89], "sample_weight": weight[:89]}
    want = AutoMultiTaskRegressor(["separate"], cv=kept).fit(X[:89], Y[:89], **short)
    assert model.score_ == pytest.approx(want.score_, rel=1e-12)
    found = tune(MultiTaskRegressor(L2()), RANGE, X, Y, cv=pairs, n_trials=1, **given)
    assert np.isfinite(found.score)


RANGE = {"penalty__alpha": Between(0.01, 1.0)}


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: MultiTaskRegressorCV(cv=[]).fit(X, Y, task=TASK), "got none"),
        (lambda: tune(MultiTaskRegressor(L2()), RANGE, X, Y, task=TASK, cv=[]), "got none"),
        (
            lambda: tune(MultiTaskRegressor(L2()), RANGE, X, Y, task=TASK, random_state=None),
            "random_state of tune must be an integer >= 0",
        ),
        (lambda: tune(object(), RANGE, X, Y, task=TASK), "estimator of tune must be an estim"),
        (lambda: MultiTaskRegressorCV(n_jobs="a").fit(X, Y, task=TASK), "n_jobs of MultiTaskR"),
        (
            lambda: MultiTaskRegressorCV(scoring="accuracy").fit(X, Y, task=TASK),
            "scoring of MultiTaskRegressorCV must be None or 'r2' where tasks are numbers",
        ),
    ],
)
def test_what_cannot_be_is_said(ask: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        ask()


def test_results_of_another_estimator_are_not_gone_on_with(tmp_path: Any) -> None:
    several = 40
    task = np.arange(120) % several
    rng = np.random.default_rng(1)
    features = rng.standard_normal((120, 2))
    y = features[:, 0] + rng.standard_normal(120)
    one = several * np.eye(several) - 1.0
    other = one.copy()
    other[10, 12] = other[12, 10] = -2.0
    other[10, 10] += 1.0
    other[12, 12] += 1.0
    storage, journal = str(tmp_path / "s.log"), str(tmp_path / "a.j")

    def search(matrix: np.ndarray) -> float:
        estimator = MultiTaskRegressor(coupling(1.0, matrix) + L2(0.01))
        space = {"penalty__p0__alpha": Between(0.1, 10.0)}
        given: dict[str, Any] = {"task": task, "cv": 2, "n_trials": 1, "storage": storage}
        return float(tune(estimator, space, features, y, **given).score)

    def choose(matrix: np.ndarray) -> float:
        models = [("m", MultiTaskRegressor(coupling(1.0, matrix) + L2(0.01)))]
        auto = AutoMultiTaskRegressor(models, journal=journal, cv=2)
        return float(auto.fit(features, y, task=task).score_)

    for again in (search, choose):
        assert again(one) == again(one)
        with pytest.raises((DataError, IncompatibleError)):
            again(other)


FIRST = np.arange(50)
WRONG_PAIRS = {
    "past the end": (FIRST, np.arange(50, 900)),
    "negative": (FIRST, np.array([-1, -2, 60])),
    "fractions": (FIRST + 0.5, np.arange(50, 90) + 0.5),
    "counted from 1": (FIRST + 1, np.arange(51, 91)),
    "columns": (FIRST[:, None], np.arange(50, 90)[:, None]),
}


@pytest.mark.parametrize("pair", WRONG_PAIRS.values(), ids=WRONG_PAIRS)
def test_pairs_that_are_no_rows_are_refused(pair: Any) -> None:
    with pytest.raises(DataError, match="row numbers from 0 to 89"):
        AutoMultiTaskRegressor(["separate", "pooled"], cv=[pair]).fit(X, Y, task=TASK)
    space = {"penalty__alpha": Between(0.01, 1.0)}
    with pytest.raises(DataError, match="row numbers from 0 to 89"):
        tune(MultiTaskRegressor(L2()), space, X, Y, task=TASK, cv=[pair], n_trials=1)
    weight = np.ones(90)
    weight[80:] = 0.0
    with pytest.raises(DataError, match="row numbers from 0 to 89"):
        MultiTaskRegressorCV(L2(), cv=[pair]).fit(X, Y, task=TASK, sample_weight=weight)


def test_whole_tasks_that_lack_features_are_scored_by_what_unseen_tasks_are_given() -> None:
    tables = {}
    for k in range(6):
        own = np.arange(90) % 6 == k
        table = pd.DataFrame(X[own] + 1.0, columns=list("abc")).drop(columns="abc"[k % 3])
        tables[k] = table, Y[own] + k
    penalty = toward_mean(0.3) + L2(0.05)
    folds = LeaveTasksOut(3, random_state=0)
    plain = {"unseen_tasks": "shared", "tol": 1e-10}

    def score(y: np.ndarray, predicted: np.ndarray) -> float:
        return -float(np.mean((y - predicted) ** 2))

    model = MultiTaskRegressorCV(penalty, alphas=[0.1], cv=folds, scoring=score, **plain)
    model.fit(tables)
    data = TaskData.from_tasks(tables)
    for k, (train, test) in enumerate(folds.split(data)):
        codes = data.row_tasks()
        seen = {data.tasks[c]: tables[data.tasks[c]] for c in np.unique(codes[train])}
        fitted = MultiTaskRegressor(model.best_penalty_, **plain).fit(seen)
        left = {data.tasks[c]: tables[data.tasks[c]] for c in np.unique(codes[test])}
        found = fitted.predict({name: table for name, (table, _) in left.items()})
        wanted = np.mean([score(y, found[name]) for name, (_, y) in left.items()])
        # The penalty of tasks without rows moves the mean a little.
        assert model.scores_[0][k] == pytest.approx(wanted, rel=0.02)


def test_the_unit_of_a_target_that_a_fold_does_not_know_chooses_nothing() -> None:
    def chosen(unit: float) -> float:
        targets = np.column_stack([Y, X[:, 1], np.full(90, np.nan)])
        targets[7, 2] = unit
        return MultiTaskRegressorCV(L21(), cv=KFold(5)).fit(X, targets).alpha_

    assert chosen(1e4) == pytest.approx(chosen(1.0))
