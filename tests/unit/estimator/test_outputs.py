"""What comes back, in every form and kind of table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from polytask import (
    DataError,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    TaskData,
)
from polytask.penalties import L2

MAKERS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    task = rng.permutation(np.repeat(["north", "south", "west"], [20, 30, 25]))
    X = rng.normal(size=(75, 3))
    return X, X @ [1.0, -1.0, 0.5] + (task == "west"), task


def three_classes(y, task):
    labels = np.array(["low", "mid", "top"])[np.digitize(y, [-0.5, 0.8])]
    return np.where((task == "north") & (labels == "top"), "mid", labels)


def as_list(column):
    return column.to_pylist() if hasattr(column, "to_pylist") else column.to_list()


@pytest.mark.parametrize("library", MAKERS)
def test_a_table_in_gives_an_array_out(rows, library):
    X, y, task = rows
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "region": task}
    table = MAKERS[library](columns)
    model = MultiTaskRegressor(task_column="region").fit(table, y)
    array = MultiTaskRegressor().fit(X, y, task)
    out = model.predict(table)
    assert isinstance(out, np.ndarray)
    assert_allclose(out, array.predict(X, task), atol=1e-6)
    frame = model.predict_frame(table)
    assert type(frame).__module__.split(".")[0] == library
    assert_array_equal(as_list(frame["prediction"]), out)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "region"]
    assert model.n_features_in_ == 4
    assert model.coef_feature_names_.tolist() == ["a", "b", "c"]
    # Columns are matched by name; others are ignored.
    turned = MAKERS[library](dict(reversed([("new", y), *columns.items()])))
    assert_allclose(model.predict(turned), out)
    assert model.score(table, y) == pytest.approx(array.score(X, y, task), abs=1e-6)


@pytest.mark.parametrize("library", MAKERS)
def test_a_table_of_targets_gives_a_table(rows, library):
    X, y, _ = rows
    table = MAKERS[library]({"a": X[:, 0], "b": X[:, 1]})
    Y = MAKERS[library]({"height": y, "weight": -y})
    model = MultiTaskRegressor().fit(table, Y)
    assert model.tasks_.tolist() == ["height", "weight"]
    out = model.predict_frame(table)
    names = out.column_names if library == "pyarrow" else list(out.columns)
    assert names == ["height", "weight"]
    assert_allclose(as_list(out["weight"]), -np.array(as_list(out["height"])), atol=1e-6)
    assert_array_equal(model.predict(table)[:, 0], as_list(out["height"]))
    assert model.score(table, Y) > 0.4


def test_columns_may_be_named(rows):
    X, y, task = rows
    table = pd.DataFrame(X, columns=list("abc")).assign(price=y, twice=2 * y, region=task)
    named = MultiTaskRegressor().fit(table, "price", task="region")
    assert named.n_features_in_ == 4  # "twice" is a feature here
    given = table.drop(columns=["price", "region"])
    assert_array_equal(named.predict(table, task="region"), named.predict(given, task=task))
    targets = MultiTaskRegressor().fit(table.drop(columns="region"), ["price", "twice"])
    assert targets.tasks_.tolist() == ["price", "twice"]
    assert targets.coef_feature_names_.tolist() == ["a", "b", "c"]


def test_the_index_of_pandas_is_kept(rows):
    X, y, task = rows
    table = pd.DataFrame(X, columns=list("abc"), index=np.arange(75)[::-1] * 10)
    model = MultiTaskRegressor().fit(table, y, task=task)
    out = model.predict_frame(table, task=task)
    assert out.columns.tolist() == ["prediction"]
    assert_array_equal(out.index, table.index)
    parts = {t: table[task == t] for t in ["west", "north"]}
    given = model.predict_frame(parts)
    assert list(given) == ["west", "north"]
    for label, part in given.items():
        assert_array_equal(part.index, parts[label].index)
        assert_array_equal(part, out[task == label])
        assert_array_equal(part["prediction"], model.predict(parts)[label])
    wide = MultiTaskRegressor().fit(table, np.column_stack([y, y])).predict_frame(table)
    assert_array_equal(wide.index, table.index)
    for arrays in (X, {"west": X}):
        with pytest.raises(DataError, match=r"predict_frame must be a table.*; got ndarray"):
            model.predict_frame(arrays, None if isinstance(arrays, dict) else task)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.dok_matrix])
def test_mapping_in_mapping_out(rows, make):
    X, y, task = rows
    tasks = {t: (make(X[task == t]), y[task == t]) for t in ["west", "south", "north"]}
    model = MultiTaskRegressor().fit(tasks)
    assert model.tasks_.tolist() == ["north", "south", "west"]
    out = model.predict({"south": make(X[:3]), "west": make(X[:5])})
    assert list(out) == ["south", "west"]
    long = MultiTaskRegressor().fit(X, y, task)
    assert_allclose(out["west"], long.predict(X[:5], ["west"] * 5), atol=1e-6)
    assert_allclose(model.predict(X, task=task), long.predict(X, task=task), atol=1e-6)


@pytest.mark.parametrize("library", ["array", *MAKERS])
def test_two_classes_in_long_form(rows, library):
    X, y, task = rows
    labels = np.where(y > 0, "yes", "no")
    given = X if library == "array" else MAKERS[library](dict(zip("abc", X.T, strict=True)))
    model = MultiTaskClassifier(L2(0.1)).fit(given, labels, task=task)
    assert model.classes_.tolist() == ["no", "yes"]
    assert {t: c.tolist() for t, c in model.task_classes_.items()} == {
        t: ["no", "yes"] for t in ["north", "south", "west"]
    }
    proba = model.predict_proba(given, task=task)
    decision = model.decision_function(given, task=task)
    assert proba.shape == (75, 2)
    assert decision.shape == (75,)
    assert_allclose(proba.sum(axis=1), 1)
    predicted = model.predict(given, task=task)
    assert_array_equal(predicted, model.classes_[(decision > 0).astype(int)])
    assert_array_equal(predicted, model.classes_[proba.argmax(axis=1)])
    assert model.score(given, labels, task=task) > 0.7


def test_several_classes_in_long_and_separate_form(rows):
    X, y, task = rows
    labels = three_classes(y, task)
    model = MultiTaskClassifier(L2(0.1)).fit(X, labels, task)
    assert model.classes_.tolist() == ["low", "mid", "top"]
    assert model.task_classes_["north"].tolist() == ["low", "mid"]
    assert model.columns_[:3] == (("north", "low"), ("north", "mid"), ("south", "low"))
    assert model.coef_.shape == (8, 3)
    proba, decision = model.predict_proba(X, task), model.decision_function(X, task)
    assert proba.shape == decision.shape == (75, 3)
    assert not proba[task == "north", 2].any()
    assert np.isneginf(decision[task == "north", 2]).all()
    assert_allclose(proba.sum(axis=1), 1)
    assert_array_equal(model.predict(X, task), model.classes_[proba.argmax(axis=1)])
    parts = {t: X[task == t] for t in ["west", "north"]}
    assert_array_equal(model.predict_proba(parts)["west"], proba[task == "west"])
    assert_array_equal(model.decision_function(parts)["north"], decision[task == "north"])
    assert_array_equal(model.predict(parts)["north"], model.predict(X, task)[task == "north"])


def test_classes_of_a_target_matrix(rows):
    X, y, task = rows
    Y = np.column_stack([y > 0, y > 1]).astype(int)
    model = MultiTaskClassifier(L2(0.1)).fit(X, Y)
    assert [c.tolist() for c in model.classes_] == [[0, 1], [0, 1]]
    assert model.predict(X).shape == (75, 2)
    assert [p.shape for p in model.predict_proba(X)] == [(75, 2), (75, 2)]
    assert_array_equal(model.decision_function(X) > 0, model.predict(X) == 1)
    # One target of three classes turns all into several classes.
    Z = np.column_stack([three_classes(y, task), np.where(y > 0, "yes", "no")])
    several = MultiTaskClassifier(L2(0.1)).fit(X, Z)
    assert [p.shape for p in several.predict_proba(X)] == [(75, 3), (75, 2)]
    assert several.predict(X)[0, 1] in ("yes", "no")
    decision = several.decision_function(X)  # a column per class of three, one for two classes
    assert decision.shape == (75, 4)
    assert_array_equal(
        several.classes_[0][decision[:, :3].argmax(axis=1)], several.predict(X)[:, 0]
    )
    assert_array_equal(np.where(decision[:, 3] > 0, "yes", "no"), several.predict(X)[:, 1])


@pytest.mark.parametrize("labels", [[0, 1], [1.0, 2.0], [False, True], ["a", "b"], [-1, 1]])
def test_class_labels_keep_their_kind(rows, labels):
    X, y, task = rows
    given = np.array(labels)[(y > 0).astype(int)]
    out = MultiTaskClassifier().fit(X, given, task).predict(X, task)
    assert out.dtype == given.dtype
    assert set(out.tolist()) == set(labels)


def test_mixed_losses(rows):
    X, y, task = rows
    click, stars = np.where(y > 0, "yes", "no"), three_classes(y, task)
    Y = pd.DataFrame({"spend": y, "click": click, "stars": stars})
    model = MultiTaskModel(L2(0.1)).fit(X, Y)
    out = model.predict(X)
    assert out.dtype == object
    assert isinstance(out[0, 0], float)
    assert out[0, 1] in ("yes", "no")
    number, click, stars = model.predict_proba(X)
    assert number is None
    assert (click.shape, stars.shape) == ((75, 2), (75, 3))
    assert [None if c is None else c.tolist() for c in model.classes_] == [
        None, ["no", "yes"], ["low", "mid", "top"],
    ]  # fmt: skip
    scores = model.task_scores(X, Y).values
    assert all(0 < score < 1 for score in scores)
    # Numbers and 0 / 1 fit in one numeric array.
    plain = MultiTaskModel(L2(0.1)).fit(X, np.column_stack([y, y > 0])).predict(X)
    assert plain.dtype == float
    assert set(plain[:, 1]) <= {0.0, 1.0}


def test_mixed_losses_in_long_and_separate_form(rows):
    X, y, _ = rows
    tasks = {"spend": (X, y), "click": (X, np.where(y > 0, "yes", "no"))}
    model = MultiTaskModel(L2(0.1)).fit(tasks)  # the kinds differ, so each task has its own
    assert [loss.name for loss in model._linear.losses] == ["logistic", "squared"]
    out = model.predict({"spend": X, "click": X})
    assert out["spend"].dtype == object or out["spend"].dtype == float
    task = np.repeat(["spend", "click"], 75)
    flat = model.predict(np.vstack([X, X]), task=task)
    assert flat.dtype == object
    proba = model.predict_proba(np.vstack([X, X]), task=task)
    assert np.isnan(proba[:75]).all()
    assert_allclose(proba[75:].sum(axis=1), 1)
    assert model.score(tasks) > 0.3


def test_an_unseen_task_gets_the_weighted_mean(rows):
    X, y, task = rows
    weight = np.linspace(0.5, 2.0, 75)
    model = MultiTaskRegressor().fit(X, y, task, sample_weight=weight)
    with pytest.raises(DataError, match=r"1 unseen label \('east'\).*unseen_tasks=\"shared\""):
        model.predict(X, ["east"] * 75)
    model.unseen_tasks = "shared"  # may be changed after fit
    share = [weight[task == t].sum() for t in model.tasks_]
    coef = np.average(model.coef_, axis=0, weights=share)
    intercept = np.average(model.intercept_, weights=share)
    assert_allclose(model.predict(X, ["east"] * 75), X @ coef + intercept)
    both = np.where(np.arange(75) < 10, "east", task)
    assert_array_equal(model.predict(X, both)[10:], model.predict(X, task)[10:])
    assert_allclose(model.predict({"east": X})["east"], X @ coef + intercept)


def test_an_unseen_task_has_the_mean_within_each_class(rows):
    X, y, task = rows
    labels = three_classes(y, task)
    model = MultiTaskClassifier(L2(0.1), unseen_tasks="shared").fit(X, labels, task)
    sizes = {t: np.sum(task == t) for t in model.tasks_}
    proba = model.predict_proba(X, ["east"] * 75)
    eta = np.empty((75, 3))
    for k, label in enumerate(model.classes_):
        own = [j for j, (_, c) in enumerate(model.columns_) if c == label]
        share = [sizes[model.columns_[j][0]] for j in own]
        coef = np.average(model.coef_[own], axis=0, weights=share)
        eta[:, k] = X @ coef + np.average(model.intercept_[own], weights=share)
    expected = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    assert_allclose(proba, expected)
    assert_array_equal(model.predict(X, ["east"] * 75), model.classes_[expected.argmax(axis=1)])


def test_an_unseen_task_of_unlike_tasks_is_refused(rows):
    X, y, _ = rows
    model = MultiTaskModel(loss={"a": "squared", "b": "logistic"}, unseen_tasks="shared")
    model.fit({"a": (X, y), "b": (X, (y > 0).astype(float))})
    with pytest.raises(
        IncompatibleError, match=r"needs one loss for all tasks.*logistic, squared"
    ):
        model.predict(X, ["c"] * 75)
    targets = MultiTaskClassifier(unseen_tasks="shared")
    targets.fit(X, np.column_stack([np.where(y > 0, "a", "b"), np.where(y > 0, "c", "d")]))
    with pytest.raises(IncompatibleError, match="same two classes"):
        targets.predict(X, ["c"] * 75)


def test_a_task_of_weight_zero_is_predicted_as_an_unseen_one(rows):
    X, y, task = rows
    labels = three_classes(y, task)
    with pytest.warns(UserWarning, match="no row of positive weight"):
        model = MultiTaskClassifier(L2(0.1)).fit(X, labels, task, task != "west")
    model.unseen_tasks = "shared"
    assert_allclose(model.predict_proba(X, ["west"] * 75), model.predict_proba(X, ["east"] * 75))
    assert_array_equal(model.predict(X, ["west"] * 75), model.predict(X, ["east"] * 75))


def test_task_data_in_every_call(rows):
    X, y, task = rows
    data = TaskData.from_long(X, y, task)
    model = MultiTaskRegressor().fit(data)
    plain = MultiTaskRegressor().fit(X, y, task)
    assert_array_equal(model.coef_, plain.coef_)
    assert_array_equal(model.predict(data), plain.predict(X, task))
    assert model.score(data) == plain.score(X, y, task)


def test_a_target_matrix_may_be_asked_for_single_tasks(rows):
    X, y, _ = rows
    model = MultiTaskRegressor().fit(X, np.column_stack([y, -y]))
    which = np.arange(75) % 2
    assert_array_equal(model.predict(X, which), model.predict(X)[np.arange(75), which])


def test_the_long_table_of_coefficients(rows):
    X, y, task = rows
    model = MultiTaskClassifier().fit(X, three_classes(y, task), task)
    frame = model.coef_frame()
    assert frame.columns.tolist() == ["task", "class", "feature", "coef"]
    assert len(frame) == 8 * 4
    one = frame[(frame["task"] == "west") & (frame["class"] == "top")]
    assert one["feature"].tolist() == ["x0", "x1", "x2", "(intercept)"]
    assert_array_equal(one["coef"][:3], model.coef_[7])


def test_undefined_scores_are_left_out_and_counted(rows):
    X, y, task = rows
    model = MultiTaskRegressor().fit(X, y, task)
    few = np.r_[np.flatnonzero(task == "north"), np.flatnonzero(task == "west")[:1]]
    truth = y[few]
    # The constant of the training rows explains a row that is equal to their mean.
    truth[-1] = y.mean()
    scores = model.task_scores(X[few], truth, task[few])
    assert scores.undefined == 1
    wide = MultiTaskRegressor().fit(X, np.column_stack([y, y]))
    Y = np.column_stack([y, np.full(len(y), y.mean())])
    found = wide.task_scores(X, Y)
    assert found.undefined == 1
    assert found.mean == found.values[0] == wide.score(X, Y)
