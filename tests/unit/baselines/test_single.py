"""SingleTask: one copy of any estimator per task, in every form."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import (
    DataError,
    DataWarning,
    IncompatibleError,
    ParameterError,
    Pooled,
    SingleTask,
    TaskData,
)


def problem(seed=0, n=60, tasks=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    task = np.array(tasks)[np.arange(n) % len(tasks)]
    y = X @ [1.0, -1.0, 0.5] + (np.arange(n) % len(tasks)) + 0.1 * rng.normal(size=n)
    return X, y, task, rng.random(n) + 0.5


@parametrize_with_checks(
    [
        SingleTask(Ridge()),
        SingleTask(LogisticRegression()),
        SingleTask(DecisionTreeClassifier(random_state=0)),
    ]
)
def test_obeys_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_one_task_is_the_estimator_itself():
    X, y, _, weight = problem()
    expected = Ridge(2.0).fit(X, y, sample_weight=weight).predict(X)
    np.testing.assert_array_equal(
        SingleTask(Ridge(2.0)).fit(X, y, None, weight).predict(X), expected
    )


def test_every_task_is_fitted_alone():
    X, y, task, weight = problem()
    model = SingleTask(Ridge()).fit(X, y, task, weight)
    assert list(model.estimators_) == ["a", "b", "c"]
    for label, fitted in model.estimators_.items():
        own = task == label
        alone = Ridge().fit(X[own], y[own], sample_weight=weight[own])
        np.testing.assert_allclose(fitted.coef_, alone.coef_, rtol=1e-12)
        np.testing.assert_allclose(model.predict(X[own], task[own]), alone.predict(X[own]))


def test_permuted_rows_change_nothing():
    X, y, task, _ = problem()
    order = np.random.default_rng(1).permutation(len(y))
    first = SingleTask(Ridge()).fit(X, y, task)
    second = SingleTask(Ridge()).fit(X[order], y[order], task[order])
    np.testing.assert_allclose(
        first.predict(X, task)[order], second.predict(X[order], task[order]), rtol=1e-10
    )


@pytest.mark.parametrize("inner", [Ridge(), LogisticRegression()])
def test_forms_agree(inner):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(30, 3))
    Y = X @ rng.normal(size=(3, 2)) + rng.normal(size=(30, 2))
    if is_classifier(inner):
        Y = (Y > 0).astype(float)
    Y[::7, 0] = np.nan
    seen = ~np.isnan(Y)
    targets = SingleTask(inner).fit(X, Y)
    long = SingleTask(inner).fit(
        np.vstack([X[seen[:, t]] for t in (0, 1)]),
        np.concatenate([Y[seen[:, t], t] for t in (0, 1)]),
        np.repeat([0, 1], seen.sum(axis=0)),
    )
    separate = SingleTask(inner).fit({t: (X[seen[:, t]], Y[seen[:, t], t]) for t in (0, 1)})
    wide = targets.predict(X)
    assert wide.shape == (30, 2)
    for t in (0, 1):
        np.testing.assert_allclose(long.predict(X, np.full(30, t)), wide[:, t], rtol=1e-10)
        np.testing.assert_allclose(separate.predict({t: X})[t], wide[:, t], rtol=1e-10)
    held = TaskData.from_targets(X, Y)
    assert SingleTask(inner).fit(held).score(held) == pytest.approx(targets.score(X, Y))
    assert long.tasks_.tolist() == [0, 1]


def test_sparse_is_dense():
    X, y, task, _ = problem()
    dense = SingleTask(Ridge(solver="sparse_cg", tol=1e-12)).fit(X, y, task)
    sparse = SingleTask(Ridge(solver="sparse_cg", tol=1e-12)).fit(sp.csr_array(X), y, task)
    np.testing.assert_allclose(
        sparse.predict(sp.csr_array(X), task), dense.predict(X, task), rtol=1e-6
    )


def test_tables_in_tables_out():
    X, y, task, _ = problem()
    table = pd.DataFrame(X, columns=list("uvw"), index=np.arange(60) * 2)
    table["colour"] = np.where(X[:, 0] > 0, "red", "blue")
    table["ward"] = task
    model = SingleTask(Ridge(), task_column="ward").fit(table, y)
    assert model.predict_frame(table).index.equals(table.index)
    assert model.coef_feature_names_.tolist() == ["u", "v", "w", "colour=blue", "colour=red"]
    assert model.score(table, y) > 0.9


def test_a_task_takes_only_the_columns_that_it_has():
    X, y, _, _ = problem(n=40)
    first = pd.DataFrame(X[:20], columns=list("uvw"))
    second = pd.DataFrame(X[20:, :2], columns=list("uv"))
    model = SingleTask(KNeighborsRegressor()).fit({"a": (first, y[:20]), "b": (second, y[20:])})
    assert [e.n_features_in_ for e in model.estimators_.values()] == [3, 2]
    alone = KNeighborsRegressor().fit(X[20:, :2], y[20:]).predict(X[20:, :2])
    np.testing.assert_allclose(model.predict({"b": second})["b"], alone)


def test_classes_of_tasks_are_kept_apart():
    X, _, task, _ = problem(n=90)
    y = np.array(["p", "q", "r"])[(np.arange(90) // 3) % 3]
    y[task == "b"] = np.where(y[task == "b"] == "r", "p", y[task == "b"])
    y[task == "c"] = "s"
    model = SingleTask(LogisticRegression()).fit(X, y, task)
    assert model.classes_.tolist() == ["p", "q", "r", "s"]
    assert {t: c.tolist() for t, c in model.task_classes_.items()} == {
        "a": ["p", "q", "r"], "b": ["p", "q"], "c": ["s"],
    }  # fmt: skip
    proba = model.predict_proba(X, task)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert np.all(proba[task == "b"][:, 2:] == 0)
    assert np.all(model.predict(X, task)[task == "c"] == "s")
    decided = model.classes_[np.argmax(model.decision_function(X, task), axis=1)]
    assert np.array_equal(decided, model.predict(X, task))
    own = task == "b"
    two = model.decision_function(X[own], task[own])[:, :2]
    softmax = np.exp(two) / np.exp(two).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax, proba[own][:, :2])


def test_a_task_of_one_class_predicts_it():
    X, y, task, _ = problem()
    labels = np.where(y > 0, "yes", "no")
    labels[task == "b"] = "no"
    model = SingleTask(LogisticRegression()).fit(X, labels, task)
    own = task == "b"
    assert set(model.predict(X[own], task[own])) == {"no"}
    assert np.all(model.predict_proba(X[own], task[own]) == [1.0, 0.0])
    assert np.all(model.decision_function(X[own], task[own]) == -1.0)
    values = model.decision_function(X, task)
    assert np.array_equal(np.where(values > 0, "yes", "no"), model.predict(X, task))
    alone = LogisticRegression().fit(X[task == "a"], labels[task == "a"])
    np.testing.assert_allclose(values[task == "a"], alone.decision_function(X[task == "a"]))


def test_target_matrix_of_labels():
    X, y, _, _ = problem()
    Y = np.empty((60, 2), dtype=object)
    Y[:, 0] = np.where(y > 0, "yes", "no")
    Y[:, 1] = np.array(["x", "y", "z"])[np.arange(60) % 3]
    Y[:5, 1] = None
    model = SingleTask(GaussianNB()).fit(X, Y)
    assert [c.tolist() for c in model.classes_] == [["no", "yes"], ["x", "y", "z"]]
    assert [p.shape for p in model.predict_proba(X)] == [(60, 2), (60, 3)]
    assert model.predict(X).shape == (60, 2)
    model = SingleTask(LogisticRegression()).fit(X, Y)
    decision = model.decision_function(X)
    assert decision.shape == (60, 4)
    assert np.array_equal(np.where(decision[:, 0] > 0, "yes", "no"), model.predict(X)[:, 0])
    assert np.array_equal(np.array(list("xyz"))[decision[:, 1:].argmax(1)], model.predict(X)[:, 1])


def test_methods_are_those_of_the_estimator():
    assert not hasattr(SingleTask(Ridge()), "predict_proba")
    assert not hasattr(SingleTask(GaussianNB()), "decision_function")
    assert hasattr(SingleTask(LogisticRegression()), "decision_function")
    assert is_regressor(SingleTask(Ridge()))
    assert is_classifier(SingleTask(make_pipeline(StandardScaler(), GaussianNB())))


def test_one_row_is_enough_if_the_estimator_can():
    X, y, task, _ = problem()
    task[:] = "a"
    task[0] = "b"
    assert SingleTask(Ridge()).fit(X, y, task).predict(X[:1], ["b"]) == pytest.approx(y[0])
    search = GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=3)
    with pytest.raises(DataError, match=r"could not fit GridSearchCV to task 'b': .*n_splits=3"):
        SingleTask(search).fit(X, y, task)


@pytest.mark.slow
def test_failure_names_the_task_also_in_parallel():
    X, y, task, _ = problem()
    y = np.where(y > 0, 1, 0)
    y[task == "c"] = [0] * 19 + [1]
    with pytest.raises(DataError, match="could not fit _Fussy to task 'c': two of each"):
        SingleTask(_Fussy(), n_jobs=2).fit(X, y, task)


class _Fussy(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        if np.sum(y == 1) < 2:
            raise ValueError("two of each class, please")
        return super().fit(X, y, sample_weight)


@pytest.mark.slow
def test_jobs_change_nothing():
    X, y, task, _ = problem()
    one, two = (SingleTask(Ridge(), n_jobs=n).fit(X, y, task).predict(X, task) for n in (None, 2))
    np.testing.assert_array_equal(one, two)


def test_weights():
    X, y, task, weight = problem()
    twice = np.concatenate([np.arange(60), np.arange(0, 60, 2)])
    doubled = np.where(np.arange(60) % 2 == 0, 2.0, 1.0)
    first = SingleTask(Ridge()).fit(X, y, task, doubled)
    second = SingleTask(Ridge()).fit(X[twice], y[twice], task[twice])
    np.testing.assert_allclose(first.predict(X, task), second.predict(X, task), rtol=1e-10)
    with pytest.raises(IncompatibleError, match="KNeighborsRegressor takes no weights"):
        SingleTask(KNeighborsRegressor()).fit(X, y, task, weight)
    mask = (np.arange(60) < 40).astype(float)
    kept = SingleTask(KNeighborsRegressor()).fit(X, y, task, mask)
    alone = SingleTask(KNeighborsRegressor()).fit(X[:40], y[:40], task[:40])
    np.testing.assert_array_equal(kept.predict(X, task), alone.predict(X, task))


@pytest.mark.parametrize("routing", [False, True])
def test_weights_reach_every_step_of_a_pipeline(routing):
    import sklearn

    X, y, _, weight = problem()
    pipeline = make_pipeline(StandardScaler(), "passthrough", Ridge(5.0))
    scaler = StandardScaler().fit(X, sample_weight=weight)
    alone = Ridge(5.0).fit(scaler.transform(X), y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=routing):
        predicted = SingleTask(pipeline).fit(X, y, None, weight).predict(X)
    np.testing.assert_allclose(predicted, alone.predict(scaler.transform(X)))
    last = make_pipeline(StandardScaler(), KNeighborsRegressor())
    with pytest.raises(IncompatibleError, match="Pipeline takes no weights"):
        SingleTask(last).fit(X, y, None, weight)


def test_a_task_without_weight_cannot_be_predicted():
    X, y, task, _ = problem()
    with pytest.warns(DataWarning, match="no row of positive weight"):
        model = SingleTask(Ridge()).fit(X, y, task, (task != "b").astype(float))
    assert list(model.estimators_) == ["a", "c"]
    model.predict(X[task != "b"], task[task != "b"])
    with pytest.raises(DataError, match="Task 'b' had no row of positive weight"):
        model.predict(X, task)
    Y = np.column_stack([y, np.where(task == "b", y, np.nan)])
    with (
        pytest.warns(DataWarning, match="no row of positive weight"),
        pytest.raises(DataError, match="Task 1 of SingleTask has no label"),
    ):
        SingleTask(Ridge()).fit(X, Y, None, (task != "b").astype(float))


def test_unseen_tasks_are_refused_always():
    X, y, task, _ = problem()
    with pytest.raises(ParameterError, match="unseen_tasks of SingleTask must be 'error'"):
        SingleTask(Ridge(), unseen_tasks="shared").fit(X, y, task)
    model = SingleTask(Ridge()).fit(X, y, task)
    with pytest.raises(DataError, match="'d'"):
        model.predict(X[:1], ["d"])
    with pytest.raises(ParameterError, match="tasks share nothing"):
        model.set_params(unseen_tasks="shared").predict(X[:1], ["d"])


@pytest.mark.parametrize("inner", [Ridge, None, StandardScaler(), "ridge"])
def test_what_is_no_estimator_is_refused(inner):
    X, y, task, _ = problem()
    with pytest.raises(ParameterError, match="estimator of SingleTask must be a scikit-learn"):
        SingleTask(inner).fit(X, y, task)


def test_clusterer_is_refused():
    from sklearn.cluster import KMeans

    X, y, task, _ = problem()
    with pytest.raises(ParameterError, match=r"regressor or classifier.*; got KMeans"):
        SingleTask(KMeans(2)).fit(X, y, task)


def test_one_against_one_decisions_are_refused():
    X, _, _, _ = problem()
    y = np.arange(60) % 4
    model = SingleTask(SVC(decision_function_shape="ovo")).fit(X, y)
    with pytest.raises(ParameterError, match="a decision value per class; got SVC with 6 for 4"):
        model.decision_function(X)


def test_nested_parameters_clone_and_pickle():
    X, y, task, _ = problem()
    model = SingleTask(Ridge(), n_jobs=1).set_params(estimator__alpha=3.0)
    assert model.get_params()["estimator__alpha"] == 3.0
    copy = clone(model)
    assert copy.estimator is not model.estimator
    fitted = copy.fit(X, y, task)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X, task), fitted.predict(X, task))
    assert not hasattr(model.estimator, "coef_")


def test_inner_estimator_keeps_what_it_needs():
    X, y, task, _ = problem()
    labels = np.where(y > 0, "yes", "no")
    weighted = KNeighborsClassifier(3)
    assert SingleTask(weighted).fit(X, labels, task).score(X, labels, task) > 0.7
    weights = LogisticRegression(class_weight={"yes": 5.0, "no": 1.0})
    own = task == "a"
    alone = weights.fit(X[own], labels[own])
    fitted = SingleTask(weights).fit(X, labels, task).estimators_["a"]
    np.testing.assert_allclose(fitted.coef_, alone.coef_)


def test_single_precision_stays():
    X, y, task, _ = problem()
    model = SingleTask(LinearRegression()).fit(X.astype(np.float32), y, task)
    assert model.estimators_["a"].n_features_in_ == 3
    expected = SingleTask(LinearRegression()).fit(X, y, task).predict(X, task)
    np.testing.assert_allclose(model.predict(X.astype(np.float32), task), expected, atol=1e-4)


class Overflowing(LinearRegression):
    """Squares what has no square."""

    def fit(self, X, y):
        self.largest_ = np.float64(1e200) ** 2
        return super().fit(X, y)


@pytest.mark.parametrize("wrapper", [SingleTask, Pooled])
@pytest.mark.parametrize("steps", [Overflowing(), make_pipeline(StandardScaler(), Overflowing())])
def test_numpy_warns_of_what_overflows_in_the_estimator_of_another(wrapper, steps):
    X, task = np.arange(8.0).reshape(8, 1), np.repeat(["a", "b"], 4)
    with pytest.warns(RuntimeWarning, match="overflow"):
        wrapper(steps).fit(X, X[:, 0], task=task)
