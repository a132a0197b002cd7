"""Pooled: one estimator for all rows, and what it is told about the task."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.special import expit
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import DataError, IncompatibleError, ParameterError, Pooled, TaskData, load, save
from polytask.baselines import TunedLogistic, TunedRidge, _pooled
from polytask.baselines import _pooled as _effects
from polytask.cli.describe import describe
from polytask.messages import Translator

EFFECTS = ("none", "intercept", "category")


def problem(seed=0, n=120, n_tasks=6):
    rng = np.random.default_rng(seed)
    task = rng.integers(n_tasks, size=n)
    X = rng.normal(size=(n, 3)) + rng.normal(size=(n_tasks, 3))[task]
    y = X @ [1.0, -1.0, 0.5] + 2 * rng.normal(size=n_tasks)[task] + 0.3 * rng.normal(size=n)
    return X, y, task, rng.random(n) + 0.5


def test_the_model_with_intercepts_is_shown_by_its_name():
    X, y, task, _ = problem()
    model = Pooled(make_pipeline(StandardScaler(), TunedRidge()), "intercept").fit(X, y, task)
    assert model.card().markdown.startswith("# Pooled (pooled + intercepts)\n")
    shown = describe(model, Translator())
    assert shown.startswith("Pooled (pooled + intercepts) with StandardScaler; TunedRidge; one ")
    assert shown.endswith("(negligible: 1e-06 of that on the largest feature)")


def free_intercepts(X, y, task, weight, alpha):
    """Solve ridge regression with an unpenalised intercept per task."""
    n_tasks, d = int(task.max()) + 1, X.shape[1]
    A = np.hstack([X, np.eye(n_tasks)[task]])
    ridge = np.diag([alpha] * d + [0.0] * n_tasks)
    return np.linalg.solve(A.T @ (A * weight[:, None]) + ridge, A.T @ (weight * y))


def logistic_optimum(X, y, task, C):
    """Newton's method for logistic regression with an unpenalised intercept per task."""
    d, n_tasks = X.shape[1], int(task.max()) + 1
    A, p = np.hstack([X, np.eye(n_tasks)[task]]), np.zeros(X.shape[1] + n_tasks)
    ridge = np.diag([1.0] * d + [0.0] * n_tasks)
    for _ in range(50):
        e = expit(A @ p)
        hessian = C * A.T @ (A * (e * (1 - e))[:, None]) + ridge
        p = p - np.linalg.solve(hessian, C * A.T @ (e - y) + ridge @ p)
    return A @ p


@parametrize_with_checks(
    [
        Pooled(Ridge(), "none"),
        Pooled(LogisticRegression(), "intercept"),
        Pooled(HistGradientBoostingRegressor(max_iter=10), "category"),
    ]
)
def test_obeys_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_none_is_the_estimator_on_stacked_rows():
    X, y, task, weight = problem()
    alone = Ridge(2.0).fit(X, y, sample_weight=weight)
    model = Pooled(Ridge(2.0)).fit(X, y, task, weight)
    np.testing.assert_allclose(model.predict(X, task), alone.predict(X), rtol=1e-12)
    assert "features only" in model.task_effect_
    scaled = make_pipeline(StandardScaler(), Ridge(2.0))
    model = Pooled(scaled).fit(X, y, task)
    np.testing.assert_allclose(model.predict(X, task), scaled.fit(X, y).predict(X), rtol=1e-12)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("inner", [Ridge(), HistGradientBoostingRegressor(max_iter=3)])
def test_one_task_is_the_estimator_itself(inner, effect):
    X, y, _, weight = problem()
    expected = clone(inner).fit(X, y, sample_weight=weight).predict(X)
    model = Pooled(inner, effect).fit(X, y, None, weight)
    if isinstance(inner, Ridge) or effect != "intercept":
        np.testing.assert_allclose(model.predict(X), expected, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 10.0, 1000.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_intercepts_are_exact(alpha, fit_intercept):
    X, y, task, weight = problem()
    solution = free_intercepts(X, y, task, weight, alpha)
    model = Pooled(Ridge(alpha, fit_intercept=fit_intercept), "intercept")
    model.fit(X, y, task, weight)
    np.testing.assert_allclose(model.estimator_.coef_, solution[:3], rtol=1e-9)
    expected = X @ solution[:3] + solution[3:][task]
    np.testing.assert_allclose(model.predict(X, task), expected, rtol=1e-9, atol=1e-9)
    assert "free of any penalty" in model.task_effect_


@pytest.mark.parametrize("inner", [Ridge(10.0, solver="sparse_cg", tol=1e-12), RidgeCV([10.0])])
def test_long_columns_are_almost_exact(inner):
    X, y, task, weight = problem()
    solution = free_intercepts(X, y, task, weight, 10.0)
    X_given = sp.csr_array(X) if isinstance(inner, Ridge) else X
    model = Pooled(inner, "intercept").fit(X_given, y, task, weight)
    expected = X @ solution[:3] + solution[3:][task]
    np.testing.assert_allclose(model.predict(X_given, task), expected, atol=1e-3)
    assert "negligible" in model.task_effect_


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_logistic_intercepts_are_almost_exact(scale, strength):
    X, y, task, _ = problem(n=300)
    X, labels = X * scale, (np.random.default_rng(1).random(300) < expit(y)).astype(int)
    C = strength / scale**2
    eta = logistic_optimum(X, labels, task, C)
    model = Pooled(LogisticRegression(C=C), "intercept").fit(X, labels, task)
    np.testing.assert_allclose(model.decision_function(X, task), eta, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.predict_proba(X, task)[:, 1], expit(eta), atol=1e-3)


def test_logistic_task_of_one_class_stays_finite():
    X, y, task, _ = problem(n=300)
    labels = np.where(y > 0, "yes", "no")
    labels[task == 2] = "no"
    model = Pooled(LogisticRegression(), "intercept").fit(X, labels, task)
    own = model.predict_proba(X[task == 2], task[task == 2])
    assert np.all(own[:, 0] > 0.9)
    assert np.all(np.isfinite(model.decision_function(X, task)))


@pytest.mark.parametrize("classes", [False, True])
def test_forest_gets_many_tasks_as_their_mean_and_number(classes):
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(40), 15)
    X, level = rng.standard_normal((600, 2)), 3.0 * rng.standard_normal(40)[task]
    y = level + X[:, 0] + 0.3 * rng.standard_normal(600)
    kind = ExtraTreesClassifier if classes else RandomForestRegressor
    model = Pooled(kind(30, random_state=0), "category", unseen_tasks="shared")
    model.fit(X, y > 0 if classes else y, task)
    assert model.n_task_columns_ == 2
    assert "mean target" in model.task_effect_
    assert "a number" in model.task_effect_
    assert model.score(X, y > 0 if classes else y, task) > 0.9
    # Nothing is known about a new task: it is in the middle of the others.
    strange = model.predict(X[:20], task=["new"] * 20)
    assert np.all(np.isin(strange, [False, True]) if classes else np.abs(strange) < 6.0)
    few = Pooled(kind(5, random_state=0), "category").fit(X, y > 0 if classes else y, task % 4)
    assert few.n_task_columns_ == 4


def test_lasso_intercepts_are_free():
    X, y, task, _ = problem()
    model = Pooled(Lasso(1e3), "intercept").fit(X, y, task)
    means = np.array([y[task == t].mean() for t in range(6)])
    np.testing.assert_allclose(model.predict(X, task), means[task])
    path = Pooled(LassoCV(cv=3), "intercept").fit(X, y, task)
    assert np.abs(path.estimator_.coef_ - [1.0, -1.0, 0.5]).max() < 0.15


def test_poisson_intercepts_balance_every_task():
    X, y, task, _ = problem(n=300)
    counts = np.random.default_rng(0).poisson(np.exp(y / 4))
    model = Pooled(PoissonRegressor(alpha=1.0), "intercept").fit(X, counts, task)
    predicted = model.predict(X, task)
    for t in range(6):  # a free intercept makes predictions add up
        assert predicted[task == t].sum() == pytest.approx(counts[task == t].sum(), rel=1e-4)


def test_pipeline_steps_see_the_features_only():
    X, y, task, weight = problem()
    scaler = StandardScaler().fit(X, sample_weight=weight)
    solution = free_intercepts(scaler.transform(X), y, task, weight, 10.0)
    model = Pooled(make_pipeline(StandardScaler(), Ridge(10.0)), "intercept")
    predicted = model.fit(X, y, task, weight).predict(X, task)
    expected = scaler.transform(X) @ solution[:3] + solution[3:][task]
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)
    assert isinstance(model.estimator_, Ridge)
    np.testing.assert_allclose(model.steps_[0].mean_, scaler.mean_)


def test_search_inside_finds_free_intercepts():
    X, y, task, _ = problem()
    search = GridSearchCV(Ridge(), {"alpha": [10.0]}, cv=3)
    solution = free_intercepts(X, y, task, np.ones(120), 10.0)
    predicted = Pooled(search, "intercept").fit(X, y, task).predict(X, task)
    np.testing.assert_allclose(predicted, X @ solution[:3] + solution[3:][task], atol=1e-3)


def test_other_estimators_get_plain_columns():
    X, y, task, _ = problem()
    order = np.argsort(task, kind="stable")  # the rows are drawn in the order of the tasks
    X, y, task = X[order], y[order], task[order]
    forest = RandomForestRegressor(5, random_state=0)
    model = Pooled(forest, "intercept").fit(X, y, task)
    alone = forest.fit(np.hstack([X, np.eye(6)[task]]), y)
    expected = alone.predict(np.hstack([X, np.eye(6)[task]]))
    np.testing.assert_allclose(model.predict(X, task), expected)
    assert "not known to be linear" in model.task_effect_


def test_category_is_one_column_per_task():
    X, y, task, _ = problem()
    A = np.hstack([X, np.eye(6)[task]])
    alone = Ridge(3.0).fit(A, y)
    model = Pooled(Ridge(3.0), "category").fit(X, y, task)
    np.testing.assert_allclose(model.predict(X, task), alone.predict(A), rtol=1e-10)
    sparse = Pooled(Ridge(3.0, solver="sparse_cg", tol=1e-12), "category")
    sparse.fit(sp.csr_array(X), y, task)
    np.testing.assert_allclose(
        sparse.predict(sp.csr_array(X), task), alone.predict(A), rtol=1e-5, atol=1e-5
    )


def test_category_of_boosting():
    X, y, task, _ = problem(n=300)
    boosting = HistGradientBoostingRegressor(max_iter=20, categorical_features=[1])
    X[:, 1] = np.arange(300) % 3
    model = Pooled(boosting, "category", unseen_tasks="shared").fit(X, y, task)
    assert model.estimator_.is_categorical_.tolist() == [False, True, False, True]
    assert boosting.categorical_features == [1]
    plain = Pooled(boosting, "none").fit(X, y, task)
    assert model.score(X, y, task) > plain.score(X, y, task)
    assert np.all(np.isfinite(model.predict(X, np.full(300, 99))))
    with pytest.raises(IncompatibleError, match="positions, or booleans for the 3"):
        Pooled(boosting.set_params(categorical_features=["a"]), "category").fit(X, y, task)


@pytest.mark.parametrize("kind", ["number", "two", "float", "three"])
def test_many_categories_are_target_encoded(kind):
    rng = np.random.default_rng(0)
    task = np.arange(1800) % 300
    X, level = rng.normal(size=(1800, 2)), rng.normal(size=300)
    y = level[task] + 0.3 * rng.normal(size=1800)
    targets = {
        "number": y,
        "two": np.where(y > 0, "yes", "no"),
        "float": (y > 0).astype(float),
        "three": np.digitize(y, [-0.5, 0.5]),
    }[kind]
    classes = kind != "number"
    inner = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = Pooled(inner(max_iter=10), "category", unseen_tasks="shared").fit(X, targets, task)
    assert "mean target" in model.task_effect_
    assert model.estimator_.n_features_in_ == 2 + (3 if kind == "three" else 1)
    assert np.mean(model.predict(X, task) == targets) > 0.6 or kind == "number"
    assert len(model.predict(X[:5], np.full(5, 999))) == 5
    again = Pooled(inner(max_iter=10), "category").fit(X, targets, task)
    np.testing.assert_array_equal(again.predict(X, task), model.predict(X, task))


def test_target_encoding_needs_two_rows_of_a_class():
    y = np.array([0] * 599 + [1])
    with pytest.raises(DataError, match="two rows or more of every class"):
        Pooled(HistGradientBoostingClassifier(max_iter=2), "category").fit(
            np.zeros((600, 1)), y, np.arange(600) % 300
        )


@pytest.mark.parametrize("inner", [Ridge(10.0), LogisticRegression()])
def test_unseen_task_has_the_mean_intercept(inner):
    X, y, task, weight = problem(n=300)
    y = y if isinstance(inner, Ridge) else (y > np.median(y)).astype(int)
    method = "predict" if isinstance(inner, Ridge) else "decision_function"
    model = Pooled(inner, "intercept", unseen_tasks="shared").fit(X, y, task, weight)
    values = getattr(model, method)
    by_task = [values(np.zeros((1, 3)), [t])[0] for t in range(6)]
    counts = np.bincount(task, weight)
    expected = np.average(by_task, weights=counts) + X[:5] @ np.ravel(model.estimator_.coef_)[:3]
    np.testing.assert_allclose(values(X[:5], np.full(5, 77)), expected, rtol=1e-6)
    with pytest.raises(DataError, match="77"):
        model.set_params(unseen_tasks="error").predict(X[:5], np.full(5, 77))


@pytest.mark.parametrize("effect", EFFECTS)
def test_rows_of_many_tasks_are_predicted_at_once(effect, monkeypatch):
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(90, 3)), np.array(list("cab"))[np.arange(90) % 3]
    y = np.array(["n", "y"])[(X[:, 0] + (task == "a") > 0).astype(int)]
    model = Pooled(LogisticRegression(), effect, unseen_tasks="shared").fit(X, y, task=task)
    strange = np.where(np.arange(90) % 7 == 0, "z", np.where(np.arange(90) % 5 == 0, "aa", task))
    calls = []
    asked = type(model.estimator_).predict_proba
    watched = lambda self, X: calls.append(len(X)) or asked(self, X)  # noqa: E731
    monkeypatch.setattr(type(model.estimator_), "predict_proba", watched)
    proba, found = model.predict_proba(X, task=strange), model.predict(X, task=strange)
    assert calls == [90]
    one = [model.predict_proba(X[[k]], task=strange[[k]])[0] for k in range(90)]
    np.testing.assert_allclose(proba, one, rtol=1e-12)
    assert (found == model.classes_[np.argmax(proba, axis=1)]).all()
    monkeypatch.setattr(_pooled, "_AT_ONCE", 100)
    np.testing.assert_array_equal(model.predict_proba(X, task=strange), proba)
    most = 100 // (3 + model._effect.width(np.array([0, -1])))
    sizes = [min(most, 90 - first) for first in range(0, 90, most)]
    assert calls[-len(sizes) :] == sizes
    values = model.decision_function(X, task=strange)
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-values)), proba[:, 1], rtol=1e-9)


@pytest.mark.parametrize("effect", ["intercept", "category"])
@pytest.mark.parametrize("inner", [TunedLogistic(), TunedRidge(), LogisticRegression(), RidgeCV()])
def test_many_tasks_are_columns_without_zeros(inner, effect, monkeypatch, tmp_path):
    X, y, task, weight = problem(n=300)
    y = (y > np.median(y)).astype(int) if hasattr(inner, "predict_proba") else y
    dense = Pooled(inner, effect, unseen_tasks="shared").fit(X, y, task, weight)
    monkeypatch.setattr(_effects, "_MANY_NUMBERS", 100)
    monkeypatch.setattr(_effects, "_MANY_TASKS", 6)
    model = Pooled(inner, effect, unseen_tasks="shared").fit(X, y, task, weight)
    # RidgeCV of sparse rows loses digits where columns are of very unequal length.
    assert model._effect.sparse == (effect == "category" or not isinstance(inner, RidgeCV))
    assert not dense._effect.sparse
    value = "decision_function" if hasattr(inner, "predict_proba") else "predict"
    strange = np.where(np.arange(300) % 7 == 0, 77, task)
    expected = getattr(dense, value)(X, task=strange)
    np.testing.assert_allclose(getattr(model, value)(X, task=strange), expected, atol=2e-3)
    # A row of an unseen task has a number for every task.
    assert model._effect.width(np.arange(6)) == (1 if model._effect.sparse else 6)
    assert model._effect.width(np.array([0, -1])) == 6
    save(model, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    np.testing.assert_array_equal(again.predict(X, task=strange), model.predict(X, task=strange))


@pytest.mark.parametrize("effect", EFFECTS)
def test_task_without_weight_is_as_unseen(effect):
    X, y, task, _ = problem()
    model = Pooled(Ridge(), effect, unseen_tasks="shared")
    with pytest.warns(UserWarning, match="no row of positive weight"):
        model.fit(X, y, task, (task != 2).astype(float))
    np.testing.assert_allclose(model.predict(X, np.full(120, 2)), model.predict(X, [99] * 120))


@pytest.mark.parametrize("effect", EFFECTS)
def test_weight_two_is_the_row_twice(effect):
    X, y, task, _ = problem()
    twice = np.concatenate([np.arange(120), np.arange(0, 120, 2)])
    doubled = np.where(np.arange(120) % 2 == 0, 2.0, 1.0)
    first = Pooled(Ridge(), effect).fit(X, y, task, doubled)
    second = Pooled(Ridge(), effect).fit(X[twice], y[twice], task[twice])
    np.testing.assert_allclose(first.predict(X, task), second.predict(X, task), rtol=1e-9)


@pytest.mark.parametrize("effect", EFFECTS)
def test_forms_agree(effect):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(30, 3))
    Y = X @ rng.normal(size=(3, 2)) + [0.0, 3.0]
    Y[::7, 0] = np.nan
    seen = ~np.isnan(Y)
    targets = Pooled(Ridge(), effect).fit(X, Y)
    long = Pooled(Ridge(), effect).fit(
        np.vstack([X[seen[:, t]] for t in (0, 1)]),
        np.concatenate([Y[seen[:, t], t] for t in (0, 1)]),
        np.repeat([0, 1], seen.sum(axis=0)),
    )
    separate = Pooled(Ridge(), effect).fit({t: (X[seen[:, t]], Y[seen[:, t], t]) for t in (0, 1)})
    wide = targets.predict(X)
    for t in (0, 1):
        np.testing.assert_allclose(long.predict(X, np.full(30, t)), wide[:, t], rtol=1e-10)
        np.testing.assert_allclose(separate.predict({t: X})[t], wide[:, t], rtol=1e-10)
    held = TaskData.from_targets(X, Y)
    assert Pooled(Ridge(), effect).fit(held).score(held) == pytest.approx(targets.score(X, Y))


@pytest.mark.parametrize("effect", EFFECTS)
def test_permuted_rows_change_nothing(effect):
    X, y, task, _ = problem()
    order = np.random.default_rng(1).permutation(len(y))
    first = Pooled(Ridge(), effect).fit(X, y, task).predict(X, task)
    second = Pooled(Ridge(), effect).fit(X[order], y[order], task[order])
    np.testing.assert_allclose(first[order], second.predict(X[order], task[order]), rtol=1e-9)


@pytest.mark.parametrize("effect", EFFECTS)
def test_tables(effect):
    X, y, task, _ = problem()
    table = pd.DataFrame(X, columns=list("uvw"))
    table["ward"] = np.array(list("abcdef"))[task]
    model = Pooled(LinearRegression(), effect, task_column="ward").fit(table, y)
    array = Pooled(LinearRegression(), effect).fit(X, y, task)
    np.testing.assert_allclose(model.predict(table), array.predict(X, task), rtol=1e-8)


def test_classes_are_those_of_all_tasks():
    X, y, task, _ = problem()
    labels = np.digitize(y, [-1, 1])
    model = Pooled(LogisticRegression(), "intercept").fit(X, labels, task)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.task_classes_[3].tolist() == [0, 1, 2]
    assert model.decision_function(X, task).shape == (120, 3)
    np.testing.assert_allclose(model.predict_proba(X, task).sum(axis=1), 1.0)
    Y = np.column_stack([np.where(y > 0, "p", "q"), np.where(y > 1, "q", "r")])
    wide = Pooled(LogisticRegression(), "category").fit(X, Y)
    assert [c.tolist() for c in wide.classes_] == [["p", "q", "r"]] * 2
    assert [p.shape for p in wide.predict_proba(X)] == [(120, 3)] * 2
    assert wide.predict(X).shape == (120, 2)
    assert wide.decision_function(X).shape == (120, 6)


def test_bad_task_effect_and_failing_fit():
    X, y, task, _ = problem()
    with pytest.raises(ParameterError, match="task_effect of Pooled must be one of 'none'"):
        Pooled(Ridge(), "offset").fit(X, y, task)
    with pytest.raises(DataError, match=r"Pooled could not fit Ridge: .*alpha"):
        Pooled(Ridge(alpha=-1.0)).fit(X, y, task)
    broken = make_pipeline(StandardScaler(with_mean=3), Ridge())
    with pytest.raises(DataError, match=r"Pooled could not fit Pipeline: .*with_mean"):
        Pooled(broken, "intercept").fit(X, y, task)


@pytest.mark.parametrize("effect", EFFECTS)
def test_clone_pickle_and_nested_parameters(effect):
    X, y, task, _ = problem()
    model = clone(Pooled(Ridge(), effect).set_params(estimator__alpha=5.0)).fit(X, y, task)
    assert model.estimator_.alpha == 5.0
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X, task), model.predict(X, task))
    assert not hasattr(model.estimator, "coef_")
