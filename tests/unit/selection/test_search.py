"""The search: grids, folds, scores, rules."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polytask import (
    MultiTaskClassifierCV,
    MultiTaskModelCV,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    ParameterError,
)
from polytask.data import GroupedRows
from polytask.penalties import L2, L21, ElasticNet, TraceNorm, toward_mean


def related(
    n_tasks: int = 5, rows: int = 20, d: int = 6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_tasks * rows, d))
    task = np.repeat(np.arange(n_tasks), rows)
    W = rng.standard_normal(d) + 0.3 * rng.standard_normal((n_tasks, d))
    y = np.einsum("ij,ij->i", X, W[task]) + rng.standard_normal(len(X)) + 0.5 * task
    order = rng.permutation(len(X))
    return X[order], y[order], task[order]


def test_scores_are_those_of_a_search_by_hand() -> None:
    X, y, task = related()
    rows = np.random.default_rng(1).permutation(len(X))
    cv = [(np.sort(rows[k::3]), np.sort(np.setdiff1d(rows, rows[k::3]))) for k in range(3)]
    cv = [(train, test) for test, train in cv]
    alphas = [0.5, 0.05]
    search = MultiTaskRegressorCV(
        L21(),
        alphas=alphas,
        cv=cv,
        task_weight="size",
        intercept_strength=1.0,
        scale_targets=None,
        tol=1e-9,
    ).fit(X, y, task=task)
    by_hand = np.empty((2, 3))
    for i, alpha in enumerate(alphas):
        for k, (train, test) in enumerate(cv):
            model = MultiTaskRegressor(L21(alpha), standardize=True, tol=1e-9)
            model.fit(X[train], y[train], task=task[train])
            residual = y[test] - model.predict(X[test], task=task[test])
            by_hand[i, k] = -0.5 * np.mean(residual**2)
    np.testing.assert_allclose(search.scores_, by_hand, rtol=1e-4)
    assert search.alpha_ == alphas[int(np.argmax(by_hand.mean(axis=1)))]


def test_the_refit_is_the_plain_estimator_with_the_choice() -> None:
    X, y, task = related()
    search = MultiTaskRegressorCV(alphas=8).fit(X, y, task=task)
    plain = MultiTaskRegressor(
        search.best_penalty_,
        task_weight=search.task_weight_,
        intercept_strength=search.intercept_strength_,
        standardize=True,
        scale_targets="auto",
    ).fit(X, y, task=task)
    np.testing.assert_allclose(search.coef_, plain.coef_, rtol=1e-8, atol=1e-10)


def test_the_grid_begins_where_every_coefficient_vanishes() -> None:
    X, y, task = related()
    search = MultiTaskRegressorCV(L21(), alphas=5, task_weight="size", intercept_strength=3.0).fit(
        X, y, task=task
    )
    settings = {"intercept_strength": 3.0, "standardize": True, "scale_targets": "auto"}
    at_null = MultiTaskRegressor(L21(search.alphas_[0]), **settings).fit(X, y, task=task)
    below = MultiTaskRegressor(L21(search.alphas_[0] * 0.999), tol=1e-12, **settings).fit(
        X, y, task=task
    )
    assert not at_null.coef_.any()
    assert below.coef_.any()
    assert len(search.alphas_) == 5
    assert search.alphas_[-1] == pytest.approx(search.alphas_[0] / 1000)


def test_each_penalty_has_its_own_grid_and_all_candidates_are_kept() -> None:
    X, y, task = related()
    penalties = [toward_mean(1.0) + L2(0.1), L21(), TraceNorm(), ElasticNet(l1_ratio=0.5)]
    search = MultiTaskRegressorCV(
        penalties, alphas=4, task_weight="size", intercept_strength=1.0, cv=3
    )
    search.fit(X, y, task=task)
    assert search.scores_.shape == (16, 3)
    assert len(search.candidates_) == 16
    best = int(np.argmax(search.scores_.mean(axis=1)))
    assert search.best_penalty_ == search.candidates_[best][0]
    assert search.best_score_ == pytest.approx(search.scores_[best].mean())


TENS = {0.1, 1.0, 10.0, 100.0}


def strengths_tried(search: MultiTaskRegressorCV | MultiTaskModelCV) -> set[float]:
    return {strength for _, _, strength in search.candidates_}


@pytest.mark.parametrize("intercept", ["auto", "toward_mean"])
def test_task_weights_and_intercept_strengths_are_searched(intercept: str) -> None:
    X, y, task = (part[:-7] for part in related())
    search = MultiTaskRegressorCV(L21(), alphas=3, cv=3, intercept=intercept)
    search.fit(X, y, task=task)
    tried = {(weight, strength) for _, weight, strength in search.candidates_}
    # Tens under the first weights, then the other weights, then between the tens.
    assert {("size", strength) for strength in TENS} <= tried
    assert {weight for weight, _ in tried} == {"size", "equal"}
    assert len(tried) == len(TENS) + 1 + 2
    scores = search.scores_.mean(axis=1)
    before = [i for i, c in enumerate(search.candidates_) if c[2] in TENS]
    best = search.candidates_[max(before, key=lambda i: scores[i])]
    between = {c[2] for c in search.candidates_} - TENS
    assert between == {best[2] * 0.3, best[2] * 3.0}
    fixed = search.set_params(task_weight="equal", intercept_strength=7.0).fit(X, y, task=task)
    assert {c[1:] for c in fixed.candidates_} == {("equal", 7.0)}


def test_task_weights_that_are_all_the_same_are_not_searched() -> None:
    X, y, task = related()
    rows = {t: (X[task == t], y[task == t]) for t in range(5)}
    Y = np.column_stack([y for _, y in rows.values()])
    of_targets = MultiTaskRegressorCV(L21(), alphas=3, cv=3).fit(rows[0][0], Y)
    assert {weight for _, weight, _ in of_targets.candidates_} == {"size"}
    of_rows = MultiTaskRegressorCV(L21(), alphas=3, cv=3).fit(rows)
    assert {weight for _, weight, _ in of_rows.candidates_} == {"size"}
    Y[0, 0] = np.nan
    unlike = MultiTaskRegressorCV(L21(), alphas=3, cv=3).fit(rows[0][0], Y)
    assert {weight for _, weight, _ in unlike.candidates_} == {"size", "equal"}


def test_strengths_are_searched_only_where_intercepts_are_pulled() -> None:
    X, y, task = related()
    few = {"alphas": [0.3, 0.1], "cv": 3, "task_weight": "size"}
    rows = {t: (X[task == t], y[task == t]) for t in range(5)}
    assert strengths_tried(MultiTaskRegressorCV(L21(), **few).fit(rows)) > TENS
    assert strengths_tried(MultiTaskModelCV(L21(), **few).fit(X, y, task=task)) > TENS
    # Columns of a target matrix are different quantities, and one task has no other.
    Y = np.column_stack([y, X[:, 0] - y])
    for kind in (MultiTaskRegressorCV, MultiTaskModelCV):
        free = kind(L21(), **few).fit(X, Y)
        assert strengths_tried(free) == {1.0}
        same = kind(L21(), intercept="task", **few).fit(X, Y)
        np.testing.assert_array_equal(free.coef_, same.coef_)
        assert strengths_tried(kind(L21(), **few).fit(X, y)) == {1.0}
    pulled = MultiTaskRegressorCV(L21(), intercept="toward_mean", **few)
    assert strengths_tried(pulled.fit(X, Y)) > TENS
    free_rows = MultiTaskRegressorCV(L21(), intercept="task", **few)
    assert strengths_tried(free_rows.fit(X, y, task=task)) == {1.0}


def test_one_standard_error_is_never_weaker() -> None:
    X, y, task = related(seed=3)
    least = MultiTaskRegressorCV(L21(), alphas=20, task_weight="size").fit(X, y, task=task)
    one_se = MultiTaskRegressorCV(L21(), alphas=20, task_weight="size", rule="one_se")
    one_se.fit(X, y, task=task)
    assert one_se.alpha_ > least.alpha_
    k = int(np.flatnonzero(least.alphas_ == least.alpha_)[0])
    scores = least.scores_
    error = scores[k].std(ddof=1) / np.sqrt(scores.shape[1])
    chosen = int(np.flatnonzero(one_se.alphas_ == one_se.alpha_)[0])
    assert scores[chosen].mean() >= scores[k].mean() - error
    assert scores[chosen - 1].mean() < scores[k].mean() - error


def test_two_processes_give_the_same_answer() -> None:
    X, y, task = related()
    one = MultiTaskRegressorCV(alphas=3, cv=3).fit(X, y, task=task)
    two = MultiTaskRegressorCV(alphas=3, cv=3, n_jobs=2).fit(X, y, task=task)
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_array_equal(one.scores_, two.scores_)


def test_scaling_one_target_does_not_move_the_others() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    Y = X @ rng.standard_normal((5, 8)) + rng.standard_normal((60, 8))
    scaled = Y.copy()
    scaled[:, 0] *= 1e4
    one = MultiTaskRegressorCV(alphas=6, cv=3).fit(X, Y).task_scores(X, Y).values
    two = MultiTaskRegressorCV(alphas=6, cv=3).fit(X, scaled).task_scores(X, scaled).values
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_levels_of_held_out_rows_are_unknown_to_their_fold() -> None:
    rng = np.random.default_rng(0)
    n = 60
    colour = np.array(["red", "blue"], dtype=object)[rng.integers(0, 2, n)]
    colour[:20] = [f"only{i}" for i in range(20)]  # each level in one row, so in one fold
    X = pd.DataFrame({"colour": colour, "size": rng.standard_normal(n)})
    y = rng.standard_normal(n)
    y[:20] += 50.0
    folds = [(np.arange(20, n), np.arange(20)), (np.arange(0, n, 2), np.arange(1, n, 2))]
    search = MultiTaskRegressorCV(L2(), alphas=[1e-3], cv=folds, scale_targets=None)
    search.fit(X, y)
    # The first fold cannot know the levels of its held-out rows, so it must miss by about 50.
    assert search.scores_[0, 0] < -0.5 * 40**2


def test_groups_stay_on_one_side() -> None:
    X, y, task = related()
    groups = np.arange(len(X)) // 4
    search = MultiTaskRegressorCV(L21(), alphas=3, cv=GroupedRows(groups, n_splits=4))
    assert search.fit(X, y, task=task).scores_.shape[1] == 4


def test_scoring_by_name_and_by_function() -> None:
    X, y, task = related()
    by_name = MultiTaskRegressorCV(L21(), alphas=4, scoring="r2", cv=3).fit(X, y, task=task)

    def negative_error(truth: np.ndarray, prediction: np.ndarray) -> float:
        return -float(np.mean(np.abs(truth - prediction)))

    by_function = MultiTaskRegressorCV(L21(), alphas=4, scoring=negative_error, cv=3)
    by_function.fit(X, y, task=task)
    assert by_name.best_score_ <= 1.0
    assert by_function.best_score_ < 0.0


@pytest.mark.slow
def test_classes_and_mixed_losses() -> None:
    X, y, task = related(rows=30)
    labels = np.array(["low", "mid", "high"])[np.digitize(y, np.quantile(y, [0.3, 0.7]))]
    several = MultiTaskClassifierCV(
        L21(), alphas=[0.2, 0.05], cv=3, task_weight="size", intercept_strength=1.0
    )
    assert several.fit(X, labels, task=task).score(X, labels, task=task) > 0.5
    rng = np.random.default_rng(0)
    Y = np.column_stack([X[:, 0] > 0, X[:, 0] + rng.standard_normal(len(X))])
    mixed = MultiTaskModelCV(alphas=3, cv=3).fit(X, Y)
    assert [loss.name for loss in mixed._linear.losses] == ["logistic", "squared"]
    assert mixed.score(X, Y) > 0.3


def test_pooled_and_separate_are_both_reached() -> None:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((400, 3)), np.repeat(np.arange(4), 100)
    same = X @ [1.0, -1.0, 0.5] + 3.0 * rng.standard_normal(400)
    own = np.einsum("ij,ij->i", X, rng.standard_normal((4, 3))[task] * 3)
    near_mean = toward_mean(1.0) + L2(1e-3)
    pooled = MultiTaskRegressorCV(near_mean, alphas=20).fit(X, same, task=task)
    apart = MultiTaskRegressorCV(near_mean, alphas=20).fit(X, own, task=task)
    assert np.ptp(pooled.coef_, axis=0).max() < 0.2
    assert apart.score(X, own, task=task) > 0.999


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"alphas": 0}, "alphas of MultiTaskRegressorCV must be a number of strengths"),
        ({"alphas": [1.0, -1.0]}, "alphas of MultiTaskRegressorCV"),
        ({"alphas": "many"}, "alphas of MultiTaskRegressorCV"),
        ({"rule": "max"}, "rule of MultiTaskRegressorCV must be one of 'min', 'one_se'"),
        ({"penalty": "L21"}, "penalty of MultiTaskRegressorCV must be None"),
        ({"penalty": []}, "penalty of MultiTaskRegressorCV must be None"),
        ({"scoring": "auc"}, "scoring of MultiTaskRegressorCV must be one of"),
        ({"cv": 1}, "n_splits"),
        ({"cv": "five"}, "cv of MultiTaskRegressorCV"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, object], sentence: str) -> None:
    X, y, task = related()
    with pytest.raises(ParameterError, match=sentence):
        MultiTaskRegressorCV(**parameters).fit(X, y, task=task)


def test_a_search_near_a_choice_finds_it_with_few_fits() -> None:
    X, y, task = related()
    whole = MultiTaskRegressorCV([toward_mean(1.0) + L2(0.1), L21()], alphas=12, cv=3)
    whole.fit(X, y, task=task)
    near = whole._near(whole._place()).fit(X, y, task=task)
    assert near.alpha_ == pytest.approx(whole.alpha_)
    np.testing.assert_allclose(near.coef_, whole.coef_, rtol=1e-4, atol=1e-6)
    assert len(near.candidates_) <= 5 < len(whole.candidates_)
    # What the user has set stays as it is.
    fixed = MultiTaskRegressorCV(
        L21(), alphas=4, cv=3, task_weight="equal", intercept_strength=1.0
    )
    place = fixed.fit(X, y, task=task)._place()
    assert place.keys() == {"family", "alphas"}
    assert fixed._near(place).task_weight == "equal"
