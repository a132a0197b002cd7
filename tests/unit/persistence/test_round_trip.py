"""What is saved is loaded: predictions bit for bit, attributes, parameters."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from unit.persistence.cases import CASES, N, long, rows, table, tasks

import polytask
from polytask import MultiTaskRegressor, load, save
from polytask.io import codec as _codec
from polytask.penalties import (
    L2,
    L21,
    Clustered,
    LearnedCovariance,
    OutlierTasks,
    along_graph,
    along_time,
    toward_mean,
)


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    model, query = CASES[request.param]()
    path = tmp_path_factory.mktemp("saved") / "model.polytask"
    save(model, path)
    return model, load(path), query


def assert_same(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, two in zip(first, second, strict=True):
            assert_same(one, two)
    elif isinstance(first, pd.DataFrame | pd.Series):
        assert first.equals(second)
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second, strict=True)
    else:
        assert first == second


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_values_are_the_same_bit_for_bit(case, method):
    model, loaded, query = case
    assert hasattr(model, method) == hasattr(loaded, method)
    if hasattr(model, method):
        assert_same(getattr(model, method)(**query), getattr(loaded, method)(**query))


def test_attributes_and_parameters_are_the_same(case):
    model, loaded, _ = case
    assert type(model) is type(loaded)
    assert repr(model) == repr(loaded)
    assert list(vars(model)) == list(vars(loaded)) or set(vars(model)) == set(vars(loaded))
    for name in ("coef_", "intercept_", "tasks_", "columns_", "coef_feature_names_", "n_iter_"):
        assert_same(getattr(model, name), getattr(loaded, name))
    assert model.data_card_ == loaded.data_card_
    assert model.card().json == loaded.card().json
    assert loaded.coef_.flags.writeable


def test_the_solution_is_whole(case):
    model, loaded, _ = case
    before, after = model.solution_, loaded.solution_
    np.testing.assert_array_equal(before.W, after.W, strict=True)
    assert before.status is after.status
    assert before.message == after.message
    assert before.certificate.relative == after.certificate.relative


def test_unseen_tasks_may_be_changed_after_load(tmp_path):
    model, query = long()
    save(model, tmp_path / "m")
    loaded = load(tmp_path / "m")
    with pytest.raises(polytask.DataError, match="unseen label"):
        loaded.predict(query["X"], task=["new"] * N)
    model.set_params(unseen_tasks="shared")
    loaded.set_params(unseen_tasks="shared")
    want = model.predict(query["X"], task=["new"] * N)
    np.testing.assert_array_equal(loaded.predict(query["X"], task=["new"] * N), want)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_any_table_can_be_predicted(tmp_path, library):
    model, query = CASES["table"]()
    save(model, tmp_path / "m")
    X = library(query["X"].to_dict(orient="list"))
    one, two = model.predict(X), load(tmp_path / "m").predict(X)
    assert type(one) is type(two)
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_a_new_level_is_counted_as_before(tmp_path):
    model, _ = CASES["table"]()
    save(model, tmp_path / "m")
    loaded = load(tmp_path / "m")
    fresh = table(5).assign(颜色="紫").drop(columns="分数")
    want = model.encoder_.transform_report(fresh)
    got = loaded.encoder_.transform_report(fresh)
    assert got.warnings == want.warnings
    assert got.unknown["颜色"].rows.sum() == N


def test_warm_start_goes_on_from_a_loaded_solution(tmp_path):
    X, y, _ = rows()
    model = MultiTaskRegressor(warm_start=True).fit(X, y, task=tasks(["a", "b"]))
    save(model, tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert loaded.fit(X, y, task=tasks(["a", "b"])).n_iter_ <= model.n_iter_


def test_penalties_are_loaded_with_their_parameters(tmp_path):
    for penalty in (
        L21(fraction=0.3),
        L2(2.0) + toward_mean(0.5),
        along_graph(0.5, {("a", "b"): 2.0, ("c", "b"): 1.0}),
        along_time(0.5, order="cab") + OutlierTasks(0.1),
        LearnedCovariance(0.1).shifted(np.ones((4, 3))),
        Clustered(0.1, 0.3, 2),
    ):
        model, _ = long(penalty=penalty)
        save(model, tmp_path / "m")
        assert load(tmp_path / "m").penalty == penalty


def test_saving_twice_gives_the_same_bytes(tmp_path):
    model, _ = CASES["classes-text"]()
    save(model, tmp_path / "a")
    save(load(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


VALUES = [
    None, True, 3, 2**80, -0.0, 0.1, float("inf"), "文字", "\ud800", "$tag", [], (), (1, (2, [3])),
    {}, {"$a": 1}, {1: "x", "1": "y", (1, 2): None}, {"a": {"b": (1,)}}, slice(1, 5),
    datetime.date(2020, 2, 3), datetime.datetime(2020, 2, 3, 4, 5, 6, 7),
    np.float32(0.1), np.int64(4), np.bool_(True), np.array(2.5), np.zeros((0, 3)),
    np.array([], dtype="<U3"), np.array(["a", "长"]),
    np.array([1, "a", None, (1, 2)], dtype=object),
    np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.arange(6, dtype=np.float16)[::2], np.array([True, False]), np.arange(3, dtype=">f8"),
    np.array([[1.0, np.nan], [-np.inf, 5e-324]]), np.arange(24.0).reshape(2, 3, 4)[:, ::2],
    np.array(["2024-01-31T10:00", "NaT"], dtype="M8[us]"), np.array([[3, 4]], dtype=">m8[D]"),
]  # fmt: skip


@pytest.mark.parametrize(
    "value", VALUES, ids=lambda v: repr(v)[:30].encode("ascii", "replace").decode()
)
def test_values_survive(value):
    encoder = _codec.Encoder("Model")
    node = encoder.encode({"v": value}, "its state")
    got = _codec.Decoder(encoder.tensors).decode(node)["v"]
    assert type(got) is type(value)
    if isinstance(value, np.ndarray):
        assert got.dtype == value.dtype.newbyteorder("=")
        assert got.tolist() == value.tolist() or value[value != value].size
        np.testing.assert_array_equal(got, value)
        if value.flags.forc:
            assert got.flags.f_contiguous == value.flags.f_contiguous
    else:
        assert repr(got) == repr(value)


def test_nan_survives():
    node = _codec.Encoder("Model").encode(float("nan"), "its state")
    assert np.isnan(_codec.Decoder({}).decode(node))


def test_one_array_is_stored_once(tmp_path):
    model, _ = long()
    save(model, tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert loaded._linear.coef is loaded.coef_


@pytest.mark.slow
@pytest.mark.parametrize("name", ["long", "classes-int", "mixed", "sparse"])
def test_loading_and_predicting_imports_little(tmp_path, name):
    model, query = CASES[name]()
    save(model, tmp_path / "m")
    X = query["X"] if name == "sparse" else np.asarray(query["X"])
    np.savez(
        tmp_path / "X.npz",
        X=X.toarray() if name == "sparse" else X,
        t=np.array(query.get("task", "none"), dtype=str),
    )
    task = "data['t']" if "task" in query else "None"
    code = f"""
import sys, numpy, scipy.sparse, narwhals, safetensors.numpy, sklearn.base
before = set(sys.modules)
from polytask import load
model = load({str(tmp_path / "m")!r})
data = numpy.load({str(tmp_path / "X.npz")!r})
X = scipy.sparse.csr_array(data["X"]) if {name == "sparse"} else data["X"]
model.predict(X, task={task})
if hasattr(model, "predict_proba"):
    model.predict_proba(X, task={task})
brought = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(brought - sys.stdlib_module_names))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(polytask.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    allowed = {"polytask", "numpy", "scipy", "narwhals", "safetensors", "sklearn"}
    assert set(done.stdout.split()) <= allowed


def test_save_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(long()[0], tmp_path / "m")
