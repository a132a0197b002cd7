"""Logistic regression along a path of strengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from polytask.baselines._columns import Disjoint, SplitDesign, split_tail
from polytask.baselines._logistic import logistic_path

STRENGTHS = (1e-3, 0.1, 10.0, 1e3)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("rows", "columns"), [(80, 4), (12, 30), (12, 12), (40, 1)])
def test_it_is_scikit_learns_minimum(rows: int, columns: int, intercept: bool) -> None:
    rng = np.random.default_rng(rows + columns)
    X = rng.standard_normal((rows, columns))
    y = np.where(X[:, 0] + rng.logistic(size=rows) > 0, 1.0, -1.0)
    weight = rng.uniform(0.5, 2.0, rows)
    path = logistic_path(SplitDesign(X), y, weight, STRENGTHS, intercept=intercept)
    for C, point in zip(STRENGTHS, path, strict=True):
        model = LogisticRegression(
            C=C, fit_intercept=intercept, solver="newton-cholesky", tol=1e-10, max_iter=1000
        ).fit(X, y, sample_weight=weight)
        scale = max(np.abs(model.coef_).max(), 1e-3)
        assert_allclose(point.coef, model.coef_[0], atol=2e-4 * scale)
        assert_allclose(
            point.intercept, np.ravel(model.intercept_)[0], atol=2e-4 * max(scale, 1.0)
        )


def test_separable_rows_of_any_size_have_a_finite_minimum() -> None:
    X = np.array([[-1e6], [-2e6], [1e6], [3e6]])
    y = np.array([-1.0, -1.0, 1.0, 1.0])
    for point in logistic_path(SplitDesign(X), y, np.ones(4), STRENGTHS, intercept=True):
        assert np.isfinite(point.coef).all()
        assert np.isfinite(point.intercept)
        assert (np.sign(X @ point.coef + point.intercept) == y).all()


def test_weights_are_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), np.where(rng.uniform(size=20) > 0.5, 1.0, -1.0)
    times = rng.integers(1, 4, 20)
    one = list(logistic_path(SplitDesign(X), y, times.astype(float), STRENGTHS, intercept=True))
    rows = np.repeat(np.arange(20), times)
    two = list(
        logistic_path(SplitDesign(X[rows]), y[rows], np.ones(len(rows)), STRENGTHS, intercept=True)
    )
    for a, b in zip(one, two, strict=True):
        assert_allclose(a.coef, b.coef, atol=1e-5)
        assert_allclose(a.intercept, b.intercept, atol=1e-5)


def _one_hot(rows: int, columns: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    codes = rng.integers(0, columns, rows)
    return codes, np.eye(columns)[codes]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("length", [1.0, 1000.0])
@pytest.mark.parametrize(("rows", "columns"), [(200, 5), (30, 40)])
def test_columns_of_which_no_row_has_two_are_columns(
    rows: int, columns: int, length: float, intercept: bool
) -> None:
    rng = np.random.default_rng(rows)
    X = rng.standard_normal((rows, columns))
    codes, tail = _one_hot(rows, 12, rng)
    y = np.where(X[:, 0] + codes / 6 - 1 + rng.logistic(size=rows) > 0, 1.0, -1.0)
    values = length * (codes != 3)
    weight = rng.uniform(0.5, 2.0, rows)
    options = {"y": y, "weight": weight, "strengths": STRENGTHS, "intercept": intercept}
    whole = logistic_path(SplitDesign(np.hstack([X, values[:, None] * tail])), **options)
    parts = logistic_path(SplitDesign(X, Disjoint(codes, values, 12)), **options)
    for one, two in zip(whole, parts, strict=True):
        scale = np.array([1.0] * columns + [length] * 12)
        assert_allclose(two.coef * scale, one.coef * scale, rtol=1e-4, atol=1e-5)
        assert_allclose(two.intercept, one.intercept, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_the_most_columns_at_the_end_without_two_in_a_row(kind: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    codes, tail = _one_hot(40, 6, rng)
    tail[codes == 2] = 0.0
    found, columns = split_tail(kind(np.hstack([X, tail])))
    assert found.shape == (40, 3)
    np.testing.assert_array_equal(columns.matrix().toarray(), tail)
    head, none = split_tail(kind(X))
    # One column has no row with two of it.
    assert head.shape == (40, 2)
    np.testing.assert_array_equal(none.matrix().toarray(), X[:, 2:])
    assert split_tail(kind(np.zeros((5, 0))))[1].width == 0
    assert split_tail(kind(np.zeros((5, 4))))[1].width == 4
