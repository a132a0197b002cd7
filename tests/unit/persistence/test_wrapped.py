"""Models that hold others: baselines around scikit-learn, and cross-validated ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import Lasso, LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unit.persistence.cases import rows, table, tasks

from polytask import (
    DataError,
    MultiTaskClassifierCV,
    MultiTaskModelCV,
    MultiTaskRegressorCV,
    Pooled,
    SingleTask,
    load,
    save,
)
from polytask.data import WithinTasks
from polytask.io import model_file as _container
from polytask.metrics.scores import r2
from polytask.penalties import L2, L21

TESTS = Path(__file__).parents[2]
LINEAR = [Ridge(), Lasso(0.1), RidgeCV(), LogisticRegression()]
OTHERS = [
    HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=5, random_state=0),
    RandomForestRegressor(3, random_state=0),
    KNeighborsRegressor(),
    make_pipeline(StandardScaler(), Ridge()),
]


def fitted(model, classes=False, dtype=np.float64):
    X, y, _ = rows(dtype=dtype)
    t = tasks(["a", "b", "c"])
    return model.fit(X, np.where(y > 0, "yes", "no") if classes else y, task=t), X, t


def again(model, tmp_path):
    save(model, tmp_path / "m")
    return load(tmp_path / "m")


@pytest.mark.parametrize("inner", LINEAR + OTHERS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    "wrap",
    [SingleTask, Pooled, lambda e: Pooled(e, "intercept"), lambda e: Pooled(e, "category")],
    ids=["single", "none", "intercept", "category"],
)
def test_baselines(tmp_path, inner, wrap):
    classes = isinstance(inner, LogisticRegression)
    model, X, t = fitted(wrap(inner), classes)
    loaded = again(model, tmp_path)
    assert repr(model) == repr(loaded)
    np.testing.assert_array_equal(loaded.predict(X, task=t), model.predict(X, task=t), strict=True)
    if classes:
        want = model.predict_proba(X, task=t)
        np.testing.assert_array_equal(loaded.predict_proba(X, task=t), want, strict=True)
    stored = _container.unpack((tmp_path / "m").read_bytes(), "m")[0]
    assert ("$skops" in json.dumps(stored)) == (inner in OTHERS)


def test_boosted_classifier_with_a_task_of_one_class(tmp_path):
    X, y, _ = rows()
    t = tasks(["a", "b"])
    target = np.where((y > 0) & (t == "a"), "yes", "no")
    inner = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5)
    model = SingleTask(inner).fit(X, target, task=t)
    want = model.predict_proba(X, task=t)
    np.testing.assert_array_equal(again(model, tmp_path).predict_proba(X, task=t), want)


def test_boosted_classifier_of_three_classes(tmp_path):
    X, y, _ = rows()
    t = tasks(["a", "b"])
    target = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    inner = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5)
    model = SingleTask(inner).fit(X, target, task=t)
    want = model.predict_proba(X, task=t)
    assert want.shape == (len(X), 3)
    np.testing.assert_array_equal(again(model, tmp_path).predict_proba(X, task=t), want)


def test_float32_linear_models_stay_float32(tmp_path):
    model, X, t = fitted(SingleTask(Ridge()), dtype=np.float32)
    np.testing.assert_array_equal(
        again(model, tmp_path).predict(X, task=t), model.predict(X, task=t), strict=True
    )


class Mine(RegressorMixin, BaseEstimator):
    """An estimator that no list knows."""

    def fit(self, X, y):
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def test_an_estimator_that_is_not_trusted_is_refused_by_save(tmp_path):
    model, _, _ = fitted(SingleTask(Mine()))
    with pytest.raises(DataError, match=r"SingleTask cannot be saved: .*Mine.*not on the list"):
        save(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ cross-validated


@pytest.mark.parametrize("cv", [3, WithinTasks(3, random_state=1), KFold(3)], ids=repr)
def test_cross_validated_models(tmp_path, cv):
    model, X, t = fitted(MultiTaskRegressorCV([L2(), L21()], alphas=5, cv=cv))
    loaded = again(model, tmp_path)
    np.testing.assert_array_equal(loaded.predict(X, task=t), model.predict(X, task=t))
    assert repr(loaded.cv) == repr(cv)
    assert loaded.best_penalty_ == model.best_penalty_
    assert loaded.alpha_ == model.alpha_
    for name in ("alphas_", "scores_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name), strict=True)
    card = json.loads(loaded.card().json)
    assert card["chosen"]["alpha_"] == model.alpha_
    assert card["seed"] == {"random_state": 0}


def test_cross_validated_classifier_and_mixed_model(tmp_path):
    model, X, t = fitted(MultiTaskClassifierCV(L2(), alphas=3, cv=2), classes=True)
    np.testing.assert_array_equal(
        again(model, tmp_path).predict_proba(X, task=t), model.predict_proba(X, task=t)
    )
    X, y, _ = rows()
    both = MultiTaskModelCV(L2(), alphas=3, cv=2).fit(X, np.column_stack([y, y > 0]))
    np.testing.assert_array_equal(again(both, tmp_path).predict(X), both.predict(X))


def test_a_scoring_function_is_taken_out_by_the_user(tmp_path):
    model, X, t = fitted(MultiTaskRegressorCV(L2(), alphas=3, cv=2, scoring=r2))
    with pytest.raises(
        DataError, match=r"its parameter scoring .* Say set_params\(scoring=None\)"
    ):
        save(model, tmp_path / "m")
    loaded = again(model.set_params(scoring=None), tmp_path)
    np.testing.assert_array_equal(loaded.predict(X, task=t), model.predict(X, task=t))


# ------------------------------------------------------------------ to_sklearn


def test_to_sklearn_of_baselines():
    model, X, t = fitted(SingleTask(Ridge()))
    part = t == "b"
    np.testing.assert_array_equal(
        model.to_sklearn("b").predict(X[part]), model.predict(X[part], task=t[part])
    )
    model, X, t = fitted(Pooled(Ridge()))
    np.testing.assert_array_equal(model.to_sklearn("b").predict(X), model.predict(X, task=t))
    model, _, _ = fitted(Pooled(Ridge(), "intercept"))
    with pytest.raises(ValueError, match="task_effect='none'; got 'intercept'"):
        model.to_sklearn("b")


def test_to_sklearn_of_a_baseline_fitted_on_tables_that_lack_columns():
    one, two = table(0, 40), table(1, 40).drop(columns="年龄")
    data = {k: (f.drop(columns=["分数", "学校"]), f["分数"]) for k, f in (("A", one), ("B", two))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SingleTask(Ridge()).fit(data)
    X = data["B"][0]
    np.testing.assert_allclose(model.to_sklearn("B").predict(X), model.predict({"B": X})["B"])


SAVED_TWICE = """
import sys
from unit.persistence.test_wrapped import OTHERS, fitted
from polytask import SingleTask, save

for k, inner in enumerate(OTHERS):
    save(fitted(SingleTask(inner))[0], f"{sys.argv[1]}{k}")
"""


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path):
    for name, seed in (("a", "1"), ("b", "2")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(TESTS)}
        subprocess.run(
            [sys.executable, "-c", SAVED_TWICE, str(tmp_path / name)], check=True, env=environment
        )
    for k in range(len(OTHERS)):
        assert (tmp_path / f"a{k}").read_bytes() == (tmp_path / f"b{k}").read_bytes()
