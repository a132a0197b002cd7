"""What scikit-learn expects of an estimator, and its tools around ours."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor, ParameterError
from polytask.penalties import L1, L2, L21, ElasticNet, TraceNorm, toward_mean

ESTIMATORS = [
    MultiTaskRegressor(),
    MultiTaskRegressor(toward_mean(1.0) + L2(0.1), intercept=None),
    MultiTaskRegressor(
        TraceNorm(fraction=0.1), intercept="shared", standardize=True, scale_targets="auto"
    ),
    MultiTaskClassifier(),
    MultiTaskClassifier(L2(0.1), loss="multinomial", standardize=True),
    MultiTaskClassifier(ElasticNet(0.01), intercept="shared", class_weight="balanced"),
    MultiTaskModel(L2(0.1), standardize=True, scale_targets="task"),
]


# The one check that is skipped needs SCIPY_ARRAY_API=1 in the environment. One check sets class
# weights of 1000 and 0.0001 with few iterations: several classes may not converge, which they say.
@pytest.mark.filterwarnings("ignore::polytask.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def rows():
    """Rows with their task in the last column of X."""
    rng = np.random.default_rng(0)
    task = np.tile([3, 5, 9], 30)
    X = rng.normal(size=(90, 4))
    y = X @ [1.0, -1.0, 0.0, 0.5] + 0.1 * task + 0.3 * rng.normal(size=90)
    return np.column_stack([X, task]), y


def test_a_clone_is_another_and_the_same():
    first = MultiTaskRegressor(L21(0.1) + L2(0.2), task_column=4)
    second = clone(first)
    assert second.get_params() == first.get_params()
    second.set_params(penalty__p0__alpha=0.5, tol=1e-3)
    assert first.penalty.get_params()["p0__alpha"] == 0.1
    assert first.tol == 1e-6
    assert repr(second.penalty) == "L21(alpha=0.5) + L2(alpha=0.2)"


def test_setting_a_penalty_of_one_does_not_reach_another():
    penalty = L21(0.1)
    first, second = MultiTaskRegressor(penalty), MultiTaskRegressor(penalty)
    first.set_params(penalty__fraction=0.3)
    assert first.penalty.get_params() == {"alpha": None, "fraction": 0.3, "radius": None}
    assert second.penalty is penalty
    assert penalty.get_params() == {"alpha": 0.1, "fraction": None, "radius": None}


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_parameters_go_round(estimator):
    params = estimator.get_params()
    again = type(estimator)().set_params(**estimator.get_params(deep=False))
    assert again.get_params() == params
    assert clone(estimator).set_params(**params).get_params() == params
    assert repr(clone(estimator)) == repr(estimator)


@pytest.mark.parametrize("name", ["penalty__beta", "penalty__p7__alpha", "strength", "tol__x"])
def test_unknown_parameters_are_named(name):
    model = MultiTaskRegressor(L21(0.1) + L2(0.1))
    before = model.get_params()
    with pytest.raises(ValueError, match=r"beta|p7|strength|tol"):
        model.set_params(**{name: 1.0})
    assert model.get_params() == before


def test_a_strength_without_a_penalty_is_refused_in_words():
    with pytest.raises(ParameterError, match="give penalty first"):
        MultiTaskRegressor().set_params(penalty__alpha=1.0)


def test_a_penalty_and_its_strength_at_once():
    model = MultiTaskRegressor().set_params(penalty__alpha=2.0, penalty=L1(1.0))
    assert model.penalty.get_params()["alpha"] == 2.0


@pytest.mark.parametrize("form", ["array", "table"])
def test_pickle(rows, form):
    X, y = rows
    if form == "table":
        X = pd.DataFrame(X, columns=[*"abcd", "school"])
    column = "school" if form == "table" else 4
    model = MultiTaskRegressor(task_column=column, unseen_tasks="shared").fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    assert again.get_params().keys() == model.get_params().keys()
    assert again.score(X, y) == model.score(X, y)


@pytest.mark.parametrize(
    ("penalty", "name"), [(L21(0.1), "penalty__alpha"), (L21(0.1) + L2(0.1), "penalty__p1__alpha")]
)
def test_grid_search(rows, penalty, name):
    X, y = rows
    search = GridSearchCV(
        MultiTaskRegressor(penalty, task_column=-1), {name: [1e-4, 1e2]}, cv=KFold(3)
    ).fit(X, y)
    assert search.best_params_ == {name: 1e-4}
    assert search.best_score_ > 0.8
    assert search.best_estimator_.penalty.get_params()[name.removeprefix("penalty__")] == 1e-4
    # On the training rows R2 against the training mean is that of scikit-learn.
    assert search.score(X, y) == pytest.approx(r2_score(y, search.predict(X)))


def test_cross_validation(rows):
    X, y = rows
    model = MultiTaskRegressor(task_column=4)
    assert np.all(cross_val_score(model, X, y, cv=3) > 0.8)
    assert cross_val_predict(model, X, y, cv=3).shape == (90,)
    labels = np.where(y > 0.5, "high", "low")
    classifier = MultiTaskClassifier(task_column=4)
    assert np.mean(cross_val_score(classifier, X, labels, cv=3)) > 0.8
    assert np.all(cross_val_score(classifier, X, labels, cv=3, scoring="roc_auc") > 0.8)
    assert np.all(cross_val_score(classifier, X, labels, cv=3, scoring="neg_log_loss") > -0.6)
    wide = np.column_stack([y, -y])
    assert np.all(cross_val_score(MultiTaskRegressor(), X, wide, cv=3, scoring="r2") > 0.8)


def test_a_pipeline_carries_the_task_column(rows):
    X, y = rows
    scale = ColumnTransformer([("x", StandardScaler(), slice(0, 4))], remainder="passthrough")
    model = make_pipeline(scale, MultiTaskRegressor(L2(0.1), task_column=-1, tol=1e-12)).fit(X, y)
    direct = MultiTaskRegressor(L2(0.1), standardize=True, tol=1e-12)
    direct.fit(X[:, :4], y, task=X[:, 4])
    assert_allclose(model.predict(X), direct.predict(X[:, :4], task=X[:, 4]), atol=1e-8)
    assert model.score(X, y) > 0.8


def test_kinds():
    assert is_regressor(MultiTaskRegressor())
    assert is_classifier(MultiTaskClassifier())
    assert not is_regressor(MultiTaskModel())
    assert not is_classifier(MultiTaskModel())


def test_probabilities_of_a_model_exist_where_there_are_classes(rows):
    X, y = rows
    assert not hasattr(MultiTaskModel(), "predict_proba")
    assert hasattr(MultiTaskModel(loss={0: "squared", 1: "logistic"}), "predict_proba")
    model = MultiTaskModel(task_column=4).fit(X, y > 0)
    assert model.predict_proba(X).shape == (90, 2)
    model.fit(X, y)
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "classes_")


def test_fit_leaves_its_input_alone(rows):
    X, y = rows
    X.flags.writeable = y.flags.writeable = False
    model = MultiTaskRegressor(standardize=True, scale_targets="common", task_column=4)
    model.fit(X, y).predict(X)
    assert model.penalty is None


def test_warm_start(rows):
    X, y = rows
    settings = {"tol": 1e-12, "max_iter": 100_000, "task_column": 4}
    cold = MultiTaskRegressor(L1(0.01), **settings).fit(X, y)
    warm = MultiTaskRegressor(L1(0.01), warm_start=True, **settings).fit(X, y).fit(X, y)
    assert warm.n_iter_ <= 1
    assert_allclose(warm.coef_, cold.coef_, atol=1e-6)
    # A problem of another shape starts afresh.
    warm.set_params(task_column=None).fit(X[:, :4], y)
    assert warm.coef_.shape == (1, 4)


@pytest.mark.parametrize("n_jobs", [None, 1, -1])
def test_threads(rows, n_jobs):
    X, y = rows
    assert MultiTaskRegressor(task_column=4, n_jobs=n_jobs).fit(X, y).score(X, y) > 0.8
