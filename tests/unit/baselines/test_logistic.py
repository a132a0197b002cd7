"""Logistic regression whose strength is searched on as many folds as the rarest class allows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import Pooled, SingleTask, load, save
from polytask.baselines import TunedLogistic, _logistic
from polytask.exceptions import ConvergenceWarning


def rows(n: int = 120, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    scores = X @ rng.standard_normal((4, classes)) + rng.gumbel(size=(n, classes))
    return X, np.array(["a", "b", "c"])[scores.argmax(axis=1)]


@pytest.mark.slow
@parametrize_with_checks([TunedLogistic(cv=3)])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_logistic_regression_at_the_chosen_strength(classes):
    X, y = rows(classes=classes)
    model = TunedLogistic().fit(X, y)
    plain = LogisticRegression(C=model.C_, tol=1e-8, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-3)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-3)
    assert (model.predict(X) == plain.predict(X)).all()


def test_noise_is_shrunk_and_signal_is_not():
    X, y = rows(400)
    noise = np.random.default_rng(1).permutation(y)
    assert TunedLogistic().fit(X, y).C_ > TunedLogistic().fit(X, noise).C_


@pytest.mark.parametrize("rare", [1, 2, 4])
def test_a_class_may_be_rarer_than_the_folds(rare):
    X, _ = rows(30)
    y = np.zeros(30, dtype=int)
    y[:rare] = 1
    model = TunedLogistic(cv=5).fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()
    assert model.C_ == 1.0 or rare > 1


def test_weights_are_repetitions_and_sparse_is_dense():
    X, y = rows(60)
    model = TunedLogistic().fit(X, y)
    sparse = TunedLogistic().fit(sp.csr_array(X), y)
    np.testing.assert_allclose(model.coef_, sparse.coef_, atol=1e-6)
    light = TunedLogistic().fit(X, y, sample_weight=np.ones(60))
    np.testing.assert_array_equal(model.coef_, light.coef_)


def test_rows_in_the_order_of_tasks_do_not_mislead_the_folds():
    X, y = rows(200)
    task = np.repeat([0, 1, 2, 3], 50)
    y = np.where(task % 2 == 0, "b", y)
    y[::7] = "a"
    learner = make_pipeline(StandardScaler(), TunedLogistic())
    model = Pooled(learner, "intercept").fit(X, y, task=task)
    constant = np.mean([max(np.mean(y[task == t] == "a"), 0.5) for t in range(4)])
    assert model.estimator_.C_ > 1e-3
    assert model.score(X, y, task=task) > constant


def test_it_is_saved_inside_a_pipeline(tmp_path):
    X, y = rows(80)
    task = np.repeat([0, 1], 40)
    learner = make_pipeline(StandardScaler(), TunedLogistic())
    for model in (Pooled(learner, "intercept"), Pooled(learner), SingleTask(learner)):
        model.fit(X, y, task=task)
        save(model, tmp_path / "m.polytask")
        again = load(tmp_path / "m.polytask")
        np.testing.assert_array_equal(
            again.predict_proba(X, task=task), model.predict_proba(X, task=task)
        )


def test_a_number_of_folds_of_numpy_is_a_number():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2))
    y = X[:, 0] + rng.standard_normal(60) > 0
    found = TunedLogistic(cv=np.int64(3)).fit(X, y)
    np.testing.assert_array_equal(found.coef_, TunedLogistic(cv=3).fit(X, y).coef_)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_one_column_per_group_is_scikit_learns_minimum(kind, fit_intercept):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 600)
    X = np.hstack([rng.normal(size=(600, 4)), np.eye(60)[groups]])
    y = (X[:, 0] + rng.normal(size=60)[groups] + rng.logistic(size=600) > 0).astype(int)
    weight = rng.uniform(0.5, 2.0, 600)
    model = TunedLogistic(fit_intercept=fit_intercept).fit(kind(X), y, weight)
    other = LogisticRegression(C=model.C_, fit_intercept=fit_intercept, tol=1e-10, max_iter=10_000)
    other.fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-4)
    np.testing.assert_allclose(model.intercept_, other.intercept_, atol=1e-4)
    assert 1 <= model.n_iter_ < 20
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    exact = LogisticRegression(solver="newton-cholesky", fit_intercept=fit_intercept)
    grid = {"C": np.logspace(-4, 3, 10)}
    search = GridSearchCV(exact, grid, scoring="neg_log_loss", cv=folds).fit(X, y)
    found = TunedLogistic(fit_intercept=fit_intercept).fit(kind(X), y)
    assert pytest.approx(search.best_params_["C"]) == found.C_


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_long_columns_beside_many_do_not_slow_it_down(kind, fit_intercept, monkeypatch):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 5, 400)
    X = np.hstack([rng.normal(size=(400, 60)), 1000.0 * np.eye(5)[groups]])
    y = (X[:, 0] + groups - 2 + rng.logistic(size=400) > 0).astype(int)
    weight = rng.uniform(0.5, 2.0, 400)
    exact = TunedLogistic(fit_intercept=fit_intercept).fit(X, y, weight)
    monkeypatch.setattr(_logistic, "_NEWTON_COLUMNS", 20)
    monkeypatch.setattr(_logistic, "_FEW", 0)
    model = TunedLogistic(fit_intercept=fit_intercept).fit(kind(X), y, weight)
    assert model.C_ == exact.C_
    assert model.n_iter_ < 100
    found, expected = model.decision_function(kind(X)), exact.decision_function(X)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    with pytest.warns(ConvergenceWarning, match="did not converge in 3 iterations at C="):
        TunedLogistic(fit_intercept=fit_intercept, max_iter=3).fit(kind(X), y, weight)
    # Plain columns of one length are left to scikit-learn.
    plain = kind(X[:, :60])
    assert TunedLogistic(fit_intercept=fit_intercept)._prepared(plain) is plain
