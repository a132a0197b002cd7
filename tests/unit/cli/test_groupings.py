"""``--task`` twice: rows of several groupings from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
    load,
)
from polytask.cli.folder import read_lock

ROLES = ("--task", "store", "--task", "product", "--target", "sold")


@pytest.fixture
def sales(folder) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 160
    store, product = rng.integers(0, 5, n), rng.integers(0, 8, n)
    table = pd.DataFrame({"price": rng.uniform(1, 5, n).round(2), "store": store})
    table["store"] = np.array(list("abcde"))[store]
    table["product"] = 100 + product
    level = rng.standard_normal(5)[store] + 2 * rng.standard_normal(8)[product]
    table["sold"] = (table["price"] + level + rng.standard_normal(n)).round(3)
    table.to_csv("sales.csv", index=False)
    return table


def test_fit_predict_and_adapt(run, sales):
    done = run("fit", "sales.csv", *ROLES, "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "'store' (5 levels), 'product' (8 levels)" in done.out
    assert "is differences between levels of “product”" in done.out
    assert "the model is learned prior of all groupings" in done.err
    shown = run("inspect", "m.polytask").out
    assert "the levels of store (5), product (8); predict refuses other tasks without" in shown
    model = load("m.polytask")
    same = BayesianMultiTaskRegressor(task_column=["store", "product"])
    same.fit(sales.drop(columns="sold"), sales["sold"])
    assert_allclose(model.predict(sales), same.predict(sales), rtol=1e-10)
    new = sales.head(3).assign(product=[100, 777, 777])
    new.to_csv("new.csv", index=False)
    done = run("predict", "m.polytask", "new.csv", "--out", "p.csv")
    assert done.status == 2
    assert "column 'product' of new.csv must be among the 8 labels" in done.err
    words = ("--unseen-tasks", "shared", "--interval", "0.9", "--out", "p.csv")
    done = run("predict", "m.polytask", "new.csv", *words)
    assert "2 rows of 1 level of product that was not in training (777)" in done.err
    found = pd.read_csv("p.csv")
    assert found.columns[:3].tolist() == ["store", "product", "prediction"]
    model.unseen_tasks = "shared"
    assert_allclose(found["prediction"], model.predict(new), rtol=1e-10)
    assert found["note"].fillna("").str.contains("level of product").tolist() == [
        False,
        True,
        True,
    ]
    new.tail(2).to_csv("few.csv", index=False)
    done = run("adapt", "m.polytask", "few.csv", "--target", "sold", "--out", "more.polytask")
    assert "Adapted to 1 level of product (777) with 2 rows." in done.out
    assert run("predict", "more.polytask", "new.csv", "--out", "q.csv").status == 0
    done = run("inspect", "more.polytask", "--related")
    assert "Of the variance around the common line" in done.out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "counts"])
def test_classes_and_counts(run, sales, kind):
    level = sales["sold"] > sales["sold"].median()
    sold = np.where(level, "much", "little") if kind == "classes" else sales["sold"].abs().round()
    rows = sales.assign(sold=sold)
    rows.to_csv("rows.csv", index=False)
    loss = () if kind == "classes" else ("--loss", "poisson")
    shared = ("--unseen-tasks", "shared")
    done = run("fit", "rows.csv", *ROLES, *loss, *shared, "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "On the scale of the linear predictor, of the variance around" in done.out
    new = rows.head(3).assign(product=[100, 777, 777])
    new.to_csv("new.csv", index=False)
    done = run("predict", "m.polytask", "new.csv", "--out", "p.csv")
    assert "2 rows of 1 level of product that was not in training (777)" in done.err
    found, X = pd.read_csv("p.csv"), rows.drop(columns="sold")
    if kind == "classes":
        model = BayesianMultiTaskClassifier(task_column=["store", "product"])
        expected = model.fit(X, rows["sold"]).predict_proba(new)[:, 1]
        assert_allclose(found["P(much)"], expected, rtol=1e-8)
    else:
        model = BayesianMultiTaskModel(loss="poisson", task_column=["store", "product"])
        assert_allclose(found["prediction"], model.fit(X, rows["sold"]).predict(new), rtol=1e-8)
    done = run("adapt", "m.polytask", "new.csv", "--target", "sold", "--out", "more.polytask")
    assert done.status == 2
    assert "adds new levels to a model of several groupings where targets are numbers" in done.err


def test_compare(run, sales, light):
    few = ("--models", "pooled", "--models", "learned-prior-of-all-groupings", "--splits", "2")
    done = run("compare", "sales.csv", *ROLES, *few, "--out", "study")
    assert done.status == 0, done.err
    assert "Use “learned prior of store and product”" in done.out
    assert "Every row belongs to a level of each of several groupings" in done.out
    # The terminal and the report count the same columns, without those of the groupings.
    assert "1 to learn from" in done.err
    report = Path("study/report.md").read_text(encoding="utf-8")
    assert "1 column to learn from" in report
    held = json.loads(Path("study/report.json").read_text(encoding="utf-8"))
    assert [one["levels"] for one in held["groupings"]] == [5, 8]
    done = run("predict", "study/model/model.polytask", "sales.csv", "--out", "p.csv")
    assert done.status == 0, done.err
    done = run("compare", "sales.csv", "--task", "store", "--target", "sold", "--out", "study")
    assert done.status == 2
    assert "task: ['store', 'product'] there, ['store'] here" in done.err


def test_auto(run, sales):
    few = ("--models", "pooled", "--models", "learned-prior-of-all-groupings", "--folds", "2")
    done = run("auto", "sales.csv", *ROLES, *few, "--out", "m.polytask")
    assert done.status == 0, done.err
    assert "'store' (5 levels), 'product' (8 levels)" in done.out
    assert "Only “learned prior of store and product” is used" in done.out
    assert run("predict", "m.polytask", "sales.csv", "--out", "p.csv").status == 0
    sales.head(3).assign(product=777).to_csv("new.csv", index=False)
    done = run("predict", "m.polytask", "new.csv", "--unseen-tasks", "shared", "--out", "q.csv")
    assert "3 rows of 1 level of product that was not in training (777)" in done.err
    assert "and of product as its mean or its rare levels" in done.err
    expected = load("m.polytask").predict(sales)
    assert_allclose(pd.read_csv("p.csv")["prediction"], expected, rtol=1e-10)
    sales.assign(sold=np.where(sales["sold"] > 3, "much", "little")).to_csv("classes.csv")
    done = run("auto", "classes.csv", *ROLES, *few, "--out", "c.polytask")
    assert done.status == 0, done.err
    assert "Only “learned prior of store and product” is used" in done.out
    done = run("adapt", "m.polytask", "sales.csv", "--target", "sold", "--out", "more.polytask")
    assert "fit a joint model to the table that this one learned from" in done.err


def test_a_folder_of_a_version_that_took_one_task(there):
    lock = json.loads(Path("out/run.lock.json").read_text(encoding="utf-8"))
    lock["command"]["options"]["task"] = "g"
    Path("out/run.lock.json").write_text(json.dumps(lock), encoding="utf-8")
    assert read_lock("out/run.lock.json")["command"]["options"]["task"] == ["g"]


@pytest.mark.parametrize("command", ["path", "tune", "schema"])
def test_other_commands_name_those_that_take_several(run, sales, command):
    done = run(command, "sales.csv", *ROLES, "--out", "x.png")
    assert done.status == 2
    words = f"polytask {command} takes one --task, and 2 were given"
    assert words in done.err
    assert "polytask fit, polytask auto and polytask compare take several" in done.err


def test_other_refusals(run, sales):
    done = run("inspect", "sales.csv", *ROLES)
    assert "polytask inspect takes one --task" in done.err
    done = run("fit", "sales.csv", *ROLES, "--penalty", "L21", "--out", "m.polytask")
    assert "--penalty L21 is for one --task" in done.err
    done = run("fit", "sales.csv", *ROLES, "--memory", "1kB", "--out", "m.polytask")
    assert "--task product needs all rows in memory" in done.err
    run("fit", "sales.csv", *ROLES, "--out", "m.polytask")
    done = run("predict", "m.polytask", "sales.csv", "--task", "store", "--out", "p.csv")
    assert "reads its groupings from the columns 'store', 'product'" in done.err
    done = run("predict", "m.polytask", "--file-per-task", "*.csv", "--out", "p.csv")
    assert "--file-per-task is for a model of one grouping" in done.err
