"""task_scorer in scikit-learn's cross-validation, with and without metadata routing."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polytask import DataError, MultiTaskClassifier, MultiTaskRegressor, ParameterError, SingleTask
from polytask.metrics import accuracy, r2, task_scorer
from polytask.penalties import L2

CV = KFold(3, shuffle=True, random_state=0)


def problem(n=90):
    rng = np.random.default_rng(0)
    task = np.arange(n) % 3
    X = rng.normal(size=(n, 3))
    y = X @ [1.0, -1.0, 0.5] * (1 + task) + 5.0 * task + 0.5 * rng.normal(size=n)
    return X, y, task


def by_hand(estimator, X, y, task, score=r2, average=True):
    """Return the mean score over tasks in every fold."""
    scores = []
    for train, test in CV.split(X):
        fitted = clone(estimator).fit(X[train], y[train], task=task[train])
        predicted = fitted.predict(X[test], task=task[test])
        parts = [task[test] == t for t in np.unique(task)] if average else [slice(None)]
        scores.append(np.mean([score(y[test][p], predicted[p]) for p in parts]))
    return scores


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("average", ["task", "rows"])
def test_cross_val_score_with_routing(average):
    X, y, task = problem()
    scorer = task_scorer("r2", average=average).set_score_request(task=True)
    model = MultiTaskRegressor(L2(0.1)).set_fit_request(task=True)
    scores = cross_val_score(model, X, y, cv=CV, scoring=scorer, params={"task": task})
    expected = by_hand(MultiTaskRegressor(L2(0.1)), X, y, task, average=average == "task")
    np.testing.assert_allclose(scores, expected)


@pytest.mark.usefixtures("routing")
def test_grid_search_with_routing():
    X, y, task = problem()
    scorer = task_scorer("r2").set_score_request(task=True)
    model = SingleTask(Ridge()).set_fit_request(task=True)
    search = GridSearchCV(model, {"estimator__alpha": [1e-3, 1e4]}, cv=CV, scoring=scorer)
    search.fit(X, y, task=task)
    assert search.best_params_ == {"estimator__alpha": 1e-3}
    expected = np.mean(by_hand(SingleTask(Ridge(1e-3)), X, y, task))
    assert search.best_score_ == pytest.approx(expected)
    assert scorer(search, X, y, task=task) > 0.9


@pytest.mark.usefixtures("routing")
def test_weights_are_routed_if_asked_for():
    X, y, task = problem()
    weight = (task < 2).astype(float)  # the third task does not count
    scorer = task_scorer("r2").set_score_request(task=True, sample_weight=True)
    model = MultiTaskRegressor(L2(0.1)).set_fit_request(task=True, sample_weight=False)
    found = cross_validate(
        model, X, y, cv=CV, scoring=scorer, params={"task": task, "sample_weight": weight}
    )["test_score"]
    expected = []
    for train, test in CV.split(X):
        fitted = MultiTaskRegressor(L2(0.1)).fit(X[train], y[train], task=task[train])
        predicted = fitted.predict(X[test], task=task[test])
        own = [task[test] == t for t in (0, 1)]
        expected.append(np.mean([r2(y[test][p], predicted[p]) for p in own]))
    np.testing.assert_allclose(found, expected)


@pytest.mark.usefixtures("routing")
def test_task_must_be_asked_for():
    X, y, task = problem()
    model = MultiTaskRegressor().set_fit_request(task=True)
    with pytest.raises(ValueError, match="task"):
        cross_val_score(model, X, y, scoring=task_scorer(), params={"task": task})


@pytest.mark.parametrize("kind", ["array", "pandas", "polars"])
def test_task_column_without_routing(kind):
    X, y, task = problem()
    columns = {"ward": task, "u": X[:, 0], "v": X[:, 1], "w": X[:, 2]}
    given = {
        "array": lambda: np.column_stack([task, X]),
        "pandas": lambda: pd.DataFrame(columns),
        "polars": lambda: pl.DataFrame(columns),
    }[kind]()
    model = MultiTaskRegressor(L2(0.1), task_column=0 if kind == "array" else "ward")
    scores = cross_val_score(model, given, y, cv=CV, scoring=task_scorer())
    np.testing.assert_allclose(scores, by_hand(MultiTaskRegressor(L2(0.1)), X, y, task))


def test_scaled_pipeline_keeps_the_task_column_last():
    X, y, task = problem()
    scaler = make_column_transformer((StandardScaler(), [1, 2, 3]), remainder="passthrough")
    model = make_pipeline(scaler, SingleTask(LinearRegression(), task_column=-1))
    scores = cross_val_score(model, np.column_stack([task, X]), y, cv=CV, scoring=task_scorer())
    expected = by_hand(SingleTask(LinearRegression()), X, y, task)
    np.testing.assert_allclose(scores, expected)


def test_scaler_of_all_columns_leaves_tasks_apart():
    X, y, task = problem()
    model = make_pipeline(StandardScaler(), SingleTask(LinearRegression(), task_column=0))
    model.fit(np.column_stack([task, X]), y)
    found = task_scorer()(model, np.column_stack([task, X]), y)
    apart = SingleTask(LinearRegression()).fit(X, y, task).predict(X, task)
    own = [r2_score(y[task == t], apart[task == t]) for t in np.unique(task)]
    assert found == pytest.approx(np.mean(own))


def test_nested_search_without_routing():
    X, y, task = problem()
    model = SingleTask(Ridge(), task_column=0)
    search = GridSearchCV(model, {"estimator__alpha": [1.0]}, cv=CV, scoring=task_scorer())
    scores = cross_val_score(search, np.column_stack([task, X]), y, cv=CV, scoring=task_scorer())
    np.testing.assert_allclose(scores, by_hand(SingleTask(Ridge()), X, y, task))


def test_target_matrix_with_gaps():
    X, y, _ = problem()
    Y = np.column_stack([y, -y + X[:, 0]])
    Y[::5, 1] = np.nan
    model = MultiTaskRegressor(L2(0.1)).fit(X, Y)
    assert task_scorer()(model, X, Y) == pytest.approx(model.score(X, Y))
    assert cross_val_score(model, X, Y, cv=CV, scoring=task_scorer()).shape == (3,)
    seen = ~np.isnan(Y)
    together = task_scorer(average="rows")(model, X, Y)
    assert together == pytest.approx(r2(Y[seen], model.predict(X)[seen]))
    frame = pd.DataFrame(X, columns=list("uvw"))
    fitted = MultiTaskRegressor(L2(0.1)).fit(frame, pd.DataFrame(Y, columns=["a", "b"]))
    assert task_scorer()(fitted, frame, pd.DataFrame(Y)) == pytest.approx(model.score(X, Y))


def test_classes():
    X, y, task = problem()
    labels = np.where(y > 5, "high", "low")
    model = MultiTaskClassifier().fit(X, labels, task)
    assert task_scorer("accuracy")(model, X, labels, task=task) == model.score(X, labels, task)
    predicted = model.predict(X, task)
    assert task_scorer("accuracy", average="rows")(model, X, labels, task=task) == accuracy(
        labels, predicted
    )


def test_any_estimator_of_one_task():
    X, y, _ = problem()
    model = Ridge().fit(X, y)
    assert task_scorer()(model, X, y) == pytest.approx(model.score(X, y))


def test_callable_error_with_and_without_weights():
    X, y, task = problem()
    model = SingleTask(Ridge()).fit(X, y, task)
    scorer = task_scorer(mean_absolute_error, greater_is_better=False)
    predicted, weight = model.predict(X, task), 1.0 + task
    errors = [mean_absolute_error(y[task == t], predicted[task == t]) for t in range(3)]
    assert scorer(model, X, y, task=task) == pytest.approx(-np.mean(errors))
    assert scorer(model, X, y, task, weight) == pytest.approx(-np.mean(errors))
    plain = task_scorer(lambda truth, guess: float(np.abs(truth - guess).max()))
    assert plain(model, X, y, task) > 0
    with pytest.raises(DataError, match="None, for <lambda> takes no weights"):
        plain(model, X, y, task, weight)


def test_undefined_tasks_are_left_out():
    X, y, task = problem()
    model = SingleTask(Ridge()).fit(X, y, task)
    rows = np.concatenate([np.flatnonzero(task == 0), np.flatnonzero(task == 1)[:1]])
    found = task_scorer()(model, X[rows], y[rows], task=task[rows])
    own = task == 0
    assert found == pytest.approx(r2(y[own], model.predict(X[own], task[own])))
    assert np.isnan(task_scorer()(model, X[:1], y[:1], task=task[:1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "accurcy"}, "metric of task_scorer must be one of .*Did you mean 'accuracy'"),
        ({"metric": 3}, "or a callable"),
        ({"average": "tasks"}, "average of task_scorer must be one of 'task', 'rows'"),
        ({"greater_is_better": "no"}, "greater_is_better of task_scorer"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ParameterError, match=message):
        task_scorer(**arguments)


def test_bad_data():
    X, y, task = problem()
    model = SingleTask(Ridge()).fit(X, y, task)
    scorer = task_scorer()
    with pytest.raises(DataError, match="y of task_scorer must be of shape"):
        scorer(model, X, y[:5], task=task)
    with pytest.raises(DataError, match="sample_weight of task_scorer must be of shape"):
        scorer(model, X, y, task, np.ones(5))
    with pytest.raises(DataError, match="task_scores method"):
        scorer(model, {0: X}, y)
    with pytest.raises(DataError, match=r"as long as X \(90 rows\); got 2"):
        scorer(_Anything().fit(X, y), X, y, task=[1, 2])
    wide = MultiTaskRegressor().fit(X, np.column_stack([y, y]))
    with pytest.raises(DataError, match="task"):
        scorer(wide, X, np.column_stack([y, y]), task=task)
    pair = _Anything().fit(X, np.column_stack([y, y]))
    with pytest.raises(DataError, match="None for a y whose columns are tasks"):
        scorer(pair, X, np.column_stack([y, y]), task=task)


class _Anything(Ridge):
    def predict(self, X, task=None):
        return super().predict(X)


def test_clone_pickle_repr():
    made = task_scorer(mean_absolute_error, average="rows")
    for copy in (clone(made), pickle.loads(pickle.dumps(made))):
        assert copy.average == "rows"
        assert copy.metric is mean_absolute_error
    assert "TaskScorer" in repr(made)
    with sklearn.config_context(enable_metadata_routing=True):
        asked = clone(made.set_score_request(task=True))
        assert asked.get_metadata_routing().score.requests == {"task": True, "sample_weight": None}
