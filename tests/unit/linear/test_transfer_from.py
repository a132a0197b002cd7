"""transfer_from: the penalty acts on what differs from a fitted model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold

from polytask import (
    DataError,
    DataWarning,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskClassifierCV,
    MultiTaskModel,
    MultiTaskModelCV,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    ParameterError,
    load,
    save,
)
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean

D = 5
MEAN = np.array([1.0, -1.0, 0.0, 2.0, 0.5])


def rows(seed, tasks, n=40, change=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n * len(tasks), D)) * [1.0, 3.0, 0.5, 1.0, 2.0] + 1.0
    task = np.repeat(np.array(list(tasks)), n)
    own = {name: 0.2 * np.random.default_rng(ord(name)).standard_normal(D) for name in tasks}
    eta = np.array([x @ (MEAN + own[t]) for x, t in zip(X, task, strict=True)])
    eta = eta + change * X[:, 2] + 3.0
    return X, eta + 0.3 * rng.standard_normal(len(X)), task


def source(**params):
    X, y, task = rows(0, "abcd")
    return MultiTaskRegressor(L2(1e-3), **params).fit(X, y, task=task)


SCALES = [
    {},
    {"standardize": True},
    {"standardize": True, "scale_targets": "common"},
    {"standardize": True, "scale_targets": "task"},
]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("norm", [L1, L21, TraceNorm])
def test_at_the_null_strength_nothing_differs_from_the_source(norm, scale):
    known, (X, y, task) = source(), rows(1, "ax", change=2.0)
    model = MultiTaskRegressor(norm(fraction=1.0), transfer_from=known, **scale)
    model.fit(X, y, task=task)
    np.testing.assert_allclose(model.coef_[0], known.coef_[0], atol=1e-12)
    np.testing.assert_allclose(model.coef_[1], known.coef_.mean(axis=0), atol=1e-12)
    weaker = clone(model).set_params(penalty__fraction=0.9).fit(X, y, task=task)
    assert np.abs(weaker.coef_ - model.coef_).max() > 1e-6


def test_l1_finds_the_one_feature_that_differs_with_a_gap():
    known, (X, y, task) = source(), rows(2, "ab", change=2.0)
    model = MultiTaskRegressor(L1(0.1), transfer_from=known, standardize=True)
    model.fit(X, y, task=task)
    change = np.abs(model.coef_ - known.coef_[:2])
    assert np.flatnonzero(change.max(axis=0) > 0.1).tolist() == [2]
    assert model.solution_.gap is not None
    assert model.solution_.certificate.relative <= 1e-6


def test_ridge_toward_a_source_is_ridge_on_what_it_leaves():
    known, (X, y, task) = source(), rows(3, "x", change=1.0)
    model = MultiTaskRegressor(L2(0.5), transfer_from=known, intercept="task", tol=1e-12)
    model.fit(X, y, task=task)
    mean = known.coef_.mean(axis=0)
    plain = Ridge(alpha=0.5 * len(y)).fit(X, y - X @ mean)
    np.testing.assert_allclose(model.coef_[0], mean + plain.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.intercept_[0], plain.intercept_, rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("intercept", ["auto", "toward_mean"])
def test_strong_pull_gives_the_predictions_of_the_source(scale, intercept):
    known, (X, y, task) = source(), rows(4, "bd", change=1.0)
    params = {"intercept": intercept, "intercept_strength": 1e8, **scale}
    model = MultiTaskRegressor(L2(1e8), transfer_from=known, **params).fit(X, y, task=task)
    np.testing.assert_allclose(
        model.predict(X, task=task), known.predict(X, task=task), rtol=1e-4, atol=1e-4
    )


def test_free_intercepts_stay_free():
    known, (X, y, task) = source(), rows(5, "ab")
    model = MultiTaskRegressor(L2(1e8), transfer_from=known, intercept="task")
    model.fit(X, y + 50.0, task=task)
    np.testing.assert_allclose(model.predict(X, task=task).mean(), (y + 50.0).mean(), rtol=1e-6)


def table(X, y, task, names):
    return pd.DataFrame(X, columns=names).assign(t=task), y


def test_features_of_tables_are_matched_by_name():
    names = list("pqrsu")
    frame, y = table(*rows(0, "abcd"), names)
    known = MultiTaskRegressor(L2(1e-3), task_column="t").fit(frame, y)
    X, y, task = rows(6, "a")
    turned, y = table(X[:, ::-1], y, task, names[::-1])
    turned["new"] = np.arange(len(y)) % 7
    model = MultiTaskRegressor(L2(1e8), task_column="t", transfer_from=known).fit(turned, y)
    got = dict(zip(model.coef_feature_names_, model.coef_[0], strict=True))
    want = dict(zip(known.coef_feature_names_, known.coef_[0], strict=True))
    assert all(abs(got[name] - want[name]) < 1e-5 for name in names)
    assert abs(got["new"]) < 1e-5
    with pytest.warns(DataWarning, match="knows 1 column.* that X lacks .'r'"):
        clone(model).fit(turned.drop(columns="r"), y)
    with pytest.raises(DataError, match="knows none of the columns"):
        clone(model).fit(turned.rename(columns=lambda c: c if c == "t" else c.upper()), y)


def classes(seed, tasks, labels=("no", "yes")):
    X, y, task = rows(seed, tasks)
    cut = np.quantile(y, np.linspace(0, 1, len(labels) + 1)[1:-1])
    return X, np.array(labels)[np.digitize(y, cut)], task


@pytest.mark.parametrize("labels", [("no", "yes"), ("high", "low", "middle")])
def test_classes_are_matched_by_label(labels):
    X, y, task = classes(0, "abcd", labels)
    known = MultiTaskClassifier(L2(0.01)).fit(X, y, task=task)
    X, y, task = classes(1, "bx", labels)
    model = MultiTaskClassifier(L2(1e6), transfer_from=known, intercept_strength=1e7)
    model.fit(X, y, task=task)
    known.unseen_tasks = "shared"
    np.testing.assert_allclose(
        model.predict_proba(X, task=task), known.predict_proba(X, task=task), atol=1e-3
    )


def test_two_classes_of_a_source_serve_three_and_the_reverse():
    X, y, task = classes(0, "ab", ("a", "b", "c"))
    three = MultiTaskClassifier(L2(0.01)).fit(X, y, task=task)
    pair = y != "c"
    two = MultiTaskClassifier(L2(0.01)).fit(X[pair], y[pair], task=task[pair])
    down = MultiTaskClassifier(L2(1e6), transfer_from=three).fit(X[pair], y[pair], task=task[pair])
    first, second = three.coef_[:3][0], three.coef_[:3][1]
    np.testing.assert_allclose(down.coef_[0], second - first, atol=1e-4)
    up = MultiTaskClassifier(L2(1e6), transfer_from=two).fit(X, y, task=task)
    np.testing.assert_allclose(up.coef_[1] - up.coef_[0], two.coef_[0], atol=1e-4)
    np.testing.assert_allclose(up.coef_[2], 0.0, atol=1e-4)


def test_a_task_of_one_class_has_a_finite_answer():
    X, y, task = classes(0, "abcd")
    known = MultiTaskClassifier(L2(0.01)).fit(X, y, task=task)
    X, y, task = classes(1, "ax")
    y[task == "x"] = "yes"
    model = MultiTaskClassifier(L2(0.1), transfer_from=known).fit(X, y, task=task)
    assert np.isfinite(model.intercept_).all()
    assert model.predict(X[task == "x"], task=["x"] * 40).tolist().count("yes") > 30


def test_mixed_losses():
    X, y, _ = rows(0, "abcd")
    Y = np.column_stack([y, y > y.mean()])
    known = MultiTaskModel(L2(0.01)).fit(X, Y)
    model = MultiTaskModel(L2(1e7), transfer_from=known).fit(X[:60], Y[:60])
    np.testing.assert_allclose(model.coef_, known.coef_, atol=1e-4)


def test_searching_estimators_choose_a_strength():
    X, y, task = rows(1, "ab", n=9)
    model = MultiTaskRegressorCV(L2(), alphas=6, cv=3, transfer_from=source())
    model.fit(X, y, task=task)
    alone = MultiTaskRegressorCV(L2(), alphas=6, cv=3).fit(X, y, task=task)
    assert model.best_score_ > alone.best_score_
    far = rows(9, "ab", n=100)
    error = [np.mean((far[1] - m.predict(far[0], task=far[2])) ** 2) for m in (model, alone)]
    assert error[0] < error[1]
    # How strongly intercepts are held to those of the source is searched too.
    assert {strength for _, _, strength in model.candidates_} >= {0.1, 1.0, 10.0, 100.0}


def test_all_searching_estimators_take_it():
    X, y, task = classes(0, "ab")
    known = MultiTaskClassifier(L2(0.01)).fit(X, y, task=task)
    params = {"alphas": 3, "cv": 2, "intercept_strength": 1.0, "transfer_from": known}
    for estimator in (MultiTaskClassifierCV(L2(), **params), MultiTaskModelCV(L2(), **params)):
        assert estimator.fit(X, y, task=task).score(X, y, task=task) > 0.8


def test_sparse_is_as_dense():
    known, (X, y, task) = source(), rows(1, "ax")
    params = {"transfer_from": known, "standardize": True, "tol": 1e-10}
    dense = MultiTaskRegressor(L2(0.1), **params).fit(X, y, task=task)
    sparse = MultiTaskRegressor(L2(0.1), **params).fit(sp.csr_array(X), y, task=task)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-6)


def test_a_copy_keeps_the_source_and_a_search_passes_it_on():
    known, (X, y, task) = source(), rows(1, "ax")
    model = MultiTaskRegressor(L2(0.1), transfer_from=known, task_column=0)
    assert clone(model).transfer_from is known
    assert model.get_params()["transfer_from"] is known
    codes = np.column_stack([np.unique(task, return_inverse=True)[1], X])
    search = GridSearchCV(model, {"penalty__alpha": [0.01, 10.0]}, cv=KFold(2, shuffle=True)).fit(
        codes, y
    )
    assert search.best_estimator_.transfer_from is known


def test_saved_and_loaded_it_predicts_and_learns_the_same(tmp_path):
    known, (X, y, task) = source(), rows(1, "ax")
    model = MultiTaskRegressor(L1(0.1), transfer_from=known).fit(X, y, task=task)
    save(model, tmp_path / "m")
    save(known, tmp_path / "k")
    loaded = load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(X, task=task), model.predict(X, task=task))
    again = clone(loaded).fit(X, y, task=task)
    np.testing.assert_array_equal(again.coef_, model.coef_)
    plain = MultiTaskRegressor(L1(0.1)).fit(X, y, task=task)
    save(plain, tmp_path / "p")
    sizes = {name: (tmp_path / name).stat().st_size for name in "mkp"}
    # The source is in the file once.
    assert sizes["m"] < 1.1 * (sizes["k"] + sizes["p"])


REFUSED = {
    "a name": ("exam", ParameterError, "must be None or a fitted linear estimator"),
    "not fitted": (MultiTaskRegressor(), ParameterError, "that is not fitted"),
    "of scikit-learn": (Ridge(), ParameterError, "a Ridge"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_source_is_refused(case):
    given, error, said = REFUSED[case]
    X, y, task = rows(1, "ax")
    with pytest.raises(error, match=said):
        MultiTaskRegressor(transfer_from=given).fit(X, y, task=task)


def test_what_does_not_match_is_refused():
    known, (X, y, task) = source(), rows(1, "ax")
    with pytest.raises(DataError, match="a model with the 4 features of X; got one with 5"):
        MultiTaskRegressor(transfer_from=known).fit(X[:, :4], y, task=task)
    with pytest.raises(DataError, match="fitted on an array, X is a table"):
        MultiTaskRegressor(transfer_from=known).fit(pd.DataFrame(X), y, task=task)
    with pytest.raises(IncompatibleError, match="has learned classes as y holds them"):
        MultiTaskClassifier(transfer_from=known).fit(X, y > 0, task=task)
    other = MultiTaskClassifier(L2(0.1)).fit(X, np.where(y > 4, "p", "q"), task=task)
    with pytest.raises(DataError, match="classes that transfer_from knows"):
        MultiTaskClassifier(transfer_from=other).fit(X, y > 0, task=task)


def test_toward_mean_lets_what_differs_be_common():
    known, (X, y, task) = source(), rows(2, "ab", change=2.0)
    model = MultiTaskRegressor(toward_mean(1e6), transfer_from=known).fit(X, y, task=task)
    change = model.coef_ - known.coef_[:2]
    np.testing.assert_allclose(change[0], change[1], atol=1e-4)
    assert change[0, 2] > 1.5


@pytest.mark.parametrize("losses", [("squared", "poisson"), ("gamma", "squared")])
def test_effects_on_another_scale_are_refused(losses):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    y = rng.integers(1, 9, 60).astype(float)
    source = MultiTaskRegressor(loss=losses[0]).fit(X, y)
    with pytest.raises(IncompatibleError, match="whose coefficients act on"):
        MultiTaskRegressor(loss=losses[1], transfer_from=source).fit(X, y)
    MultiTaskRegressor(loss=losses[0], transfer_from=source).fit(X, y)
