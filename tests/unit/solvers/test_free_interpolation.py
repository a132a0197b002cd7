"""Features that are not penalised and fit every row alone are solved, with outliers too."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskRegressor
from polytask.penalties import L1, L2, L21, weighted

TASK = np.repeat([0, 1, 2], 8)


def _problem(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((len(TASK), 40))
    return X, 3.0 * X[:, 0] + rng.standard_cauchy(len(TASK))


@pytest.mark.parametrize("loss", ["huber", "squared"])
@pytest.mark.parametrize("kind", [L1, L2, L21])
@pytest.mark.parametrize("free", [9, 20, 39])
def test_more_free_features_than_rows(loss, kind, free):
    X, y = _problem(free)
    weights = np.where(np.arange(40) < free, 0.0, 1.0)
    model = MultiTaskRegressor(weighted(kind(0.05), weights), loss=loss).fit(X, y, TASK)
    assert model.solution_.status.ok
    np.testing.assert_allclose(model.predict(X, TASK), y, rtol=1e-6, atol=1e-6)
    assert not model.coef_[:, free:].any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_fewer_free_features_than_rows_with_outliers(seed):
    X, y = _problem(seed)
    weights = np.where(np.arange(40) < 5, 0.0, 1.0)
    found = MultiTaskRegressor(weighted(L21(0.05), weights), loss="huber").fit(X, y, TASK)
    assert found.solution_.status.ok
