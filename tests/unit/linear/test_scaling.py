"""Standardized features, scaled targets, and columns that a task lacks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean

TIGHT = {"tol": 1e-13, "max_iter": 50_000}


@pytest.fixture
def wide():
    """Eight targets of one design, with gaps."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5)) + 1.0
    Y = X @ rng.normal(size=(5, 8)) + rng.normal(size=(80, 8)) + 3.0
    Y[rng.random(Y.shape) < 0.2] = np.nan
    return X, Y


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    task = np.repeat([0, 1, 2], [20, 30, 25])
    X = rng.normal(size=(75, 4)) + 0.5
    y = X @ [1.0, -1.0, 0.0, 0.5] + task + rng.normal(size=75)
    return X, y, task


@pytest.mark.parametrize("penalty", [None, TraceNorm(fraction=0.1), toward_mean(1.0) + L2(0.1)])
def test_a_target_in_other_units_does_not_move_the_others(wide, penalty):
    X, Y = wide
    model = MultiTaskRegressor(penalty, scale_targets="task", tol=1e-10, max_iter=50_000)
    before = model.fit(X, Y).task_scores(X, Y).values
    moved = Y.copy()
    moved[:, 2] = moved[:, 2] * 1e4 + 7e5
    after = model.fit(X, moved).task_scores(X, moved).values
    assert_allclose(before, after, atol=1e-6)
    plain = MultiTaskRegressor(penalty).fit(X, moved).task_scores(X, moved).values
    if penalty is None:
        assert np.abs(np.array(plain) - before).max() > 0.1


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("intercept", ["task", "shared", None])
def test_units_of_features_do_not_matter(rows, intercept, sparse, classes):
    X, y, task = rows
    units = np.array([1e-6, 1e6, 1.0, 1e3])
    if classes:
        y = y > 1
    kind = MultiTaskClassifier if classes else MultiTaskRegressor
    model = kind(L21(0.05), intercept=intercept, standardize=True, tol=1e-12, max_iter=50_000)
    make = sp.csr_array if sparse else np.asarray
    first = model.fit(make(X), y, task).coef_
    second = model.fit(make(X * units), y, task).coef_
    assert_allclose(second * units, first, atol=1e-8)


def test_standardize_is_a_scaler_in_front(rows):
    X, y, task = rows
    weight = np.linspace(0.5, 2, len(y))
    ours = MultiTaskRegressor(L21(0.1), standardize=True, **TIGHT)
    ours.fit(X, y, task, sample_weight=weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    behind = MultiTaskRegressor(L21(0.1), **TIGHT)
    behind.fit(scaler.transform(X), y, task, sample_weight=weight)
    assert_allclose(ours.coef_ * scaler.scale_, behind.coef_, atol=1e-8)
    assert_allclose(ours.predict(X, task), behind.predict(scaler.transform(X), task), atol=1e-8)


def test_without_intercept_nothing_is_centred(rows):
    X, y, task = rows
    model = MultiTaskRegressor(L2(0.1), intercept=None, standardize=True, scale_targets="common")
    model.fit(X, y, task)
    assert not model.intercept_.any()
    assert not model.predict(np.zeros((3, 4)), [0, 1, 2]).any()


@pytest.mark.parametrize("sparse", [False, True])
def test_constant_and_duplicated_features(rows, sparse):
    X, y, task = rows
    more = np.column_stack([X, np.full(75, 1e5 / 3), X[:, 0], np.zeros(75)])
    more = sp.csr_array(more) if sparse else more
    plain = MultiTaskRegressor(L2(0.2), standardize=True, **TIGHT).fit(X[:, 1:], y, task)
    assert np.isfinite(plain.coef_).all()
    model = MultiTaskRegressor(L2(0.2), standardize=True, **TIGHT).fit(more, y, task)
    assert_allclose(model.coef_[:, [4, 6]], 0, atol=1e-9)
    assert_allclose(model.coef_[:, 0], model.coef_[:, 5], atol=1e-9)
    sparse_rows = MultiTaskRegressor(L1(0.05)).fit(more, y, task)
    assert np.isfinite(sparse_rows.coef_).all()


@pytest.mark.parametrize("choice", ["task", "common", "auto", None])
def test_targets_come_back_in_their_units(rows, choice):
    X, y, task = rows
    weak = MultiTaskRegressor(L2(1e-9), intercept="task", scale_targets=choice, **TIGHT)
    weak.fit(X, 100 * y + 50, task)
    for t in range(3):
        own = Ridge(1e-9).fit(X[task == t], 100 * y[task == t] + 50)
        assert_allclose(weak.predict(X[:5], np.full(5, t)), own.predict(X[:5]), rtol=1e-6)


@pytest.mark.parametrize("choice", ["common", None])
def test_the_pull_on_intercepts_has_no_units(rows, choice):
    X, y, task = rows
    model = MultiTaskRegressor(L2(0.1), scale_targets=choice, **TIGHT)
    first = model.fit(X, y, task).intercept_
    assert_allclose(model.fit(X, 100 * y + 50, task).intercept_, 100 * first + 50, rtol=1e-7)


def test_auto_scaling_follows_the_form(rows, wide):
    X, y, task = rows
    auto = MultiTaskRegressor(L2(0.5), scale_targets="auto", **TIGHT)
    common = MultiTaskRegressor(L2(0.5), scale_targets="common", **TIGHT)
    assert_allclose(auto.fit(X, y, task).coef_, common.fit(X, y, task).coef_)
    own = MultiTaskRegressor(L2(0.5), scale_targets="task", **TIGHT)
    assert_allclose(auto.fit(*wide).coef_, own.fit(*wide).coef_)


def test_a_constant_target_is_predicted(rows):
    X, y, task = rows
    y = np.where(task == 1, 4.0, y)
    for choice in ("task", "common", None):
        model = MultiTaskRegressor(scale_targets=choice).fit(X, y, task)
        assert_allclose(model.predict(X[:4], [1] * 4), 4.0, atol=0.3)


def test_mixed_targets_scale_numbers_only(rows):
    X, y, _ = rows
    Y = np.column_stack([y * 1e4, y > 1])
    loss = {0: "squared", 1: "logistic"}
    first = MultiTaskModel(L21(0.05), loss=loss, scale_targets="auto", tol=1e-11).fit(X, Y)
    Y[:, 0] /= 1e4
    second = MultiTaskModel(L21(0.05), loss=loss, scale_targets="task", tol=1e-11).fit(X, Y)
    assert_allclose(first.coef_[0] / 1e4, second.coef_[0], atol=1e-7)
    assert_allclose(first.coef_[1], second.coef_[1], atol=1e-7)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("penalty", [L21(0.05), L2(0.1), L1(0.05)])
def test_a_column_that_a_task_lacks(rows, penalty, standardize):
    X, y, task = rows
    names = ["a", "b", "c", "d"]
    tables = {t: pd.DataFrame(X[task == t], columns=names) for t in range(3)}
    tables[1] = tables[1].drop(columns="c")
    own = {t: y[task == t] for t in range(3)}
    model = MultiTaskRegressor(penalty, standardize=standardize, **TIGHT)
    model.fit({t: (tables[t], own[t]) for t in range(3)})
    j = model.coef_feature_names_.tolist().index("c")
    assert model.coef_[1, j] == 0
    assert model.coef_[[0, 2], j].all()
    # The same as zeros there, once the column is centred and scaled by the tasks that have it.
    has = task != 1
    centre, spread = X.mean(axis=0), X.std(axis=0)
    centre[2], spread[2] = X[has, 2].mean(), X[has, 2].std()
    filled = (X - centre) / (spread if standardize else 1.0)
    filled[~has, 2] = 0.0
    zeros = MultiTaskRegressor(penalty, **TIGHT).fit(filled, y, task)
    predicted = model.predict({t: tables[t] for t in range(3)})
    expected = zeros.predict(filled, task)
    for t in range(3):
        assert_allclose(predicted[t], expected[task == t], atol=1e-7)
    # A task is predicted from its own columns, alone or beside the others.
    assert_allclose(model.predict({1: tables[1]})[1], expected[task == 1], atol=1e-7)
    wide = tables[1].assign(c=123.0)
    assert_allclose(model.predict({1: wide})[1], expected[task == 1], atol=1e-7)
    long = model.predict(wide, task=np.full(len(wide), 1))
    assert_allclose(long, expected[task == 1], atol=1e-7)
