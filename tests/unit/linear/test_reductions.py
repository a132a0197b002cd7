"""Special cases that scikit-learn solves too."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import (
    ElasticNet as SklearnElasticNet,
)
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    MultiTaskElasticNet,
    MultiTaskLasso,
    Ridge,
)

from polytask import MultiTaskClassifier, MultiTaskRegressor
from polytask.penalties import L1, L2, L21, ElasticNet, toward_mean

TIGHT = {"tol": 1e-13, "max_iter": 100_000}


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6)) * [1, 2, 0.5, 1, 3, 1] + 1.0
    return X, X @ rng.normal(size=6) + rng.normal(size=60) + 5.0, rng.uniform(0.5, 2, size=60)


@pytest.mark.parametrize("intercept", ["task", "toward_mean", "shared", None])
def test_one_task_is_ridge(rows, intercept):
    X, y, weight = rows
    ours = MultiTaskRegressor(L2(0.3), intercept=intercept, **TIGHT).fit(
        X, y, sample_weight=weight
    )
    theirs = Ridge(0.3 * weight.sum(), fit_intercept=intercept is not None, tol=1e-12)
    theirs.fit(X, y, sample_weight=weight)
    assert_allclose(ours.coef_[0], theirs.coef_, atol=1e-8)
    assert_allclose(ours.intercept_[0], theirs.intercept_, atol=1e-8)
    assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8)


@pytest.mark.parametrize("intercept", ["task", None])
@pytest.mark.parametrize(
    ("penalty", "other"),
    [
        (L1(0.2), Lasso(0.2)),
        (L21(0.2), Lasso(0.2)),
        (ElasticNet(0.2, l1_ratio=0.3), SklearnElasticNet(0.2, l1_ratio=0.3)),
    ],
)
def test_one_task_is_lasso_and_elastic_net(rows, penalty, other, intercept):
    X, y, weight = rows
    ours = MultiTaskRegressor(penalty, intercept=intercept, **TIGHT).fit(
        X, y, sample_weight=weight
    )
    other.set_params(fit_intercept=intercept is not None, tol=1e-14, max_iter=100_000)
    theirs = other.fit(X, y, sample_weight=weight)
    assert_allclose(ours.coef_[0], theirs.coef_, atol=1e-6)
    assert_allclose(ours.intercept_[0], theirs.intercept_, atol=1e-6)


@pytest.mark.parametrize("intercept", ["toward_mean", None])
def test_one_task_is_logistic_regression(rows, intercept):
    X, y, weight = rows
    labels = np.where(y > np.median(y) + np.sin(7 * y), "up", "down")
    ours = MultiTaskClassifier(L2(0.1), intercept=intercept, **TIGHT)
    ours.fit(X, labels, sample_weight=weight)
    theirs = LogisticRegression(
        C=1 / (0.1 * weight.sum()), fit_intercept=intercept is not None, tol=1e-10,
        max_iter=10_000, solver="newton-cholesky",
    ).fit(X, labels, sample_weight=weight)  # fmt: skip
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-5)
    assert ours.classes_.tolist() == theirs.classes_.tolist()


@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 3.0, "c": 0.5}])
def test_one_task_is_multinomial_regression(rows, class_weight):
    X, y, _ = rows
    X = X - X.mean(axis=0)
    labels = np.array(["a", "b", "c"])[np.digitize(y + 3 * np.sin(9 * y), [3, 6])]
    ours = MultiTaskClassifier(L2(0.1), class_weight=class_weight, **TIGHT).fit(X, labels)
    # n_t is the sum of the weights after class_weight.
    total = ours.task_weight_sums_[0]
    theirs = LogisticRegression(
        C=1 / (0.1 * total), tol=1e-10, max_iter=10_000, class_weight=class_weight,
        solver="newton-cg",
    ).fit(X, labels)  # fmt: skip
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    assert_allclose(ours.intercept_, theirs.intercept_ - theirs.intercept_.mean(), atol=1e-5)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("task_weight", ["size", "equal"])
def test_a_shared_design_is_the_multi_task_lasso(rows, task_weight):
    X, y, _ = rows
    Y = np.column_stack([y, y[::-1], X[:, 0] - y])
    theirs = MultiTaskLasso(0.3, tol=1e-14, max_iter=100_000).fit(X, Y)
    ours = MultiTaskRegressor(L21(0.3), task_weight=task_weight, **TIGHT).fit(X, Y)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)


def test_a_shared_design_is_the_multi_task_elastic_net(rows):
    X, y, _ = rows
    Y = np.column_stack([y, y[::-1], X[:, 0] - y])
    theirs = MultiTaskElasticNet(0.3, l1_ratio=0.4, tol=1e-14, max_iter=100_000).fit(X, Y)
    ours = MultiTaskRegressor(L21(0.12) + L2(0.18), **TIGHT).fit(X, Y)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)


def test_a_strong_pull_to_the_mean_is_pooling(rows):
    X, y, _ = rows
    task = np.repeat([0, 1, 2], [10, 20, 30])
    y = y + 3.0 * task
    pooled = LinearRegression().fit(X, y)
    ours = MultiTaskRegressor(toward_mean(1e6), intercept="shared", tol=1e-8).fit(X, y, task)
    assert_allclose(ours.coef_, np.tile(pooled.coef_, (3, 1)), atol=1e-4)
    assert_allclose(ours.intercept_, np.full(3, pooled.intercept_), atol=1e-4)
    ridge = Ridge(0.2 * 60).fit(X, y)
    # Three columns pay for the same coefficients, and the mean n_t is 20.
    ours.set_params(penalty=toward_mean(1e6) + L2(0.2)).fit(X, y, task)
    assert_allclose(ours.coef_, np.tile(ridge.coef_, (3, 1)), atol=1e-4)


def test_no_pull_to_the_mean_is_one_model_per_task(rows):
    X, y, _ = rows
    task = np.repeat([0, 1, 2], [10, 20, 30])
    ours = MultiTaskRegressor(toward_mean(1e-10), intercept="task", **TIGHT).fit(X, y, task)
    for t in range(3):
        own = LinearRegression().fit(X[task == t], y[task == t])
        assert_allclose(ours.coef_[t], own.coef_, atol=1e-6)
        assert_allclose(ours.intercept_[t], own.intercept_, atol=1e-5)


def test_separate_ridge_per_task(rows):
    X, y, weight = rows
    task = np.repeat(["a", "b"], [25, 35])
    ours = MultiTaskRegressor(L2(0.5), task_weight="equal", intercept="task", **TIGHT)
    ours.fit(X, y, task, sample_weight=weight)
    for t, label in enumerate("ab"):
        own = task == label
        ridge = Ridge(0.5 * weight[own].sum()).fit(X[own], y[own], sample_weight=weight[own])
        assert_allclose(ours.coef_[t], ridge.coef_, atol=1e-7)
