"""Ridge regression with a searched strength: the same choice as refitting every fold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask.baselines import TunedRidge
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


@pytest.mark.parametrize("alphas", [(), (1.0, 0.0), 1.0])
def test_strengths_are_positive(alphas):
    with pytest.raises(ParameterError, match="positive"):
        TunedRidge(alphas).fit(*problem(10, 2)[:2])


@parametrize_with_checks([TunedRidge()])
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)
