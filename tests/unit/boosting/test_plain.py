"""Trees of LightGBM with the names of scikit-learn: what candidates boost where it is there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

lightgbm = pytest.importorskip("lightgbm", reason="comes with the extra 'trees'")

from polytask import AutoMultiTaskRegressor, Pooled, SingleTask, load, save  # noqa: E402
from polytask.boosting.plain import TreeClassifier, TreeRegressor  # noqa: E402
from polytask.selection import learners  # noqa: E402


def rows(n=600):
    rng = np.random.default_rng(0)
    X, task = rng.uniform(-2, 2, (n, 3)), np.arange(n) % 6
    return X, 2 * np.sin(2 * X[:, 0]) + 3 * (task % 2) + 0.3 * rng.normal(size=n), task


# LightGBM 4.5 calls a parameter of scikit-learn by its old name.
@pytest.mark.filterwarnings("ignore:'force_all_finite' was renamed:FutureWarning")
def test_it_is_lightgbm_with_as_many_trees_as_held_out_rows_ask_for():
    X, y, task = rows()
    Z = np.column_stack([X, task])
    Z[::9, 0] = np.nan
    mask = np.array([False, False, False, True])
    train, test = np.arange(400), np.arange(400, 600)
    model = TreeRegressor(categorical_features=mask, cv=[(train, test)]).fit(Z, y)
    grown = {
        "num_leaves": 15, "learning_rate": 0.05, "min_child_samples": 5, "subsample": 0.8,
        "subsample_freq": 1, "colsample_bytree": 0.8, "n_jobs": 1, "verbosity": -1,
        "random_state": 0, "deterministic": True, "force_col_wise": True,
    }  # fmt: skip
    n_trees = model.trees_._booster.num_trees()
    held = []
    for n in (n_trees // 2, n_trees, 2 * n_trees):
        some = lightgbm.LGBMRegressor(n_estimators=n, **grown)
        some.fit(Z[train], y[train], categorical_feature=[3])
        held.append(float(np.mean((some.predict(Z[test]) - y[test]) ** 2)))
    assert held[1] < min(held[0], held[2])
    plain = lightgbm.LGBMRegressor(n_estimators=n_trees, **grown)
    plain.fit(Z, y, categorical_feature=[3])
    assert_allclose(model.predict(Z), plain.predict(Z))
    noise = np.random.default_rng(1).normal(size=600)
    assert TreeRegressor().fit(X, noise).trees_._booster.num_trees() < 20
    for few in (1, 2, 9):
        assert_allclose(TreeRegressor().fit(X[:few], y[:few]).predict(X), y[:few].mean())


@pytest.mark.parametrize("k", [2, 4])
def test_classes_are_probable_as_their_rows_are(k, tmp_path):
    X, y, task = rows(900)
    cuts = np.quantile(y, np.arange(1, k) / k)
    labels = np.array(["a", "b", "c", "d"])[np.searchsorted(cuts, y)]
    fitted = Pooled(TreeClassifier(), "category").fit(X[:600], labels[:600], task=task[:600])
    found = fitted.predict_proba(X[600:], task=task[600:])
    assert_allclose(found.sum(axis=1), 1.0)
    assert fitted.score(X[600:], labels[600:], task=task[600:]) > 0.8
    for j, label in enumerate(fitted.classes_):
        assert abs(found[:, j].mean() - np.mean(labels[600:] == label)) < 0.05
    save(fitted, tmp_path / "model.polytask")
    again = load(tmp_path / "model.polytask")
    assert_array_equal(again.predict_proba(X, task=task), fitted.predict_proba(X, task=task))
    raw = TreeClassifier().fit(X, labels)
    odds = raw.decision_function(X)
    logs = np.log(raw.predict_proba(X))
    expected = logs[:, 1] - logs[:, 0] if k == 2 else logs - logs.mean(axis=1, keepdims=True)
    assert_allclose(odds if k == 2 else odds - odds.mean(axis=1, keepdims=True), expected)
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


_COUNTS = "leaves, cuts between bins and folds count rows, whatever their weights"


@parametrize_with_checks(
    [TreeRegressor(), TreeClassifier()],
    expected_failed_checks=lambda _: {"check_sample_weight_equivalence_on_dense_data": _COUNTS},
)
def test_scikit_learn(estimator, check):
    check(estimator)
