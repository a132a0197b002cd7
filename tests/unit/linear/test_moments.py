"""The data term from moments, moments of features, and the pull of a fit on few features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from polytask import MultiTaskRegressor
from polytask._estimator import feature_moments, regression
from polytask._estimator.weights import count_labels, label_weights, sum_by_task
from polytask.data import TaskData
from polytask.datafits import Samples, SquaredStatistics
from polytask.linear import datafit as _terms
from polytask.linear import pull as _pull
from polytask.linear.problem import Settings, build_problem
from polytask.penalties import L21


def drawn(form: str) -> TaskData:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)) * np.array([1.0, 10.0, 0.1, 1.0]) + np.array([0.0, 1e3, 0.0, 5.0])
    Y = X @ rng.normal(size=(4, 3)) + rng.normal(size=(60, 3))
    if form == "targets":
        return TaskData.from_targets(X, Y)
    if form == "gaps":
        return TaskData.from_targets(X, np.where(rng.random(Y.shape) < 0.3, np.nan, Y))
    if form == "sparse":
        X = sp.csr_array(X * (rng.random(X.shape) < 0.4))
    weight = rng.uniform(0.1, 2.0, 60)
    return TaskData.from_long(X, Y[:, 0], np.arange(60) % 3, sample_weight=weight)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(standardize=True, scale_targets="task", intercept="shared"),
        Settings(standardize=True, scale_targets="common", intercept=None, task_weight="equal"),
        Settings(intercept="auto", scale_targets="auto"),
        Settings(intercept="toward_mean", standardize=True),
    ],
)
@pytest.mark.parametrize("form", ["targets", "gaps", "long", "sparse"])
def test_moments_make_the_problem_that_rows_make(form: str, settings: Settings) -> None:
    data = drawn(form)
    outcomes = regression(data, "squared", "the test")
    quick = build_problem(data, outcomes, settings, "the test")
    rows = _terms.row_term(data, outcomes, "the test")
    slow = build_problem(data, outcomes, settings, "the test", rows)
    again = quick.samples
    assert isinstance(quick.datafit, SquaredStatistics)
    assert again is not None
    W = np.random.default_rng(1).normal(size=quick.datafit.shape)
    wanted = slow.datafit.evaluate(W)
    for found in (quick.datafit.evaluate(W), again().evaluate(W)):
        assert found.value == pytest.approx(wanted.value, rel=1e-10)
        size = np.abs(wanted.gradient).max()
        np.testing.assert_allclose(found.gradient, wanted.gradient, atol=1e-10 * size)
        np.testing.assert_allclose(found.intercept, wanted.intercept, rtol=1e-9, atol=1e-10)
    for one, other in zip(
        quick.original_units(W, wanted.intercept),
        slow.original_units(W, wanted.intercept),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_rows_are_neither_copied_nor_scaled_where_moments_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = drawn("targets")

    def refused(*args: Any) -> Any:
        raise AssertionError(args)

    monkeypatch.setattr(_terms.FeatureScaling, "features", refused)
    monkeypatch.setattr(_terms.TargetScaling, "apply", refused)
    model = MultiTaskRegressor(L21(0.1), standardize=True, scale_targets="task")
    assert model.fit(data).solution_.status.ok


def test_weights_of_complete_targets_take_no_memory() -> None:
    data = drawn("targets")
    weight = label_weights(data, regression(data, "squared", "the test"), None, "the test")
    assert weight.shape == (60, 3)
    assert weight.strides[1] == 0
    assert count_labels(weight) == 180
    np.testing.assert_array_equal(sum_by_task(weight, data), [60, 60, 60])
    gaps = drawn("gaps")
    weight = label_weights(gaps, regression(gaps, "squared", "the test"), None, "the test")
    np.testing.assert_array_equal(weight, ~np.isnan(gaps.y))
    assert count_labels(weight) == np.count_nonzero(weight)


@pytest.mark.parametrize("shape", [(300, 3), (20, 400)])
@pytest.mark.parametrize("drift", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_moments_of_features(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], drift: bool, masked: bool
) -> None:
    monkeypatch.setattr(feature_moments, "_CHUNK", 1000)
    monkeypatch.setattr(feature_moments, "_FEWEST_ROWS", 7)
    rng = np.random.default_rng(0)
    X, rows = rng.normal(size=shape), rng.uniform(0.1, 1.0, shape[0])
    X[:, 1] += 1e8
    X[:, 2] = 0.1
    exists = rng.random(shape) < 0.7 if masked else None
    if drift:
        # The first rows are elsewhere, and hardly count.
        X[5:, 0] += 1e9
        rows[:5] = 1e-12
    mean, variance = feature_moments.dense_moments(X, rows, exists)
    share = (rows[:, None] * (np.ones(shape) if exists is None else exists)).astype(np.longdouble)
    share /= share.sum(axis=0)
    wanted = (share * X).sum(axis=0)
    np.testing.assert_allclose(mean, wanted.astype(float), rtol=1e-14, atol=1e-14)
    square = (share * (X - wanted) ** 2).sum(axis=0).astype(float)
    np.testing.assert_allclose(variance, square, rtol=1e-6, atol=1e-30)
    assert variance[2] == 0.0


def test_moments_of_sparse_features() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50, 6)) * (rng.random((50, 6)) < 0.3)
    rows = rng.uniform(0.1, 1.0, 50)
    found = feature_moments.sparse_moments(sp.csr_array(X), rows)
    for one, other in zip(found, feature_moments.dense_moments(X, rows, None), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-14)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_pull_of_few_features_is_that_of_all(
    monkeypatch: pytest.MonkeyPatch, sparse: bool
) -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 200)) * (rng.random((30, 200)) < 0.5)
    Y = X[:, :3] @ rng.normal(size=(3, 4)) + 0.1 * rng.normal(size=(30, 4))
    model = MultiTaskRegressor(L21(fraction=0.3), tol=1e-9)
    asked: list[int] = []
    plain = _pull.narrowed

    def noted(samples: Samples, used: Any) -> Samples:
        asked.append(len(used))
        return plain(samples, used)

    monkeypatch.setattr(_pull, "narrowed", noted)
    given = sp.csr_array(X) if sparse else X
    few = model.fit(given, Y)._pull
    assert len(asked) == 1
    assert asked[0] < 50
    monkeypatch.setattr(_pull, "_FEW", 200)
    all_ = model.fit(given, Y)._pull
    assert len(asked) == 1
    np.testing.assert_allclose(few.strength, all_.strength, rtol=1e-9)
    np.testing.assert_allclose(few.level, all_.level, rtol=1e-9)
    assert np.isfinite(few.strength).sum() == asked[0]
