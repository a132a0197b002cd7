"""Folds of moments: the scores of folds of rows, without a look at the rows again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from polytask import (
    MultiTaskClassifierCV,
    MultiTaskModelCV,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
)
from polytask._estimator import regression
from polytask.data import LeaveTasksOut, TaskData, TimeOrdered, WithinTasks
from polytask.exceptions import DataError
from polytask.linear.problem import Settings
from polytask.metrics import r2
from polytask.penalties import L2, L21, toward_mean
from polytask.selection import folds as module
from polytask.selection import scoring
from polytask.selection.folds import MomentFold, RowFold

N, D, T = 90, 4, 3


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)) * np.array([1.0, 10.0, 0.1, 1.0]) + np.array([0.0, 50.0, 0.0, 1.0])
    W = rng.normal(size=(D, T)) / np.array([1.0, 10.0, 0.1, 1.0])[:, None]
    return X, X @ W + rng.normal(size=(N, T)) + np.array([0.0, 5.0, -100.0]), rng


def targets() -> dict[str, Any]:
    X, Y, _ = drawn()
    return {"X": X, "y": Y}


def gaps() -> dict[str, Any]:
    X, Y, rng = drawn()
    Y[rng.random(Y.shape) < 0.3] = np.nan
    return {"X": X, "y": Y}


def long() -> dict[str, Any]:
    X, Y, rng = drawn()
    task = np.repeat(["a", "b", "c"], [20, 30, 40])[rng.permutation(N)]
    codes = np.searchsorted(["a", "b", "c"], task)
    return {"X": X, "y": Y[np.arange(N), codes], "task": task}


def weighted() -> dict[str, Any]:
    weight = np.random.default_rng(1).uniform(0.1, 3.0, N)
    weight[::7] = 0.0
    return long() | {"sample_weight": weight}


def sparse() -> dict[str, Any]:
    given = long()
    X = given["X"] * (np.random.default_rng(2).random((N, D)) < 0.5)
    return given | {"X": sp.csr_array(X)}


def table() -> dict[str, Any]:
    given = long()
    frame = pd.DataFrame(given["X"], columns=list("pqrs"))
    frame["colour"] = np.array(["red", "blue", "green"])[np.arange(N) % 3]
    return given | {"X": frame}


FORMS = {
    "targets": targets,
    "gaps": gaps,
    "long": long,
    "weighted": weighted,
    "sparse": sparse,
    "table": table,
}


def kinds(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """Note the kinds of the folds that a search works on."""
    found: list[type] = []
    plain = scoring.scorer_of
    from polytask.selection import judging

    def noted(how: Any, fold: Any, *rest: Any) -> Any:
        found.append(type(fold))
        return plain(how, fold, *rest)

    monkeypatch.setattr(judging, "scorer_of", noted)
    return found


def both(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], **settings: Any
) -> tuple[MultiTaskRegressorCV, MultiTaskRegressorCV]:
    """Return a search on moments and the same on rows."""
    chosen = {"alphas": 6, "cv": 3, "tol": 1e-12} | settings
    seen = kinds(monkeypatch)
    quick = MultiTaskRegressorCV(L21(), **chosen).fit(**given)
    assert set(seen) == {MomentFold}
    seen.clear()
    monkeypatch.setattr(module, "_MOST_KEPT", 0)
    slow = MultiTaskRegressorCV(L21(), **chosen).fit(**given)
    assert set(seen) == {RowFold}
    return quick, slow


def assert_equal(quick: MultiTaskRegressorCV, slow: MultiTaskRegressorCV) -> None:
    np.testing.assert_allclose(quick.alphas_, slow.alphas_, rtol=1e-10)
    np.testing.assert_allclose(quick.scores_, slow.scores_, rtol=1e-8)
    np.testing.assert_allclose(quick.coef_, slow.coef_, rtol=1e-7, atol=1e-9)
    assert quick.alpha_ == pytest.approx(slow.alpha_)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_of_folds_of_rows(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    assert_equal(*both(monkeypatch, FORMS[form]()))


@pytest.mark.parametrize(
    "settings",
    [
        {"standardize": False, "scale_targets": None, "intercept": None},
        {"scoring": "r2", "task_weight": "size"},
        {"intercept": "shared", "scale_targets": "common", "task_weight": "equal"},
        {"standardize": False, "intercept": "task", "task_weight": [1.0, 0.0, 2.0]},
    ],
)
@pytest.mark.parametrize("form", ["targets", "gaps", "long"])
def test_so_they_are_in_every_setting(
    monkeypatch: pytest.MonkeyPatch, form: str, settings: dict[str, Any]
) -> None:
    assert_equal(*both(monkeypatch, FORMS[form](), **settings))


def repeated() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return splits that hold rows out several times, or learn from them twice or never."""
    rng, pairs = np.random.default_rng(3), []
    for _ in range(3):
        rows = rng.permutation(N)
        pairs.append((np.concatenate([rows[:50], rows[:10]]), rows[60:]))
    return pairs


CVS = {
    "held out at most once": [
        (np.arange(30, N), np.arange(30)),
        (np.r_[0:30, 60:N], np.r_[30:60]),
    ],
    "several times": repeated(),
    "a part at random": WithinTasks(2, test_size=0.3, random_state=0),
    "later rows": TimeOrdered(np.arange(N), n_splits=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("cv", CVS)
def test_splits_of_all_kinds(monkeypatch: pytest.MonkeyPatch, cv: str) -> None:
    for form in ("targets", "long"):
        with monkeypatch.context() as patch:
            assert_equal(*both(patch, FORMS[form](), cv=CVS[cv], task_weight="size"))


def test_every_row_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    plain = module.collect

    def counted(data: Any, y: Any, weight: Any, rows: Any = None) -> Any:
        looked.append(len(y) if rows is None else len(rows))
        return plain(data, y, weight, rows)

    monkeypatch.setattr(module, "collect", counted)
    MultiTaskRegressorCV([L21(), L2(), toward_mean(1.0)], alphas=4, cv=4).fit(**targets())
    assert len(looked) == 4
    assert sum(looked) == N


def test_a_search_on_moments_makes_no_fold_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any) -> Any:
        raise AssertionError(args)

    monkeypatch.setattr(module, "_row_fold", refused)
    for how in (None, "r2"):
        MultiTaskRegressorCV(L21(), alphas=4, cv=3, scoring=how).fit(**targets())


def test_metrics_that_need_predictions_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    named = MultiTaskRegressorCV(L21(), alphas=4, cv=3, scoring="r2").fit(**gaps())
    asked = MultiTaskRegressorCV(L21(), alphas=4, cv=3, scoring=r2).fit(**gaps())
    np.testing.assert_allclose(named.scores_, asked.scores_, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("scoring_name", ["r2", "accuracy"])
def test_a_score_counts_a_row_of_weight_two_twice(scoring_name: str) -> None:
    rng = np.random.default_rng(3)
    X, task = rng.normal(size=(90, D)), np.arange(90) % 3
    y = X[:, 0] + 0.3 * task + rng.normal(size=90)
    y, kind = (y, MultiTaskRegressorCV) if scoring_name == "r2" else (y > 0, MultiTaskClassifierCV)
    times = 1 + rng.integers(0, 2, 90)
    rows = np.repeat(np.arange(90), times)
    held = np.arange(90) // 30
    search = kind(L21(), alphas=4, scoring=scoring_name, tol=1e-12)
    scores = []
    for at, given in ((np.arange(90), {"sample_weight": times.astype(float)}), (rows, {})):
        folds = [(np.flatnonzero(held[at] != k), np.flatnonzero(held[at] == k)) for k in range(3)]
        search.set_params(cv=folds).fit(X[at], y[at], task=task[at], **given)
        scores.append(search.scores_)
    np.testing.assert_allclose(*scores, atol=1e-7)


def test_tasks_without_training_rows_are_scored_as_they_are_predicted() -> None:
    rng = np.random.default_rng(1)
    n_tasks, each = 12, 20
    X, task = rng.normal(size=(n_tasks * each, D)), np.repeat(np.arange(n_tasks), each)
    W = 2 * rng.normal(size=D) + 0.3 * rng.normal(size=(n_tasks, D))
    y = np.einsum("ij,ij->i", X, W[task]) + 10 + rng.normal(size=len(X))
    # Of a penalty that is a sum over tasks, tasks without rows change nothing of the others.
    model = MultiTaskRegressor(
        L2(0.1),
        unseen_tasks="shared",
        task_weight="size",
        intercept="task",
        scale_targets=None,
        standardize=False,
    )
    search = MultiTaskRegressorCV(
        L2(), alphas=[0.1], cv=LeaveTasksOut(3), task_weight="size", intercept="task",
        scale_targets=None, standardize=False, scoring=lambda y, p: -np.mean((y - p) ** 2),
    )  # fmt: skip
    splits = list(LeaveTasksOut(3).split(TaskData.from_long(X, y, task)))
    by_hand = []
    for train, test in splits:
        model.fit(X[train], y[train], task=task[train])
        squares = (y[test] - model.predict(X[test], task=task[test])) ** 2
        by_hand.append(-np.mean([squares[task[test] == t].mean() for t in np.unique(task[test])]))
    search.fit(X, y, task=task)
    np.testing.assert_allclose(search.scores_[0], by_hand, rtol=1e-6)
    # As many rows in every task: minus half of the mean square.
    search.set_params(scoring=None).fit(X, y, task=task)
    np.testing.assert_allclose(search.scores_[0], 0.5 * np.array(by_hand), rtol=1e-6)


def test_folds_without_a_score_are_refused() -> None:
    X, Y, _ = drawn()
    alone = [(np.delete(np.arange(len(X)), k), [k]) for k in range(5)]
    with pytest.raises(DataError, match="No candidate of MultiTaskRegressorCV has a score on ev"):
        MultiTaskRegressorCV(L2(), alphas=3, scoring="r2", cv=alone).fit(X, Y)


def test_a_constant_target_has_no_r2() -> None:
    X, Y, _ = drawn()
    Y[:, 1] = 0.1
    named = MultiTaskRegressorCV(L2(), alphas=[0.1], cv=3, scoring="r2").fit(X, Y)
    asked = MultiTaskRegressorCV(L2(), alphas=[0.1], cv=3, scoring=r2).fit(X, Y)
    np.testing.assert_allclose(named.scores_, asked.scores_, rtol=1e-10)


def test_residuals_that_moments_cannot_tell_are_summed_over_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, _, rng = drawn()
    Y = X @ rng.normal(size=(D, T)) + 1e-6 * rng.normal(size=(N, T))
    few = {"alphas": [1e-9], "cv": 3, "task_weight": "size", "tol": 1e-12}
    asked: list[int] = []
    plain = scoring.HeldOutLoss.on_rows

    def noted(*args: Any) -> Any:
        asked.append(1)
        return plain(*args)

    monkeypatch.setattr(scoring.HeldOutLoss, "on_rows", noted)
    found = MultiTaskRegressorCV(L2(), **few).fit(X, Y)
    # Once per fold: the moments say when they do not know.
    assert len(asked) == 3
    monkeypatch.setattr(module, "_MOST_KEPT", 0)
    np.testing.assert_allclose(
        found.scores_, MultiTaskRegressorCV(L2(), **few).fit(X, Y).scores_, rtol=1e-4
    )


def test_threads_give_the_same_answer() -> None:
    one = MultiTaskRegressorCV([L21(), L2()], alphas=4, cv=3).fit(**targets())
    two = MultiTaskRegressorCV([L21(), L2()], alphas=4, cv=3, n_jobs=2).fit(**targets())
    np.testing.assert_array_equal(one.scores_, two.scores_)
    np.testing.assert_array_equal(one.coef_, two.coef_)


@pytest.mark.slow
def test_other_losses_stay_on_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = kinds(monkeypatch)
    X, Y, _ = drawn()
    few = {"alphas": 3, "cv": 3, "task_weight": "size"}
    MultiTaskModelCV(L21(), **few).fit(X, np.column_stack([Y[:, 0], Y[:, 1] > 5.0]))
    assert set(seen) == {RowFold}


def test_values_that_are_too_large_are_refused() -> None:
    X, Y, _ = drawn()
    X[5, 2] = 1e150
    with pytest.raises(ValueError, match="X of MultiTaskRegressorCV must be of size up to"):
        MultiTaskRegressorCV(L21(), alphas=3).fit(X, Y)
    X[5, 2] = 1.0
    Y[7, 1] = -1e150
    with pytest.raises(ValueError, match="y of MultiTaskRegressorCV must be of size up to"):
        MultiTaskRegressorCV(L21(), alphas=3).fit(X, Y)


def test_folds_keep_the_problem_of_their_last_settings() -> None:
    data = TaskData.from_long(
        np.random.default_rng(0).standard_normal((60, 2)), np.arange(60.0), np.arange(60) % 3
    )
    outcomes = regression(data, "squared", "a test")
    fold = module.make_folds(data, data, outcomes, 3, 0, "a test").parts[0]
    first = fold.problem(Settings(), "a test")
    assert fold.problem(Settings(), "a test") is first
    assert fold.problem(Settings(task_weight="equal"), "a test") is not first
