"""An automatic choice for rows that belong to several groupings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from polytask import (
    AutoMultiTaskClassifier,
    AutoMultiTaskRegressor,
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
    adapt,
    load,
    save,
)
from polytask.exceptions import DataError, IncompatibleError

NAMES, FEATURES = ["store", "product"], ["price", "ads"]
ALL = "learned prior of store and product"
FEW = ["separate", "pooled + intercepts", "learned prior of all groupings"]
OF_ONE = ["pooled", "boosting pooled"]


def sales(products: int) -> tuple[pd.DataFrame, pd.Series]:
    """Return rows of crossed groupings, both with effects."""
    rng = np.random.default_rng(0)
    n = 400
    store, product = rng.integers(0, 6, n), rng.integers(0, products, n)
    X = pd.DataFrame({"price": rng.uniform(1, 5, n), "ads": rng.standard_normal(n)})
    level = rng.standard_normal(6)[store] + 2 * rng.standard_normal(products)[product]
    y = X["price"] * (1 + 0.5 * rng.standard_normal(6)[store]) + level + rng.standard_normal(n)
    X["store"], X["product"] = np.array(list("abcdef"))[store], 100 + product
    return X, y.rename("sold")


@pytest.fixture(scope="module")
def model() -> AutoMultiTaskRegressor:
    X, y = sales(30)
    return AutoMultiTaskRegressor(FEW, task_column=NAMES, cv=2).fit(X, y)


def test_the_prior_of_all_groupings_is_tried_and_used_as_it_is(model, tmp_path):
    X, y = sales(30)
    assert list(model.members_) == [ALL]
    assert set(model.leaderboard()["model"]) == {*FEW[:2], ALL}
    assert (
        f"“{ALL}” predicts best on its own: a linear model whose coefficients are"
        in model.explain()
    )
    alone = BayesianMultiTaskRegressor(task_column=NAMES).fit(X, y)
    assert_allclose(model.predict(X), alone.predict(X), rtol=1e-12)
    assert model.score(X, y) == pytest.approx(alone.score(X, y))
    save(model, tmp_path / "m.polytask")
    assert_array_equal(load(tmp_path / "m.polytask").predict(X), model.predict(X))


@pytest.mark.parametrize("kind", ["classes", "counts"])
def test_classes_and_counts(kind, tmp_path):
    X, y = sales(30)
    if kind == "counts":
        y = np.round(np.exp(0.3 * (y - y.mean())))
        alone = BayesianMultiTaskModel(loss="poisson", task_column=NAMES).fit(X, y)
        auto = AutoMultiTaskRegressor(FEW[2:], loss="poisson", task_column=NAMES, cv=2).fit(X, y)
        found, expected = auto.predict(X), alone.predict(X)
    else:
        y = np.where(y > y.median(), "much", "little")
        alone = BayesianMultiTaskClassifier(task_column=NAMES).fit(X, y)
        auto = AutoMultiTaskClassifier(FEW[2:], task_column=NAMES, cv=2).fit(X, y)
        expected = alone.predict_proba(X)
        own = auto.calibrations_[ALL].applied(expected, auto.class_prior_)
        found, expected = auto.predict_proba(X), own
    assert list(auto.members_) == [ALL]
    assert_allclose(found, expected, rtol=1e-8)
    save(auto, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    values = again.predict(X) if kind == "counts" else again.predict_proba(X)
    assert_array_equal(values, found)


def test_classes_of_models_of_one_grouping_are_combined():
    X, y = sales(30)
    labels = np.where(y > y.median(), "much", "little")
    settings = {"cv": 2, "unseen_tasks": "shared"}
    auto = AutoMultiTaskClassifier(["pooled"], task_column=NAMES, **settings).fit(X, labels)
    category = X.assign(product=X["product"].astype(str).astype("category"))
    same = AutoMultiTaskClassifier(["pooled"], task_column="store", **settings)
    same.fit(category, labels)
    assert_allclose(auto.predict_proba(X), same.predict_proba(category), rtol=1e-8)
    new = X.head(2).assign(store="zz", product=777)
    assert np.isfinite(auto.predict_proba(new)).all()


def test_forms_agree(model):
    X, y = sales(30)
    for rows, task in ((X[FEATURES], X[NAMES]), (X[FEATURES].to_numpy(), X[NAMES].to_numpy())):
        found = AutoMultiTaskRegressor(FEW[1:], cv=2).fit(rows, y, task=task)
        assert_allclose(found.predict(rows, task=task), model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("name", OF_ONE)
def test_models_of_one_grouping_read_the_others_as_categories(name, tmp_path):
    X, y = sales(45)  # more levels than are told apart
    settings = {"unseen_tasks": "shared", "cv": 2}
    with pytest.warns(UserWarning, match="45 different values"):
        model = AutoMultiTaskRegressor([name], task_column=NAMES, **settings).fit(X, y)
    category = X.assign(product=X["product"].astype(str).astype("category"))
    with pytest.warns(UserWarning, match="45 different values"):
        same = AutoMultiTaskRegressor([name], task_column="store", **settings).fit(category, y)
    assert model.score_ == pytest.approx(same.score_, rel=1e-10)
    new = X.head(4).assign(product=[100, 777, 101, 778], store=["a", "a", "zz", "zz"])
    expected = same.predict(new.assign(product=new["product"].astype(str).astype("category")))
    assert_allclose(model.predict(new), expected, rtol=1e-10)
    save(model, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    assert_array_equal(again.predict(new), model.predict(new))
    again.unseen_tasks = "error"
    with pytest.raises(DataError, match=r"product .* 45 labels .* 2 unseen"):
        again.predict(new.assign(store="a"))


def test_a_journal_is_of_these_levels(tmp_path):
    X, y = sales(30)
    # Levels that are nearly as many as rows are no category: only the prior of all reads them.
    X["batch"] = np.arange(len(X)) * 3 // 4
    settings = {"task_column": ["store", "batch"], "cv": 2, "journal": tmp_path / "j"}
    AutoMultiTaskRegressor(["pooled"], **settings).fit(X, y)
    with pytest.raises(DataError, match="journal"):
        AutoMultiTaskRegressor(["pooled"], **settings).fit(
            X.assign(batch=X["batch"][::-1].to_numpy()), y
        )


def test_what_is_refused(model):
    X, y = sales(30)
    words = "AutoMultiTaskRegressor is a weighted mean .* fit BayesianMultiTaskRegressor with"
    with pytest.raises(IncompatibleError, match=words):
        adapt(model, X.head(2).assign(product=777), y.head(2))
    with pytest.raises(IncompatibleError, match=r"dense array X.* got a sparse matrix"):
        AutoMultiTaskRegressor(FEW).fit(sp.csr_array(X[FEATURES].to_numpy()), y, task=X[NAMES])
