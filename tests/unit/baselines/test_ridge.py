"""Ridge regression with a searched strength: the same choice as refitting every fold."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask.baselines import TunedRidge
from polytask.baselines._columns import split_columns
from polytask.baselines._ridge import ridge_rows
from polytask.exceptions import ParameterError

ALPHAS = (0.01, 1.0, 30.0, 1e3)


def problem(n, d, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * rng.uniform(0.1, 10, d) + 5
    return X, X @ rng.standard_normal(d) / d + rng.standard_normal(n), rng.uniform(0.5, 2, n)


def folds(n, k=4):
    part = np.arange(n) % k
    return [(np.flatnonzero(part != f), np.flatnonzero(part == f)) for f in range(k)]


@pytest.mark.parametrize(("n", "d"), [(60, 5), (20, 40)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_it_chooses_what_a_grid_search_chooses(n, d, fit_intercept):
    X, y, _ = problem(n, d)
    ours = TunedRidge(ALPHAS, folds(n), fit_intercept).fit(X, y)
    grid = GridSearchCV(
        Ridge(fit_intercept=fit_intercept, solver="svd"),
        {"alpha": ALPHAS},
        scoring="neg_mean_squared_error",
        cv=folds(n),
    ).fit(X, y)
    assert ours.alpha_ == grid.best_params_["alpha"]
    np.testing.assert_allclose(ours.predict(X), grid.predict(X), rtol=1e-8)


def test_held_out_errors_are_those_of_weighted_ridge():
    X, y, w = problem(30, 4)
    model = TunedRidge(ALPHAS, folds(30))
    errors = model._errors(X, y, w, np.array(ALPHAS))
    for k, alpha in enumerate(ALPHAS):
        total = 0.0
        for a, b in folds(30):
            fitted = Ridge(alpha).fit(X[a], y[a], sample_weight=w[a])
            total += w[b] @ (y[b] - fitted.predict(X[b])) ** 2
        assert errors[k] == pytest.approx(total, rel=1e-9)


def test_rows_that_cannot_be_divided():
    model = TunedRidge(ALPHAS).fit([[1.0, 2.0]], [3.0])
    assert model.predict([[5.0, 5.0]]) == pytest.approx([3.0])
    assert TunedRidge(ALPHAS, cv=None).fit(*problem(3, 2)[:2]).alpha_ in ALPHAS


def grouped(n, d, width, seed=0):
    rng = np.random.default_rng(seed)
    X, y, w = problem(n, d, seed)
    codes = rng.integers(0, width, n)
    return X, np.eye(width)[codes], y + rng.standard_normal(width)[codes], w


@pytest.mark.parametrize("kind", ["dense", "sparse", "columns", "sparse columns"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_leaving_rows_out_is_leaving_rows_out(kind, fit_intercept):
    X, columns, y, w = grouped(90, 4, 60)
    X = X / 5
    design = np.hstack([X, 3.0 * columns]) if "columns" in kind else X
    given = sp.csr_array(design) if "sparse" in kind else design
    model = TunedRidge(ALPHAS, None, fit_intercept).fit(given, y, w)
    errors = np.zeros(len(ALPHAS))
    for k, alpha in enumerate(ALPHAS):
        for i in range(90):
            a = np.flatnonzero(np.arange(90) != i)
            one = Ridge(alpha, fit_intercept=fit_intercept, solver="cholesky")
            one.fit(design[a], y[a], sample_weight=w[a])
            errors[k] += w[i] * (y[i] - one.predict(design[[i]])[0]) ** 2
    rows = split_columns(given, 300) or given
    found = ridge_rows(rows, y, w, intercept=fit_intercept).left_out(np.array(ALPHAS))
    np.testing.assert_allclose(found, errors, rtol=1e-7)
    assert model.alpha_ == ALPHAS[int(errors.argmin())]
    best = Ridge(model.alpha_, fit_intercept=fit_intercept, solver="cholesky")
    best.fit(design, y, sample_weight=w)
    np.testing.assert_allclose(model.predict(given), best.predict(design), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_folds_of_many_columns_are_those_of_ridge(kind, fit_intercept):
    X, columns, y, w = grouped(200, 3, 60)
    design = np.hstack([X, columns])
    model = TunedRidge(ALPHAS, folds(200), fit_intercept).fit(kind(design), y, w)
    errors = np.zeros(len(ALPHAS))
    for k, alpha in enumerate(ALPHAS):
        for a, b in folds(200):
            one = Ridge(alpha, fit_intercept=fit_intercept).fit(design[a], y[a], w[a])
            errors[k] += w[b] @ (y[b] - one.predict(design[b])) ** 2
    assert model.alpha_ == ALPHAS[int(errors.argmin())]
    best = Ridge(model.alpha_, fit_intercept=fit_intercept).fit(design, y, w)
    np.testing.assert_allclose(model.coef_, best.coef_, atol=1e-8)


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e9])
def test_large_columns_that_say_the_same_are_no_failure(scale):
    X, columns, y, w = grouped(200, 3, 60)
    once = np.hstack([scale * X, columns])
    twice = np.hstack([scale * X, scale * X[:, :1], columns])
    model, other = TunedRidge(ALPHAS).fit(twice, y, w), TunedRidge(ALPHAS).fit(once, y, w)
    assert model.alpha_ == other.alpha_
    np.testing.assert_allclose(model.predict(twice), other.predict(once), atol=1e-3)


def test_a_row_with_all_the_weight_says_nothing_when_left_out():
    X, y, _ = problem(5, 2)
    model = TunedRidge(ALPHAS).fit(X, y, np.eye(5)[0])
    assert model.alpha_ in ALPHAS
    assert model.predict(X[:1]) == pytest.approx(y[:1])


@pytest.mark.parametrize("alphas", [(), (1.0, 0.0), 1.0])
def test_strengths_are_positive(alphas):
    with pytest.raises(ParameterError, match="positive"):
        TunedRidge(alphas).fit(*problem(10, 2)[:2])


@parametrize_with_checks([TunedRidge()])
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def test_of_many_rows_some_are_left_out_of_the_fit_of_all() -> None:
    rng, n = np.random.default_rng(5), 20_500
    head, tail = rng.standard_normal((n, 2)), np.eye(60)[rng.integers(0, 60, n)]
    X, y = np.column_stack([head, tail]), head[:, 0] + rng.standard_normal(n)
    rows = ridge_rows(split_columns(X, 300), y, np.ones(n), intercept=True)
    alphas = np.array([1.0, 1e4])
    found = rows.left_out(alphas)
    whole = ridge_rows(X, y, np.ones(n), intercept=True).left_out(alphas)
    assert not np.allclose(found, whole, rtol=1e-9)
    np.testing.assert_allclose(found, whole * (20_000 / n), rtol=0.01)
