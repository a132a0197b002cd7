"""to_sklearn and the model card."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from unit.persistence.cases import CASES, rows, table, tasks

from polytask import (
    DataError,
    MultiTaskClassifier,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    TaskData,
    load,
    save,
)
from polytask._estimator.card import checksum
from polytask.penalties import L2


@pytest.mark.parametrize("name", ["long", "labels-int", "float32", "sparse", "labels-bool"])
def test_linear_regression(name):
    model, query = CASES[name]()
    for task in model.tasks_.tolist():
        plain = model.to_sklearn(task)
        assert type(plain) is LinearRegression
        want = model.predict(query["X"], task=[task] * query["X"].shape[0])
        np.testing.assert_allclose(plain.predict(query["X"]), want, rtol=1e-5)


@pytest.mark.parametrize("kind", ["text", "int", "float", "bool"])
def test_classification(kind):
    model, query = CASES[f"classes-{kind}"]()
    X = query["X"]
    for task in model.tasks_.tolist():
        plain = model.to_sklearn(task)
        assert type(plain) is LogisticRegression
        t = [task] * len(X)
        np.testing.assert_array_equal(plain.predict(X), model.predict(X, task=t))
        own = np.isin(model.classes_, model.task_classes_[task])
        proba = model.predict_proba(X, task=t)
        np.testing.assert_allclose(plain.predict_proba(X), proba[:, own], rtol=1e-12)


def test_a_task_of_one_class():
    X, y, _ = rows()
    t = tasks(["a", "b"])
    target = np.where((y > 0) | (y > 1), 1, 0) + np.where(t == "b", 5, 0) * (y > 9)
    target[t == "b"] = 7
    model = MultiTaskClassifier(L2(0.1)).fit(X, target, task=t)
    plain = model.to_sklearn("b")
    assert type(plain) is DummyClassifier
    np.testing.assert_array_equal(plain.predict(X), model.predict(X, task=["b"] * len(X)))
    assert plain.predict_proba(X).shape == (len(X), 1)


def test_targets_and_mixed_losses():
    model, query = CASES["mixed"]()
    number, flag = model.to_sklearn(0), model.to_sklearn(1)
    want = model.predict(query["X"])
    np.testing.assert_allclose(number.predict(query["X"]), want[:, 0])
    np.testing.assert_array_equal(flag.predict(query["X"]), want[:, 1])
    np.testing.assert_allclose(
        flag.predict_proba(query["X"]), model.predict_proba(query["X"])[1], rtol=1e-12
    )


def test_tables_get_a_pipeline():
    model, query = CASES["table"]()
    plain = model.to_sklearn("二中")
    assert type(plain) is Pipeline
    part = query["X"][query["X"]["学校"] == "二中"]
    np.testing.assert_allclose(plain.predict(part), model.predict(part))


def test_a_task_without_a_column_needs_it_no_more():
    model, query = CASES["separate"]()
    X = query["X"]["C"]
    assert "年龄" not in X
    np.testing.assert_allclose(model.to_sklearn("C").predict(X), model.predict({"C": X})["C"])
    X = query["X"]["A"]
    np.testing.assert_allclose(model.to_sklearn("A").predict(X), model.predict({"A": X})["A"])


def test_unknown_task_names_the_nearest():
    model, _ = CASES["table"]()
    with pytest.raises(DataError, match=r"to_sklearn.*Did you mean '一中'"):
        model.to_sklearn("一中学")


def test_the_plain_model_is_a_copy():
    model, _ = CASES["long"]()
    before = model.coef_.copy()
    model.to_sklearn("a").coef_[:] = 0
    np.testing.assert_array_equal(model.coef_, before)


# ------------------------------------------------------------------ card


def test_card_of_a_table_model(tmp_path):
    model, _ = CASES["table"]()
    card = model.card()
    content = json.loads(card.json)
    assert content["data"]["rows"] == 60
    assert content["data"]["tasks"] == 3
    assert {task["task"] for task in content["tasks"]} == {"一中", "二中", "三中"}
    assert sum(task["rows"] for task in content["tasks"]) == 60
    assert content["settings"]["standardize"] is True
    assert set(content["versions"]) == {"polytask", "python", "numpy", "scipy", "scikit-learn"}
    assert content["result"]["duality gap"] >= 0
    assert "一中" in card.markdown
    markdown, plain = card.write(tmp_path / "模型.md")
    assert (markdown.name, plain.name) == ("模型.md", "模型.json")
    assert markdown.read_text("utf-8") == card.markdown
    assert json.loads(plain.read_text("utf-8")) == content


def test_card_keeps_the_whole_name(tmp_path):
    card = CASES["long"]()[0].card()
    assert [p.name for p in card.write(tmp_path / "model.v1.2")] == [
        "model.v1.2.md",
        "model.v1.2.json",
    ]
    with pytest.raises(DataError, match="there is no folder"):
        card.write(tmp_path / "none" / "card")


def test_card_says_what_the_model_is_for_and_where_it_ends():
    X, y, _ = rows()
    few = np.repeat(["big", "small"], [50, 10])
    content = json.loads(MultiTaskRegressor(unseen_tasks="shared").fit(X, y, task=few).card().json)
    assert content["intended use"]["predicts"] == "a number for rows of 2 tasks"
    assert (
        content["intended use"]["unknown tasks"] == "predicted from what all tasks have in common"
    )
    limits = " ".join(content["limits"])
    assert "1 of 2 tasks have fewer than 20 training rows, the smallest 10" in limits
    assert "holds no score on rows" in limits
    assert "No coverage" in limits
    assert "up to seven values of every column" in limits
    assert (content["scores"], content["held out"]) == ({}, {})


def test_card_of_test_rows_has_their_score_and_errors_with_intervals():
    X, y, _ = rows()
    t = tasks(["a", "b"])
    train, test = np.arange(60) % 3 > 0, np.arange(60) % 3 == 0
    model = MultiTaskRegressor().fit(X[train], y[train], task=np.array(t)[train])
    given = X[test], y[test], np.array(t)[test]
    content = json.loads(model.card(*given).json)
    score, low, high = map(
        float, re.findall(r"-?[\d.]+(?:e-?\d+)?", content["scores"]["on test rows"])
    )
    assert score == pytest.approx(model.score(*given), abs=1e-3)
    assert low < score < high
    off = np.abs(y[test] - model.predict(X[test], given[2]))[given[2] == "b"]
    assert float(content["tasks"][1]["test error"]) == pytest.approx(off.mean(), rel=1e-3)
    assert content["tasks"][1]["test rows"] == len(off)
    assert "| task | rows | test rows | test error | 95% interval |" in model.card(*given).markdown
    classes = MultiTaskClassifier().fit(X[train], y[train] > 0, task=np.array(t)[train])
    card = json.loads(classes.card(X[test], y[test] > 0, given[2]).json)
    assert card["scores"]["measure"].startswith("share of rows with the right class")
    accuracy = classes.score(X[test], y[test] > 0, given[2])
    assert float(card["scores"]["on test rows"].split()[0]) == pytest.approx(accuracy, abs=1e-3)


def test_the_interval_of_a_score_covers_the_score_of_many_rows():
    rng, hits = np.random.default_rng(0), 0
    X, t = rng.standard_normal((200, 2)), np.arange(200) % 2
    model = MultiTaskRegressor().fit(X, X[:, 0] + rng.standard_normal(200), task=t)
    many = rng.standard_normal((60_000, 2))
    labels = many[:, 0] + rng.standard_normal(60_000)
    truth = model.score(many, labels, np.arange(60_000) % 2)
    for k in range(200):
        part = slice(150 * k, 150 * (k + 1))
        card = model.card(many[part], labels[part], np.arange(150) % 2).content
        low, high = map(
            float, card["scores"]["on test rows"].split("(")[1].rstrip(")").split(" to ")
        )
        hits += low <= truth <= high
    assert 0.90 <= hits / 200 <= 0.985


def test_card_of_held_out_rows_has_score_and_coverage(tmp_path):
    X, y, _ = rows()
    model = MultiTaskRegressorCV(cv=3, alphas=3).fit(X, y, task=tasks(["a", "b"]))
    content = model.card().content
    held = content["scores"]["on the rows that its folds held out"]
    assert held.startswith(f"{model.held_out_score_:.4g} (")
    frame = model.coverage_frame(0.9)
    mean = np.average(frame["coverage"], weights=frame["rows"])
    assert content["held out"]["coverage at 90%"] == pytest.approx(mean, abs=1e-4)
    found = [row["coverage"] for row in content["tasks"]]
    assert found == pytest.approx(frame["coverage"].tolist(), abs=1e-4)
    save(model, tmp_path / "m.v2.polytask", card=True)
    assert (tmp_path / "m.v2.card.md").read_text("utf-8") == model.card().markdown
    assert load(tmp_path / "m.v2.polytask").card().json == model.card().json


def test_card_before_fit():
    with pytest.raises(NotFittedError):
        MultiTaskRegressor().card()


def test_bars_and_line_ends_stay_in_their_cells():
    X, y, _ = rows()
    model = MultiTaskRegressor().fit(X, y, task=tasks(["a|b", "c\nd"]))
    table_lines = model.card().markdown.splitlines()
    assert "| a\\|b | 30 |" in table_lines
    assert "| c d | 30 |" in table_lines


def encoded(X, y, task, weight=None):
    return checksum(TaskData.from_long(X, y, task, weight))


def test_checksum_tells_data_apart():
    X, y, _ = rows()
    t = tasks(["a", "b"])
    first = encoded(X, y, t)
    assert encoded(X.copy(order="F"), y, t.tolist()) == first
    other = X.copy()
    other[3, 2] = np.nextafter(other[3, 2], 9)
    changed = [
        encoded(other, y, t),
        encoded(X, y + 1, t),
        encoded(X, y, t[::-1]),
        encoded(X, y, tasks(["a", "c"])),
        encoded(X, y, t, np.full(len(y), 2.0)),
        encoded(X.astype(np.float32), y, t),
        encoded(X, np.where(y > 0, "p", "n"), t),
        encoded(X, np.where(y > 0, "p", "m"), t),
    ]
    assert len({first, *changed}) == len(changed) + 1


def test_checksum_of_a_table_does_not_depend_on_its_library():
    import polars as pl

    frame = table()
    hashes = {
        MultiTaskRegressor(task_column="学校")
        .fit(kind(frame.drop(columns="分数").to_dict(orient="list")), frame["分数"].to_numpy())
        .data_card_.checksum
        for kind in (pd.DataFrame, pl.DataFrame)
    }
    assert len(hashes) == 1
