"""Trees of LightGBM with the names of scikit-learn: what candidates boost where it is there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

lightgbm = pytest.importorskip("lightgbm", reason="comes with the extra 'trees'")

from polytask import AutoMultiTaskRegressor, Pooled, SingleTask, load, save  # noqa: E402
from polytask.boosting.plain import TreeRegressor  # noqa: E402
from polytask.selection import learners  # noqa: E402


def rows(n=600):
    rng = np.random.default_rng(0)
    X, task = rng.uniform(-2, 2, (n, 3)), np.arange(n) % 6
    return X, 2 * np.sin(2 * X[:, 0]) + 3 * (task % 2) + 0.3 * rng.normal(size=n), task


# LightGBM 4.5 calls a parameter of scikit-learn by its old name.
@pytest.mark.filterwarnings("ignore:'force_all_finite' was renamed:FutureWarning")
def test_it_is_lightgbm():
    X, y, task = rows()
    Z = np.column_stack([X, task])
    Z[::9, 0] = np.nan
    mask = np.array([False, False, False, True])
    model = TreeRegressor(categorical_features=mask).fit(Z, y)
    plain = lightgbm.LGBMRegressor(n_jobs=1, verbosity=-1, random_state=0)
    plain.fit(Z, y, categorical_feature=[3])
    assert_allclose(model.predict(Z), plain.predict(Z))
    for loss, q in (("poisson", None), ("gamma", None), ("quantile", 0.9)):
        found = TreeRegressor(loss, q).fit(X, np.exp(y)).predict(X)
        assert np.all(found > 0) if q is None else 0.8 < np.mean(np.exp(y) < found) < 0.97


def test_the_task_is_a_category_or_a_model_of_its_own(tmp_path):
    X, y, task = rows()
    for model in (Pooled(TreeRegressor(), "category"), SingleTask(TreeRegressor())):
        model.fit(X, y, task=task)
        assert model.score(X, y, task=task) > 0.9
        save(model, tmp_path / "model.polytask")
        again = load(tmp_path / "model.polytask")
        assert_array_equal(again.predict(X, task=task), model.predict(X, task=task))
    pooled = Pooled(TreeRegressor(), "category").fit(X, y, task=task)
    mixed = (task + 1) % 6
    assert np.corrcoef(pooled.predict(X, task=mixed) - y, task % 2)[0, 1] < -0.9


def test_candidates_boost_with_it_where_it_is_installed(monkeypatch):
    X, y, task = rows()

    def boosted():
        auto = AutoMultiTaskRegressor(["boosting pooled"], cv=3).fit(X, y, task=task)
        return type(auto.members_["boosting pooled"].estimator), str(auto.explain())

    kind, words = boosted()
    assert kind is TreeRegressor
    assert "LightGBM" in words
    monkeypatch.setattr(learners, "find_spec", lambda name: None)
    kind, words = boosted()
    assert kind is HistGradientBoostingRegressor
    assert "of scikit-learn" in words


@parametrize_with_checks([TreeRegressor()])
def test_scikit_learn(estimator, check):
    check(estimator)
