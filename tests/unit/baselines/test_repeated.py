"""Dense columns without the number that they mostly repeat."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from polytask.baselines import TunedLogistic, _logistic
from polytask.baselines._columns import without_repeats
from polytask.datafits import Features


def marks(n: int = 700, d: int = 40, share: float = 0.04) -> np.ndarray:
    """Scaled and centred 0/1 columns."""
    rng = np.random.default_rng(0)
    X = (rng.uniform(size=(n, d)) < share).astype(float)
    return np.asarray(StandardScaler().fit_transform(X))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_the_same_matrix(dtype):
    X = marks().astype(dtype)
    found = without_repeats(X)
    assert found is not None
    assert found.matrix.nnz < 0.06 * X.size
    assert_allclose(found.matrix.toarray() - found.offset, X, rtol=1e-5)
    rng = np.random.default_rng(1)
    rows = rng.permutation(700)[:300]
    part, plain = found.rows(rows), Features(X[rows].astype(float))
    assert part.matrix.shape == plain.matrix.shape == (300, 40)
    w, r = rng.standard_normal(40), rng.uniform(size=300)
    rtol = 1e-9 if dtype is np.float64 else 1e-4
    assert_allclose(part.times(w), plain.times(w), rtol=rtol, atol=rtol)
    assert_allclose(part.adjoint(r), plain.adjoint(r), rtol=rtol, atol=rtol)
    assert_allclose(part.squares_adjoint(r), plain.squares_adjoint(r), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("share", "split"), [(0.0, True), (0.09, True), (0.15, False), (0.5, False)]
)
def test_it_is_split_where_that_saves_work(share, split):
    assert (without_repeats(marks(share=share)) is not None) == split


def test_a_few_rows_do_not_decide():
    # The rows looked at first are all alike, the others are not.
    X = np.random.default_rng(0).standard_normal((5010, 3))
    X[::10] = 1.0
    assert without_repeats(X) is None


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_it_ends_in_the_minimum_of_scikit_learn(fit_intercept, monkeypatch):
    X = marks(600)
    rng = np.random.default_rng(2)
    y = (X[:, :5].sum(axis=1) + rng.logistic(size=600) > 1.0).astype(int)
    weight = rng.uniform(0.5, 2.0, 600)
    exact = TunedLogistic(fit_intercept=fit_intercept).fit(X, y, weight)
    monkeypatch.setattr(_logistic, "_NEWTON_COLUMNS", 20)
    model = TunedLogistic(fit_intercept=fit_intercept)
    model.fit(X, y, weight)
    assert isinstance(model._prepared(X), Features)
    assert model.C_ == exact.C_
    other = LogisticRegression(C=model.C_, fit_intercept=fit_intercept, tol=1e-10, max_iter=10_000)
    other.fit(X, y, weight)
    assert_allclose(model.decision_function(X), other.decision_function(X), atol=2e-3)
    assert_array_equal(model.predict(X), other.predict(X))


def test_three_classes_and_few_rows_are_fitted_as_they_are(monkeypatch):
    monkeypatch.setattr(_logistic, "_NEWTON_COLUMNS", 20)
    X = marks(600)
    y = np.random.default_rng(3).integers(0, 3, 600)
    assert TunedLogistic(cv=2).fit(X, y).coef_.shape == (3, 40)
    model = TunedLogistic()
    model.classes_ = np.array([0, 1])
    few = X[:300]
    assert model._prepared(few) is few
