"""A search inside a baseline is divided by a splitter that knows groups and times."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import Pooled, SingleTask, TaskData
from polytask.baselines import TunedLogistic, TunedRidge
from polytask.data import GroupedRows, TimeOrdered
from polytask.exceptions import DataError

ALPHAS = (1e-3, 1e4)


def patients(seed=0, classes=False):
    """Five all but equal rows of each patient, and features that say nothing."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(60), 5)
    X = np.repeat(rng.standard_normal((60, 15)), 5, axis=0) + 1e-3 * rng.standard_normal((300, 15))
    y = np.repeat(rng.standard_normal(60), 5) + 1e-3 * rng.standard_normal(300)
    task = np.array(["a", "b", "c"])[who % 3]
    order = rng.permutation(300)
    y = (y > 0).astype(int) if classes else y
    return X[order], y[order], task[order], who[order]


@pytest.mark.parametrize("kind", [SingleTask, Pooled])
@pytest.mark.parametrize("learner", [TunedRidge(ALPHAS), GridSearchCV(Ridge(), {"alpha": ALPHAS})])
def test_groups_show_that_features_say_nothing(kind, learner):
    X, y, task, who = patients()
    found = {}
    for name, cv in {"rows": 5, "groups": GroupedRows(who)}.items():
        model = kind(make_pipeline(StandardScaler(), learner.set_params(cv=cv)))
        model.fit(X, y, task=task)
        fitted = model.estimators_.values() if kind is SingleTask else [model.estimator_]
        found[name] = {_strength(f[-1]) for f in fitted}
    assert found == {"rows": {ALPHAS[0]}, "groups": {ALPHAS[1]}}


def _strength(search):
    return search.best_params_["alpha"] if hasattr(search, "best_params_") else search.alpha_


@pytest.mark.parametrize("effect", ["none", "intercept", "category"])
def test_every_task_effect_sees_the_rows_in_their_order(effect):
    X, y, task, who = patients()
    model = Pooled(make_pipeline(StandardScaler(), TunedRidge(ALPHAS, GroupedRows(who))), effect)
    model.fit(X, y, task=task)
    last = model.estimator_ if model.steps_ is not None else model.estimator_[-1]
    assert last.alpha_ == ALPHAS[1]


def test_classes_and_targets():
    X, y, task, who = patients(classes=True)
    apart, by_rows = (
        [f.C_ for f in SingleTask(TunedLogistic(cv)).fit(X, y, task=task).estimators_.values()]
        for cv in (GroupedRows(who), 5)
    )
    assert max(apart) < 0.1 < 1.0 < min(by_rows)
    rng = np.random.default_rng(1)
    Y = np.column_stack([y, 1 - y]).astype(float)
    Y[rng.random(Y.shape) < 0.2] = np.nan
    data = TaskData.from_targets(X, Y)
    pair = SingleTask(TunedRidge(ALPHAS, GroupedRows(who))).fit(data)
    assert {fitted.alpha_ for fitted in pair.estimators_.values()} == {ALPHAS[1]}


def test_a_task_of_one_group_is_searched_in_its_own_way():
    X, y, task, who = patients()
    alone = np.where(task == "a", -1, who)
    model = SingleTask(TunedRidge(ALPHAS, GroupedRows(alone))).fit(X, y, task=task)
    assert model.estimators_["a"].alpha_ == ALPHAS[0]
    assert model.estimators_["b"].alpha_ == ALPHAS[1]


def test_fewer_groups_or_moments_make_fewer_folds():
    X, y, task, _ = patients()
    data = TaskData.from_long(X, y, task)
    assert GroupedRows(np.arange(300) % 3).reduced(data).n_splits == 3
    assert GroupedRows(np.zeros(300)).reduced(data) is None
    assert TimeOrdered(np.arange(300) % 3).reduced(data).n_splits == 2
    assert TimeOrdered(np.zeros(300)).reduced(data) is None


def test_wrong_groups_are_refused_not_passed_over():
    X, y, task, who = patients()
    model = SingleTask(TunedRidge(ALPHAS, GroupedRows(who[:100])))
    with pytest.raises(DataError, match="as long as the input"):
        model.fit(X, y, task=task)


def test_time_goes_from_the_past_to_the_future():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 3))
    day = np.arange(120)
    # What held in the past is turned round at the end: shrinking to nothing is safest.
    y = X[:, 0] * np.where(day < 60, 1.0, -1.0)
    task = np.array(["a", "b"])[day % 2]
    model = SingleTask(TunedRidge(ALPHAS, TimeOrdered(day, n_splits=1, test_size=0.5)))
    model.fit(X, y, task=task)
    assert {fitted.alpha_ for fitted in model.estimators_.values()} == {ALPHAS[1]}


@pytest.mark.parametrize("kind", [SingleTask, Pooled])
def test_what_is_fitted_holds_no_groups_and_can_be_saved(kind, tmp_path):
    X, y, task, who = patients()
    learner = make_pipeline(StandardScaler(), TunedRidge(ALPHAS, GroupedRows(who)))
    model = kind(learner).fit(X, y, task=task)
    fitted = model.estimators_["a"] if kind is SingleTask else model.estimator_
    assert fitted[-1].cv is None
    assert model.estimator[-1].cv.groups is who
    polytask.save(model, tmp_path / "m.polytask")
    again = polytask.load(tmp_path / "m.polytask")
    np.testing.assert_array_equal(again.predict(X, task=task), model.predict(X, task=task))


def test_folds_that_are_row_numbers_stay_with_the_user():
    X, y, task, _ = patients()
    pairs = [(np.arange(50), np.arange(50, 100)), (np.arange(50, 100), np.arange(50))]
    model = SingleTask(GridSearchCV(LogisticRegression(), {"C": [1.0, 2.0]}, cv=pairs))
    model.fit(X, y > 0, task=task)
    assert model.estimators_["a"].cv is not None
