"""Logistic regression along a path of strengths."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from polytask.baselines._newton import logistic_path

STRENGTHS = (1e-3, 0.1, 10.0, 1e3)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("rows", "columns"), [(80, 4), (12, 30), (12, 12), (40, 1)])
def test_it_is_scikit_learns_minimum(rows: int, columns: int, intercept: bool) -> None:
    rng = np.random.default_rng(rows + columns)
    X = rng.standard_normal((rows, columns))
    y = np.where(X[:, 0] + rng.logistic(size=rows) > 0, 1.0, -1.0)
    weight = rng.uniform(0.5, 2.0, rows)
    path = logistic_path(X, y, weight, STRENGTHS, intercept=intercept)
    for C, (coef, level) in zip(STRENGTHS, path, strict=True):
        model = LogisticRegression(
            C=C, fit_intercept=intercept, solver="newton-cholesky", tol=1e-10, max_iter=1000
        ).fit(X, y, sample_weight=weight)
        scale = max(np.abs(model.coef_).max(), 1e-3)
        assert_allclose(coef, model.coef_[0], atol=2e-4 * scale)
        assert_allclose(level, np.ravel(model.intercept_)[0], atol=2e-4 * max(scale, 1.0))


def test_separable_rows_of_any_size_have_a_finite_minimum() -> None:
    X = np.array([[-1e6], [-2e6], [1e6], [3e6]])
    y = np.array([-1.0, -1.0, 1.0, 1.0])
    for coef, level in logistic_path(X, y, np.ones(4), STRENGTHS, intercept=True):
        assert np.isfinite(coef).all()
        assert np.isfinite(level)
        assert (np.sign(X @ coef + level) == y).all()


def test_weights_are_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), np.where(rng.uniform(size=20) > 0.5, 1.0, -1.0)
    times = rng.integers(1, 4, 20)
    one = list(logistic_path(X, y, times.astype(float), STRENGTHS, intercept=True))
    rows = np.repeat(np.arange(20), times)
    two = list(logistic_path(X[rows], y[rows], np.ones(len(rows)), STRENGTHS, intercept=True))
    for (a, b), (c, d) in zip(one, two, strict=True):
        assert_allclose(a, c, atol=1e-5)
        assert_allclose(b, d, atol=1e-5)
