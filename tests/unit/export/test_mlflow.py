"""Models that MLflow has kept predict as they did."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import polytask as pt
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.export import log_mlflow, to_sklearn

# MLflow and what it imports warn of themselves.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((60, 3)), columns=["age", "dose", "weight"])
    table["colour"] = rng.choice(["red", "blue"], 60)
    table["smokes"] = rng.random(60) > 0.5
    table["clinic"] = np.array(["a", "b"])[np.arange(60) % 2]
    return table


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """Return what logs a model in a folder of its own and loads it again."""
    mlflow = pytest.importorskip("mlflow", reason='needs MLflow: pip install "polytask[mlflow]"')
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")

    def again(model):
        with mlflow.start_run():
            info = log_mlflow(model)
        return mlflow.pyfunc.load_model(info.model_uri)

    return again


def test_tables_arrays_and_target_matrices_come_back(rows, logged):
    y = np.where(rows["age"] + rows["smokes"] > 0.5, "ill", "well")
    model = pt.MultiTaskClassifier(task_column="clinic").fit(rows, y)
    found = logged(model).predict(rows)
    assert found["prediction"].tolist() == model.predict(rows).tolist()
    np.testing.assert_array_equal(found["probability_ill"], model.predict_proba(rows)[:, 0])
    X, task = rows[["age", "dose"]].to_numpy(), np.arange(60) % 3
    model = pt.MultiTaskRegressor().fit(X, X[:, 0] + task, task=task)
    given = pd.DataFrame(X, columns=["x0", "x1"]).assign(task=task)
    np.testing.assert_array_equal(
        logged(model).predict(given)["prediction"], model.predict(X, task=task)
    )
    model = pt.MultiTaskRegressor().fit(X, pd.DataFrame({"p": X[:, 0], "q": X[:, 1]}))
    np.testing.assert_array_equal(
        logged(model).predict(given)["prediction_q"], model.predict(X)[:, 1]
    )


def test_labels_inside_of_arrays_and_of_several_groupings(rows, logged):
    X, places = rows[["age", "dose"]].to_numpy(), [np.arange(60) % 3, np.arange(60) % 4]
    y = X[:, 0] + places[0] + rows["weight"]
    given = pd.DataFrame(X, columns=["x0", "x1"])
    inside = np.column_stack([places[1], X, places[0]])
    pair = pd.DataFrame({"shop": places[0], "week": np.array(list("abcd"))[places[1]]})
    cases = (
        (pt.MultiTaskRegressor(task_column=-1), inside[:, 1:], None, {"task": places[0]}),
        (pt.BayesianMultiTaskRegressor(task_column=[3, 0]), inside, None,
         {"grouping 3": places[0], "grouping 0": places[1]}),
        (pt.BayesianMultiTaskRegressor(), X, pair, {"week": pair["week"], "shop": pair["shop"]}),
    )  # fmt: skip
    for model, trained, task, labels in cases:
        found = logged(model.fit(trained, y, task=task)).predict(given.assign(**labels))
        np.testing.assert_allclose(found["prediction"], model.predict(trained, task), rtol=1e-12)
    with pytest.raises(ParameterError, match="model of log_mlflow must be a fitted estimator of"):
        logged(pd.DataFrame())


def test_what_needs_no_extra_package(rows):
    model = pt.MultiTaskRegressor(task_column="clinic").fit(rows, rows["age"] * 2)
    plain = to_sklearn(model, "b")
    part = rows[rows["clinic"] == "b"]
    np.testing.assert_allclose(plain.predict(part), model.predict(part))
    with pytest.raises(IncompatibleError, match="cannot become a model of scikit-learn"):
        to_sklearn(pt.AutoMultiTaskRegressor(), "b")
