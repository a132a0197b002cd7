"""A comparison of rows that belong to several groupings: who reads what, and what is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    Comparison,
    compare,
)
from polytask.exceptions import DataWarning, IncompatibleError
from polytask.reporting import markdown, terminal

NAMES = ["store", "product"]
FEATURES = ["price", "ads"]
FEW = ["separate", "pooled + intercepts", "learned prior of all groupings"]
ALL = "learned prior of store and product"


def sales(n: int = 300, products: int = 8) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(0)
    store, product = rng.integers(0, 6, n), rng.integers(0, products, n)
    X = pd.DataFrame({"price": rng.uniform(1, 5, n), "ads": rng.standard_normal(n)})
    y = (
        X["price"].to_numpy()
        + rng.standard_normal(6)[store]
        + 2 * rng.standard_normal(products)[product]
    )
    X["store"] = np.array(list("abcdef"))[store]
    # Of another kind than text, and of an index that is not in order.
    X["product"] = 100 + product
    order = np.arange(n)[::-1]
    return X.set_index(order), pd.Series(y + rng.standard_normal(n), index=order, name="sold")


@pytest.fixture(scope="module")
def result() -> Comparison:
    X, y = sales()
    return compare(X, y, task_column=NAMES, models=FEW, cv=2)


def scores(result: Comparison) -> dict[str, float]:
    return {row.name: row.score.mean for row in result.models}


def test_the_first_grouping_is_the_task_and_the_other_a_category(result):
    assert [task.task for task in sorted(result.tasks, key=lambda t: t.task)] == list("abcdef")
    assert set(scores(result)) == {*FEW[:2], ALL}
    X, y = sales()
    # What the models of one grouping do is what they do with the product as a category.
    category = X.assign(product=X["product"].astype(str).astype("category"))
    same = compare(category, y, task_column="store", models=[*FEW[:2], "learned prior"], cv=2)
    for name in FEW[:2]:
        assert scores(same)[name] == pytest.approx(scores(result)[name], rel=1e-10)
    assert not same.groupings


def test_the_prior_of_all_is_that_of_the_estimator(result):
    X, y = sales()
    model = BayesianMultiTaskRegressor(task_column=NAMES).fit(X, y)
    best = result.best_model(ALL)
    assert_allclose(best.predict(X), model.predict(X), rtol=1e-10)
    # The models are used as the data were given.
    pooled = result.best_model("pooled + intercepts")
    assert pooled.task_column == "store"
    assert np.isfinite(pooled.predict(X)).all()
    shares = [one.share for one in result.groupings]
    assert_allclose(shares, list(model.variance_shares_.values()), rtol=1e-6)
    assert [(one.name, one.levels, one.told) for one in result.groupings] == [
        ("store", 6, 6),
        ("product", 8, 8),
    ]


def test_forms_agree(result):
    X, y = sales()
    expected = scores(result)
    y = y.to_numpy()
    table = compare(pl.from_pandas(X), y, task_column=NAMES, models=FEW, cv=2)
    assert scores(table) == pytest.approx(expected, rel=1e-8)
    arrays = compare(X[FEATURES].to_numpy(), y, task=X[NAMES].to_numpy(), models=FEW, cv=2)
    found = scores(arrays)
    assert found.pop("learned prior of 0 and 1") == pytest.approx(expected[ALL], rel=1e-8)
    assert found == pytest.approx({name: expected[name] for name in FEW[:2]}, rel=1e-8)
    # The groupings beyond the first are further columns of an array.
    wide = np.column_stack([X[FEATURES], X["product"]])
    assert_allclose(
        arrays.best_model("pooled + intercepts").predict(wide, task=X["store"].to_numpy()),
        result.best_model("pooled + intercepts").predict(X),
        rtol=1e-8,
    )
    with pytest.raises(IncompatibleError, match=r"dense array X.* got a sparse matrix"):
        compare(sp.csr_array(X[FEATURES].to_numpy()), y, task=X[NAMES])


def new_rows(result: Comparison, model: str, X_new, task_new=None) -> tuple[str, np.ndarray]:
    """Run the lines that a report prints for the next step."""
    result = dataclasses.replace(result, recommended=model)
    lines = terminal(result.document("en")).partition("Next, in Python:\n")[2].split("\n")
    held = {"result": result, "X_new": X_new, "task_new": task_new}
    exec(lines[0].strip(), held)
    return lines[1].partition("  # ")[2], eval(lines[1].strip(), held)


def test_the_next_lines_run(result):
    X, _ = sales()
    rows = X.head(5)
    columns = "X_new has the columns 'store', 'product' too"
    for model in (ALL, "pooled + intercepts"):
        said, found = new_rows(result, model, rows)
        assert said == columns
        assert_array_equal(found, result.best_model(model).predict(rows))
    X, y = sales()
    beside = compare(X[FEATURES], y, task=X[NAMES], models=FEW[1:], cv=2)
    said, found = new_rows(beside, ALL, rows[FEATURES], rows[NAMES])
    assert said == "task_new is a table or array with a column for each of 'store', 'product'"
    assert_allclose(found, result.best_model(ALL).predict(rows), rtol=1e-8)
    wide = rows[[*FEATURES, "product"]]
    said, found = new_rows(beside, FEW[1], wide, rows["store"])
    assert said == "task_new holds the levels of 'store'; the last column of X_new is 'product'"
    assert_allclose(found, result.best_model(FEW[1]).predict(rows), rtol=1e-8)
    one = compare(X, y, task_column="store", models=FEW[1:2], cv=2)
    assert "task_column='store'" in one.lock["call"]
    assert new_rows(one, FEW[1], rows)[0] == "X_new has the column 'store' too"


def test_what_is_said(result):
    text = terminal(result.document("en"))
    assert "a level of each of several groupings: “store” (6 levels), “product” (8 levels)" in text
    assert "is differences between levels of “product” (95% interval" in text
    assert f"Only “{ALL}” has a prior of every grouping; the other models read" in text
    assert "levels of “product” as categories" in text
    assert "apart and take" not in text
    best = dataclasses.replace(result, recommended=ALL)
    assert "a deviation for each level of every grouping" in terminal(best.document("en"))
    assert "各水平之间的差异" in terminal(result.document("zh"))
    assert "Groupings" in markdown(result.document("en"))
    assert Comparison.from_json(result.to_json()) == result


def test_many_levels_and_dates():
    X, y = sales(products=45)
    X["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(X)) % 9, unit="D")
    with pytest.warns(DataWarning, match="'product' has 45 different values"):
        found = compare(X, y, task_column=[*NAMES, "day"], models=["pooled", FEW[2]], cv=2)
    assert [one.told for one in found.groupings] == [6, 30, 0]
    # Other levels are other data, also those that only the prior of all groupings reads.
    X["day"] = X["day"].to_numpy()[::-1]
    with pytest.warns(DataWarning, match="'product' has 45 different values"):
        other = compare(X, y, task_column=[*NAMES, "day"], models=["pooled"], cv=2)
    assert other.lock["data"]["checksum"] != found.lock["data"]["checksum"]
    text = terminal(found.document("en"))
    assert "tell the 29 most frequent levels of “product” apart and take the others as one" in text
    assert "do not read “day”, whose levels are dates" in text


@pytest.mark.slow
def test_classes_have_a_prior_of_all_groupings():
    X, y = sales()
    labels = np.where(y > y.median(), "much", "little")
    found = compare(X, labels, task_column=NAMES, models=FEW[1:], cv=2)
    model = BayesianMultiTaskClassifier(task_column=NAMES).fit(X, labels)
    assert_allclose(found.best_model(ALL).predict_proba(X), model.predict_proba(X), rtol=1e-8)
    shares = [one.share for one in found.groupings]
    assert_allclose(shares, list(model.variance_shares_.values()), rtol=1e-6)
    assert "On the scale of the linear predictor, of the" in terminal(found.document("en"))


def test_where_there_is_no_prior_of_all_groupings():
    X, y = sales()
    robust = compare(X, y, task_column=NAMES, models=FEW[1:], cv=2, loss="huber")
    notes = {row.name: row.note for row in robust.models}
    assert "learned prior" in notes[ALL]
    text = terminal(robust.document("en"))
    assert "Of the variance" not in text
    assert "the models read the levels of “product” as categories" in text
    alone = compare(X, y, task_column="store", models=FEW[1:], cv=2)
    notes = {row.name: row.note for row in alone.models}
    assert "rows that belong to several groupings" in notes[FEW[2]]


def test_what_encoding_made_of_columns_and_groupings(result):
    """A model of one grouping reads the others as categories; that of all has the columns."""
    held = result.coefficients
    assert held is not None
    assert held.model == ALL
    assert "Encoding turned" not in markdown(result.document("en"))
    other = dataclasses.replace(held, model="learned prior", n_features=10)
    told = markdown(dataclasses.replace(result, coefficients=other).document("en"))
    categories = "and the categories of “product”, into 10 features"
    assert f"Encoding turned the 2 columns of the data, {categories}." in told
    assert f"2; encoding turned them, {categories}" in told
