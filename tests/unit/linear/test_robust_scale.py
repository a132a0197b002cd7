"""Centre and spread that a few wrong targets cannot change."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskRegressor
from polytask._estimator.scaling import robust_moments
from polytask.penalties import L2


def test_of_normal_targets_they_are_mean_and_variance():
    y = 3.0 + 2.0 * np.random.default_rng(0).standard_normal(100_000)
    centre, variance = robust_moments(y, np.ones(len(y)))
    assert centre == pytest.approx(3.0, abs=0.03)
    assert variance == pytest.approx(4.0, rel=0.02)


def test_weights_are_repetitions():
    rng = np.random.default_rng(1)
    y, times = rng.standard_normal(31), rng.integers(0, 4, 31)
    weighted = robust_moments(y, times.astype(float))
    repeated = np.repeat(y, times)
    assert weighted == pytest.approx(robust_moments(repeated, np.ones(len(repeated))))
    assert robust_moments(repeated, np.ones(len(repeated)))[0] == np.median(repeated)


def test_more_than_half_of_the_targets_are_equal():
    y = np.array([5.0, 5.0, 5.0, 5.0, 6.0, 9.0])
    centre, variance = robust_moments(y, np.ones(6))
    assert centre == 5.0
    assert variance > 0
    assert robust_moments(np.full(4, 5.0), np.ones(4)) == (5.0, 0.0)
    assert robust_moments(y, np.zeros(6)) == (0.0, 0.0)


@pytest.mark.parametrize("scale", ["task", "common", "auto"])
@pytest.mark.parametrize("form", ["long", "targets"])
def test_one_wrong_target_does_not_widen_what_counts_as_far_off(scale, form):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((120, 3))
    Y = X @ np.array([[1.0, 2.0], [0.0, 1.0], [1.0, -1.0]]) + 0.1 * rng.standard_normal((120, 2))
    Y[0, 0] = 1e6
    model = MultiTaskRegressor(L2(1e-3), loss="huber", scale_targets=scale, intercept="task")
    if form == "targets":
        model.fit(X, Y)
    else:
        task = np.repeat(["a", "b"], 120)
        model.fit(np.vstack([X, X]), Y.T.ravel(), task=task)
    np.testing.assert_allclose(model.coef_, [[1, 0, 1], [2, 1, -1]], atol=0.15)
